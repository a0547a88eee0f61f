"""MMD and shape distances: definitions, quadrature, brute force, acceptance runs."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from skdiff.metrics import _discrepancy, mmd, optimally_weighted_mmd, shape_distance
from skdiff.metrics._shapes import cross_moments, jackknife_covariance, whitened
from skdiff.metrics._weighted_discrepancy import (
    input_kernel,
    mean_embedding,
    weighted_value,
)


def rbf(A, B, width=1.0):
    return np.exp(-((A[:, None] - B[None]) ** 2).sum(axis=2) / (2 * width**2))


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.standard_normal((37, 3)), rng.standard_normal((53, 3)) + 0.4


@pytest.mark.parametrize("block", [10, 2000])
def test_both_statistics_are_their_definitions(samples, block, monkeypatch):
    monkeypatch.setattr(_discrepancy, "BLOCK", block)
    X, Y = samples
    Kxx, Kyy, Kxy = rbf(X, X), rbf(Y, Y), rbf(X, Y)
    m, n = Kxy.shape
    v = Kxx.mean() + Kyy.mean() - 2 * Kxy.mean()
    u = (Kxx.sum() - m) / (m * (m - 1)) + (Kyy.sum() - n) / (n * (n - 1))
    assert mmd(X, Y, bandwidth=1.0, estimator="v") == pytest.approx(v, abs=1e-12)
    assert mmd(X, Y, bandwidth=1.0) == pytest.approx(u - 2 * Kxy.mean(), abs=1e-12)
    custom = mmd(X, Y, kernel=rbf)
    assert custom == pytest.approx(mmd(X, Y, bandwidth=1.0), abs=1e-12)
    assert abs(mmd(X, X, estimator="v")) < 1e-12
    assert mmd(X[::-1], Y) == pytest.approx(mmd(X, Y), abs=1e-12)


def test_the_standard_error_covers_and_the_test_has_its_size():
    rng, z, rejected = np.random.default_rng(1), [], 0
    for seed in range(200):
        X, Y = rng.standard_normal((2, 40, 1))
        value, std, pvalue = mmd(
            X,
            Y,
            return_std=True,
            return_pvalue=True,
            n_permutations=99,
            random_state=seed,
        )
        z.append(value / std)
        rejected += pvalue <= 0.05
    # on the safe side where nothing differs, as the guide says
    assert np.std(z) == pytest.approx(0.6, abs=0.1)
    assert rejected <= 20  # 10 expected
    values, stds = [], []
    for _ in range(100):
        X, Y = rng.standard_normal((2, 60, 1))
        found = mmd(X, Y + 1, bandwidth=1.0, return_std=True)
        values.append(found[0])
        stds.append(found[1])
    assert np.mean(stds) == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.parametrize("name", ["rbf", "matern32", "matern52"])
@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize("scale", [0.05, 0.4, 3.0])
def test_mean_embeddings_equal_quadrature(name, distribution, scale):
    points = np.array([0.0, 0.13, 0.5, 1.0])
    density = norm.pdf if distribution == "normal" else lambda u: 1.0
    low, high = (-9, 9) if distribution == "normal" else (0, 1)
    found = mean_embedding(points[:, None], name, scale, distribution)

    def value(u, x):
        at = np.array([[u]]), np.array([[x]])
        return input_kernel(*at, name, scale)[0, 0] * density(u)

    for x, z in zip(points, found, strict=True):
        parts = np.unique([low, max(low, x - scale), x, min(high, x + scale), high])
        expected = sum(
            quad(value, a, b, args=(x,), epsabs=1e-13, epsrel=1e-12)[0]
            for a, b in pairwise(parts)
        )
        assert z == pytest.approx(expected, abs=1e-10)


def test_weights_of_a_constant_simulator_sum_to_one_and_equal_ones_are_v():
    rng = np.random.default_rng(0)
    u, Y = rng.uniform(size=(60, 1)), rng.standard_normal((300, 1))
    value, w = optimally_weighted_mmd(
        np.ones((60, 1)), u, Y, jitter=1e-8, return_weights=True
    )
    assert w.sum() == pytest.approx(1, abs=1e-4)
    X = rng.standard_normal((60, 1))
    k = _discrepancy.make_kernel("rbf", 1.0, lambda: Y)
    equal = weighted_value(k, X, Y, np.full(60, 1 / 60))
    assert equal == pytest.approx(mmd(X, Y, bandwidth=1.0, estimator="v"), abs=1e-12)
    found = optimally_weighted_mmd(X, u, Y, bandwidth=1.0)
    assert np.isfinite(found) and np.isfinite(value)


def g_and_k(u, a):
    z = norm.ppf(u)
    return a + (1 + 0.8 * np.tanh(0.1 * z / 2)) * (1 + z * z) ** 0.1 * z


def errors(m, simulator, draws, **how):
    """Squared errors of equal and of optimal weights."""
    rng = np.random.default_rng(m)
    data, inputs = simulator
    Y = data(rng)
    truth = mmd(data.long_run(rng), Y, bandwidth=1.0, estimator="v")
    found = []
    for _ in range(draws):
        u = inputs(rng, m)
        X = data.output(u)
        equal = mmd(X, Y, bandwidth=1.0, estimator="v")
        ours = optimally_weighted_mmd(X, u, Y, bandwidth=1.0, **how)
        found.append([equal - truth, ours - truth])
    return np.sqrt((np.array(found) ** 2).mean(axis=0))


class GAndK:
    """Data with another location than the simulator has."""

    def __call__(self, rng):
        return g_and_k(rng.uniform(size=(1000, 1)), 3.0)

    @staticmethod
    def output(u):
        return g_and_k(u, 3.3)

    def long_run(self, rng):
        """One run in each of 8000 equal intervals of u: exact for this purpose."""
        return self.output((np.arange(8000)[:, None] + 0.5) / 8000)


class TwoColumns:
    def __call__(self, rng):
        return self.output(rng.standard_normal((1000, 2))) + 0.1

    @staticmethod
    def output(z):
        return np.stack([z[:, 0] + z[:, 1] ** 2 / 2, np.tanh(z[:, 1])], axis=1)

    def long_run(self, rng):
        grid = norm.ppf((np.arange(90) + 0.5) / 90)
        return self.output(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2))


def test_acceptance_on_g_and_k():
    def simulate(m, draws):
        inputs = lambda rng, n: rng.uniform(1e-12, 1, size=(n, 1))  # noqa: E731
        return errors(m, (GAndK(), inputs), draws)

    found = {m: simulate(m, 50) for m in (16, 64)}
    equal, ours = found[64]
    assert ours <= equal / 20
    assert np.log(found[64][1] / found[16][1]) / np.log(4) <= -1.5


def test_acceptance_on_two_columns():
    inputs = lambda rng, n: rng.standard_normal((n, 2))  # noqa: E731
    equal, ours = errors(50, (TwoColumns(), inputs), 20, u_distribution="normal")
    assert ours <= equal / 2


def test_weights_stay_bounded_with_two_columns():
    rng = np.random.default_rng(0)
    u = rng.standard_normal((80, 2))
    X, Y = TwoColumns.output(u), TwoColumns()(rng)
    sums = [
        np.abs(
            optimally_weighted_mmd(
                X, u, Y, u_distribution="normal", jitter=j, return_weights=True
            )[1]
        ).sum()
        for j in (1e-8, "auto")
    ]
    assert sums[0] > 3 and sums[1] <= 1.5


# --- shapes -------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_shapes_do_not_see_rotations_shifts_and_scale(seed, p, whitening):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((30, p)), rng.standard_normal((30, 3))
    turn = np.linalg.qr(rng.standard_normal((p, p)))[0]
    how = {"whitening": whitening} if whitening != 0.5 else {}
    assert shape_distance(X, X @ turn + 3, **how) < 1e-6
    ours = shape_distance(X @ turn + 1, Y, **how)
    assert ours == pytest.approx(shape_distance(X, Y, **how), abs=1e-8)
    assert shape_distance(5 * X, Y) == pytest.approx(shape_distance(X, Y), abs=1e-8)
    assert shape_distance(Y, X) == pytest.approx(shape_distance(X, Y), abs=1e-8)
    Z = rng.standard_normal((30, 2))
    for kind in ("angular", "procrustes"):
        xz, zy, xy = (
            shape_distance(*pair, kind=kind) for pair in ((X, Z), (Z, Y), (X, Y))
        )
        assert xy <= xz + zy + 1e-9


def test_units_of_representations_neither_overflow_nor_vanish():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    Y = X[:, ::-1] + 0.1 * X**2
    for how in ({}, {"estimator": "moments", "random_state": 0}):
        angle = shape_distance(X, Y, **how)
        for unit in (1e-200, 1e-90, 1e90, 1e200):
            assert shape_distance(unit * X, Y, **how) == pytest.approx(angle, rel=1e-9)
            size = shape_distance(unit * X, unit * Y, kind="procrustes", **how)
            plain = shape_distance(X, Y, kind="procrustes", **how)
            assert size == pytest.approx(unit * plain, rel=1e-6)


def test_procrustes_equals_the_best_rotation():
    from scipy.linalg import orthogonal_procrustes

    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 50, 4))
    A, B = X - X.mean(axis=0), Y - Y.mean(axis=0)
    R = orthogonal_procrustes(A, B)[0]
    expected = np.sqrt(((A @ R - B) ** 2).sum() / 50)
    assert shape_distance(X, Y, kind="procrustes") == pytest.approx(expected, abs=1e-9)


def test_moments_of_increasing_rows_average_to_all_cycles():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    A, B = X @ X.T, Y @ Y.T
    brute = [
        np.mean([A[i, j] * B[j, i] for i, j in permutations(range(6), 2)]),
        np.mean(
            [
                A[i, j] * B[j, k] * A[k, m] * B[m, i]
                for i, j, k, m in permutations(range(6), 4)
            ]
        ),
    ]
    orders = list(permutations(range(6)))
    found = np.mean(
        [cross_moments(A[np.ix_(o, o)], B[np.ix_(o, o)], 2) for o in orders], axis=0
    )
    assert found == pytest.approx(brute, rel=1e-10)


def test_the_jackknife_has_the_size_of_the_spread_over_draws():
    rng, moments, variances = np.random.default_rng(0), [], []
    for _ in range(150):
        X = rng.standard_normal((40, 2))
        Y = X + rng.standard_normal((40, 2))
        moments.append(cross_moments(X @ X.T, Y @ Y.T, 1)[0])
        variances.append(jackknife_covariance(X, Y, 1, np.arange(40))[0, 0])
    assert np.mean(variances) == pytest.approx(np.var(moments), rel=0.4)


def test_a_fraction_of_the_whitening():
    X = np.random.default_rng(0).standard_normal((50, 3)) * [1, 2, 5] + 7
    whole = whitened(X, 1.0)
    np.testing.assert_allclose(whole.T @ whole / 50, np.eye(3), atol=1e-12)
    part = whitened(X, 0.25)
    np.testing.assert_allclose(part, 0.75 * (X - X.mean(axis=0)) + 0.25 * whole)


def test_moments_have_less_bias_with_many_columns():
    """Independent columns: the true nuclear norm is 0, the angle pi / 2."""
    rng, plain, ours = np.random.default_rng(0), [], []
    for seed in range(12):
        X, Y = rng.standard_normal((2, 60, 20))
        plain.append(shape_distance(X, Y))
        ours.append(shape_distance(X, Y, estimator="moments", random_state=seed))
    assert np.mean(plain) < 1.2
    assert abs(np.mean(ours) - np.pi / 2) < 0.5 * abs(np.mean(plain) - np.pi / 2)


# --- invariants ---------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 12),
    st.integers(2, 12),
    st.sampled_from(["rbf", "laplacian"]),
)
def test_discrepancies_are_symmetric_and_none_of_equal_samples(seed, m, n, kernel):
    rng = np.random.default_rng(seed)
    # rounded, so that rows repeat
    X, Y = np.round(rng.standard_normal((m, 2)), 1), np.round(rng.uniform(size=(n, 2)))
    for estimator in ("unbiased", "v"):
        how = {"kernel": kernel, "estimator": estimator, "return_std": True}
        value, std = mmd(X, Y, **how)
        assert mmd(Y, X, **how) == pytest.approx((value, std), abs=1e-12)
        assert std >= 0
    assert mmd(X, Y, kernel=kernel, estimator="v") >= -1e-12
    order = rng.permutation(m)
    assert mmd(X, X[order], kernel=kernel, estimator="v") == pytest.approx(0, abs=1e-12)
    shifted = mmd(X + 3, Y + 3, kernel=kernel)
    assert shifted == pytest.approx(mmd(X, Y, kernel=kernel), abs=1e-12)
    scaled = mmd(4 * X, 4 * Y, kernel=kernel)  # the median rule follows the units
    assert scaled == pytest.approx(mmd(X, Y, kernel=kernel), abs=1e-12)


@pytest.mark.parametrize("block", [4, 2000])
def test_permutations_have_the_statistic_of_their_samples(samples, block, monkeypatch):
    monkeypatch.setattr(_discrepancy, "BLOCK", block)
    X, Y = samples[0][:9], samples[1][:7]
    Z = np.concatenate([X, Y])

    def linear(A, B):  # whose diagonal is not constant
        return A @ B.T

    labels = _discrepancy._shuffles(9, 7, 5, 0)
    for estimator in ("unbiased", "v"):
        found = _discrepancy._permuted(linear, Z, 9, labels, estimator == "unbiased")
        for column, value in zip(labels.T == 1, found, strict=True):
            expected = mmd(Z[column], Z[~column], kernel=linear, estimator=estimator)
            assert value == pytest.approx(expected, abs=1e-10)


def test_equal_samples_are_no_evidence():
    X = np.random.default_rng(0).standard_normal((20, 2))
    for estimator in ("unbiased", "v"):
        pvalue = mmd(X, X, estimator=estimator, return_pvalue=True, random_state=0)[1]
        assert pvalue > 0.9
    ones = mmd(np.ones((5, 1)), np.ones((5, 1)), return_std=True, return_pvalue=True)
    assert ones == (0.0, 0.0, 1.0)


def test_the_median_rule_is_the_root_of_half_the_median_square():
    X, Y = np.array([[0.0], [1.0]]), np.array([[3.0]])
    # distances 1, 2 and 3
    expected = mmd(X, Y, bandwidth=np.sqrt(2), estimator="v")
    assert mmd(X, Y, estimator="v") == pytest.approx(expected, abs=1e-15)


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: mmd(X, X[:, :1]), "the same columns"),
        (lambda X: mmd(X, X, kernel="linear"), "kernel must be one of"),
        (lambda X: mmd(X, X, bandwidth=0), "bandwidth must be"),
        (lambda X: mmd(X, X, bandwidth="mean"), "bandwidth must be"),
        (lambda X: mmd(X, X, estimator="b"), "estimator must be"),
        (lambda X: mmd(X[:1], X), "two rows"),
        (lambda X: mmd(X, X, kernel=lambda A, B: A), "one number per pair"),
        (lambda X: mmd(X, X * np.nan), "NaN"),
        (
            lambda X: mmd(X, X, return_pvalue=True, n_permutations=0),
            "n_permutations must",
        ),
        (lambda X: optimally_weighted_mmd(X, X[:3], X), "the same rows"),
        (lambda X: optimally_weighted_mmd(X, X - 9, X), "outside of"),
        (lambda X: optimally_weighted_mmd(X, X, X, u_kernel="linear"), "u_kernel"),
        (lambda X: optimally_weighted_mmd(X, X, X, u_bandwidth=-1), "u_bandwidth"),
        (lambda X: optimally_weighted_mmd(X, X, X, jitter="large"), "jitter must"),
        (
            lambda X: optimally_weighted_mmd(X, np.zeros((9, 1)), X, jitter=0.0),
            "singular",
        ),
        (lambda X: optimally_weighted_mmd(X, X, X, u_distribution="t"), "u_distrib"),
        (lambda X: shape_distance(X, X[:4]), "the same rows"),
        (lambda X: shape_distance(X[:2], X[:2]), "three rows"),
        (lambda X: shape_distance(X, X, kind="euclidean"), "kind must"),
        (lambda X: shape_distance(X, X, estimator="exact"), "estimator must"),
        (lambda X: shape_distance(X, X, whitening=2), "whitening must"),
        (lambda X: shape_distance(X, X, n_moments=0), "n_moments must"),
        (lambda X: shape_distance(X, X, bias_weight=0), "bias_weight must"),
        (lambda X: shape_distance(X, X * 0), "constant"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0).uniform(size=(9, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: mmd(X, X, kernel=lambda A, B: np.nan * A @ B.T), "NaN or infinity"),
        (lambda X: mmd(1e200 * X, X), "overflow"),
        (lambda X: mmd(X, X, bandwidth=np.ones(2)), "bandwidth must be"),
        (lambda X: optimally_weighted_mmd(X, X, X, u_bandwidth=None), "u_bandwidth"),
        (lambda X: optimally_weighted_mmd(X, X, X, jitter=None), "jitter must be"),
        (lambda X: shape_distance(X, X, estimator="moments"), "take fewer moments"),
        (lambda X: shape_distance(X, X, whitening=None), "whitening must"),
        (lambda X: shape_distance(X, X, n_moments=True), "n_moments must"),
        (lambda X: shape_distance(X, X, bias_weight=None), "bias_weight must"),
    ],
)
def test_what_has_no_value_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0).uniform(size=(11, 2)))


def dates(n):
    return np.arange(n).astype("datetime64[D]")[:, None]


@pytest.mark.parametrize(
    "call",
    [
        lambda X: mmd(dates(9), X),
        lambda X: optimally_weighted_mmd(X, X, dates(9)),
        lambda X: shape_distance(X, dates(9)),
    ],
)
def test_dates_are_refused(call):
    with pytest.raises(TypeError, match="dates"):
        call(np.random.default_rng(0).uniform(size=(9, 1)))


def test_frames_of_other_columns_are_refused():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(np.random.default_rng(0).uniform(size=(9, 2)), columns=["a", "b"])
    with pytest.raises(ValueError, match="the same order"):
        mmd(X, X[["b", "a"]])
    with pytest.raises(ValueError, match="the same order"):
        optimally_weighted_mmd(X, X.to_numpy(), X[["b", "a"]])
    assert mmd(X, X.to_numpy(), estimator="v") == pytest.approx(0, abs=1e-12)


def test_what_is_wrong_is_said_before_the_kernel_runs():
    def kernel(A, B):
        raise AssertionError

    X = np.zeros((4, 1))
    with pytest.raises(ValueError, match="two rows"):
        mmd(X[:1], X, kernel=kernel)
    with pytest.raises(ValueError, match="n_permutations"):
        mmd(X, X, kernel=kernel, return_pvalue=True, n_permutations=0)


def test_few_rows_have_few_moments():
    X = np.random.default_rng(0).standard_normal((12, 2))
    assert 0 <= shape_distance(X, X, estimator="moments", random_state=0) < np.pi
