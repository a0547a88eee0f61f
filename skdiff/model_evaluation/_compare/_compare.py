"""Comparison of several models from estimators, predictions or scores."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from skdiff._base.compat import BaseSearchCV
from skdiff._base.inner import nested
from skdiff._base.typing import Array
from skdiff.model_evaluation._compare._report import ModelComparison, recommend
from skdiff.model_evaluation._data_sets._ranks import (
    check_score_table,
    friedman,
    nemenyi,
    pairwise_signed_ranks,
    ranks_of,
)
from skdiff.model_evaluation._multiple import (
    ADJUSTMENTS,
    PairwiseTests,
    check_names,
    compare_pairs,
)
from skdiff.model_evaluation._results import (
    TestResult,
    check_choice,
    check_number,
    half_width,
)
from skdiff.model_evaluation._rows._mcnemar import wilson
from skdiff.model_evaluation._rows._resampling import (
    ROW_SCORES,
    additive_permutation,
    are_labels,
    check_rows,
)
from skdiff.model_evaluation._rows._several import (
    cochran,
    correct_models,
    pairwise_counts,
)
from skdiff.model_evaluation._splits._five_by_two import f_5x2, score_halves, t_5x2
from skdiff.model_evaluation._splits._scores import Design, SplitScores, score_splits
from skdiff.model_evaluation._splits._t_tests import (
    corrected_scale,
    corrected_t,
    with_posterior,
)

SPLIT_TESTS = ("corrected_t", "5x2cv_f", "5x2cv_t", "bayesian")
ROW_TESTS = ("mcnemar", "permutation")
DATA_SET_TESTS = ("wilcoxon", "nemenyi")
TESTS = ("auto", *SPLIT_TESTS, *ROW_TESTS, *DATA_SET_TESTS)


class Plan(NamedTuple):
    """What every kind of comparison is to do."""

    names: tuple[str, ...]
    test: str
    adjust: str | None
    reference: int | None
    level: float
    rope: float

    @property
    def confidence(self) -> float:
        """Level of the intervals."""
        return 1 - self.level

    def pairwise(self, compare: Any) -> PairwiseTests:
        """Run a test on every pair, or on those with the reference."""
        return compare_pairs(self.names, compare, self.adjust, self.reference)

    def report(self, **parts: Any) -> ModelComparison:
        """Make the report."""
        name = None if self.reference is None else self.names[self.reference]
        return ModelComparison(self.names, reference=name, level=self.level, **parts)

    def among(self, tests: tuple[str, ...], default: str, what: str) -> str:
        """The test to run; one that does not fit the input is refused."""
        if self.test == "auto":
            return default
        if self.test not in tests:
            raise ValueError(
                f"tests={self.test!r} does not apply to {what}; choose 'auto' or one "
                f"of {', '.join(map(repr, tests))}."
            )
        return self.test


def compare_models(
    models: Any,
    X: Any = None,
    y: Any = None,
    *,
    cv: Any = None,
    scoring: Any = None,
    tests: str = "auto",
    adjust: str | None = "holm",
    reference: str | None = None,
    n_train: float | None = None,
    n_test: float | None = None,
    rope: float = 0.01,
    confidence_level: float = 0.95,
    groups: Any = None,
    params: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    random_state: Any = None,
) -> ModelComparison:
    """Compare several models: scores, intervals and tests of every pair.

    What is compared depends on what is given:

    - *estimators* with X and y are scored on the same train and test splits;
    - *estimators* with a dict of data sets are cross-validated on each;
    - *predictions* of the same rows, with y, are compared row by row;
    - *scores* with ``n_train`` and ``n_test`` are those of the same splits;
    - *scores* alone are those of several data sets.

    Parameters
    ----------
    models : dict or DataFrame
        For each name an estimator, its predictions of the rows of y, or its scores.
    X : array-like of shape (n_samples, n_features) or dict, default=None
        Rows; or a dict from names of data sets to pairs ``(X, y)``.
    y : array-like of shape (n_samples,), default=None
        Outcomes.
    cv : int, cross-validation generator or iterable, default=None
        Splits of every estimator; five times five folds if None, and five folds per
        data set. The 5x2cv tests have their own.
    scoring : str or callable, default=None
        The scorer of estimators; their own ``score`` if None.
    tests : str, default="auto"
        For splits ``"corrected_t"`` (the default), ``"5x2cv_f"``, ``"5x2cv_t"`` or
        ``"bayesian"``; for predictions ``"mcnemar"`` (the default for labels) or
        ``"permutation"`` (the default for numbers, of squared errors); for data sets
        ``"wilcoxon"`` (the default) or ``"nemenyi"``.
    adjust : {"holm", "hochberg", "bonferroni", "sidak", "bh"} or None, default="holm"
        How p-values are adjusted for the number of pairs: :func:`adjust_pvalues`.
        Nemenyi's hold for all pairs already.
    reference : str, default=None
        Name of a model with which all others are compared; every pair if None.
    n_train, n_test : int, default=None
        Rows in the training and the test part of a split, with scores.
    rope : float, default=0.01
        Half of the width of the region of practical equivalence, for ``"bayesian"``.
    confidence_level : float, default=0.95
        Level of the intervals.
    groups : array-like of shape (n_samples,), default=None
        Groups, for the splitter.
    params : dict, default=None
        Arguments of ``fit``, as in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per estimator
        (and data set) with its mean score.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    report : ModelComparison
        ``summary_`` has one row per model, ``pairwise_`` one per pair.

    Warns
    -----
    UserWarning
        If the scores of two models differ by the same amount on every split.

    References
    ----------
    S. Raschka, "Model Evaluation, Model Selection, and Algorithm Selection in Machine
    Learning", arXiv 1811.12808, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import compare_models
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> report = compare_models(
    ...     {"tree": DecisionTreeClassifier(), "bayes": GaussianNB()}, X, y,
    ...     random_state=0,
    ... )
    >>> report.pairwise_[["model_a", "model_b"]].values.tolist()
    [['tree', 'bayes']]
    """
    check_choice("tests", tests, TESTS)
    check_choice("adjust", adjust, tuple(ADJUSTMENTS))
    check_number("confidence_level", confidence_level, 0, 1)
    check_number("rope", rope, -1e-300, np.inf)
    names, values = _named(models)
    plan = Plan(
        names, tests, adjust, _position(reference, names), 1 - confidence_level, rope
    )
    notify = _printed(names) if verbose else None
    design = Design(cv, scoring, groups, params, n_jobs, random_state, notify)
    if any(hasattr(value, "fit") for value in values):
        if n_train is not None or n_test is not None:
            raise ValueError("n_train and n_test are those of the splits of X.")
        if isinstance(X, Mapping):
            return _estimators_on_data_sets(plan, values, X, y, design)
        return _estimators(plan, values, X, y, design)
    if X is not None:
        raise ValueError("X is for estimators; predictions come with y alone.")
    if y is not None:
        return _predictions(plan, values, y, check_random_state(random_state))
    _refuse_unequal(names, values)
    table = np.column_stack([_vector(n, v) for n, v in zip(names, values, strict=True)])
    if n_train is None and n_test is None:
        return _data_sets(plan, table)
    return _given_splits(plan, table, n_train, n_test)


def _named(models: Any) -> tuple[tuple[str, ...], list[Any]]:
    """Names and what they stand for."""
    if hasattr(models, "columns"):
        check_names(list(models.columns), len(models.columns))  # refuses equal names
        models = {name: np.asarray(models[name]) for name in models.columns}
    if not isinstance(models, Mapping):
        raise TypeError(
            "models must be a dict or DataFrame from names to estimators, predictions "
            f"or scores. Got {type(models).__name__}."
        )
    if len(models) < 2:
        raise ValueError(f"At least two models are needed, got {len(models)}.")
    return check_names(list(models), len(models)), list(models.values())


def _position(reference: Any, names: tuple[str, ...]) -> int | None:
    if reference is None:
        return None
    if str(reference) not in names:
        raise ValueError(f"reference={reference!r} is none of the models {names}.")
    return names.index(str(reference))


def _printed(names: tuple[str, ...], where: str = "") -> Any:
    """Function that prints the mean score of a model."""

    def notify(k: int, scores: Array) -> None:
        sys.stdout.write(f"{names[k]}{where}: mean score {scores.mean():.6f}\n")

    return notify


def _refuse_unequal(names: tuple[str, ...], values: list[Any]) -> None:
    sizes = {name: np.size(v) for name, v in zip(names, values, strict=True)}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"The models have different numbers of scores: {sizes}. All must be scored "
            "on the same splits or data sets."
        )


def _vector(name: str, values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "iufb" or array.ndim != 1:
        raise ValueError(f"The scores of {name!r} must be a list of numbers.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"The scores of {name!r} contain NaN or infinity.")
    return array.astype(np.float64)


# --- splits ---------------------------------------------------------------------------


def _estimators(plan: Plan, models: Any, X: Any, y: Any, design: Design) -> Any:
    test = plan.among(SPLIT_TESTS, "corrected_t", "splits")
    if test.startswith("5x2cv"):
        if design.cv is not None:
            raise ValueError(f"tests={test!r} has its own splits: leave out cv.")
        found = score_halves(models, X, y, design)
    else:
        found = score_splits(models, X, y, design)
    tuned = any(
        isinstance(part, BaseSearchCV) for model in models for part in nested(model)
    )
    advice = recommend(
        "splits",
        len(y),
        labels=is_classifier(models[0]),
        tuned=tuned,
        used=test.replace("_", " "),
    )
    return _splits(plan, found, test, advice)


def _given_splits(plan: Plan, table: Array, n_train: Any, n_test: Any) -> Any:
    test = plan.among(("corrected_t", "bayesian"), "corrected_t", "scores of splits")
    for name, value in (("n_train", n_train), ("n_test", n_test)):
        if value is None:
            raise ValueError(f"{name} must be given with the scores of splits.")
        check_number(name, value, 0, np.inf)
    if len(table) < 2:
        raise ValueError("At least two splits are needed to estimate a variance.")
    advice = recommend(
        "splits",
        round(n_train + n_test),
        labels=False,
        tuned=False,
        used=test.replace("_", " "),
    )
    found = SplitScores(table.T, float(n_train), float(n_test))
    return _splits(plan, found, test, advice)


def _splits(plan: Plan, found: SplitScores, test: str, advice: str) -> Any:
    constant: list[str] = []

    def compare(i: int, j: int) -> TestResult:
        two = found._replace(scores=found.scores[[i, j]])
        if test == "5x2cv_f":
            result = f_5x2(two.scores, plan.confidence)
        elif test == "5x2cv_t":
            result = t_5x2(two.scores, "two-sided", plan.confidence)
        else:
            result = corrected_t(two, confidence_level=plan.confidence)
        if np.isinf(result.statistic):
            constant.append(f"{plan.names[i]!r} and {plan.names[j]!r}")
        return with_posterior(result, plan.rope) if test == "bayesian" else result

    J = found.scores.shape[1]
    scales = [corrected_scale(s, found.n_train, found.n_test) for s in found.scores]
    half = [half_width(stats.t(J - 1), scale, plan.confidence) for scale in scales]
    means = found.scores.mean(axis=1)
    tests = plan.pairwise(compare)
    if constant:
        warnings.warn(
            f"The scores of {', '.join(constant)} differ by the same amount on every "
            "split, so their variance is estimated as zero and the p-value is no "
            "measure of evidence.",
            UserWarning,
            stacklevel=4,
        )
    return plan.report(
        kind="splits",
        scores_=found.scores,
        intervals_=np.column_stack([means - half, means + half]),
        tests_=tests,
        recommendation_=advice,
        details={"n_train": found.n_train, "n_test": found.n_test},
    )


# --- rows -----------------------------------------------------------------------------


def _predictions(plan: Plan, predictions: Any, y: Any, rng: Any) -> Any:
    labels = are_labels(y, *predictions)
    test = plan.among(
        ROW_TESTS, "mcnemar" if labels else "permutation", "predictions of rows"
    )
    if test == "mcnemar" or labels:
        scores = correct_models(y, predictions, plan.names)
    else:
        y, *given = check_rows(y, *predictions, names=plan.names)
        if any(v.ndim != 1 for v in (y, *given)):
            raise ValueError(
                "compare_models takes one prediction per row: labels or numbers. For "
                "probabilities of classes use paired_permutation_test with a metric."
            )
        scores = np.column_stack(
            [ROW_SCORES["neg_mean_squared_error"](y, p) for p in given]
        )
    advice = recommend("rows", len(scores), labels=labels, tuned=False, used=test)
    pairwise = (
        pairwise_counts(
            scores,
            plan.names,
            "mid-p",
            plan.adjust,
            reference=plan.reference,
            confidence_level=plan.confidence,
        )
        if test == "mcnemar"
        else plan.pairwise(_by_permutation(scores.astype(np.float64), plan, rng))
    )
    return plan.report(
        kind="rows",
        scores_=scores.T.astype(np.float64),
        intervals_=_row_intervals(scores, plan.confidence),
        tests_=pairwise,
        omnibus_=cochran(scores) if labels else None,
        recommendation_=advice,
    )


def _by_permutation(scores: Array, plan: Plan, rng: Any) -> Any:
    """Permutation test of two columns, with the interval of the mean difference."""

    def compare(i: int, j: int) -> TestResult:
        gaps = scores[:, i] - scores[:, j]
        d, pvalue, exact = additive_permutation(gaps, 2000, "two-sided", rng)
        half = half_width(stats.norm, gaps.std() / np.sqrt(len(gaps)), plan.confidence)
        return TestResult(
            d,
            pvalue,
            estimate=d,
            ci=(d - half, d + half),
            method="paired permutation",
            n=len(gaps),
            details={"exact": exact},
        )

    return compare


def _row_intervals(scores: Any, confidence: float) -> Array:
    """Wilson's interval of accuracies, the normal one of other means."""
    n, z = len(scores), float(stats.norm.ppf((1 + confidence) / 2))
    if scores.dtype == bool:
        return np.column_stack(wilson(scores.sum(axis=0), n, z))
    means, half = scores.mean(axis=0), z * scores.std(axis=0) / np.sqrt(n)
    return np.column_stack([means - half, means + half])


