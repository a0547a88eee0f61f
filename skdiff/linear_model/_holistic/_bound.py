"""Lower bounds of the holistic loss by duality, at any weights and slopes of the rows.

For weights p that the poisoning and the radius allow, the worst mean is at least ``sum
p_k loss_k``, and each loss at least a linear function of the output and the norm, at
any slope in the domain of its conjugate.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import rel_entr, xlogy

from skdiff._base.typing import Array
from skdiff._convex._newton import spd_solve
from skdiff.linear_model._holistic._problem import HolisticProblem

_LEVELS = 4


class Dual(NamedTuple):
    """Weights of the rows, slopes in the output and in the size of a residual.

    ``curve`` is how slopes times weights answer to outputs; it steers corrections.
    """

    p: Array
    slope: Array
    size: Array
    curve: Array


def within(Q: Array, p: Array, radius: float) -> Array:
    """The point between Q and p nearest p with ``KL(Q || p)`` within the radius."""

    def divergence(t: float) -> float:
        return float(rel_entr(Q, (1 - t) * Q + t * p).sum())

    if divergence(1.0) <= radius:
        return p
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        inside = divergence(middle) <= radius
        low, high = (middle, high) if inside else (low, middle)
    return np.asarray((1 - low) * Q + low * p)


def lower_bound(problem: HolisticProblem, dual: Dual, w: Array) -> float:
    """Value that the objective cannot fall below.

    It holds at any slopes; those given, near the coefficients w, are brought nearer to
    the best ones by linear steps.
    """
    H = (problem.A.T * dual.curve) @ problem.A
    H[np.arange(len(w)), np.arange(len(w))] += problem.ridge
    best, slope = -np.inf, dual.slope
    answer = dual.curve / np.maximum(dual.p, 1e-300)
    for _ in range(_LEVELS):
        slope = _inside(problem, slope)
        with np.errstate(all="ignore"):  # slopes far off
            value, gradient = _bound_at(problem, dual, slope, w)
        if not value - best > 1e-10 * max(1.0, abs(value)):
            break
        best = value
        step = spd_solve(H, gradient + problem.ridge * w)
        w = w - step
        slope = slope - answer * (problem.A @ step)
    return best


def _inside(problem: HolisticProblem, slope: Array) -> Array:
    """The nearest slopes in the domain of the conjugates."""
    if problem.loss == "squared":
        return slope
    if problem.loss == "absolute":
        return np.clip(slope, -1.0, 1.0)
    least = -np.inf if problem.loss == "squared_hinge" else -1.0
    return np.asarray(problem.y * np.clip(problem.y * slope, least, 0.0))


def _conjugates(loss: str, slope: Array) -> Array:
    """Conjugates of a margin's loss at slopes of their domain."""
    if loss == "logistic":
        return np.asarray(xlogy(-slope, -slope) + xlogy(1 + slope, 1 + slope))
    return slope if loss == "hinge" else slope + slope**2 / 4


def _balanced(p: Array, pull: Array) -> Array:
    """Factors in [0, 1] after which the positive and negative pulls are level."""
    up = float(p @ np.maximum(pull, 0.0))
    down = float(p @ np.maximum(-pull, 0.0))
    least = min(up, down)
    if least <= 0:
        return np.zeros(len(p))
    return np.where(pull > 0, least / up, least / down)


def _bound_at(
    problem: HolisticProblem, dual: Dual, pull: Array, w: Array
) -> tuple[float, Array]:
    """The bound at slopes in f, and their gradient."""
    p, free = dual.p, bool((problem.ridge == 0).any())
    used = pull * _balanced(p, pull) if free else pull
    if problem.loss in ("squared", "absolute"):
        constant, reach = _residual_terms(problem, p, dual.size, used)
    else:
        slope = used * problem.y
        constant = -float(p @ _conjugates(problem.loss, slope))
        reach = -float(p @ slope)
    turned = _turned(problem, problem.A.T @ (p * used) + problem.ridge * w, reach)
    held = problem.ridge > 0
    g = problem.A.T @ (p * used) + turned
    tail = float(np.sum(g[held] ** 2 / (2 * problem.ridge[held])))
    # the gradient of slopes as they are, so that steps can level them
    return constant - tail, problem.A.T @ (p * pull) + turned


def _turned(problem: HolisticProblem, pulled: Array, reach: float) -> Array:
    """``evasion * reach * u`` with u in the dual ball that best cancels the pull."""
    out = np.zeros_like(pulled)
    most, d = problem.evasion * reach, problem.slopes
    if most <= 0:
        return out
    u = -pulled[:d] / most
    if problem.dual_norm == 1:
        u = np.clip(u, -1.0, 1.0)
    else:
        u = u / max(1.0, float(np.linalg.norm(u)))
    out[:d] = most * u
    return out


def _residual_terms(
    problem: HolisticProblem, p: Array, size: Array, pull: Array
) -> tuple[float, float]:
    """Constant of the bound, and the mean slope in the size of a residual."""
    base = -float(p @ (pull * problem.y))
    if problem.loss == "absolute":
        return base, float(p.sum())
    size = np.abs(pull) if problem.evasion <= 0 else np.maximum(size, np.abs(pull))
    return base - float(p @ size**2 / 4), float(p @ size)
