"""Tests on scores of splits: formulas, shared splits, error rates, bad input."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from benchmarks._null_models import accuracies, correct, tables
from skdiff.model_evaluation import (
    bayesian_correlated_ttest,
    corrected_resampled_ttest,
    ftest_5x2cv,
    kfold_ttest,
    mcnemar_test,
    ttest_5x2cv,
)

A = np.array([0.81, 0.84, 0.80, 0.86, 0.83, 0.79])
B = np.array([0.80, 0.81, 0.80, 0.82, 0.81, 0.80])
SIZES = {"n_train": 80, "n_test": 20}


def test_the_corrected_statistic_by_hand():
    d = A - B
    scale = np.sqrt((1 / 6 + 20 / 80) * d.var(ddof=1))
    result = corrected_resampled_ttest(A, B, **SIZES)
    assert result.statistic == pytest.approx(d.mean() / scale)
    assert result.pvalue == pytest.approx(2 * stats.t.sf(d.mean() / scale, 5))
    low, high = result.ci
    assert (low + high) / 2 == pytest.approx(d.mean())
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 5) * scale)
    sides = [
        corrected_resampled_ttest(A, B, **SIZES, alternative=a).pvalue
        for a in ("greater", "less")
    ]
    assert sum(sides) == pytest.approx(1)
    assert sides[0] == pytest.approx(result.pvalue / 2)


def test_without_correction_it_is_the_paired_t_test_of_scipy():
    with pytest.warns(UserWarning, match="too small"):
        ours = kfold_ttest(A, B)
    theirs = stats.ttest_rel(A, B)
    np.testing.assert_allclose(tuple(ours), (theirs.statistic, theirs.pvalue))
    np.testing.assert_allclose(ours.ci, theirs.confidence_interval())


def test_the_posterior_is_a_shifted_t():
    result = bayesian_correlated_ttest(A, B, rope=0.005, **SIZES)
    d = A - B
    law = stats.t(5, d.mean(), np.sqrt((1 / 6 + 20 / 80) * d.var(ddof=1)))
    expected = law.cdf(-0.005), law.cdf(0.005) - law.cdf(-0.005), law.sf(0.005)
    found = [result.details[name] for name in ("left", "rope", "right")]
    np.testing.assert_allclose(found, expected)
    # twice the posterior probability of the less likely sign is the p-value
    none = bayesian_correlated_ttest(A, B, rope=0, **SIZES)
    assert 2 * none.details["left"] == pytest.approx(none.pvalue)


def test_five_by_two_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.7, 0.9, size=(2, 5, 2))
    d = a - b
    s2 = np.sum((d - d.mean(axis=1, keepdims=True)) ** 2, axis=1)
    t, F = d[0, 0] / np.sqrt(s2.mean()), np.sum(d**2) / (2 * s2.sum())
    np.testing.assert_allclose(tuple(ttest_5x2cv(a, b)), (t, 2 * stats.t.sf(abs(t), 5)))
    np.testing.assert_allclose(tuple(ftest_5x2cv(a, b)), (F, stats.f.sf(F, 10, 5)))
    assert ftest_5x2cv(a, b).estimate == pytest.approx(d.mean())
    swapped = ftest_5x2cv(a[::-1, ::-1], b[::-1, ::-1])
    np.testing.assert_allclose(tuple(swapped), (F, stats.f.sf(F, 10, 5)))


def test_estimators_give_the_scores_of_cross_val_score():
    X, y = load_breast_cancer(return_X_y=True)
    cv = RepeatedKFold(n_splits=3, n_repeats=2, random_state=0)
    a, b = GaussianNB(), DecisionTreeClassifier(max_depth=2, random_state=0)
    ours = corrected_resampled_ttest(a, b, X, y, cv=cv, scoring="roc_auc")
    scores = [cross_val_score(m, X, y, cv=cv, scoring="roc_auc") for m in (a, b)]
    theirs = corrected_resampled_ttest(
        *scores, n_train=2 * len(y) / 3, n_test=len(y) / 3
    )
    np.testing.assert_allclose(tuple(ours), tuple(theirs))
    assert not hasattr(a, "theta_")  # the estimators given are left alone


class Spy(ClassifierMixin, BaseEstimator):
    """Notes the rows it is fitted to."""

    seen: list = []

    def fit(self, X, y):
        self.seen.append(np.sort(X[:, 0]).tolist())
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(X[:, 0].astype(int) % 2)]


@pytest.mark.parametrize("test", [ttest_5x2cv, ftest_5x2cv, corrected_resampled_ttest])
def test_both_models_see_the_same_stratified_splits(test):
    n = 60
    X, y = np.arange(n, dtype=float)[:, None], (np.arange(n) % 3 == 0).astype(int)
    Spy.seen.clear()
    result = test(Spy(), Spy(), X, y, random_state=0)
    half = len(Spy.seen) // 2
    assert Spy.seen[:half] == Spy.seen[half:]
    counts = {np.sum(y[np.array(rows, dtype=int)]) for rows in Spy.seen}
    assert len(counts) == 1
    assert (result.statistic, result.pvalue) == (0.0, 1.0)
    assert result.pvalue == test(Spy(), Spy(), X, y, random_state=0).pvalue


def test_groups_stay_together():
    X, y = load_diabetes(return_X_y=True)
    groups = np.repeat(np.arange(34), 13)
    result = corrected_resampled_ttest(
        Ridge(), Ridge(10), X, y, cv=GroupKFold(4), groups=groups
    )
    assert result.n == 4 and np.isfinite(result.pvalue)
    assert np.isfinite(ftest_5x2cv(Ridge(), Ridge(10), X, y, groups=groups).pvalue)


def test_weights_and_frames_and_strings_reach_the_models():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    y = np.array(["benign", "malignant"])[y]
    weight = np.where(y == "benign", 5.0, 1.0)
    a = LogisticRegression(C=0.1, max_iter=2000)
    X = X.iloc[:, :4]
    plain = corrected_resampled_ttest(a, GaussianNB(), X, y, cv=3)
    weighted = corrected_resampled_ttest(
        a, GaussianNB(), X, y, cv=3, params={"sample_weight": weight}
    )
    assert plain.statistic != weighted.statistic
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    assert corrected_resampled_ttest(pipe, GaussianNB(), X, y, cv=3, n_jobs=2).n == 3


def test_no_difference_and_a_constant_difference():
    assert tuple(corrected_resampled_ttest(A, A, **SIZES)) == (0.0, 1.0)
    with pytest.warns(UserWarning, match="same amount"):
        assert corrected_resampled_ttest(A, A - 0.1, **SIZES).pvalue == 0.0
    found = bayesian_correlated_ttest(A, A, **SIZES).details
    assert (found["left"], found["rope"], found["right"]) == (0, 1, 0)
    same = np.full((5, 2), 0.8)
    for test in (ttest_5x2cv, ftest_5x2cv):
        assert test(same, same).pvalue == 1.0
        with pytest.warns(UserWarning, match="same amount"):
            assert test(same, same - 0.1).pvalue == 0.0


# --- invariants ---------------------------------------------------------------------


def outcome(test, a, b, **how):
    """Statistic, p-value, estimate and interval, without the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = test(a, b, **how)
    return np.array([*found, found.estimate, *found.ci]), found


