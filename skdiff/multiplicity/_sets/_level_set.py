"""Extreme values of linear functionals over the models within a loss budget.

For data ``X`` (intercept included as a column), weights ``s`` that sum to one and a
quadratic penalty, the level set is ``S = {w : L(w) <= L* + budget}`` with ``L(w) =
sum_i s_i loss(x_i'w, y_i) + w' P w / 2``. The maximum of ``v'w`` over S is the solution
of ``grad L(w) = mu v``, ``L(w) = L* + budget``, ``mu > 0``: a path that leaves the
minimiser in the direction ``H^-1 v``. All directions are solved together.

Coordinates are whitened by the Hessian at the minimiser, so that it is the identity
there: columns of any scale, and a norm that measures what matters.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.typing import Array
from skdiff._convex._newton import newton
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser, blocks_of
from skdiff.multiplicity._sets._problem import Problem, Whitened
from skdiff.multiplicity._sets._statement import ReferenceProgram

# Rows whose residual is above this many times the tolerance are solved anew.
LOOSEST = 10.0
# A direction in which the Hessian is this much flatter than in the steepest one, in
# units where every column has curvature one, is one that the data do not determine.
FLAT = 1e-11


@dataclass
class LevelSet:
    """The models within a budget of the best one, ready for queries."""

    problem: Problem
    center: Array
    objective: float
    hessian: Array
    whiten: Array  # (d, r): w = center + whiten @ u
    null: Array  # (d, d - r): directions that change nothing
    scale: Array  # (d,): root of the Hessian's diagonal
    data: "Whitened" = field(repr=False)
    n_iter: int = 0

    @classmethod
    def at(cls, problem: Problem, start: Array, *, max_iter: int = 200) -> "LevelSet":
        """Find the minimiser and whiten; raise where there is none."""
        found = newton(problem.oracle, start, tol=1e-12, max_iter=max_iter)
        found = found._replace(x=problem.representative(found.x))
        value, _, hessian = problem.oracle(found.x)
        if not np.isfinite(value) or not np.all(np.isfinite(hessian)):
            raise ValueError("The objective is not finite. Rescale the columns of X.")
        if not found.converged and found.gap > 1e-6 * max(1.0, np.sqrt(abs(value))):
            raise UnboundedError(found.gap)
        whiten, null, scale = _whitening(hessian)
        if not problem.loss.smooth and null.shape[1]:
            # rows on the flat piece of the loss have curvature elsewhere in the set
            whiten, null, scale = _whitening(problem.largest_hessian())
        data = problem.whitened(found.x, whiten)
        return cls(
            problem, found.x, value, hessian, whiten, null, scale, data, found.n_iter
        )

    @property
    def dimension(self) -> int:
        """Number of parameters that the data determine."""
        return int(self.whiten.shape[1])

    def arrays(self) -> dict[str, Any]:
        """What :meth:`restore` needs besides the problem."""
        names = ("center", "objective", "hessian", "whiten", "null", "scale", "n_iter")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restore(cls, problem: Problem, **arrays: Any) -> "LevelSet":
        """Rebuild a level set to the bit, without refining it again."""
        data = problem.whitened(arrays["center"], arrays["whiten"])
        return cls(problem=problem, data=data, **arrays)

    def maxima(
        self,
        V: Array,
        budget: float,
        *,
        tol: float = 1e-4,
        max_iter: int = 60,
        n_jobs: int | None = None,
        tick: Callable[[], Any] | None = None,
    ) -> tuple[Array, Extremes, Extremes]:
        """Return norms of the directions and the extremes of both signs.

        The range of ``v'w`` is ``v'center + norm * [-lower.value, upper.value]``;
        directions the data do not bound get an infinite norm.
        """
        U, norms = self.whitened_directions(V)
        solver = self.solver(np.sqrt(2 * budget), tol, max_iter)
        if self.ellipsoidal:
            return norms, solver.ellipsoid(-U), solver.ellipsoid(U)
        chunks = list(blocks_of(len(U), self.data.n))
        parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        lower = Extremes.empty(len(U), U.shape[1])
        upper = Extremes.empty(len(U), U.shape[1])
        pairs = parallel(delayed(solver.both)(U[rows]) for rows in chunks)
        for rows, (low, high) in zip(chunks, pairs, strict=True):
            lower.put(rows, low)
            upper.put(rows, high)
            if tick is not None:
                tick()
        gate = max(LOOSEST * solver.tol, self.finest)
        for sign, end in ((-1.0, lower), (1.0, upper)):
            lost = (norms > 0) & np.isfinite(norms) & ~(end.residual <= gate)
            if lost.any():
                self._solve_by_reference(np.flatnonzero(lost), sign * U, budget, end)
        return norms, lower, upper

    #: residual below which rounding makes no answer better
    finest = 1e-5

    def _solve_by_reference(
        self, rows: Any, U: Array, budget: float, found: Extremes
    ) -> None:
        """Solve rows that Newton's method left above the gate, one program each.

        What the reference solver cannot certify either is unbounded as far as is
        known, and is reported as such.
        """
        to_whitened = np.linalg.pinv(self.whiten)
        statement = ReferenceProgram(self.problem, self.objective + budget)
        failed = 0
        for k in rows:
            v = U[k] @ to_whitened
            try:
                model, multiplier = statement.maximise(v)
            except ValueError:
                failed += 1
                found.put([k], Extremes.unknown(U.shape[1]))
                continue
            u = to_whitened @ (model - self.center)
            value = np.array([U[k] @ u])
            # both are feasible up to rounding: the better one is nearer to the maximum
            found.put(
                [k],
                Extremes(
                    value, u[None], np.array([multiplier]), np.array([self.finest])
                ),
            )
        warn_of_unknown(failed, len(U))

    @property
    def differentiable(self) -> bool:
        """Whether ``data.evaluate`` gives the whole gradient of the objective."""
        return True

    @property
    def ellipsoidal(self) -> bool:
        """Whether the set is an ellipsoid, whose extremes are a formula."""
        return self.problem.loss.quadratic

    def solver(self, tau: float, tol: float, max_iter: int) -> "Maximiser":
        """Return the solver of extremes at a level."""
        return Maximiser(self.data, tau, tol, max_iter)

    def residual(self, V: Array, found: Extremes, gradient: Array) -> Array:
        """What is left of the gradient condition."""
        return gradient - found.multiplier[:, None] * V

    def whitened_directions(self, V: Array) -> tuple[Array, Array]:
        """Unit directions in whitened coordinates, and the norms they had."""
        U = V @ self.whiten
        norms = np.sqrt(np.einsum("ij,ij->i", U, U))
        U = U / np.where(norms > 0, norms, 1.0)[:, None]
        U[norms == 0, :1] = 1.0  # any direction will do: it is multiplied by zero
        if self.null.shape[1]:
            outside = np.abs(V @ self.null).max(axis=1, initial=0.0)
            size = np.linalg.norm(V / self.scale, axis=1)
            norms[outside > 1e-7 * size] = np.inf
        return U, norms

    def radius(self, budget: float) -> float:
        """Radius of a ball around the centre that holds the level set.

        With ``r`` the residual of the extreme along an axis, ``w_j <= u_j + (budget -
        gap) / mu + |r| (|u| + R) / mu`` for every model of the set. Their squares sum
        to at most ``(|a| + |c| R)^2``, which bounds R; infinite where the residuals
        are too large to bound anything.
        """
        axes = np.eye(self.whiten.shape[1])
        tau = np.sqrt(2 * budget)
        solver = self.solver(tau, 1e-6, 60)
        ends = (
            (solver.ellipsoid(-axes), solver.ellipsoid(axes))
            if self.ellipsoidal
            else solver.both(axes)
        )
        reach, loose = np.zeros(len(axes)), np.zeros(len(axes))
        for sign, end in zip((-1, 1), ends, strict=True):
            gap, gradient, _ = self.data.evaluate(end.model)
            r = self.residual(sign * axes, end, gradient)
            size = np.linalg.norm(r, axis=1) / end.multiplier
            along = np.einsum("ij,ij->i", sign * axes, end.model)
            along += (budget - gap) / end.multiplier
            along += size * np.linalg.norm(end.model, axis=1)
            reach, loose = np.maximum(reach, along), np.maximum(loose, size)
        rest = 1 - float(np.linalg.norm(loose))
        radius = float(np.linalg.norm(reach)) / rest if rest > 0 else np.inf
        return radius if np.isfinite(radius) else np.inf

    def errors(
        self, V: Array, budget: float, *, tol: float, max_iter: int, n_jobs: int | None
    ) -> Array:
        """Proven distances (m, 2) of the reported ends from the true ones."""
        norms, low, high = self.maxima(
            V, budget, tol=tol, max_iter=max_iter, n_jobs=n_jobs
        )
        U, _ = self.whitened_directions(V)
        radius = self.radius(budget)
        pairs = (
            self.error_bound(sign * U, part, budget, radius)
            for sign, part in ((-1, low), (1, high))
        )
        return np.column_stack(list(pairs)) * norms[:, None]

    def error_bound(
        self, V: Array, found: Extremes, budget: float, radius: float
    ) -> Array:
        """Distance between a proven upper bound and a feasible point's value.

        For every w in the set, ``v'w <= v'w0 + (budget - gap(w0)) / mu + |r'(w - w0)| /
        mu`` with ``r = grad L(w0) - mu v``; and ``gap`` is convex along the ray from
        the centre, so shrinking ``w0`` by ``budget / gap`` makes it feasible.
        """
        gap, gradient, _ = self.data.evaluate(found.model)
        r = self.residual(V, found, gradient)
        reach = np.einsum("ij,ij->i", V, found.model)
        slack = (budget - gap) / found.multiplier
        size = np.sqrt(np.einsum("ij,ij->i", r, r))
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(found.model, axis=1) + radius
            outer = reach + slack + size * length / found.multiplier
            inner = reach * np.minimum(1.0, budget / np.maximum(gap, 1e-300))
            error = np.maximum(outer - inner, np.abs(found.value - inner))
            error = np.maximum(error, outer - found.value)
            # bounds that cross prove that something is wrong, not that nothing is
            crossed = outer - inner < -1e-9 * (np.abs(inner) + np.sqrt(2 * budget))
        sound = np.isfinite(error) & ~crossed & (found.multiplier > 0)
        return np.where(sound, np.maximum(error, 0.0), np.inf)

    def models(self, U: Array) -> Array:
        """Weights (m, d) of whitened points."""
        return self.center + U @ self.whiten.T


def warn_of_unknown(failed: int, total: int) -> None:
    """Tell of bounds that no solver certified."""
    if failed:
        warnings.warn(
            f"{failed} of {total} bounds could not be computed to the tolerance tol "
            "and are reported as infinite. Rescale the columns of X, or choose a "
            "smaller epsilon.",
            ConvergenceWarning,
            stacklevel=3,
        )


def _whitening(hessian: Array) -> tuple[Array, Array, Array]:
    """Coordinates in which the matrix is the identity, its null space, its scale."""
    scale = np.sqrt(np.diag(hessian))
    scale[scale == 0] = 1.0
    values, vectors = np.linalg.eigh(hessian / scale / scale[:, None])
    kept = values > FLAT * max(values.max(initial=0.0), 1e-300)
    whiten = vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None]
    return whiten, vectors[:, ~kept] / scale[:, None], scale


class UnboundedError(ValueError):
    """The objective has no minimiser."""

    def __init__(self, gap: float) -> None:
        super().__init__(f"Newton's method stopped with a decrement of {gap:.2g}.")
