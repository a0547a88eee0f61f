"""An outer solver for one variable: the root of the slope."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Slope = Callable[[float], tuple[float, float]]
_ZERO = 1e-6  # slopes this small, relative to tol * C, are zero
_PATIENCE, _GAIN = 15, 1e-3
_NEAR = 0.1  # steps within which a secant of the slope predicts the next
_SMOOTH = 0.02  # error of a trapezoid rule over a short step without a kink
_SECOND = 8  # points for another valley
_STEEP = 1.2  # a scan that has risen by a fifth and rises on is over


class Outcome(NamedTuple):
    """Where a solver ended."""

    theta: Any
    n_iter: int
    converged: bool
    bound: int = 0  # -1 or 1: ended at the lower or upper end, wanting to go beyond


def root(
    objective: Slope,
    low: float,
    high: float,
    *,
    tol: float,
    max_iter: int,
    n_scan: int = 5,
    upward: bool = False,
) -> Outcome:
    """Minimise in one variable by the sign of the slope.

    A scan from the upper end, or ``upward``, brackets the lowest of ``n_scan`` points;
    cubics through values and slopes close the bracket, bisection where they stall.
    """
    seen: dict[float, tuple[float, float]] = {}

    def at(t: float) -> tuple[float, float]:
        if t not in seen:
            value, slope = objective(t)
            fine = np.isfinite(value) and np.isfinite(slope)
            seen[t] = (value, slope) if fine else (np.inf, 0.0)
        return seen[t]

    scan = [float(t) for t in np.linspace(low, high, max(n_scan, 2))]
    lowest, step = np.inf, 1 if upward else -1
    for t in scan[::step][:max_iter]:
        value, tilt = at(t)
        if value > _STEEP * lowest and tilt * step > 0:
            break  # far up the other side, where inner problems are hardest
        lowest = min(lowest, value)
    short = len(seen) == max_iter < len(scan)
    scan = [t for t in scan if t in seen]
    values = np.array([seen[t][0] for t in scan])
    i = int(np.argmin(values))
    if not np.isfinite(values[i]):
        return Outcome(scan[i], len(seen), False)
    slope = seen[scan[i]][1]
    if slope == 0.0:
        return Outcome(scan[i], len(seen), True)
    side = 1 if slope < 0 else -1
    if not 0 <= i + side < len(scan):
        return Outcome(scan[i], len(seen), not short, 0 if short else side)
    outcome = _close(at, seen, scan[i], scan[i + side], tol, max_iter)
    for a, b in pairwise(scan):
        (fa, ga), (fb, gb) = seen[a], seen[b]
        near, far = ((a, ga), (b, gb)) if fa < fb else ((b, gb), (a, ga))
        inward = near[1] * (far[0] - near[0]) < 0
        if not inward or {a, b} == {scan[i], scan[i + side]}:
            continue
        # another valley, if it could be lower where the tangents meet or half way
        t = (fb - fa + ga * a - gb * b) / (ga - gb) if ga < 0 < gb else (a + b) / 2
        if min(fa, fb) + near[1] * (t - near[0]) < seen[outcome.theta][0]:
            limit = min(max_iter, len(seen) + _SECOND)
            found = _close(at, seen, near[0], far[0], tol, limit)
            if seen[found.theta][0] < seen[outcome.theta][0]:
                outcome = found
    return outcome._replace(n_iter=len(seen))


def _close(
    at: Slope,
    seen: dict[float, tuple[float, float]],
    best: float,
    other: float,
    tol: float,
    max_iter: int,
) -> Outcome:
    """Close a bracket: the slope at ``best`` points to ``other``, which is higher."""
    widths = [abs(other - best)]
    last, creeping = best, 0
    while len(seen) < max_iter:
        (value, slope), (top, beyond) = seen[best], seen[other]
        width = abs(other - best)
        if abs(slope) <= _ZERO * tol * abs(value) or width < tol:
            return Outcome(best, len(seen), True)
        # kinks are slow to close; a convex criterion has no more than this to give
        if len(seen) >= _PATIENCE and abs(slope) * width <= _GAIN * tol * abs(value):
            return Outcome(best, len(seen), True)
        stalled = len(widths) > 2 and widths[-1] > widths[-3] / 2
        t = (best + other) / 2
        if not stalled and np.isfinite(top):
            t = _cubic(best, value, slope, other, top, beyond)
            # creeping up on a kink from one side: reach over it, at most half way
            reach = min(4.0**creeping * abs(t - best), abs(other - best) / 2)
            t = t if creeping == 0 else best + np.sign(other - best) * reach
        edge = min(0.01 * abs(other - best), tol / 4)
        t = float(np.clip(t, min(best, other) + edge, max(best, other) - edge))
        found, tilt = at(t)
        if abs(t - last) < _NEAR and found <= value:
            # the end, if the slopes say that the next step is shorter than asked, and
            # the values that no kink between the two feigns it
            step, before = t - last, seen[last]
            bend = abs(tilt - before[1])
            linear = step * (tilt + before[1]) / 2
            kink = abs(found - before[0] - linear) > _SMOOTH * bend * abs(step)
            near = abs(step) < tol / 2 or not kink
            if near and abs(tilt) * abs(step) <= bend * tol / 4:
                return Outcome(t, len(seen), True)
        last = t
        crept = found < value and tilt * (other - t) < 0 and abs(tilt) > abs(slope) / 10
        creeping = creeping + 1 if crept else 0
        if found >= value:
            other = t
        elif tilt * (other - t) < 0:  # the minimum lies between t and other
            best = t
        else:  # it lies between the two lowest
            best, other = t, best
        widths.append(abs(other - best))
    return Outcome(best, len(seen), False)


def _cubic(a: float, fa: float, ga: float, b: float, fb: float, gb: float) -> float:
    """Minimiser of the cubic through two values and slopes, or of the secant.

    Close to each other two values differ by rounding, and the slopes say more.
    """
    if ga * gb < 0 and abs(ga - gb) * abs(b - a) < 1e-7 * abs(fa):
        return a + (b - a) * ga / (ga - gb)
    c = ga + gb - 3 * (fa - fb) / (a - b)
    root2 = c * c - ga * gb
    if root2 < 0:
        return (a + b) / 2
    d = np.sign(b - a) * np.sqrt(root2)
    t = b - (b - a) * (gb + d - c) / (gb - ga + 2 * d)
    return float(t) if np.isfinite(t) else (a + b) / 2
