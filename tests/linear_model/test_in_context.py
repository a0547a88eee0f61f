"""The network that reads small tables, judged by the exact mixture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff._base.weights import load_weights
from skdiff.linear_model import BayesianLinearMixture, InContextLinearRegressor
from skdiff.linear_model._in_context._network import Statistics, forward


def task(rng, n, d=None, shift=1.0):
    """A task that the network has not seen: Wishart covariance, random scales."""
    d = int(rng.integers(1, 9)) if d is None else d
    A = rng.normal(size=(d, d + 1))
    root = np.linalg.cholesky(A @ A.T / (d + 1) + 1e-6 * np.eye(d))
    w = rng.normal(size=d) * np.exp(rng.uniform(np.log(0.1), np.log(10)))
    noise = np.exp(rng.uniform(np.log(0.1), np.log(2))) * np.linalg.norm(root.T @ w)
    X, Z = rng.normal(size=(n, d)) @ root.T, shift * rng.normal(size=(40, d)) @ root.T
    offset = rng.normal()
    y = X @ w + offset + noise * rng.normal(size=n)
    return X, y, Z, Z @ w + offset + noise * rng.normal(size=40)


def compare(n_tasks, n=None, shift=1.0, n_blocks=None, seed=0):
    """Distance of means in standard deviations, log density lost, coverage."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n_tasks):
        X, y, Z, new = task(rng, n or int(rng.integers(5, 65)), shift=shift)
        exact = BayesianLinearMixture().fit(X, y)
        ours = InContextLinearRegressor(max_context=10**6, n_blocks=n_blocks)
        ours.fit(X, y)
        mean, std = exact.predict(Z, return_std=True)
        low, high = ours.predict_quantiles(Z, [0.05, 0.95]).T
        found.append(
            [
                np.mean(np.abs(ours.predict(Z) - mean) / std),
                np.mean(exact.log_prob(Z, new) - ours.log_prob(Z, new)),
                np.mean((low < new) & (new < high)),
            ]
        )
    return np.mean(found, axis=0)


# --- against the exact mixture --------------------------------------------------------


@pytest.mark.parametrize("n", [None, 5, 12, 64])
def test_it_is_close_to_the_exact_distributions(n):
    distance, lost, coverage = compare(60, n, seed=n or 0)
    assert distance <= 0.1
    assert lost <= 0.05
    assert 0.84 <= coverage <= 0.96


def test_it_degrades_little_on_shifted_rows_and_long_contexts():
    """``benchmarks/bench_in_context.py`` prints these figures for more tasks."""
    shifted, long = compare(40, shift=3.0), compare(40, 128)
    assert shifted[0] <= 0.2 and shifted[1] <= 0.1
    assert long[0] <= 0.1 and long[1] <= 0.05


def test_more_blocks_come_closer():
    distances = [compare(60, n_blocks=k)[0] for k in (0, 1, 3)]
    assert distances[0] > 1.5 * distances[1] and distances[1] > distances[2]


def test_the_card_tells_what_was_measured():
    weights = load_weights("in_context_linear")
    assert weights.card["scores"]["mean_distance"] <= 0.1
    assert weights.card["scores"]["log_density_gap"] <= 0.05
    assert weights.card["script"] == "tools/train_in_context.py"
    assert sum(a.nbytes for a in weights.arrays.values()) < 1e6


# --- exact properties -----------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 8))
def test_the_order_of_the_rows_changes_no_bit(seed, n, d):
    rng = np.random.default_rng(seed)
    X, y, Z, new = task(rng, n, d)
    X[: n // 3] = X[0]  # equal rows, too
    order = rng.permutation(n)
    a = InContextLinearRegressor().fit(X, y)
    b = InContextLinearRegressor().fit(X[order], y[order])
    for method in ("predict", "predict_quantiles", "log_prob"):
        more = {"predict_quantiles": ([0.1],), "log_prob": (new,)}.get(method, ())
        np.testing.assert_array_equal(
            getattr(a, method)(Z, *more), getattr(b, method)(Z, *more)
        )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-6, 6), st.floats(-6, 6))
def test_units_and_rotations_change_nothing(seed, power, width):
    rng = np.random.default_rng(seed)
    X, y, Z, new = task(rng, 15, 4)
    scale, unit = 10.0**power, 10.0**width
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0] * unit
    a = InContextLinearRegressor().fit(X, y)
    b = InContextLinearRegressor().fit(X @ turn, scale * y - 3 * scale)
    spread = a.predict(Z, return_std=True)[1]
    moved, std = b.predict(Z @ turn, return_std=True)
    np.testing.assert_allclose(std, scale * spread, rtol=1e-4)
    gap = moved / scale + 3 - a.predict(Z)
    assert np.abs(gap / spread).max() < 1e-4
    lost = b.log_prob(Z @ turn, scale * new - 3 * scale) + np.log(scale)
    np.testing.assert_allclose(lost, a.log_prob(Z, new), atol=1e-3)


