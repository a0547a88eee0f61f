"""ScoreCurve: a regressor from training sizes to scores."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, check_sample_weight, fit_context
from skdiff._base.inner import whole_fit
from skdiff._base.parameters import EVERYWHERE, NON_NEGATIVE
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_levels, refuse_dates, require_y
from skdiff._convex._power_curve import RatePrior
from skdiff.model_selection._score_curve._numbers import (
    covariance,
    fit_all,
    from_state,
    size_for,
    to_state,
)
from skdiff.model_selection._score_curve._patterns import N_PARAMETERS, Fitting
from skdiff.model_selection._score_curve._spread import (
    deviation,
    probability_above,
    quantiles,
)
from skdiff.model_selection._score_curve._trace import Points, Trace, trace_of

_AUTO = ("power", "exp3", "log2", "mmf4", "weibull4")
_PRECISE = 0.02


class ScoreCurve(SaveMixin, RegressorMixin, BaseEstimator):
    """Extrapolate scores over training sizes by a power law.

    Give it the sizes and scores of :func:`~sklearn.model_selection.learning_curve`, and
    it predicts the score with more rows, with intervals, and the number of rows that
    reaches a given score. :class:`TrainingSizeEstimator` makes the scores, too.

    Parameters
    ----------
    pattern : {"power", "power2", "exp3", "log2", "mmf4", "weibull4", "auto"}, \
