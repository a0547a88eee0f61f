"""Holistic robust losses of linear rows at their exact worst evasion, and cvxpy.

An attack of a row within a ball lowers its margin by the radius times the dual norm of
the coefficients, and widens a residual by as much, whatever the row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._solve import Solution, SolverFailedError, solve
from skdiff.metrics._holistic import worst_weights

_SECONDS = 60.0


@dataclass(frozen=True)
class HolisticProblem:
    """Rows, loss and radii; the last coefficient of a free intercept has no ridge.

    ``y`` is -1 or 1 for classes. ``slopes`` is the number of coefficients that an
    attack acts through, all but the intercept.
    """

    A: Array
    y: Array
    s: Array
    loss: str
    poisoning: float
    radius: float
    evasion: float
    norm: float
    ridge: Array
    slopes: int

    @property
    def dual_norm(self) -> float:
        """Of the coefficients."""
        return 1.0 if self.norm == np.inf else 2.0

    def losses(self, w: Array) -> Array:
        """Losses of the rows at their worst evasion."""
        f = self.A @ w
        reach = self.evasion * float(np.linalg.norm(w[: self.slopes], self.dual_norm))
        if self.loss in ("squared", "absolute"):
            off = np.abs(self.y - f) + reach
            return np.asarray(off**2 if self.loss == "squared" else off)
        margin = self.y * f - reach
        if self.loss == "logistic":
            return np.asarray(np.logaddexp(0.0, -margin))
        slack = np.maximum(1.0 - margin, 0.0)
        return np.asarray(slack**2 if self.loss == "squared_hinge" else slack)

    def weights(self, w: Array) -> Array:
        """Worst-case weights of the rows."""
        return worst_weights(self.losses(w), self.s, self.poisoning, self.radius)

    def robust(self, w: Array) -> float:
        """Holistic loss without the penalty."""
        return float(self.weights(w) @ self.losses(w))

    def objective(self, w: Array) -> float:
        """Holistic loss and the penalty."""
        return self.robust(w) + float(self.ridge @ w**2 / 2)


def statement(problem: HolisticProblem) -> tuple[Any, Any]:
    """Problem and variable for cvxpy, by the dual of the inner maximum.

    With ``phi_k = lambda log(lambda / (eta - loss_k))`` the worst mean is the least
    ``eta + lambda (r - 1) + poisoning tau + sum s_k max(phi_0 - tau, phi_k)``, where
    ``phi_0`` belongs to the largest loss. Without a radius it is ``poisoning tau + sum
    s_k max(largest - tau, loss_k)``.
    """
    import cvxpy as cp

    w = cp.Variable(problem.A.shape[1])
    n = len(problem.s)
    constraints: list[Any] = []
    losses = _row_losses(problem, w, constraints)
    if problem.poisoning == problem.radius == 0:
        worst = problem.s @ losses
    else:
        t, top, tau = cp.Variable(n), cp.Variable(1), cp.Variable(1, nonneg=True)
        moved, one = cp.Variable(n), np.ones(n)
        constraints += [losses <= t, t <= top]
        worst = problem.poisoning * cp.sum(tau) + problem.s @ moved
        if problem.radius == 0:
            constraints += [moved >= t, moved >= (top - tau) * one]
        else:
            eta, lam = cp.Variable(1), cp.Variable(1, nonneg=True)
            phi, phi0 = cp.Variable(n), cp.Variable(1)
            constraints += [
                cp.rel_entr(lam * one, eta - t) <= phi,
                cp.rel_entr(lam, eta - top) <= phi0,
                moved >= phi,
                moved >= (phi0 - tau) * one,
            ]
            worst = worst + cp.sum(eta) + cp.sum(lam) * (problem.radius - 1)
    objective = worst + problem.ridge @ cp.square(w) / 2
    return cp.Problem(cp.Minimize(objective), constraints), w


def _above(constraints: list[Any], size: int, *lines: Any) -> Any:
    """A variable above lines: corners have no gradient for a certificate."""
    import cvxpy as cp

    slack = cp.Variable(size, nonneg=True)
    constraints += [slack >= line for line in lines]
    return slack


def _row_losses(problem: HolisticProblem, w: Any, constraints: list[Any]) -> Any:
    import cvxpy as cp

    f, n = problem.A @ w, len(problem.s)
    reach: Any = 0.0
    if problem.evasion > 0:
        v = w[: problem.slopes]
        if problem.dual_norm == 1:
            size = cp.sum(_above(constraints, problem.slopes, v, -v))
        else:
            size = cp.norm(v, 2)
        reach = problem.evasion * size
    if problem.loss in ("squared", "absolute"):
        off = _above(constraints, n, problem.y - f, f - problem.y) + reach
        return cp.square(off) if problem.loss == "squared" else off
    lost = reach - cp.multiply(problem.y, f)
    if problem.loss == "logistic":
        return cp.logistic(lost)
    slack = _above(constraints, n, np.zeros(n), 1 + lost)
    return cp.square(slack) if problem.loss == "squared_hinge" else slack


def fit_cvxpy(problem: HolisticProblem, seconds: float = _SECONDS) -> Solution:
    """Solve the statement; ``gap`` is to the solver's dual value, with its accuracy."""
    stated, variable = statement(problem)
    found = solve(stated, variable, time_limit=seconds)
    w = np.asarray(found.x)
    value = problem.objective(w)
    if not np.isfinite(value):
        raise SolverFailedError("The solution of the cone solver is not finite.")
    gap = max(value - float(stated.value), 0.0) + max(found.gap, 1e-8) * (1 + value)
    return found._replace(x=w, objective=value, gap=gap)