# --- data sets ------------------------------------------------------------------------


def _estimators_on_data_sets(
    plan: Plan, models: Any, data: Any, y: Any, design: Design
) -> Any:
    """Mean scores by cross-validation, one row per data set."""
    if y is not None or design.groups is not None:
        raise ValueError("With a dict of data sets, y is part of each; groups are not.")
    rows = []
    how = design._replace(cv=5 if design.cv is None else design.cv)
    for name, pair in data.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"The data set {name!r} must be a pair (X, y).")
        rows_of, outcomes = pair
        if how.notify is not None:
            how = how._replace(notify=_printed(plan.names, f" on {name}"))
        found = score_splits(models, rows_of, outcomes, how)
        rows.append(found.scores.mean(axis=1))
    return _data_sets(plan, np.array(rows))


def _data_sets(plan: Plan, table: Array) -> Any:
    test = plan.among(DATA_SET_TESTS, "wilcoxon", "several data sets")
    table, _ = check_score_table(table, plan.names)
    ranks, n = ranks_of(table), len(table)
    if test == "nemenyi":
        if plan.reference is not None:
            raise ValueError(
                "tests='nemenyi' compares every pair: leave out reference."
            )
        pairwise = nemenyi(ranks, plan.names, plan.confidence)
    else:
        pairwise = pairwise_signed_ranks(
            table,
            plan.names,
            plan.adjust,
            confidence_level=plan.confidence,
            reference=plan.reference,
        )
    half = [
        half_width(stats.t(n - 1), spread / np.sqrt(n), plan.confidence)
        for spread in table.std(axis=0, ddof=1)
    ]
    means = table.mean(axis=0)
    return plan.report(
        kind="data sets",
        scores_=table.T,
        intervals_=np.column_stack([means - half, means + half]),
        tests_=pairwise,
        omnibus_=friedman(ranks, "f"),
        recommendation_=recommend("data sets", n, labels=False, tuned=False, used=test),
        details={"mean_ranks": ranks.mean(axis=0), "ranks": ranks},
    )
