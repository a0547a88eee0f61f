"""Minimisation under expected constraints by ascent on the dual function.

``P* = min_x L_0(x)  s.t.  L_j(x) <= c_j``. The dual function ``d(lam) = min_x L_0 +
sum_j lam_j (L_j - c_j)`` is concave with gradient ``L_j - c_j`` and Hessian ``-J H^-1
J'`` (Elenter, Chamon and Ribeiro, 2024, section 2; J and H are the Jacobian of the
constraints and the Hessian of the Lagrangian at its minimiser). Newton steps on it,
projected on ``0 <= lam <= ceiling``, need a handful of inner solves. The ceiling makes
an exact penalty of constraints that cannot hold: their multipliers reach it, and the
violation is then the smallest one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff._convex._newton import newton, spd_solve
from skdiff._convex._solve import Solution

CEILING = 1e6
_INNER_TOL, _INNER_ITER = 1e-10, 200
_ARMIJO, _HALVINGS = 1e-4, 30
_FINER = 1e-4  # the ascent aims at this fraction of the tolerance, which costs a step
_GROWTH, _PROGRESS, _OUTER = 4.0, 0.25, 40


class Terms(NamedTuple):
    """Objective, excess ``L_j - c_j`` of each constraint, and its Jacobian."""

    objective: float
    excess: Array
    jacobian: Array


class ConstrainedProblem(Protocol):
    """What the ascent needs to know."""

    def lagrangian(self, x: Array, multipliers: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian of the Lagrangian."""
        ...

    def slope(self, x: Array, multipliers: Array) -> tuple[float, Array]:
        """Return value and gradient of the Lagrangian."""
        ...

    def terms(self, x: Array) -> Terms:
        """Return what the Lagrangian is made of."""
        ...


class Ascent(NamedTuple):
    """State of the multipliers; ``inner`` is the minimiser of their Lagrangian."""

    multipliers: Array
    inner: Solution
    terms: Terms

    def gap(self) -> float:
        """Bound of the distance of the objective to the optimum.

        Objective and dual value differ by ``sum_j lam_j (L_j - c_j)``; what the inner
        minimisation has left is at most the square of its decrement.
        """
        return float(np.abs(self.multipliers @ self.terms.excess) + self.inner.gap**2)


def dual_newton(
    problem: ConstrainedProblem,
    x: Array,
    multipliers: Array,
    *,
    tol: float = 1e-6,
    max_iter: int = 100,
    ceiling: float = CEILING,
    watch: Callable[[Ascent], bool] | None = None,
) -> Solution:
    """Solve a convex problem by projected Newton steps on its dual.

    Parameters
    ----------
    problem : ConstrainedProblem
        The Lagrangian has to be convex in x.
    x : ndarray of shape (n_unknowns,)
        Start of the first inner minimisation.
    multipliers : ndarray of shape (n_constraints,)
        Start of the ascent.
    tol : float
        Bound of the gap and of the violations at which the result has converged.
    max_iter : int
        Most steps on the dual.
    ceiling : float
        Largest multiplier.
    watch : callable or None
        Called with every iterate; True ends the ascent.

    Returns
    -------
    solution : Solution
        ``gap`` is an upper bound of the distance of the objective to the optimum.
        ``stats`` holds ``multipliers``, ``excess`` and ``capped``: whether a multiplier
        has reached the ceiling.
    """

    def minimise(lam: Array, start: Array) -> Ascent:
        inner = newton(
            lambda x: problem.lagrangian(x, lam),
            start,
            tol=_INNER_TOL,
            max_iter=_INNER_ITER,
        )
        return Ascent(lam, inner, problem.terms(inner.x))

    state, n_iter, best = minimise(multipliers, x), 0, np.inf
    while n_iter < max_iter and not (watch is not None and watch(state)):
        error = _error(state, ceiling)
        # the last steps square the error; where they no longer do, rounding rules
        if error <= _FINER * tol or (error <= tol and error > 0.5 * best):
            break
        best = min(best, error)
        found = _ascend(problem, state, minimise, ceiling)
        if found is None:
            break
        state, n_iter = found, n_iter + 1
    capped = bool(np.any(state.multipliers >= 0.999 * ceiling))
    stats = {
        "multipliers": state.multipliers,
        "excess": state.terms.excess,
        "capped": capped,
    }
    converged = bool(state.inner.converged and _error(state, ceiling) <= tol)
    gap = state.gap()
    return Solution(state.inner.x, state.terms.objective, gap, n_iter, converged, stats)


def _error(state: Ascent, ceiling: float) -> float:
    """Largest of violation and complementarity; capped constraints do not count."""
    lam, excess = state.multipliers, state.terms.excess
    open_ = lam < 0.999 * ceiling
    violation = np.max(excess[open_], initial=0.0)
    slack = np.abs(lam * excess)[open_ | (excess < 0)]
    return float(max(violation, slack.sum()))


