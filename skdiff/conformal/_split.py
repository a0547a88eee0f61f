"""Conformal selection from a calibration part that no model has seen."""

import warnings

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from skdiff._base.compat import (
    HasMethods,
    check_method_params,
    fit_context,
    routing_enabled,
    safe_indexing,
)
from skdiff.conformal._base import (
    PRUNING_CONSTRAINTS,
    SPLIT_CONSTRAINTS,
    BaseSelector,
    default_estimator,
    is_frozen,
)
from skdiff.conformal._scores import labelled_scores, margin


class SplitSelector(BaseSelector):
    """Train on one part of the labelled rows, calibrate on the other."""

    _parameter_constraints = {
        **BaseSelector._parameter_constraints,
        **SPLIT_CONSTRAINTS,
        **PRUNING_CONSTRAINTS,
    }

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, thresholds=None, **fit_params):
        """Train on one part of the rows and calibrate on the other.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Labelled rows, exchangeable with those to come.
        y : array-like of shape (n_samples,)
            Their outcomes.
        thresholds : array-like of shape (n_samples,), default=None
            A threshold a row in place of ``threshold``; new rows then need theirs.
        **fit_params : dict
            Passed to the estimators' ``fit``, such as ``sample_weight``; what has one
            entry a row is cut to the training rows. With metadata routing enabled it
            is routed as requested.

        Returns
        -------
        self : object
            Calibrated selector.
        """
        self._forget()
        X, y, thresholds, positive = self._check_labelled(X, y, thresholds)
        if self.prefit and not self._given():
            raise ValueError("prefit=True says that a fitted model is given; none is.")
        rng = check_random_state(self.random_state)
        train, calibration = self._split(len(y), rng)
        seed = int(rng.randint(2**31 - 1))
        labels = y, positive, thresholds
        routed = self._route(fit_params)
        models = [
            (e, self.scale_estimator)
            if self._frozen
            else self._train(e, X, labels, train, params)
            for e, params in zip(self._candidates(), routed, strict=True)
        ]
        # those know a discovery as 1, the others as their user called it
        self._trained = [not (self._frozen or is_frozen(e)) for e in self._candidates()]
        self._calibrate(models, X, labels, calibration)
        # kept, so that asking again breaks ties in the same way
        self._seed = seed
        return self

    @property
    def _frozen(self):
        given = self._given()
        return self.prefit or bool(given and all(is_frozen(e) for e in given))

    def _split(self, n, rng):
        """Training and calibration rows, drawn without a look at the outcomes."""
        if self._frozen:
            return np.arange(0), np.arange(n)
        size = self.calibration_size
        whole = isinstance(size, (int, np.integer))
        n_calibration = int(size) if whole else int(np.ceil(size * n))
        if not 1 <= n_calibration < n:
            raise ValueError(
                f"With n_samples={n} and calibration_size={size} the training or the "
                "calibration part is empty."
            )
        order = rng.permutation(n)
        return np.sort(order[n_calibration:]), np.sort(order[:n_calibration])

    def _train(self, estimator, X, labels, train, fit_params):
        """Fit a clone, and a model of the size of its errors if the score needs it."""
        y, positive, _ = labels
        goal = self._goal()
        estimator = clone(estimator)
        target = goal.outcome(estimator, y, positive)[train]
        rows = safe_indexing(X, train)
        params = check_method_params(X, fit_params, indices=train)
        if is_classifier(estimator) and len(np.unique(target)) == 1:
            kind = "a discovery" if target[0] else "no discovery"
            warnings.warn(
                f"Every one of the {len(train)} training rows is {kind}: with 1 class "
                "there is nothing to learn, and all rows get the same score. Move "
                "threshold, or label more rows.",
                UserWarning,
                stacklevel=3,
            )
            return DummyClassifier(strategy="prior").fit(rows, target), None
        scale = self.scale_estimator
        if scale is None and self.conformity_score == "scaled":
            scale = estimator if is_regressor(estimator) else None
            if scale is None:
                raise ValueError(
                    "conformity_score='scaled' with a classifier needs a regressor as "
                    "scale_estimator."
                )
        if scale is not None:
            # errors on rows the model has not seen, as those to come will be
            method = "predict_proba" if is_classifier(estimator) else "predict"
            unseen = cross_val_predict(
                estimator, rows, target, cv=min(5, len(train)), method=method
            )
            unseen = unseen[:, 1] if unseen.ndim == 2 else unseen
            scale = clone(scale).fit(rows, np.abs(target - unseen))
        return estimator.fit(rows, target, **params), scale

    def _calibrate(self, models, X, labels, calibration):
        y, positive, thresholds = labels
        rows = safe_indexing(X, calibration)
        inside = positive[calibration]
        c = None if thresholds is None else thresholds[calibration]
        columns = []
        goals = self._goals([model for model, _ in models])
        for (model, scale), goal in zip(models, goals, strict=True):
            f = margin(model, rows, goal, c)
            excess = inside.astype(np.float64)
            if goal.learns_numbers(model):
                excess = y[calibration] - (goal.threshold if c is None else c)
                excess = excess if goal.larger else -excess
            columns.append(
                labelled_scores(
                    self.conformity_score, f, inside, excess, self._sigma(scale, rows)
                )
            )
        self._warn_if_powerless(inside)
        scores = np.column_stack(columns)
        if not len(scores):
            raise ValueError(
                "conformity_score='null' needs calibration rows that are no "
                "discoveries; there are none."
            )
        self._ratios = None
        if self.density_ratio is not None:
            ratios = self._density_ratios(rows)
            self._ratios = ratios[~inside] if len(scores) < len(inside) else ratios
        self._models = [model for model, _ in models]
        self._scales = [scale for _, scale in models]
        self._per_row = thresholds is not None
        self.calibration_scores_ = scores

    def _goals(self, models):
        """What a discovery is, in the words of each model."""
        goal = self._goal()
        return [
            goal.learned(model) if trained else goal
            for model, trained in zip(models, self._trained, strict=True)
        ]

    def _sigma(self, scale, X):
        """Expected size of an error; a positive floor keeps the division sane."""
        if scale is None:
            return 1.0
        sigma = np.asarray(scale.predict(X), dtype=np.float64)
        if not np.all(np.isfinite(sigma)):
            raise ValueError("scale_estimator predicts NaN or infinity.")
        floor = 1e-3 * np.abs(sigma).mean() or 1.0
        return np.maximum(sigma, floor)

    def _density_ratios(self, X):
        ratios = np.asarray(self.density_ratio(X), dtype=np.float64)
        fine = ratios.shape == (X.shape[0],) and np.all(np.isfinite(ratios))
        if not fine or ratios.min() < 0:
            raise ValueError(
                f"density_ratio must give {X.shape[0]} non-negative numbers, one a row."
            )
        return ratios

    def _scores_of(self, X, thresholds):
        """Labelled scores, scores of the new rows, and the pair of density ratios."""
        X = self._check_table(X, reset=False)
        if self._per_row and thresholds is None:
            raise ValueError(
                "fit was given thresholds: pass those of the new rows as thresholds."
            )
        if thresholds is not None and not self._per_row:
            raise ValueError("Pass thresholds to fit as well, or to neither.")
        c = self._check_thresholds(thresholds, X.shape[0])
        goals = self._goals(self._models)
        parts = zip(self._models, self._scales, goals, strict=True)
        T = np.column_stack(
            [
                -margin(model, X, goal, c) / self._sigma(scale, X)
                for model, scale, goal in parts
            ]
        )
        ratios = None, None
        if self._ratios is not None:
            ratios = self._ratios, self._density_ratios(X)
        return self.calibration_scores_, T, ratios


