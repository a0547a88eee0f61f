"""The estimator of online Platt scaling: input, classes, state."""

from numbers import Real

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import (
    assert_all_finite,
    check_consistent_length,
    check_random_state,
    column_or_1d,
    get_tags,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import check_table, whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, require_y
from skdiff.calibration._online_platt import _steps as steps


class OnlinePlattCalibrator(SaveMixin, ClassifierMixin, BaseEstimator):
    """Calibrate a stream of probabilities, one outcome at a time.

    A logistic map of the forecasts is corrected after every outcome by an online Newton
    step, at a cost that does not grow with the stream; it follows drift without a
    window to choose and is, for any sequence, in the long run nearly as good as the
    best fixed Platt map. Use it behind a classifier in service whose world changes.
    Where nothing changes, Platt scaling on a batch is simpler and as good.

    Parameters
    ----------
    method : {"platt", "beta"}, default="platt"
        Features of a forecast ``f``: ``logit f``, or ``log f`` and ``log(1 - f)``,
        which also bend.
    calibeating : {"tracking", "hedging"} or None, default=None
        What is done to the result. ``"tracking"`` replaces it by the past frequency of
        its bin and pays when the logistic form is wrong; ``"hedging"`` plays bin
        points, at random between neighbours where it must, and is calibrated against
        any sequence, at a loss in sharpness.
    bin_width : float, default=0.1
        Width of the bins of calibeating, rounded so that they fill [0, 1].
    clip : float, default=0.01
        Forecasts are moved into ``[clip, 1 - clip]`` before their logarithm.
    gamma : float, default=0.1
        Inverse of the step size. Smaller reacts faster and trembles more.
    initial_precision : float, default=100.0
        Start of the curvature matrix, a multiple of the identity: the trust in the
        forecasts as they are.
    radius : float, default=100.0
        Largest norm of the coefficients.
    input : {"auto", "probability", "decision"}, default="auto"
        What the forecasts are. A one-dimensional array holds probabilities of
        ``classes_[1]``. A table has one forecaster per column: probabilities if, with
        ``"auto"``, all values of the first rows seen lie in [0, 1], else log odds such
        as ``decision_function`` gives; two columns of probabilities that sum to one are
        the ``predict_proba`` of one classifier. Several forecasters are combined.
    estimator : fitted classifier, default=None
        A binary classifier whose ``predict_proba`` is calibrated; X then holds its
        features. It is not refitted; wrap it in
        :class:`~sklearn.frozen.FrozenEstimator` where the calibrator is cloned.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the random bins of hedging.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels.
    coef_ : ndarray of shape (n_coefs,)
        Coefficients of the log odds of each forecaster, or of ``log f`` of each and
        then ``log(1 - f)`` of each.
    intercept_ : float
        The constant of the map.
    n_seen_ : int
        Outcomes learnt from.
    input_ : str
        ``"probability"`` or ``"decision"``.
    bin_counts_ : ndarray of shape (n_bins,) or (n_bins, n_bins), or None
        Times each bin came (tracking), or each point was played in it (hedging).
    bin_sums_ : ndarray of the same shape, or None
        Positive outcomes among them.
    n_features_in_ : int
        Number of columns seen in ``fit``; 1 for a one-dimensional array.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the columns, when X had them.

    See Also
    --------
    CalibratedProbabilityClassifier : Train a network towards calibrated probabilities.
    sklearn.calibration.CalibratedClassifierCV : Platt and isotonic maps of a batch.
    skdiff.metrics.sharpness : What calibration alone does not measure.

    Notes
    -----
    The order of rows matters, and a block leaves exactly what its rows one by one
    leave. Rows have no weights: a weight has no place in the order. With hedging,
    ``predict_proba`` returns what each row would get if it came next, by the random
    number of that step. Only binary classification is supported. Where the paper starts
    a bin of tracking from a constant, the scaled forecast itself is used here.

    References
    ----------
    C. Gupta and A. Ramdas, "Online Platt Scaling with Calibeating", ICML 2023,
    arXiv 2305.00070.

    D. P. Foster, "A Proof of Calibration via Blackwell's Approachability Theorem",
    Games and Economic Behavior 29, 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.calibration import OnlinePlattCalibrator
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(size=2000)
    >>> y = rng.uniform(size=2000) < p**2  # the forecasts are too high
    >>> calibrator = OnlinePlattCalibrator().partial_fit(p, y)
    >>> bool(abs(calibrator.predict_proba([0.5])[0, 1] - 0.25) < 0.05)
    True
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"platt", "beta"})],
        "calibeating": [StrOptions({"tracking", "hedging"}), None],
        "bin_width": [Interval(Real, 0, 1, closed="right")],
        "clip": [Interval(Real, 0, 0.5, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "initial_precision": [Interval(Real, 0, None, closed="neither")],
        "radius": [Interval(Real, 0, None, closed="neither")],
        "input": [StrOptions({"auto", "probability", "decision"})],
        "estimator": [HasMethods("predict_proba"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        method="platt",
        calibeating=None,
        bin_width=0.1,
        clip=0.01,
        gamma=0.1,
        initial_precision=100.0,
        radius=100.0,
        input="auto",
        estimator=None,
        random_state=None,
    ):
        self.method = method
        self.calibeating = calibeating
        self.bin_width = bin_width
        self.clip = clip
        self.gamma = gamma
        self.initial_precision = initial_precision
        self.radius = radius
        self.input = input
        self.estimator = estimator
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Two classes.

        ``one_d_array`` stays unset: in scikit-learn it marks estimators that take
        nothing else, and its checks would then send a column of any numbers.
        """
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        if self.estimator is not None:
            inner = get_tags(self.estimator).input_tags
            for name in ("sparse", "allow_nan", "categorical", "string"):
                setattr(tags.input_tags, name, getattr(inner, name))
        return tags

    # --- learning -------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Forget everything and learn from rows in their order.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_forecasters)
            Forecasts, or features where ``estimator`` is given.
        y : array-like of shape (n_samples,)
            Outcomes of two classes.

        Returns
        -------
        self : object
            The fitted calibrator.
        """
        self._learn(X, y, None, first=True, both=True)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None):
        """Learn from further rows, in their order.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_forecasters)
            Forecasts, or features where ``estimator`` is given.
        y : array-like of shape (n_samples,)
            Outcomes.
        classes : array-like of shape (2,), default=None
            The two labels. Needed at the first call if they are not 0 and 1 (or False
            and True) and its rows do not have both.

        Returns
        -------
        self : object
            The calibrator.
        """
        self._learn(X, y, classes, first=not self.__sklearn_is_fitted__())
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def predict_then_update(self, X, y, classes=None):
        """Forecast each row before its outcome is learnt from: honest online use.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_forecasters)
            Forecasts, or features where ``estimator`` is given.
        y : array-like of shape (n_samples,)
            Outcomes.
        classes : array-like of shape (2,), default=None
            The two labels, as in :meth:`partial_fit`.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Probabilities of the classes given what came before each row.
        """
        p = self._learn(X, y, classes, first=not self.__sklearn_is_fitted__())
        return np.column_stack([1 - p, p])

    def _learn(self, X, y, classes, *, first, both=False):
        """Run a block through the steps; return its forecasts. All or nothing."""
        if not first:
            return self._advance(X, y, classes, first, both)
        with whole_fit(self):
            return self._advance(X, y, classes, first, both)

    def _advance(self, X, y, classes, first, both):
        f, kind = self._forecasts(X, reset=first)
        require_y(self, y)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        check_consistent_length(f, y)
        classes = self._classes(y, classes, first, both)
        outcome = (y == classes[1]).astype(np.float64)
        Z = steps.features(f, self.method, self.clip)
        state = self._fresh(f.shape[1]) if first else self._state.copy()
        newton = steps.newton_steps(
            state["theta"], state["inverse"], Z, outcome, self.gamma, self.radius
        )
        forecasts, n_seen = newton.forecasts, 0 if first else self.n_seen_
        counts, sums = state["counts"], state["sums"]
        if counts is not None:
            counts, sums = counts.copy(), sums.copy()
        if self.calibeating == "tracking":
            forecasts = steps.track_steps(forecasts, outcome, counts, sums)
        elif self.calibeating == "hedging":
            u = steps.draws(state["seed"], n_seen, len(y))
            forecasts = steps.hedge_steps(forecasts, u, outcome, counts, sums)
        self._state = {
            "theta": newton.theta,
            "inverse": newton.inverse,
            "counts": counts,
            "sums": sums,
            "seed": state["seed"],
        }
        self.classes_ = classes
        self.input_, self._pair = kind
        self.coef_, self.intercept_ = newton.theta[:-1], float(newton.theta[-1])
        self.bin_counts_, self.bin_sums_ = counts, sums
        self.n_seen_ = n_seen + len(y)
        return forecasts

    def _fresh(self, n_forecasters):
        """The state before the first outcome."""
        theta = steps.identity_map(n_forecasters, self.method)
        n_bins = max(1, round(1 / self.bin_width))
        shape = {"tracking": (n_bins,), "hedging": (n_bins, n_bins)}.get(
            self.calibeating
        )
        return {
            "theta": theta,
            "inverse": np.eye(len(theta)) / self.initial_precision,
            "counts": None if shape is None else np.zeros(shape),
            "sums": None if shape is None else np.zeros(shape),
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
        }

    def _classes(self, y, classes, first, both):
        """The two labels, known, given or found."""
        labels = np.unique(y)
        if len(labels) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                "multiclass."
            )
        if both and len(labels) < 2:
            raise ValueError(f"y holds one class, {labels[0]!r}; two are needed.")
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"classes={classes} is not the same as on the last call to "
                    f"partial_fit, which was {self.classes_}."
                )
            if len(classes) != 2:
                raise ValueError(f"classes must hold two labels, got {classes}.")
        elif not first:
            classes = self.classes_
        elif self.estimator is not None:
            classes = np.asarray(self.estimator.classes_)
        elif len(labels) == 2:
            classes = labels
        elif labels.dtype.kind in "biuf" and set(labels.tolist()) <= {0, 1}:
            classes = np.array([0, 1]).astype(labels.dtype)
        else:
            raise ValueError(
                f"y holds one class, {labels[0]!r}, so far. Give both in classes."
            )
        if unknown := set(labels.tolist()) - set(classes.tolist()):
            raise ValueError(f"y holds labels {unknown} that are not in {classes}.")
        return classes

    # --- input ----------------------------------------------------------------------

    def _forecasts(self, X, *, reset):
        """Probabilities of shape (n_rows, n_forecasters), and what the input was."""
        flat = self.estimator is None and _is_flat(X)
        X = np.asarray(X) if flat else X
        if self.estimator is not None:
            check_is_fitted(self.estimator)
            X = check_table(self, X, [self.estimator], reset=reset)
            proba = np.asarray(self.estimator.predict_proba(X), dtype=np.float64)
            if proba.shape[1] != 2:
                raise ValueError(
                    f"estimator knows {proba.shape[1]} classes. Only binary "
                    "classification is supported."
                )
            return proba[:, 1:], ("probability", True)
        if flat and (reset or self.n_features_in_ == 1):
            X = X.reshape(-1, 1)
        X = check_X(self, X, dtype=np.float64, reset=reset)
        kind = self._kind(X, flat) if reset else (self.input_, self._pair)
        if kind[0] == "decision":
            return expit(X), kind
        if X.min() < 0 or X.max() > 1:
            raise ValueError(
                "The forecasts must be probabilities between 0 and 1; they range from "
                f"{X.min():.6g} to {X.max():.6g}. For log odds give a table of one "
                "column per forecaster and input='decision'."
            )
        if kind[1] and np.abs(X.sum(axis=1) - 1).max() > 1e-3:
            raise ValueError("The two probabilities of a row must sum to one.")
        return X[:, 1:] if kind[1] else X, kind

    def _kind(self, X, flat):
        """What the first rows are: probabilities or log odds, a pair or not."""
        kind = self.input
        if kind == "auto":
            inside = X.min() >= 0 and X.max() <= 1
            kind = "probability" if flat or inside else "decision"
        pair = kind == "probability" and X.shape[1] == 2
        return kind, bool(pair and np.abs(X.sum(axis=1) - 1).max() < 1e-6)

    def __sklearn_is_fitted__(self):
        """Tell whether an outcome has been learnt from."""
        return hasattr(self, "n_seen_")

    # --- inference ------------------------------------------------------------------

    def predict_proba(self, X):
        """Return calibrated probabilities; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_forecasters)
            Forecasts, or features where ``estimator`` is given.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Rows sum to one; columns follow ``classes_``.
        """
        check_is_fitted(self)
        f, _ = self._forecasts(X, reset=False)
        state = self._state
        # row by row: a product of matrices would depend on how many rows there are
        p = expit((steps.features(f, self.method, self.clip) * state["theta"]).sum(1))
        if self.calibeating == "tracking":
            p = steps.tracked(p, state["counts"], state["sums"])
        elif self.calibeating == "hedging":
            u = steps.draws(state["seed"], self.n_seen_, 1)[0]
            p = steps.hedged(p, u, state["counts"], state["sums"])
        return np.column_stack([1 - p, p])

    def predict(self, X):
        """Return the likelier class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_forecasters)
            Forecasts, or features where ``estimator`` is given.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        p = self.predict_proba(X)[:, 1]
        return self.classes_[(p > 0.5).astype(int)]


def _is_flat(X):
    """Tell whether X is one-dimensional, before anything is known of it."""
    if hasattr(X, "ndim"):
        return X.ndim == 1
    return isinstance(X, (list, tuple)) and not any(np.ndim(v) for v in X)
