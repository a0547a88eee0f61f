"""Comparisons over several data sets by ranks (Demsar, 2006).

``scores`` has one row per data set and one column per model; larger is better. The best
model of a data set has rank 1, and equal scores share the mean of their ranks.
"""

from typing import Any

import numpy as np
from scipy import special, stats

from skdiff._base.typing import Array
from skdiff.model_evaluation._multiple import (
    ADJUSTMENTS,
    PairwiseTests,
    check_names,
    compare_pairs,
    pairs_of,
)
from skdiff.model_evaluation._results import (
    ALTERNATIVES,
    TestResult,
    check_choice,
    check_inference,
    check_number,
    magnitude,
)


def check_score_table(scores: Any, names: Any = None) -> tuple[Array, tuple[str, ...]]:
    """Return a table of scores, and the names of its columns."""
    if names is None and hasattr(scores, "columns"):
        names = list(scores.columns)
    table = np.asarray(scores)
    if table.dtype.kind not in "iuf" or table.ndim != 2:
        raise ValueError(
            "scores must be a table of numbers, one row per data set and one column "
            "per model."
        )
    table = table.astype(np.float64)
    if min(table.shape) < 2:
        raise ValueError(
            "At least two data sets and two models are needed, got "
            f"{table.shape[0]} and {table.shape[1]}."
        )
    if not np.all(np.isfinite(table)):
        raise ValueError(
            "scores contains NaN or infinity. Leave out the data sets on which a "
            "model has no score."
        )
    return table, check_names(names, table.shape[1])


def ranks_of(scores: Array) -> Array:
    """Ranks within each data set, 1 for the largest score."""
    size = np.max(np.abs(scores), axis=1, keepdims=True)
    # scores that differ by rounding share their rank
    rounded = np.round(-scores / np.where(size > 0, size, 1.0), 12)
    return np.asarray(stats.rankdata(rounded, axis=1))


def friedman(ranks: Array, method: str) -> TestResult:
    """Friedman's statistic with the correction for ties, or Iman and Davenport's F."""
    n, k = ranks.shape
    means = ranks.mean(axis=0)
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2))
    between = float(np.sum((means - (k + 1) / 2) ** 2)) * n
    # n (k - 1) times the part of the spread that the models explain
    chi2 = n * (k - 1) * between / spread if spread else 0.0
    details = {"mean_ranks": means, "chi2": chi2}
    if method == "chi2":
        pvalue = float(stats.chi2.sf(chi2, k - 1))
        name = "Friedman chi-square"
        return TestResult(chi2, pvalue, float(k - 1), None, None, name, n, details)
    rest = n * (k - 1) - chi2
    if chi2 <= 1e-12:
        F = 0.0
    else:
        F = (n - 1) * chi2 / rest if rest > 1e-9 * n * k else np.inf
    df = (float(k - 1), float((k - 1) * (n - 1)))
    name = "Friedman, Iman and Davenport F"
    # no arrangement of ranks is rarer than complete agreement
    least = float(np.exp((1 - n) * special.gammaln(k + 1)))
    pvalue = max(float(stats.f.sf(F, *df)), least)
    return TestResult(float(F), pvalue, df, None, None, name, n, details)


def friedman_test(scores: Any, *, method: str = "f") -> TestResult:
    """Test whether several models are equally good over several data sets.

    Parameters
    ----------
    scores : array-like or DataFrame of shape (n_data_sets, n_models)
        One score per data set and model; larger is better.
    method : {"f", "chi2"}, default="f"
        The F statistic of Iman and Davenport, or Friedman's chi-square, which rejects
        too rarely with few data sets.

    Returns
    -------
    result : TestResult
        ``details["mean_ranks"]`` holds the mean rank of each model, 1 is best. Where
        all scores are equal the p-value is 1.

    See Also
    --------
    nemenyi_test : Which of them differ, by mean ranks.
    pairwise_wilcoxon : Which of them differ, each pair for itself.

    References
    ----------
    J. Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7,
    2006.

    R. L. Iman and J. M. Davenport, "Approximations of the critical region of the
    Friedman statistic", Communications in Statistics A 9, 1980.

    Examples
    --------
    >>> from skdiff.model_evaluation import friedman_test
    >>> scores = [[0.9, 0.8, 0.7], [0.8, 0.7, 0.5], [0.9, 0.6, 0.7], [0.7, 0.6, 0.5]]
    >>> result = friedman_test(scores)
    >>> result.details["mean_ranks"], round(result.pvalue, 3)
    (array([1.  , 2.25, 2.75]), 0.007)
    """
    check_choice("method", method, ("f", "chi2"))
    table, _ = check_score_table(scores)
    return friedman(ranks_of(table), method)