class ConformalSelector(SplitSelector):
    """Select rows whose unknown outcome passes a threshold, at a level of false picks.

    Among the selected rows the expected share of false discoveries (outcomes that do
    not pass) is at most ``fdr_level``, in finite samples and whatever the model, as
    long as labelled and new rows are exchangeable.

    Parameters
    ----------
    estimator : estimator, default=None
        A classifier learns whether a row is a discovery; a regressor learns the
        outcome. ``None`` is a scaled logistic regression. A ``FrozenEstimator`` is
        used as it is, and all rows of ``fit`` calibrate. A search inside (say
        ``GridSearchCV(LogisticRegression(), ...)``) only sees training rows, which
        keeps the promise.
    threshold : float, default=0.0
        An outcome above it is a discovery.
    fdr_level : float, default=0.1
        Accepted expected share of false discoveries, in (0, 1).
    target : callable or class label, default=None
        In place of ``threshold``: a function of y that returns booleans, or the class
        that is a discovery.
    conformity_score : {"clip", "residual", "scaled", "null"}, default="clip"
        How labelled outcomes enter. ``"clip"`` has the most power: only rows that are
        no discoveries compete. ``"residual"`` is outcome minus prediction,
        ``"scaled"`` divides that by the expected size of the error, ``"null"``
        calibrates on the non-discoveries alone and realises about ``fdr_level`` times
        their share.
    scale_estimator : regressor, default=None
        Learns the size of the errors, which then divides every score. None is the
        estimator itself for ``"scaled"`` and no division for the others.
    calibration_size : float or int, default=0.5
        Share, or number, of rows for calibration.
    prefit : bool, default=False
        Whether ``estimator`` is fitted already, on other rows; all rows of ``fit``
        then calibrate. A fitted classifier knows either the outcomes or, as its second
        class, whether they are discoveries.
    randomized : bool, default=True
        Whether ties are broken at random, which uses the level in full. Otherwise
        they count in full, which is conservative.
    larger : bool, default=True
        Whether a discovery lies above ``threshold`` (below it otherwise).
    density_ratio : callable, default=None
        Under a known covariate shift: a function of X that returns how much more
        frequent each row is among the new rows, up to a factor.
    pruning : {"hete", "homo", "dtm"}, default="hete"
        With ``density_ratio`` only: pruning of the weighted selection by a draw a row,
        one draw, or none.
    beta : float, default=1.0
        With ``density_ratio`` only: factor in (0, 1] of the first step's bound.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split and breaks ties. Without a seed a second ``fit`` gives another result;
        repeated queries of a fitted selector never do.

    Attributes
    ----------
    estimator_ : estimator
        The trained model.
    calibration_scores_ : ndarray of shape (n_calibration, 1)
        Scores of the calibration rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.
    p_values_ : ndarray of shape (n_new,)
        P-values of the last :meth:`select`.
    selected_ : ndarray of bool of shape (n_new,)
        Its answer.

    See Also
    --------
    OptimizedConformalSelector : Chooses among several models at the same time.
    CrossFitConformalSelector : Uses every labelled row for training and calibration.

    Notes
    -----
    Which rows are selected is a property of the batch. The rate is an expectation over
    calibration sets and batches; the share in one batch varies around it.

    References
    ----------
    Y. Jin and E. J. Candes, "Selection by Prediction with Conformal p-values", JMLR
    24, 2023, arXiv 2210.01408. With density ratios: "Model-free selective inference
    under covariate shift via weighted conformal p-values", 2023, arXiv 2307.09291.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.conformal import ConformalSelector
    >>> X, y = load_diabetes(return_X_y=True)
    >>> selector = ConformalSelector(
    ...     Ridge(0.01), threshold=150, fdr_level=0.2, random_state=0
    ... ).fit(X[:300], y[:300])
    >>> selected = selector.select(X[300:])
    >>> bool((y[300:][selected] > 150).mean() > 0.75)
    True
    """

    _parameter_constraints = {
        **SplitSelector._parameter_constraints,
        "estimator": [HasMethods("fit"), None],
    }
    _optimizes = False

    def __init__(
        self,
        estimator=None,
        *,
        threshold=0.0,
        fdr_level=0.1,
        target=None,
        conformity_score="clip",
        scale_estimator=None,
        calibration_size=0.5,
        prefit=False,
        randomized=True,
        larger=True,
        density_ratio=None,
        pruning="hete",
        beta=1.0,
        random_state=None,
    ):
        self.estimator = estimator
        self.threshold = threshold
        self.fdr_level = fdr_level
        self.target = target
        self.conformity_score = conformity_score
        self.scale_estimator = scale_estimator
        self.calibration_size = calibration_size
        self.prefit = prefit
        self.randomized = randomized
        self.larger = larger
        self.density_ratio = density_ratio
        self.pruning = pruning
        self.beta = beta
        self.random_state = random_state

    @property
    def estimator_(self):
        """The trained model."""
        return self._models[0]

    def _route(self, fit_params):
        """Metadata for each candidate."""
        if routing_enabled() and self.estimator is not None:
            return [process_routing(self, "fit", **fit_params).estimator.fit]
        return [fit_params]

    def get_metadata_routing(self):
        """Return how metadata reaches the estimator.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )


class OptimizedConformalSelector(SplitSelector):
    """Conformal selection that chooses among many models with the rows it selects.

    Taking the model that selects most breaks the promise of conformal selection. Here
    each row's model is chosen by a selection in which the row counts as labelled,
    which keeps the expected share of false discoveries at ``fdr_level``.

    Parameters
    ----------
    estimators : list of estimators, default=None
        Candidates, classifiers or regressors; see :class:`ConformalSelector`. None is
        logistic regression, a forest and boosted trees. All of them
        ``FrozenEstimator`` means: calibrate on all rows.
    threshold : float, default=0.0
        An outcome above it is a discovery.
    fdr_level : float, default=0.1
        Accepted expected share of false discoveries, in (0, 1).
    target : callable or class label, default=None
        In place of ``threshold``: a function of y that returns booleans, or the class
        that is a discovery.
    conformity_score : {"clip", "residual", "scaled", "null"}, default="clip"
        How labelled outcomes enter; see :class:`ConformalSelector`.
    scale_estimator : regressor, default=None
        Learns the size of each candidate's errors; see :class:`ConformalSelector`.
    calibration_size : float or int, default=0.5
        Share, or number, of rows for calibration.
    prefit : bool, default=False
        Whether the candidates are fitted already, on other rows.
    pruning : {"hete", "homo", "dtm"}, default="hete"
        Last step by a random draw a row, by one draw for all rows, or without. The
        first two select more; ``"homo"`` selects all or nothing more often.
    beta : float, default=1.0
        Factor in (0, 1] of the first step's bound. 0.9 helps ``"dtm"``.
    randomized : bool, default=True
        Whether ties are broken at random. Otherwise they count in full.
    larger : bool, default=True
        Whether a discovery lies above ``threshold`` (below it otherwise).
    density_ratio : callable, default=None
        Under a known covariate shift: a function of X that returns how much more
        frequent each row is among the new rows, up to a factor.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split, breaks ties and prunes.

    Attributes
    ----------
    estimators_ : list of estimators
        The trained candidates.
    calibration_scores_ : ndarray of shape (n_calibration, n_candidates)
        Scores of the calibration rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.
    p_values_ : ndarray of shape (n_new,)
        P-values of the last :meth:`select`, each under the candidate of its row.
    aux_sizes_ : ndarray of int of shape (n_new,)
        Its auxiliary selection sizes.
    chosen_ : ndarray of int of shape (n_new,)
        Its candidates, by their place in ``estimators``.
    first_step_ : ndarray of bool of shape (n_new,)
        Rows before pruning.
    selected_ : ndarray of bool of shape (n_new,)
        Its answer.

    See Also
    --------
    ConformalSelector : One model.
    CrossFitConformalSelector : Several models without a calibration part.

    Notes
    -----
    The candidates must not have seen the calibration rows. A row costs one sort a
    candidate, not one selection a row.

    References
    ----------
    T. Bai and Y. Jin, "Optimized Conformal Selection: Powerful Selective Inference
    After Conformity Score Optimization", 2024, arXiv 2411.17983.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.conformal import OptimizedConformalSelector
    >>> X, y = load_diabetes(return_X_y=True)
    >>> selector = OptimizedConformalSelector(
    ...     [Ridge(0.01), RandomForestClassifier(30, random_state=0)],
    ...     threshold=150, fdr_level=0.2, random_state=0,
    ... ).fit(X[:300], y[:300])
    >>> selector.select(X[300:]).shape
    (142,)
    >>> selector.chosen_.shape
    (142,)
    """

    _parameter_constraints = {
        **SplitSelector._parameter_constraints,
        "estimators": [list, None],
    }
    _optimizes = True

    def __init__(
        self,
        estimators=None,
        *,
        threshold=0.0,
        fdr_level=0.1,
        target=None,
        conformity_score="clip",
        scale_estimator=None,
        calibration_size=0.5,
        prefit=False,
        pruning="hete",
        beta=1.0,
        randomized=True,
        larger=True,
        density_ratio=None,
        random_state=None,
    ):
        self.estimators = estimators
        self.threshold = threshold
        self.fdr_level = fdr_level
        self.target = target
        self.conformity_score = conformity_score
        self.scale_estimator = scale_estimator
        self.calibration_size = calibration_size
        self.prefit = prefit
        self.pruning = pruning
        self.beta = beta
        self.randomized = randomized
        self.larger = larger
        self.density_ratio = density_ratio
        self.random_state = random_state

    @property
    def estimators_(self):
        """The trained candidates."""
        return self._models

    def _given(self):
        return check_candidates(self.estimators)

    def _candidates(self):
        return self._given() or default_candidates()

    def _route(self, fit_params):
        given = self._given()
        if routing_enabled() and given:
            routed = process_routing(self, "fit", **fit_params)
            return [routed[f"candidate{i}"].fit for i in range(len(given))]
        return [fit_params] * len(self._candidates())

    def get_metadata_routing(self):
        """Return how metadata reaches the candidates.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide; candidate ``i`` goes by the
            name ``candidate<i>``.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        for i, estimator in enumerate(self._given()):
            router.add(**{f"candidate{i}": estimator}, method_mapping=mapping)
        return router


def check_candidates(estimators):
    """Return the list of candidates, empty if None was given."""
    if estimators is None:
        return []
    if not len(estimators):
        raise ValueError("estimators must hold at least one estimator.")
    for e in estimators:
        if not hasattr(e, "fit") or isinstance(e, type):
            raise TypeError(f"estimators must hold estimator instances, got {e!r}.")
    return list(estimators)


def default_candidates():
    """A linear model, a forest, boosted trees."""
    return [
        default_estimator(),
        RandomForestClassifier(min_samples_leaf=3, random_state=0),
        HistGradientBoostingClassifier(early_stopping=False, random_state=0),
    ]
