"""The loss of the worst group: direct, certified, and by cvxpy."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff._convex._linear_rows import (
    LinearRows,
    SoftmaxRows,
    SquaredRows,
    lower_bound,
)
from skdiff._convex._minimax import minimax
from skdiff._convex._solve import Solution, SolverFailedError, solve

PROVED = 1e-7
# a conic problem of more rows takes minutes
_CVXPY_ROWS = 20_000


class GroupProblem:
    """Weighted mean losses of groups, whose rows lie together.

    Parameters
    ----------
    rows : LinearRows
        Rows sorted by group.
    share : ndarray of shape (n,)
        Weights that sum to one in each group.
    cuts : ndarray of shape (G + 1,)
        Where the groups begin.
    adjustment : ndarray of shape (G,)
        What is added to the loss of each group.
    ridge : ndarray of shape (size,)
        Ridge of the coefficients.
    """

    def __init__(
        self,
        rows: LinearRows,
        share: Array,
        cuts: IntArray,
        adjustment: Array,
        ridge: Array,
    ) -> None:
        self.rows, self.share, self.cuts = rows, share, cuts
        self.adjustment, self.ridge = adjustment, ridge

    @property
    def n_groups(self) -> int:
        """How many."""
        return len(self.adjustment)

    def group_losses(self, w: Array) -> Array:
        """Mean losses without adjustment."""
        return self._means(self.rows.values(w))

    def _means(self, losses: Array) -> Array:
        return np.asarray(np.add.reduceat(self.share * losses, self.cuts[:-1]))

    def values(self, w: Array) -> Array:
        """Adjusted losses of the groups."""
        return self.group_losses(w) + self.adjustment

    def derivatives(self, w: Array, q: Array) -> tuple[Array, Array, Array]:
        """Values, gradients, and the Hessian under group weights q."""
        parts = self.rows.parts(w)
        R = self.share[:, None] * parts.first
        J = np.empty((self.n_groups, self.rows.size))
        for g in range(self.n_groups):
            here = slice(int(self.cuts[g]), int(self.cuts[g + 1]))
            J[g] = (self.rows.A[here].T @ R[here]).T.ravel()
        H = self.rows.hessian(parts.second, self.row_weights(q))
        return self._means(parts.value) + self.adjustment, J, H

    def row_weights(self, q: Array) -> Array:
        """Weights of the rows under group weights."""
        return np.asarray(self.share * np.repeat(q, np.diff(self.cuts)))

    def objective(self, w: Array) -> float:
        """Largest adjusted loss plus penalty."""
        return float(self.values(w).max() + self.ridge @ w**2 / 2)

    def bound(self, q: Array, w: Array) -> float:
        """What no coefficients can go below, by group weights and their minimiser.

        Losses are not negative, so that the largest adjustment is a bound, too.
        """
        found = lower_bound(self.rows, self.row_weights(q), self.ridge, w)
        return max(float(q @ self.adjustment) + found, float(self.adjustment.max()))


class GroupSolution(NamedTuple):
    """A solution, and the weights of the groups."""

    solution: Solution
    q: Array


def fit(problem: GroupProblem, tol: float, max_iter: int) -> GroupSolution:
    """The direct solution; where it has no proof, the better of it and cvxpy's."""
    found = fit_direct(problem, tol, max_iter)
    small = len(problem.share) <= _CVXPY_ROWS
    attained = np.all(problem.ridge[: problem.rows.A.shape[1] - 1] > 0)
    if found.solution.converged or not (small and attained and max_iter >= 100):
        return found
    try:
        other = fit_cvxpy(problem)
    except (SolverFailedError, ValueError):
        return found
    better = other.solution.objective < found.solution.objective
    return other if better else found


def fit_direct(problem: GroupProblem, tol: float, max_iter: int) -> GroupSolution:
    """Newton steps of the dual, from groups of equal weight."""
    G = problem.n_groups
    start = np.full(G, 1.0 / G)
    found = minimax(
        problem,
        problem.ridge,
        np.zeros(problem.rows.size),
        start,
        tol=tol,
        max_iter=max_iter,
    )
    return _certified(problem, found.w, found.q, found.n_iter)


def _certified(problem: GroupProblem, w: Array, q: Array, n_iter: int) -> GroupSolution:
    value = problem.objective(w)
    gap = value - problem.bound(q, w)
    rounding = 1e-15 * max(1.0, abs(value))
    gap = gap if abs(gap) > 100 * rounding else rounding
    proved = bool(gap <= PROVED * max(1.0, abs(value)))
    return GroupSolution(Solution(w, value, gap, n_iter, proved), q)


def statement(problem: GroupProblem) -> tuple[Any, Any, list[Any]]:
    """Problem, variable and the constraints of the groups, for cvxpy."""
    import cvxpy as cp

    rows = problem.rows
    w, top = cp.Variable(rows.size), cp.Variable(1)
    width = rows.A.shape[1]
    F = [rows.A @ w[k * width : (k + 1) * width] for k in range(rows.n_outputs)]
    if isinstance(rows, SquaredRows):
        losses = cp.square(rows.y - F[0])
    elif isinstance(rows, SoftmaxRows):
        F = cp.vstack(F).T
        chosen = cp.sum(cp.multiply(np.eye(rows.n_outputs)[rows.y], F), axis=1)
        losses = cp.log_sum_exp(F, axis=1) - chosen
    else:
        losses = cp.logistic(F[0]) - cp.multiply(rows.y, F[0])
    constraints = []
    for g in range(problem.n_groups):
        here = slice(int(problem.cuts[g]), int(problem.cuts[g + 1]))
        mean = problem.share[here] @ losses[here]
        constraints.append(mean + problem.adjustment[g] <= top)
    objective = cp.Minimize(cp.sum(top) + problem.ridge @ cp.square(w) / 2)
    return cp.Problem(objective, constraints), w, constraints


def fit_cvxpy(problem: GroupProblem) -> GroupSolution:
    """The statement by a cone solver; its multipliers prove the answer."""
    stated, variable, constraints = statement(problem)
    found = solve(stated, variable)
    q = np.array([np.sum(c.dual_value) for c in constraints])
    q = np.maximum(q, 0.0)
    w = np.asarray(found.x)
    # the bound needs the minimiser for these multipliers, which is next to w
    exact = _exact_for(problem, q / q.sum(), w)
    value = problem.objective(w)
    gap = value - problem.bound(q / q.sum(), exact)
    proved = bool(gap <= PROVED * max(1.0, abs(value)))
    return GroupSolution(Solution(w, value, gap, found.n_iter, proved), q / q.sum())


def _exact_for(problem: GroupProblem, q: Array, w: Array) -> Array:
    """Minimiser of the losses under fixed group weights."""
    return minimax(problem, problem.ridge, w, q, tol=np.inf, max_iter=1).w


def sort_groups(
    codes: IntArray, weight: Array, n_groups: int
) -> tuple[IntArray, IntArray, Array]:
    """Order of the rows, where groups begin, and weights that sum to one in each."""
    order = np.argsort(codes, kind="stable")
    cuts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=n_groups))])
    sizes = np.add.reduceat(weight[order], cuts[:-1])
    return order, cuts, weight[order] / np.repeat(sizes, np.diff(cuts))