CASES = {
    "corrected": (corrected_resampled_ttest, SIZES, (10,)),
    "bayesian": (bayesian_correlated_ttest, SIZES, (10,)),
    "k folds": (kfold_ttest, {}, (10,)),
    "5x2 t": (ttest_5x2cv, {}, (5, 2)),
    "5x2 F": (ftest_5x2cv, {}, (5, 2)),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), decimals=st.sampled_from([1, 2, 6]))
def test_swapped_shifted_and_scaled_scores(name, seed, decimals):
    test, how, shape = CASES[name]
    rng = np.random.default_rng(seed)
    a, b = np.round(rng.uniform(size=(2, *shape)), decimals)  # ties where rounded
    found, result = outcome(test, a, b, **how)
    statistic, pvalue, estimate, low, high = found
    assert 0 <= pvalue <= 1 and low <= estimate <= high
    swapped, mirror = outcome(test, b, a, **how)
    sign = 1 if name == "5x2 F" else -1
    turned = [sign * statistic, pvalue, -estimate, -high, -low]
    np.testing.assert_allclose(swapped, turned, rtol=1e-9, atol=1e-12)
    both = rng.normal(size=shape)  # how hard a split is does not matter
    shifted, _ = outcome(test, a + both, b + both, **how)
    np.testing.assert_allclose(shifted, found, rtol=1e-6, atol=1e-9)
    scaled, _ = outcome(test, 8 * a, 8 * b, **how)
    np.testing.assert_allclose(scaled[:2], found[:2], rtol=1e-9)
    np.testing.assert_allclose(scaled[2:], 8 * found[2:], rtol=1e-9, atol=1e-12)
    if name != "5x2 t":  # which reads one fold of the first replication
        order = rng.permutation(shape[0])
        again, _ = outcome(test, a[order], b[order], **how)
        np.testing.assert_allclose(again, found, rtol=1e-9, atol=1e-12)
    if name == "bayesian":
        three = [result.details[k] for k in ("left", "rope", "right")]
        assert np.sum(three) == pytest.approx(1) and min(three) >= -1e-12
        others = [mirror.details[k] for k in ("right", "rope", "left")]
        np.testing.assert_allclose(three, others, atol=1e-9)