def _ascend(
    problem: ConstrainedProblem,
    state: Ascent,
    minimise: Callable[[Array, Array], Ascent],
    ceiling: float,
) -> Ascent | None:
    """One step with Armijo's rule; None where the dual does not grow any more."""
    lam, (_, g, J), x = state.multipliers, state.terms, state.inner.x
    dual = state.inner.objective
    hessian = problem.lagrangian(x, lam)[2]
    back = spd_solve(hessian, J.T)  # dx = -back @ dlam, to first order
    step = box_qp(J @ back, g, -lam, ceiling - lam)
    gain, t = float(g @ step), 1.0
    floor = 8 * np.finfo(float).eps * max(abs(dual), 1e-300)
    if not np.isfinite(gain) or gain <= 0:
        return None
    for _ in range(_HALVINGS):
        found = minimise(lam + t * step, x - t * (back @ step))
        if found.inner.objective >= dual + _ARMIJO * t * gain - floor:
            return found
        t /= 2
    return None


def box_qp(M: Array, g: Array, low: Array, high: Array) -> Array:
    """Maximise ``g'd - d'Md / 2`` for ``low <= d <= high``, M of few rows.

    The primal active-set method: a Newton step on the free variables goes as far as the
    box lets it, what stops it becomes bound, and of the bound variables the one with
    the largest slope into the box becomes free. A tiny ridge makes singular M finite.
    """
    if not len(g):
        return np.zeros_like(g)
    M = M + 1e-12 * max(float(np.diag(M).max()), 1e-300) * np.eye(len(g))
    d = np.clip(np.zeros_like(g), low, high)
    free = (d > low) & (d < high)
    small = 1e-12 * float(np.abs(g).max())
    for _ in range(20 * len(g) + 20):
        rows = np.flatnonzero(free)
        slope = g - M @ d
        step = spd_solve(M[np.ix_(rows, rows)], slope[rows])
        bound = np.where(step > 0, high[rows], low[rows])
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(step == 0, np.inf, (bound - d[rows]) / step)
        nearest = int(np.argmin(room)) if len(rows) else 0
        if len(rows) and room[nearest] < 1:
            d[rows] = d[rows] + room[nearest] * step
            d[rows[nearest]] = bound[nearest]
            free[rows[nearest]] = False
            continue
        d[rows] = d[rows] + step
        slope = g - M @ d
        inward = np.where(d <= low, slope, -slope)
        inward[free] = -np.inf
        entering = int(np.argmax(inward))
        if inward[entering] <= small + 1e-10 * float((np.abs(M) @ np.abs(d)).max()):
            break
        free[entering] = True
    return d


def augmented_lagrangian(
    problem: ConstrainedProblem,
    x: Array,
    multipliers: Array,
    *,
    tol: float = 1e-6,
    max_iter: int = _OUTER,
    ceiling: float = CEILING,
    watch: Callable[[Any], bool] | None = None,
) -> Solution:
    """Find a local solution where the Lagrangian need not be convex.

    Steps of the multipliers as in the ascent, ``lam <- max(lam + rho (L - c), 0)``, on
    the Lagrangian with the quadratic term that makes them converge there (Hestenes,
    1969; Powell, 1969). ``gap`` is ``sum_j lam_j |L_j - c_j|``, no certificate.
    """
    lam, rho, worst = multipliers.copy(), 10.0, np.inf

    def objective(x: Array) -> tuple[float, Array]:
        terms = problem.terms(x)
        shifted = np.maximum(lam + rho * terms.excess, 0.0)
        value = terms.objective + float(shifted @ shifted - lam @ lam) / (2 * rho)
        return value, problem.slope(x, shifted)[1]

    converged, n_iter = False, 0
    terms = problem.terms(x)
    for n_iter in range(1, max_iter + 1):
        x = lbfgs_box(objective, x, max_iter=500, ftol=1e-15, gtol=1e-9).x
        terms = problem.terms(x)
        previous, lam = lam, np.clip(lam + rho * terms.excess, 0.0, ceiling)
        violation = float(np.max(terms.excess, initial=0.0))
        error = max(violation, float(np.abs(lam * terms.excess).sum()))
        state = Ascent(lam, Solution(x, terms.objective, 0.0, n_iter, True), terms)
        stopped = watch is not None and watch(state)
        converged = error <= tol
        if converged or stopped or np.array_equal(previous, lam):
            break
        if error > _PROGRESS * worst:
            rho *= _GROWTH
        worst = min(worst, error)
    stats = {
        "multipliers": lam,
        "excess": terms.excess,
        "capped": bool(np.max(terms.excess, initial=0.0) > max(tol, 1e-6)),
    }
    gap = float(np.abs(lam * terms.excess).sum())
    return Solution(x, terms.objective, gap, n_iter, converged, stats)
