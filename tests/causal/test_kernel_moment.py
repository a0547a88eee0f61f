"""Kernel method of moments: the dual against cvxpy, rivals, networks."""

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.causal import KernelMomentRegressor
from skdiff.causal._kernel_moment._dual import (
    Dual,
    Linear,
    Weights,
    linear_start,
    minimise,
    moment_criterion,
)
from skdiff.causal._kernel_moment._features import bandwidth, cosines, ranked


def spread(seed, n=100):
    """Noise that grows with t; the specification's design."""
    rng = np.random.default_rng(seed)
    t = np.exp(rng.uniform(-1.5, 1.5, n))
    return t[:, None], 1.7 * t + t**2 * rng.normal(size=n)


def problem(seed, n=30, sizes=(4, 3), weights=(0.7, 0.5, 0.1)):
    rng = np.random.default_rng(seed)
    F, H = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[1]))
    dual = Dual(F, rng.normal(size=(5, sizes[0])).mean(axis=0), H, Weights(*weights))
    return dual, rng


@pytest.mark.parametrize(
    "weights", [(0.7, 0.5, 0.1), (0.05, 1.0, 1e-3), (5.0, 2.0, 3.0)]
)
def test_the_dual_is_that_of_cvxpy(weights):
    cp = pytest.importorskip("cvxpy")
    dual, rng = problem(0, weights=weights)
    psi = rng.normal(size=30)
    value, p, h = dual.solve(psi)
    a, b = cp.Variable(4), cp.Variable(3)
    eps, rho, lam = weights
    u = (dual.F @ a - cp.multiply(psi, dual.H @ b)) / eps
    objective = dual.mean @ a - eps * (cp.log_sum_exp(u) - np.log(30))
    objective -= rho / 2 * cp.sum_squares(a) + lam / 2 * cp.sum_squares(b)
    best = cp.Problem(cp.Maximize(objective)).solve(solver="CLARABEL")
    assert value == pytest.approx(best, rel=1e-6, abs=1e-8)
    assert p.sum() == pytest.approx(1.0) and p.min() > 0
    # stationarity in b, and what p must satisfy
    np.testing.assert_allclose(dual.H.T @ (p * psi), lam * dual.at[4:], atol=1e-7)
    np.testing.assert_allclose(h, dual.H @ b.value, atol=1e-3)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(-3, 1), st.floats(-4, 1))
def test_the_envelope_gives_the_gradient(seed, entropy, penalty):
    dual, rng = problem(seed, weights=(10**entropy, 1.0, 10**penalty))
    model = Linear(rng.normal(size=(30, 2)), rng.normal(size=30), 1.3)
    theta = rng.normal(size=2)

    def value(theta):
        return dual.solve(model.residuals(theta))[0]

    _, p, h = dual.solve(model.residuals(theta))
    gradient = model.pull(theta, p * h)
    steps = 1e-5 * np.eye(2)
    numeric = [(value(theta + s) - value(theta - s)) / 2e-5 for s in steps]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-6)
    assert value(theta) >= -1e-12  # a = b = 0 gives zero


def test_the_search_ends_at_a_stationary_point():
    X, y = spread(0)
    H = cosines(ranked(X, X), 20, np.random.RandomState(0)).of(ranked(X, X))
    model = Linear(X, y, float(y.std()))
    dual = Dual(H[:, :5], H[:, :5].mean(axis=0), H, Weights(1.0, 1.0, 1e-2))
    fit = minimise(model, dual, linear_start(model, H), 200, 1e-9)
    assert fit.converged
    for shift in (-0.01, 0.01):
        assert dual.solve(model.residuals(fit.theta + shift))[0] > fit.objective
    grid = np.linspace(-2, 5, 141)
    values = [dual.solve(model.residuals(np.array([b])))[0] for b in grid]
    assert fit.objective <= min(values) + 1e-12


def errors(n, runs, **how):
    """Squared errors of least squares, two-step moments and ours."""
    found = []
    for seed in range(runs):
        X, y = spread(seed, n)
        model = KernelMomentRegressor(fit_intercept=False, random_state=seed, **how)
        ours = model.fit(X, y, instruments=X).coef_[0]
        H = cosines(ranked(X, X), 30, np.random.RandomState(seed)).of(ranked(X, X))
        gmm = linear_start(Linear(X, y, 1.0), H)[0]
        ols = LinearRegression(fit_intercept=False).fit(X, y).coef_[0]
        found.append([(b - 1.7) ** 2 for b in (ols, gmm, ours)])
    return np.median(found, axis=0)


def test_the_penalty_decides():
    small = errors(100, 30, instrument_penalty=1e-4)
    large = errors(100, 30, instrument_penalty=1e-1)
    assert small[2] <= 0.003 and large[2] >= 5 * small[2]
    assert small[0] >= 0.15
    assert max(small[1:]) < small[0] / 20


@pytest.mark.slow
def test_beats_least_squares_and_two_steps_with_its_penalty_chosen():
    ols, gmm, ours = errors(100, 60)
    assert ours <= 0.003 and gmm <= 0.005 and ols >= 0.15
    assert ours < gmm < ols


@pytest.mark.slow
def test_fifty_rows():
    ols, gmm, ours = errors(50, 60)
    assert ours <= gmm < ols


def test_cross_validation_takes_a_small_penalty_where_noise_spreads():
    chosen = []
    for seed in range(6):
        X, y = spread(seed)
        model = KernelMomentRegressor(fit_intercept=False, random_state=0)
        model.fit(X, y, instruments=X)
        assert list(model.criteria_) == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
        assert model.criteria_[model.instrument_penalty_] == min(
            model.criteria_.values()
        )
        chosen.append(model.instrument_penalty_)
    assert np.median(chosen) <= 1e-3


