"""Proximal operators and proximal Newton against cvxpy and scikit-learn."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import Lasso

from skdiff._convex import _prox
from skdiff._convex._losses import Logistic, Poisson, Squared
from skdiff._convex._prox_newton import Penalised, prox_newton
from tests._versions import logistic_regression

rows = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(2, 6)),
    elements=st.floats(-5, 5),
)


@given(X=rows, strength=st.floats(0, 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_soft_thresholding_solves_its_problem(X, strength):
    shrunk = _prox.soft_threshold(X, strength)
    # 0 lies in (z - x) + strength * sign(z)
    off = np.abs(shrunk - X + strength * np.sign(shrunk))
    assert (np.where(shrunk != 0, off, np.abs(X) - strength) <= 1e-12).all()


def table(kind, seed=0):
    rng = np.random.default_rng(seed)
    n, d = (30, 60) if kind == "wide" else (120, 8)
    X = rng.normal(size=(n, d))
    if kind == "collinear":
        X[:, 3] = X[:, 2] + 1e-6 * rng.normal(size=n)
    if kind == "constant":
        X[:, 4] = 1.0
    y = (X[:, 0] - X[:, 1] + (kind != "separable") * rng.normal(size=n) > 0).astype(
        float
    )
    s = rng.uniform(0.1, 2, n) if kind == "weighted" else np.ones(n)
    return X, y, s / s.sum()


KINDS = ["plain", "wide", "collinear", "constant", "separable", "weighted"]


def reference(problem):
    w = cp.Variable(problem.X.shape[1])
    f = problem.X @ w
    if isinstance(problem.loss, Logistic):
        loss = problem.s @ (cp.logistic(f) - cp.multiply(problem.y, f))
    elif isinstance(problem.loss, Squared):
        loss = problem.s @ cp.square(f - problem.y) / 2
    groups = problem.groups or [[k] for k in range(problem.X.shape[1])]
    lasso = sum(a * cp.norm2(w[g]) for a, g in zip(problem.lasso, groups, strict=True))
    ridge = problem.ridge @ cp.square(w) / 2
    statement = cp.Problem(cp.Minimize(loss + lasso + ridge))
    options = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-11)
    return statement.solve("CLARABEL", **options), w.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.05])
def test_prox_newton_agrees_with_cvxpy(kind, grouped, ridge):
    X, y, s = table(kind)
    d = X.shape[1]
    groups = [list(range(k, k + 2)) for k in range(0, d, 2)] if grouped else None
    lasso = np.full(d // 2 if grouped else d, 0.02)
    if kind != "separable":  # which has no minimiser without a penalty
        lasso[0] = 0.0  # as an intercept would be
    problem = Penalised(X, y, s, Logistic(), lasso, np.full(d, ridge), groups)
    found = prox_newton(problem, tol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is often inaccurate; the margins allow it
        best, w = reference(problem)
    assert found.converged and found.gap < 1e-7
    assert found.objective <= best * (1 + 1e-8) + 1e-10
    if kind not in ("collinear",):
        np.testing.assert_allclose(found.x, w, atol=2e-4)


def test_lasso_is_scikit_learns():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 20)), rng.normal(size=80)
    peer = Lasso(alpha=0.1, fit_intercept=False, tol=1e-12).fit(X, y)
    s = np.full(80, 1 / 80)
    problem = Penalised(X, y, s, Squared(), np.full(20, 0.1), np.zeros(20))
    np.testing.assert_allclose(prox_newton(problem).x, peer.coef_, atol=1e-7)


def test_sparse_logistic_is_liblinears():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    peer = logistic_regression(
        C=0.1, l1_ratio=1.0, solver="liblinear", fit_intercept=False, tol=1e-10,
        max_iter=10_000,
    ).fit(X, y)  # fmt: skip
    s = np.full(569, 1 / 569)
    lasso = np.full(30, 1 / 569 / 0.1)
    problem = Penalised(X, y.astype(float), s, Logistic(), lasso, np.zeros(30))
    found = prox_newton(problem)
    np.testing.assert_allclose(found.x, peer.coef_[0], atol=1e-4)
    assert set(np.flatnonzero(found.x)) == set(np.flatnonzero(peer.coef_[0]))


def test_poisson_under_a_penalty_meets_its_conditions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    y = rng.poisson(np.exp(0.5 * X[:, 0])).astype(float)
    s = np.full(200, 1 / 200)
    problem = Penalised(X, y, s, Poisson(), np.full(6, 0.05), np.zeros(6))
    found = prox_newton(problem, tol=1e-10)
    _, gradient, _ = problem.smooth(found.x)
    assert problem.violation(found.x, gradient).max() < 1e-9
    assert found.converged and found.x[0] > 0.3


def test_running_out_is_said():
    X, y, s = table("plain")
    problem = Penalised(X, y, s, Logistic(), np.full(8, 1e-4), np.zeros(8))
    found = prox_newton(problem, max_iter=1, tol=1e-12)
    assert not found.converged and found.gap > 1e-8
