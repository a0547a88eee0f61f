"""Warm and cold starts of inner problems, against closed forms.

Vicol et al. (2022), arXiv 2212.14032: where the inner solution is unique a warm start
saves time; where it is not, it changes the answer.
"""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes, load_iris
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC, LinearSVR

from skdiff.linear_model import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)
from skdiff.model_selection import (
    Continuous,
    GradientSearchCV,
    InnerProblem,
    inner_problem,
)
from skdiff.model_selection._gradient._inner._network import neumann

# --- 1. strongly convex: a warm start changes time, never the answer ------------------


def numbers():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def three():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


def two():
    X, y = numbers()
    return X, y > 0


def sparse_numbers():
    X, y = numbers()
    return sparse.csr_array(X * (np.abs(X) > 0.7)), y


EACH = Continuous(1e-2, 1e2, per="feature")
CONVEX = {
    "ridge": (Ridge(), {"alpha": loguniform(1e-1, 1e4)}, numbers),
    "ridge, sparse": (Ridge(), {"alpha": loguniform(1e-1, 1e4)}, sparse_numbers),
    "lasso": (Lasso(), {"alpha": loguniform(1e-3, 1)}, numbers),
    "elastic net": (ElasticNet(), {"alpha": loguniform(1e-3, 1)}, numbers),
    "kernel ridge": (
        KernelRidge(kernel="rbf", gamma=0.02),
        {"alpha": loguniform(1e-3, 1e2)},
        numbers,
    ),
    "logistic": (LogisticRegression(), {"C": loguniform(1e-4, 1e1)}, two),
    "multinomial": (LogisticRegression(), {"C": loguniform(1e-2, 1e4)}, three),
    "SVC": (LinearSVC(), {"C": loguniform(1e-4, 1e1)}, two),
    "SVR": (
        LinearSVR(loss="squared_epsilon_insensitive"),
        {"C": loguniform(1e-4, 1e1)},
        numbers,
    ),
    "ridge per feature": (WeightedRidge(), {"alpha": EACH}, numbers),
    "logistic per feature": (
        WeightedLogisticRegression(),
        {"C": Continuous(1e-3, 1e1, per="feature")},
        two,
    ),
    "elastic net per feature": (
        WeightedElasticNet(l1_ratio=0.5),
        {"alpha": Continuous(1e-3, 1e-1, per="feature")},
        numbers,
    ),
}


@pytest.mark.parametrize("name", CONVEX)
def test_a_warm_start_changes_no_unique_answer(name):
    estimator, intervals, make = CONVEX[name]
    X, y = make()
    warm, cold = (
        GradientSearchCV(
            estimator,
            intervals,
            cv=3,
            tol=1e-7,
            inner_tol=1e-10,
            max_iter=200,
            warm_start_inner=start,
        ).fit(X, y)
        for start in (True, False)
    )
    (key,) = intervals
    np.testing.assert_allclose(
        np.log(warm.best_params_[key]), np.log(cold.best_params_[key]), atol=1e-5
    )
    assert warm.best_score_ == pytest.approx(cold.best_score_, rel=1e-8)


# --- 3. an inner problem with fewer rows than columns ---------------------------------


def system(theta, rng=0):
    """Rows and targets that turn with theta."""
    rng = np.random.default_rng(rng)
    Phi, turn = rng.normal(size=(2, 3, 16))
    y, shift = rng.normal(size=(2, 3))
    return Phi + theta * turn, y + theta * shift


def descend(Phi, y, w, tol=1e-12):
    """Gradient descent on half the squares."""
    step = 1 / np.linalg.norm(Phi, 2) ** 2
    for n_iter in range(100_000):  # noqa: B007 - returned
        gradient = Phi.T @ (Phi @ w - y)
        if np.linalg.norm(gradient) <= tol:
            break
        w = w - step * gradient
    return w, n_iter


def test_descent_goes_to_the_nearest_solution():
    rng = np.random.default_rng(1)
    Phi, y = system(0.3)
    w0 = rng.normal(size=16)
    w, _ = descend(Phi, y, w0)
    want = w0 + np.linalg.pinv(Phi) @ (y - Phi @ w0)
    np.testing.assert_allclose(w, want, atol=1e-10)
    np.testing.assert_allclose(Phi @ w, y, atol=1e-10)
    # no other solution is nearer
    kernel = np.eye(16) - np.linalg.pinv(Phi) @ Phi
    others = w + rng.normal(size=(50, 16)) @ kernel
    assert (np.linalg.norm(others - w0, axis=1) >= np.linalg.norm(w - w0)).all()


class Turning(RegressorMixin, BaseEstimator):
    """Weights of ``system(theta)``; an outer value has many of them."""

    def __init__(self, theta=0.0):
        self.theta = theta

    def fit(self, X, y):
        self.w_ = descend(*system(self.theta), np.zeros(16))[0]
        return self

    def predict(self, X):
        return X @ self.w_


