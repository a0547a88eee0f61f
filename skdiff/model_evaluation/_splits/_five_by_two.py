"""Five times two-fold cross-validation: Dietterich's t and Alpaydin's F.

With ``d[i, j]`` the difference on fold j of replication i and ``s2[i]`` the sum of
squared deviations of its two differences from their mean, ``t = d[0, 0] / sqrt(mean
s2)`` and ``F = sum d^2 / (2 sum s2)``.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sklearn.base import is_classifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.utils import check_random_state

from skdiff._base.typing import Array
from skdiff.model_evaluation._results import (
    TestResult,
    check_inference,
    differences,
    half_width,
    magnitude,
    snapped,
    studentised,
    tail,
)
from skdiff.model_evaluation._splits._scores import (
    Design,
    SplitScores,
    check_data,
    check_models,
    score_splits,
)
from skdiff.model_evaluation._splits._t_tests import corrected_t

_REPLICATIONS = 5


class FiveByTwo(NamedTuple):
    """Differences of five replications of two folds."""

    d: Array  # (5, 2), in units of the largest score
    s2: Array  # (5,), likewise
    size: float  # of the largest score


def five_by_two(scores: Array) -> FiveByTwo:
    """Differences and their variances from scores of shape (2, 10)."""
    size = magnitude(scores)
    d = differences(scores).reshape(_REPLICATIONS, 2) / size
    return FiveByTwo(d, snapped(d[:, 0] - d[:, 1], 1.0) ** 2 / 2, size)


def halves(y: Any, classifier: bool, groups: Any, rng: Any) -> list[Any]:
    """Splits of five replications of two folds."""
    splits = []
    for _ in range(_REPLICATIONS):
        how = {"n_splits": 2, "shuffle": True, "random_state": rng.randint(2**31 - 1)}
        if groups is None:
            cv = StratifiedKFold(**how) if classifier else KFold(**how)
        else:
            cv = StratifiedGroupKFold(**how) if classifier else GroupKFold(**how)
        splits += list(cv.split(np.zeros(len(y)), y, groups=groups))
    return splits


def score_halves(models: Any, X: Any, y: Any, design: Design) -> SplitScores:
    """Scores of shape (n_models, 10) on common halves."""
    check_models(models)
    X, y, groups = check_data(X, y, design.groups)
    rng = check_random_state(design.random_state)
    splits = halves(y, is_classifier(models[0]), groups, rng)
    return score_splits(
        models, X, y, design._replace(cv=splits, groups=None, random_state=rng)
    )


def _scores(a: Any, b: Any, X: Any, y: Any, design: Design) -> Array:
    if hasattr(a, "fit") or hasattr(b, "fit"):
        return score_halves([a, b], X, y, design).scores
    if X is not None or y is not None:
        raise ValueError("X and y are for estimators; a and b are scores.")
    given = [np.asarray(values) for values in (a, b)]
    for name, array in zip("ab", given, strict=True):
        if array.dtype.kind not in "iuf" or array.shape != (_REPLICATIONS, 2):
            raise ValueError(
                f"{name} must be an estimator or scores of shape (5, 2), one row per "
                "replication."
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} contains NaN or infinity.")
    return np.array([array.astype(np.float64).ravel() for array in given])


def _warn_without_variance(statistic: float) -> None:
    if np.isinf(statistic):
        warnings.warn(
            "The scores differ by the same amount on both halves of every replication, "
            "so their variance is estimated as zero and the p-value is no measure of "
            "evidence.",
            UserWarning,
            stacklevel=3,
        )


def _details(scores: Array, found: FiveByTwo) -> dict[str, Any]:
    a, b = scores.reshape(2, _REPLICATIONS, 2)
    return {
        "scores_a": a,
        "scores_b": b,
        "differences": found.d * found.size,
        "variances": found.s2 * found.size * found.size,
    }


def t_5x2(scores: Array, alternative: str, confidence_level: float) -> TestResult:
    """Dietterich's test from scores of shape (2, 10)."""
    found = five_by_two(scores)
    scale = found.size * float(np.sqrt(found.s2.mean()))
    first = found.size * float(found.d[0, 0])
    t = studentised(first, scale)
    half = half_width(stats.t(5), scale, confidence_level)
    return TestResult(
        t,
        1.0 if first == scale == 0 else tail(stats.t(5), t, alternative),
        df=5.0,
        estimate=first,
        ci=(first - half, first + half),
        method="5x2cv t",
        n=10,
        details=_details(scores, found),
    )


