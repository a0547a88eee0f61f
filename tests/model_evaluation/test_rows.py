"""Tests on predictions of the same rows, against formulas and other packages."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from skdiff.model_evaluation import (
    cochran_q_test,
    compare_models,
    delong_test,
    looney_f_test,
    mcnemar_test,
    paired_bootstrap_test,
    paired_permutation_test,
    pairwise_mcnemar,
    proportion_difference_test,
    score_interval,
)

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 60)
PREDICTIONS = [np.where(RNG.uniform(size=60) < p, Y, 2 - Y) for p in (0.9, 0.7, 0.6)]


# --- several classifiers --------------------------------------------------------------


def test_cochran_by_statsmodels_and_by_the_formula():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    right = np.column_stack([p == Y for p in PREDICTIONS]).astype(int)
    theirs = tables.cochrans_q(right)
    ours = cochran_q_test(Y, *PREDICTIONS)
    np.testing.assert_allclose(tuple(ours), (theirs.statistic, theirs.pvalue))
    assert ours.df == 2 and ours.n == 60


def test_cochran_of_two_models_is_mcnemar():
    ours = cochran_q_test(Y, *PREDICTIONS[:2])
    np.testing.assert_allclose(
        tuple(ours), tuple(mcnemar_test(Y, *PREDICTIONS[:2], method="chi2"))
    )


def test_looney_is_the_analysis_of_variance_of_blocks():
    right = np.column_stack([p == Y for p in PREDICTIONS]).astype(float)
    n, L = right.shape
    fitted = right.mean(1, keepdims=True) + right.mean(0) - right.mean()
    rest = np.sum((right - fitted) ** 2) / ((L - 1) * (n - 1))
    F = n * np.sum((right.mean(0) - right.mean()) ** 2) / (L - 1) / rest
    ours = looney_f_test(Y, *PREDICTIONS)
    assert ours.statistic == pytest.approx(F)
    assert ours.df == (2.0, 118.0)
    assert ours.pvalue == pytest.approx(stats.f.sf(F, 2, 118))


@pytest.mark.parametrize("test", [cochran_q_test, looney_f_test])
def test_equal_models_are_no_evidence(test):
    for prediction in (Y, PREDICTIONS[1], (Y + 1) % 3):
        result = test(Y, prediction, prediction, prediction)
        assert (result.statistic, result.pvalue) == (0.0, 1.0)


def test_two_rows_are_no_evidence():
    with pytest.warns(UserWarning, match="same way on every row"):
        looney_f_test([1, 0], [1, 0], [0, 1])
    with pytest.warns(UserWarning, match="same in every bootstrap sample"):
        paired_bootstrap_test([1, 0], [1, 0], [0, 1], random_state=0)


def test_pairwise_mcnemar_is_one_test_per_pair_with_holm():
    tests = pairwise_mcnemar(Y, *PREDICTIONS, names=["a", "b", "c"])
    raw = [
        mcnemar_test(Y, *two).pvalue for two in itertools.combinations(PREDICTIONS, 2)
    ]
    np.testing.assert_allclose([r.pvalue for r in tests.results], raw)
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    holm = multitest.multipletests(raw, method="holm")[1]
    np.testing.assert_allclose(tests.pvalue, holm)
    statistic, pvalue = tests
    assert len(statistic) == len(pvalue) == 3 == len(tests.frame())
    matrix = tests.matrix()
    assert np.array_equal(matrix, matrix.T) and matrix[0, 2] == pvalue[1]
    for bad in ({"names": ["a", "a", "b"]}, {"adjust": "none"}, {"method": "z"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            pairwise_mcnemar(Y, *PREDICTIONS, **bad)
    with pytest.raises(ValueError, match="At least 2"):
        cochran_q_test(Y, Y)


# --- proportions ----------------------------------------------------------------------


def test_intervals_of_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for k, n in ((0, 10), (7, 10), (10, 10), (81, 263)):
        for ours, theirs in (("wilson", "wilson"), ("clopper-pearson", "beta")):
            low, high = proportion.proportion_confint(k, n, method=theirs)
            found = score_interval(k / n, n, method=ours)
            np.testing.assert_allclose(found, (low, high), atol=1e-12)
    low, high = score_interval([0.5, 0.9], 50)
    assert low.shape == high.shape == (2,)


def test_difference_of_independent_accuracies():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    z, pvalue = proportion.proportions_ztest([90, 160], [100, 200])
    ours = proportion_difference_test(0.9, 0.8, 100, 200)
    np.testing.assert_allclose(tuple(ours), (z, pvalue))
    low, high = proportion.confint_proportions_2indep(
        90, 100, 160, 200, method="newcomb"
    )
    np.testing.assert_allclose(ours.ci, (low, high))
    sides = [
        proportion_difference_test(0.9, 0.8, 100, 200, alternative=a).pvalue
        for a in ("greater", "less")
    ]
    assert sum(sides) == pytest.approx(1) and sides[0] == pytest.approx(pvalue / 2)
    assert proportion_difference_test(1.0, 1.0, 20).pvalue == 1.0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((1.2, 10), "between 0 and 1"),
        ((0.5, 0), "positive integer"),
        ((0.5, 2.5), "int"),
    ],
)
def test_bad_proportions(args, message):
    with pytest.raises(ValueError, match=message):
        score_interval(*args)


# --- areas under ROC curves -----------------------------------------------------------


def brute_force(positive, scores):
    """DeLong's placements from the comparison of every pair."""
    x, y = scores[:, positive], scores[:, ~positive]
    kernel = (x[:, :, None] > y[:, None]) + 0.5 * (x[:, :, None] == y[:, None])
    m, n = kernel.shape[1:]
    cov = np.cov(kernel.mean(2)) / m + np.cov(kernel.mean(1)) / n
    return kernel.mean((1, 2)), cov


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_delong_by_brute_force_and_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 0, 1, 1, rng.integers(0, 2, rng.integers(0, 40))]
    scores = np.round(rng.normal(size=(2, len(y))) + y, rng.integers(0, 3))
    auc, cov = brute_force(y == 1, scores)
    variance = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
    if variance < 1e-12:
        return
    ours = delong_test(y, *scores)
    np.testing.assert_allclose(ours.details["auc"], auc)
    np.testing.assert_allclose(ours.details["cov"], cov, atol=1e-14)
    assert ours.details["auc"][0] == pytest.approx(roc_auc_score(y, scores[0]))
    assert ours.statistic == pytest.approx((auc[0] - auc[1]) / np.sqrt(variance))
    rising = delong_test(y, np.exp(scores[0]), scores[1] ** 3)
    np.testing.assert_allclose(tuple(rising), tuple(ours))
    other = delong_test(np.array(["no", "yes"])[y], *-scores, pos_label="no")
    np.testing.assert_allclose(tuple(other), tuple(ours))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 6]))
