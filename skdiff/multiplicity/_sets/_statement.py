"""The extreme of a linear functional over a level set, as the paper writes it.

Watson-Daniels, Parkes and Ustun (2023), section 3, with the grid of target
probabilities replaced by its limit: maximise ``v'w`` subject to ``L(w) <= L* + eps``.
"""

from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._losses import (
    PIECEWISE_LINEAR,
    Hinge,
    Multinomial,
    Pinball,
    SquaredEpsilonInsensitive,
)
from skdiff._convex._solve import solve


def _row_losses(loss: Any, f: Any, y: Any, s: Any) -> Any:
    """Weighted sum of the losses of the rows as cvxpy writes it."""
    import cvxpy as cp

    name, root = type(loss).__name__, np.sqrt(s)
    if name == "Squared":
        return cp.sum_squares(cp.multiply(root, f - y)) / 2
    if name == "Logistic":
        return s @ (cp.logistic(f) - cp.multiply(y, f))
    if name == "Poisson":
        known = y * np.log(np.where(y > 0, y, 1.0)) - y
        return s @ (cp.exp(f) - cp.multiply(y, f)) + s @ known
    if name == "Gamma":
        return s @ (cp.multiply(y, cp.exp(-f)) + f) - s @ (1 + np.log(y))
    if name == "Tweedie":
        a, b = 2.0 - loss.power, 1.0 - loss.power
        total = cp.exp(a * f) / a - cp.multiply(y, cp.exp(b * f)) / b
        return s @ total + s @ (y**a / (a * b))
    if name == "SquaredHinge":
        return cp.sum_squares(cp.multiply(root, cp.pos(1 - cp.multiply(y, f))))
    if name == "ModifiedHuber":
        return s @ cp.huber(cp.pos(1 - cp.multiply(y, f)), 2.0)
    if name == "Huber":
        return s @ cp.huber(f - y, loss.delta) / 2
    raise TypeError(f"no statement is known of {name}")


def _slacks(loss: Any, f: Any, y: Any) -> Any:
    """Piecewise linear losses as variables above their pieces.

    Written with a maximum they would have no gradient at their non-smooth points, where
    the solution is, and no certificate.
    """
    import cvxpy as cp

    slack = cp.Variable(f.size, nonneg=True)
    if isinstance(loss, Hinge):
        return slack, [slack >= 1 - cp.multiply(y, f)]
    if isinstance(loss, Pinball):
        q = loss.quantile
        return slack, [slack >= q * (y - f), slack >= (q - 1) * (y - f)]
    return slack, [slack >= f - y - loss.delta, slack >= y - f - loss.delta]


def state_objective(problem: Any) -> Any:
    """Return the objective as a cvxpy expression, its variable and constraints."""
    import cvxpy as cp

    X, y, s = problem.X, problem.y, problem.s
    w, constraints = cp.Variable(len(problem.penalty)), []
    if isinstance(problem.loss, Multinomial):
        K = len(problem.penalty) // X.shape[1]
        F = X @ cp.reshape(w, (X.shape[1], K), order="F")
        label = np.eye(K)[y.astype(int)]
        total = s @ (cp.log_sum_exp(F, axis=1) - cp.sum(cp.multiply(label, F), axis=1))
    elif isinstance(problem.loss, PIECEWISE_LINEAR):
        slack, constraints = _slacks(problem.loss, X @ w, y)
        total = s @ slack
    elif isinstance(problem.loss, SquaredEpsilonInsensitive):
        slack, constraints = _slacks(problem.loss, X @ w, y)
        total = cp.sum_squares(cp.multiply(np.sqrt(s), slack))
    else:
        total = _row_losses(problem.loss, X @ w, y, s)
    if problem.penalty.any():
        total += cp.sum_squares(cp.multiply(np.sqrt(problem.penalty / 2), w))
    if problem.lasso is not None:
        total += problem.lasso @ cp.abs(w)
    return total, w, constraints


def state_problem(problem: Any, level: Any) -> Any:
    """Return the cvxpy problem, its variable and its parameter, the direction."""
    import cvxpy as cp

    objective, w, constraints = state_objective(problem)
    v = cp.Parameter(w.size)
    statement = cp.Problem(cp.Maximize(v @ w), [objective <= level, *constraints])
    return statement, w, v


def minimiser(problem: Any) -> Any:
    """The best model by a general solver."""
    import cvxpy as cp

    objective, w, constraints = state_objective(problem)
    statement = cp.Problem(cp.Minimize(objective), constraints)
    return solve(statement, w, tol=1e-10, hint="the penalty")


class ReferenceProgram:
    """Maxima of linear functionals by a general solver, compiled once."""

    def __init__(self, problem: Any, level: float) -> None:
        self.statement, self.w, self.v = state_problem(problem, level)

    def maximise(self, direction: Array) -> tuple[Array, float]:
        """Return the model, and the multiplier of the objective's gradient.

        Raises ValueError where no solver certifies its result.
        """
        size = float(np.abs(direction).max()) or 1.0
        self.v.value = direction / size
        found = solve(
            self.statement, self.w, tol=1e-9, enforce_dpp=True, hint="epsilon"
        )
        dual = float(np.ravel(self.statement.constraints[0].dual_value)[0])
        return found.x, 1.0 / max(size * dual, 1e-300)


def extremes(level_set: Any, V: Array, budget: float) -> tuple[Array, Array]:
    """Minima and maxima of the directions, one solve each; (m, 2) and the models."""
    program = ReferenceProgram(level_set.problem, level_set.objective + budget)
    models = np.array(
        [[program.maximise(sign * v)[0] for sign in (-1.0, 1.0)] for v in V]
    ).reshape(len(V), 2, V.shape[1])
    return np.einsum("ij,isj->is", V, models), models
