"""Fair decisions from any score, by randomised thresholds for each group."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    check_sample_weight,
    fit_context,
    safe_indexing,
)
from skdiff._base.draws import uniforms
from skdiff._base.inner import check_table, fit_inner, is_frozen, seeded, whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.validation import binary_codes, check_levels, require_y
from skdiff._convex._solve import warn_unless_converged
from skdiff.fairness._groups import (
    encode_groups,
    group_codes,
    label_array,
    missing_labels,
    read_groups,
    require_both_classes,
    require_both_labels,
    require_two_groups,
)
from skdiff.fairness._postprocessing._hull import RocHull
from skdiff.fairness._postprocessing._problem import FairProblem, solve_fair
from skdiff.fairness._postprocessing._rules import (
    GroupScores,
    Rule,
    bootstrap_violation,
    decide,
    group_hulls,
    group_masses,
    pooled_rule,
    rates,
    rules_at,
    violation_of,
)
from skdiff.fairness._postprocessing._scores import (
    folds,
    held_out_scores,
    plain_problem,
    scores_of,
)

CONSTRAINTS = (
    "equalized_odds",
    "true_positive_rate_parity",
    "false_positive_rate_parity",
    "demographic_parity",
)


class EqualizedOddsPostprocessor(SaveMixin, ClassifierMixin, BaseEstimator):
    """Decide by thresholds for each group, at least cost within a bound of unfairness.

    Any score of any model becomes the least expensive decision rule whose error rates
    differ between groups by at most ``tolerance``. Use it where the group is known and
    may be used when the decision is made. Two classes only.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with ``predict_proba`` or ``decision_function``. A
        :class:`~sklearn.frozen.FrozenEstimator` is used as it is, and all rows given to
        ``fit`` choose the thresholds. By default a
        :class:`~sklearn.linear_model.LogisticRegression` on standardised columns.
    constraint : str or list of str, default="equalized_odds"
        What may differ by at most ``tolerance`` between any two groups:
        ``"equalized_odds"`` (false and true positive rates),
        ``"true_positive_rate_parity"``, ``"false_positive_rate_parity"``,
        ``"demographic_parity"`` (rates of positive decisions), or several of them.
    tolerance : float, default=0.0
        Largest difference. 0 is the strict constraint; from some value on every group
        has the threshold of least cost.
    norm : {"inf", 1, 2}, default="inf"
        Norm of the pair of differences in ``"equalized_odds"``: the larger one, their
        sum, or their Euclidean length.
    false_positive_cost : float, default=1.0
        Cost of a positive decision on a row of the first class.
    false_negative_cost : float, default=1.0
        Cost of a negative decision on a row of the second class.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        Where the score comes from. ``"auto"`` prefers ``predict_proba``.
    cv : int, cross-validation splitter or iterable, default=5
        Folds of the scores by which thresholds are chosen, so that no row is scored by
        a model that has seen it. An int is the number of stratified folds, fewer where
        a class has fewer rows; a splitter is taken as it is. The model that predicts is
        fitted on all rows.
    unknown : {"raise", "pool"}, default="raise"
        What to do with a group that ``fit`` has not seen. ``"pool"`` treats the row as
        one of a group drawn in proportion to the groups of the fitting rows.
    solver : {"auto", "cvxpy"}, default="auto"
        ``"auto"`` solves the linear program by the simplex method and certifies it;
        ``"cvxpy"`` solves the statement of the paper, for comparison.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It
        shuffles the folds of an int ``cv``, seeds unseeded inner models, and draws
        decisions.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels; the second is the positive one.
    estimator_ : estimator
        The fitted model.
    groups_ : ndarray of shape (n_groups,)
        Sorted labels of the groups.
    thresholds_ : dict
        {group: [(threshold, weight), ...]}, at most three each: the decision
        ``score >= threshold`` is taken with the probability ``weight``.
    roc_points_ : dict
        {group: (false positive rate, true positive rate)} on the fitting rows.
    cost_ : float
        Mean cost of a fitting row.
    violation_ : float
        Largest difference over constraints and pairs of groups, on the fitting rows.
    dual_gap_ : float
        Upper bound of the distance of ``cost_`` to the optimum.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    unprocess : The best threshold of every group, without a constraint.
    ConstrainedClassifier : Constraints in training, for use without groups.
    sklearn.model_selection.TunedThresholdClassifierCV : One threshold for all rows.

    Notes
    -----
    ``predict`` is random where a rule mixes thresholds. The draw of a row depends on
    its features, its group and a seed that ``fit`` fixes: the same row gets the same
    decision in every call and every batch. ``predict_proba`` is the exact probability
    of the decision, not that of the label. Rows without weight are left out.

    References
    ----------
    A. F. Cruz and M. Hardt, "Unprocessing Seven Years of Algorithmic Fairness", ICLR
    2024, arXiv:2306.07261.

    M. Hardt, E. Price and N. Srebro, "Equality of Opportunity in Supervised Learning",
    NeurIPS 2016, arXiv:1610.02413.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.fairness import EqualizedOddsPostprocessor
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, group = X[:, 1:3], X[:, 0] > 13
    >>> model = EqualizedOddsPostprocessor(tolerance=0.05, random_state=0)
    >>> model = model.fit(X, y, sensitive_features=group)
    >>> round(model.violation_, 3)
    0.05
    >>> model.predict(X[:3], sensitive_features=group[:3]).shape
    (3,)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"]), None],
        "constraint": [StrOptions(set(CONSTRAINTS)), "array-like"],
        "tolerance": [Interval(Real, 0, None, closed="left")],
        "norm": [StrOptions({"inf"}), Options(Real, {1, 2, np.inf})],
        "false_positive_cost": [Interval(Real, 0, None, closed="left")],
        "false_negative_cost": [Interval(Real, 0, None, closed="left")],
        "response_method": [StrOptions({"auto", "predict_proba", "decision_function"})],
        "cv": ["cv_object"],
        "unknown": [StrOptions({"raise", "pool"})],
        "solver": [StrOptions({"auto", "cvxpy"})],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        constraint="equalized_odds",
        tolerance=0.0,
        norm="inf",
        false_positive_cost=1.0,
        false_negative_cost=1.0,
        response_method="auto",
        cv=5,
        unknown="raise",
        solver="auto",
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.constraint = constraint
        self.tolerance = tolerance
        self.norm = norm
        self.false_positive_cost = false_positive_cost
        self.false_negative_cost = false_negative_cost
        self.response_method = response_method
        self.cv = cv
        self.unknown = unknown
        self.solver = solver
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        return tags

    def get_metadata_routing(self):
        """Return how metadata are routed: row weights go to the model, too.

        Returns
        -------
        routing : MetadataRouter
            The routing.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if self.estimator is None:
            return router
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(method_mapping=mapping, estimator=self.estimator)

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, sensitive_features=None, sample_weight=None):
        """Fit the model and choose the thresholds.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels of two classes.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row, any hashable label. Required.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for the model and for the thresholds.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        require_y(self, y)
        constraints = self._constraints()
        with whole_fit(self):
            given = [] if self.estimator is None else [self.estimator]
            X = check_table(self, X, given, reset=True)
            codes, classes = binary_codes(y)
            check_consistent_length(X, codes)
            labels = read_groups(
                sensitive_features, len(codes), "EqualizedOddsPostprocessor.fit"
            )
            weight = None
            if sample_weight is not None:
                weight = check_sample_weight(sample_weight, X)
            self._fit_rows(X, codes, classes, labels, weight, constraints)
        return self

    def _constraints(self):
        """The constraints by name, each once."""
        given = self.constraint
        given = [given] if isinstance(given, str) else list(given)
        wrong = [c for c in given if c not in CONSTRAINTS]
        if wrong or not given:
            raise ValueError(
                f"constraint must hold one or more of {list(CONSTRAINTS)}, got "
                f"{self.constraint!r}."
            )
        if self.false_positive_cost == self.false_negative_cost == 0:
            raise ValueError(
                "false_positive_cost and false_negative_cost are both 0; then every "
                "decision costs the same."
            )
        return tuple(dict.fromkeys(given))

    def _fit_rows(self, X, y, classes, labels, weight, constraints):
        kept = np.arange(len(y)) if weight is None else np.flatnonzero(weight > 0)
        w = np.ones(len(y)) if weight is None else weight
        require_both_classes(y[kept], classes)
        groups, codes = encode_groups(labels[kept])
        require_two_groups(groups)
        require_both_labels(groups, codes, y[kept], w[kept], classes)
        if len(kept) < len(y) and isinstance(self.cv, int | np.integer):
            X, y, w = safe_indexing(X, kept), y[kept], w[kept]
            weight, kept = w, np.arange(len(y))
        random_state = check_random_state(self.random_state)
        model = self._model(X, random_state)
        named = classes[y]
        rows, scores = self._scores(model, X, named, weight, random_state)
        position = np.full(len(y), -1)
        position[kept] = codes
        inside = np.isin(rows, kept)
        rows, scores = rows[inside], scores[inside]
        held = GroupScores(scores, position[rows], y[rows] == 1, w[rows])
        require_both_labels(groups, held.codes, y[rows], held.weight, classes)
        self.classes_, self.groups_ = classes, label_array(groups)
        self._groups = tuple(groups)
        self._seed = int(random_state.randint(2**31 - 1))
        self.estimator_ = fit_inner(model, X, named, weight=weight)
        self._choose(held, constraints)

    def _model(self, X, random_state):
        """What is fitted, its unseeded parts seeded."""
        if self.estimator is None:
            scaler = StandardScaler(with_mean=not sparse.issparse(X))
            return make_pipeline(scaler, LogisticRegression(max_iter=1000))
        return seeded(self.estimator, random_state)

    def _scores(self, model, X, y, weight, random_state):
        """Row numbers and their scores: cross-fitted, or those of a frozen model."""
        how = self.response_method
        if is_frozen(model):
            return np.arange(len(y)), scores_of(model, X, how)
        splits = folds(self.cv, y, random_state)
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(held_out_scores)(model, X, y, weight, split, how)
            for split in splits
        )
        return np.concatenate([test for _, test in splits]), np.concatenate(found)

    def _choose(self, rows, constraints):
        """Hulls, the linear program, and the rules that attain its points."""
        n_groups = len(self._groups)
        hulls, masses = group_hulls(rows, n_groups), group_masses(rows, n_groups)
        norm = "inf" if self.norm == np.inf else self.norm
        problem = FairProblem(
            hulls,
            masses.negatives,
            masses.positives,
            float(self.false_positive_cost),
            float(self.false_negative_cost),
            constraints,
            norm,
        )
        (solution,) = solve_fair(problem, [self.tolerance], self.solver)
        warn_unless_converged(self, solution)
        self._problem = plain_problem(problem)
        rules = rules_at(hulls, solution.x)
        self.thresholds_ = {
            group: list(zip(r.thresholds.tolist(), r.weights.tolist(), strict=True))
            for group, r in zip(self._groups, rules, strict=True)
        }
        self.roc_points_ = {
            group: (float(p[0]), float(p[1]))
            for group, p in zip(self._groups, solution.x, strict=True)
        }
        self.cost_ = problem.cost(solution.x)
        self.violation_ = problem.violation(solution.x)
        self.dual_gap_ = float(solution.gap)

    # --- what it decides ------------------------------------------------------------

    def _query(self, X, sensitive_features, method):
        """Checked rows, and codes of their groups."""
        check_is_fitted(self)
        given = [] if self.estimator is None else [self.estimator]
        X = check_table(self, X, given, reset=False)
        where = f"EqualizedOddsPostprocessor.{method}"
        labels = read_groups(sensitive_features, X.shape[0], where)
        codes = group_codes(labels, self._groups)
        codes[missing_labels(labels)] = -1
        if self.unknown == "raise" and (codes < 0).any():
            new = list(dict.fromkeys(labels[codes < 0].tolist()))
            raise ValueError(
                f"sensitive_features has groups that fit has not seen: {new[:5]}. "
                'Known are {}. Use unknown="pool" to decide on them as on a random '
                "known group.".format(self.groups_.tolist())
            )
        return X, codes

    def _decisions(self, X, codes):
        """Probability of a positive decision."""
        scores = scores_of(self.estimator_, X, self.response_method)
        rules = [Rule(*np.array(pairs).T) for pairs in self.thresholds_.values()]
        problem = self._fair_problem()
        pool = pooled_rule(rules, problem.negatives + problem.positives)
        return decide(rules, pool, scores, codes)

    def _fair_problem(self):
        hulls = tuple(RocHull(*hull) for hull in self._problem["hulls"])
        return FairProblem(**{**self._problem, "hulls": hulls})

    def predict_proba(self, X, *, sensitive_features=None):
        """Compute the exact probability of each decision.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row. Required.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Probability over the draws of ``predict``; columns follow ``classes_``.
        """
        X, codes = self._query(X, sensitive_features, "predict_proba")
        p = self._decisions(X, codes)
        return np.column_stack([1.0 - p, p])

    def predict(self, X, *, sensitive_features=None):
        """Decide on each row.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row. Required.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels. Equal rows of one group get equal labels.
        """
        X, codes = self._query(X, sensitive_features, "predict")
        drawn = uniforms(X, codes, self._seed) < self._decisions(X, codes)
        return self.classes_[drawn.astype(int)]

    def score(self, X, y, *, sensitive_features=None, sample_weight=None):
        """Compute the expected accuracy over the draws.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row. Required.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Expected accuracy.
        """
        X, codes = self._query(X, sensitive_features, "score")
        p, y = self._decisions(X, codes), np.asarray(y)
        check_consistent_length(X, y)
        right = np.where(y == self.classes_[1], p, (1 - p) * (y == self.classes_[0]))
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        return float(np.average(right, weights=sample_weight))

    # --- how fair it is -------------------------------------------------------------

    def pareto_frontier(self, tolerances=None):
        """Compute the least cost for each tolerance, on the fitting rows.

        Parameters
        ----------
        tolerances : array-like of shape (n_tolerances,), default=None
            Tolerances. By default eleven from 0 to the violation of the rule of least
            cost.

        Returns
        -------
        frontier : DataFrame
            Columns ``tolerance``, ``cost``, ``violation``; the cost falls with the
            tolerance and is convex in it.
        """
        check_is_fitted(self)
        pd = require_pandas("pareto_frontier")
        tolerances, found = self._frontier(tolerances)
        problem = self._fair_problem()
        return pd.DataFrame(
            {
                "tolerance": tolerances,
                "cost": [problem.cost(points) for points in found],
                "violation": [problem.violation(points) for points in found],
            }
        )

    def _frontier(self, tolerances):
        """Tolerances, and the points of the groups for each."""
        problem = self._fair_problem()
        if tolerances is None:
            (loose,) = solve_fair(problem, [np.inf], self.solver)
            tolerances = np.linspace(0.0, problem.violation(loose.x), 11)
        tolerances = np.asarray(tolerances, dtype=np.float64)
        if tolerances.ndim != 1 or not np.all(tolerances >= 0):
            raise ValueError("tolerances must be a list of numbers >= 0.")
        found = solve_fair(problem, tolerances, self.solver)
        return tolerances, [solution.x for solution in found]

    def violation_interval(
        self,
        X,
        y,
        *,
        sensitive_features=None,
        confidence_level=0.95,
        n_resamples=1000,
        random_state=None,
    ):
        """Estimate how large the violation of the expected decisions is on new rows.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows that ``fit`` has not seen.
        y : array-like of shape (n_samples,)
            Their labels.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row. Required.
        confidence_level : float, default=0.95
            Level of the interval.
        n_resamples : int, default=1000
            Number of bootstrap samples of the rows.
        random_state : int, RandomState instance or None, default=None
            Seed or generator of random numbers; an int makes results repeatable.

        Returns
        -------
        low, high : float
            Percentiles of the violation over the samples. A largest difference is never
            below zero, so that noise alone moves the interval up.
        """
        check_is_fitted(self)
        level = check_levels(confidence_level, name="confidence_level")
        if not isinstance(n_resamples, Integral) or n_resamples < 1:
            raise ValueError(f"n_resamples must be an int >= 1, got {n_resamples!r}.")
        p, rows = self._evaluated(X, y, sensitive_features, "violation_interval")
        problem = self._fair_problem()
        seed = check_random_state(random_state).randint(2**31 - 1)
        found = bootstrap_violation(
            p,
            rows,
            (problem.constraints, problem.norm),
            int(n_resamples),
            np.random.default_rng(seed),
        )
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def _evaluated(self, X, y, sensitive_features, method):
        """Expected decisions on rows with labels, and the rows."""
        X, codes = self._query(X, sensitive_features, method)
        y = np.asarray(y)
        check_consistent_length(X, y)
        if unknown := sorted(set(np.unique(y).tolist()) - set(self.classes_.tolist())):
            raise ValueError(f"y holds labels {unknown} that fit has not seen.")
        known = codes >= 0
        p = self._decisions(X, codes)[known]
        positive = (y == self.classes_[1])[known]
        return p, GroupScores(p, codes[known], positive, np.ones(len(p)))

    def _test_violation(self, p, rows):
        """Violation of decisions on rows with labels."""
        problem = self._fair_problem()
        points = rates(p, rows, len(self._groups))
        return violation_of(points, rows, problem.constraints, problem.norm)
