"""Row losses at their worst evasion, smoothed from above.

A row's loss is a convex function of its output f and of the norm N of the coefficients.
Corners are rounded at a temperature mu: ``max(0, a)`` is ``mu log(1 + exp(a / mu))``
and ``|a|`` becomes ``sqrt(a^2 + mu^2)``.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from skdiff._base.typing import Array
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
