"""Learning curves continued by a network that has learned a prior over curves."""

import warnings
from numbers import Integral

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, fit_context
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import (
    check_levels,
    check_X,
    refuse_dates,
    refuse_foreign_arrays,
)
from skdiff.model_selection._curve_network._forecast import Forecast
from skdiff.model_selection._curve_network._importance import prior_draws, weigh
from skdiff.model_selection._curve_network._mixture import Mixture
from skdiff.model_selection._curve_network._network import (
    context,
    double_precision,
    forecast,
)
from skdiff.model_selection._curve_network._scale import Scale
from skdiff.model_selection._curve_network._summary import observe, queries, summarise

#: of the importance sampler: below this its answer is a handful of draws
_FEW_DRAWS = 20
#: fractions of a complete curve after which the spread is calibrated
_CUTOFFS = (0.1, 0.2, 0.4, 0.8)
#: values of curves times epochs that are predicted at once
_BLOCK = 30_000


class LearningCurvePFN(SaveMixin, BaseEstimator):
    """Predict how learning curves go on, with a distribution for every later epoch.

    Use it to decide after a few epochs whether a training is worth its remaining
    epochs. A small network has learned, from millions of curves drawn from a prior, to
    map the observed part of a curve to the distribution of each later value; applying
    it takes well under a millisecond per curve. Nothing is trained in ``fit``.

    Parameters
    ----------
    prior : {"extended", "domhan"}, default="extended"
        Prior over curves. ``"domhan"`` is the one of the paper: rising, saturating
        curves with independent Gaussian noise. ``"extended"`` adds late starts, steps,
        constants, slow declines, and noise as validation scores have it.
    method : {"network", "importance"}, default="network"
        ``"importance"`` weights draws of the prior by the likelihood of the observed
        part. It is exact up to sampling error, hundreds of times slower, and there for
        ``prior="domhan"`` only.
    horizon : int, default=100
        Number of epochs of a complete curve.
    direction : {"maximize", "minimize"}, default="maximize"
        Whether larger or smaller scores are better.
    bounds : tuple of two floats, default=(0, 1)
        Smallest and largest possible score; ``-inf`` and ``inf`` are allowed.
    soft_bounds : tuple of two floats, default=None
        Range in which scores usually lie. With it, or with an infinite bound, scores
        pass through a logistic map. By default the range of the scores given to
        ``fit`` where a bound is infinite.
    calibrate : bool, default=False
        Whether ``fit`` learns from its complete curves a factor by which the spread of
        the predictions is stretched.
    n_draws : int, default=40000
        Number of draws of ``method="importance"``.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It is
        used by ``method="importance"`` and by ``sample``.

    Attributes
    ----------
    n_epochs_in_ : int
        Number of epochs of the curves given to ``fit``.
    n_features_in_ : int
        The same number, as columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X had names.
    normalizer_ : object
        The map of scores onto the unit interval; ``forward`` and ``backward``.
    scale_ : float
        Factor by which the spread is stretched; 1.0 without ``calibrate``.

    See Also
    --------
    ScoreCurve : Scores against numbers of rows.
    PredictiveStopping : Stops networks by these predictions.
    PredictiveStoppingSearchCV : A search that stops hopeless candidates.

    Notes
    -----
    X holds one curve per row: column j is the score after epoch j + 1, NaN where it was
    not recorded. Later methods take curves of other lengths than ``fit``. Curves are
    scores of single epochs; running maxima follow another law. Predictions at different
    epochs are marginal distributions, not a joint one.

    References
    ----------
    S. Adriaensen, H. Rakotoarison, S. Müller and F. Hutter, "Efficient Bayesian
    Learning Curve Extrapolation using Prior-Data Fitted Networks", NeurIPS 2023,
    arXiv:2310.20447. The prior is that of T. Domhan, J. T. Springenberg and F. Hutter,
    "Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks by
    Extrapolation of Learning Curves", IJCAI 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_selection import LearningCurvePFN
    >>> epochs = np.arange(1, 11)
    >>> curves = np.array([0.9 - 0.4 / epochs, 0.6 - 0.1 / epochs])
    >>> model = LearningCurvePFN(horizon=50).fit(curves)
    >>> model.predict(curves).round(1)
    array([0.9, 0.6])
    >>> model.predict_proba_exceed(curves, 0.8).round(1)
    array([1., 0.])
    """

    _parameter_constraints: dict = {
        "prior": [StrOptions({"extended", "domhan"})],
        "method": [StrOptions({"network", "importance"})],
        "horizon": [Interval(Integral, 2, None, closed="left")],
        "direction": [StrOptions({"maximize", "minimize"})],
        "bounds": [tuple, list],
        "soft_bounds": [tuple, list, None],
        "calibrate": ["boolean"],
        "n_draws": [Interval(Integral, 100, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        prior="extended",
        method="network",
        *,
        horizon=100,
        direction="maximize",
        bounds=(0, 1),
        soft_bounds=None,
        calibrate=False,
        n_draws=40_000,
        random_state=None,
    ):
        self.prior = prior
        self.method = method
        self.horizon = horizon
        self.direction = direction
        self.bounds = bounds
        self.soft_bounds = soft_bounds
        self.calibrate = calibrate
        self.n_draws = n_draws
        self.random_state = random_state

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "normalizer_" in state:  # files hold plain containers
            state["normalizer_"] = tuple(state["normalizer_"])
        return state

    def __setstate__(self, state):
        if "normalizer_" in state:
            state = {**state, "normalizer_": Scale(*state["normalizer_"])}
        super().__setstate__(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check curves, and learn the range and the spread of scores if required.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Partial or complete curves; NaN where an epoch was not observed.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        if self.method == "importance" and self.prior != "domhan":
            raise ValueError(
                "method='importance' draws from the prior of the paper only: set "
                "prior='domhan', or method='network'."
            )
        low, high = _pair(self.bounds, "bounds")
        curves = self._check_curves(X, low, high)
        check_X(self, X, reset=True, skip_check_array=True)  # learns their names
        scale = self._normalizer(curves, low, high)
        stretch = 1.0
        if self.calibrate:
            stretch = self._fit_stretch(curves, scale)
        self.n_epochs_in_ = curves.shape[1]
        self.normalizer_ = scale
        self.scale_ = stretch
        return self

    def _check_curves(self, X, low, high):
        refuse_foreign_arrays(X, "X")
        refuse_dates(X)
        X = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
        if X.shape[1] > self.horizon:
            raise ValueError(
                f"X has {X.shape[1]} epochs, more than horizon={self.horizon}."
            )
        empty = np.flatnonzero(np.isnan(X).all(1))
        if len(empty):
            raise ValueError(
                f"Curve {empty[0]} of X has no observed value; at least one is needed."
            )
        outside = np.flatnonzero(((low > X) | (high < X)).any(1))
        if len(outside):
            raise ValueError(
                f"Curve {outside[0]} of X has values outside bounds={self.bounds}. "
                "Set bounds to the range that the score can take."
            )
        return X

    def _normalizer(self, curves, low, high):
        soft = self.soft_bounds
        if soft is not None:
            soft = _pair(soft, "soft_bounds")
            if not np.isfinite(soft).all() or soft[0] < low or soft[1] > high:
                raise ValueError(
                    f"soft_bounds must be finite and within bounds={self.bounds}. Got "
                    f"{self.soft_bounds}."
                )
        elif not np.isfinite([low, high]).all():
            soft = _usual_range(curves)
        return Scale(low, high, soft, self.direction == "minimize")

    def _fit_stretch(self, curves, scale):
        """Maximum likelihood of the stretch, on complete curves."""
        complete = curves[~np.isnan(curves).any(1)]
        cuts = sorted({max(1, int(c * self.horizon)) for c in _CUTOFFS})
        if curves.shape[1] < self.horizon or len(complete) < 2:
            raise ValueError(
                f"calibrate=True needs at least two complete curves of "
                f"horizon={self.horizon} epochs in X."
            )
        unit, mixtures, values = scale.forward(complete), [], []
        for cut in cuts:
            at = np.tile(np.arange(cut + 1, self.horizon + 1), (len(unit), 1))
            mixtures.append(self._mixture(unit[:, :cut], at))
            values.append(unit[:, cut:])

        def loss(log_stretch):
            wide = [m.stretched(np.exp(log_stretch)) for m in mixtures]
            parts = zip(wide, values, strict=True)
            return -np.mean([m.log_density(v).mean() for m, v in parts])

        found = minimize_scalar(loss, bounds=(-2, 2), method="bounded")
        return float(np.exp(found.x))

    def _mixture(self, unit, at):
        """Mixtures on the unit interval at epochs ``at`` of shape (n_curves, n_at)."""
        if self.method == "importance":
            return self._weighted(unit, at)
        arrays = double_precision(f"curves_{self.prior}")
        n, step = len(unit), max(1, _BLOCK // max(1, at.shape[1]))
        parts = []
        for start in range(0, n, step):
            rows = slice(start, start + step)
            seen = observe(unit[rows], self.horizon)
            every = np.arange(len(seen.values))
            last_column = np.full(len(every), unit.shape[1])
            summary, reference, last = summarise(seen, every, last_column)
            query = queries(last[:, None], at[rows] * (100.0 / self.horizon))
            parts.append(forecast(arrays, context(arrays, summary), query, reference))
        return Mixture(*(np.concatenate(a) for a in zip(*parts, strict=True)))

    def _weighted(self, unit, at):
        """Mixtures of prior draws, filled up to one number of components."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        draws = prior_draws(self.n_draws, self.horizon, seed)
        found, ess = weigh(draws, unit, at)
        few = np.flatnonzero(ess < _FEW_DRAWS)
        if len(few):
            warnings.warn(
                f"The effective sample size of {len(few)} curves is below "
                f"{_FEW_DRAWS} (curve {few[0]}: {ess[few[0]]:.1f} of {self.n_draws} "
                "draws); their predictions rest on a few draws. Increase n_draws, or "
                "use method='network'.",
                UserWarning,
                stacklevel=4,
            )
        most = max(m.means.shape[-1] for m in found)
        padded = [
            [np.pad(a, ((0, 0), (0, most - a.shape[-1])), mode=how) for a, how in
             zip(m, ("constant", "edge", "edge"), strict=True)]
            for m in found
        ]  # fmt: skip
        return Mixture(*(np.stack(parts) for parts in zip(*padded, strict=True)))

    def _forecast(self, X, at):
        """Forecasts at epochs ``at``: None, an int, or an array (n_at,)."""
        check_is_fitted(self)
        scale = self.normalizer_
        X = self._check_curves(X, scale.low, scale.high)
        at = np.asarray(self.horizon if at is None else at)
        if at.dtype.kind not in "iu" or at.ndim > 1 or at.size == 0:
            raise ValueError(f"at must be an epoch or a list of epochs. Got {at}.")
        if at.max() > self.horizon:
            raise ValueError(f"at={at.max()} is beyond horizon={self.horizon}.")
        last = _last_observed(X)
        late = np.flatnonzero(last >= at.min())
        if len(late):
            raise ValueError(
                f"Curve {late[0]} is observed up to epoch {last[late[0]]}; at must be "
                f"later. Got {at.min()} with horizon={self.horizon}."
            )
        grid = np.tile(np.atleast_1d(at), (len(X), 1))
        return self._at(X, grid)

    def _at(self, X, grid):
        mixture = self._mixture(self.normalizer_.forward(X), grid)
        if self.scale_ != 1.0:
            mixture = mixture.stretched(self.scale_)
        return Forecast(mixture, self.normalizer_)

    def predict(self, X, at=None):
        """Predict the mean score at later epochs.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        at : int or array-like of int of shape (n_at,), default=None
            Epochs, counted from 1; by default the last one, ``horizon``.

        Returns
        -------
        mean : ndarray of shape (n_curves,) or (n_curves, n_at)
            Means, in the units of the score.
        """
        return _as_asked(self._forecast(X, at).mean(), at)

    def predict_quantiles(self, X, q, at=None):
        """Predict quantiles of the score at later epochs.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        q : float or array-like of shape (n_levels,)
            Levels strictly between 0 and 1.
        at : int or array-like of int of shape (n_at,), default=None
            Epochs, counted from 1; by default the last one, ``horizon``.

        Returns
        -------
        quantiles : ndarray of shape (n_curves, n_levels) or (n_curves, n_levels, n_at)
            Quantiles, in the units of the score.
        """
        levels = np.atleast_1d(check_levels(q, name="q"))
        found = np.moveaxis(self._forecast(X, at).quantiles(levels), -1, 1)
        return found[:, :, 0] if _is_single(at) else found

    def predict_dist(self, X, at=None):
        """Return the predicted mixtures of Gaussians.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        at : int or array-like of int of shape (n_at,), default=None
            Epochs, counted from 1; by default the last one, ``horizon``.

        Returns
        -------
        weights, means, stds : ndarrays of shape (n_curves, n_at, n_components)
            A named tuple. Means and standard deviations are on the unit interval of
            ``normalizer_``, which with the default bounds are the units of the score.
        """
        return self._forecast(X, at).mixture

    def log_prob(self, X, Y):
        """Log density of what followed.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        Y : array-like of shape (n_curves, n_later)
            Scores of the epochs that follow the columns of X.

        Returns
        -------
        log_prob : ndarray of shape (n_curves, n_later)
            Log density of each value, in nats per unit of the score.
        """
        check_is_fitted(self)
        scale = self.normalizer_
        X = self._check_curves(X, scale.low, scale.high)
        Y = check_array(Y, dtype=np.float64, input_name="Y")
        if len(Y) != len(X):
            raise ValueError(f"Y has {len(Y)} curves and X has {len(X)}.")
        first, end = X.shape[1] + 1, X.shape[1] + Y.shape[1]
        if end > self.horizon:
            raise ValueError(
                f"X and Y together have {end} epochs, more than horizon={self.horizon}."
            )
        grid = np.tile(np.arange(first, end + 1), (len(X), 1))
        return self._at(X, grid).log_density(Y)

    def score(self, X, Y):
        """Mean log density of what followed.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        Y : array-like of shape (n_curves, n_later)
            Scores of the epochs that follow the columns of X.

        Returns
        -------
        score : float
            Mean over curves and epochs, in nats per unit of the score.
        """
        return float(self.log_prob(X, Y).mean())

    def sample(self, X, n_samples=1, *, at=None, random_state=None):
        """Draw scores of later epochs.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        n_samples : int, default=1
            Draws per curve.
        at : int or array-like of int of shape (n_at,), default=None
            Epochs, counted from 1; by default the last one, ``horizon``.
        random_state : int, RandomState instance or None, default=None
            Seed; by default the estimator's.

        Returns
        -------
        samples : ndarray of shape (n_curves, n_samples) or (n_curves, n_samples, n_at)
            Draws from the marginal distributions. Draws at several epochs are
            independent of each other and do not form a curve.
        """
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a positive int. Got {n_samples!r}.")
        seed = self.random_state if random_state is None else random_state
        rng = check_random_state(seed)
        draws = np.moveaxis(self._forecast(X, at).sample(int(n_samples), rng), 0, 1)
        return draws[:, :, 0] if _is_single(at) else draws

    def predict_proba_exceed(self, X, threshold, at="any"):
        """Probability that a later score is strictly better than a threshold.

        Parameters
        ----------
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        threshold : float or array-like of shape (n_curves,)
            Score to beat. With ``direction="minimize"`` better means smaller.
        at : int, array-like of int of shape (n_at,) or "any", default="any"
            Epochs, counted from 1. ``"any"`` is the largest of the probabilities of
            all later epochs: a lower bound of the probability that one of them is
            better, as in the paper.

        Returns
        -------
        probability : ndarray of shape (n_curves,) or (n_curves, n_at)
            Probabilities.
        """
        check_is_fitted(self)
        scale = self.normalizer_
        curves = self._check_curves(X, scale.low, scale.high)
        threshold = check_array(
            np.atleast_1d(threshold), ensure_2d=False, dtype=np.float64
        )
        if threshold.shape not in ((1,), (len(curves),)):
            raise ValueError(
                f"threshold must be a number or one per curve ({len(curves)}). Got "
                f"shape {threshold.shape}."
            )
        threshold = np.clip(threshold, scale.low, scale.high)[:, None]
        if not isinstance(at, str):
            found = self._forecast(curves, at)
            shape = found.mixture.means.shape[:-1]
            return _as_asked(found.better_than(np.broadcast_to(threshold, shape)), at)
        if at != "any":
            raise ValueError(f"at must be epochs or 'any'. Got {at!r}.")
        last = _last_observed(curves)
        complete = np.flatnonzero(last >= self.horizon)
        if len(complete):
            raise ValueError(
                f"Curve {complete[0]} is complete: it has no epoch after "
                f"horizon={self.horizon}."
            )
        # epochs after the last observed one of each curve; the last one fills the rest
        grid = last[:, None] + np.arange(1, self.horizon - last.min() + 1)
        grid = np.minimum(grid, self.horizon)
        found = self._at(curves, grid)
        return found.better_than(np.broadcast_to(threshold, grid.shape)).max(1)


def _pair(values, name):
    low, high = (float(v) for v in values) if len(values) == 2 else (1.0, 0.0)
    if not low < high:
        raise ValueError(
            f"{name} must be two numbers, the smaller one first. Got {values!r}."
        )
    return low, high


def _usual_range(curves):
    """From the 5 % to the 95 % quantile of the observed scores, with some room."""
    low, high = np.nanquantile(curves, [0.05, 0.95])
    room = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-12)
    return float(low - 0.25 * room), float(high + 0.25 * room)


def _last_observed(X):
    return X.shape[1] - np.argmax(~np.isnan(X)[:, ::-1], axis=1)


def _is_single(at):
    return at is None or np.ndim(at) == 0


def _as_asked(found, at):
    return found[:, 0] if _is_single(at) else found
