"""McNemar's test: hand-computed tables, exact tails, an independent package."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skdiff.model_evaluation import TestResult, mcnemar_test, score_interval

METHODS = ("mid-p", "exact", "chi2", "chi2-corrected")


def rows(n11, n10, n01, n00):
    """Labels and two predictions with the given counts."""
    n = n11 + n10 + n01 + n00
    y = np.ones(n, dtype=int)
    a, b = y.copy(), y.copy()
    b[n11 : n11 + n10] = 0
    a[n11 + n10 : n11 + n10 + n01] = 0
    a[n11 + n10 + n01 :] = b[n11 + n10 + n01 :] = 0
    return y, a, b


def test_the_table_of_dietterich_style_by_hand():
    result = mcnemar_test(*rows(40, 15, 5, 40), method="chi2-corrected")
    assert result.statistic == pytest.approx((10 - 1) ** 2 / 20)
    assert result.pvalue == pytest.approx(math.erfc(math.sqrt(4.05 / 2)))
    assert mcnemar_test(*rows(40, 15, 5, 40), method="chi2").statistic == 5.0
    exact = 2 * sum(math.comb(20, k) for k in range(6)) / 2**20
    assert mcnemar_test(*rows(40, 15, 5, 40), method="exact").pvalue == pytest.approx(
        exact
    )
    mid = exact - math.comb(20, 5) / 2**20
    assert mcnemar_test(*rows(40, 15, 5, 40)).pvalue == pytest.approx(mid)


def test_the_result_unpacks_as_a_pair_and_shows_the_rest():
    result = mcnemar_test(*rows(40, 15, 5, 40))
    assert isinstance(result, TestResult)
    statistic, pvalue = result
    assert (statistic, pvalue) == (result.statistic, result.pvalue)
    assert len(result) == 2 and result[1] == pvalue
    assert result.estimate == pytest.approx(0.1) and result.n == 100
    assert result.details == {"n11": 40, "n10": 15, "n01": 5, "n00": 40}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_no_discordant_row_is_no_evidence(method, alternative):
    y = np.array(list("abca"))
    result = mcnemar_test(y, y, y, method=method, alternative=alternative)
    assert result.pvalue == 1.0 and result.estimate == 0.0
    assert np.all(np.isfinite(result.ci))


@settings(max_examples=60, deadline=None)
@given(*[st.integers(0, 30)] * 4)
def test_agreement_with_scipy_and_symmetry(n11, n10, n01, n00):
    if n11 + n10 + n01 + n00 == 0:
        return
    data = rows(n11, n10, n01, n00)
    swapped = (data[0], data[2], data[1])
    for method in METHODS:
        one, two = (
            mcnemar_test(*data, method=method),
            mcnemar_test(*swapped, method=method),
        )
        assert one.pvalue == pytest.approx(two.pvalue)
        assert 0 < one.pvalue <= 1
        np.testing.assert_allclose(one.ci, (-two.ci[1], -two.ci[0]), atol=1e-12)
        assert -1 <= one.ci[0] <= one.estimate <= one.ci[1] <= 1 or (
            method and one.estimate in (-1, 1)
        )
    if n10 + n01:
        for alternative in ("two-sided", "greater", "less"):
            ours = mcnemar_test(*data, method="exact", alternative=alternative)
            theirs = stats.binomtest(n10, n10 + n01, alternative=alternative)
            assert ours.pvalue == pytest.approx(theirs.pvalue)


def test_agreement_with_statsmodels():
    table = pytest.importorskip("statsmodels.stats.contingency_tables")
    counts = [[40, 15], [5, 40]]
    for method, options in (
        ("exact", {"exact": True}),
        ("chi2", {"exact": False, "correction": False}),
        ("chi2-corrected", {"exact": False, "correction": True}),
    ):
        theirs = table.mcnemar(counts, **options)
        ours = mcnemar_test(*rows(40, 15, 5, 40), method=method)
        np.testing.assert_allclose(tuple(ours), (theirs.statistic, theirs.pvalue))


def test_newcombe_interval_of_the_published_example():
    # Newcombe (1998), table III, cases a and b: method 10
    low, high = mcnemar_test(*rows(36, 12, 2, 0)).ci
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)
    low, high = mcnemar_test(*rows(0, 0, 0, 30)).ci
    assert low == pytest.approx(-high)


@settings(max_examples=60, deadline=None)
@given(*[st.integers(0, 40)] * 4)
def test_intervals_are_their_formulas(n11, n10, n01, n00):
    n = n11 + n10 + n01 + n00
    if n == 0:
        return
    z, data = stats.norm.ppf(0.95), rows(n11, n10, n01, n00)
    found = mcnemar_test(*data, confidence_level=0.9)
    p, q = (n11 + n10) / n, (n11 + n01) / n
    p_low, p_up = score_interval(p, n, confidence_level=0.9)
    q_low, q_up = score_interval(q, n, confidence_level=0.9)
    # Newcombe (1998), method 10: the correlation with a continuity correction
    top, square = n11 * n00 - n10 * n01, p * (1 - p) * q * (1 - q)
    top = max(top - n / 2, 0) if top > 0 else top
    phi = top / n**2 / np.sqrt(square) if square else 0.0
    below = (p - p_low) ** 2 + (q_up - q) ** 2 - 2 * phi * (p - p_low) * (q_up - q)
    above = (p_up - p) ** 2 + (q - q_low) ** 2 - 2 * phi * (p_up - p) * (q - q_low)
    expected = p - q - np.sqrt(below), p - q + np.sqrt(above)
    np.testing.assert_allclose(found.ci, expected, atol=1e-12)
    # Agresti and Min (2005): Wald's interval of the table with half a row more
    found = mcnemar_test(*data, interval="agresti-min", confidence_level=0.9)
    a, b = (n10 + 0.5) / (n + 2), (n01 + 0.5) / (n + 2)
    half = z * np.sqrt((a + b - (a - b) ** 2) / (n + 2))
    expected = np.clip([a - b - half, a - b + half], -1, 1)
    np.testing.assert_allclose(found.ci, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (([0, 1], [0, 1], [0]), "inconsistent numbers"),
        (([0, 1], [0.2, 0.7], [0, 1]), "not probabilities"),
        ((["a", "b"], [0, 1], ["a", "b"]), "Labels cannot be compared"),
        (([0, np.nan], [0, 1], [0, 1]), "NaN"),
        (([], [], []), "0 sample"),
        (([[0, 1], [1, 0]], [0, 1], [0, 1]), "1d array|shape"),
    ],
)
def test_bad_rows_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        mcnemar_test(*bad)


@pytest.mark.parametrize(
    "how",
    [
        {"method": "none"},
        {"alternative": "bigger"},
        {"interval": "wald"},
        {"confidence_level": 1.0},
        {"confidence_level": "high"},
    ],
)
def test_bad_options_are_refused(how):
    with pytest.raises(ValueError, match=next(iter(how))):
        mcnemar_test([0, 1], [0, 1], [1, 1], **how)


def test_labels_of_every_kind():
    y, a, b = rows(4, 3, 1, 2)
    expected = mcnemar_test(y, a, b).pvalue
    for kind in (bool, object, float, np.int8):
        assert mcnemar_test(*(v.astype(kind) for v in (y, a, b))).pvalue == expected
    words = np.array(["no", "yes"])
    assert mcnemar_test(*(words[v].tolist() for v in (y, a, b))).pvalue == expected
