"""CRUDE: distributions for any regressor, from its own residuals."""

import inspect
import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_consistent_length,
    check_random_state,
    column_or_1d,
    get_tags,
)
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    fit_context,
    safe_indexing,
)
from skdiff._base.inner import (
    all_numbers,
    check_table,
    fit_inner,
    is_frozen,
    seeded,
    unfrozen,
    whole_fit,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_levels, require_y
from skdiff.calibration._crude import _residuals as residuals

# a predicted scale below this fraction of the mean absolute residual is noise
FLOOR = 0.1
FEWEST_ROWS = 4


def takes_std(estimator):
    """Tell whether ``predict`` can return a standard deviation."""
    predict = getattr(type(unfrozen(estimator)), "predict", None)
    return predict is not None and "return_std" in inspect.signature(predict).parameters


class EmpiricalResidualCalibrator(
    RegressorMixin, SaveMixin, MetaEstimatorMixin, BaseEstimator
):
    """Give a regressor predictive distributions of the shape its residuals have.

    The residuals of held-out rows, divided by a predicted scale, stand for the noise of
    new rows: quantiles, intervals, probabilities and samples follow without a normal
    law. Use it when intervals must cover and errors are skewed, heavy-tailed or of
    varying size. Where one wants an interval of one level only, and errors are of one
    size, split conformal prediction does the same; where the noise is normal, the
    regressor's own standard deviation does.

    Parameters
    ----------
    estimator : regressor, default=None
        The regressor. A scaled, cross-validated ridge regression if None. In a
        :class:`~sklearn.frozen.FrozenEstimator` it is used as it is.
    scale_estimator : {"auto", "constant"} or regressor, default="auto"
        What predicts the size of the error. ``"auto"``: the standard deviation of
        ``estimator.predict(X, return_std=True)`` where there is one, and else a clone
        of ``estimator`` fitted on absolute out-of-fold residuals. A regressor is
        fitted on those; frozen, it is used as it is. ``"constant"``: one size.
    calibration_size : float or int, default=0.3
        Proportion or number of rows whose residuals make the distribution; the others
        train what is not frozen. When nothing is to be trained all rows calibrate.
    finite_sample : bool, default=True
        Correct ranks for the finite number of residuals: an interval then covers a new
        exchangeable row with at least the stated probability. Otherwise quantiles
        are interpolated.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split and the values of :meth:`sample`.

    Attributes
    ----------
    estimator_ : regressor
        What predicts.
    scale_estimator_ : regressor or None
        What predicts the size of the error; None where ``estimator_`` does or the size
        is constant.
    residuals_ : ndarray of shape (n_calibration,)
        Standardised residuals of the calibration rows, sorted.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    sklearn.ensemble.HistGradientBoostingRegressor : Quantiles by their own loss, where
        the shape of the noise changes from row to row.
    CalibratedProbabilityClassifier : Probabilities of classes.

    Notes
    -----
    The predictive distribution of a row is ``mean + scale * z`` with ``z`` one of the
    ``n`` residuals ``(y_i - mean_i) / scale_i``, each with probability ``1 / n``.
    ``cdf``, ``crps`` and ``sample`` are exact for it. Coverage holds on average over
    rows whatever the distribution; at every single row only when errors are of one
    shape up to their scale. Negative and tiny predicted scales are raised to a tenth of
    the mean absolute residual. Rows have no weights: ranks of residuals would need the
    weight of the row to come.

    References
    ----------
    E. Zelikman, C. Healy, S. Zhou and A. Avati, "CRUDE: Calibrating Regression
    Uncertainty Distributions Empirically", 2020, arXiv 2005.12496.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.calibration import EmpiricalResidualCalibrator
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = EmpiricalResidualCalibrator(random_state=0).fit(X[:300], y[:300])
    >>> low, high = model.predict_interval(X[300:], 0.8).T
    >>> bool(0.7 < ((low <= y[300:]) & (y[300:] <= high)).mean() < 0.9)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "scale_estimator": [
            StrOptions({"auto", "constant"}),
            HasMethods(["fit", "predict"]),
        ],
        "calibration_size": [
            Interval(RealNotInt, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "finite_sample": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        scale_estimator="auto",
        calibration_size=0.3,
        finite_sample=True,
        random_state=None,
    ):
        self.estimator = estimator
        self.scale_estimator = scale_estimator
        self.calibration_size = calibration_size
        self.finite_sample = finite_sample
        self.random_state = random_state

    def __sklearn_tags__(self):
        """What the estimators inside accept."""
        tags = super().__sklearn_tags__()
        inner = [get_tags(e) for e in self._models()]
        tags.input_tags.sparse = self.estimator is not None and all(
            t.input_tags.sparse for t in inner
        )
        for name in ("allow_nan", "categorical", "string"):
            every = all(getattr(t.input_tags, name) for t in inner)
            setattr(tags.input_tags, name, every)
        return tags

    def _models(self):
        """The unfitted estimators, the one of the scale last if there is one."""
        base = self.estimator
        if base is None:
            base = make_pipeline(StandardScaler(), RidgeCV())
        scale = self.scale_estimator
        if isinstance(scale, str):
            none = scale == "constant" or takes_std(base)
            scale = None if none else unfrozen(base)
        return [base] if scale is None else [base, scale]

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the regressor and learn the distribution of its residuals.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Target values.

        Returns
        -------
        self : object
            The fitted calibrator.
        """
        with whole_fit(self):
            X, y = self._check(X, y)
            rng = check_random_state(self.random_state)
            base, *scale = [seeded(e, rng) for e in self._models()]
            idle = is_frozen(base) and all(is_frozen(e) for e in scale)
            train, held = self._split(len(y), rng, idle)
            rows = safe_indexing(X, train)
            fitted = fit_inner(base, rows, y[train])
            fitted_scale, floor = None, 0.0
            if scale and is_frozen(scale[0]):
                fitted_scale = scale[0]
            elif scale:
                sizes = self._sizes(base, fitted, rows, y[train], rng)
                floor = FLOOR * float(sizes.mean())
                fitted_scale = fit_inner(scale[0], rows, sizes)
            std = self.scale_estimator != "constant" and takes_std(fitted)
            models = fitted, fitted_scale, std
            mean, size = _predict(models, floor, safe_indexing(X, held))
            with np.errstate(over="ignore"):
                z = np.sort((y[held] - mean) / size)
            if not np.isfinite(z).all():
                raise ValueError(
                    "The residuals are not finite: the predictions overflow. Rescale "
                    "X and y."
                )
            self.estimator_, self.scale_estimator_ = fitted, fitted_scale
            self.residuals_, self._floor, self._uses_std = z, floor, std
            self._seed = int(rng.randint(2**31 - 1))
        return self

    def _check(self, X, y):
        """Check X as far as the estimators would; a frame stays a frame."""
        require_y(self, y)
        X = self._check_table(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        return X, check_values(y)

    def _check_table(self, X, *, reset):
        given = [e for e in (self.estimator, self.scale_estimator) if hasattr(e, "fit")]
        return check_table(self, X, given, reset=reset)

    def _split(self, n, rng, idle):
        """Rows to train on and rows to calibrate on."""
        if idle:
            return np.arange(0), np.arange(n)
        if n < FEWEST_ROWS:
            raise ValueError(
                f"n_samples={n} is too few to train and to calibrate; at least "
                f"{FEWEST_ROWS} samples are needed."
            )
        size = self.calibration_size
        held = size if isinstance(size, Integral) else max(1, round(size * n))
        if held > n - 2:
            raise ValueError(
                f"calibration_size={size!r} leaves {n - held} of {n} rows to train on; "
                "at least 2 are needed."
            )
        return train_test_split(np.arange(n), test_size=int(held), random_state=rng)

    def _sizes(self, base, fitted, X, y, rng):
        """Absolute errors on rows the regressor has not seen."""
        if is_frozen(base) or len(y) < 2 * FEWEST_ROWS:
            return np.abs(y - fitted.predict(X))
        folds = KFold(min(5, len(y)), shuffle=True, random_state=rng)
        return np.abs(y - cross_val_predict(clone(base), X, y, cv=folds))

    # --- inference ------------------------------------------------------------------

    def _mean_and_size(self, X):
        check_is_fitted(self)
        X = self._check_table(X, reset=False)
        models = self.estimator_, self.scale_estimator_, self._uses_std
        return _predict(models, self._floor, X)

    def predict(self, X):
        """Return the regressor's own predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions of ``estimator_``, unchanged.
        """
        return self._mean_and_size(X)[0]

    def predict_quantiles(self, X, levels):
        """Return quantiles of the predictive distributions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        levels : float or array-like of shape (n_levels,)
            Levels between 0 and 1. With ``finite_sample`` those from one half on are
            rounded up and the others down, to the next rank.

        Returns
        -------
        quantiles : ndarray of shape (n_samples,) or (n_samples, n_levels)
            One column per level; for a single number one value per row.
        """
        mean, size = self._mean_and_size(X)
        levels = check_levels(levels, name="levels")
        z = residuals.quantiles(
            self.residuals_, np.atleast_1d(levels), self.finite_sample
        )
        found = mean[:, None] + size[:, None] * z
        return found[:, 0] if np.ndim(levels) == 0 else found

    def predict_interval(self, X, coverage=0.9):
        """Return central intervals.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        coverage : float, default=0.9
            Probability that a new value is inside.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper bounds.

        Warns
        -----
        UserWarning
            If ``finite_sample`` is set and there are too few calibration rows
            for the coverage; the interval then spans all residuals.
        """
        mean, size = self._mean_and_size(X)
        coverage = check_levels(coverage, name="coverage")
        if np.ndim(coverage):
            raise ValueError("coverage must be one number.")
        needed, n = residuals.rows_needed(coverage), len(self.residuals_)
        if self.finite_sample and n < needed:
            warnings.warn(
                f"A coverage of {coverage:g} needs {needed} calibration rows; there "
                f"are {n}. The interval spans all residuals and may cover less.",
                UserWarning,
                stacklevel=2,
            )
        ends = residuals.interval(self.residuals_, coverage, self.finite_sample)
        return mean[:, None] + size[:, None] * np.array(ends)

    def cdf(self, X, y):
        """Return the probability of a value up to ``y``, row by row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            One value per row.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            Steps of one over the number of calibration rows. On new rows it is about
            uniform.
        """
        mean, size = self._mean_and_size(X)
        return residuals.cdf(self.residuals_, (self._values(y, mean) - mean) / size)

    def crps(self, X, y):
        """Return the continuous ranked probability score, row by row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            What happened.

        Returns
        -------
        crps : ndarray of shape (n_samples,)
            In units of y; the smaller, the better. For a point forecast it is the
            absolute error.
        """
        mean, size = self._mean_and_size(X)
        z = (self._values(y, mean) - mean) / size
        return size * residuals.crps(self.residuals_, z)

    def sample(self, X, n=1):
        """Draw from the predictive distributions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n : int, default=1
            Number of draws per row.

        Returns
        -------
        draws : ndarray of shape (n_samples, n)
            Independent between rows. The same call draws the same values.
        """
        mean, size = self._mean_and_size(X)
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
            raise ValueError(f"n must be a positive integer, got {n!r}.")
        rng = np.random.default_rng(self._seed)
        rows = rng.integers(0, len(self.residuals_), size=(len(mean), n))
        return mean[:, None] + size[:, None] * self.residuals_[rows]

    def _values(self, y, mean):
        y = check_values(column_or_1d(y))
        check_consistent_length(y, mean)
        return y


def check_values(y):
    """Return finite floats."""
    try:
        if y.dtype.kind == "c":
            raise ValueError("Complex data not supported: y is complex.")
        y = y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y must hold numbers. {error}") from error
    if not np.isfinite(y).all():
        kind = "NaN" if np.isnan(y).any() else "infinity"
        raise ValueError(f"Input y contains {kind}.")
    return y


def _mean_and_std(estimator, X):
    """Means and standard deviations.

    scikit-learn's linear models multiply unchecked rows by a matrix here, which frames
    of nullable numbers and those of polars do not survive.
    """
    numbers = hasattr(X, "columns") and all_numbers(X)
    if numbers and hasattr(X, "astype"):
        return estimator.predict(X.astype(np.float64), return_std=True)
    if not numbers:
        return estimator.predict(X, return_std=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return estimator.predict(np.asarray(X, dtype=np.float64), return_std=True)


def _predict(models, floor, X):
    """Means and positive scales of rows."""
    estimator, scale_estimator, uses_std = models
    if scale_estimator is not None:
        mean = column_or_1d(estimator.predict(X))
        size = column_or_1d(scale_estimator.predict(X))
        size = np.maximum(size, floor)
    elif uses_std:
        mean, size = _mean_and_std(estimator, X)
    else:
        mean = column_or_1d(estimator.predict(X))
        size = np.ones(len(mean))
    mean, size = (np.asarray(a, dtype=np.float64) for a in (mean, size))
    # no error anywhere, or a frozen scale that is not positive
    return mean, np.where(size > 0, size, 1.0)