class TurningProblem(InnerProblem):
    parameters = {"theta": (None,)}
    warm = False

    def solve(self, theta, w0, tol):
        return descend(*system(theta["theta"]), np.zeros(16) if w0 is None else w0)

    def solve_hessian(self, w, theta, rhs, tol):
        Phi, _ = system(theta["theta"])
        return np.linalg.pinv(Phi.T @ Phi) @ rhs

    def cross(self, w, theta, q):
        (Phi, y), (Phi1, y1) = system(theta["theta"]), system(theta["theta"] + 1)
        turn, shift = Phi1 - Phi, y1 - y
        return {"theta": q @ (turn.T @ (Phi @ w - y) + Phi.T @ (turn @ w - shift))}

    def predict(self, w, X):
        return X @ w


def alternate(thetas, w, n_rounds):
    """Warm starts, one outer value after another."""
    for _ in range(n_rounds):
        for theta in thetas:
            w, _ = TurningProblem(Turning()).solve({"theta": theta}, w, 1e-12)
    return w


def test_a_cold_start_forgets_and_a_warm_start_projects():
    Phi, y = system(0.2)
    w0 = np.random.default_rng(2).normal(size=16)
    problem = TurningProblem(Turning())
    cold, _ = problem.solve({"theta": 0.2}, None, 1e-12)
    np.testing.assert_allclose(cold, np.linalg.pinv(Phi) @ y, atol=1e-10)
    warm, _ = problem.solve({"theta": 0.2}, w0, 1e-12)
    np.testing.assert_allclose(
        warm, w0 + np.linalg.pinv(Phi) @ (y - Phi @ w0), atol=1e-10
    )
    again, n_iter = problem.solve({"theta": 0.2}, warm, 1e-11)
    np.testing.assert_allclose(again, warm, atol=1e-10)
    assert n_iter == 0  # a projection


def test_warm_starts_alternate_to_a_point_of_both_systems():
    # Kaczmarz: 3 + 3 rows of 16 columns intersect, and the limit is the nearest point
    (Phi, y), (other, z) = system(0.0), system(1.0)
    both, targets = np.vstack([Phi, other]), np.concatenate([y, z])
    w0 = np.random.default_rng(3).normal(size=16)
    w = alternate([0.0, 1.0], w0, 400)
    np.testing.assert_allclose(both @ w, targets, atol=1e-7)
    want = w0 + np.linalg.pinv(both) @ (targets - both @ w0)
    np.testing.assert_allclose(w, want, atol=1e-7)
    # the cold solution of the last value knows nothing of the first
    cold = np.linalg.pinv(other) @ z
    assert np.linalg.norm(Phi @ cold - y) > 0.1 * np.linalg.norm(y)
    # the error of a round is the squared cosine of the angle between the row spaces
    bases = [np.linalg.qr(A.T)[0] for A in (Phi, other)]
    cosine = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)[0]
    errors = [np.linalg.norm(alternate([0.0, 1.0], w0, k) - want) for k in (40, 41)]
    assert errors[1] / errors[0] == pytest.approx(cosine**2, rel=0.01)


def test_the_implicit_slope_is_that_of_a_warm_solution():
    rng = np.random.default_rng(6)
    problem, gradient, eps = TurningProblem(Turning()), rng.normal(size=16), 1e-5
    theta = {"theta": 0.4}
    w, _ = problem.solve(theta, None, 1e-12)
    q = problem.solve_hessian(w, theta, gradient, 1e-12)
    implicit = -problem.cross(w, theta, q)["theta"]

    def difference(start):
        up, down = (
            problem.solve({"theta": 0.4 + s}, start, 1e-12)[0] for s in (eps, -eps)
        )
        return gradient @ (up - down) / (2 * eps)

    assert difference(w) == pytest.approx(implicit, rel=1e-5)
    assert abs(difference(None) - implicit) > 0.01 * abs(implicit)


def test_systems_that_do_not_meet_are_visited_in_turn():
    Phi, y = system(0.0)
    z = y + 1.0
    w = np.zeros(16)
    seen = []
    for targets in (y, z, y, z):
        w, _ = descend(Phi, targets, w)
        seen.append(w)
    np.testing.assert_allclose(seen[2], seen[0], atol=1e-10)
    np.testing.assert_allclose(seen[3], seen[1], atol=1e-10)


@pytest.fixture
def turning():
    inner_problem.register(Turning, TurningProblem)
    yield np.random.default_rng(4).normal(size=(20, 16))
    inner_problem.register(Turning, inner_problem.registry[object])
    TurningProblem.warm = False


