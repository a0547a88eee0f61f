"""Bayesian linear regression averaged over a grid of scales."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t, norm, t
from sklearn.datasets import load_diabetes
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.linear_model import BayesianLinearMixture


def table(seed, n=9, p=3, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * rng.uniform(0.5, 2) + rng.normal()
    return X, X @ rng.normal(size=p) + noise * rng.normal(size=n) + 3.0


def cells(model):
    """Prior scale, noise and weight of every cell."""
    for i, tau in enumerate(model.scales_):
        for j, sigma in enumerate(model.noises_):
            yield tau, sigma, model.weights_[i, j]


@pytest.mark.parametrize("dof", [4.0, 1.5, np.inf])
def test_marginal_likelihood_and_weights_are_those_of_multivariate_t(dof):
    X, y = table(0)
    model = BayesianLinearMixture(4, 5, fit_intercept=False, dof=dof).fit(X, y)
    logs = []
    for tau, sigma, _ in cells(model):
        shape = sigma**2 * np.eye(len(y)) + tau**2 * X @ X.T
        law = (
            multivariate_normal(np.zeros(len(y)), shape)
            if np.isinf(dof)
            else multivariate_t(np.zeros(len(y)), shape, df=dof)
        )
        logs.append(law.logpdf(y))
    logs = np.array(logs)
    np.testing.assert_allclose(
        model.weights_.ravel(), np.exp(logs - logsumexp(logs)), rtol=1e-8
    )
    assert model.log_marginal_likelihood_ == pytest.approx(
        logsumexp(logs) - np.log(20), rel=1e-10
    )


def test_a_flat_intercept_is_the_limit_of_a_wide_one():
    X, y = table(1)
    model = BayesianLinearMixture(3, 3, dof=np.inf).fit(X, y)
    wide, logs = 1e3, []
    for tau, sigma, _ in cells(model):
        shape = sigma**2 * np.eye(len(y)) + tau**2 * X @ X.T + wide**2
        sign, log_det = np.linalg.slogdet(2 * np.pi * shape)
        assert sign == 1
        logs.append(-0.5 * (log_det + y @ np.linalg.solve(shape, y)))
    # the flat prior has density one, the wide one its own at the intercept
    expected = logsumexp(logs) - np.log(9) - norm.logpdf(0, scale=wide)
    assert model.log_marginal_likelihood_ == pytest.approx(expected, abs=1e-3)


def test_the_predictive_density_is_a_ratio_of_marginal_likelihoods():
    X, y = table(2)
    model = BayesianLinearMixture(3, 4, fit_intercept=False).fit(X, y)
    x_new, y_new = np.array([[0.3, -1.0, 2.0]]), 1.7
    both, before = [], []
    for tau, sigma, _ in cells(model):
        Z, target = np.vstack([X, x_new]), np.append(y, y_new)
        shape = sigma**2 * np.eye(len(target)) + tau**2 * Z @ Z.T
        both.append(multivariate_t(np.zeros(len(target)), shape, df=4).logpdf(target))
        part = multivariate_t(np.zeros(len(y)), shape[:-1, :-1], df=4)
        before.append(part.logpdf(y))
    expected = logsumexp(both) - logsumexp(before)
    assert model.log_prob(x_new, [y_new])[0] == pytest.approx(expected, rel=1e-9)


def test_one_column_equals_quadrature():
    X, y = table(3, n=6, p=1)
    model = BayesianLinearMixture(2, 2, fit_intercept=False, dof=np.inf).fit(X, y)
    x = np.array([[1.3]])
    total, mean = 0.0, 0.0
    for tau, sigma, _ in cells(model):

        def density(w, tau=tau, sigma=sigma):
            rows = norm.logpdf(y, X[:, 0] * w, sigma).sum()
            return np.exp(rows + norm.logpdf(w, 0, tau))

        around = LinearRegression(fit_intercept=False).fit(X, y).coef_[0]
        span = {"points": [around, 0.0], "limit": 400, "epsabs": 0}
        total += quad(density, -20, 20, **span)[0]
        mean += quad(lambda w, f=density: 1.3 * w * f(w), -20, 20, **span)[0]
    assert model.predict(x)[0] == pytest.approx(mean / total, rel=1e-5)


def test_quantiles_and_moments_are_those_of_draws():
    X, y = table(4, n=5)
    model = BayesianLinearMixture(5, 5).fit(X, y)
    rng, x = np.random.default_rng(0), X[:1] + 1.0
    part = model._mixtures(x)[0]
    cell = rng.choice(len(part.weights), size=400_000, p=part.weights)
    draws = part.means[0, cell] + part.scales[0, cell] * rng.standard_t(
        part.dof, size=len(cell)
    )
    draws *= model._state["heights"][0]
    levels = [0.05, 0.5, 0.9]
    found = model.predict_quantiles(x, levels)[0]
    spread = draws.std()
    np.testing.assert_allclose(found, np.quantile(draws, levels), atol=0.02 * spread)
    mean, std = model.predict(x, return_std=True)
    assert mean[0] == pytest.approx(draws.mean(), abs=0.02 * spread)
    assert std[0] == pytest.approx(spread, rel=0.05)


def test_one_cell_has_the_quantiles_of_student_t():
    X, y = table(5)
    model = BayesianLinearMixture(1, 1).fit(X, y)
    part = model._mixtures(X)[0]
    height = model._state["heights"][0]
    for level in (1e-6, 0.3, 0.999):
        expected = part.means + part.scales * t(part.dof).ppf(level)
        np.testing.assert_allclose(
            model.predict_quantiles(X, level), height * expected, rtol=1e-8
        )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(-6, 6), st.floats(-6, 6))
def test_units_change_nothing(seed, a, b):
    X, y = table(seed)
    plain = BayesianLinearMixture(5, 5).fit(X, y)
    other = BayesianLinearMixture(5, 5).fit(X * 10**a, y * 10**b)
    np.testing.assert_allclose(other.weights_, plain.weights_, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(
        other.predict_quantiles(X * 10**a, [0.1, 0.9]) / 10**b,
        plain.predict_quantiles(X, [0.1, 0.9]),
        rtol=1e-6,
        atol=1e-8,
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_weights_are_repeated_rows(seed):
    X, y = table(seed)
    weight = np.random.default_rng(seed).integers(0, 3, len(y))
    weight[:2] = 1
    weighted = BayesianLinearMixture(4, 4).fit(X, y, weight)
    repeated = BayesianLinearMixture(4, 4).fit(
        np.repeat(X, weight, axis=0), np.repeat(y, weight)
    )
    np.testing.assert_allclose(weighted.weights_, repeated.weights_, rtol=1e-7)
    assert weighted.log_marginal_likelihood_ == pytest.approx(
        repeated.log_marginal_likelihood_, rel=1e-9
    )
    np.testing.assert_allclose(
        weighted.predict(X, return_std=True),
        repeated.predict(X, return_std=True),
        rtol=1e-7,
    )


def test_many_rows_give_least_squares():
    X, y = table(6, n=4000)
    model = BayesianLinearMixture().fit(X, y)
    peer = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=2e-3)


def test_more_columns_than_rows_and_a_constant_target():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 40))
    model = BayesianLinearMixture().fit(X, X[:, 0])
    mean, std = model.predict(rng.normal(size=(5, 40)) * 5, return_std=True)
    assert np.isfinite(mean).all() and np.all(std > 0)
    constant = BayesianLinearMixture().fit(X, np.full(6, 100.0))
    np.testing.assert_array_equal(constant.predict(X[:2] + 3), 100.0)


def test_several_targets_are_fitted_one_by_one():
    X, y = table(7)
    both = np.c_[y, y**2]
    model = BayesianLinearMixture(4, 4).fit(X, both)
    single = BayesianLinearMixture(4, 4).fit(X, y**2)
    assert model.weights_.shape == (2, 4, 4) and model.coef_.shape == (2, 3)
    assert model.predict_quantiles(X, [0.1, 0.5, 0.9]).shape == (len(y), 3, 2)
    np.testing.assert_allclose(model.weights_[1], single.weights_)
    np.testing.assert_allclose(model.log_prob(X, both)[:, 1], single.log_prob(X, y**2))


def test_covers_where_one_pair_of_scales_does_not():
    rng, scores, inside = np.random.default_rng(0), [], []
    for _ in range(60):
        w, noise = rng.normal(size=10), 10 ** rng.uniform(-1, np.log10(2))
        X, Z = rng.normal(size=(12, 10)), rng.normal(size=(20, 10))
        y = X @ w + noise * rng.normal(size=12)
        y_new = Z @ w + noise * rng.normal(size=20)
        ours = BayesianLinearMixture(fit_intercept=False).fit(X, y)
        low, high = ours.predict_quantiles(Z, [0.05, 0.95]).T
        mean, std = BayesianRidge(fit_intercept=False).fit(X, y).predict(Z, True)
        inside.append(
            [
                np.mean((low < y_new) & (y_new < high)),
                np.mean(np.abs(y_new - mean) < 1.645 * std),
            ]
        )
        scores.append(
            [ours.log_prob(Z, y_new).mean(), norm.logpdf(y_new, mean, std).mean()]
        )
    ours, peer = np.mean(inside, axis=0)
    assert 0.86 <= ours <= 0.93 and peer < 0.8
    assert np.mean(scores, axis=0)[0] > -1.7


def test_in_a_pipeline_under_a_grid_search():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), BayesianLinearMixture())
    grid = {"bayesianlinearmixture__dof": [4.0, np.inf]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X[:150], y[:150])
    assert search.best_score_ > 0.3


def test_bad_queries_are_refused():
    X, y = table(0)
    model = BayesianLinearMixture(2, 2).fit(X, y)
    with pytest.raises(ValueError, match="shape"):
        model.log_prob(X, y[:-1])
    with pytest.raises(ValueError, match="q must be"):
        model.predict_quantiles(X, 1.0)
