"""Newton's method against scipy and closed forms."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from skdiff._convex._batched import Hessians, solve_systems
from skdiff._convex._losses import Logistic
from skdiff._convex._newton import (
    newton,
    newton_krylov,
    spd_solve,
)


def logistic_oracle(X, y, alpha):
    def oracle(w):
        value, first, second = Logistic().evaluate(X @ w, y, 2)
        H = (X.T * second) @ X + alpha * np.eye(X.shape[1])
        return value.sum() + alpha * w @ w / 2, X.T @ first + alpha * w, H

    return oracle


@pytest.fixture(scope="module")
def table():
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y.astype(float)


def test_newton_is_scikit_learns_optimum(table):
    X, y = table
    found = newton(logistic_oracle(X, y, 1.0), np.zeros(30))
    peer = LogisticRegression(fit_intercept=False, tol=1e-12, max_iter=10_000).fit(X, y)
    assert found.converged and found.gap <= 1e-6
    np.testing.assert_allclose(found.x, peer.coef_[0], atol=1e-5)


def test_newton_starts_anywhere(table):
    X, y = table
    oracle = logistic_oracle(X, y, 1.0)
    far = newton(oracle, np.full(30, 50.0))
    np.testing.assert_allclose(far.x, newton(oracle, np.zeros(30)).x, atol=1e-9)


def test_newton_reports_that_it_ran_out(table):
    found = newton(logistic_oracle(*table, 1.0), np.zeros(30), max_iter=2)
    assert not found.converged and found.n_iter == 2 and found.gap > 0.1


class Products:
    """The same objective, by products with its Hessian."""

    def __init__(self, X, y, alpha):
        self.X, self.y, self.alpha = X, y, alpha

    def value(self, w):
        return logistic_oracle(self.X, self.y, self.alpha)(w)[0]

    def derivatives(self, w):
        _, gradient, H = logistic_oracle(self.X, self.y, self.alpha)(w)
        return gradient, lambda v: H @ v, np.diag(H)


@pytest.mark.parametrize("decades", [0, 3])
def test_newton_krylov_is_newton(table, decades):
    X, y = table
    X = X * 10.0 ** np.linspace(-decades, decades, 30)
    exact = newton(logistic_oracle(X, y, 1.0), np.zeros(30))
    found = newton_krylov(Products(X, y, 1.0), np.zeros(30))
    assert found.converged and found.gap <= 1e-6
    assert found.objective == pytest.approx(exact.objective, rel=1e-12)
    np.testing.assert_allclose(X @ found.x, X @ exact.x, atol=1e-6)


def test_newton_krylov_reports_that_it_ran_out_or_has_no_minimum(table):
    found = newton_krylov(Products(*table, 1.0), np.zeros(30), max_iter=2)
    assert not found.converged and found.n_iter == 2 and found.gap > 0.1
    X = np.array([[-1.0], [1.0]])  # separable, without a penalty
    found = newton_krylov(Products(X, np.array([0.0, 1.0]), 0.0), np.zeros(1))
    assert not found.converged or found.objective < 1e-8


@pytest.mark.parametrize("decades", [0, 8])
def test_systems_of_badly_scaled_columns_are_solved(decades):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6)) * 10.0 ** np.linspace(-decades, decades, 6)
    H, want = X.T @ X, rng.normal(size=6) / 10.0 ** np.linspace(-decades, decades, 6)
    np.testing.assert_allclose(spd_solve(H, H @ want), want, rtol=1e-6)


def test_a_singular_system_gets_a_finite_answer():
    H = np.array([[1.0, 1.0], [1.0, 1.0]])
    x = spd_solve(H, np.array([2.0, 2.0]))
    np.testing.assert_allclose(H @ x, [2, 2], rtol=1e-6)


@pytest.mark.parametrize("d", [3, 130])  # tabulated pairs, and row by row
def test_batched_hessians_and_solves(d):
    rng = np.random.default_rng(0)
    X, s = rng.normal(size=(40, d)), rng.uniform(size=40)
    D = rng.uniform(size=(5, 40))
    H = Hessians(X, s)(D)
    for k in range(5):
        np.testing.assert_allclose(H[k], X.T @ np.diag(D[k] * s) @ X, atol=1e-12)
    H = H + np.eye(d)
    B = rng.normal(size=(5, d, 2))
    np.testing.assert_allclose(H @ solve_systems(H, B), B, atol=1e-9)


def test_a_singular_system_does_not_spoil_its_batch():
    H = np.stack([np.eye(2), np.zeros((2, 2)), 2 * np.eye(2)])
    x = solve_systems(H, np.ones((3, 2, 1)))
    np.testing.assert_allclose(x[[0, 2], 0, 0], [1, 0.5])