def test_the_criterion_is_least_for_true_residuals():
    X, y = spread(3, 400)
    Z = ranked(X, X)
    slopes = 1.7 + np.linspace(-0.4, 0.4, 41)
    found = [moment_criterion(y - b * X[:, 0], Z, bandwidth(Z)) for b in slopes]
    assert abs(slopes[np.argmin(found)] - 1.7) < 0.15


def endogenous(rng, n, f, strength=1.5):
    """A hidden cause of x and y; the instrument moves x."""
    z, hidden = rng.uniform(-2, 2, n), rng.normal(size=n)
    x = z + 0.7 * hidden + 0.2 * rng.normal(size=n)
    return x[:, None], f(x) + strength * hidden + 0.2 * rng.normal(size=n), z


def test_instruments_remove_the_bias():
    found = []
    for seed in range(8):
        X, y, z = endogenous(np.random.default_rng(seed), 400, lambda x: 2 * x + 1)
        model = KernelMomentRegressor(instrument_penalty=1e-2, random_state=0)
        model.fit(X, y, instruments=z)
        ols = LinearRegression().fit(X, y)
        found.append([model.coef_[0], model.intercept_, ols.coef_[0]])
    slope, constant, biased = np.mean(found, axis=0)
    assert slope == pytest.approx(2, abs=0.05) and constant == pytest.approx(1, abs=0.1)
    assert biased > 2.3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_learns_a_curve():
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
    before = [p.detach().clone() for p in module.parameters()]
    grid, errors = np.linspace(-1.8, 1.8, 30)[:, None], []
    for seed in range(3):
        X, y, z = endogenous(np.random.default_rng(seed), 500, np.abs, strength=2.0)
        found = []
        for tools in (z, X):  # X as its own instrument is least squares in kind
            model = KernelMomentRegressor(
                module, instrument_penalty=1e-2, max_iter=100, random_state=0
            ).fit(X, y, instruments=tools)
            away = model.predict(grid) - np.abs(grid[:, 0])
            found.append(np.mean(away**2))
        errors.append(found)
    ours, biased = np.array(errors).T
    assert np.all(ours < 0.5 * biased)
    after = module.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not hasattr(model, "coef_")


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.floats(-4, 4), st.floats(-4, 4))
def test_units_change_nothing(seed, a, b):
    rng = np.random.default_rng(seed)
    X, y, z = endogenous(rng, 60, lambda x: 2 * x)
    how = {"instrument_penalty": 1e-2, "random_state": 0, "n_components_dual": 20}
    plain = KernelMomentRegressor(**how).fit(X, y, instruments=z)
    scaled = KernelMomentRegressor(**how)
    # ranks: any rising map of an instrument is the same instrument
    scaled.fit(X * 10**a, y * 10**b + 3, instruments=np.exp(z))
    np.testing.assert_allclose(
        scaled.coef_ * 10 ** (a - b), plain.coef_, rtol=1e-4, atol=1e-5
    )


def test_other_reference_rows_and_seeds():
    X, y, z = endogenous(np.random.default_rng(1), 200, lambda x: 2 * x)
    how = {"instrument_penalty": 1e-2, "random_state": 3}
    data = KernelMomentRegressor(**how).fit(X, y, instruments=z)
    again = KernelMomentRegressor(**how).fit(X, y, instruments=z)
    np.testing.assert_array_equal(data.coef_, again.coef_)
    noisy = KernelMomentRegressor(reference="kde", **how).fit(X, y, instruments=z)
    assert noisy.coef_[0] == pytest.approx(data.coef_[0], abs=0.3)
    assert noisy.coef_[0] != data.coef_[0]


def test_bad_input_is_named():
    X, y, z = endogenous(np.random.default_rng(0), 40, lambda x: x)
    model = KernelMomentRegressor(instrument_penalty=0.1)
    with pytest.raises(ValueError, match="needs `instruments`"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="instruments never vary"):
        model.fit(X, y, instruments=np.ones(40))
    with pytest.raises(ValueError, match="instruments contains NaN"):
        model.fit(X, y, instruments=np.where(z > 0, np.nan, z))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(X, y, instruments=z[:-1])
    few = KernelMomentRegressor(n_components_instrument=1)
    with pytest.raises(ValueError, match="1 functions of the instruments for 2 coef"):
        few.fit(X, y, instruments=z)


def test_instruments_are_routed_through_a_search(child):
    X, _ = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    hidden = rng.normal(scale=0.05, size=len(X))
    x = (X[:, 2] + hidden)[:, None]
    y = 3 * x[:, 0] - 4 * hidden
    with sklearn.config_context(enable_metadata_routing=True):
        model = KernelMomentRegressor(
            n_components_dual=10, n_components_instrument=20, random_state=0
        ).set_fit_request(instruments=True)
        grid = {"kernelmomentregressor__instrument_penalty": [1e-2, 1e-1]}
        search = GridSearchCV(
            make_pipeline(StandardScaler(), model), grid, cv=2, n_jobs=2
        )
        with joblib.parallel_config(backend="child"):
            search.fit(x, y, instruments=X[:, [2]])
    best = search.best_estimator_[-1]
    slope, biased = best.coef_[0] / x.std(), np.cov(x[:, 0], y)[0, 1] / x.var()
    assert abs(slope - 3) < 0.35 * abs(biased - 3)