@pytest.mark.parametrize("name", ["corrected", "k folds", "5x2 t"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_both_sides_make_the_whole(name, seed):
    test, how, shape = CASES[name]
    a, b = np.random.default_rng(seed).uniform(size=(2, *shape))
    greater, less, both = (
        outcome(test, a, b, alternative=side, **how)[1].pvalue
        for side in ("greater", "less", "two-sided")
    )
    assert greater + less == pytest.approx(1)
    assert both == pytest.approx(2 * min(greater, less))
    for side in ("greater", "less", "two-sided"):  # nothing speaks for either model
        assert outcome(test, a, a, alternative=side, **how)[1].pvalue == 1.0


def test_a_certain_difference_on_the_bound_of_the_region_counts_as_none():
    a, b = np.array([0.75, 0.5]), np.array([0.5, 0.25])
    for pair in ((a, b), (b, a)):
        found = outcome(bayesian_correlated_ttest, *pair, rope=0.25, **SIZES)[1]
        assert found.details["rope"] == 1.0


def test_splits_by_masks_are_those_by_numbers():
    X, y = load_diabetes(return_X_y=True)
    folds = list(KFold(4).split(X))
    masks = [tuple(np.isin(np.arange(len(y)), f) for f in fold) for fold in folds]
    one, two = (
        corrected_resampled_ttest(Ridge(), Ridge(10), X, y, cv=cv)
        for cv in (folds, masks)
    )
    assert tuple(one) == tuple(two)
    assert one.details["n_test"] == two.details["n_test"] == len(y) / 4


def test_a_constant_difference_warns_of_its_posterior():
    with pytest.warns(UserWarning, match="same amount"):
        result = bayesian_correlated_ttest([0.5, 0.7], [0.3, 0.5], n_train=8, n_test=2)
    assert result.details["right"] == 1.0


@pytest.mark.parametrize("unit", [1e-150, 1e-13, 1e7, 1e150])
def test_units_of_the_score_do_not_matter(unit):
    a, b = unit * A, unit * B
    for test in (corrected_resampled_ttest, bayesian_correlated_ttest):
        one, two = test(A, B, **SIZES), test(a, b, **SIZES)
        np.testing.assert_allclose(tuple(two), tuple(one))
        np.testing.assert_allclose(np.array(two.ci) / unit, one.ci)
    assert corrected_resampled_ttest(a, a, **SIZES).pvalue == 1.0
    assert corrected_resampled_ttest(1e300 * A, B, **SIZES).pvalue < 1e-3
    with pytest.warns(UserWarning, match="same amount"):
        corrected_resampled_ttest(a, a - 0.3 * unit, **SIZES)
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0.7, 0.9, size=(2, 5, 2))
    for test in (ttest_5x2cv, ftest_5x2cv):
        np.testing.assert_allclose(tuple(test(unit * u, unit * v)), tuple(test(u, v)))
        with pytest.warns(UserWarning, match="same amount"):
            test(unit * u, unit * (u - 0.3))


# --- error rates ----------------------------------------------------------------------

N_TABLES = 500
#: of the specification: 1000 replications of logistic or ridge models on 300 rows
EXPECTED = {
    "resampled": 0.477,
    "corrected": 0.047,
    "ten folds": 0.065,
    "ten folds corrected": 0.011,
    "5x2 t": 0.054,
    "5x2 F": 0.070,
    "exact": 0.042,
    "mid-p": 0.052,
}


@pytest.fixture(scope="module")
def rates():
    """Rejections at 5 % of each test where both models are equally good."""
    X, y = tables(N_TABLES, signal=0.8, seed=1)
    rows, found = np.zeros(y.shape[1]), {}
    scores = accuracies(
        X, y, list(ShuffleSplit(15, test_size=1 / 3, random_state=0).split(rows))
    )
    found["resampled"] = stats.ttest_rel(*scores.swapaxes(0, 1), axis=1).pvalue
    found["corrected"] = [
        corrected_resampled_ttest(*s, n_train=200, n_test=100).pvalue for s in scores
    ]
    scores = accuracies(X, y, list(KFold(10).split(rows)))
    found["ten folds"] = stats.ttest_rel(*scores.swapaxes(0, 1), axis=1).pvalue
    found["ten folds corrected"] = [
        corrected_resampled_ttest(*s, n_train=270, n_test=30).pvalue for s in scores
    ]
    halves = RepeatedKFold(n_splits=2, n_repeats=5, random_state=0)
    scores = accuracies(X, y, list(halves.split(rows))).reshape(-1, 2, 5, 2)
    found["5x2 t"] = [ttest_5x2cv(*s).pvalue for s in scores]
    found["5x2 F"] = [ftest_5x2cv(*s).pvalue for s in scores]
    right = correct(X, y, np.arange(200), np.arange(200, 300)).swapaxes(0, 1)
    ones = np.ones(100, dtype=int)
    for method in ("exact", "mid-p"):
        found[method] = [
            mcnemar_test(ones, *two.astype(int), method=method).pvalue for two in right
        ]
    return {name: np.mean(np.asarray(p) <= 0.05) for name, p in found.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_type_one_errors_are_those_of_the_table(rates, name):
    p = EXPECTED[name]
    error = np.sqrt(p * (1 - p) * (1 / N_TABLES + 1 / 1000))
    assert abs(rates[name] - p) <= 3 * error


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "how", "message"),
    [
        ((A, B), {}, "n_train and n_test"),
        ((A, B[:-1]), SIZES, "different numbers"),
        ((A[:1], B[:1]), SIZES, "two splits"),
        ((A, np.r_[B[:-1], np.nan]), SIZES, "NaN"),
        ((A, list("abcdef")), SIZES, "one score per split"),
        ((A, B), {"n_train": 80, "n_test": 0}, "n_test"),
        ((A, B, np.eye(6), np.ones(6)), SIZES, "X and y are for estimators"),
        ((A, B), {**SIZES, "alternative": "none"}, "alternative"),
        ((A, B), {**SIZES, "confidence_level": 2}, "confidence_level"),
        ((Ridge(), Ridge()), {}, "X and y must be given"),
        ((Ridge(), GaussianNB(), np.eye(6), np.ones(6)), {}, "Classifiers"),
        ((Ridge(), Ridge(), np.eye(6), np.ones(6)), SIZES, "those of the splits"),
        ((Ridge(), Ridge(), np.eye(6), np.ones(5)), {}, "inconsistent"),
    ],
)
def test_bad_input_is_refused(args, how, message):
    with pytest.raises(ValueError, match=message):
        corrected_resampled_ttest(*args, **how)


def test_more_bad_input():
    with pytest.raises(TypeError, match="estimator instance"):
        corrected_resampled_ttest(Ridge(), A, np.eye(6), np.ones(6))
    with pytest.raises(ValueError, match="rope"):
        bayesian_correlated_ttest(A, B, rope=-1, **SIZES)
    for test in (ttest_5x2cv, ftest_5x2cv):
        with pytest.raises(ValueError, match=r"shape \(5, 2\)"):
            test(A, B)
    X, y = np.zeros((40, 1)), np.arange(40) % 2
    dummy = DummyClassifier()
    with pytest.raises(ValueError, match="not finite"):
        corrected_resampled_ttest(
            dummy, dummy, X, y, cv=4, scoring=lambda model, X, y: np.nan
        )
