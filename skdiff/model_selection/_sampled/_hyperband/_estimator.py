"""Hyperband: random search that stops poor candidates early and can be resumed."""

from numbers import Integral

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target

from skdiff._base.compat import Interval, StrOptions
from skdiff.model_selection._sampled._base import BaseEpochSearchCV
from skdiff.model_selection._sampled._hyperband._race import (
    Plan,
    Race,
    digest,
    random_stream,
)
from skdiff.model_selection._sampled._hyperband._schedule import (
    bracket_numbers,
    hyperband_schedule,
    most_halvings,
    promote,
    rung_sizes,
)
from skdiff.model_selection._sampled._sampling import (
    SettingSampler,
    check_space,
    setting_key,
)
from skdiff.model_selection._sampled._surrogate import (
    QuantileSurrogate,
    SettingEncoder,
    propose,
)
from skdiff.model_selection._sampled._training import (
    CountTraining,
    Job,
    SampleTraining,
    check_count,
    nested_order,
)

# the surrogate of sampler="conformal": as ConformalQuantileSearchCV by default
_QUANTILES, _MIN_CONFORMAL, _CANDIDATES, _MIN_OBSERVED = 5, 32, 2000, 10
# what must not change between a search and its resumption
_SETTLED = (
    "estimator", "param_distributions", "resource", "min_resource", "factor",
    "brackets", "sampler", "scoring", "cv", "error_score", "return_train_score",
)  # fmt: skip