def critical_difference(n_models: int, n_data_sets: int, level: float) -> float:
    """Least difference of two mean ranks that Nemenyi's test finds significant."""
    q = stats.studentized_range.ppf(1 - level, n_models, np.inf) / np.sqrt(2)
    return float(q * rank_scale(n_models, n_data_sets))


def rank_scale(n_models: int, n_data_sets: int) -> float:
    """Standard error of a difference of mean ranks."""
    return float(np.sqrt(n_models * (n_models + 1) / (6 * n_data_sets)))


def nemenyi(ranks: Array, names: tuple[str, ...], level: float) -> PairwiseTests:
    """Nemenyi's test from ranks; its p-values hold for all pairs together."""
    n, k = ranks.shape
    means, scale = ranks.mean(axis=0), rank_scale(k, n)
    critical = critical_difference(k, n, 1 - level)
    results = []
    for i, j in pairs_of(k):
        gap = float(means[j] - means[i])
        q = abs(gap) / scale
        results.append(
            TestResult(
                q,
                float(min(1.0, stats.studentized_range.sf(q * np.sqrt(2), k, np.inf))),
                estimate=gap,
                ci=(gap - critical, gap + critical),
                method="Nemenyi",
                n=n,
                details={"critical_difference": critical},
            )
        )
    pvalues = np.array([result.pvalue for result in results])
    return PairwiseTests(names, pairs_of(k), tuple(results), pvalues, None)


def nemenyi_test(
    scores: Any, *, names: Any = None, confidence_level: float = 0.95
) -> PairwiseTests:
    """Compare every pair of models over several data sets by their mean ranks.

    Its p-values hold for all pairs together and need no adjustment. The result for two
    models depends on the others that take part; :func:`pairwise_wilcoxon` has no such
    dependence and more power.

    Parameters
    ----------
    scores : array-like or DataFrame of shape (n_data_sets, n_models)
        One score per data set and model; larger is better.
    names : sequence of str, default=None
        Names of the models; the columns of a frame if None.
    confidence_level : float, default=0.95
        Level of the simultaneous intervals.

    Returns
    -------
    tests : PairwiseTests
        ``estimate`` of a test is the mean rank of the second model minus that of the
        first, positive where the first is better;
        ``details["critical_difference"]`` the least significant difference.

    References
    ----------
    J. Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7,
    2006.

    Examples
    --------
    >>> from skdiff.model_evaluation import nemenyi_test
    >>> scores = [[0.9, 0.8, 0.7], [0.8, 0.7, 0.5], [0.9, 0.6, 0.7], [0.7, 0.6, 0.5]]
    >>> tests = nemenyi_test(scores, names=["a", "b", "c"])
    >>> round(tests.results[0].details["critical_difference"], 3)
    1.657
    """
    check_number("confidence_level", confidence_level, 0, 1)
    table, names = check_score_table(scores, names)
    return nemenyi(ranks_of(table), names, confidence_level)


def signed_rank_cdf(n: int) -> Array:
    """Distribution function of the sum of positive ranks of n differences."""
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.concatenate([counts, np.zeros(rank)])
        counts[rank:] += counts[:-rank].copy()
        counts /= 2
    return np.cumsum(counts)


def hodges_lehmann(d: Array, confidence_level: float) -> tuple[float, Any]:
    """Median of the means of all pairs, and the interval of their order statistics."""
    n = len(d)
    i, j = np.triu_indices(n)
    walsh = np.sort((d[i] + d[j]) / 2)
    level = (1 - confidence_level) / 2
    if n <= 60:
        cut = int(np.searchsorted(signed_rank_cdf(n), level, side="right"))
    else:
        spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        cut = int(np.floor(n * (n + 1) / 4 + stats.norm.ppf(level) * spread))
    if cut == 0:  # too few data sets for any interval of this level
        return float(np.median(walsh)), (-np.inf, np.inf)
    return float(np.median(walsh)), (float(walsh[cut - 1]), float(walsh[-cut]))