def test_delong_of_swapped_models_and_of_other_orders(seed, decimals):
    rng = np.random.default_rng(seed)
    y = np.r_[0, 0, 1, 1, rng.integers(0, 2, rng.integers(0, 30))]
    a, b = np.round(rng.normal(size=(2, len(y))) + y, decimals)

    def outcome(*rows, **how):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = delong_test(*rows, **how)
        return np.array([*found, found.estimate, *found.ci])

    found = outcome(y, a, b)
    statistic, pvalue, estimate, low, high = found
    assert 0 <= pvalue <= 1 and -1 <= low <= estimate <= high <= 1
    turned = [-statistic, pvalue, -estimate, -high, -low]
    np.testing.assert_allclose(outcome(y, b, a), turned, atol=1e-12)
    # the areas of turned scores for turned labels are the same
    np.testing.assert_allclose(outcome(1 - y, -a, -b), found, atol=1e-9)
    order = rng.permutation(len(y))
    np.testing.assert_allclose(outcome(y[order], a[order], b[order]), found, atol=1e-12)
    for side in ("two-sided", "greater", "less"):
        assert outcome(y, a, 2 * a, alternative=side)[1] == 1.0


def test_delong_without_variance():
    y = [0, 0, 0, 1, 1, 1]
    perfect, wrong = [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]
    assert tuple(delong_test(y, perfect, perfect)) == (0.0, 1.0)
    with pytest.warns(UserWarning, match="estimated as zero"):
        assert delong_test(y, perfect, wrong).estimate == 1.0
    with pytest.raises(ValueError, match="two rows of each class"):
        delong_test([0, 0, 0, 1], [1, 2, 3, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="not a label"):
        delong_test(y, perfect, wrong, pos_label=7)
    with pytest.raises(ValueError, match="binary"):
        delong_test([0, 1, 2, 0], [1, 2, 3, 4], [1, 2, 3, 4])


def test_delong_keeps_its_level_and_its_coverage():
    rng = np.random.default_rng(0)
    rejected = covered = 0
    for _ in range(400):
        y = np.arange(120) % 2
        shared = rng.normal(size=120)
        a, b = (y + shared + rng.normal(size=120) for _ in range(2))
        result = delong_test(y, a, b)
        rejected += result.pvalue <= 0.05
        covered += result.ci[0] <= 0 <= result.ci[1]
    assert 0.02 <= rejected / 400 <= 0.09 and covered == 400 - rejected


# --- any metric -----------------------------------------------------------------------


def test_permutation_of_accuracy_is_the_exact_mcnemar_test():
    for alternative in ("two-sided", "greater", "less"):
        ours = paired_permutation_test(
            Y, PREDICTIONS[1], PREDICTIONS[2], alternative=alternative
        )
        exact = mcnemar_test(
            Y, PREDICTIONS[1], PREDICTIONS[2], method="exact", alternative=alternative
        )
        assert ours.pvalue == pytest.approx(exact.pvalue) and ours.details["exact"]


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_permutation_enumerates_few_rows_as_scipy_does(alternative):
    rng = np.random.default_rng(1)
    y, a, b = rng.normal(size=(3, 9))
    theirs = stats.permutation_test(
        (-((y - a) ** 2), -((y - b) ** 2)),
        lambda u, v, axis: np.mean(u - v, axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative=alternative,
        n_resamples=np.inf,
    )
    ours = paired_permutation_test(y, a, b, alternative=alternative)
    np.testing.assert_allclose(tuple(ours), (theirs.statistic, theirs.pvalue))

    def metric(y, p):
        return -np.mean((y - p) ** 2)

    slow = paired_permutation_test(y, a, b, metric, alternative=alternative)
    np.testing.assert_allclose(tuple(slow), tuple(ours))


def test_resampling_by_row_sums_and_by_the_metric_agree():
    rng = np.random.default_rng(2)
    y = rng.normal(size=80)
    a, b = y + rng.normal(size=80), y + 1.3 * rng.normal(size=80)

    def metric(y, p):
        return -np.mean(np.abs(y - p))

    name, how = "neg_mean_absolute_error", {"n_resamples": 1500, "random_state": 0}
    for test in (paired_bootstrap_test, paired_permutation_test):
        fast, slow = test(y, a, b, name, **how), test(y, a, b, metric, **how)
        assert fast.estimate == pytest.approx(slow.estimate)
        assert fast.pvalue == pytest.approx(slow.pvalue, abs=0.05)
    fast, slow = (paired_bootstrap_test(y, a, b, m, **how).ci for m in (name, metric))
    np.testing.assert_allclose(fast, slow, atol=0.05)


def test_resampling_of_metrics_with_probabilities_and_of_labels():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 80)
    a, b = y + rng.normal(size=80), rng.normal(size=80)
    found = paired_bootstrap_test(
        y, a, b, roc_auc_score, n_resamples=150, random_state=0
    )
    assert found.ci[0] > 0 and found.pvalue < 0.05
    labels = np.array(["no", "yes"])
    p, q = labels[(a > 0.5) * 1], labels[(b > 0.5) * 1]

    def metric(y, p):
        return f1_score(y, p, pos_label="yes")

    found = paired_permutation_test(
        labels[y], p, q, metric, n_resamples=200, random_state=0
    )
    assert found.pvalue <= 0.05 and not found.details["exact"]
    one = paired_bootstrap_test(labels[y], p, q, random_state=0)
    two = paired_bootstrap_test(labels[y], p, q, random_state=0)
    assert one.pvalue == two.pvalue and one.ci == two.ci


@pytest.mark.parametrize("test", [paired_bootstrap_test, paired_permutation_test])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.sampled_from([4, 9, 40]), whole=st.booleans())
def test_resampling_of_swapped_models_and_of_other_orders(test, seed, n, whole):
    rng = np.random.default_rng(seed)
    y, a, b = rng.integers(0, 3, size=(3, n)) if whole else rng.normal(size=(3, n))
    how = {"n_resamples": 400, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, swapped = test(y, a, b, **how), test(y, b, a, **how)
        order = rng.permutation(n)
        again = test(y[order], a[order], b[order], **how)
        equal = [
            test(y, a, a, alternative=side, **how).pvalue
            for side in ("two-sided", "greater", "less")
        ]
    assert 0 < found.pvalue <= 1 and found.statistic == found.estimate
    assert swapped.estimate == pytest.approx(-found.estimate, abs=1e-12)
    assert again.estimate == pytest.approx(found.estimate, abs=1e-12)
    exact = found.details.get("exact", False)
    near = 1e-12 if exact else 0.15  # of other draws
    assert swapped.pvalue == pytest.approx(found.pvalue, abs=near)
    assert again.pvalue == pytest.approx(found.pvalue, abs=near)
    assert equal == [1.0] * 3
    if not exact and test is paired_permutation_test:
        assert found.pvalue >= 1 / 401  # what was observed is one of the draws
    if found.ci is not None:
        draws = found.details["resamples"]
        assert draws.min() <= found.ci[0] <= found.ci[1] <= draws.max()
        assert draws.std() == pytest.approx(spread_of_mean(y, a, b, whole), rel=0.25)


def test_what_was_observed_is_one_of_the_draws():
    y = np.arange(40.0)
    a, b = y + 0.1 * np.sin(y), y + 5 + np.cos(y)
    for test in (paired_bootstrap_test, paired_permutation_test):
        found = test(y, a, b, n_resamples=99, random_state=0)
        assert found.pvalue == pytest.approx(0.01)


def spread_of_mean(y, a, b, whole):
    """Standard error of the mean difference of the rows."""
    gaps = (a == y) * 1.0 - (b == y) if whole else (y - b) ** 2 - (y - a) ** 2
    return gaps.std() / np.sqrt(len(y))


def test_equal_predictions_are_no_evidence():
    y = RNG.normal(size=20)
    for test in (paired_bootstrap_test, paired_permutation_test):
        assert test(y, y + 1, y + 1, random_state=0).pvalue == 1.0


@pytest.mark.parametrize("test", [paired_bootstrap_test, paired_permutation_test])
@pytest.mark.parametrize(
    ("args", "how", "message"),
    [
        (([0, 1], [0, 1], [1, 1]), {"metric": "f1"}, "metric must be"),
        (([0, 1], [0, 1], [1, 1]), {"n_resamples": 0}, "n_resamples"),
        (([0, 1], [0, 1], [1, 1]), {"alternative": "no"}, "alternative"),
        (([0, 1], [0, 1, 1], [1, 1]), {}, "inconsistent"),
        ((["a", "b"], [0, 1], [1, 1]), {}, "cannot be compared"),
        (([0, 1], [0.2, 0.5], [0, 1]), {"metric": "accuracy"}, "continuous"),
        (
            ([0, 1], [[0, 1], [1, 0]], [[0, 1], [1, 0]]),
            {"metric": "accuracy"},
            "one-dim",
        ),
    ],
)
def test_bad_input_of_resampling(test, args, how, message):
    with pytest.raises(ValueError, match=message):
        test(*args, **how)


@pytest.mark.parametrize("place", range(3))
def test_labels_of_one_array_are_of_one_kind(place):
    arrays = [np.array(["a", "b", "a"], dtype=object) for _ in range(3)]
    arrays[place][1] = 2
    message = "cannot be compared: strings beside other values"
    for test in (paired_bootstrap_test, paired_permutation_test, mcnemar_test):
        with pytest.raises(ValueError, match=message):
            test(*arrays)
    with pytest.raises(ValueError, match=message):
        compare_models({"a": arrays[1], "b": arrays[2]}, y=arrays[0])
    # a function of the caller may know what to do with them
    paired_permutation_test(*arrays, lambda y, p: float(np.mean(y == p)))
