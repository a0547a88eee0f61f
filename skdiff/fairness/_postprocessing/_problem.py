"""The linear program of fair post-processing, and its statement in cvxpy.

Cruz and Hardt (2024), section 2 and appendix A. A group g has a point (F_g, T_g), false
and true positive rate, in the hull of its ROC curve: a mixture with weights
``lambda_g`` of the vertices. The cost ``c_fp sum_g P(g, y=0) F_g + c_fn sum_g P(g, y=1)
(1 - T_g)`` is minimised subject to bounds on how far the points of two groups differ.

Every bound is the range over groups of statistics linear in the point: for the largest
difference F and T, for the sum of both differences F + T and F - T, for the Euclidean
one all directions, of which those that matter are added one after the other.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy.optimize import linprog

from skdiff._base.typing import Array
from skdiff._convex._solve import Solution, SolverFailedError
from skdiff.fairness._postprocessing._hull import RocHull

TOL, CUTS = 1e-9, 100
_OPTIONS = {
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
    "presolve": False,
}
_WIDEST = 3.0  # no two points of a unit square are further apart in any norm


@dataclass(frozen=True)
class FairProblem:
    """What is minimised, and what is bounded.

    ``negatives`` and ``positives`` are the fractions of all rows in each group with
    either label; they sum to one. ``norm`` is "inf", 1 or 2, for equalised odds.
    """

    hulls: tuple[RocHull, ...]
    negatives: Array
    positives: Array
    false_positive_cost: float
    false_negative_cost: float
    constraints: tuple[str, ...]
    norm: Any

    @property
    def rates(self) -> Array:
        """Fraction of positive labels in each group."""
        return self.positives / (self.positives + self.negatives)

    def cost(self, points: Array) -> float:
        """Mean cost per row at points of shape (n_groups, 2)."""
        wrong = self.false_positive_cost * (self.negatives @ points[:, 0])
        missed = self.false_negative_cost * (self.positives @ (1.0 - points[:, 1]))
        return float(wrong + missed)

    def violation(self, points: Array) -> float:
        """Largest difference over constraints and pairs of groups."""
        return max(self.difference(c, points) for c in self.constraints)

    def difference(self, constraint: str, points: Array) -> float:
        """Largest difference of one constraint over pairs of groups."""
        return largest_difference(constraint, points, self.rates, self.norm)


def largest_difference(
    constraint: str, points: Array, rates: Array, norm: Any
) -> float:
    """Return the largest difference over pairs of groups; NaN rates are left out."""
    if constraint != "equalized_odds":
        c = _direction(constraint, rates)
        values = (c * points).sum(axis=1)
        values = values[np.isfinite(values)]
        return float(np.ptp(values)) if len(values) else 0.0
    if norm == "inf":
        columns = [column[np.isfinite(column)] for column in points.T]
        return max((float(np.ptp(c)) for c in columns if len(c)), default=0.0)
    kept = points[np.isfinite(points).all(axis=1)]
    pairs = [
        float(np.linalg.norm(a - b, ord=norm)) for a, b in combinations(list(kept), 2)
    ]
    return max(pairs, default=0.0)


def _direction(constraint: str, rates: Array) -> Array:
    """Coefficients of (F, T) in a scalar statistic, one row per group."""
    if constraint == "true_positive_rate_parity":
        return np.tile([0.0, 1.0], (len(rates), 1))
    if constraint == "false_positive_rate_parity":
        return np.tile([1.0, 0.0], (len(rates), 1))
    return np.column_stack([1.0 - rates, rates])


def directions(problem: FairProblem) -> list[Array]:
    """Return the statistics whose range is bounded, each of shape (n_groups, 2)."""
    found = []
    for constraint in problem.constraints:
        if constraint != "equalized_odds":
            found.append(_direction(constraint, problem.rates))
            continue
        plain = [[1.0, 0.0], [0.0, 1.0]] if problem.norm != 1 else []
        turned = [[1.0, 1.0], [1.0, -1.0]] if problem.norm != "inf" else []
        length = np.sqrt(2.0) if problem.norm == 2 else 1.0
        turned = [[a / length, b / length] for a, b in turned]
        found += [np.tile(c, (len(problem.hulls), 1)) for c in plain + turned]
    return found


class LinearProgram:
    """The program in matrices, for one tolerance after the other."""

    def __init__(self, problem: FairProblem) -> None:
        self.problem = problem
        sizes = [len(h.fpr) for h in problem.hulls]
        self.group = np.repeat(np.arange(len(sizes)), sizes)
        self.F = np.concatenate([h.fpr for h in problem.hulls])
        self.T = np.concatenate([h.tpr for h in problem.hulls])
        self.directions = directions(problem)
        self.costs = (
            problem.false_positive_cost * problem.negatives[self.group] * self.F
            - problem.false_negative_cost * problem.positives[self.group] * self.T
        )
        self.constant = problem.false_negative_cost * float(problem.positives.sum())
        self.each = (self.group == np.arange(len(sizes))[:, None]).astype(np.float64)

    def points(self, weights: Array) -> Array:
        """Points of the groups, from the weights of all vertices."""
        return np.column_stack([self.each @ (weights * v) for v in (self.F, self.T)])

    def rows(self) -> tuple[Array, Array]:
        """``A`` and a mask of the rows bounded by the tolerance, the others by 0.

        Two rows per statistic and group: ``u <= statistic <= u + tolerance``.
        """
        K, V = len(self.directions), len(self.F)
        blocks, bounded = [], []
        for k, c in enumerate(self.directions):
            coefficient = c[self.group, 0] * self.F + c[self.group, 1] * self.T
            block = np.zeros((2 * len(self.each), V + K))
            block[: len(self.each), :V] = self.each * coefficient
            block[: len(self.each), V + k] = -1.0
            block[len(self.each) :] = -block[: len(self.each)]
            blocks.append(block)
            bounded += [True] * len(self.each) + [False] * len(self.each)
        return np.vstack(blocks), np.array(bounded)

    def solve(self, tolerance: float) -> Solution:
        """Solve to a vertex; ``x`` holds the points, ``gap`` is certified.

        The gap is the cost less a lower bound from the dual variables, whatever their
        own accuracy, plus what is left of the violation.
        """
        r = min(float(tolerance), _WIDEST)
        if self.problem.norm == 2 and r == 0:  # where all norms agree
            return LinearProgram(replace(self.problem, norm="inf")).solve(0.0)
        n_iter = 1
        points, bound = self._solve_once(r)
        while self._add_cuts(points, r) and n_iter < CUTS:
            points, bound = self._solve_once(r)
            n_iter += 1
        excess = max(0.0, self.problem.violation(points) - r)
        cost = self.problem.cost(points)
        gap = max(cost - bound, 0.0) + excess
        return Solution(points, cost, gap, n_iter, gap <= 1e-7)

    def _solve_once(self, r: float) -> tuple[Array, float]:
        A, bounded = self.rows()
        K, V = len(self.directions), len(self.F)
        costs = np.append(self.costs, np.zeros(K))
        b = np.where(bounded, r, 0.0)
        equal = np.hstack([self.each, np.zeros((len(self.each), K))])
        found = linprog(
            costs,
            A_ub=A,
            b_ub=b,
            A_eq=equal,
            b_eq=np.ones(len(equal)),
            bounds=[(0, None)] * V + [(None, None)] * K,
            method="highs-ds",
            options=_OPTIONS,
        )
        if found.status != 0:
            raise SolverFailedError(f"HiGHS found no solution: {found.message}")
        y, z = np.minimum(found.ineqlin.marginals, 0.0), found.eqlin.marginals
        reduced = costs - A.T @ y - equal.T @ z
        # weights of a group sum to one and statistics lie within 2: what is wrong in
        # the dual variables lowers the bound by no more than this
        slack = sum(min(0.0, float(reduced[:V][g > 0].min())) for g in self.each)
        slack -= 2.0 * float(np.abs(reduced[V:]).sum())
        bound = float(b @ y + z.sum() + slack + self.constant)
        weights = np.maximum(found.x[:V], 0.0)
        weights /= (self.each @ weights)[self.group]
        return self.points(weights), bound

    def _add_cuts(self, points: Array, r: float) -> bool:
        """Add the directions in which two groups are too far apart."""
        if self.problem.norm != 2 or "equalized_odds" not in self.problem.constraints:
            return False
        added = False
        for a, b in combinations(points, 2):
            length = float(np.linalg.norm(a - b))
            if length > r + TOL:
                self.directions.append(np.tile((a - b) / length, (len(self.each), 1)))
                added = True
        return added


def solve_fair(
    problem: FairProblem, tolerances: Sequence[float], solver: str = "auto"
) -> list[Solution]:
    """Solve for each tolerance; ``x`` holds the points, of shape (n_groups, 2).

    ``solver="auto"`` falls back to cvxpy where the certificate of the linear program
    fails.
    """
    program, found = LinearProgram(problem), []
    for tolerance in tolerances:
        solution = None
        if solver == "auto":
            with contextlib.suppress(SolverFailedError):
                solution = program.solve(tolerance)
        if solution is None or not solution.converged:
            solution = solve_statement(problem, tolerance)
        found.append(solution)
    return found


def solve_statement(problem: FairProblem, tolerance: float) -> Solution:
    """The problem as the paper states it, pair by pair, in cvxpy."""
    import cvxpy as cp

    from skdiff._convex._solve import solve

    program, r = LinearProgram(problem), min(float(tolerance), _WIDEST)
    weights = cp.Variable(len(program.F))
    F, T = (program.each @ cp.multiply(weights, v) for v in (program.F, program.T))
    limits = [weights >= 0, program.each @ weights == 1]
    for g, h in combinations(range(len(problem.hulls)), 2):
        for constraint in problem.constraints:
            if constraint == "equalized_odds":
                limits += _apart(F[g] - F[h], T[g] - T[h], problem.norm, r)
            else:
                c = _direction(constraint, problem.rates)
                first, second = (c[k, 0] * F[k] + c[k, 1] * T[k] for k in (g, h))
                limits += [first - second <= r, second - first <= r]
    statement = cp.Problem(cp.Minimize(program.costs @ weights), limits)
    found = solve(statement, weights)
    x = np.maximum(found.x, 0.0)
    points = program.points(x / (program.each @ x)[program.group])
    return found._replace(x=points, objective=problem.cost(points))


def _apart(dF: Any, dT: Any, norm: Any, r: float) -> list[Any]:
    """``||(dF, dT)|| <= r``, in linear rows where they can say it."""
    import cvxpy as cp

    if norm == 2 and r > 0:
        return [cp.norm(cp.hstack([dF, dT]), 2) <= r]
    pairs = (dF + dT, dF - dT) if norm == 1 else (dF, dT)
    return [row <= r for d in pairs for row in (d, -d)]
