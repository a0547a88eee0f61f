"""Level sets of high-dimensional sparse X, which is never made dense.

The Hessian is an operator: two products with the table. All systems of a block of
directions are solved together by conjugate gradients, in coordinates in which its
diagonal at the minimiser is one; nothing of size (columns x columns) exists.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky
from scipy.sparse import diags_array, issparse

from skdiff._base.typing import Array
from skdiff._convex._krylov import Product, RowSolutions, pcg_rows
from skdiff._convex._newton import newton_krylov
from skdiff.multiplicity._sets._level_set import (
    LOOSEST,
    UnboundedError,
    warn_of_unknown,
)
from skdiff.multiplicity._sets._maximiser import Extremes
from skdiff.multiplicity._sets._problem import Problem
from skdiff.multiplicity._sets._sparse_maximiser import SparseMaximiser

FINEST = 1e-5  # residual below which rounding makes no answer better
CELLS = 500_000  # numbers of a block of directions, in rows or in columns
LARGEST_FACTOR, COLUMNS = 6000, 256  # columns that are factored, and made at a time
SMALLEST_PIVOT = 1e-5  # the diagonal of what is factored is one
MODELS_UP_TO = 60_000_000  # numbers of boundary models that are kept


@dataclass
class SparseProblem(Problem):
    """Losses of a sparse table plus a quadratic penalty."""

    tilt: Array | float = 0.0  # a linear function that is subtracted

    def value(self, w: Array) -> float:
        """Return the objective, less ``tilt'w``."""
        return super().value(w) - float(np.sum(self.tilt * w))

    def derivatives(self, w: Array) -> tuple[Array, Product, Array]:
        """Return gradient, product with the Hessian, and its diagonal."""
        _, first, second = self.loss.evaluate(self.X @ w, self.y, 2)
        gradient = self.X.T @ (self.s * first) + self.penalty * w - self.tilt
        curvature = self.s * second

        def product(p: Array) -> Array:
            return np.asarray(self.X.T @ (curvature * (self.X @ p)) + self.penalty * p)

        return gradient, product, self.diagonal(curvature)

    def diagonal(self, second: Array) -> Array:
        """Diagonal of the Hessian."""
        squares = self.X.multiply(self.X)  # type: ignore[attr-defined]
        return np.asarray(squares.T @ second).ravel() + self.penalty


