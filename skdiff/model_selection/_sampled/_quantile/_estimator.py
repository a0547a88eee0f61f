"""Search that learns from its own results, by conformalised quantile regression."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval
from skdiff._base.validation import check_levels
from skdiff.model_selection._sampled._base import BaseSampledSearchCV
from skdiff.model_selection._sampled._sampling import SettingSampler, check_space
from skdiff.model_selection._sampled._surrogate import (
    QuantileSurrogate,
    SettingEncoder,
    propose,
)
from skdiff.model_selection._sampled._training import Job


class ConformalQuantileSearchCV(BaseSampledSearchCV):
    """Random search that learns from its own results.

    After some random settings a quantile regression of scores on settings proposes the
    next ones. It takes categories, integers and logarithmic scales as they come, and
    assumes nothing about how scores are spread: they may be skewed, or noisier in some
    corner than in another. Use it where one training is expensive and
    :class:`~sklearn.model_selection.RandomizedSearchCV` is what you would use.

    Parameters
    ----------
    estimator : estimator object
        What is tuned. It is cloned and left as it was.
    param_distributions : dict or list of dicts
        Lists of values, or distributions with a method ``rvs``, by parameter name, as
        for :class:`~sklearn.model_selection.RandomizedSearchCV`. Log-uniform
        distributions, and lists of positive numbers over two decades, are modelled in
        logarithms.
    n_iter : int, default=50
        Number of settings tried; fewer where a finite grid ends.
    n_initial : int, default=10
        How many of them are random.
    n_quantiles : int, default=5
        Number of quantiles that are modelled, at levels j / (n_quantiles + 1).
    n_candidates : int, default=2000
        Random settings among which each proposal is chosen.
    min_conformal : int, default=32
        With more results than this a tenth of them is held out to correct quantiles.
    batch_size : int, default=1
        Settings proposed, and trained at the same time, between two fits of the model.
        More than one pays with ``n_jobs`` beyond the number of folds.
    scoring : str, callable, list, tuple or dict, default=None
        As in :class:`~sklearn.model_selection.GridSearchCV`. With several metrics
        ``refit`` names the one that decides.
    cv : int, splitter or iterable, default=None
        Folds, 5 if None. They are drawn once: all settings see the same.
    refit : bool, str or callable, default=True
        Train the best setting on all rows.
    error_score : "raise" or number, default=np.nan
        Score of a training that fails. NaN ranks last and teaches the model nothing.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They train through joblib.
        Where one machine is not enough, use ``joblib.parallel_config(backend="dask")``.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        candidates, calibration results and quantile levels.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. No further training starts; the best candidate is refitted, which the
        limit does not count.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. 1 prints one line per candidate, 2
        its score too.
    return_train_score : bool, default=False
        Whether training scores are computed.

    Attributes
    ----------
    surrogate_ : object
        The model of scores after the last result; None where fewer than two settings
        have a score. :meth:`predict_score` queries it.
    cv_results_ : dict of arrays
        As :class:`~sklearn.model_selection.RandomizedSearchCV` has it, in the order of
        evaluation, with ``proposed``: whether the model chose the setting.
    best_estimator_ : estimator
        The best setting, trained on all rows. Only with ``refit``.
    best_params_ : dict
        The best setting.
    best_score_ : float
        Its mean score over the folds.
    best_index_ : int
        Its row in ``cv_results_``.
    n_candidates_ : int
        Number of settings tried.
    stopped_ : str
        Why the search ended: ``"complete"``, ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    n_splits_ : int
        Number of folds.
    multimetric_ : bool
        Whether there are several metrics.
    scorer_ : callable or dict
        The scorers.
    refit_time_ : float
        Seconds of the last training. Only with ``refit``.
    classes_ : ndarray of shape (n_classes,)
        Class labels of the refitted classifier.
    n_features_in_ : int
        Number of columns seen by the refitted estimator.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    HyperbandSearchCV : Stops poor settings early; also with this model.
    sklearn.model_selection.RandomizedSearchCV : Learns nothing, and needs no order.

    Notes
    -----
    Scores are replaced by normal scores of their ranks before they are modelled, so
    that any increasing change of the scoring leaves the search as it was; results of
    :meth:`predict_score` are mapped back. For each pair of levels (l, 1 - l) the
    held-out errors ``max(q_l - z, z - q_u)`` give the correction, their ``ceil((n +
    1)(1 - 2 l))``-th smallest. The implementation that comes with the paper takes their
    quantile at ``(1 - 2 l) / (1 + 1 / n)``, which covers less than its level for few
    held-out results; ours covers at least as much.

    Each proposal draws one of the levels for every candidate and takes the candidate
    with the best quantile at its level (Thompson sampling). Settings already tried are
    never proposed again.

    References
    ----------
    D. Salinas, J. Golebiowski, A. Klein, M. Seeger and C. Archambeau, "Optimizing
    Hyperparameters with Conformal Quantile Regression", ICML 2023, arXiv 2305.03623.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from skdiff.model_selection import ConformalQuantileSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> space = {"C": loguniform(1e-3, 1e3), "kernel": ["rbf", "linear"]}
    >>> search = ConformalQuantileSearchCV(
    ...     SVC(), space, n_iter=14, n_initial=12, cv=3, random_state=0
    ... ).fit(X, y)
    >>> bool(search.best_score_ > 0.95)
    True
    >>> low, high = search.predict_score(
    ...     [{"C": 0.001, "kernel": "rbf"}, {"C": 10.0, "kernel": "rbf"}], 0.5
    ... )
    >>> bool(low < high)
    True
    """

    _own_parameters = {"batch_size": "it counts candidates, not rows"}
    _parameter_constraints: dict = {
        **BaseSampledSearchCV._parameter_constraints,
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_initial": [Interval(Integral, 1, None, closed="left")],
        "n_quantiles": [Interval(Integral, 2, None, closed="left")],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "min_conformal": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=50,
        n_initial=10,
        n_quantiles=5,
        n_candidates=2000,
        min_conformal=32,
        batch_size=1,
        scoring=None,
        cv=None,
        refit=True,
        error_score=np.nan,
        n_jobs=None,
        random_state=None,
        time_limit=None,
        verbose=0,
        return_train_score=False,
    ):
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.n_initial = n_initial
        self.n_quantiles = n_quantiles
        self.n_candidates = n_candidates
        self.min_conformal = min_conformal
        self.batch_size = batch_size
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.error_score = error_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.time_limit = time_limit
        self.verbose = verbose
        self.return_train_score = return_train_score

    def _check_search(self):
        check_space(self.param_distributions)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_surrogate", None)  # boosters, fitted again where they are asked
        return state

    @property
    def surrogate_(self):
        """The model of scores after the last result, fitted at its first use."""
        check_is_fitted(self)
        if not hasattr(self, "_surrogate"):
            self._surrogate = self._model(*self._observed)
        return self._surrogate

    def predict_score(self, params_list, quantile=0.5):
        """Predict the cross-validated score of settings.

        Parameters
        ----------
        params_list : list of dict
            Settings, with the parameters that were searched over.
        quantile : float or list of floats, default=0.5
            Level, or levels, in (0, 1). Between the levels that are modelled quantiles
            are interpolated; beyond them they are those of the last level.

        Returns
        -------
        score : ndarray of shape (n_settings,) or (n_settings, n_levels)
            Quantiles of the score, in its own units.
        """
        check_is_fitted(self)
        levels = check_levels(quantile, name="quantile")
        encoder = SettingEncoder(check_space(self.param_distributions))
        settings = [params_list] if isinstance(params_list, dict) else params_list
        for setting in settings:
            unknown = sorted(set(setting) - set(encoder.names))
            if unknown:
                raise ValueError(
                    f"params_list has {unknown}, which were not searched over; known "
                    f"are {encoder.names}."
                )
        surrogate = self.surrogate_
        if surrogate is None:
            raise ValueError("Fewer than two settings have a score: no model.")
        found = surrogate.predict_score(encoder.encode(settings), levels)
        return found[:, 0] if np.ndim(levels) == 0 else found

    def _model(self, X, scores, seed):
        """Fit the surrogate to what has been observed."""
        usable = np.isfinite(scores)  # failed trainings teach nothing
        if usable.sum() < 2:
            return None
        surrogate = QuantileSurrogate(self.n_quantiles, self.min_conformal, seed)
        return surrogate.fit(X[usable], scores[usable])

    def _search(self, run):
        rng = check_random_state(self.random_state)
        sampler = SettingSampler(self.param_distributions, rng)
        encoder = SettingEncoder(sampler.spaces)
        tried, outs, proposed = [], [], []
        with run.guard.interruptible(lambda: bool(outs)):
            while len(tried) < self.n_iter and not (tried and run.guard.is_over()):
                settings, modelled = self._next(run, encoder, sampler, tried, outs)
                if not settings:
                    break  # a finite grid has been tried out
                sampler.take(settings)
                label = f"settings {len(tried) + 1} to {len(tried) + len(settings)}"
                found = run.evaluate([Job(s) for s in settings], label)
                outs += [scores for scores, _ in found]
                tried += settings[: len(found)]
                proposed += [modelled] * len(found)
        seed = int(rng.randint(2**31 - 1))
        observed = (encoder.encode(tried), run.mean_scores(outs), seed)
        attributes = {
            "n_candidates_": len(tried),
            "_observed": observed,
        }
        self.__dict__.pop("_surrogate", None)  # the one of another fit
        rows = list(zip(tried, outs, strict=True))
        return rows, {"proposed": proposed}, attributes

    def _next(self, run, encoder, sampler, tried, outs):
        """Settings to try next, and whether a model has proposed them."""
        left, rng = self.n_iter - len(tried), sampler.rng
        if not tried:
            return sampler.draw(min(self.n_initial, left)), False
        seed = int(rng.randint(2**31 - 1))
        model = self._model(encoder.encode(tried), run.mean_scores(outs), seed)
        n = min(self.batch_size, left)
        if model is None:
            return sampler.draw(n), False
        return propose(model, encoder, sampler, n, self.n_candidates, rng), True
