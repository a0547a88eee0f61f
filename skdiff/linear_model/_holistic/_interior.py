"""A primal-dual interior point method for the holistic loss of linear rows.

Newton's method on the conditions of optimality, with products of slacks and multipliers
that fall to zero by Mehrotra's predictor and corrector. The multipliers give weights of
the rows and derivatives of their losses, and these a lower bound of the exact problem.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from skdiff._base.typing import Array
from skdiff._convex._solve import Solution
from skdiff.linear_model._holistic._bound import Dual, lower_bound, within
from skdiff.linear_model._holistic._pieces import NORM, NU, F
from skdiff.linear_model._holistic._problem import HolisticProblem
from skdiff.linear_model._holistic._system import Interior, State, System, arrow, unit

_GOOD, _NEAR, _INSIDE = 1e-6, 0.995, 0.05
_LAGS, _SMALL, _MEMORY, _STALLED, _MOST = 20.0, 0.01, 5, 15, 100
# mean products below which bounds are worth their time; constants end runs early
_LOOK, _LOOK_ATTACKED = 1e-5, 1e-3


def _longest(x: Array, dx: Array) -> float:
    """The step at which the first entry reaches zero, at most one over _NEAR."""
    steepest = float(np.min(dx / x, initial=0.0))
    return min(1.0 / _NEAR, -1.0 / steepest) if steepest < 0 else 1.0 / _NEAR


def _in_cone(x: Array, dx: Array) -> float:
    """The step at which (N, v) reaches the cone's surface, at most one over _NEAR."""
    most = 1.0 / _NEAR
    if not len(x):
        return most
    a = dx[0] ** 2 - dx[1:] @ dx[1:]
    b = x[0] * dx[0] - x[1:] @ dx[1:]
    c = max(x[0] ** 2 - x[1:] @ x[1:], 0.0)
    ends = [-x[0] / dx[0]] if dx[0] < 0 else []
    inside = b * b - a * c
    if inside >= 0:
        root = float(np.sqrt(inside))
        # c / (-b +- root) are the zeros of c + 2 b t + a t^2, without cancellation
        ends += [c / q for q in (-b + root, -b - root) if q > 0]
    return float(min([most, *ends]))


def _both(interior: Interior, at: State, step: State) -> float:
    cone = interior.cone
    return min(
        _longest(at.S, step.S),
        _longest(at.y, step.y),
        _longest(at.S_side, step.S_side),
        _longest(at.y_side, step.y_side),
        _in_cone(at.z[cone], step.z[cone]),
        _in_cone(at.y_cone, step.y_cone),
    )


def _added(at: State, step: State, t: float) -> State:
    return State(*(a + t * b for a, b in zip(at, step, strict=True)))


def fit_interior(problem: HolisticProblem, tol: float, max_iter: int) -> Solution:
    """Minimise; ``gap`` is to a lower bound by duality, ``n_iter`` Newton steps."""
    interior = Interior(problem)
    at = interior.start()
    best, best_w, bound, n_iter = np.inf, at.z[: interior.D], 0.0, 0
    share = problem.s if not interior.model.simple else 0 * problem.s
    constant: Array | None = None
    recent: list[float] = []
    looks: list[float] = []
    look = _LOOK_ATTACKED if problem.evasion > 0 else _LOOK
    max_iter = min(max_iter, _MOST)
    system: System | None = None
    here = interior.local(at.z, at.M)
    if here is not None:
        system = System(interior, at, here)
    while system is not None:
        at = system.at
        mu = _complementarity(interior, at)
        if mu <= look or n_iter >= max_iter:
            w = at.z[: interior.D]
            points = [w]
            if constant is None and problem.evasion * interior.norm(at.z) < _SMALL:
                points.append(constant := best_constant(problem, w))
            for point in points:
                value = problem.objective(point)
                if value < best:
                    best, best_w = value, point
            bound = max(bound, lower_bound(problem, dual_of(system), w))
            if best - bound <= tol * max(1.0, best):
                break
            looks = [*looks, best - bound][-_STALLED:]
        stalled = len(looks) == _STALLED and looks[-1] > 0.5 * looks[0]
        if n_iter >= max_iter or stalled:
            break
        # Newton's step may make the residual larger for a while
        recent = [*recent, system.residual(0.0)][-_MEMORY:]
        system = _advanced(system, mu, share, max(recent))
        n_iter += 1
    if best == np.inf:  # no point looked at
        best, best_w = problem.objective(np.zeros_like(best_w)), np.zeros_like(best_w)
    gap = best - bound
    return Solution(best_w, best, gap, n_iter, gap <= _GOOD * max(1.0, best))


