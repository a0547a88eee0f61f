"""Level sets of piecewise linear losses: hinge, quantile, epsilon-insensitive.

Their curvature sits at points, so that Newton has nothing to hold on to. With an L1
penalty or none an extreme is a linear program, solved by HiGHS; with a quadratic one it
is a cone program, stated once with the direction as a parameter.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from skdiff._base.typing import Array
from skdiff._convex._losses import EpsilonInsensitive, Hinge, Loss, Pinball
from skdiff.multiplicity._sets._l1 import L1LevelSet
from skdiff.multiplicity._sets._level_set import UnboundedError
from skdiff.multiplicity._sets._maximiser import Extremes
from skdiff.multiplicity._sets._problem import Problem

#: a given model this close to the optimum is one of the optima
TIE = 1e-9
HIGHS_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "presolve": "off",  # it would throw the vertex away
    "simplex_strategy": 4,  # primal
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}


class LinearProgram:
    """``min c'w + rows of slack`` over ``F(w) <= level``, for any c.

    Variables are ``w``, one slack per row and, under an L1 norm, one bound per
    coefficient.
    """

    def __init__(self, problem: Problem) -> None:
        X, n, p = sparse.csr_array(problem.X), len(problem.s), problem.X.shape[1]
        y, loss = problem.y, problem.loss
        eye = sparse.eye_array(n)
        rows, limits = _slack_rows(X, y, loss, eye)
        self.lasso = problem.lasso if problem.lasso is not None else np.zeros(0)
        A = sparse.vstack(rows)
        if len(self.lasso):
            E = sparse.eye_array(p)
            zero = sparse.csr_array((p, n))
            bounds = sparse.hstack(
                [
                    sparse.vstack([E, -E]),
                    sparse.vstack([zero, zero]),
                    sparse.vstack([-E, -E]),
                ]
            )
            A = sparse.hstack([A, sparse.csr_array((A.shape[0], p))])
            A, limits = sparse.vstack([A, bounds]), [*limits, np.zeros(2 * p)]
        self.p, self.cost = p, np.concatenate([np.zeros(p), problem.s, self.lasso])
        self.A = sparse.csr_array(sparse.vstack([A, self.cost[None]]))
        self.limits = np.concatenate([*limits, [np.inf]])
        free = [(None, None)] * p
        self.bounds = free + [(0, None)] * (n + len(self.lasso))

    def solve(self, cost: Array, level: float = np.inf) -> Any:
        """Minimise a cost over the variables; the last row is the level."""
        keep = slice(None) if np.isfinite(level) else slice(0, -1)
        limits = self.limits.copy()
        limits[-1] = level
        return linprog(
            cost,
            A_ub=self.A[keep],
            b_ub=limits[keep],
            bounds=self.bounds,
            method="highs",
            options={
                "primal_feasibility_tolerance": 1e-10,
                "dual_feasibility_tolerance": 1e-10,
            },
        )

    def minimise(self) -> Any:
        """Return the best model."""
        return self.solve(self.cost)

    def furthest(self, V: Array, level: float) -> Iterator[Array | None]:
        """Yield maximisers of ``v'w`` for each v; None where nothing bounds it."""
        try:
            import highspy
        except ImportError:  # cvxpy brings it, but did not always
            for v in V:
                cost = np.zeros(len(self.cost))
                cost[: self.p] = -v
                found = self.solve(cost, level)
                yield found.x[: self.p] if found.status == 0 else None
            return
        yield from self._warm(highspy, V, level)

    def _warm(self, highspy: Any, V: Array, level: float) -> Iterator[Array | None]:
        """The same, each program started from the vertex of the last one.

        Only the cost changes, so that the vertex stays feasible and the primal simplex
        goes on from it: several times faster than a fresh program.
        """
        program, A = highspy.HighsLp(), self.A.tocsc()
        program.num_row_, program.num_col_ = A.shape
        program.col_cost_ = np.zeros(A.shape[1])
        program.col_lower_ = np.where(np.arange(A.shape[1]) < self.p, -np.inf, 0.0)
        program.col_upper_ = np.full(A.shape[1], np.inf)
        program.row_lower_ = np.full(A.shape[0], -np.inf)
        program.row_upper_ = np.append(self.limits[:-1], level)
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.start_, program.a_matrix_.index_ = A.indptr, A.indices
        program.a_matrix_.value_ = A.data
        with _silenced():
            solver = highspy.Highs()
        for name, value in HIGHS_OPTIONS.items():
            solver.setOptionValue(name, value)
        solver.passModel(program)
        columns = np.arange(self.p, dtype=np.int32)
        for v in V:
            solver.changeColsCost(self.p, columns, -np.ascontiguousarray(v))
            solver.run()
            optimal = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
            values = solver.getSolution().col_value
            yield np.array(values)[: self.p] if optimal else None


