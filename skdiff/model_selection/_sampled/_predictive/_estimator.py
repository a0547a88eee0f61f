"""Random search that stops candidates by forecasts of their learning curves."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target

from skdiff._base.compat import Interval, StrOptions
from skdiff.model_selection._curve_network._estimator import LearningCurvePFN
from skdiff.model_selection._sampled._base import BaseEpochSearchCV
from skdiff.model_selection._sampled._predictive._curves import (
    Candidate,
    curves_of,
    incumbent_score,
    plan_steps,
)
from skdiff.model_selection._sampled._sampling import SettingSampler
from skdiff.model_selection._sampled._training import Job

#: candidates that are trained further in one round, whatever ``n_jobs``
_ROUND = 4
#: a curve has at most about so many points
_POINTS = 50


class PredictiveStoppingSearchCV(BaseEpochSearchCV):
    """Random search that trains by steps and stops what is forecast to lose.

    Every candidate is trained a few calls of ``partial_fit`` at a time. After each step
    its learning curve is continued by :class:`LearningCurvePFN`; the most promising
    candidates go on first, and a candidate that is very unlikely to beat the best score
    so far is stopped. Use it for networks and other models that are trained in epochs.

    Parameters
    ----------
    estimator : estimator object
        What is tuned; it, or the last step of a pipeline, has ``partial_fit``. It is
        cloned and left as it was.
    param_distributions : dict or list of dicts
        Lists of values, or distributions with a method ``rvs``, by parameter name, as
        for :class:`~sklearn.model_selection.RandomizedSearchCV`.
    n_iter : int, default=20
        Number of candidates; fewer where a grid has fewer.
    max_resource : int, default=100
        Calls of ``partial_fit`` of a complete training.
    min_resource : int, default=3
        Calls before a candidate can be stopped.
    step : int or "auto", default="auto"
        Calls between two scores of a candidate. ``"auto"`` gives curves of at most
        about fifty scores.
    confidence : float, default=0.95
        A candidate is stopped when the probability that one of its later scores beats
        the best score so far is below ``1 - confidence``. Larger values stop less.
    bounds : tuple of two floats or "auto", default="auto"
        Smallest and largest possible score. ``"auto"`` is (0, 1) while all scores lie
        there, and no bounds otherwise.
    scoring : str, callable, list, tuple or dict, default=None
        What is maximised, as for
        :class:`~sklearn.model_selection.RandomizedSearchCV`. With several metrics
        ``refit`` names the one that decides.
    cv : float, int, cross-validation splitter or iterable, default=0.2
        Folds. A float is the fraction of rows of one validation set (stratified for a
        classifier).
    refit : bool, str or callable, default=True
        Whether to train the best candidate on all rows, with the resource it had.
    error_score : "raise" or float, default=np.nan
        Score of a candidate whose training fails.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. Candidates advance in rounds of
        a fixed size, so that it changes no result.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. 1 prints one line per round, 2 one
        line per score too.
    return_train_score : bool, default=False
        Whether to add training scores to ``cv_results_``.

    Attributes
    ----------
    cv_results_ : dict of arrays
        One row per candidate, as scikit-learn's searches have them, for the resource
        that the candidate has had. ``n_resources`` is that resource, ``stopped_early``
        whether a forecast stopped it, and ``predicted_final`` the forecast of its score
        after a complete training (NaN where none was made).
    curves_ : list of ndarray
        Mean score of each candidate after each step.
    budgets_ : ndarray
        Resource after each step.
    resource_used_ : int
        Calls of ``partial_fit`` on one fold, over all candidates.
    best_estimator_ : estimator
        The best candidate, trained on all rows.
    best_score_ : float
        Its mean score.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its row in ``cv_results_``.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the last training.
    multimetric_ : bool
        Whether there are several metrics.
    scorer_ : callable or dict
        The scorers.
    stopped_ : str
        ``"complete"``, or what ended the search before: ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    classes_ : ndarray of shape (n_classes,)
        Labels, of a classifier.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    HyperbandSearchCV : Stops by rank among the candidates, without forecasts.
    LearningCurvePFN : The forecasts.
    PredictiveStopping : The same rule as a callback of a network.

    Notes
    -----
    Only candidates that are trained to the end, or have the best score, compete without
    a forecast. The score of a stopped candidate is the one it had when it was stopped.

    References
    ----------
    S. Adriaensen, H. Rakotoarison, S. Müller and F. Hutter, "Efficient Bayesian
    Learning Curve Extrapolation using Prior-Data Fitted Networks", NeurIPS 2023,
    arXiv:2310.20447.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.model_selection import PredictiveStoppingSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> search = PredictiveStoppingSearchCV(
    ...     SGDClassifier(random_state=0),
    ...     {"alpha": loguniform(1e-5, 10)},
    ...     n_iter=8,
    ...     max_resource=20,
    ...     random_state=0,
    ... ).fit(scale(X), y)
    >>> bool(search.best_score_ > 0.9)
    True
    >>> search.resource_used_ < 8 * 20
    True
    """

    _parameter_constraints: dict = {
        **BaseEpochSearchCV._parameter_constraints,
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "max_resource": [Interval(Integral, 2, None, closed="left")],
        "min_resource": [Interval(Integral, 1, None, closed="left")],
        "step": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "bounds": [tuple, list, StrOptions({"auto"})],
        "cv": ["cv_object", Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=20,
        max_resource=100,
        min_resource=3,
        step="auto",
        confidence=0.95,
        bounds="auto",
        scoring=None,
        cv=0.2,
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
        self.max_resource = max_resource
        self.min_resource = min_resource
        self.step = step
        self.confidence = confidence
        self.bounds = bounds
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
        self._check_partial_fit("A search that trains by partial_fit")
        if self.min_resource > self.max_resource:
            raise ValueError(
                f"min_resource={self.min_resource} is larger than "
                f"max_resource={self.max_resource}."
            )

    def _splitter(self, y):
        if isinstance(self.cv, Integral) or not isinstance(self.cv, Real):
            return super()._splitter(y)
        # the folds do not move with the settings that are drawn
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        kinds = ("binary", "multiclass")
        stratify = is_classifier(self.estimator) and type_of_target(y) in kinds
        split = StratifiedShuffleSplit if stratify else ShuffleSplit
        return split(1, test_size=float(self.cv), random_state=seed)

    def _training(self, run, params):
        return self._epoch_training(run, params)

    def _search(self, run):
        rng = check_random_state(self.random_state)
        rng.randint(2**31 - 1)  # of the validation set
        drawn = SettingSampler(self.param_distributions, rng).draw(self.n_iter)
        candidates = [Candidate(setting) for setting in drawn]
        step = self.step
        if step == "auto":
            step = max(1, self.max_resource // _POINTS)
        plan = plan_steps(self.max_resource, self.min_resource, step)
        with run.guard.interruptible(lambda: any(c.scores for c in candidates)):
            waiting = list(candidates)
            while waiting and not (run.outs and run.guard.is_over()):
                self._advance(run, waiting[:_ROUND], plan)
                waiting = self._ranked(candidates, plan)
        return self._table(candidates, plan)

    def _advance(self, run, chosen, plan):
        """Bring the chosen candidates to their next scores."""
        jobs = []
        for c in chosen:
            start = len(c.scores)
            # no forecast is made before the first ones: they cost one round only
            end = max(start, plan.first - 1)
            jobs.append((c, plan.budgets[start : end + 1]))
        for k in range(max(len(budgets) for _, budgets in jobs)):
            now = [(c, b[k]) for c, b in jobs if k < len(b)]
            self._train(run, now, self.max_resource)
            if run.guard.is_over():
                break

    def _train(self, run, now, most):
        todo = []
        for c, budget in now:
            # models change as they are trained: taken until the results are there
            models, c.models = c.models, None
            done = c.done if models is not None else 0
            todo.append(Job(c.setting, budget, done, models, keep=budget < most))
        label = f"{sum(c.done for c, _ in now)} to {sum(b for _, b in now)} calls"
        found = run.evaluate(todo, label)
        means = run.mean_scores([outs for outs, _ in found])
        for (c, budget), (outs, models), mean in zip(now, found, means, strict=False):
            c.outs, c.done = outs, budget
            c.scores.append(float(mean))
            c.failed = any(out["fit_error"] is not None for out in outs)
            if budget < most and not c.failed:
                c.models = models

    def _ranked(self, candidates, plan):
        """Candidates that go on, the most promising first."""
        full = len(plan.budgets)
        going = [c for c in candidates if not c.over and len(c.scores) < full]
        fresh = [c for c in going if not c.scores]
        if fresh:  # every candidate gets its first scores
            return fresh
        judged = [c for c in going if np.isfinite(c.scores).any()]
        if not judged:
            return going
        chances = self._forecast(judged, candidates, plan)
        best = incumbent_score(candidates)
        for c, chance in zip(judged, chances, strict=True):
            behind = len(c.scores) >= plan.first and c.latest < best
            if behind and chance < 1 - self.confidence:
                c.stopped, c.models = True, None
        order = np.lexsort([[-c.latest for c in judged], -chances])
        return [judged[i] for i in order if not judged[i].over]

    def _forecast(self, judged, candidates, plan):
        """Chances to beat the best score; forecasts of the last score are noted."""
        every = np.concatenate([c.scores for c in candidates])
        every = every[np.isfinite(every)]
        model = LearningCurvePFN(horizon=len(plan.budgets), bounds=self._bounds(every))
        model.fit(every[:, None])
        curves = curves_of(judged)
        for c, mean in zip(judged, model.predict(curves), strict=True):
            c.predicted = float(mean)
        return model.predict_proba_exceed(curves, incumbent_score(candidates))

    def _bounds(self, scores):
        if not isinstance(self.bounds, str):
            return self.bounds
        inside = scores.min() >= 0 and scores.max() <= 1
        return (0, 1) if inside else (-np.inf, np.inf)

    def _table(self, candidates, plan):
        """Rows of ``cv_results_`` and its columns beyond scikit-learn's."""
        tried = [c for c in candidates if c.scores]
        rows = [(c.setting, c.outs) for c in tried]
        columns = {
            "n_resources": [c.done for c in tried],
            "stopped_early": [c.stopped for c in tried],
            "predicted_final": [c.predicted for c in tried],
        }
        attributes = {
            "curves_": [np.array(c.scores) for c in tried],
            "budgets_": np.array(plan.budgets),
            "resource_used_": int(sum(c.done for c in tried)),
        }
        return rows, columns, attributes

    def _refit_budget(self, results, best):
        return int(results["n_resources"][best])
