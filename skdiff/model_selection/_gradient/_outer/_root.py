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
_ROWS = 25  # points after which no other valley is looked for
_WORTH = 1e-4  # share of the criterion by which another valley has to be lower
_INSIDE = np.linspace(0, 1, 34)[1:-1]
_FALLEN = 0.01  # a criterion that has fallen by less stands on its plateau
_LEFT = 0.05  # a smaller rise can be the hill between two valleys
_STEEP = 0.2  # a scan that has risen by a fifth and rises on is over


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
    reach: str = "rise",
) -> Outcome:
    """Minimise in one variable by the sign of the slope.

    A scan of ``n_scan`` points from the upper end, or ``upward``, brackets the lowest;
    it ends early where the criterion has risen by a fifth and rises on, with
    ``reach="bracket"`` by a twentieth after it has fallen, and with ``reach="whole"``
    not at all. Cubics through values and slopes close the bracket,
    bisection where they stall. Other intervals whose cubic dips below the minimum
    found are then searched too.
    """
    seen: dict[float, tuple[float, float]] = {}

    def at(t: float) -> tuple[float, float]:
        if t not in seen:
            value, slope = objective(t)
            fine = np.isfinite(value) and np.isfinite(slope)
            seen[t] = (value, slope) if fine else (np.inf, 0.0)
        return seen[t]

    scan = [float(t) for t in np.linspace(low, high, max(n_scan, 2))]
    short = not _scan(at, scan[:: 1 if upward else -1], max_iter, reach)
    scan = [t for t in scan if t in seen]
    outcome = _lowest_valley(at, seen, scan, tol, max_iter, short)
    if np.isfinite(seen[outcome.theta][0]):
        limit = min(max_iter, max(_ROWS, len(seen)))
        outcome = _other_valleys(at, seen, scan, outcome, tol, limit)
    return outcome._replace(n_iter=len(seen))


def _scan(at: Slope, points: list[float], max_iter: int, reach: str) -> bool:
    """Evaluate the points in turn; return whether ``max_iter`` sufficed for it."""
    first = lowest = np.inf
    for k, t in enumerate(points):
        if k == max_iter:
            return False
        value, tilt = at(t)
        rising = tilt * (points[-1] - points[0]) > 0
        rise = value - lowest
        high = rise > _STEEP * abs(lowest)
        left = rise > _LEFT * abs(lowest)
        first, lowest = (value if k == 0 else first), min(lowest, value)
        fallen = lowest < first - _FALLEN * abs(first)
        bracket = reach == "bracket" and fallen and left
        # up the other side, where inner problems are hardest
        if reach != "whole" and rising and (high or bracket):
            return True
    return True


def _lowest_valley(
    at: Slope,
    seen: dict[float, tuple[float, float]],
    scan: list[float],
    tol: float,
    max_iter: int,
    short: bool,
) -> Outcome:
    """Minimum next to the lowest point of the scan, or the bound it stands at."""
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
    return _close(at, seen, scan[i], scan[i + side], tol, max_iter)


def _other_valleys(
    at: Slope,
    seen: dict[float, tuple[float, float]],
    scan: list[float],
    outcome: Outcome,
    tol: float,
    limit: int,
) -> Outcome:
    """Search the scanned intervals whose cubics dip below the minimum found."""
    dips = sorted(
        (_dip(a, *seen[a], b, *seen[b]), a, b)
        for a, b in pairwise(scan)
        if not a <= outcome.theta <= b or outcome.bound
    )
    for (value, t), a, b in dips:
        lowest = seen[outcome.theta][0]
        if not value < lowest - _WORTH * abs(lowest) or len(seen) >= limit:
            break
        here, slope = at(t)
        near, far = (t, b) if slope < 0 else (t, a)
        if seen[far][0] < here:  # on the way down to the far end
            near, far = far, near
            if seen[near][1] * (far - near) >= 0:
                continue
        if _dip(*_ordered(seen, near, far))[0] < lowest - _WORTH * abs(lowest):
            found = _close(at, seen, near, far, tol, limit)
            if seen[found.theta][0] < lowest:
                outcome = found
    return outcome


def _ordered(
    seen: dict[float, tuple[float, float]], s: float, t: float
) -> tuple[float, float, float, float, float, float]:
    a, b = min(s, t), max(s, t)
    return a, *seen[a], b, *seen[b]


def _dip(
    a: float, fa: float, ga: float, b: float, fb: float, gb: float
) -> tuple[float, float]:
    """Lowest value inside an interval of the cubic through its ends, and where."""
    if not np.isfinite(fa + fb):
        return np.inf, (a + b) / 2
    u, h = _INSIDE, b - a
    cubic = (
        (1 + 2 * u) * (1 - u) ** 2 * fa
        + u * (1 - u) ** 2 * h * ga
        + u**2 * (3 - 2 * u) * fb
        - u**2 * (1 - u) * h * gb
    )
    k = int(np.argmin(cubic))
    return float(cubic[k]), float(a + h * u[k])


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