def wilcoxon(pair: Array, alternative: str, confidence_level: float) -> TestResult:
    """Wilcoxon's signed-rank test on two rows of scores."""
    d = pair[0] - pair[1]
    # differences that are equal but for rounding share their rank
    rounded = np.round(d / magnitude(pair), 12)
    d = np.where(rounded == 0, 0.0, d)
    estimate, ci = hodges_lehmann(d, confidence_level)
    statistic, pvalue = 0.0, 1.0
    if np.any(d):
        found = stats.wilcoxon(rounded, zero_method="zsplit", alternative=alternative)
        statistic, pvalue = float(found.statistic), float(found.pvalue)
    name = "Wilcoxon signed rank"
    return TestResult(
        statistic, pvalue, None, estimate, ci, name, len(d), {"differences": d}
    )


def wilcoxon_test(
    a: Any,
    b: Any,
    *,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare two models over several data sets by Wilcoxon's signed-rank test.

    Parameters
    ----------
    a, b : array-like of shape (n_data_sets,)
        Scores of the two models on the same data sets.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``estimate`` is the median of the means of all pairs of differences (Hodges and
        Lehmann) and ``ci`` its interval, infinite where the data sets are too few for
        the level. Ranks of zero differences are split between both signs. Without any
        difference the p-value is 1.

    References
    ----------
    J. Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7,
    2006.

    Examples
    --------
    >>> from skdiff.model_evaluation import wilcoxon_test
    >>> a = [0.81, 0.74, 0.92, 0.66, 0.87, 0.79]
    >>> b = [0.78, 0.73, 0.87, 0.64, 0.83, 0.73]
    >>> result = wilcoxon_test(a, b)
    >>> round(result.pvalue, 4), round(result.estimate, 3)
    (0.0312, 0.035)
    """
    check_inference(alternative, confidence_level)
    pair = [np.asarray(values) for values in (a, b)]
    for name, values in zip("ab", pair, strict=True):
        if values.dtype.kind not in "iuf" or values.ndim != 1:
            raise ValueError(f"{name} must hold one score per data set.")
    if len(pair[0]) != len(pair[1]):
        raise ValueError(
            f"a and b have different numbers of scores: {len(pair[0])} and "
            f"{len(pair[1])}."
        )
    table, _ = check_score_table(np.column_stack(pair))
    return wilcoxon(table.T, alternative, confidence_level)


def pairwise_wilcoxon(
    scores: Any,
    *,
    names: Any = None,
    adjust: str | None = "holm",
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> PairwiseTests:
    """Compare every pair of models over several data sets by Wilcoxon's test.

    Parameters
    ----------
    scores : array-like or DataFrame of shape (n_data_sets, n_models)
        One score per data set and model; larger is better.
    names : sequence of str, default=None
        Names of the models; the columns of a frame if None.
    adjust : {"holm", "hochberg", "bonferroni", "sidak", "bh"} or None, default="holm"
        How p-values are adjusted for the number of pairs: :func:`adjust_pvalues`.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model of a pair differs from the second, is better or is
        worse.
    confidence_level : float, default=0.95
        Level of each interval.

    Returns
    -------
    tests : PairwiseTests
        One test per pair, with ``frame()`` and ``matrix()``.

    References
    ----------
    A. Benavoli, G. Corani and F. Mangili, "Should we really use post-hoc tests based on
    mean-ranks?", JMLR 17, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_evaluation import pairwise_wilcoxon
    >>> scores = np.random.default_rng(0).normal([0.1, 0, 0], 0.05, size=(10, 3))
    >>> pairwise_wilcoxon(scores).pvalue.round(3)
    array([0.008, 0.006, 0.695])
    """
    check_choice("adjust", adjust, tuple(ADJUSTMENTS))
    check_choice("alternative", alternative, ALTERNATIVES)
    check_number("confidence_level", confidence_level, 0, 1)
    table, names = check_score_table(scores, names)
    return pairwise_signed_ranks(table, names, adjust, alternative, confidence_level)


def pairwise_signed_ranks(
    table: Array,
    names: tuple[str, ...],
    adjust: str | None,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
    reference: int | None = None,
) -> PairwiseTests:
    """Wilcoxon's test on every pair of columns."""

    def compare(i: int, j: int) -> TestResult:
        return wilcoxon(table[:, [i, j]].T, alternative, confidence_level)

    return compare_pairs(names, compare, adjust, reference)
