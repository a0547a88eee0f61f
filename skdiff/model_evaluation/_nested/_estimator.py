"""A search judged by an outer cross-validation."""

import warnings
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import (
    assert_all_finite,
    check_random_state,
    column_or_1d,
    get_tags,
    indexable,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.parallel import delayed

from skdiff._base.compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    fit_context,
    routing_enabled,
    safe_indexing,
)
from skdiff._base.delegate import DelegateMixin
from skdiff._base.inner import (
    check_table,
    fit_inner,
    is_frozen,
    seeded,
    take_rows,
    whole_fit,
)
from skdiff._base.parameters import EVERYWHERE
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.validation import require_y
from skdiff.model_evaluation._splits._t_tests import corrected_scale
from skdiff.model_evaluation._streaming import streamed


class NestedCV(
    DelegateMixin,
    SaveMixin,
    CallbackSupportMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Score a search with its own selection inside every fold.

    The best cross-validated score of a search is too high, as it is the largest of
    many. Here every outer fold repeats the whole search without the rows it is scored
    on. The search is then fitted to all rows and predicts; its score is that of the
    outer folds.

    Parameters
    ----------
    search : estimator
        A search such as ``GridSearchCV``, or any estimator that selects something
        inside its ``fit``.
    cv_outer : int, cross-validation generator or iterable, default=5
        The outer splits, stratified for classifiers where it is an int.
    scoring : str or callable, default=None
        The scorer of the outer folds; that of the search if None, its first metric or
        that of ``refit`` where it has several.
    n_repeats : int, default=1
        How often the outer folds are drawn anew. More than one needs ``cv_outer`` to be
        an int; folds are then shuffled.
    confidence_level : float, default=0.95
        Level of ``interval_``.
    refit : bool, default=True
        Whether to fit the search to all rows at the end, so that this estimator can
        predict.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. It counts outer folds; the
        search has its own.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. At least two outer folds are scored, and the last fit is not bounded.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per outer fold.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    outer_scores_ : ndarray of shape (n_outer_folds,)
        Scores of the outer folds.
    inner_scores_ : ndarray of shape (n_outer_folds,)
        ``best_score_`` of the search of each fold; NaN where it has none.
    best_params_per_fold_ : list of dict
        ``best_params_`` of the search of each fold; empty where it has none.
    score_ : float
        Mean of the outer scores.
    interval_ : tuple of float
        Interval of ``score_``, with the variance corrected for the overlap of the
        training parts (Nadeau and Bengio).
    optimism_ : float
        Mean of inner minus outer scores: how much the search overstates itself.
    refit_ : estimator
        The search fitted to all rows, with ``refit=True``.
    stopped_ : str
        ``"folds"`` where every fold was scored, ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.
    classes_ : ndarray of shape (n_classes,)
        Classes, for a fitted classifier.

    See Also
    --------
    bootstrap_632_score : For a few dozen rows.
    compare_models : Several models on the same splits; a search among them is nested.

    Notes
    -----
    ``optimism_`` compares scores of one metric where ``scoring`` is None or that of the
    search.

    References
    ----------
    S. Varma and R. Simon, "Bias in error estimation when using cross-validation for
    model selection", BMC Bioinformatics 7, 2006.

    G. C. Cawley and N. L. C. Talbot, "On over-fitting in model selection and subsequent
    selection bias in performance evaluation", JMLR 11, 2010.

    C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning
    52, 2003.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import NestedCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> search = GridSearchCV(
    ...     DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 4]}, cv=3
    ... )
    >>> nested = NestedCV(search, random_state=0).fit(X, y)
    >>> nested.outer_scores_.shape, len(nested.best_params_per_fold_)
    ((5,), 5)
    """

    _parameter_constraints = {
        "search": [HasMethods("fit")],
        "cv_outer": ["cv_object"],
        "scoring": [str, callable, None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "refit": ["boolean"],
        "n_jobs": EVERYWHERE["n_jobs"].constraint,
        "time_limit": EVERYWHERE["time_limit"].constraint,
        "verbose": EVERYWHERE["verbose"].constraint,
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        search,
        cv_outer=5,
        scoring=None,
        *,
        n_repeats=1,
        confidence_level=0.95,
        refit=True,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.search = search
        self.cv_outer = cv_outer
        self.scoring = scoring
        self.n_repeats = n_repeats
        self.confidence_level = confidence_level
        self.refit = refit
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @property
    def estimator(self):
        """The search, under the name that delegated methods know."""
        return self.search

    @property
    def estimator_(self):
        """The search fitted to all rows."""
        if "refit_" not in vars(self):
            raise AttributeError("NestedCV with refit=False has no fitted estimator.")
        return self.refit_

    def _read(self, X):
        if not self.refit and hasattr(self, "outer_scores_"):
            raise NotFittedError("NestedCV with refit=False has no fitted estimator.")
        return super()._read(X)

    def __sklearn_tags__(self):
        """Those of the search."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.search)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = deepcopy(inner.classifier_tags)
        tags.regressor_tags = deepcopy(inner.regressor_tags)
        tags.input_tags = deepcopy(inner.input_tags)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.target_tags.required = True
        return tags

    def get_metadata_routing(self):
        """Return where metadata go.

        Returns
        -------
        routing : MetadataRouter
            The search, the scorer and the outer splitter.
        """
        router = MetadataRouter(owner=self)
        router.add(
            estimator=self.search,
            method_mapping=MethodMapping()
            .add(caller="fit", callee="fit")
            .add(caller="score", callee="score"),
        )
        router.add(
            scorer=self._scorer(),
            method_mapping=MethodMapping().add(caller="fit", callee="score"),
        )
        router.add(
            splitter=check_cv(self.cv_outer, classifier=is_classifier(self.search)),
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        return router

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, **fit_params):
        """Score the search on the outer folds, then fit it to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as the search takes them.
        y : array-like of shape (n_samples,)
            Their outcomes.
        groups : array-like of shape (n_samples,), default=None
            Groups, for the outer splitter. With metadata routing enabled also for that
            of the search, where it requests them.
        **fit_params : dict
            Arguments of the search's ``fit``, cut to the rows of each fold. With
            metadata routing enabled also what the scorer requests; without it outer
            scores count rows alike, as those of a search do.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        with whole_fit(self):
            require_y(self, y)
            if is_frozen(self.search):
                raise ValueError("A frozen estimator searches nothing. Pass a search.")
            X = check_table(self, X, [self.search], reset=True)
            outcomes = np.asarray(y)
            if outcomes.dtype.kind == "f":
                assert_all_finite(outcomes, input_name="y")
            if outcomes.shape[1:] == (1,):
                y = column_or_1d(y, warn=True)
            X, y, groups = indexable(X, y, groups)
            rng = check_random_state(self.random_state)
            search = seeded(self.search, rng)
            for_fit, for_score, for_split = self._route(fit_params, groups)
            splits = self._splits(X, y, for_split, rng)
            with watch(self, X, y, max_iter=len(splits), unit="Fold") as progress:
                found = self._score_folds(
                    search, X, y, splits, (for_fit, for_score), progress
                )
                refit = fit_inner(search, X, y, params=for_fit) if self.refit else None
            self._set(found, splits, refit)
            self.stopped_ = progress.reason("folds")
            if progress.ended == "time":
                warnings.warn(
                    f"NestedCV reached time_limit={self.time_limit} after {len(found)} "
                    f"of {len(splits)} outer folds.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        return self

    def _scorer(self):
        """The scorer of the outer folds: by default that of the search."""
        scoring = self.scoring
        if scoring is None:
            scoring = getattr(self.search, "scoring", None)
            refit = getattr(self.search, "refit", None)
            if isinstance(scoring, dict):
                name = refit if isinstance(refit, str) else next(iter(scoring))
                scoring = scoring[name]
            elif isinstance(scoring, list | tuple | set):
                scoring = refit if isinstance(refit, str) else next(iter(scoring))
        return check_scoring(self.search, scoring=scoring, allow_none=False)

    def _route(self, params, groups):
        """Arguments of the search's fit, the scorer and the outer splitter."""
        split = {} if groups is None else {"groups": groups}
        if not routing_enabled():
            return params, {}, split
        routed = process_routing(self, "fit", **params, **split)
        return (
            dict(routed.estimator.fit),
            dict(routed.scorer.score),
            dict(routed.splitter.split),
        )

    def _splits(self, X, y, for_split, rng):
        classifier = is_classifier(self.search)
        cv = check_cv(self.cv_outer, y, classifier=classifier)
        if self.n_repeats > 1 and not isinstance(self.cv_outer, Integral):
            raise ValueError(
                "n_repeats > 1 needs cv_outer to be an int; give a splitter that "
                "repeats, such as RepeatedKFold, instead."
            )
        splits = []
        for _ in range(self.n_repeats):
            if self.n_repeats > 1:
                seed = rng.randint(2**31 - 1)
                cv = type(cv)(cv.get_n_splits(), shuffle=True, random_state=seed)
            splits += list(cv.split(X, y, **for_split))
        if len(splits) < 2:
            raise ValueError("cv_outer must give at least two splits.")
        return splits

    def _score_folds(self, search, X, y, splits, params, progress):
        """Fitted and scored folds, as far as limits allow."""
        scorer = self._scorer()
        tasks = (
            delayed(_one_fold)(search, X, y, split, params, scorer) for split in splits
        )
        found = []
        guard = progress.interruptible(lambda: len(found) > 1)
        with guard, streamed(self.n_jobs, tasks) as folds:
            for fold in folds:
                found.append(fold)
                if progress.step(score=fold["outer"]) and len(found) > 1:
                    break
        return found

    def _set(self, found, splits, refit):
        self.outer_scores_ = np.array([fold["outer"] for fold in found])
        self.inner_scores_ = np.array([fold["inner"] for fold in found])
        self.best_params_per_fold_ = [fold["params"] for fold in found]
        sizes = np.mean([fold["sizes"] for fold in found], axis=0)
        self.score_ = float(self.outer_scores_.mean())
        scale = corrected_scale(self.outer_scores_, *sizes)
        law = stats.t(len(found) - 1)
        half = float(law.ppf((1 + self.confidence_level) / 2)) * scale
        self.interval_ = (self.score_ - half, self.score_ + half)
        self.optimism_ = float(np.mean(self.inner_scores_ - self.outer_scores_))
        if refit is not None:
            self.refit_ = refit
            if hasattr(refit, "classes_"):
                self.classes_ = refit.classes_


def _one_fold(search, X, y, split, params, scorer):
    """Search on the training part of one outer split and score on the other."""
    train, test = split
    for_fit, for_score = (
        take_rows(X, given, rows)
        for given, rows in zip(params, (train, test), strict=True)
    )
    model = fit_inner(
        clone(search),
        safe_indexing(X, train),
        safe_indexing(y, train),
        params=for_fit,
    )
    outer = scorer(model, safe_indexing(X, test), safe_indexing(y, test), **for_score)
    if not np.isfinite(outer):
        raise ValueError(
            "The score of an outer fold is not finite: its test rows may be too few "
            "for the scorer, or lack a class. Pass another scoring, or fewer folds."
        )
    return {
        "outer": float(outer),
        "inner": float(getattr(model, "best_score_", np.nan)),
        "params": dict(getattr(model, "best_params_", {})),
        "sizes": [np.arange(len(y))[rows].size for rows in (train, test)],
    }
