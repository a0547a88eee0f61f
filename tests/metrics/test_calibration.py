"""Calibration metrics: closed forms, scikit-learn as the referee, weights, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from skdiff import metrics
from skdiff.metrics._calibration import quantile_bins

BINNED = [
    metrics.expected_calibration_error,
    metrics.maximum_calibration_error,
    metrics.sharpness,
    lambda *a, **k: metrics.brier_decomposition(*a, **k).reliability,
]


def forecasts(n=600, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=n)
    if levels:
        p = np.round(p * levels) / levels
    return (rng.uniform(size=n) < p**2).astype(int), p


@pytest.mark.parametrize("strategy", ["quantile", "uniform"])
def test_binned_errors_equal_those_of_scikit_learns_curve(strategy):
    y, p = forecasts()
    true, predicted = calibration_curve(y, p, n_bins=15, strategy=strategy)
    if strategy == "quantile":
        share = np.full(15, 1 / 15)
    else:
        share = np.bincount((p * 15).astype(int), minlength=15) / len(p)
    gap = np.abs(true - predicted)
    keywords = {"n_bins": 15, "strategy": strategy}
    ece = metrics.expected_calibration_error(y, p, **keywords)
    assert ece == pytest.approx(share @ gap, abs=1e-12)
    mce = metrics.maximum_calibration_error(y, p, **keywords)
    assert mce == pytest.approx(gap.max(), abs=1e-12)
    sharp = metrics.sharpness(y, p, **keywords)
    assert sharp == pytest.approx(share @ true**2, abs=1e-12)


def test_the_defaults_are_fifteen_quantile_bins():
    y, p = forecasts()
    assert metrics.expected_calibration_error(
        y, p
    ) == metrics.expected_calibration_error(y, p, n_bins=15, strategy="quantile")


def test_ks_error_by_its_definition():
    y, p = forecasts(n=80, levels=12)
    brute = max(abs(np.mean((y - p) * (p <= t))) for t in np.unique(p))
    assert metrics.ks_error(y, p) == pytest.approx(brute, abs=1e-14)


def test_the_brier_parts_add_up():
    y, p = forecasts()
    parts = metrics.brier_decomposition(y, p)
    assert parts.brier == pytest.approx(brier_score_loss(y, p), abs=1e-14)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bin
    assert total == pytest.approx(parts.brier, abs=1e-14)
    # forecasts that are equal within their bins hide nothing
    y, p = forecasts(levels=4)
    parts = metrics.brier_decomposition(y, p, n_bins=10, strategy="uniform")
    assert parts.within_bin == pytest.approx(0, abs=1e-14)


def test_perfect_forecasts_and_sharpness_bounds():
    y = np.r_[np.zeros(30), np.ones(10)]
    assert metrics.expected_calibration_error(y, y) == 0
    assert metrics.ks_error(y, y) == 0
    assert metrics.sharpness(y, y) == pytest.approx(0.25)
    assert metrics.sharpness(y, np.full(40, 0.25)) == pytest.approx(0.0625)
    assert metrics.mse_p(y, y) == 0


def test_the_brier_score_is_mse_p_plus_a_constant():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=200_000)
    y = (rng.uniform(size=truth.size) < truth).astype(int)
    for p in (truth, truth**2, np.full_like(truth, 0.5)):
        excess = brier_score_loss(y, p) - metrics.mse_p(truth, p)
        assert excess == pytest.approx(1 / 6, abs=3e-3)  # the mean of p (1 - p)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 5]))
def test_a_weight_of_two_is_a_row_twice(seed, levels):
    y, p = forecasts(n=41, seed=seed, levels=levels)
    weight = np.random.default_rng(seed).integers(0, 4, len(y))
    weight[0] = 1
    again = np.repeat(np.arange(len(y)), weight)
    for strategy in ("quantile", "uniform"):
        for metric in BINNED:
            keywords = {"n_bins": 7, "strategy": strategy, "pos_label": 1}
            assert metric(y, p, sample_weight=weight, **keywords) == pytest.approx(
                metric(y[again], p[again], **keywords), abs=1e-12
            )
    assert metrics.ks_error(y, p, sample_weight=weight) == pytest.approx(
        metrics.ks_error(y[again], p[again]), abs=1e-12
    )
    assert metrics.mse_p(p**2, p, sample_weight=weight) == pytest.approx(
        metrics.mse_p(p[again] ** 2, p[again]), abs=1e-12
    )


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 300))
def test_bins_keep_ties_together_and_order(n, n_bins, levels):
    p = np.random.default_rng(n).integers(0, levels, n) / levels
    codes = quantile_bins(p, None, n_bins)
    order = np.argsort(p, kind="stable")
    assert (np.diff(codes[order]) >= 0).all() and 0 <= codes.min() <= codes.max()
    assert codes.max() < n_bins
    for value in np.unique(p):
        assert len(set(codes[p == value])) == 1
    if len(np.unique(p)) == n and n % n_bins == 0:
        assert (np.bincount(codes, minlength=n_bins) == n // n_bins).all()


def test_labels_of_any_kind():
    y, p = forecasts()
    expected = metrics.ks_error(y, p)
    assert metrics.ks_error(np.array(["no", "yes"])[y], p) == expected
    assert metrics.ks_error(y.astype(bool), p) == expected
    assert metrics.ks_error(2 * y - 1, p) == expected
    flipped = metrics.ks_error(np.array(["yes", "no"])[y], p, pos_label="no")
    assert flipped == expected
    assert metrics.ks_error(np.zeros(5), np.full(5, 0.2)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("arguments", "keywords", "words"),
    [
        (([0, 1], [0.5, 1.2]), {}, "between 0 and 1"),
        (([0, 1], [0.5, np.nan]), {}, "NaN"),
        (([0, 1], ["a", "b"]), {}, "numbers"),
        (([0, 1, 2], [0.5, 0.5, 0.5]), {}, "two classes"),
        (([0.5, 0.2], [0.5, 0.5]), {}, "two classes"),
        (([0, 1, 1], [0.5, 0.5]), {}, "inconsistent.*y has 3, p has 2"),
        (([0, 1], np.eye(2)), {}, r"^p must be one-.* of the positive class, \[:, 1\]"),
        (([0, 1], 0.5), {}, r"^p must be one-dimensional, got an array of shape \(\)"),
        ((np.eye(2), [0.5, 0.5]), {}, r"^y must be one-dimensional"),
        (([0, 1], [[0.5], [0.5, 0.1]]), {}, "^p cannot be read"),
        (([], []), {}, "empty"),
        ((["a", "a"], [0.5, 0.5]), {}, "pos_label"),
        (([0, 1], [0.5, 0.5]), {"pos_label": 7}, "pos_label"),
        (([0, 1], [0.5, 0.5]), {"n_bins": 0}, "n_bins"),
        (([0, 1], [0.5, 0.5]), {"n_bins": 2.5}, "n_bins"),
        (([0, 1], [0.5, 0.5]), {"strategy": "even"}, "strategy"),
        (([0, 1], [0.5, 0.5]), {"sample_weight": [0, 0]}, "weight"),
    ],
)
def test_what_is_refused(arguments, keywords, words):
    with pytest.raises(ValueError, match=words):
        metrics.expected_calibration_error(*arguments, **keywords)


def test_arrays_of_other_libraries_are_read_or_named():
    torch = pytest.importorskip("torch")
    y, p = torch.tensor([0, 1, 1]), torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    expected = metrics.ks_error(y.numpy(), p.numpy())
    assert metrics.ks_error(y, p) == expected
    with pytest.raises(ValueError, match=r"^p cannot be read as a NumPy array"):
        metrics.ks_error(y, p.requires_grad_())
    with pytest.raises(ValueError, match="p_true has 3, p has 2"):
        metrics.mse_p(p.detach(), [0.1, 0.2])
