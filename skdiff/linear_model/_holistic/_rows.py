"""Row losses at their worst evasion, smoothed from above, and bounds from below.

A row's loss is a convex function of its output f and of the norm N of the coefficients.
Corners are rounded at a temperature mu: ``max(0, a)`` is ``mu log(1 + exp(a / mu))``
and ``|a|`` becomes ``sqrt(a^2 + mu^2)``.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, xlogy

from skdiff._base.typing import Array
from skdiff._convex._newton import spd_solve
from skdiff.linear_model._holistic._problem import HolisticProblem


class RowParts(NamedTuple):
    """Losses of rows and derivatives in the output f and the norm N."""

    value: Array
    f: Array
    N: Array
    ff: Array
    fN: Array
    NN: Array
    # slope in the margin, or in the size of the residual and in the residual itself
    slope: Array
    sign: Array


class Norm(NamedTuple):
    """Rounded dual norm of the coefficients, its gradient and Hessian."""

    value: float
    gradient: Array
    hessian: Array


def rounded_norm(problem: HolisticProblem, w: Array, mu: float) -> Norm:
    """Rounded so that margins move by about mu; the gradient stays in the unit ball."""
    d, size = problem.slopes, len(w)
    gradient, hessian = np.zeros(size), np.zeros((size, size))
    if problem.evasion <= 0:
        return Norm(0.0, gradient, hessian)
    delta, v = mu / problem.evasion, w[:d]
    if problem.dual_norm == 1:
        root = np.sqrt(v**2 + delta**2)
        gradient[:d] = v / root
        hessian[np.arange(d), np.arange(d)] = (delta / root) ** 2 / root
        return Norm(float(root.sum()), gradient, hessian)
    root2 = float(np.sqrt(v @ v + delta**2))
    gradient[:d] = v / root2
    hessian[:d, :d] = (np.eye(d) - np.outer(v, v) / root2**2) / root2
    return Norm(root2, gradient, hessian)


def row_parts(problem: HolisticProblem, f: Array, N: float, mu: float) -> RowParts:
    """Rounded losses and derivatives."""
    if problem.loss in ("squared", "absolute"):
        return _of_residuals(problem, f, N, mu)
    y, eps = problem.y, problem.evasion
    value, slope, curve = _of_margins(problem.loss, y * f - eps * N, mu)
    return RowParts(
        value,
        slope * y,
        -eps * slope,
        curve,
        -eps * y * curve,
        eps**2 * curve,
        slope,
        y,
    )


def _of_margins(loss: str, m: Array, mu: float) -> tuple[Array, Array, Array]:
    if loss == "logistic":
        p = expit(-m)
        return np.logaddexp(0.0, -m), -p, p * (1 - p)
    z = (1.0 - m) / mu
    slack, on = mu * np.logaddexp(0.0, z), expit(z)
    bend = on * (1 - on) / mu
    if loss == "hinge":
        return slack, -on, bend
    return slack**2, -2 * slack * on, 2 * (on**2 + slack * bend)


def _of_residuals(problem: HolisticProblem, f: Array, N: float, mu: float) -> RowParts:
    e, eps = f - problem.y, problem.evasion
    size = np.sqrt(e**2 + mu**2)
    sign, bend = e / size, (mu / size) ** 2 / size
    one = np.ones(len(e))
    if problem.loss == "absolute":
        value, zero = size + eps * N, 0 * one
        return RowParts(value, sign, eps * one, bend, zero, zero, one, sign)
    off = size + eps * N
    return RowParts(
        off**2,
        2 * off * sign,
        2 * off * eps,
        2 * (sign**2 + off * bend),
        2 * eps * sign,
        2 * eps**2 * one,
        2 * off,
        sign,
    )


def _conjugates(loss: str, slope: Array) -> Array:
    """Conjugates of a margin's loss, infinite outside of their domain."""
    outside = (slope > 0) | ((slope < -1) & (loss != "squared_hinge"))
    q = np.clip(-slope, 0, 1)
    if loss == "logistic":
        value = xlogy(q, q) + xlogy(1 - q, 1 - q)
    else:
        value = slope if loss == "hinge" else slope + slope**2 / 4
    return np.where(outside, np.inf, value)


def _balanced(p: Array, pull: Array) -> Array:
    """Factors in [0, 1] after which the positive and negative pulls are level."""
    up = float(p @ np.maximum(pull, 0.0))
    down = float(p @ np.maximum(-pull, 0.0))
    least = min(up, down)
    if least <= 0:
        return np.zeros(len(p))
    return np.where(pull > 0, least / up, least / down)


def lower_bound(
    problem: HolisticProblem, p: Array, parts: RowParts, w: Array, u: Array
) -> float:
    """Value that the worst mean plus ridge cannot fall below, for feasible weights p.

    Linear bounds of the losses at slopes in the domain of their conjugates, and of the
    norm by a vector u of the dual ball. It holds at any slopes of the domain; those of
    the coefficients w are brought nearer to the best ones by linear steps first.
    """
    H = (problem.A.T * (p * parts.ff)) @ problem.A
    H[np.arange(len(w)), np.arange(len(w))] += problem.ridge
    best, slopes = -np.inf, parts.f
    for _ in range(3):
        value, gradient = _bound_at(problem, p, parts, slopes, u)
        best = max(best, value)
        step = spd_solve(H, gradient + problem.ridge * w)
        w = w - step
        slopes = slopes - parts.ff * (problem.A @ step)
    return best


def _bound_at(
    problem: HolisticProblem, p: Array, parts: RowParts, pull: Array, u: Array
) -> tuple[float, Array]:
    """The bound at slopes in f, and their gradient; minus infinity outside."""
    free = bool((problem.ridge == 0).any())
    used = pull * _balanced(p, pull) if free else pull
    if problem.loss in ("squared", "absolute"):
        constant, reach = _residual_terms(problem, p, parts.slope, used)
    else:
        slope = used * problem.y
        constant = -float(p @ _conjugates(problem.loss, slope))
        reach = -float(p @ slope)
    turned = problem.evasion * u
    held = problem.ridge > 0
    g = problem.A.T @ (p * used) + reach * turned
    tail = float(np.sum(g[held] ** 2 / (2 * problem.ridge[held])))
    # the gradient of slopes as they are, so that steps can level them
    raw = problem.A.T @ (p * pull) + reach * turned
    return constant - tail, raw


def _residual_terms(
    problem: HolisticProblem, p: Array, size: Array, pull: Array
) -> tuple[float, float]:
    """Constant of the bound, and the mean slope in the size of a residual."""
    base = -float(p @ (pull * problem.y))
    if problem.loss == "absolute":
        inside = bool(np.all(np.abs(pull) <= 1.0))
        return (base if inside else -np.inf), float(p.sum())
    size = np.abs(pull) if problem.evasion <= 0 else np.maximum(size, np.abs(pull))
    return base - float(p @ size**2 / 4), float(p @ size)
