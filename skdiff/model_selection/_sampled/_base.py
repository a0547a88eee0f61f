"""What searches that decide as they go share: folds, evaluations, results, refit."""

import time
import warnings
from copy import deepcopy
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import assert_all_finite, column_or_1d, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.parallel import delayed

from skdiff._base.compat import (
    BaseSearchCV,
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    check_method_params,
    fit_context,
    has_callbacks,
    insert_error_scores,
    report_failed_fits,
    routing_enabled,
    streaming_parallel,
)
from skdiff._base.inner import refuse_samplers
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import Progress
from skdiff._base.validation import refuse_dates, require_y
from skdiff.model_selection._sampled._training import (
    EpochTraining,
    Folds,
    Listener,
    Scoring,
    Training,
    last_step,
    train_and_score,
)


class NoScoreError(ValueError):
    """Every score of a search is NaN."""


class FailedTypesError(TypeError, ValueError):
    """Every training of a search has failed, one of them with a TypeError."""


class Run:
    """One fit of a search: its data, its folds, and every evaluation so far.

    ``training`` is set by the search before the first evaluation.
    """

    training: Training

    def __init__(self, search, folds, scoring, metric, context):
        self.search, self.folds, self.scoring = search, folds, scoring
        self.metric, self.context = metric, context
        self.guard = Progress(
            time_limit=search.time_limit,
            verbose=bool(search.verbose),
            kept="its results so far are kept",
        )
        self.outs = []

    def evaluate(self, jobs, label):
        """Train and score settings on every fold, in one flat parallel loop.

        Parameters
        ----------
        jobs : list of Job
            ``model`` holds the models of all folds to continue from, or is None.
        label : str
            What is printed.

        Returns
        -------
        found : list of (outs, models)
            For every setting the results and the models of the folds. The list is
            shorter than ``jobs`` where the search has to end.
        """
        n_splits = len(self.folds.splits)
        self.guard.write(f"{label}: {len(jobs)} settings on {n_splits} folds")
        batch = self.context.subcontext(
            task_name="evaluations", max_subtasks=None, sequential_subtasks=False
        )
        batch.call_on_fit_task_begin(
            estimator=self.search, X=self.folds.X, y=self.folds.y
        )
        single = [
            (fold, replace(job, model=None if job.model is None else job.model[fold]))
            for job in jobs
            for fold in range(n_splits)
        ]
        listeners = [None] * len(single)
        if has_callbacks(self.search):
            name = "candidate-split-evaluation"
            listeners = [
                Listener(self.search, batch.subcontext(task_name=name, task_id=i))
                for i in range(len(single))
            ]
        tasks = (
            delayed(train_and_score)(
                self.training, self.folds, fold, job, self.scoring, listener
            )
            for (fold, job), listener in zip(single, listeners, strict=True)
        )
        found = self._collect(tasks, len(jobs))
        self.outs += [outs for outs, _ in found]
        flat = [out for one in self.outs for out in one]
        if flat and all(out["fit_error"] is not None for out in flat):
            self._raise_failure(jobs[0], flat)
        self._settle_metric(flat)
        self._report(jobs, found)
        if batch.call_on_fit_task_end(estimator=self.search):
            self.guard.end("callback")
        return found

    def _collect(self, tasks, n_jobs):
        """Take results as they come, until all are there or the search has to end."""
        n_splits, found, part = len(self.folds.splits), [], []
        results = self.parallel(tasks)
        with self.guard.interruptible(lambda: bool(self.outs or found)):
            for result in results:
                part.append(result)
                if len(part) == n_splits:
                    outs, models = zip(*part, strict=True)
                    found.append((list(outs), list(models)))
                    part = []
                some, all_of_them = bool(self.outs or found), len(found) == n_jobs
                if some and not all_of_them and self.guard.is_over():
                    break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what is cut short
            getattr(results, "close", list)()
        return found

    def _raise_failure(self, job, flat):
        """No training has ended well: name a setting and its error."""
        try:
            train_and_score(
                self.training,
                self.folds,
                0,
                replace(job, model=None, done=0, keep=False),
                self.scoring._replace(error_score="raise", return_train_score=False),
            )
        except Exception as error:
            setting = {**job.params, **self.training.parameters(job.budget)}
            kind = FailedTypesError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"All {len(flat)} fits of the search failed so far, for instance with "
                f"the setting {setting}: {error}"
            ) from error
        report_failed_fits(flat, self.scoring.error_score)  # raises

    def mean_scores(self, outs):
        """Mean score over the folds of each setting, by the metric that decides."""

        def of(out):
            scores = out["test_scores"]
            return scores[self.metric] if isinstance(scores, dict) else scores

        return np.array(
            [np.mean([of(out) for out in one], dtype=np.float64) for one in outs]
        )

    def _settle_metric(self, flat):
        """A callable scoring shows only now whether it has several metrics."""
        if not callable(self.search.scoring) or not flat:
            return
        insert_error_scores(flat, self.search.error_score)
        scores = next(o["test_scores"] for o in flat if o["fit_error"] is None)
        if isinstance(scores, dict):
            self.search._check_refit_for_multimetric(scores)
            self.metric = self.search._deciding_metric(self.search.refit)

    def _report(self, jobs, found):
        if self.search.verbose > 1:
            scores = self.mean_scores([outs for outs, _ in found])
            for job, score in zip(jobs, scores, strict=False):
                self.guard.write(f"  score = {score:.6g}, {job.params}")