default="power"
        Family of curves: ``c - a * x ** -b``, the same with c = ``upper``,
        ``c - a * exp(-b * x)``, ``c + a * log(x)``, Morgan-Mercer-Flodin and Weibull
        curves. ``"auto"`` averages those with a free level by their errors at the
        largest size, which each has to predict from the others.
    weights : {"recency", "uniform", "auto"}, default="recency"
        ``"recency"`` gives the squared residual at size x the weight
        ``(x / x.max()) ** recency``: the tail of a curve tells more about what follows.
        ``"auto"`` raises ``recency`` to 2 where standard errors over repeats are below
        2 % of the range of the scores.
    recency : float, default=1.5
        Exponent of the weights.
    upper : float, default=1.0
        Largest possible score, which bounds the asymptote: 1 for accuracies and R
        squared, 0 for negated losses, ``numpy.inf`` where there is none.
    lower : float, default=None
        Smallest possible score, which bounds predictions.
    rate_prior : tuple of (float, float) or None, default=(0.5, 0.85)
        Median and spread of the logarithm of the rate b of power laws. Few noisy sizes
        hardly determine b. None is least squares.
    intervals : {"bootstrap"} or None, default="bootstrap"
        ``"bootstrap"`` draws repeats jointly over the sizes, or noise of the size of
        the residuals where there is one score per size. None saves the time.
    tol : float, default=0.005
        Tolerance of the stopping rule. Thickness of the trace up to which it has
        converged, in units of the scores.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    asymptote_ : float
        Score with infinitely many rows.
    amplitude_ : float
        The a of the power law, sizes in rows; of other patterns their coefficient. NaN
        for ``"auto"``.
    rate_ : float
        The b of the power law; of other patterns their first parameter, in units of the
        largest size. NaN for ``"auto"``.
    params_cov_ : ndarray of shape (3, 3)
        Covariance of asymptote, amplitude and rate, to first order; NaN for other
        patterns than power laws.
    pattern_weights_ : dict
        Weight of each pattern.
    recency_ : float
        Exponent of the weights that was used.
    trace_ : ndarray of shape (n_levels,)
        Asymptote predicted from the first 3, 4, ... sizes. From ``prediction_level_``
        on the asymptote before counts as one more observation. Of the first pattern if
        there are several.
    trace_thickness_ : ndarray of shape (n_levels,)
        Thickness at each level.
    working_level_ : int or None
        Number of sizes from which the trace moves calmly; None if it does not.
    prediction_level_ : int or None
        Number of sizes from which, moreover, the asymptote is a possible score.
    thickness_ : float
        Distance of the last trend to its asymptote where it last crosses the trend
        before: later trends differ by less, if the trace goes on as it does.
    converged_ : bool
        Whether a thickness from ``prediction_level_`` on is at most ``tol``.
    monotone_ : bool
        Whether no score is below an earlier one by more than twice its noise.
    sizes_ : ndarray of shape (n_sizes,)
        Sizes in order.
    scores_ : ndarray of shape (n_sizes,)
        Their scores, averaged over repeats.
    score_std_ : ndarray of shape (n_sizes,)
        Standard errors over repeats; NaN without repeats.
    n_features_in_ : int
        One: the size.
    feature_names_in_ : ndarray of shape (1,)
        Its name, if X was a frame.

    See Also
    --------
    TrainingSizeEstimator : Scores an estimator on growing sets and fits this curve.
    sklearn.model_selection.learning_curve : The scores, without a curve.

    Notes
    -----
    For a fixed rate the curve is linear in c and a; the rate is found on a grid that
    closes in on the best, for all levels of the trace and all replicates at once. With
    a prior the variance of the noise is integrated out. Losses are fitted as negative
    scores. Scores that do not rise give a constant, their weighted mean: on noisy
    curves it is a better forecast than the last score.

    Errors of extrapolation have heavy tails: intervals are those of Student's
    distribution with two degrees of freedom, whose scale holds the bootstrap's spread,
    that of the rate, and the noise, times ``1 + 0.6 log(n / x.max())``. The two numbers
    were fitted to half of the data sets of the curve data base LCDB. The variance is
    infinite; what ``return_std`` gives is half the width of the central 68 % interval.

    References
    ----------
    M. Vilares Ferro, V. M. Darriba Bilbao and F. J. Ribadas Pena, "Modeling of learning
    curves with applications to POS tagging", Computer Speech & Language 2017,
    arXiv 2402.02515; "Absolute convergence and error thresholds in non-active adaptive
    sampling", arXiv 2402.02522.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_selection import ScoreCurve
    >>> sizes = np.array([100, 200, 400, 800, 1600])
    >>> curve = ScoreCurve().fit(sizes, 0.95 - 2.0 * sizes**-0.5)
    >>> round(float(curve.predict([10_000])[0]), 3)
    0.93
    >>> round(curve.required_size(0.94))
    40000
    """

    _parameter_constraints = {
        "pattern": [StrOptions({*N_PARAMETERS, "auto"})],
        "weights": [StrOptions({"recency", "uniform", "auto"})],
        "recency": NON_NEGATIVE,
        "upper": [Interval(Real, None, None, closed="both")],
        "lower": [Interval(Real, None, None, closed="both"), None],
        "rate_prior": [tuple, list, None],
        "intervals": [StrOptions({"bootstrap"}), None],
        "tol": NON_NEGATIVE,
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        pattern="power",
        weights="recency",
        recency=1.5,
        upper=1.0,
        lower=None,
        *,
        rate_prior=(0.5, 0.85),
        intervals="bootstrap",
        tol=0.005,
        random_state=None,
    ):
        self.pattern = pattern
        self.weights = weights
        self.recency = recency
        self.upper = upper
        self.lower = lower
        self.rate_prior = rate_prior
        self.intervals = intervals
        self.tol = tol
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Sizes are one positive column."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.positive_only = True
        tags.target_tags.required = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the curve.

        Parameters
        ----------
        X : array-like of shape (n_sizes,) or (n_sizes, 1)
            Training sizes; at least three different ones.
        y : array-like of shape (n_sizes,) or (n_sizes, n_repeats)
            Scores, larger is better; columns are repeats, such as folds.
        sample_weight : array-like of shape (n_sizes,), default=None
            How many observations each row stands for. A row of weight zero is absent.

        Returns
        -------
        self : object
            Fitted curve.
        """
        with whole_fit(self):
            require_y(self, y)
            sizes = self._read_sizes(X)
            repeats = check_array(
                y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self
            )
            if repeats.ndim == 2 and repeats.shape[1] == 1:
                repeats = column_or_1d(repeats, warn=True)
            repeats = repeats.reshape(len(repeats), -1)
            check_consistent_length(sizes, repeats)
            number = np.ones(len(sizes))
            if sample_weight is not None:
                number = check_sample_weight(sample_weight, sizes[:, None])
            how, lower = self._how()
            order = np.argsort(sizes, kind="stable")
            order = order[number[order] > 0]
            sizes, repeats, number = sizes[order], repeats[order], number[order]
            self._check_points(sizes, repeats, lower)
            scores = repeats.mean(axis=1)
            several = repeats.shape[1] > 1
            error = np.full(len(sizes), np.nan)
            if several:
                error = repeats.std(axis=1, ddof=1) / np.sqrt(repeats.shape[1])
            power = self._exponent(scores, error)
            weight = number * (sizes / sizes[-1]) ** power
            points = Points(sizes, scores, weight, number)
            patterns = _AUTO if self.pattern == "auto" else (self.pattern,)
            patterns = self._feasible(patterns, points)
            rng = None
            if self.intervals is not None:
                rng = check_random_state(self.random_state)
            fitted = fit_all(
                patterns, points, how, lower, repeats if several else None, rng
            )
            self._set(fitted, _merged(points, power))
            self.n_features_in_ = 1
            if hasattr(X, "columns"):
                self.feature_names_in_ = np.asarray(X.columns, dtype=object)
            self.recency_ = power
            self.sizes_, self.scores_, self.score_std_ = sizes, scores, error
        return self

    def _read_sizes(self, X):
        refuse_dates(X)
        X = check_array(X, ensure_2d=False, dtype=np.float64, estimator=self)
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]
        if X.ndim != 1:
            raise ValueError(
                "Training sizes are one column: expected shape (n_sizes,) or "
                f"(n_sizes, 1). Got {X.shape}."
            )
        if np.any(X <= 0):
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}: training "
                "sizes must be positive."
            )
        return X

    def _how(self):
        """Bounds and prior, checked."""
        upper = float(self.upper)
        lower = -np.inf if self.lower is None else float(self.lower)
        if np.isnan(upper) or np.isnan(lower) or not lower < upper:
            raise ValueError(f"lower={self.lower} must be below upper={self.upper}.")
        if self.pattern == "power2" and not np.isfinite(upper):
            raise ValueError("pattern='power2' ends at upper, which must be finite.")
        prior = None
        if self.rate_prior is not None:
            values = np.asarray(self.rate_prior, dtype=np.float64)
            if values.shape != (2,) or not np.all((values > 0) & np.isfinite(values)):
                raise ValueError(
                    "rate_prior must be two positive numbers, median and spread. Got "
                    f"{self.rate_prior!r}."
                )
            prior = RatePrior(*values.tolist())
        return Fitting(upper, prior), lower

    def _check_points(self, sizes, scores, lower):
        n = len(np.unique(sizes))
        if n < 3:
            raise ValueError(
                f"A learning curve needs 3 different sizes at least. Got n_samples = "
                f"{len(sizes)} with {n} different sizes (3 is required)."
            )
        if scores.max() > self.upper:
            raise ValueError(
                f"The score {scores.max():.6g} is above upper={self.upper}. Pass the "
                "largest possible score, or numpy.inf."
            )
        if scores.min() < lower:
            raise ValueError(
                f"The score {scores.min():.6g} is below lower={self.lower}. Negate "
                "losses and pass upper=0."
            )

    def _exponent(self, scores, error):
        if self.weights == "uniform":
            return 0.0
        precise = np.mean(error) <= _PRECISE * np.ptp(scores)  # False for NaN
        return 2.0 if self.weights == "auto" and precise else float(self.recency)

    def _feasible(self, patterns, points):
        """Patterns with no more parameters than sizes."""
        n = len(np.unique(points.sizes))
        kept = tuple(p for p in patterns if N_PARAMETERS[p] <= n)
        if not kept:
            raise ValueError(
                f"pattern={self.pattern!r} has {N_PARAMETERS[self.pattern]} parameters "
                f"and there are {n} different sizes."
            )
        return kept

    def _set(self, fitted, merged):
        curve = fitted.members[0].curve
        pattern = curve.pattern
        alone = len(fitted.members) == 1
        power = alone and pattern in ("power", "power2")
        self._fitted = to_state(fitted)
        self.asymptote_ = fitted.asymptote()
        rate = float(curve.shape[0, 0])
        amplitude = float(curve.amplitude[0])
        if power:
            amplitude *= curve.scale**rate
        self.rate_ = rate if alone else np.nan
        self.amplitude_ = amplitude if alone else np.nan
        self.params_cov_ = covariance(fitted) if power else np.full((3, 3), np.nan)
        self.pattern_weights_ = {m.curve.pattern: m.weight for m in fitted.members}
        self._merged, self._trace = merged._asdict(), None
        fall = np.maximum.accumulate(merged.scores) - merged.scores
        residual = merged.scores - fitted.predict(merged.sizes)
        self.monotone_ = bool(np.all(fall <= 2 * np.std(residual) + 1e-12))

    def _levels(self):
        """The trace, made when first read: it costs more than the fit."""
        if "_merged" not in vars(self):  # hasattr is False before fit
            raise AttributeError(f"This {type(self).__name__} has no trace before fit.")
        if self._trace is None:
            fitted = from_state(self._fitted)
            pattern, points = fitted.members[0].curve.pattern, Points(**self._merged)
            self._trace = trace_of(pattern, points, fitted.how)._asdict()
        return Trace(**self._trace)

    @property
    def trace_(self):
        """Asymptotes predicted from the first 3, 4, ... sizes."""
        return self._levels().asymptotes

    @property
    def trace_thickness_(self):
        """Thickness at each level."""
        return self._levels().thickness

    @property
    def working_level_(self):
        """Number of sizes from which the trace moves calmly."""
        return self._levels().working

    @property
    def prediction_level_(self):
        """Number of sizes from which the asymptote is a possible score."""
        return self._levels().prediction

    @property
    def thickness_(self):
        """Thickness at the last level."""
        return float(self._levels().thickness[-1])

    @property
    def converged_(self):
        """Whether a thickness from ``prediction_level_`` on is at most ``tol``."""
        first = self.prediction_level_
        late = np.inf if first is None else first - 3
        thickness = self.trace_thickness_
        within = (thickness <= self.tol) & (np.arange(len(thickness)) >= late)
        return bool(within.any())

    def predict(self, X, return_std=False):
        """Predict scores.

        Parameters
        ----------
        X : array-like of shape (n_sizes,) or (n_sizes, 1)
            Training sizes.
        return_std : bool, default=False
            Whether to return deviations as well.

        Returns
        -------
        y : ndarray of shape (n_sizes,)
            Scores, never falling.
        std : ndarray of shape (n_sizes,)
            Half the widths of central 68 % intervals, with ``return_std`` only.
        """
        check_is_fitted(self)
        sizes = self._read_sizes(X)
        fitted = from_state(self._fitted)
        found = fitted.predict(sizes)
        return (found, deviation(fitted.spread(sizes))) if return_std else found

    def predict_quantiles(self, X, q=(0.05, 0.5, 0.95)):
        """Predict quantiles of the score.

        Parameters
        ----------
        X : array-like of shape (n_sizes,) or (n_sizes, 1)
            Training sizes.
        q : array-like of shape (n_levels,), default=(0.05, 0.5, 0.95)
            Levels between 0 and 1.

        Returns
        -------
        scores : ndarray of shape (n_sizes, n_levels)
            Quantiles, cut at ``lower`` and ``upper``.
        """
        check_is_fitted(self)
        sizes = self._read_sizes(X)
        levels = check_levels(q, name="q")
        fitted = from_state(self._fitted)
        found = quantiles(fitted.predict(sizes), fitted.spread(sizes), levels)
        return np.clip(found, fitted.lower, fitted.how.upper)

    def probability_above(self, X, target):
        """Return the probability of reaching a score.

        Parameters
        ----------
        X : array-like of shape (n_sizes,) or (n_sizes, 1)
            Training sizes.
        target : float
            Score.

        Returns
        -------
        p : ndarray of shape (n_sizes,)
            Probabilities of a score of at least ``target``; zero above ``upper``.
        """
        check_is_fitted(self)
        sizes = self._read_sizes(X)
        fitted = from_state(self._fitted)
        if target > fitted.how.upper:
            return np.zeros(len(sizes))
        return probability_above(fitted.predict(sizes), fitted.spread(sizes), target)

    def required_size(self, target):
        """Return the training size at which a score is predicted.

        Parameters
        ----------
        target : float
            Score.

        Returns
        -------
        size : float
            Where :meth:`predict` reaches it; ``inf`` where it never does.
        """
        check_is_fitted(self)
        return size_for(from_state(self._fitted), float(target))


def _merged(points, power):
    """One point per size, for the trace."""
    sizes, where = np.unique(points.sizes, return_inverse=True)
    number = np.bincount(where, weights=points.number)
    scores = np.bincount(where, weights=points.number * points.scores) / number
    return Points(sizes, scores, number * (sizes / sizes[-1]) ** power, number)
