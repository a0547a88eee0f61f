"""Extremes over the level set of a sparse table, without a Hessian as a matrix.

The paths, the joint Newton steps and the continuation of levels are those of
:class:`Maximiser`. Its systems are solved by conjugate gradients, and coordinates are
only scaled: lengths are taken in the metric of the Hessian, where they are Newton
decrements.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._krylov import pcg_rows
from skdiff._convex._newton import newton_krylov
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser, State

# Values are of second order in the residuals, so that steps need few digits.
ACCURACY = 1e-6
STEPS, NEWTON_STEPS = 60, 50  # of the bracketed search, and of one point of it


@dataclass
class SparseState(State):
    """The same with both columns of the Newton system, which its size needs."""

    p: Array = field(default_factory=lambda: np.empty(0))
    q: Array = field(default_factory=lambda: np.empty(0))


class SparseMaximiser(Maximiser):
    """Maximise directions of unit length over the level set of a sparse table."""

    data: Any  # the level set itself: it has the products that the data would have

    def both(self, V: Array, A: Array | None = None) -> tuple[Extremes, Extremes]:
        """Maxima of ``-V`` and of ``V``; A is the inverse Hessian times V."""
        A = self._inverse(V) if A is None else A
        V2, mu = np.concatenate([-V, V]), np.full(2 * len(V), self.tau)
        found = self.solve(V2, self.tau * np.concatenate([-A, A]), mu)
        return found[: len(V)], found[len(V) :]

    def start(self, V: Array, level: Array) -> tuple[Array, Array]:
        """First-order points of the paths where ``sqrt(2 gap)`` is the level."""
        return level[:, None] * self._inverse(V), level.copy()

    def state(self, V: Array, U: Array, mu: Array, tau: Any) -> SparseState:
        """Residuals of the two optimality conditions, in units of ``tau``."""
        with np.errstate(over="ignore", invalid="ignore"):
            gap, gradient, second = self.data.evaluate(U)
            reach = np.sqrt(2 * np.maximum(gap, 1e-300))
            r1, r2 = gradient - mu[:, None] * V, reach - tau
        finite = np.isfinite(gap) & np.isfinite(r1).all(axis=1)
        r1[~finite], second[~finite] = 0.0, 0.0
        product, metric = self.data.product(second), self.data.metric
        p = pcg_rows(product, V, metric, tol=ACCURACY).x
        q = pcg_rows(product, r1, metric, tol=ACCURACY).x
        # the decrement: what is left of the gradient condition, in the Hessian's metric
        off = np.sqrt(np.maximum(np.einsum("ij,ij->i", r1, q), 0.0))
        size = np.where(finite, np.maximum(off, np.abs(r2)) / self.tau, np.inf)
        return SparseState(gap, reach, gradient, second, r1, r2, size, p, q)

    def systems(
        self, state: Any, V: Array, U: Array, mu: Array
    ) -> tuple[Array, Array, Array]:
        """Columns ``p = H^-1 v`` and ``q = H^-1 r1``, and the slope of the reach."""
        return state.p, state.q, state.gradient / state.reach[:, None]

    def one_by_one(self, V: Array) -> Extremes:
        """Bracket each multiplier on its path, whose level is monotone."""
        found = Extremes.empty(*V.shape)
        for k, v in enumerate(V):
            u, mu = self._root(v)
            U, multiplier = u[None], np.array([mu])
            state = self.state(v[None], U, multiplier, self.tau)
            found.put([k], self.finish(state, v[None], U, multiplier, [0], 1))
        return found

    def _root(self, v: Array) -> tuple[Array, float]:
        """Point of ``argmin L(u) - mu v'u`` at the level, by regula falsi (Illinois).

        The ends are levels in units of ``tau``; without a minimiser the multiplier is
        beyond every level.
        """
        tilt = v * self.data.scale  # in the coordinates of the problem
        w = self.data.center
        low, high, f_low, f_high, mu = 0.0, np.inf, -1.0, 1.0, self.tau
        best = (np.inf, w, mu)
        for _ in range(STEPS):
            w, f = self._level_at(mu * tilt, w)
            if abs(f) < best[0]:
                best = abs(f), w, mu
            if best[0] < ACCURACY:
                break
            if f > 0:
                high, f_high, f_low = mu, min(f, 1.0), f_low / 2
            else:
                low, f_low, f_high = mu, f, f_high / 2
            if not np.isfinite(high):
                mu *= 2
            elif np.isfinite(f):
                mu = (low * f_high - high * f_low) / (f_high - f_low)
            else:
                mu = (low + high) / 2
        _, w, mu = best
        return (w - self.data.center) * self.data.scale, mu

    def _level_at(self, tilt: Array, w: Array) -> tuple[Array, float]:
        """Minimiser for a tilt, and how far its level is above ``tau``, relatively."""
        problem = replace(self.data.problem, tilt=tilt)
        found = newton_krylov(problem, w, tol=1e-7 * self.tau, max_iter=NEWTON_STEPS)
        gap = self.data.problem.value(found.x) - self.data.objective
        level = np.sqrt(2 * max(gap, 0.0)) / self.tau - 1.0
        if not np.isfinite(level) or found.gap > ACCURACY * self.tau:
            return w, np.inf
        return found.x, float(level)

    def _inverse(self, V: Array) -> Array:
        """Solutions of systems with the Hessian at the centre."""
        return np.asarray(self.data.solve_at_center(V).x)