def test_weights_count_rows():
    X, y, Z, _ = task(np.random.default_rng(0), 12, 3)
    w = np.random.default_rng(1).integers(0, 3, size=12)
    a = InContextLinearRegressor().fit(X, y, sample_weight=w)
    b = InContextLinearRegressor().fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(a.predict(Z), b.predict(Z), rtol=1e-6)


def test_the_density_integrates_to_one_and_has_its_quantiles():
    X, y, Z, _ = task(np.random.default_rng(2), 9, 3)
    model = InContextLinearRegressor().fit(X, y)
    row = Z[:1]
    mean, std = model.predict(row, return_std=True)
    grid = mean[0] + std[0] * np.linspace(-60, 60, 60_001)
    density = np.exp(model.log_prob(np.repeat(row, len(grid), 0), grid))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-3)
    assert np.trapezoid(density * grid, grid) == pytest.approx(
        mean[0], abs=1e-2 * std[0]
    )
    low, high = model.predict_quantiles(row, [0.05, 0.95])[0]
    within = (grid > low) & (grid < high)
    assert np.trapezoid(density[within], grid[within]) == pytest.approx(0.9, abs=5e-3)


def test_coefficients_give_the_means():
    X, y, Z, _ = task(np.random.default_rng(3), 20, 5)
    model = InContextLinearRegressor().fit(X, y)
    np.testing.assert_allclose(model.predict(Z), Z @ model.coef_ + model.intercept_)
    mixture = model._predictive(Z).mean() * model._state["height"]
    np.testing.assert_allclose(model.predict(Z), mixture, rtol=1e-9)


def test_many_clean_rows_are_least_squares():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(120, 4))
    y = X @ [1.0, -2.0, 0.5, 3.0] + 0.05 * rng.normal(size=120)
    model = InContextLinearRegressor(max_context=120).fit(X, y)
    np.testing.assert_allclose(
        model.coef_, LinearRegression().fit(X, y).coef_, atol=0.02
    )


def test_one_call_serves_many_tables():
    """What is predicted for a table does not depend on the tables beside it."""
    rng = np.random.default_rng(5)
    s = rng.dirichlet(np.ones(4), size=7)
    rho = rng.dirichlet(np.ones(5), size=7)
    seen = Statistics(s, rho[:, :4], rho[:, 4], rng.integers(6, 40, 7).astype(float))
    arrays = load_weights("in_context_linear").arrays
    together = forward(seen, arrays)
    for k in range(7):
        alone = forward(Statistics(*(part[k : k + 1] for part in seen)), arrays)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[k], b[0], rtol=2e-4)


# --- edges ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_rows_is_close_to_exact(n):
    X, y, Z, new = task(np.random.default_rng(6), n, 3)
    ours, exact = (
        InContextLinearRegressor().fit(X, y),
        BayesianLinearMixture().fit(X, y),
    )
    assert np.all(np.isfinite(ours.log_prob(Z, new)))
    mean, std = exact.predict(Z, return_std=True)
    assert np.mean(np.abs(ours.predict(Z) - mean) / std) < 0.2


def test_degenerate_tables_give_finite_numbers():
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(10, 3)), rng.normal(size=10)
    tables = [
        (np.ones((10, 3)), y),
        (X, np.full(10, 2.0)),
        (X[:, [0, 0, 1]], y),
        (X, X @ [1.0, 2.0, 3.0]),
        (X * [1, 1e-9, 1e9], y),
    ]
    for Z, target in tables:
        model = InContextLinearRegressor().fit(Z, target)
        mean, std = model.predict(Z, return_std=True)
        assert (
            np.all(np.isfinite(mean)) and np.all(np.isfinite(std)) and np.all(std > 0)
        )


def test_sizes_beyond_the_limits_are_named():
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="BayesianLinearMixture"):
        InContextLinearRegressor().fit(X[:30], y[:30])
    with pytest.warns(UserWarning, match="max_context=64"):
        InContextLinearRegressor().fit(X[:65, :4], y[:65])
    with pytest.raises(ValueError, match="max_features"):
        InContextLinearRegressor(max_features=17).fit(X[:30], y[:30])


def test_it_works_in_a_searched_pipeline():
    X, y = load_diabetes(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), InContextLinearRegressor(10, 500))
    search = GridSearchCV(
        pipe, {"incontextlinearregressor__n_blocks": [0, None]}, cv=3, n_jobs=2
    ).fit(X, y)
    assert search.best_score_ > 0.45