@dataclass
class SparseLevelSet:
    """The models within a budget of the best one, for a sparse table."""

    problem: SparseProblem
    center: Array
    objective: float
    scale: Array  # root of the Hessian's diagonal
    n_iter: int = 0
    hessian: None = None
    X: Any = field(default=None, repr=False)  # columns in scaled coordinates

    @classmethod
    def at(cls, problem: SparseProblem, start: Array) -> "SparseLevelSet":
        """Find the minimiser; raise where there is none."""
        found = newton_krylov(problem, start, tol=1e-11)
        value = found.objective
        if not np.isfinite(value) or found.gap > 1e-6 * max(1.0, np.sqrt(abs(value))):
            raise UnboundedError(found.gap)
        scale = np.sqrt(problem.derivatives(found.x)[2])
        scale[scale == 0] = 1.0
        return cls.restore(
            problem,
            center=found.x,
            objective=value,
            scale=scale,
            n_iter=found.n_iter,
        )

    @classmethod
    def restore(cls, problem: SparseProblem, **arrays: Any) -> "SparseLevelSet":
        """Rebuild from arrays."""
        X = (problem.X @ diags_array(1.0 / arrays["scale"])).tocsr()
        return cls(problem=problem, X=X, **arrays)

    def arrays(self) -> dict[str, Any]:
        """What :meth:`restore` needs besides the problem."""
        names = ("center", "objective", "scale", "n_iter")
        return {name: getattr(self, name) for name in names}

    @property
    def differentiable(self) -> bool:
        """Only extremes exist: there are no whitened coordinates to draw from."""
        return False

    @property
    def ellipsoidal(self) -> bool:
        """Whether the set is an ellipsoid."""
        return self.problem.loss.quadratic

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return len(self.center)

    @property
    def r(self) -> int:
        """The same, as the maximiser of whitened data calls it."""
        return len(self.center)

    def models(self, U: Array) -> Array:
        """Weights (m, d) of scaled points."""
        return self.center + U / self.scale

    def maxima(
        self,
        V: Any,
        budget: float,
        *,
        tol: float = 1e-4,
        max_iter: int = 60,
        n_jobs: int | None = None,
        tick: Callable[[], Any] | None = None,
    ) -> tuple[Array, Extremes, Extremes]:
        """Return norms of the directions and the extremes of both signs."""
        m, d = V.shape
        kept = d if m * d <= MODELS_UP_TO else 0
        ends = Extremes.empty(m, kept), Extremes.empty(m, kept)
        norms, tau = np.zeros(m), np.sqrt(2 * budget)
        size = max(1, CELLS // max(self.X.shape))
        for first in range(0, m, size):
            rows = np.arange(first, min(m, first + size))
            part = V[rows].toarray() if issparse(V) else V[rows]
            found = self._both(part / self.scale, tau, tol, max_iter)
            norms[rows] = found[0]
            for end, new in zip(ends, found[1:], strict=True):
                new.model = new.model[:, :kept]
                end.put(rows, new)
            if tick is not None:
                tick()
        return norms, *ends

    def product(self, second: Array) -> Product:
        """The Hessian of each point as an operator on its own row."""
        ridge = self.problem.penalty / self.scale**2

        def product(P: Array) -> Array:
            F = (self.X @ P.T).T * second
            return np.asarray((self.X.T @ F.T).T + P * ridge)

        return product

    def solve_at_center(self, V: Array) -> RowSolutions:
        """Solve systems with the Hessian at the centre."""
        second = self._second_at_center()
        return pcg_rows(self.product(second), V, self.metric)

    def _second_at_center(self) -> Array:
        return self.evaluate(np.zeros((1, self.dimension)))[2]

    @cached_property
    def metric(self) -> Product | None:
        """Preconditioner of all systems: the inverse of the Hessian at the centre.

        None is the identity, for tables of so many columns that a factor would take
        more than the dense table, and where the Hessian is singular.
        """
        n, d = self.X.shape
        if d > min(n, LARGEST_FACTOR):
            return None
        factor = self._factor()
        if factor is None:
            return None
        return lambda R: cho_solve((factor, True), R.T, check_finite=False).T

    def _factor(self) -> Array | None:
        """Lower Cholesky factor of the Hessian at the centre; None if singular."""
        d = self.dimension
        H = np.empty((d, d), order="F")
        half = self.X.T.tocsr() @ diags_array(self._second_at_center()[0])
        columns = self.X.tocsc()
        for first in range(0, d, COLUMNS):
            block = slice(first, first + COLUMNS)
            H[:, block] = (half @ columns[:, block]).toarray()
        H[np.diag_indices(d)] += self.problem.penalty / self.scale**2
        try:
            H = cholesky(H, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        return H if H.diagonal().min(initial=1.0) > SMALLEST_PIVOT else None

    def evaluate(self, U: Array) -> tuple[Array, Array, Array]:
        """Gaps, gradients and weighted second derivatives."""
        problem = self.problem
        c = self.center * self.scale
        ridge = problem.penalty / self.scale**2
        F = (self.X @ (U + c).T).T
        value, first, second = problem.loss.evaluate(F, problem.y, 2)
        W = U + c
        total = value @ problem.s + (W**2 @ ridge) / 2
        gradient = (self.X.T @ (first * problem.s).T).T + W * ridge
        return total - self.objective, gradient, second * problem.s

    def _both(
        self, V: Array, tau: float, tol: float, max_iter: int
    ) -> tuple[Array, Extremes, Extremes]:
        """Maxima of ``-V`` and ``V`` in units of their norms."""
        A, lost = self.solve_at_center(V)
        norms = np.sqrt(np.maximum(np.einsum("ij,ij->i", V, A), 0.0))
        norms[lost > 1e-5] = np.inf
        ends = Extremes.empty(*V.shape), Extremes.empty(*V.shape)
        rows = np.flatnonzero((norms > 0) & np.isfinite(norms))
        unit = norms[rows, None]
        V, A = V[rows] / unit, A[rows] / unit
        if self.ellipsoidal:
            halves = Extremes.ellipsoid(-A, tau), Extremes.ellipsoid(A, tau)
        else:
            halves = SparseMaximiser(self, tau, tol, max_iter).both(V, A)
            self._gate(halves, max(LOOSEST * tol, FINEST))
        for end, half in zip(ends, halves, strict=True):
            end.put(rows, half)
        return norms, *ends

    def _gate(self, halves: Any, gate: float) -> None:
        """Let no answer pass whose conditions are not met."""
        failed = 0
        for half in halves:
            lost = np.flatnonzero(~(half.residual <= gate))
            for k in lost:
                half.put([k], Extremes.unknown(self.dimension))
            failed += len(lost)
        warn_of_unknown(failed, 2 * len(halves[0].value))

    def errors(self, V: Any, budget: float, **settings: Any) -> Array:
        """There is no proof without a radius of the set."""
        raise ValueError("range_error is not available for high-dimensional sparse X.")