def _slack_rows(
    X: Any, y: Array, loss: Loss, eye: Any
) -> tuple[list[Any], list[Array]]:
    """Rows ``A (w, slack) <= b`` that make a slack at least the loss of its row."""
    if isinstance(loss, Hinge):  # slack >= 1 - y f
        return [sparse.hstack([-X * y[:, None], -eye])], [-np.ones(len(y))]
    if isinstance(loss, Pinball):
        q = loss.quantile
        above = sparse.hstack([-q * X, -eye]), -q * y
        below = sparse.hstack([(1 - q) * X, -eye]), (1 - q) * y
        return [above[0], below[0]], [above[1], below[1]]
    assert isinstance(loss, EpsilonInsensitive)
    rows = [sparse.hstack([X, -eye]), sparse.hstack([-X, -eye])]
    return rows, [y + loss.delta, loss.delta - y]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Hold back the banner that the first HiGHS of a process writes past Python."""
    try:
        kept = os.dup(1)
    except OSError:  # no standard output to keep clean
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class PiecewiseLevelSet(L1LevelSet):
    """The models within a budget of the best, one program per extreme."""

    @classmethod
    def at(
        cls, problem: Problem, start: Array, *, max_iter: int = 200
    ) -> "PiecewiseLevelSet":
        """Find the minimum; keep the given model where it is one of the optima."""
        if problem.penalty.any():
            from skdiff.multiplicity._sets._statement import minimiser

            found = minimiser(problem)
            center, n_iter = found.x, found.n_iter
        else:
            result = LinearProgram(problem).minimise()
            if result.status != 0:
                raise UnboundedError(np.inf)
            center, n_iter = result.x[: len(start)], result.nit
        value = problem.value(center)
        given = problem.value(start)
        if given <= value + TIE * max(abs(value), 1e-12):
            center, value = start, min(given, value)
        p = len(center)
        eye, hessian = np.eye(p), np.diag(problem.penalty)
        data = problem.whitened(center, eye)
        return cls(
            problem,
            center,
            value,
            hessian,
            eye,
            np.zeros((p, 0)),
            np.ones(p),
            data,
            max(1, int(n_iter)),
        )

    def maxima(
        self,
        V: Array,
        budget: float,
        *,
        tol: float = 1e-4,
        max_iter: int = 60,
        n_jobs: int | None = None,
        tick: Any = None,
    ) -> tuple[Array, Extremes, Extremes]:
        """Return norms of the directions and the extremes of both signs."""
        U, norms = self.whitened_directions(V)
        ends = [Extremes.empty(len(V), V.shape[1]) for _ in range(2)]
        if self.problem.penalty.any():
            from skdiff.multiplicity._sets._statement import extremes

            models = extremes(self, U, budget)[1]
        else:
            models = self._programs(U, budget)
        for side, end in enumerate(ends):
            sign = 2.0 * side - 1.0
            end.model[:] = models[:, side] - self.center
            end.value[:] = sign * np.einsum("ij,ij->i", U, end.model)
            lost = ~np.isfinite(end.value)
            end.value[lost], end.model[lost] = np.inf, 0.0
        return norms, ends[0], ends[1]

    def _programs(self, U: Array, budget: float) -> Array:
        """Models (m, 2, p) of linear programs; NaN where nothing bounds them."""
        program = LinearProgram(self.problem)
        level = self.objective + budget
        models = np.full((2 * len(U), U.shape[1]), np.nan)
        sides = np.stack([-U, U], axis=1).reshape(models.shape)
        for k, model in enumerate(program.furthest(sides, level)):
            if model is not None:
                models[k] = model
        return models.reshape(len(U), 2, -1)

    def errors(
        self, V: Array, budget: float, *, tol: float, max_iter: int, n_jobs: int | None
    ) -> Array:
        """There is no proof for these losses."""
        raise ValueError(
            "range_error has no bound for piecewise linear losses (hinge, quantile, "
            "epsilon-insensitive): their ranges are solutions of a linear or cone "
            "program, to its solver's tolerance."
        )
