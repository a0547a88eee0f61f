"""How far a fitted cumulative model is from its optimum, by duality.

The conjugate of a row's loss has a closed form, because the derivatives ``-A`` in u and
``B`` in v determine the class probability: ``P = (1 - (A - B)^2) / (A + B + sqrt(1 +
4AB))``. Any derivatives of the rows whose pull vanishes on the unpenalised coefficients
and stays below the L1 penalty on the others give a lower bound of the objective.
"""

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff._convex._newton import spd_solve
from skdiff.linear_model._ordinal._likelihood import Cumulative, Parts

# derivatives as far below zero are rounding; moving them moves no pull that counts
_ROUNDING, _TINY = 1e-15, 1e-290


def _logit(c: Array, x: Array) -> Array:
    """``log(x / (1 - x))``, from ``c = x (1 - x)`` where x is near zero or one."""
    small = 2 * c / (1 + np.sqrt(np.maximum(1 - 4 * c, 0.0)))
    value = np.log(small) - np.log1p(-small)
    value = np.where(x < 0.5, value, -value)
    near = np.clip(x, 0.1, 0.9)
    return np.where(near == x, np.log(near) - np.log1p(-near), value)


def _positive(a: Array) -> Array:
    return np.where((a <= 0) & (a > -_ROUNDING), _TINY, a)


def _inner_conjugate(a: Array, b: Array) -> Array:
    """Conjugate of ``-log(sigmoid(u) - sigmoid(v))`` at derivatives ``-a`` and b."""
    P = (1 - (a - b) ** 2) / (a + b + np.sqrt(1 + 4 * a * b))
    total = 1 - a + b  # sigmoid(u) + sigmoid(v)
    u, v = _logit(a * P, (total + P) / 2), _logit(b * P, (total - P) / 2)
    return np.asarray(-a * u + b * v + np.log(P))


def _entropy(a: Array) -> Array:
    """Conjugate of the logistic loss."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(a * np.log(a)) + np.nan_to_num((1 - a) * np.log1p(-a))


def _conjugates(problem: Cumulative, du: Array, dv: Array) -> float:
    """Weighted sum over the rows; infinite outside the domain."""
    s, cuts = problem.rows.s, problem.rows.cuts
    a, b = -du / s, dv / s
    # without a penalty vanishing derivatives tell of a solution at infinity
    penalised = np.count_nonzero(problem.lasso + problem.ridge)
    if penalised == problem.size - problem.rows.n_thresholds:
        a, b = _positive(a), _positive(b)
    first, inner, last = a[: cuts[1]], slice(cuts[1], cuts[-2]), b[cuts[-2] :]
    ends = np.concatenate([first, last])
    middle = np.minimum(a[inner], b[inner])
    if np.any(ends < 0) or np.any(ends > 1) or np.any(middle <= 0):
        return np.inf
    if np.any(np.abs(a[inner] - b[inner]) >= 1):
        return np.inf
    return float(
        s[: cuts[1]] @ _entropy(first)
        + s[inner] @ _inner_conjugate(a[inner], b[inner])
        + s[cuts[-2] :] @ _entropy(last)
    )


def _corrected(problem: Cumulative, w: Array, parts: Parts, moved: IntArray) -> tuple:
    """Derivatives of the rows after a linearised Newton step of some coefficients.

    Their pull then is what optimality asks for: zero, or minus the L1 penalty's slope.
    """
    du, dv = parts.du, parts.dv
    if len(moved):
        off = problem.pull(du, dv) + problem.lasso * np.sign(w)
        step = np.zeros_like(w)
        step[moved] = spd_solve(problem.hessian(parts, moved), off[moved])
        u, v = np.zeros(len(du)), np.zeros(len(dv))
        cuts = problem.rows.cuts
        u[: cuts[-2]], v[cuts[1] :] = problem.linear(step)
        du = du - (parts.duu * u + parts.duv * v)
        dv = dv - (parts.duv * u + parts.dvv * v)
    return du, dv


def lower_bound(problem: Cumulative, w: Array, support: bool = False) -> float:
    """Value that no coefficients can fall below; at worst zero.

    The free coefficients' gradient vanishes up to rounding. With ``support`` that of
    the others that are not zero is corrected too: it may miss an L1 penalty that is no
    larger than the solver's tolerance.
    """
    _, gradient, parts = problem.smooth(w, 2)
    free = (problem.lasso == 0) & (problem.ridge == 0)
    moved = free | (support & (problem.ridge == 0) & (w != 0))
    with np.errstate(all="ignore"):
        du, dv = _corrected(problem, w, parts, np.flatnonzero(moved))
        pulled = problem.pull(du, dv)
        lasso, ridge = problem.lasso, problem.ridge
        hard = (lasso > 0) & (ridge == 0)
        size = np.abs(pulled[hard])
        shrink = float(np.min(lasso[hard] / np.maximum(size, lasso[hard]), initial=1.0))
        du, dv, pulled = shrink * du, shrink * dv, shrink * pulled
        rounding = 1e-10 * max(1.0, float(np.abs(gradient).max()))
        if np.abs(pulled[free]).max(initial=0.0) > rounding:
            return 0.0
        soft = ridge > 0
        excess = np.maximum(np.abs(pulled[soft]) - lasso[soft], 0.0)
        first, last = problem.offsets
        cuts = problem.rows.cuts
        bound = (
            du[: cuts[-2]] @ first
            + dv[cuts[1] :] @ last
            - _conjugates(problem, du, dv)
            - float(np.sum(excess**2 / (2 * ridge[soft])))
        )
    return max(float(bound), 0.0) if np.isfinite(bound) else 0.0
