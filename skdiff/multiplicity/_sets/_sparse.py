"""Level sets of high-dimensional sparse X, which is never made dense.

The Hessian is an operator: two products with the table. All systems of a block of
directions are solved together by conjugate gradients, in coordinates in which its
diagonal at the minimiser is one; nothing of size (columns x columns) exists.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.sparse import diags_array, issparse

from skdiff._base.typing import Array
from skdiff._convex._krylov import Product, pcg_rows
from skdiff._convex._newton import newton_krylov
from skdiff.multiplicity._sets._level_set import UnboundedError
from skdiff.multiplicity._sets._maximiser import Extremes
from skdiff.multiplicity._sets._problem import Problem

CELLS = 2_000_000  # numbers of a block of directions, in rows or in columns
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

    def _product(self, second: Array) -> Product:
        """The Hessian of each point as an operator on its own row."""
        ridge = self.problem.penalty / self.scale**2

        def product(P: Array) -> Array:
            F = (self.X @ P.T).T * second
            return np.asarray((self.X.T @ F.T).T + P * ridge)

        return product

    def _evaluate(self, U: Array) -> tuple[Array, Array, Array]:
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
        m, d = V.shape
        _, _, second = self._evaluate(np.zeros((1, d)))
        A, lost = pcg_rows(self._product(second), V)
        norms = np.sqrt(np.maximum(np.einsum("ij,ij->i", V, A), 0.0))
        unit = np.where(norms > 0, norms, 1.0)[:, None]
        norms[lost > 1e-5] = np.inf
        V2 = np.concatenate([-V / unit, V / unit])
        A2 = np.concatenate([-A / unit, A / unit])
        found = Extremes.empty(2 * m, d)
        todo = np.flatnonzero(np.tile((norms > 0) & np.isfinite(norms), 2))
        if self.problem.loss.quadratic:
            found.value[todo], found.model[todo] = tau, tau * A2[todo]
            found.multiplier[:] = tau
        else:
            self._newton(V2, A2, tau, tol, max_iter, todo, found)
        low, high = (
            Extremes(
                found.value[h], found.model[h], found.multiplier[h], found.residual[h]
            )
            for h in (slice(0, m), slice(m, None))
        )
        return norms, low, high

    def _newton(
        self,
        V2: Array,
        A2: Array,
        tau: float,
        tol: float,
        max_iter: int,
        rows: Any,
        found: Extremes,
    ) -> None:
        """Joint Newton on ``(u, mu)``; rows that do not shrink are bracketed."""
        U, mu = tau * A2[rows], np.full(len(rows), tau)
        before, slow = np.full(len(rows), np.inf), []
        for n_iter in range(max_iter):
            V = V2[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                gap, gradient, second = self._evaluate(U)
            reach = np.sqrt(2 * np.maximum(gap, 1e-300))
            r1, r2 = gradient - mu[:, None] * V, reach - tau
            finite = np.isfinite(gap) & np.isfinite(r1).all(axis=1)
            r1[~finite], second[~finite] = 0.0, 0.0
            product = self._product(np.vstack([second, second]))
            both = pcg_rows(product, np.vstack([V, r1]), tol=1e-8).x
            p, q = both[: len(rows)], both[len(rows) :]
            off = np.sqrt(np.maximum(np.einsum("ij,ij->i", r1, q), 0.0))
            size = np.where(finite, np.maximum(off, np.abs(r2)) / tau, np.inf)
            done = size <= tol
            if done.any():
                value = np.einsum("ij,ij->i", V, U) + (tau**2 / 2 - gap) / mu
                found.put(
                    rows[done],
                    Extremes(value[done], U[done], mu[done], size[done], n_iter),
                )
            lost = ~done & ~(size < (0.9 if n_iter == 0 else 0.7 * before))
            slow.append(rows[lost])
            go = ~done & ~lost
            if not go.any():
                break
            G = gradient[go] / reach[go, None]
            p, q, m_go = p[go], q[go], mu[go]
            change = (np.einsum("ij,ij->i", G, q) - r2[go]) / np.einsum(
                "ij,ij->i", G, p
            )
            change = np.clip(np.nan_to_num(change), -0.6 * m_go, 1.5 * m_go)
            U, mu = U[go] + p * change[:, None] - q, m_go + change
            rows, before = rows[go], size[go]
        else:
            slow.append(rows)
        for k in np.concatenate(slow) if slow else ():
            found.put([k], self._bracketed(V2[k], tau))

    def _bracketed(self, v: Array, tau: float) -> Extremes:
        """Root of ``sqrt(2 gap(mu)) = tau`` along the path, which is monotone."""
        tilt = v * self.scale  # in the coordinates of the problem
        low, high, w = 0.0, np.inf, self.center
        f_low, f_high, mu = -tau, tau, tau
        for _ in range(200):
            found = newton_krylov(replace(self.problem, tilt=mu * tilt), w, tol=1e-11)
            gap = self.problem.value(found.x) - self.objective
            f = np.sqrt(2 * max(gap, 0.0)) - tau
            # without a minimiser the multiplier is beyond every level
            lost = not np.isfinite(f) or found.gap > 1e-6
            if not lost:
                w = found.x
                if abs(f) < 1e-9 * tau:
                    break
            if lost or f > 0:
                high, f_high, f_low = mu, (tau if lost else f), f_low / 2
            else:
                low, f_low, f_high = mu, f, f_high / 2
            if not np.isfinite(high):
                mu *= 2
            elif lost or high - low < 1e-15 * high:
                mu = (low + high) / 2
            else:
                mu = (low * f_high - high * f_low) / (f_high - f_low)
        u = (w - self.center) * self.scale
        gap = float(self._evaluate(u[None])[0][0])
        value = np.array([v @ u + (tau**2 / 2 - gap) / mu])
        return Extremes(value, u[None], np.array([mu]), np.zeros(1), 1)

    def errors(self, V: Any, budget: float, **settings: Any) -> Array:
        """There is no proof without a radius of the set."""
        raise ValueError("range_error is not available for high-dimensional sparse X.")