class BaseSampledSearchCV(SaveMixin, BaseSearchCV, CallbackSupportMixin):
    """A cross-validated search over drawn settings, as scikit-learn's searches are."""

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "param_distributions": [dict, list],
        "scoring": BaseSearchCV._parameter_constraints["scoring"],
        "cv": ["cv_object"],
        "refit": ["boolean", str, callable],
        "error_score": [StrOptions({"raise"}), Real],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
        "return_train_score": ["boolean"],
    }
    _callee = "fit"  # the method of the estimator that metadata for fit goes to

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = deepcopy(inner.input_tags)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.array_api_support = False  # rows are taken and scored by NumPy
        return tags

    @property
    def n_features_in_(self):
        """Number of columns seen by the refitted estimator."""
        return super().n_features_in_

    def __getstate__(self):
        state = dict(super().__getstate__())
        if not callable(self.scoring) and not isinstance(self.scoring, dict):
            state.pop("scorer_", None)  # built again from its name
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "cv_results_" in state and "scorer_" not in state:
            self.scorer_ = self._named_scorers()

    def _named_scorers(self):
        scorers, _ = self._get_scorers()
        return getattr(scorers, "_scorers", scorers)

    def _deciding_metric(self, metric):
        if not isinstance(metric, str):
            raise ValueError(
                f"{type(self).__name__} decides by one metric as it goes: with several "
                f"in scoring, refit must name it. Got refit={self.refit!r}."
            )
        return metric

    def _check_target(self, y):
        """A target where one is needed, in the shape the estimator takes."""
        tags = get_tags(self.estimator).target_tags
        if tags.required:
            require_y(self, y)
        supervised = is_classifier(self.estimator) or is_regressor(self.estimator)
        if supervised and getattr(getattr(y, "dtype", None), "kind", "") == "f":
            assert_all_finite(y, input_name="y")
        column = getattr(y, "ndim", 1) == 2 and y.shape[1] == 1
        if column and not (tags.multi_output or tags.two_d_labels):
            y = column_or_1d(y, warn=True)
        return y

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params):
        """Search, and train the best setting on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, in whatever form the estimator takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Labels or target values.
        **params : dict
            ``groups`` for the splitter, and what else estimator, scorer and splitter
            request by metadata routing (``sample_weight``, for instance). Without
            routing all but ``groups`` goes to the estimator's fit, cut to the rows of
            the fold.

        Returns
        -------
        self : object
            The fitted search.
        """
        refuse_dates(X)
        scorers, metric = self._get_scorers()
        metric = self._deciding_metric(metric)
        self._check_search()
        X, y = indexable(X, self._check_target(y))
        params = check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        root = self._init_callback_context(max_subtasks=1 + (self.refit is not False))
        root.call_on_fit_task_begin(estimator=self, X=X, y=y)
        cv = self._splitter(y)
        # drawn once: every setting is judged on the same folds
        splits = list(cv.split(X, y, **routed.splitter.split))
        if not splits:
            raise ValueError("cv yields no split.")
        search = root.subcontext(task_name="search", max_subtasks=None)
        search.call_on_fit_task_begin(estimator=self, X=X, y=y)
        scoring = Scoring(
            scorers, routed.scorer.score, self.error_score, self.return_train_score
        )
        run = Run(self, Folds(X, y, splits), scoring, metric, search)
        run.training = self._training(run, routed.estimator[self._callee])
        parallel = streaming_parallel(self.n_jobs)
        with (
            warnings.catch_warnings(),
            run.guard.listening(),
            parallel as run.parallel,
        ):
            if self._expects_early_stops():
                warnings.simplefilter("ignore", ConvergenceWarning)
            found = self._search(run)
        search.call_on_fit_task_end(estimator=self)
        self._finish(run, found, root)
        root.call_on_fit_task_end(estimator=self)
        return self

    def _splitter(self, y):
        return check_cv(self.cv, y, classifier=is_classifier(self.estimator))

    def _check_search(self):
        """Refuse what parameters cannot say together, before any work."""

    def _expects_early_stops(self):
        """Whether stopping before convergence is the point rather than news."""
        return False

    def _training(self, run, params):
        """How a setting is trained; ``params`` are the arguments of its ``fit``."""
        return Training(clone(self.estimator), params)

    def _finish(self, run, found, root):
        """Build results, choose, refit; then assign everything at once."""
        rows, columns, attributes = found
        flat = [out for _, outs in rows for out in outs]
        with warnings.catch_warnings(record=True) as about_scores:
            warnings.simplefilter("always")
            results = self._format_results(
                [params for params, _ in rows], len(run.folds.splits), flat, columns
            )
        try:
            best = self._best_index(results, run.metric)
        except NoScoreError:
            if self.refit:  # where a setting can be trained at all, or says why not
                self._refit(run, results, 0, root)
            raise
        params = results["params"][best]
        state = {
            "cv_results_": results,
            "n_splits_": len(run.folds.splits),
            "stopped_": run.guard.reason("complete"),
            "multimetric_": isinstance(flat[0]["test_scores"], dict),
            "scorer_": getattr(run.scoring.scorers, "_scorers", run.scoring.scorers),
            "best_index_": best,
            "best_params_": params,
            "best_score_": results[f"mean_test_{run.metric}"][best],
            **attributes,
        }
        if self.refit:
            state |= self._refit(run, results, best, root)
        for warning in about_scores:
            warnings.warn(str(warning.message), warning.category, stacklevel=4)
        self._warn_of_failures([out for outs in run.outs for out in outs])
        if run.guard.ended == "time":
            warnings.warn(
                f"{type(self).__name__} reached time_limit={self.time_limit} after "
                f"{len(rows)} evaluations; the best of them is kept.",
                ConvergenceWarning,
                stacklevel=4,
            )
        for name in ("best_estimator_", "refit_time_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        for name, value in state.items():
            setattr(self, name, value)

    def _warn_of_failures(self, flat):
        """Tell, once the last training has not raised it, what failed."""
        report_failed_fits(flat, self.error_score)
        troubles = [out["score_error"] for out in flat if out["score_error"]]
        if troubles:
            warnings.warn(
                f"Scoring failed in {len(troubles)} of {len(flat)} evaluations. Their "
                f"score is {self.error_score}. The first error:\n{troubles[0]}",
                UserWarning,
                stacklevel=5,
            )

    def _best_index(self, results, metric):
        """Place of the best row; a score that is not a number is never the best."""
        scores = np.where(
            self._eligible(results, metric), results[f"mean_test_{metric}"], np.nan
        )
        if np.isnan(scores).all():
            raise NoScoreError(
                f"No setting has a score: every mean_test_{metric} is NaN. Try "
                "error_score='raise' to see why."
            )
        if callable(self.refit):
            return self._select_best_index(self.refit, metric, results)
        return int(np.nanargmax(scores))

    def _eligible(self, results, metric):
        return np.ones(len(results["params"]), dtype=bool)

    def _refit(self, run, results, best, root):
        """Train the best setting afresh on every row."""
        training, budget = run.training, self._refit_budget(results, best)
        X, y, params = run.folds.X, run.folds.y, results["params"][best]
        model = clone(training.estimator).set_params(**clone(params, safe=False))
        context = root.subcontext(task_name="refit-with-best-params")
        watched = context.propagate_callback_context(model)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        start = time.perf_counter()
        with watched:
            training.advance(model, 0, budget, X, y, dict(training.params))
        elapsed = time.perf_counter() - start
        context.call_on_fit_task_end(estimator=self)
        state = {"best_estimator_": model, "refit_time_": elapsed}
        if hasattr(model, "feature_names_in_"):
            state["feature_names_in_"] = model.feature_names_in_
        return state

    def _refit_budget(self, results, best):
        return None


class BaseEpochSearchCV(BaseSampledSearchCV):
    """A search that trains by ``partial_fit``: one call is one epoch.

    A search that has other resources too overrides :meth:`_by_epochs`.
    """

    def _by_epochs(self):
        return True

    @property
    def _callee(self):
        # a pipeline has no partial_fit: what its steps take in fit is handed to them
        by_steps = isinstance(self.estimator, Pipeline)
        return "partial_fit" if self._by_epochs() and not by_steps else "fit"

    def get_metadata_routing(self):
        """Return how metadata goes to estimator, scorer and splitter.

        Returns
        -------
        routing : MetadataRouter
            ``fit`` goes to the estimator's ``partial_fit`` where that is the resource.
        """
        if self._callee == "fit":
            return super().get_metadata_routing()
        router = MetadataRouter(owner=self)
        fitting = MethodMapping().add(caller="fit", callee="partial_fit")
        router.add(estimator=self.estimator, method_mapping=fitting)
        scoring = MethodMapping().add(caller="score", callee="score")
        scoring.add(caller="fit", callee="score")
        router.add(scorer=self._get_scorers()[0], method_mapping=scoring)
        splitting = MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=self.cv, method_mapping=splitting)

    def _get_routed_params_for_fit(self, params):
        routed = super()._get_routed_params_for_fit(params)
        if not routing_enabled():  # then everything is meant for the training
            routed.estimator[self._callee] = routed.estimator.fit
        return routed

    def _check_partial_fit(self, what, remedy=""):
        """Refuse estimators that cannot go on."""
        last = last_step(self.estimator)
        if not hasattr(last, "partial_fit"):
            raise ValueError(
                f"{what} needs an estimator with that method, and "
                f"{type(last).__name__} has none.{remedy}"
            )
        refuse_samplers(self.estimator, f"{what} trains on the same rows again")

    def _epoch_training(self, run, params):
        classes = np.unique(run.folds.y) if is_classifier(self.estimator) else None
        return EpochTraining(clone(self.estimator), params, classes)