class HyperbandSearchCV(BaseEpochSearchCV):
    """Random search that stops poor candidates early and trains good ones further.

    Many candidates start with little of a resource (rows, epochs, trees); the best
    third goes on with three times as much, and so on. Brackets differ in how early they
    stop candidates. Training continues from rung to rung instead of starting again, and
    a finished search can be resumed later with a larger budget without repeating work.
    On small data sets one aggressive bracket (``brackets=1``) is often enough.

    Parameters
    ----------
    estimator : estimator object
        What is tuned. It is cloned and left as it was.
    param_distributions : dict or list of dicts
        Lists of values, or distributions with a method ``rvs``, by parameter name, as
        for :class:`~sklearn.model_selection.RandomizedSearchCV`.
    resource : str, default="n_samples"
        ``"n_samples"``: training rows of a fold, in nested stratified samples.
        ``"partial_fit"``: epochs, one call of ``partial_fit`` each. Otherwise the name
        of a parameter that counts (``"n_estimators"``, ``"mlp__max_iter"``). The step
        that owns it continues its training where it has ``warm_start``.
    max_resource : int or "auto", default="auto"
        Resource of a full training. ``"auto"`` is the rows of the smallest training
        fold; other resources need a number.
    min_resource : int or "auto", default="auto"
        Resource of the first rung. ``"auto"`` is what
        :class:`~sklearn.model_selection.HalvingRandomSearchCV` uses for rows (twice the
        folds, times the classes), and 1 for everything else.
    factor : int, default=3
        One setting in ``factor`` goes on to ``factor`` times the resource.
    brackets : int or "all", default="all"
        How many brackets to run, the most explorative first. 1 is one aggressive
        successive halving.
    promotion : {"efficient", "preserve", "discard"}, default="efficient"
        Which candidates fill the new places on a rung when a search is resumed with a
        larger budget: the best that are not there yet; the best of all even where that
        takes more places than are free; or only those that the earlier search promoted.
    sampler : {"random", "conformal"}, default="random"
        Whether brackets start from random settings, or after the first from settings
        that a conformal quantile model of the scores so far proposes (see
        :class:`ConformalQuantileSearchCV`).
    select : {"max_resource", "any"}, default="max_resource"
        Whether the best is sought at the full resource, or on every rung; the second
        where more of the resource can do harm.
    scoring : str, callable, list, tuple or dict, default=None
        As in :class:`~sklearn.model_selection.GridSearchCV`. With several metrics
        ``refit`` names the one that decides.
    cv : int, splitter or iterable, default=5
        Folds. Every rung is scored on all of them; they are drawn once.
    refit : bool, str or callable, default=True
        Train the best setting afresh on all rows.
    error_score : "raise" or number, default=np.nan
        Score of a training that fails. NaN ranks last and is never promoted.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They train through joblib.
        Where one machine is not enough, use ``joblib.parallel_config(backend="dask")``.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        candidates and samples of rows.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. No further training starts; the best candidate is refitted, which the
        limit does not count.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. 1 prints one line per rung, 2 the
        score of each candidate too.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call. Partly trained
        models are kept, so that another ``fit`` on the same rows resumes a search that
        a time limit or an interrupt has stopped, and, after
        ``set_params(max_resource=...)`` with the old value times a power of
        ``factor``, goes on with a larger budget.
    return_train_score : bool, default=False
        Whether training scores are computed.

    Attributes
    ----------
    schedule_ : list of tuples (bracket, rung, n, budget)
        The rungs in their order: how many settings, and how much of the resource.
    cv_results_ : dict of arrays
        One row for every setting on every rung: ``bracket``, ``iter`` (the rung),
        ``resource``, ``promoted``, and what
        :class:`~sklearn.model_selection.RandomizedSearchCV` has. ``rank_test_score``
        ranks all rows; scores at different resources compare trainings, not settings.
    best_estimator_ : estimator
        The best setting, trained on all rows. Only with ``refit``.
    best_params_ : dict
        The best setting, with the resource where that is a parameter.
    best_score_ : float
        Its mean score over the folds.
    best_index_ : int
        Its row in ``cv_results_``.
    n_candidates_ : int
        Number of settings drawn.
    resource_used_ : int
        Resource spent on a fold, over all settings and rungs; what a training continued
        from counts once.
    max_resource_ : int
        Resource of a full training.
    min_resource_ : int
        Resource of the first rung of the most explorative bracket, at least.
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
    ConformalQuantileSearchCV : Full trainings, with settings learnt from the scores.
    sklearn.model_selection.HalvingRandomSearchCV : One bracket that trains afresh.

    Notes
    -----
    With R the full resource over the smallest and s_max the largest s with
    ``factor**s <= R``, bracket s starts ``ceil((s_max + 1) factor**s / (s + 1))``
    settings (algorithm 1 of the paper; its table 1 rounds ``(s_max + 1) / (s + 1)``
    down first). All of it is in integers: a floor of logarithms is one bracket short
    for exact powers.

    A warm start of a scikit-learn, skorch or skdiff estimator with ``max_iter`` or
    ``max_epochs`` runs that many iterations more, so that it is given the difference;
    ``n_estimators``, the ``max_iter`` of histogram boosting and counts of other
    libraries are given the total. Such a warm start may reset the state of an
    optimiser; ``"partial_fit"`` keeps it.

    Bracket s of a search is bracket s + 1 of one with ``factor`` times the budget: the
    same rungs with more places. The second paper describes three rules for them in
    words; the rules in
    ``promotion`` are ours to the letter.

    References
    ----------
    L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh and A. Talwalkar, "Hyperband: A
    Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 18(185), 2018,
    arXiv 1603.06560.

    J. Brandt, M. Wever, D. Iliadis, V. Bengs and E. Hüllermeier, "Iterative Deepening
    Hyperband", 2023, arXiv 2302.00511.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.model_selection import HyperbandSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> search = HyperbandSearchCV(
    ...     SGDClassifier(random_state=0),
    ...     {"alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], "average": [True, False]},
    ...     resource="partial_fit",
    ...     max_resource=9,
    ...     cv=3,
    ...     random_state=0,
    ... ).fit(scale(X), y)
    >>> search.schedule_
    [(2, 0, 9, 1), (2, 1, 3, 3), (2, 2, 1, 9), (1, 0, 5, 3), (1, 1, 1, 9), (0, 0, 3, 9)]
    >>> bool(search.best_score_ > 0.9)
    True
    """

    _parameter_constraints: dict = {
        **BaseEpochSearchCV._parameter_constraints,
        "resource": [str],
        "max_resource": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "min_resource": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "factor": [Interval(Integral, 2, None, closed="left")],
        "brackets": [Interval(Integral, 1, None, closed="left"), StrOptions({"all"})],
        "promotion": [StrOptions({"efficient", "preserve", "discard"})],
        "sampler": [StrOptions({"random", "conformal"})],
        "select": [StrOptions({"max_resource", "any"})],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        resource="n_samples",
        max_resource="auto",
        min_resource="auto",
        factor=3,
        brackets="all",
        promotion="efficient",
        sampler="random",
        select="max_resource",
        scoring=None,
        cv=5,
        refit=True,
        error_score=np.nan,
        n_jobs=None,
        random_state=None,
        time_limit=None,
        verbose=0,
        warm_start=False,
        return_train_score=False,
    ):
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.resource = resource
        self.max_resource = max_resource
        self.min_resource = min_resource
        self.factor = factor
        self.brackets = brackets
        self.promotion = promotion
        self.sampler = sampler
        self.select = select
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.error_score = error_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.time_limit = time_limit
        self.verbose = verbose
        self.warm_start = warm_start
        self.return_train_score = return_train_score

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "_race" in state:
            state["_race"] = state["_race"].to_state()
        return state

    def __setstate__(self, state):
        if "_race" in state:
            state = {**state, "_race": Race.from_state(state["_race"])}
        super().__setstate__(state)

    def get_schedule(self):
        """Return the rungs that a fit would run.

        Returns
        -------
        schedule : list of tuples (bracket, rung, n, budget)
            Brackets from the most explorative on; each rung has n settings that are
            trained up to ``budget``. What is ``"auto"`` depends on the rows and is
            known after a fit only.
        """
        given = {"max_resource": self.max_resource, "min_resource": self.min_resource}
        if self.resource != "n_samples" and given["min_resource"] == "auto":
            given["min_resource"] = 1
        for name, value in given.items():
            if value == "auto":
                given[name] = getattr(self, f"{name}_", None)
                if given[name] is None:
                    raise NotFittedError(
                        f"{name}='auto' depends on the rows: give a number, or call "
                        "fit and call this again."
                    )
        most, least = given.values()
        self._check_order(most, least)
        return hyperband_schedule(most, least, self.factor, self.brackets)

    def _by_epochs(self):
        return self.resource == "partial_fit"

    def _expects_early_stops(self):
        return self.resource not in ("n_samples", "partial_fit")

    def _check_search(self):
        spaces = check_space(self.param_distributions)
        resource = self.resource
        if any(resource in one for one in spaces):
            raise ValueError(
                f"{resource!r} is the resource and cannot be in param_distributions."
            )
        if resource == "partial_fit":
            self._check_partial_fit(
                "resource='partial_fit'",
                " Name a parameter that counts, or 'n_samples'.",
            )
        elif resource != "n_samples":
            check_count(self.estimator, resource)
        if resource != "n_samples" and self.max_resource == "auto":
            raise ValueError(
                f"max_resource='auto' is the number of rows. For resource={resource!r} "
                "give a number."
            )
        if "auto" not in (self.min_resource, self.max_resource):
            self._check_order(self.max_resource, self.min_resource)

    def _check_order(self, most, least):
        if least > most:
            raise ValueError(
                f"min_resource={least} is larger than max_resource={most}."
            )

    def _limits(self, run):
        """Largest and smallest resource, in numbers."""
        if self.resource != "n_samples":
            least = 1 if self.min_resource == "auto" else int(self.min_resource)
            return int(self.max_resource), least
        most = self.max_resource
        rows = min(len(train) for train, _ in run.folds.splits)
        if most == "auto":
            most = rows
        X = run.folds.X
        n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        if most > n_samples:
            raise ValueError(
                f"max_resource={most} is more than the {n_samples} rows there are."
            )
        least = self.min_resource
        if least == "auto":
            least = 2 * len(run.folds.splits)
            if is_classifier(self.estimator):
                least *= len(np.unique(np.asarray(run.folds.y)))
            least = min(least, most)
        if least > most:
            raise ValueError(
                f"min_resource={least} is more than the {most} rows of a training fold."
            )
        return int(most), int(least)

    def _training(self, run, params):
        race = self._start_race(run)
        if self.resource == "n_samples":
            return SampleTraining(clone(self.estimator), params, race.orders)
        if self.resource == "partial_fit":
            return self._epoch_training(run, params)
        return CountTraining(clone(self.estimator), params, self.resource)

    def _start_race(self, run):
        """A new race, or the last one to be resumed."""
        most, least = self._limits(run)
        plan = Plan(most, least, most_halvings(most, least, self.factor), self.factor)
        settled = {}
        if self.warm_start:
            settled = {name: digest(getattr(self, name)) for name in _SETTLED}
            settled["X"], settled["y"] = digest(run.folds.X), digest(run.folds.y)
        race = getattr(self, "_race", None)
        if race is not None and self.warm_start:
            race.resume(plan, settled)
            run.folds, run.metric = run.folds._replace(splits=race.splits), race.metric
        else:
            rng = check_random_state(self.random_state)
            by_rows = self.resource == "n_samples"
            orders = self._orders(run.folds, rng) if by_rows else None
            # one stream for settings, whether the race goes on at once or later
            stream = np.random.RandomState(rng.randint(2**31 - 1)).get_state()
            race = Race(plan, run.folds.splits, run.metric, settled, stream, orders)
        # from here on an interrupt leaves a race that can be resumed
        self._race = race
        return race

    def _orders(self, folds, rng):
        kinds = ("binary", "multiclass")
        stratify = is_classifier(self.estimator) and type_of_target(folds.y) in kinds
        return [
            nested_order(folds.y, train, rng, stratify) for train, _ in folds.splits
        ]

    def _search(self, run):
        race = self._race
        stream = random_stream(race.stream)
        sampler = SettingSampler(self.param_distributions, stream)
        sampler.take(race.settings)
        try:
            with run.guard.interruptible(lambda: bool(race.results)):
                for s in bracket_numbers(race.plan.s_max, self.brackets):
                    if race.results and run.guard.is_over():
                        break
                    self._run_bracket(run, race, sampler, s)
        finally:
            if not self.warm_start:
                del self._race
        race.metric = run.metric
        rows, columns = self._table(run, race)
        attributes = {
            "schedule_": hyperband_schedule(
                race.plan.most, race.plan.least, self.factor, self.brackets
            ),
            "n_candidates_": len({m for _, _, m in race.results}),
            "resource_used_": race.used,
            "max_resource_": race.plan.most,
            "min_resource_": race.plan.least,
        }
        return rows, columns, attributes

    def _run_bracket(self, run, race, sampler, s):
        """Run what is missing of one bracket."""
        sizes, rungs = rung_sizes(race.plan.s_max, self.factor, s), race.bracket(s)
        missing = max(sizes[0] - len(rungs[0]), 0)
        rungs[0] += race.enter(self._new_settings(run, race, sampler, missing))
        race.stream = sampler.rng.get_state()
        for rung in range(s + 1):
            self._evaluate(run, race, s, rung)
            if rung == s or run.guard.is_over():
                break
            members = rungs[rung]
            joining = promote(
                members,
                run.mean_scores([race.results[s, rung, m] for m in members]),
                sizes[rung + 1],
                settled=rungs[rung + 1],
                eliminated=race.left_behind.get((s, rung), ()),
                rule=self.promotion,
            )
            rungs[rung + 1] += joining
            if not self.warm_start:
                for m in set(members) - set(joining):
                    race.models.pop(m, None)

    def _evaluate(self, run, race, s, rung):
        """Bring settings up to the budget of a rung and score them there."""
        waiting = race.waiting(s, rung)
        if not waiting:
            return
        budget = race.budget(s, rung)
        keep = run.training.continues and (self.warm_start or rung < s)
        jobs = []
        for m in waiting:
            models, done = race.take_model(m)
            jobs.append(Job(race.settings[m], budget, done, models, keep))
        label = f"bracket {s}, rung {rung}, {self.resource} = {budget}"
        found = run.evaluate(jobs, label)
        for m, job, one in zip(waiting, jobs, found, strict=False):
            race.record(s, rung, m, job.done, one)

    def _new_settings(self, run, race, sampler, n):
        """Draw settings for the first rung."""
        found = []
        if self.sampler == "conformal" and n:
            found = self._proposed(run, race, sampler, n)
        if len(found) < n:
            sampler.take(found)
            found += sampler.draw(n - len(found))
        if len(found) < n:
            # a small grid has run out: settings of other brackets serve again
            taken, sampler.taken = sampler.taken, {setting_key(s) for s in found}
            found += sampler.draw(n - len(found))
            sampler.taken |= taken
        sampler.take(found)
        return found

    def _proposed(self, run, race, sampler, n):
        """Settings that a model of the scores so far proposes."""
        last = race.latest()
        scores = run.mean_scores(last.values())
        usable = np.isfinite(scores)
        if usable.sum() < _MIN_OBSERVED:
            return []
        encoder = SettingEncoder(sampler.spaces)
        X = encoder.encode([race.settings[m] for m in last])
        seed = sampler.rng.randint(2**31 - 1)
        surrogate = QuantileSurrogate(_QUANTILES, _MIN_CONFORMAL, seed)
        surrogate.fit(X[usable], scores[usable])
        return propose(surrogate, encoder, sampler, n, _CANDIDATES, sampler.rng)

    def _table(self, run, race):
        """Rows of ``cv_results_`` and its columns beyond scikit-learn's."""
        rows, columns = [], {"bracket": [], "iter": [], "resource": [], "promoted": []}
        for entry in race.entries():
            params = {**entry.setting, **run.training.parameters(entry.budget)}
            rows.append((params, entry.outs))
            for name, value in zip(columns, entry[:4], strict=True):
                columns[name].append(value)
        return rows, columns

    def _eligible(self, results, metric):
        if self.select == "any":
            return super()._eligible(results, metric)
        scored = ~np.isnan(results[f"mean_test_{metric}"])
        resource = results["resource"]
        return scored & (resource == np.max(resource[scored], initial=0))

    def _refit_budget(self, results, best):
        return int(results["resource"][best])
