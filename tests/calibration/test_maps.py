"""Targets of CaPE: closed forms, dense sums, ties, weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration, calibration_curve

from skdiff.calibration._cape import _maps as maps


def forecasts(n, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 1.5, size=n)
    if levels:
        p = np.round(p * levels) / levels
    y = (rng.uniform(size=n) < p**1.5).astype(float)
    return p, y, np.ones(n)


def dense(p, y, w, s):
    kernel = np.exp(-0.5 * ((p[:, None] - p) / s) ** 2)
    return kernel @ (w * y) / (kernel @ w)


# --- verification 1: bins -----------------------------------------------------------


@pytest.mark.parametrize("n_bins", [1, 4, 10, 25])
def test_bin_targets_are_the_fractions_of_the_calibration_curve(n_bins):
    p, y, w = forecasts(500)
    targets = maps.bin_targets(p, y, w, n_bins)
    fractions, _ = calibration_curve(y, p, n_bins=n_bins, strategy="quantile")
    order = np.argsort(p)
    np.testing.assert_allclose(
        targets[order], np.repeat(fractions, 500 // n_bins), atol=1e-14
    )


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(2, 300), st.integers(1, 30), st.sampled_from([None, 1, 7]))
def test_bin_targets_keep_the_mean_and_respect_ties(n, n_bins, levels):
    p, y, w = forecasts(n, seed=n, levels=levels)
    w = np.random.default_rng(n).uniform(0.2, 3, n)
    targets = maps.bin_targets(p, y, w, n_bins)
    assert w @ targets == pytest.approx(w @ y, abs=1e-9)
    for value in np.unique(p):
        assert np.ptp(targets[p == value]) == 0


# --- verifications 2, 4 and 5: the kernel -------------------------------------------


@pytest.mark.parametrize("bandwidth", [0.02, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("levels", [None, 40])
def test_the_fast_kernel_equals_the_dense_sum(bandwidth, levels):
    p, y, _ = forecasts(3000, levels=levels)
    w = np.random.default_rng(1).uniform(0.2, 3, len(p))
    fast = maps.kernel_targets(p, y, w, bandwidth)
    np.testing.assert_allclose(fast, dense(p, y, w, bandwidth), atol=1e-4)


@pytest.mark.parametrize("bandwidth", [1e-3, 1e-5, 3e-8])
def test_narrow_kernels_equal_the_dense_sum(bandwidth):
    p, y, w = forecasts(400)
    p[:50] = p[50:100] + bandwidth  # neighbours as near as the kernel is wide
    fast = maps.kernel_targets(p, y, w, bandwidth)
    np.testing.assert_allclose(fast, dense(p, y, w, bandwidth), atol=1e-4)


def test_the_kernels_two_limits():
    p, y, w = forecasts(300)
    assert len(np.unique(p)) == 300
    np.testing.assert_allclose(maps.kernel_targets(p, y, w, 1e6), y.mean(), atol=1e-6)
    np.testing.assert_allclose(maps.kernel_targets(p, y, w, 1e-12), y, atol=1e-12)


@pytest.mark.parametrize("bandwidth", [1e-12, 0.05, 10.0])
def test_a_constant_forecast_has_one_target(bandwidth):
    _, y, w = forecasts(90)
    p = np.full(90, 0.3)
    for targets in (
        maps.kernel_targets(p, y, w, bandwidth),
        maps.bin_targets(p, y, w, 10),
    ):
        np.testing.assert_allclose(targets, y.mean(), atol=1e-12)


# --- maps of held-out rows ----------------------------------------------------------


def test_platt_equals_scikit_learns_sigmoid():
    p, y, _ = forecasts(400)
    w = np.random.default_rng(1).uniform(0.2, 3, len(p))
    z = 3 * maps.log_odds(p) + 1
    line = maps.fit_platt(z, y, w)
    # scikit-learn smooths by counts of rows, so weights of mean one are compared
    ones = np.ones_like(w)
    slope, offset = _sigmoid_calibration(z, y)
    plain = maps.fit_platt(z, y, ones)
    np.testing.assert_allclose(plain(z), expit(-(slope * z + offset)), atol=1e-5)
    twice = np.repeat(np.arange(400), 2)
    doubled = maps.fit_platt(z[twice], y[twice], np.repeat(w / 2, 2))
    np.testing.assert_allclose(doubled, line, rtol=1e-8)


def test_platt_survives_separation_and_constants():
    y = np.r_[np.zeros(20), np.ones(20)]
    w = np.ones(40)
    for z in (np.linspace(-50, 50, 40), 1e8 * (y - 0.5)):
        line = maps.fit_platt(z, y, w)
        assert np.isfinite(line).all() and line.slope > 0
    flat = maps.fit_platt(np.zeros(40), y, w)
    np.testing.assert_allclose(flat(np.zeros(3)), 0.5, atol=1e-9)
    one = maps.fit_platt(np.linspace(-1, 1, 40), np.ones(40), w)
    assert ((one(np.linspace(-1, 1, 5)) > 0.9) & (one(np.zeros(5)) < 1)).all()


@pytest.mark.parametrize("name", sorted(maps.MAPS))
def test_maps_learn_a_distortion(name):
    p, y, w = forecasts(20_000)
    learnt = maps.MAPS[name](p, y, w, 20)
    new = np.linspace(0.05, 0.9, 30)
    assert np.abs(learnt(new) - new**1.5).max() < 0.1
    assert (np.diff(learnt(new)) >= -0.03).all()
    ends = learnt(np.array([0.0, 1.0]))
    assert ((ends > 0) & (ends < 1)).all()


def test_bin_map_follows_laplaces_rule():
    p = np.array([0.1, 0.1, 0.2, 0.8, 0.8, 0.9])
    y = np.array([0, 0, 1, 1, 1, 1.0])
    learnt = maps.bin_map(p, y, np.ones(6), 2)
    np.testing.assert_allclose(learnt(np.array([0.0, 0.49, 0.51])), [0.4, 0.4, 0.8])


# --- several classes ----------------------------------------------------------------


@pytest.mark.parametrize("top_label", [False, True])
def test_targets_of_several_classes_are_distributions(top_label):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([0.5, 1, 2], size=300)
    codes = np.array([rng.choice(3, p=row) for row in proba])
    w = np.ones(300)

    def own(p, known, hit):
        return maps.bin_targets(p, hit, w, 5)

    targets = maps.class_targets(proba, proba, codes, own, top_label)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-12)
    assert targets.min() >= 0
    top = proba.argmax(axis=1)
    hit = (top == codes).astype(float)
    if top_label:
        np.testing.assert_allclose(
            targets[np.arange(300), top],
            maps.bin_targets(proba.max(axis=1), hit, w, 5),
            atol=1e-12,
        )
        others = np.delete(np.arange(3), top[0])
        ratio = targets[0, others] / proba[0, others]
        assert ratio[0] == pytest.approx(ratio[1])


def test_a_sure_forecast_spreads_the_rest_evenly():
    proba = np.array([[1.0, 0, 0], [1.0, 0, 0]])
    targets = maps.class_targets(
        proba, proba, np.array([0, 1]), lambda p, k, hit: np.full(2, hit.mean()), True
    )
    np.testing.assert_allclose(targets, [[0.5, 0.25, 0.25]] * 2)
