"""Proximal Newton for smooth losses of linear predictors under L1 and group penalties.

Minimises ``L(w) = sum_i s_i loss(x_i'w, y_i) + w' diag(ridge) w / 2 + sum_g lasso_g
||w_g||`` where the groups are single coefficients (L1) or disjoint sets of them. Each
step minimises the second-order model of the smooth part plus the penalty by block
coordinate descent on the Gram matrix, over an active set, and then searches the line.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._line_search import Accepted, line_search, rounding
from skdiff._convex._losses import Loss
from skdiff._convex._newton import spd_solve
from skdiff._convex._solve import Solution

_SWEEPS = 1000
# coefficients; a Gram matrix grows with the square of the working set
_JOIN_AT_ONCE = 500


class Composite(ABC):
    """A smooth convex function plus L1 or group penalties.

    A subclass gives ``size``, ``lasso`` (one weight per group), ``groups`` (None:
    single coefficients), :meth:`smooth` and :meth:`hessian`.
    """

    size: int
    lasso: Array
    groups: Sequence[Any] | None

    @abstractmethod
    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Any]:
        """Value and gradient of the smooth part, and what :meth:`hessian` needs."""

    @abstractmethod
    def hessian(self, second: Any, columns: Any) -> Array:
        """Second derivatives of the smooth part in some of the coefficients."""

    @cached_property
    def gradient_scale(self) -> float:
        """Largest gradient at zero, which violations are measured in."""
        at_zero = self.smooth(np.zeros(self.size))[1]
        return max(float(np.abs(at_zero).max(initial=0.0)), 1e-300)

    def lengths(self, w: Array) -> Array:
        """Length of each group."""
        if self.groups is None:
            return np.asarray(np.abs(w))
        return np.array([np.linalg.norm(w[g]) for g in self.groups])

    def penalty(self, w: Array) -> float:
        """Value of the non-smooth part."""
        return float(self.lasso @ self.lengths(w))

    def violation(self, w: Array, gradient: Array) -> Array:
        """Distance of ``-gradient`` from the subdifferential, for each group."""
        if self.groups is None:
            off = np.maximum(np.abs(gradient) - self.lasso, 0.0)
            return np.where(w != 0, np.abs(gradient + self.lasso * np.sign(w)), off)
        out = np.empty(len(self.groups))
        for k, g in enumerate(self.groups):
            length = np.linalg.norm(w[g])
            if length > 0:
                out[k] = np.linalg.norm(gradient[g] + self.lasso[k] * w[g] / length)
            else:
                out[k] = max(np.linalg.norm(gradient[g]) - self.lasso[k], 0.0)
        return out


class Penalised(Composite):
    """Losses of rows of a linear predictor."""

    def __init__(
        self,
        X: Array,
        y: Any,
        s: Array,
        loss: Loss,
        lasso: Array,
        ridge: Array,
        groups: Sequence[Any] | None = None,
    ) -> None:
        self.X, self.y, self.s, self.loss = X, y, s, loss
        self.lasso, self.ridge, self.groups = lasso, ridge, groups

    @property
    def size(self) -> int:  # type: ignore[override]
        """Number of coefficients."""
        return int(self.X.shape[1])

    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Array]:
        """Value and gradient of the smooth part, and second derivatives of the rows."""
        parts = self.loss.evaluate(self.X @ w, self.y, order)
        value = float(self.s @ parts[0] + self.ridge @ w**2 / 2)
        if order == 0:
            return value, w, w
        gradient = self.X.T @ (self.s * parts[1]) + self.ridge * w
        return value, gradient, self.s * parts[2] if order > 1 else w

    def hessian(self, second: Array, columns: Any) -> Array:
        """Gram matrix of some columns under the second derivatives of the rows."""
        X = self.X[:, columns]
        H: Array = (X.T * second) @ X
        H[np.diag_indices_from(H)] += self.ridge[columns]
        return H


def prox_newton(
    problem: Composite,
    w: Array | None = None,
    *,
    tol: float = 1e-8,
    max_iter: int = 100,
) -> Solution:
    """Minimise; ``gap`` is the largest violation of the optimality conditions.

    It is relative to the largest gradient at zero, which makes it free of units. The
    start may be the solution of a neighbouring problem.
    """
    w = np.zeros(problem.size) if w is None else w.copy()
    scale = problem.gradient_scale
    value, gradient, second = problem.smooth(w, 2)
    total = value + problem.penalty(w)
    gap = np.inf
    for n_iter in range(max_iter + 1):
        off = problem.violation(w, gradient)
        gap = float(off.max(initial=0.0)) / scale
        if gap <= tol:
            return Solution(w, total, gap, n_iter, True)
        if n_iter == max_iter:
            break
        active = _working_set(problem, problem.lengths(w) > 0, off)
        # inexact early steps, exact late ones: the model is only as good as the step
        accuracy = max(min(0.1, gap) * gap, 0.01 * tol)
        step = _model_step(problem, w, gradient, second, active, accuracy)
        moved = _search(problem, w, gradient, step, total, gap * scale)
        if moved is None:
            break
        total = moved.value
        w, smooth = moved.rest
        _, gradient, second = problem.smooth(w, 2) if smooth is None else smooth
    return Solution(w, total, gap, n_iter, gap <= 100 * tol)


def _working_set(problem: Composite, support: Any, off: Array) -> Any:
    """Groups to move: the support and, of the others, the largest violations."""
    joining = np.flatnonzero(~support & (off > 0))
    joining = joining[np.argsort(-off[joining], kind="stable")]
    if problem.groups is None:
        joining = joining[:_JOIN_AT_ONCE]
    elif len(joining):
        widths = np.cumsum([len(problem.groups[int(k)]) for k in joining])
        joining = joining[: max(1, int(np.sum(widths <= _JOIN_AT_ONCE)))]
    return np.union1d(np.flatnonzero(support), joining)


def _model_step(
    problem: Composite,
    w: Array,
    gradient: Array,
    second: Any,
    active: Any,
    accuracy: float,
) -> Array:
    """Minimise ``g'(z - w) + (z - w)'H(z - w) / 2 + penalty(z)`` over active groups."""
    blocks = [
        np.array([k]) if problem.groups is None else np.asarray(problem.groups[k])
        for k in active
    ]
    columns = np.concatenate(blocks)
    starts = np.cumsum([0, *(len(b) for b in blocks)])
    H = problem.hessian(second, columns)
    H[np.diag_indices_from(H)] += 1e-12 * np.trace(H) / len(H)
    lasso = problem.lasso[active]
    z, start, slope = w[columns].copy(), w[columns], gradient[columns].copy()
    if problem.groups is None:
        _descend(z, slope, H, lasso, accuracy)
    else:
        _descend_blocks(z, slope, H, lasso, starts, accuracy)
    step = np.zeros_like(w)
    step[columns] = z - start
    return step


def _smallest_change(
    z: Array, slope: Array, curvature: Array, accuracy: float
) -> float:
    """Changes of the slope below it are not wanted, or no more than rounding."""
    rounding = 4 * np.finfo(float).eps * curvature.max() * np.abs(z).max(initial=0.0)
    return max(accuracy * float(np.abs(slope).max(initial=0.0)), float(rounding))


def _descend(z: Array, slope: Array, H: Array, lasso: Array, accuracy: float) -> None:
    """Cyclic coordinate descent in place; ``slope`` is the model's gradient at z.

    Sweeps find the support; on a support that stays, the rest is one linear system,
    which a narrow valley between collinear columns would cost thousands of sweeps.
    """
    curvature = np.diag(H).copy()
    limit = _smallest_change(z, slope, curvature, accuracy)
    if z.any():  # most often the support of the last step is already that of this one
        _solve_support(z, slope, H, lasso)
    for sweep in range(_SWEEPS):
        support = z != 0
        values = z.tolist()  # scalars of a list are faster than those of an array
        largest = 0.0
        for k, h in enumerate(curvature):
            old = values[k]
            target = old * h - slope[k]
            size = abs(target) - lasso[k]
            new = 0.0 if size <= 0 else (size if target > 0 else -size) / h
            change = new - old
            if change:
                slope += change * H[k]
                values[k] = new
                largest = max(largest, abs(change) * h)
        z[:] = values
        if largest <= limit:
            break
        if sweep % 5 == 1 and np.array_equal(support, z != 0):
            _solve_support(z, slope, H, lasso)


def _solve_support(z: Array, slope: Array, H: Array, lasso: Array) -> None:
    """Go to the model's minimiser for the signs of z, dropping what reaches zero.

    Within an orthant the model is a convex quadratic, so that even a step cut short
    where the first sign changes makes it smaller.
    """
    for _ in range(np.count_nonzero(z)):
        support = np.flatnonzero(z)
        residual = slope[support] + lasso[support] * np.sign(z[support])
        change = -spd_solve(H[np.ix_(support, support)], residual)
        leaves = (lasso[support] > 0) & (z[support] * (z[support] + change) < 0)
        reach = np.where(leaves, -z[support] / np.where(leaves, change, 1.0), 1.0)
        t = float(reach.min())
        moved = t * change
        moved[leaves & (reach == t)] = -z[support][leaves & (reach == t)]
        z[support] += moved
        slope += moved @ H[support]
        if not leaves.any():
            break


def _descend_blocks(
    z: Array, slope: Array, H: Array, lasso: Array, starts: Any, accuracy: float
) -> None:
    """The same over groups, each majorised by its largest curvature."""
    spans = [slice(a, b) for a, b in pairwise(starts)]
    curvature = [float(np.linalg.eigvalsh(H[span, span])[-1]) for span in spans]
    limit = _smallest_change(z, slope, np.array(curvature), accuracy)
    for sweep in range(_SWEEPS):
        largest, settled = 0.0, True
        for k, span in enumerate(spans):
            h = curvature[k]
            target = z[span] - slope[span] / h
            length = float(np.linalg.norm(target))
            shrunk = max(1 - lasso[k] / h / length, 0.0) if length else 0.0
            change = shrunk * target - z[span]
            size = float(np.abs(change).max())
            if size:
                settled &= bool(shrunk) and bool(z[span].any())
                slope += change @ H[span]
                z[span] += change
                largest = max(largest, size * h)
        if largest <= limit:
            break
        if sweep % 5 == 4 and settled:
            _solve_groups(z, slope, H, lasso, spans)


def _solve_groups(
    z: Array, slope: Array, H: Array, lasso: Array, spans: Sequence[slice]
) -> None:
    """Newton steps of the model over the groups that are not zero, while they help."""
    kept = [k for k, span in enumerate(spans) if z[span].any()]
    if not kept:
        return
    support = np.concatenate([np.arange(spans[k].start, spans[k].stop) for k in kept])
    ends = np.cumsum([spans[k].stop - spans[k].start for k in kept])
    parts = [slice(a, b) for a, b in pairwise([0, *ends])]
    strength = lasso[kept]
    inner = H[np.ix_(support, support)]

    def lengths(x: Array) -> Array:
        return np.array([np.linalg.norm(x[part]) for part in parts])

    for _ in range(10):
        x, curved, residual = z[support], inner.copy(), slope[support].copy()
        for part, weight, size in zip(parts, strength, lengths(x), strict=True):
            unit = x[part] / size
            residual[part] += weight * unit
            curved[part, part] += (
                weight / size * (np.eye(len(unit)) - np.outer(unit, unit))
            )
        step = -spd_solve(curved, residual)
        before, bend, t = strength @ lengths(x), step @ inner @ step, 1.0
        tilt = float(slope[support] @ step)
        while t > 1e-3:
            penalty = strength @ lengths(x + t * step) - before
            if t * tilt + t * t * bend / 2 + penalty <= 1e-4 * t * (residual @ step):
                break
            t /= 2
        else:
            return
        z[support] += t * step
        slope += t * step @ H[support]
        if t < 1 or np.abs(step).max() <= 1e-6 * np.abs(x).max():
            return


def _search(
    problem: Composite,
    w: Array,
    gradient: Array,
    step: Array,
    total: float,
    violation: float,
) -> Accepted | None:
    """Armijo's rule on the composite objective."""
    drop = float(gradient @ step) + problem.penalty(w + step) - problem.penalty(w)
    if -drop < 100 * rounding(total):  # differences of values say nothing there
        whole = _closer(problem, w + step, violation)
        if whole is not None:
            return whole

    def trial(t: float) -> tuple[float, tuple[Array, Any]]:
        point = w + t * step
        # the whole step is nearly always taken, and its derivatives are needed then
        found = problem.smooth(point, 2 if t == 1.0 else 0)
        rest = point, found if t == 1.0 else None
        return found[0] + problem.penalty(point), rest

    return line_search(trial, total, drop, rounding(total))


def _closer(problem: Composite, point: Array, violation: float) -> Accepted | None:
    """Take a whole step whose fall is below rounding, where it halves the violation."""
    smooth = problem.smooth(point, 2)
    left = float(problem.violation(point, smooth[1]).max(initial=0.0))
    if not left < violation / 2:
        return None
    return Accepted(1.0, smooth[0] + problem.penalty(point), (point, smooth))
