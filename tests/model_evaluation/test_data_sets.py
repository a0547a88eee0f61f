"""Ranks over data sets and adjusted p-values, against SciPy and statsmodels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skdiff.model_evaluation import (
    adjust_pvalues,
    friedman_test,
    nemenyi_test,
    pairwise_wilcoxon,
    wilcoxon_test,
)
from skdiff.model_evaluation._data_sets._ranks import (
    critical_difference,
    signed_rank_cdf,
)

# accuracies of C4.5 with and without its parameters m and cf (Demsar, 2006, table 6)
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_the_example_of_demsar():
    result = friedman_test(DEMSAR)
    ranks = [3.143, 2.000, 2.893, 1.964]
    np.testing.assert_allclose(result.details["mean_ranks"], ranks, atol=5e-4)
    # the paper has 9.28 and 3.69 without the correction for ties
    chi2 = 12 * 14 / 20 * (np.sum(result.details["mean_ranks"] ** 2) - 4 * 25 / 4)
    assert round(chi2, 1) == 9.3
    assert result.details["chi2"] > chi2
    assert critical_difference(4, 14, 0.05) == pytest.approx(
        2.569 * np.sqrt(20 / 84), 1e-3
    )


def test_friedman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for table in (DEMSAR, rng.normal(size=(7, 5)), rng.integers(0, 3, (9, 4))):
        theirs = stats.friedmanchisquare(*table.T)
        ours = friedman_test(table, method="chi2")
        np.testing.assert_allclose(tuple(ours), (theirs.statistic, theirs.pvalue))
        n, k = table.shape
        F = (n - 1) * ours.statistic / (n * (k - 1) - ours.statistic)
        np.testing.assert_allclose(
            tuple(friedman_test(table)), (F, stats.f.sf(F, k - 1, (k - 1) * (n - 1)))
        )


def test_friedman_at_its_bounds():
    assert friedman_test(np.ones((4, 3))).pvalue == 1.0
    agreed = np.arange(3) + np.zeros((3, 1))
    # six orders, and the same in every data set
    assert friedman_test(agreed).pvalue == pytest.approx(1 / 36)


def test_nemenyi_by_its_definition():
    tests = nemenyi_test(DEMSAR, names="abcd")
    means = friedman_test(DEMSAR).details["mean_ranks"]
    for (i, j), result in zip(tests.pairs, tests.results, strict=True):
        q = abs(means[i] - means[j]) / np.sqrt(4 * 5 / (6 * 14))
        p = stats.studentized_range.sf(q * np.sqrt(2), 4, np.inf)
        np.testing.assert_allclose(tuple(result), (q, p))
        assert (result.ci[0] > 0 or result.ci[1] < 0) == (p < 0.05)
    assert tests.pvalue.min() > 0.05  # as in the paper, at 5 %


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 15))
def test_wilcoxon_is_that_of_scipy(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n)) + np.array([[0.3], [0]])
    for alternative in ("two-sided", "greater", "less"):
        theirs = stats.wilcoxon(a, b, zero_method="zsplit", alternative=alternative)
        ours = wilcoxon_test(a, b, alternative=alternative)
        np.testing.assert_allclose(tuple(ours), (theirs.statistic, theirs.pvalue))
    walsh = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(a - b, 2)]
    assert ours.estimate == pytest.approx(np.median(walsh))
    two = wilcoxon_test(a, b)
    low, high = two.ci
    assert low <= two.estimate <= high
    # the interval holds zero exactly where the test does not reject
    assert (low <= 0 <= high) == (two.pvalue > 0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 15), st.sampled_from([1, 6]))
def test_wilcoxon_of_swapped_models_and_of_other_orders(seed, n, decimals):
    rng = np.random.default_rng(seed)
    a, b = np.round(rng.uniform(size=(2, n)), decimals)
    one, two = wilcoxon_test(a, b), wilcoxon_test(b, a)
    assert 0 < one.pvalue <= 1 and two.pvalue == pytest.approx(one.pvalue)
    turned = np.negative([one.estimate, *one.ci[::-1]])
    np.testing.assert_allclose([two.estimate, *two.ci], turned, atol=1e-12)
    order = rng.permutation(n)
    again = wilcoxon_test(a[order], b[order])
    np.testing.assert_allclose(tuple(again), tuple(one))
    both = rng.normal(size=n)  # how hard a data set is does not matter
    shifted = wilcoxon_test(a + both, b + both)
    np.testing.assert_allclose(tuple(shifted), tuple(one))
    assert shifted.estimate == pytest.approx(one.estimate, abs=1e-12)


@pytest.mark.parametrize("n", [6, 9, 15])
def test_the_interval_ends_where_the_test_begins_to_reject(n):
    d = np.random.default_rng(n).normal(size=n)
    for end, inwards in zip(wilcoxon_test(d, 0 * d).ci, (1, -1), strict=True):
        inside, outside = (
            wilcoxon_test(d, np.full(n, end + step)).pvalue
            for step in (1e-6 * inwards, -1e-6 * inwards)
        )
        assert outside <= 0.05 < inside


def test_estimates_are_not_rounded():
    found = wilcoxon_test([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert found.estimate == -1.0 and found.details["differences"].tolist() == [-1] * 3


def test_the_interval_of_many_data_sets_is_nearly_the_exact_one():
    d = np.random.default_rng(0).normal(size=61)
    i, j = np.triu_indices(61)
    walsh = np.sort((d[i] + d[j]) / 2)
    cut = int(np.searchsorted(signed_rank_cdf(61), 0.025, side="right"))
    low, high = wilcoxon_test(d, np.zeros(61)).ci
    assert walsh[cut - 4] <= low <= walsh[cut + 2]
    assert walsh[-cut - 3] <= high <= walsh[-cut + 3]


def test_distribution_of_the_signed_ranks_by_enumeration():
    sums = [np.dot(signs, range(1, 8)) for signs in itertools.product((0, 1), repeat=7)]
    expected = [np.mean(np.array(sums) <= w) for w in range(29)]
    np.testing.assert_allclose(signed_rank_cdf(7), expected)


def test_wilcoxon_without_differences():
    assert wilcoxon_test(np.ones(8), np.ones(8)).pvalue == 1.0
    assert wilcoxon_test([1, 2, 3, 4.0], [0, 0, 0, 0]).ci == (-np.inf, np.inf)


@pytest.mark.parametrize("unit", [1e-14, 1e9])
def test_units_of_the_score_do_not_matter(unit):
    table = unit * DEMSAR
    np.testing.assert_allclose(
        tuple(friedman_test(table)), tuple(friedman_test(DEMSAR))
    )
    np.testing.assert_allclose(
        pairwise_wilcoxon(table).pvalue, pairwise_wilcoxon(DEMSAR).pvalue
    )


def test_pairwise_wilcoxon_adjusts_and_reads_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DEMSAR, columns=["C4.5", "m", "cf", "m,cf"])
    tests = pairwise_wilcoxon(frame)
    assert tests.names == ("C4.5", "m", "cf", "m,cf")
    raw = [wilcoxon_test(DEMSAR[:, i], DEMSAR[:, j]).pvalue for i, j in tests.pairs]
    np.testing.assert_allclose(tests.pvalue, adjust_pvalues(raw))
    assert np.array_equal(pairwise_wilcoxon(frame, adjust=None).pvalue, raw)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values(pvalues):
    p = np.array(pvalues)
    holm, bonferroni = adjust_pvalues(p), adjust_pvalues(p, "bonferroni")
    hochberg, bh = adjust_pvalues(p, "hochberg"), adjust_pvalues(p, "bh")
    assert np.all(p <= bh) and np.all(bh <= hochberg + 1e-15)
    assert np.all(hochberg <= holm + 1e-15) and np.all(holm <= bonferroni + 1e-15)
    assert bonferroni.max() <= 1
    order = np.random.default_rng(0).permutation(len(p))
    np.testing.assert_allclose(adjust_pvalues(p[order]), holm[order])


def test_adjustments_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(0, 0.2, 9)
    for ours, theirs in (
        ("holm", "holm"),
        ("hochberg", "simes-hochberg"),
        ("bonferroni", "bonferroni"),
        ("sidak", "sidak"),
        ("bh", "fdr_bh"),
    ):
        np.testing.assert_allclose(
            adjust_pvalues(p, ours), multitest.multipletests(p, method=theirs)[1]
        )
    with_gap = adjust_pvalues([0.01, np.nan, 0.02])
    np.testing.assert_allclose(with_gap, [0.02, np.nan, 0.02])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: friedman_test([[1.0, 2.0]]), "two data sets"),
        (lambda: friedman_test([1.0, 2.0]), "table of numbers"),
        (lambda: friedman_test([[1, np.nan], [1, 2]]), "NaN"),
        (lambda: friedman_test(DEMSAR, method="t"), "method"),
        (lambda: nemenyi_test(DEMSAR, names=["a"]), "4 different names"),
        (lambda: wilcoxon_test([1, 2], [1, 2, 3]), "different numbers"),
        (lambda: wilcoxon_test([[1, 2]], [[1, 2]]), "one score per data set"),
        (lambda: adjust_pvalues([0.1, 1.2]), "between 0 and 1"),
        (lambda: adjust_pvalues([0.1], "tukey"), "method"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_level_of_rank_tests():
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(300, 12, 4)) + rng.normal(size=(300, 12, 1))
    overall = np.mean([friedman_test(t).pvalue <= 0.05 for t in tables])
    anywhere = np.mean([nemenyi_test(t).pvalue.min() <= 0.05 for t in tables[:100]])
    holm = np.mean([pairwise_wilcoxon(t).pvalue.min() <= 0.05 for t in tables[:150]])
    assert 0.015 <= overall <= 0.09
    assert anywhere <= 0.12 and holm <= 0.11
