"""TemporalModelSelector: old models, reused when their time comes back."""

import warnings
from contextlib import nullcontext
from copy import deepcopy
from numbers import Integral, Real

from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, check_scoring, r2_score
from sklearn.utils import (
    get_tags,
)
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import available_if

from skdiff._base.compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from skdiff._base.inner import whole_fit
from skdiff._base.parameters import EVERYWHERE
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff.model_evaluation._temporal._mechanisms import (
    LABEL_FREE,
    MECHANISMS,
)
from skdiff.model_evaluation._temporal._outputs import log_odds
from skdiff.model_evaluation._temporal._replay import replay
from skdiff.model_evaluation._temporal._state._base import TemporalState


def _has(name):
    """Whether the estimator has a method, fitted or not."""
    return lambda self: hasattr(self.estimator, name)


class TemporalModelSelector(
    TemporalState,
    SaveMixin,
    CallbackSupportMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Keep the models of past periods, and use those that fit now.

    A model is trained per period, such as a month, on the newest periods. The models
    of the past are kept; after each labelled period a mechanism chooses among all of
    them or combines them. Where regimes come back, an old model knows them already.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor that is trained for each period.
    mechanism : str, default="stacking"
        How models are chosen. By the newest labelled period: ``"temporal"`` takes the
        best of those not trained on it, ``"temporal_rev"`` the newest where the second
        newest is best, ``"temporal_cv"`` judges the newest by folds and leaves it only
        for a gain of more than one standard error. Without labels, from the rows to
        predict: ``"distance"``, ``"confidence"``, ``"laf"``. Combinations:
        ``"stacking"``, ``"weighted"``, ``"average"``, ``"sea"``, ``"awe"``. Baselines:
        ``"latest"``, ``"stationary"``. The user guide describes each.
    window : int or None, default=4
        Number of newest periods that a model is trained on; None uses all.
    max_models : int, default=20
        Number of models that are kept.
    scoring : str, callable or None, default=None
        Scorer by which models are ranked; None is the negative log loss or squared
        error, which also decides where a scorer is not defined, such as the area under
        the ROC curve of a period with one class.
    cv : int, splitter or iterable, default=5
        Folds of the newest period for models that were trained on it. Without the rows
        of a fold they are trained on the same window.
    n_select : int, default=None
        Number of models that a ranking mechanism uses (1 by default), that
        ``"average"`` averages (the newest 5) or that ``"sea"`` keeps (all).
    combine : {"average", "best", "weighted", "stacking"}, default="average"
        How several models of a ranking are combined.
    eviction : {"diverse", "oldest", "worst"}, default="diverse"
        Which model goes when there are too many: the older of the two whose
        predictions are most alike, the oldest, or the one with the worst score.
    retrain_min_samples : int, default=None
        Periods with fewer rows train no model; their rows count for later ones.
    retrain_window : "auto" or None, default=None
        ``"auto"`` adds a model of the newest period only and one of all history, anew
        in each period.
    label_delay : int, default=0
        Periods between rows and their labels in the replay of ``fit`` and
        ``partial_fit``: a period is scored by the choice that was known then.
    select_on_predict : bool, default=True
        Whether mechanisms without labels choose anew for each batch in ``predict``.
        Otherwise they choose for the rows of the newest period.
    stack_penalty : float, default=10.0
        Ridge of ``"stacking"`` towards equal weights, in rows.
    max_history : int, default=None
        Number of newest entries that ``history_`` keeps; None keeps all. With
        ``partial_fit`` on an endless stream it would otherwise grow without bound.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. The first period is always learned.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    models_ : list of estimator
        The models that are kept, from the oldest to the newest.
    model_periods_ : list
        Last period that each was trained on.
    validation_scores_ : ndarray of shape (n_models,)
        Scores on the newest labelled period by rows that a model was not trained on;
        NaN where there is none.
    ranking_ : ndarray of int
        Models from the best down.
    weights_ : ndarray of shape (n_models,)
        Weights of the models in a prediction; those of a stack may be negative.
    selected_ : ndarray of int
        Models with a weight other than zero.
    history_ : dict of list
        One entry per period that was predicted before it was learned: ``period``,
        ``chosen`` (period of the model of largest weight), ``score``, ``n_models``,
        ``model_periods`` and ``weights``.
    periods_ : list
        Labels of the periods learned.
    stopped_ : {"periods", "time", "callback", "interrupted"}
        What ended the last fit.
    classes_ : ndarray of shape (n_classes,)
        Classes seen so far, for a classifier.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    TemporalReuseDisplay : Which models were used over time.

    Notes
    -----
    No model is judged by rows that it was trained on. ``partial_fit`` with one period
    after the other gives the state of one ``fit``. A class that a model does not know
    has probability zero in its predictions.

    References
    ----------
    Y. Lyu, H. Li, H. Li and A. E. Hassan, "Can We Recycle Our Old Models? An Empirical
    Evaluation of Model Selection Mechanisms for AIOps Solutions", arXiv:2505.02961.
    W. N. Street and Y. Kim, "A streaming ensemble algorithm (SEA) for large-scale
    classification", KDD 2001. H. Wang, W. Fan, P. S. Yu and J. Han, "Mining
    concept-drifting data streams using ensemble classifiers", KDD 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.model_evaluation import TemporalModelSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(800, 2))
    >>> month = np.repeat(np.arange(8), 100)
    >>> sign = np.where(month // 2 % 2, -1, 1)  # two regimes, two months each
    >>> y = (sign * X[:, 0] > 0).astype(int)
    >>> model = TemporalModelSelector(LogisticRegression(), window=1)
    >>> model = model.fit(X, y, periods=month)
    >>> model.model_periods_
    [0, 1, 2, 3, 4, 5, 6, 7]
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "mechanism": [StrOptions(set(MECHANISMS))],
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "max_models": [Interval(Integral, 1, None, closed="left")],
        "scoring": [str, callable, None],
        "cv": ["cv_object"],
        "n_select": [Interval(Integral, 1, None, closed="left"), None],
        "combine": [StrOptions({"best", "average", "weighted", "stacking"})],
        "eviction": [StrOptions({"diverse", "oldest", "worst"})],
        "retrain_min_samples": [Interval(Integral, 1, None, closed="left"), None],
        "retrain_window": [StrOptions({"auto"}), None],
        "label_delay": [Interval(Integral, 0, None, closed="left")],
        "select_on_predict": ["boolean"],
        "stack_penalty": [Interval(Real, 0, None, closed="neither")],
        "max_history": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": EVERYWHERE["n_jobs"].constraint,
        "time_limit": EVERYWHERE["time_limit"].constraint,
        "verbose": EVERYWHERE["verbose"].constraint,
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        estimator,
        mechanism="stacking",
        window=4,
        max_models=20,
        scoring=None,
        cv=5,
        n_select=None,
        combine="average",
        eviction="diverse",
        retrain_min_samples=None,
        *,
        retrain_window=None,
        label_delay=0,
        select_on_predict=True,
        stack_penalty=10.0,
        max_history=None,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.mechanism = mechanism
        self.window = window
        self.max_models = max_models
        self.scoring = scoring
        self.cv = cv
        self.n_select = n_select
        self.combine = combine
        self.eviction = eviction
        self.retrain_min_samples = retrain_min_samples
        self.retrain_window = retrain_window
        self.label_delay = label_delay
        self.select_on_predict = select_on_predict
        self.stack_penalty = stack_penalty
        self.max_history = max_history
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Those of the estimator."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = deepcopy(inner.classifier_tags)
        tags.regressor_tags = deepcopy(inner.regressor_tags)
        tags.input_tags = deepcopy(inner.input_tags)
        tags.target_tags.required = True
        # a batch decides which models predict it
        if self.mechanism in LABEL_FREE and self.select_on_predict:
            tags.non_deterministic = True
        return tags

    # --- learning ---------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, periods=None, sample_weight=None):
        """Replay a history: learn one period after the other.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as the estimator takes them.
        y : array-like of shape (n_samples,)
            Their outcomes.
        periods : array-like of shape (n_samples,), default=None
            Period of each row; periods are learned in sorted order, those of an ordered
            categorical in its order. One period if None.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for models and scores. A row of weight zero is absent.
            A scorer that takes no weights is refused.

        Returns
        -------
        self : object
            The selector after the last period.
        """
        with whole_fit(self):
            blocks = self._blocks(X, y, periods, sample_weight, reset=True)
            self._start(blocks)
            progress = watch(self, X, y, max_iter=len(blocks), unit="Period")
            with (
                progress,
                progress.interruptible(lambda: bool(self._choices)),
            ):
                for block in blocks:
                    self._learn(block)
                    if self._last_score() is None:
                        progress.write(f"Period {block['label']} is learned.")
                    if progress.step(score=self._last_score()) and self._choices:
                        break
            if not self._choices:
                raise ValueError(
                    "No model could be trained: no window of periods has rows of two "
                    "classes and retrain_min_samples rows in its newest period."
                )
            self.stopped_ = progress.reason("periods")
            if progress.ended == "time":
                warnings.warn(
                    f"TemporalModelSelector reached time_limit={self.time_limit} after "
                    f"{len(self.periods_)} of {len(blocks)} periods.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y, classes=None, sample_weight=None, *, period=None):
        """Learn one new labelled period.

        It is first predicted by the choice so far, for ``history_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the period.
        y : array-like of shape (n_samples,)
            Their outcomes.
        classes : array-like of shape (n_classes,), default=None
            Classes that are known to come, for a classifier. Others may come too.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        period : object, default=None
            Label of the period; the number of periods before it if None.

        Returns
        -------
        self : object
            The selector after the period.
        """
        first = not hasattr(self, "_pool")
        with whole_fit(self) if first else nullcontext():
            (block,) = self._blocks(X, y, None, sample_weight, reset=first)
            if first:
                self._start([block], classes)
            self._learn({**block, "label": period})
            self.stopped_ = "periods"
        return self

    # --- predicting -------------------------------------------------------------------

    def predict(self, X):
        """Predict with the models that are selected.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels or numbers.
        """
        found, alone, X = self._predicted(X)
        if alone is not None:
            return alone.predict(X)
        if is_classifier(self.estimator):
            return self.classes_[found.argmax(axis=1)]
        return found

    @available_if(_has("predict_proba"))
    def predict_proba(self, X):
        """Predict probabilities with the models that are selected.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        return self._predicted(X)[0]

    @available_if(_has("decision_function"))
    def decision_function(self, X):
        """Return decision values: those of one model, or log odds of several.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        f : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values.
        """
        found, alone, X = self._predicted(X)
        return alone.decision_function(X) if alone is not None else log_odds(found)

    def score(self, X, y, sample_weight=None):
        """Score the predictions by ``scoring``, or by accuracy or R2.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their outcomes.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            The score.
        """
        if self.scoring is not None:
            how = {} if sample_weight is None else {"sample_weight": sample_weight}
            return check_scoring(self, scoring=self.scoring)(self, X, y, **how)
        metric = accuracy_score if is_classifier(self.estimator) else r2_score
        return float(metric(y, self.predict(X), sample_weight=sample_weight))

    def score_mechanisms(self, X, y, periods, *, mechanisms="all", measure="score"):
        """Compare all mechanisms by predicting each period before learning it.

        The selector need not be fitted, and is not changed. All mechanisms choose
        among the same models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their outcomes.
        periods : array-like of shape (n_samples,)
            Period of each row.
        mechanisms : "all" or list of str, default="all"
            Which to compare; all that the estimator allows.
        measure : {"score", "kendall", "jaccard"}, default="score"
            Scores of the predictions, or how well each ranking agrees with the order of
            the models on the period to predict: Kendall's tau, or the overlap of the
            best three.

        Returns
        -------
        table : DataFrame
            One row per period, one column per mechanism, and ``oracle``: the best
            single model of the pool for the period.
        """
        return replay(self, X, y, periods, mechanisms, measure)

    def get_metadata_routing(self):
        """Return how metadata reaches the estimator.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(estimator=self.estimator, method_mapping=mapping)