def best_constant(problem: HolisticProblem, w: Array) -> Array:
    """The best coefficients with no slopes, which large radii prefer to all others."""
    flat = np.zeros_like(w)
    if len(w) > problem.slopes:

        def value(level: float) -> float:
            flat[-1] = level
            return problem.objective(flat)

        reach = 1.0 + abs(float(w[-1]))
        flat[-1] = minimize_scalar(
            value, bracket=(w[-1] - reach, w[-1] + reach), tol=1e-9
        ).x
    return flat


def _complementarity(interior: Interior, at: State) -> float:
    """Mean product of slacks and multipliers; rows of weight s count s."""
    cone = interior.cone
    total = float(at.S_side @ at.y_side + at.z[cone] @ at.y_cone)
    count = len(at.S_side) + bool(len(cone))
    if not interior.model.simple:
        total += float(np.sum(at.S * at.y))
        count += len(at.S)
    return total / count if count else 0.0


def _advanced(system: System, mu: float, share: Array, allowed: float) -> System | None:
    """One predictor and corrector; the centred step where that is no progress."""
    interior, at = system.interior, system.at
    cone = interior.cone
    ahead = system.step(np.zeros_like(at.S), np.zeros_like(at.S_side), unit(cone, 0.0))
    t = min(1.0, _both(interior, at, ahead))
    mu_ahead = _complementarity(interior, _added(at, ahead, t))
    sigma = min(max((mu_ahead / mu) ** 3, 1e-6), 1.0) if mu > 0 else 0.0
    # products must not vanish before the conditions of stationarity hold
    off = system.residual(mu)
    sigma = max(sigma, 0.7 if off > _LAGS * mu else 0.0)
    goal = sigma * mu
    bent = arrow(ahead.z[cone]) @ ahead.y_cone if len(cone) else np.zeros(0)
    step = system.step(
        goal * share - ahead.S * ahead.y,
        goal - ahead.S_side * ahead.y_side,
        unit(cone, goal) - bent,
    )
    found = _searched(system, step, 0.0, allowed, 3)
    if found is None:
        goal = max(sigma, 0.2) * mu
        level = np.full(len(at.S_side), goal)
        step = system.step(goal * share, level, unit(cone, goal))
        found = _searched(system, step, goal, system.residual(goal), 30)
    return found


def _searched(
    system: System, step: State, goal: float, allowed: float, most: int
) -> System | None:
    """The longest step that stays inside and makes the residual smaller."""
    interior, at = system.interior, system.at
    t = min(1.0, _NEAR * _both(interior, at, step))
    old = interior.room(at.z)
    for _ in range(60):
        if np.all(interior.room(at.z + t * step.z) >= _INSIDE * old):
            break
        t *= 0.7
    for _ in range(most):
        there = _added(at, step, t)
        here = interior.local(there.z, there.M)
        if here is not None:
            new = System(interior, there, here)
            if new.residual(goal) <= (1 - 0.01 * t) * allowed:
                return new
        t *= 0.5
    return None


def dual_of(system: System) -> Dual:
    """Weights of the rows that poisoning and radius allow, and slopes."""
    interior, rows = system.interior, system.here.rows
    problem, model = interior.problem, interior.model
    y, s = system.y, problem.s
    n_own = len(model.pieces.turn) if not model.all_moved else 0
    own = slice(0, n_own + (model.pieces.floor and n_own > 0))
    tops = slice(len(y) - len(model.pieces.turn) if model.moves else len(y), None)
    kept = np.minimum(y[own].sum(axis=0), s)
    # slopes of g in its argument
    steep = -rows.slopes[own, :, NU] if model.tilts else np.ones_like(y[own])
    raw = (y[own] * steep).sum(axis=0) + y[tops].sum(axis=0)
    pull = np.einsum("cn,cn->n", y, rows.slopes[..., F])
    size = np.zeros_like(raw)
    if problem.evasion > 0:
        size = np.einsum("cn,cn->n", y, rows.slopes[..., NORM]) / problem.evasion
    soft = y[tops].sum(axis=0)
    soft = soft / soft.sum() if model.moves else soft
    moved = float(max(1.0 - kept.sum(), 0.0)) if model.moves else 0.0
    Q = kept + moved * soft
    if moved > problem.poisoning > 0:
        Q = s + problem.poisoning / moved * (Q - s)
    if not model.moves:
        Q = s
    p = Q / Q.sum()
    if model.tilts:
        p = within(p, raw / raw.sum(), problem.radius)
    safe = np.maximum(raw, 1e-300)
    return Dual(p, pull / safe, size / safe, system.row_curve * p / safe)
