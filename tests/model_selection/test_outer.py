"""The outer solvers on functions with known minima, and MAID's bound on a quadratic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from skdiff.model_selection._gradient._outer._hoag_maid import (
    SCHEDULES,
    Constants,
    Rule,
    error_bound,
    hoag,
    maid,
)
from skdiff.model_selection._gradient._outer._lbfgs import descend, lbfgs
from skdiff.model_selection._gradient._outer._root import root


def count(function):
    calls = []

    def counted(t):
        calls.append(t)
        return function(t)

    return counted, calls


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    centre=st.floats(-5, 5),
    skew=st.floats(0.1, 3),
    offset=st.floats(0.01, 10),
)
def test_root_finds_the_minimum_of_a_skewed_bowl(centre, skew, offset):
    def bowl(t):
        u = t - centre
        value = offset + np.exp(skew * u) - skew * u
        return value, skew * (np.exp(skew * u) - 1)

    objective, calls = count(bowl)
    found = root(objective, -6.0, 6.0, tol=1e-6, max_iter=50)
    assert found.converged and abs(found.theta - centre) < 1e-5
    assert len(calls) <= 25


def test_root_survives_kinks_and_several_minima():
    def bumpy(t):
        return abs(t - 1) + 0.3 * np.cos(3 * t) + 3, np.sign(t - 1) - 0.9 * np.sin(
            3 * t
        )

    found = root(bumpy, -8.0, 8.0, tol=1e-6, max_iter=60)
    reference = minimize_scalar(
        lambda t: bumpy(t)[0],
        bounds=(0.9, 1.3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found.converged
    assert bumpy(found.theta)[0] <= reference.fun + 1e-6


@pytest.mark.parametrize("side", [-1, 1])
def test_root_stops_at_a_bound(side):
    found = root(
        lambda t: (5.0 - side * t, -float(side)), -1.0, 1.0, tol=1e-3, max_iter=50
    )
    assert found.bound == side and found.theta == side and found.n_iter <= 5


def test_root_leaves_a_plateau_and_walls():
    # zero slope above 0, a wall below -3, the minimum between
    def objective(t):
        if t < -3:
            return np.nan, np.nan
        return (1 + min((t + 1) ** 2, 1.0), 2 * (t + 1) * (t < 0))

    found = root(objective, -4.0, 4.0, tol=1e-5, max_iter=50)
    assert abs(found.theta + 1) < 1e-4
    none = root(lambda t: (np.nan, np.nan), -4.0, 4.0, tol=1e-5, max_iter=50)
    assert not none.converged
    short = root(objective, -4.0, 4.0, tol=1e-9, max_iter=6)
    assert not short.converged and short.n_iter == 6


def test_lbfgs_stays_in_the_box_and_passes_walls():
    def bowl(t):
        if t[0] > 1.5:
            return np.inf, np.zeros(2)
        return 3 + (t[0] - 1) ** 2 + 10 * (t[1] + 3) ** 2, np.array(
            [2 * (t[0] - 1), 20 * (t[1] + 3)]
        )

    box = -2 * np.ones(2), 2 * np.ones(2)
    found = lbfgs(bowl, np.array([-1.0, 1.0]), *box, tol=1e-5, max_iter=60)
    np.testing.assert_allclose(found.theta, [1, -2], atol=1e-3)


def test_descent_steps_come_down_a_kink():
    def kink(t):
        return 1 + np.abs(t).sum(), np.sign(t)

    start = np.array([1.0, -0.7])
    value, slope = kink(start)
    box = -2 * np.ones(2), 2 * np.ones(2)
    found = descend(kink, (value, start, slope), *box, tol=1e-4, max_iter=400)
    assert found.converged and kink(found.theta)[0] < 1.05 * 1 + 0.1


class Quadratic:
    """``g = ||A1 x - b1||^2 / 2``, ``h = ||A2 x + A3 theta - b2||^2 / 2``.

    Inner problems and linear systems are off by as much as their certificates allow.
    """

    def __init__(self, n=200, d=10, q=10, seed=0):
        rng = np.random.default_rng(seed)
        self.A1, self.A2 = rng.uniform(size=(n, d)), rng.uniform(size=(n, d))
        self.A3 = rng.uniform(size=(n, q))
        self.b1, self.b2 = rng.uniform(size=n), rng.uniform(size=n)
        self.H = self.A2.T @ self.A2
        self.J = self.A2.T @ self.A3
        eigen = np.linalg.eigvalsh(self.H)
        self.mu, self.L = eigen[0], eigen[-1]
        self.L_g = np.linalg.eigvalsh(self.A1.T @ self.A1)[-1]
        self.solves = []

    def exact(self, theta):
        return np.linalg.solve(self.H, self.A2.T @ self.b2 - self.J @ theta)

    def inner_gradient(self, theta, x):
        return self.H @ x + self.J @ theta - self.A2.T @ self.b2

    def _off(self, theta, limit):
        """A point whose inner gradient has the norm that the certificate allows."""
        u = np.random.default_rng(len(self.solves)).normal(size=len(self.H))
        u *= 0.999 * limit / np.linalg.norm(u)
        return self.exact(theta) + np.linalg.solve(self.H, u)

    def solve(self, theta, x, eps):
        self.solves.append((theta, eps))
        return self._off(theta, eps * self.mu)

    def solve_relative(self, theta, x, eps):
        start = np.zeros(len(self.H)) if x is None else x
        size = np.linalg.norm(self.inner_gradient(theta, start))
        return self._off(theta, eps * max(size, 1e-8))

    def outer_gradient(self, x):
        return self.A1.T @ (self.A1 @ x - self.b1)

    def upper(self, theta, x):
        return float(np.sum((self.A1 @ x - self.b1) ** 2) / 2)

    def slack(self, theta, x, eps):
        return np.linalg.norm(self.outer_gradient(x)) * eps + self.L_g * eps**2 / 2

    def _adjoint(self, x, delta):
        # a residual of norm delta exactly: the worst that is allowed
        g = self.outer_gradient(x)
        noise = np.random.default_rng(1).normal(size=len(g))
        noise *= 0.999 * min(delta, np.linalg.norm(g)) / np.linalg.norm(noise)
        return np.linalg.solve(self.H, g + noise)

    def hypergradient(self, theta, x, delta):
        return -self.J.T @ self._adjoint(x, delta)

    def constants(self):
        J = np.linalg.norm(self.J, 2)
        return Constants(mu=self.mu, L_g=self.L_g, J=J, L_J=0.0, L_Hinv=0.0)

    def bound(self, theta, x, eps, delta):
        size = np.linalg.norm(self.outer_gradient(x))
        return error_bound(self.constants(), size, eps, delta)

    def exact_slope(self, theta):
        x = self.exact(theta)
        return -self.J.T @ np.linalg.solve(self.H, self.outer_gradient(x))

    def optimum(self):
        M = -self.A1 @ np.linalg.solve(self.H, self.J)
        rest = self.A1 @ np.linalg.solve(self.H, self.A2.T @ self.b2) - self.b1
        return np.linalg.lstsq(M, -rest, rcond=None)[0]


BOX = -1e3 * np.ones(10), 1e3 * np.ones(10)


@pytest.mark.parametrize("eps", [1e-1, 1e-3])
def test_the_bound_of_maid_holds_at_every_step_and_the_criterion_falls(eps):
    problem, history = Quadratic(), []
    theta = np.zeros(10)
    found = maid(
        problem,
        theta,
        *BOX,
        rule=Rule(eps=eps, delta=eps, step=10.0),
        max_iter=400,
        tol=1e-6,
        history=history,
    )
    assert len(history) >= 10
    for step in history:
        error = np.linalg.norm(step.z - problem.exact_slope(step.theta))
        assert error <= step.omega
        assert np.linalg.norm(step.x - problem.exact(step.theta)) <= step.eps
    values = [problem.upper(None, problem.exact(s.theta)) for s in history]
    moved = [
        b <= a + 1e-12
        for a, b, s, t in zip(
            values[:-1], values[1:], history[:-1], history[1:], strict=True
        )
        if not np.array_equal(s.theta, t.theta)
    ]
    assert len(moved) >= 5 and all(moved)
    best = problem.upper(None, problem.exact(problem.optimum()))
    end = problem.upper(None, problem.exact(np.asarray(found.theta)))
    assert end - best < 0.5 * (values[0] - best)


def test_maid_reaches_the_optimum_of_a_well_conditioned_quadratic():
    problem = Quadratic(seed=3)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 10)))[0]
    problem.A1 = problem.A2 = Q
    problem.A3 = Q @ np.diag(np.linspace(1, 2, 10))
    problem.H, problem.J = Q.T @ Q, Q.T @ problem.A3
    problem.mu, problem.L, problem.L_g = 1.0 - 1e-9, 1.0 + 1e-9, 1.0 + 1e-9
    found = maid(problem, np.zeros(10), *BOX, max_iter=200, tol=1e-7)
    np.testing.assert_allclose(found.theta, problem.optimum(), atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_hoag_reaches_the_optimum_of_a_well_conditioned_quadratic(schedule):
    problem = Quadratic(seed=3)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 10)))[0]
    problem.A1 = problem.A2 = Q
    problem.A3 = Q @ np.diag(np.linspace(1, 2, 10))
    problem.H, problem.J = Q.T @ Q, Q.T @ problem.A3
    problem.mu = problem.L = problem.L_g = 1.0
    found = hoag(problem, np.zeros(10), *BOX, max_iter=300, tol=1e-5, schedule=schedule)
    np.testing.assert_allclose(found.theta, problem.optimum(), atol=2e-2)