@pytest.mark.parametrize(
    ("warm", "start", "remembers"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_a_search_remembers_what_it_may(turning, warm, start, remembers):
    TurningProblem.warm = warm
    y = turning @ np.ones(16)
    search = GradientSearchCV(
        Turning(),
        {"theta": Continuous(-1, 1, scale="linear")},
        cv=PredefinedSplit([-1, 0] * 10),
        warm_start_inner=start,
    )

    def last_of(path):
        evaluator = search._prepare(turning, y, None).evaluator
        return [evaluator.row(np.array([t])).value for t in path][-1]

    values = [last_of([0.5]), last_of([0.1, 0.9, 0.5])]
    assert (abs(values[1] - values[0]) > 1e-3 * values[0]) == remembers
    if not remembers:
        assert values[1] == pytest.approx(values[0], rel=1e-12)


def test_a_search_of_many_solutions_reports_what_a_refit_repeats(turning):
    y = turning @ np.ones(16)
    search = GradientSearchCV(
        Turning(), {"theta": Continuous(-1, 1, scale="linear")}, cv=2
    ).fit(turning, y)
    assert search.refit_score_ == pytest.approx(search.search_score_, rel=1e-9)
    Phi, targets = system(search.best_params_["theta"])
    np.testing.assert_allclose(
        search.best_estimator_.w_, np.linalg.pinv(Phi) @ targets, atol=1e-9
    )


# --- 4. the Neumann series ------------------------------------------------------------


def quadratic(rng, d=6, q=9):
    """``h = (w - A u)' H (w - A u) / 2`` of wide curvature, and an outer target."""
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    curvature = np.geomspace(1e-2, 1.0, d)
    H = Q @ np.diag(curvature) @ Q.T
    return H, rng.normal(size=(d, q)) / np.sqrt(q), rng.normal(size=d), (Q, curvature)


@pytest.mark.parametrize("n_steps", [1, 2, 7, 50])
def test_the_series_is_the_slope_of_unrolled_descent(n_steps):
    rng = np.random.default_rng(n_steps)
    H, A, target, _ = quadratic(rng)
    u = rng.normal(size=9)
    w = A @ u  # the minimum
    eta = 1 / np.linalg.eigvalsh(H)[-1]
    # reverse-mode differentiation through the steps, started at the minimum
    u_t = torch.tensor(u, requires_grad=True)
    H_t, A_t, w_t = (torch.tensor(a) for a in (H, A, w))
    for _ in range(n_steps):
        w_t = w_t - eta * H_t @ (w_t - A_t @ u_t)
    (((w_t - torch.tensor(target)) ** 2).sum() / 2).backward()
    q = neumann(lambda v: H @ v, w - target, largest=1 / eta, n_terms=n_steps - 1)
    # d2h/du dw = -A'H
    np.testing.assert_allclose(A.T @ H @ q, u_t.grad.numpy(), rtol=1e-8, atol=1e-12)


def test_it_is_a_damped_inverse():
    H, _, b, (Q, curvature) = quadratic(np.random.default_rng(0))
    for n_terms in (0, 5, 40):
        q = neumann(lambda v: H @ v, b, largest=1.0, n_terms=n_terms)
        damped = (1 - (1 - curvature) ** (n_terms + 1)) / curvature
        np.testing.assert_allclose(Q.T @ q, damped * (Q.T @ b), rtol=1e-9)
        # between the identity and the inverse, nearest to it where curvature is large
        assert (damped >= 1 - 1e-12).all() and (damped <= 1 / curvature).all()


def outer_descent(slope, u, step, tol=1e-13):
    for _ in range(2_000_000):
        p = slope(u)
        if np.linalg.norm(p) <= tol:
            return u
        u = u - step * p
    raise AssertionError("the outer descent has not converged")


@pytest.mark.parametrize("n_terms", [0, 3, 30, 2_000])
def test_outer_solutions_are_those_of_least_displacement(n_terms):
    # u moves w(u) = u on two validation rows: many outer solutions. The one reached
    # has the least sum of (Q'(u - u0))_j^2 / (1 - (1 - eta h_j)^(m + 1))
    rng = np.random.default_rng(5)
    H, _, _, (Q, curvature) = quadratic(rng)
    B, t = rng.normal(size=(2, 6)), rng.normal(size=2)
    u0 = rng.normal(size=6)

    def slope(u):
        gradient = B.T @ (B @ u - t)
        return H @ neumann(lambda v: H @ v, gradient, largest=1.0, n_terms=n_terms)

    found = outer_descent(slope, u0, 1 / np.linalg.norm(B, 2) ** 2)
    share = 1 - (1 - curvature) ** (n_terms + 1)
    N_inverse = Q @ np.diag(share) @ Q.T
    move = N_inverse @ B.T @ np.linalg.solve(B @ N_inverse @ B.T, t - B @ u0)
    np.testing.assert_allclose(found, u0 + move, atol=1e-8)
    nearest = u0 + np.linalg.pinv(B) @ (t - B @ u0)
    if n_terms == 2_000:  # the exact slope: least displacement in every direction
        np.testing.assert_allclose(found, nearest, atol=1e-6)
    else:  # directions of little curvature move less than they would
        flat = np.abs(Q.T @ (found - u0))[0]
        assert flat < 0.8 * np.abs(Q.T @ (nearest - u0))[0]
