"""PreprocessingLeakageAudit: what a step outside of the folds does to a score."""

import warnings
from copy import deepcopy
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import (
    RepeatedKFold,
    RepeatedStratifiedKFold,
    check_cv,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import (
    assert_all_finite,
    check_consistent_length,
    check_random_state,
    column_or_1d,
    get_tags,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import delayed

from skdiff._base.compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    routing_enabled,
)
from skdiff._base.delegate import DelegateMixin
from skdiff._base.inner import (
    check_table,
    fit_inner,
    is_frozen,
    refuse_samplers,
    seeded,
    split_params,
    takes_weights,
    whole_fit,
)
from skdiff._base.parameters import EVERYWHERE
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.validation import require_y
from skdiff.model_evaluation._leakage._base import (
    Arguments,
    fold_scores,
    supervised_steps,
)
from skdiff.model_evaluation._splits._scores import SplitScores
from skdiff.model_evaluation._splits._t_tests import corrected_t
from skdiff.model_evaluation._streaming import streamed


class PreprocessingLeakageAudit(
    DelegateMixin, SaveMixin, CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator
):
    """Measure how far preparing data outside of the folds biases a score.

    Scaling, imputing, grouping rare categories or dropping columns before
    cross-validation lets the test rows take part in the preparation, also where no
    label is used. The bias can have either sign. The audit scores the pipeline twice
    on the same folds: once as it should be, and once with steps fitted to all rows.

    Parameters
    ----------
    pipeline : Pipeline
        Transformers and a model.
    cv : int, splitter or iterable, default=5
        Folds. An int means ``n_repeats`` times as many shuffled folds, stratified for
        classifiers. A splitter is used as it is; single test rows, the case of
        :class:`~sklearn.model_selection.LeaveOneOut`, are allowed.
    scoring : str, callable or None, default=None
        Scorer; that of the model if None.
    steps : "unsupervised" or list of str, default="unsupervised"
        Names of the steps that are fitted outside: those that do not use y, or a list.
    n_repeats : int, default=10
        Repetitions with other folds, where ``cv`` is an int.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. At least two folds are scored.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    bias_ : float
        Mean score with the steps outside, less that of the pipeline. Positive is
        optimistic where larger scores are better.
    bias_interval_ : tuple of float
        Its confidence interval of 95 %, corrected for overlapping training rows.
    pvalue_ : float
        P-value of no bias, two-sided, by the corrected resampled t-test.
    per_step_bias_ : dict
        The bias of each of the steps when it alone is fitted outside.
    per_step_interval_ : dict
        Their intervals.
    supervised_steps_ : list of str
        Transformers that use y. Outside of the folds they are certain leaks, and
        ``steps="unsupervised"`` does not move them.
    supervised_bias_ : dict
        The bias of each of them when it alone is fitted outside.
    steps_ : list of str
        Steps that were moved for ``bias_``.
    inside_scores_ : ndarray of shape (n_folds,)
        Scores of the pipeline, fitted to the training rows.
    outside_scores_ : ndarray of shape (n_folds,)
        Scores with the steps fitted to all rows.
    stopped_ : {"folds", "time", "callback", "interrupted"}
        What ended the evaluations.
    estimator_ : Pipeline
        Fitted to all rows, for predictions.
    classes_ : ndarray of shape (n_classes,)
        Classes, for a classifier.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    sklearn.model_selection.cross_validate : The scores of the pipeline alone.

    Notes
    -----
    Unseeded steps get the same seed inside and outside, so that the difference is that
    of the rows. Whether a step uses y is declared by its tags or its signature, or is
    found by fitting it with permuted labels.

    References
    ----------
    A. Moscovich and S. Rosset, "On the cross-validation bias due to unsupervised
    preprocessing", Journal of the Royal Statistical Society B 84, 2022,
    arXiv:1901.08974. C. Nadeau and Y. Bengio, "Inference for the generalization
    error", Machine Learning 52, 2003.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.feature_selection import SelectKBest
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.model_evaluation import PreprocessingLeakageAudit
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pipeline = make_pipeline(
    ...     StandardScaler(), SelectKBest(k=5), LogisticRegression()
    ... )
    >>> audit = PreprocessingLeakageAudit(pipeline, n_repeats=2, random_state=0)
    >>> audit.fit(X, y).supervised_steps_
    ['selectkbest']
    >>> sorted(audit.per_step_bias_)
    ['standardscaler']
    """

    _parameter_constraints: dict = {
        "pipeline": [HasMethods(["fit", "predict"])],
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "steps": [StrOptions({"unsupervised"}), "array-like"],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": EVERYWHERE["n_jobs"].constraint,
        "time_limit": EVERYWHERE["time_limit"].constraint,
        "verbose": EVERYWHERE["verbose"].constraint,
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        pipeline,
        cv=5,
        scoring=None,
        steps="unsupervised",
        n_repeats=10,
        *,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.pipeline = pipeline
        self.cv = cv
        self.scoring = scoring
        self.steps = steps
        self.n_repeats = n_repeats
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @property
    def estimator(self):
        """The pipeline, whose methods the audit has."""
        return self.pipeline

    def __sklearn_tags__(self):
        """Those of the pipeline."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.pipeline)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = deepcopy(inner.classifier_tags)
        tags.regressor_tags = deepcopy(inner.regressor_tags)
        tags.input_tags = deepcopy(inner.input_tags)
        tags.target_tags.required = True
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, **fit_params):
        """Score the folds with steps inside and outside, and fit the pipeline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as the pipeline takes them.
        y : array-like of shape (n_samples,)
            Their outcomes.
        groups : array-like of shape (n_samples,), default=None
            Groups, for the splitter.
        **fit_params : dict
            Arguments of the pipeline's ``fit`` such as ``step__sample_weight``, cut to
            the rows that the step is fitted to. ``sample_weight`` alone is that of the
            model. With metadata routing enabled, what the steps and the scorer request;
            scores are weighted only then.

        Returns
        -------
        self : object
            The audit.
        """
        with whole_fit(self):
            require_y(self, y)
            self._check_pipeline()
            X = check_table(self, X, [self.pipeline], reset=True)
            y = self._check_target(X, y)
            rng = check_random_state(self.random_state)
            pipeline = seeded(self.pipeline, rng)
            steps = _working(pipeline)
            scorer = self._scorer()
            arguments = self._arguments(fit_params, groups)
            folds = self._folds(X, y, arguments.splitter, rng)
            supervised = supervised_steps(steps, X, y, rng)
            moved = self._moved(steps, supervised)
            arrangements = [frozenset(), frozenset(moved)]
            alone = dict.fromkeys([*moved, *supervised])
            arrangements += [frozenset([name]) for name in alone]
            arrangements = list(dict.fromkeys(arrangements))
            progress = watch(self, X, y, max_iter=len(folds), unit="Fold")
            with progress:
                jobs = (
                    delayed(fold_scores)(
                        steps, X, y, fold, arrangements, scorer, arguments
                    )
                    for fold in folds
                )
                scores = self._scores(jobs, progress)
                model = fit_inner(pipeline, X, y, params=arguments.pipeline)
            by = dict(zip(arrangements, np.array(scores).T, strict=True))
            self._set(by, moved, supervised, folds[: len(scores)])
            self.estimator_ = model
            if hasattr(model, "classes_"):
                self.classes_ = model.classes_
            self.stopped_ = progress.reason("folds")
            if progress.ended == "time":
                warnings.warn(
                    f"PreprocessingLeakageAudit reached time_limit={self.time_limit} "
                    f"after {len(scores)} of {len(folds)} folds.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        return self

    def _check_pipeline(self):
        if not isinstance(self.pipeline, Pipeline) or len(self.pipeline.steps) < 2:
            raise ValueError(
                "pipeline must be a Pipeline of at least one transformer and a model. "
                f"Got {self.pipeline!r}."
            )
        if is_frozen(self.pipeline.steps[-1][1]):
            raise ValueError(
                "The model of the pipeline is frozen, so that no fold trains it. Pass "
                "it unfrozen."
            )
        if len(_working(self.pipeline)) < 2:
            raise ValueError("The pipeline has no transformer that does anything.")
        refuse_samplers(self.pipeline, "fitted to all rows it would move rows too")

    def _check_target(self, X, y):
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        if y.dtype.kind == "c":
            raise ValueError("Complex data not supported: y must be real.")
        assert_all_finite(y, input_name="y")
        if is_classifier(self.pipeline):
            check_classification_targets(y)
            if len(np.unique(y)) < 2:
                raise ValueError(
                    "PreprocessingLeakageAudit needs samples of at least 2 classes, "
                    "but y has only one class."
                )
        return y

    def _scorer(self):
        steps = getattr(self.pipeline, "steps", [(None, self.pipeline)])
        return check_scoring(steps[-1][1], scoring=self.scoring)

    def _arguments(self, params, groups):
        """Arguments of the pipeline, its steps, the scorer and the splitter."""
        split = {} if groups is None else {"groups": groups}
        last, model = self.pipeline.steps[-1]
        if "sample_weight" in params and not takes_weights(model):
            raise ValueError(
                f"{type(model).__name__} takes no sample_weight, or a model inside it "
                "takes none."
            )
        if not routing_enabled():
            given = dict(params)
            if "sample_weight" in given:
                path = f"{last}__sample_weight"
                if path in given:
                    raise ValueError(f"sample_weight and {path} are one argument.")
                given[path] = given.pop("sample_weight")
            split_params(self.pipeline, given)  # refuses what belongs to no step
            return Arguments(given, self._by_step(given), {}, split)
        routed = process_routing(self, "fit", **params, **split)
        given = dict(routed.estimator.fit)
        inner = process_routing(self.pipeline, "fit", **given)
        by_step = {}
        for name, step in _working(self.pipeline):
            whole = name != last and hasattr(step, "fit_transform")
            by_step[name] = dict(inner[name]["fit_transform" if whole else "fit"])
        scorer, splitter = dict(routed.scorer.score), dict(routed.splitter.split)
        return Arguments(given, by_step, scorer, splitter)

    def _by_step(self, params):
        """Arguments ``step__argument`` by the name of the step."""
        found = {name: {} for name, _ in self.pipeline.steps}
        for key, value in params.items():
            name, _, argument = key.partition("__")
            if name not in found:
                raise ValueError(
                    f"The pipeline has no step {name!r}, to which {key!r} could go. "
                    f"Its steps are {list(found)}."
                )
            found[name][argument] = value
        return found

    def _folds(self, X, y, for_split, rng):
        classifier = is_classifier(self.pipeline)
        cv = self.cv
        if isinstance(cv, Integral):
            n_folds = int(cv)
            if len(y) < n_folds:
                raise ValueError(
                    f"cv={n_folds} folds need as many rows; X has n_samples={len(y)}."
                )
            kind = RepeatedKFold
            if classifier and np.unique(y, return_counts=True)[1].max() >= n_folds:
                kind = RepeatedStratifiedKFold
            cv = kind(n_splits=n_folds, n_repeats=self.n_repeats, random_state=rng)
        cv = check_cv(cv, y, classifier=classifier)
        every = np.arange(len(y))  # masks become row numbers
        folds = [(every[a], every[b]) for a, b in cv.split(X, y, **for_split)]
        if len(folds) < 2:
            raise ValueError(
                "cv gives one fold only; a confidence interval needs two. Pass a "
                "splitter with n_splits of at least 2."
            )
        return folds

    def _moved(self, steps, supervised):
        """Names of the steps to fit outside."""
        names = [name for name, _ in steps[:-1]]
        if isinstance(self.steps, str):
            moved = [name for name in names if name not in supervised]
            if not moved:
                raise ValueError(
                    f"Every transformer of the pipeline uses y: {supervised}. Outside "
                    f"of the folds they are certain leaks; pass steps={supervised} to "
                    "measure them."
                )
            return moved
        wanted = list(self.steps)
        unknown = [name for name in wanted if name not in names]
        if unknown or not wanted:
            raise ValueError(
                f"steps must name transformers of the pipeline, which are {names}. Got "
                f"{wanted!r}."
            )
        return [name for name in names if name in wanted]

    def _scores(self, jobs, progress):
        """Scores of the folds so far, one list per fold."""
        scores = []
        with (
            progress.interruptible(lambda: len(scores) >= 2),
            streamed(self.n_jobs, jobs) as folds,
        ):
            for found in folds:
                scores.append(found)
                if progress.step(score=found[1] - found[0]) and len(scores) >= 2:
                    break
        return scores

    def _set(self, by, moved, supervised, folds):
        sizes = [float(np.mean([len(f[part]) for f in folds])) for part in (0, 1)]

        def bias(outside):
            pair = np.array([by[frozenset(outside)], by[frozenset()]])
            return corrected_t(SplitScores(pair, *sizes))

        whole = bias(moved)
        self.inside_scores_ = by[frozenset()]
        self.outside_scores_ = by[frozenset(moved)]
        self.bias_, self.bias_interval_ = whole.estimate, whole.ci
        self.pvalue_ = whole.pvalue
        each = {name: bias([name]) for name in dict.fromkeys([*moved, *supervised])}
        self.per_step_bias_ = {name: each[name].estimate for name in moved}
        self.per_step_interval_ = {name: found.ci for name, found in each.items()}
        self.supervised_bias_ = {name: each[name].estimate for name in supervised}
        self.supervised_steps_, self.steps_ = supervised, moved

    def get_metadata_routing(self):
        """Return where metadata go.

        Returns
        -------
        routing : MetadataRouter
            The pipeline, the scorer and the splitter.
        """
        router = MetadataRouter(owner=self)
        router.add(
            estimator=self.pipeline,
            method_mapping=MethodMapping()
            .add(caller="fit", callee="fit")
            .add(caller="score", callee="score"),
        )
        router.add(
            scorer=self._scorer(),
            method_mapping=MethodMapping().add(caller="fit", callee="score"),
        )
        return router.add(
            splitter=check_cv(self.cv, classifier=is_classifier(self.pipeline)),
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )


def _working(pipeline):
    """Steps that do something."""
    return [s for s in pipeline.steps if s[1] not in (None, "passthrough")]
