"""Whether one model of a level set can meet several half-space constraints at once.

A constraint is ``a'u >= c`` with a unit vector ``a``, in the whitened coordinates of
``_level_set``. A set of constraints can be met within the budget exactly when the least
gap under them is at most the budget. Every "no" given here is proven by convexity,
every "yes" by a model; what is neither is called unknown.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, solve_triangular
from scipy.optimize import nnls

from skdiff._base.typing import Array
from skdiff.multiplicity._sets._level_set import LevelSet
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser

YES, NO, UNKNOWN = 1, -1, 0

_MAX_STEPS, _ROUNDS = 40, 8
# Pairs are checked in blocks, whose temporaries are a few megabytes.
_BLOCK = 4096
# A "yes" is safe from rounding by this fraction of the set's size.
SPARE = 1e-9


@dataclass
class Verdict:
    """What is known about one set of constraints."""

    verdict: int
    model: Array  # whitened; meets the constraints when the verdict is YES


@dataclass
class Feasibility:
    """Feasibility of constraints on the models of one level set."""

    level_set: LevelSet
    budget: float
    radius: float  # of a ball around the centre that holds the set

    @classmethod
    def of(cls, level_set: LevelSet, budget: float) -> "Feasibility":
        """Prepare a level set."""
        return cls(level_set, budget, level_set.radius(budget))

    def together(self, A: Array, c: Array, start: Array | None = None) -> Verdict:
        """Minimise the gap under all constraints, as far as needed for a verdict.

        The model of a "yes" meets them with a little to spare.

        Sequential quadratic programming from a point that meets the constraints: linear
        constraints stay met along every step, so only the gap needs a line search. For
        multipliers ``l >= 0`` and any feasible u, convexity gives ``gap(u) >= gap(u0)
        + l'(c - A u0) + (grad - A'l)'(u - u0)``, the proof of a "no".
        """
        data = self.level_set.data
        firm = c + SPARE * np.sqrt(2 * self.budget)
        if start is None or np.any(A @ start < firm):
            start, _ = least_distance(A, firm)
            if start is None or np.linalg.norm(start) > self.radius:
                return Verdict(NO, np.zeros(A.shape[1]))
            if not np.all(np.isfinite(start)):
                return Verdict(UNKNOWN, np.zeros(A.shape[1]))
        u = start
        gap, gradient, second = _evaluate(data, u)
        for _ in range(_MAX_STEPS):
            if gap <= self.budget:
                return Verdict(YES, u)
            H = data.hessian(second)[0]
            step, multiplier = quadratic_step(H, gradient, A, firm - A @ u)
            if step is None:
                return Verdict(UNKNOWN, u)
            rest = np.linalg.norm(gradient - A.T @ multiplier)
            proven = gap + multiplier @ (c - A @ u) - 2 * self.radius * rest
            if proven > self.budget * (1 + 1e-9):
                return Verdict(NO, u)
            slope, t = float(gradient @ step), 1.0
            if slope > -1e-14 * max(gap, self.budget):
                break
            while True:
                found = _evaluate(data, u + t * step)
                if found[0] <= gap + 1e-4 * t * slope:
                    break
                t /= 2
                if t < 1e-8:
                    return Verdict(UNKNOWN, u)
            u = u + t * step
            gap, gradient, second = found
        return Verdict(YES if gap <= self.budget else UNKNOWN, u)

    def pairs(self, A: Array, c: Array, first: Any, second: Any) -> Array:
        """Verdicts (n_pairs,) on pairs of constraints, solved together.

        By duality a pair fails exactly when, for some ``t`` in [0, 1], the support
        function of the set in the direction ``t a + (1 - t) b`` stays below ``t c_a +
        (1 - t) c_b``. Their difference is convex in ``t`` with a derivative read off
        the maximiser, so ``t`` is bisected until a maximiser meets both constraints or
        the difference is proven negative.
        """
        verdicts = np.zeros(len(first), dtype=int)
        for start in range(0, len(first), _BLOCK):
            block = slice(start, start + _BLOCK)
            verdicts[block] = self._pair_block(A, c, first[block], second[block])
        return verdicts

    def _pair_block(self, A: Array, c: Array, first: Any, second: Any) -> Array:
        verdict = np.zeros(len(first), dtype=int)
        low, high = np.zeros(len(first)), np.ones(len(first))
        t = self._first_mix(A, c, first, second)
        open_ = np.arange(len(first))
        for _ in range(_ROUNDS):
            i, j, share = first[open_], second[open_], t[open_, None]
            V = share * A[i] + (1 - share) * A[j]
            norms = np.linalg.norm(V, axis=1)
            # opposite directions: there is no unit vector, the bounds decide
            V = np.where(norms[:, None] > 1e-12, V, A[i])
            norms = np.where(norms > 1e-12, norms, 1.0)
            unit = V / norms[:, None]
            found = upper_ends(self.level_set, unit, self.budget)
            outer = outer_value(self.level_set, unit, found, self.budget, self.radius)
            goal = (share[:, 0] * c[i] + (1 - share[:, 0]) * c[j]) / norms
            U = shrunk(self.level_set, found.model, self.budget)
            over = np.einsum("ij,ij->i", A[i], U) - c[i]
            under = np.einsum("ij,ij->i", A[j], U) - c[j]
            yes = (over >= 0) & (under >= 0)
            no = ~yes & (outer < goal)
            verdict[open_[yes]], verdict[open_[no]] = YES, NO
            rising = over > under  # the derivative in t
            high[open_[rising]] = t[open_[rising]]
            low[open_[~rising]] = t[open_[~rising]]
            open_ = open_[~(yes | no)]
            if not len(open_):
                break
            t[open_] = (low[open_] + high[open_]) / 2
        for k in open_:  # close calls, one by one
            both = [first[k], second[k]]
            verdict[k] = self.together(A[both], c[both]).verdict
        return verdict

    def _first_mix(self, A: Array, c: Array, first: Any, second: Any) -> Array:
        """The worst mix if the set were a ball: a good first guess."""
        size = np.sqrt(2 * self.budget)
        grid = np.linspace(0.02, 0.98, 25)[:, None]
        cosine = np.einsum("ij,ij->i", A[first], A[second])
        norm = np.sqrt(grid**2 + (1 - grid) ** 2 + 2 * grid * (1 - grid) * cosine)
        spare = size * norm - grid * c[first] - (1 - grid) * c[second]
        return np.asarray(grid[np.argmin(spare, axis=0), 0])


def upper_ends(level_set: LevelSet, unit: Array, budget: float) -> Extremes:
    """Maximisers of whitened unit directions."""
    solver = Maximiser(level_set.data, np.sqrt(2 * budget), 1e-7, 60)
    if level_set.problem.loss.quadratic:
        return solver.ellipsoid(unit)
    step = max(8, 100_000 // max(level_set.data.n, 1))
    found = Extremes.empty(len(unit), unit.shape[1])
    for start in range(0, len(unit), step):
        rows = slice(start, start + step)
        V = unit[rows]
        mu, U = solver.predict(V)  # of both signs; only the second half is needed
        found.put(rows, solver.solve(V, U[len(V) :], mu[len(V) :]))
    return found


def outer_value(
    level_set: LevelSet, unit: Array, found: Extremes, budget: float, radius: float
) -> Array:
    """Proven upper bounds of the maxima whose solution is ``found``."""
    gap, gradient, _ = level_set.data.evaluate(found.model)
    r = gradient - found.multiplier[:, None] * unit
    size = np.sqrt(np.einsum("ij,ij->i", r, r))
    reach = np.einsum("ij,ij->i", unit, found.model)
    bound = reach + (budget - gap + 2 * radius * size) / found.multiplier
    return np.asarray(np.where(np.isfinite(bound), bound, np.inf))


def shrunk(level_set: LevelSet, U: Array, budget: float) -> Array:
    """Models pulled towards the centre until they are in the set, by convexity."""
    gap = level_set.data.evaluate(U)[0]
    room = budget * (1 - 1e-12)
    return np.asarray(U * np.minimum(1.0, room / np.maximum(gap, 1e-300))[:, None])


def quadratic_step(
    H: Array, gradient: Array, A: Array, constraint: Array
) -> tuple[Array | None, Array]:
    """Minimise ``d'Hd / 2 + gradient'd`` under ``A d >= constraint``.

    In the coordinates ``x = L'(d + H^-1 gradient)``, ``H = L L'``, it is the point of
    least norm of a polyhedron. Returns the step and the multipliers of the constraints.
    """
    try:
        L = cho_factor(H, lower=True, check_finite=False)[0]
    except LinAlgError:
        return None, np.zeros(len(A))
    G = solve_triangular(L, A.T, lower=True, check_finite=False).T
    x0 = solve_triangular(L, gradient, lower=True, check_finite=False)
    x, multiplier = least_distance(G, constraint + G @ x0)
    if x is None or not np.all(np.isfinite(x)):
        return None, np.zeros(len(A))
    step = solve_triangular(L, x - x0, lower=True, trans=1, check_finite=False)
    return step, multiplier


def least_distance(G: Array, h: Array) -> tuple[Array | None, Array]:
    """Least ``|x|`` with ``G x >= h``, by non-negative least squares.

    Lawson and Hanson (1974), chapter 23; with the multipliers of the constraints. None
    if there is no such x, NaN if the solver gave up.
    """
    if not len(G):  # SciPy's solver aborts on a matrix without columns
        return np.zeros(G.shape[1]), np.zeros(0)
    scale = max(float(np.abs(h).max(initial=0.0)), 1e-300)
    E = np.vstack([G.T, h / scale])
    target = np.zeros(len(E))
    target[-1] = 1.0
    try:
        y, _ = nnls(E, target)
    except RuntimeError:  # it ran out of steps
        return np.full(G.shape[1], np.nan), np.zeros(len(G))
    residual = target - E @ y
    if residual[-1] < 1e-12:
        return None, np.zeros(len(G))
    x = -residual[:-1] / residual[-1] * scale
    return x, y * scale / residual[-1]


def _evaluate(data: Any, u: Array) -> tuple[float, Array, Array]:
    with np.errstate(over="ignore", invalid="ignore"):
        gap, gradient, second = data.evaluate(u[None])
    value = float(gap[0]) if np.isfinite(gap[0]) else np.inf
    return value, gradient[0], second