def f_5x2(scores: Array, confidence_level: float = 0.95) -> TestResult:
    """Alpaydin's test from scores of shape (2, 10)."""
    found = five_by_two(scores)
    above, below = float(np.sum(found.d**2)), float(2 * found.s2.sum())
    F = 0.0 if above == 0 else (above / below if below > 0 else np.inf)
    interval = corrected_t(
        SplitScores(scores, 1.0, 1.0), confidence_level=confidence_level
    )
    return TestResult(
        float(F),
        float(stats.f.sf(F, 10, 5)),
        df=(10.0, 5.0),
        estimate=interval.estimate,
        ci=interval.ci,
        method="5x2cv F",
        n=10,
        details=_details(scores, found),
    )


def ttest_5x2cv(
    a: Any,
    b: Any,
    X: Any = None,
    y: Any = None,
    *,
    scoring: Any = None,
    groups: Any = None,
    params: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare two models by Dietterich's t-test on five times two folds.

    The two halves of a replication share no training row. The statistic uses the first
    of the ten differences only, and so depends on the order of the folds;
    :func:`ftest_5x2cv` uses all.

    Parameters
    ----------
    a, b : estimator or array-like of shape (5, 2)
        Two estimators, which are cloned and scored on the same halves of X (stratified
        for classifiers), or their scores, one row per replication.
    X : array-like of shape (n_samples, n_features), default=None
        Rows, with estimators.
    y : array-like of shape (n_samples,), default=None
        Their outcomes, with estimators.
    scoring : str or callable, default=None
        The scorer; the estimator's own ``score`` if None.
    groups : array-like of shape (n_samples,), default=None
        Groups that are kept in one half.
    params : dict, default=None
        Arguments of ``fit``, as in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``estimate`` is the difference on the first fold, which is what the statistic
        and the interval are made of; ``details`` holds ``differences`` of shape (5, 2).

    References
    ----------
    T. G. Dietterich, "Approximate statistical tests for comparing supervised
    classification learning algorithms", Neural Computation 10, 1998.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import ttest_5x2cv
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> result = ttest_5x2cv(
    ...     GaussianNB(), DecisionTreeClassifier(max_depth=1), X, y, random_state=0
    ... )
    >>> result.details["differences"].shape, result.df
    ((5, 2), 5.0)
    """
    check_inference(alternative, confidence_level)
    design = Design(None, scoring, groups, params, n_jobs, random_state)
    result = t_5x2(_scores(a, b, X, y, design), alternative, confidence_level)
    _warn_without_variance(result.statistic)
    return result


def ftest_5x2cv(
    a: Any,
    b: Any,
    X: Any = None,
    y: Any = None,
    *,
    scoring: Any = None,
    groups: Any = None,
    params: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare two models by Alpaydin's F-test on five times two folds.

    It uses all ten differences, so that the order of the folds does not matter, and has
    more power than :func:`ttest_5x2cv`.

    Parameters
    ----------
    a, b : estimator or array-like of shape (5, 2)
        Two estimators, which are cloned and scored on the same halves of X (stratified
        for classifiers), or their scores, one row per replication.
    X : array-like of shape (n_samples, n_features), default=None
        Rows, with estimators.
    y : array-like of shape (n_samples,), default=None
        Their outcomes, with estimators.
    scoring : str or callable, default=None
        The scorer; the estimator's own ``score`` if None.
    groups : array-like of shape (n_samples,), default=None
        Groups that are kept in one half.
    params : dict, default=None
        Arguments of ``fit``, as in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``estimate`` is the mean of the ten differences. The test itself has no
        interval; ``ci`` is that of :func:`corrected_resampled_ttest` on the ten scores.

    References
    ----------
    E. Alpaydin, "Combined 5 x 2 cv F test for comparing supervised classification
    learning algorithms", Neural Computation 11, 1999.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import ftest_5x2cv
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> result = ftest_5x2cv(
    ...     GaussianNB(), DecisionTreeClassifier(max_depth=1), X, y, random_state=0
    ... )
    >>> result.df, result.pvalue < 0.05
    ((10.0, 5.0), True)
    """
    check_inference("two-sided", confidence_level)
    design = Design(None, scoring, groups, params, n_jobs, random_state)
    result = f_5x2(_scores(a, b, X, y, design), confidence_level)
    _warn_without_variance(result.statistic)
    return result
