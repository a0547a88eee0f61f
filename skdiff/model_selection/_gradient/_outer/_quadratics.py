"""An outer solver for few variables and a criterion with many small kinks."""

from collections.abc import Callable

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff.model_selection._gradient._outer._root import Outcome

Objective = Callable[[Array], tuple[float, Array]]
_WIDE = 0.25  # first radius, as a share of the box
_SHRINK, _GROW = 1.5, 2.0
_SLOPES = 0.4  # weight of slopes beside values: kinks spoil them more
_GAIN = 0.1  # of tol: share of the criterion that is not worth a point
_PATIENCE, _STALL = 6, 2e-3  # points that must gain that share of the criterion
_ARM, _CROSSES = 0.1, 2  # of the box: steps across a valley, and how often
_FAR, _NEAR = 0.2, 0.1  # of the box: where another valley begins, and where it is none


class _Points:
    """All points so far, in units of the box."""

    def __init__(self, objective: Objective, lower: Array, upper: Array) -> None:
        self.objective, self.lower, self.width = objective, lower, upper - lower
        self.x: list[Array] = []
        self.values: list[float] = []
        self.slopes: list[Array] = []
        self.used = 0

    def visit(self, x: Array) -> float:
        """Evaluate a point; walls are remembered as nothing."""
        value, slope = self.objective(self.lower + self.width * x)
        self.used += 1
        if np.isfinite(value):
            self.x.append(x)
            self.values.append(value)
            self.slopes.append(slope * self.width)
        return value

    def far(self, x: Array) -> Array:
        """Distances from a point."""
        return np.asarray(np.abs(np.array(self.x) - x).max(axis=1), dtype=float)


def quadratics(
    objective: Objective,
    scan: list[Array],
    lower: Array,
    upper: Array,
    *,
    tol: float,
    max_iter: int,
) -> Outcome:
    """Minimise quadratics fitted to the values and slopes of all points so far.

    A descent stops at the first kink, of which a criterion with support vectors has
    hundreds. Least squares over the points around the best see the valley instead. The
    region in which a quadratic is trusted shrinks when its minimiser is no better, and
    a valley is left when a few points gain next to nothing, for roughness then hides
    the slope. A step to either side of the minimum along each axis, and then the best
    point far from it, may lead to a lower valley.
    """
    points = _Points(objective, lower, upper)
    for theta in scan[:max_iter]:
        points.visit((theta - lower) / points.width)
    if not points.x:
        return Outcome(scan[0], points.used, False)
    first = int(np.argmin(points.values))
    found, converged = _valley(points, first, None, tol, max_iter)
    for _ in range(_CROSSES if converged else 0):
        if not _cross(points, found, max_iter):
            break
        start = int(np.argmin(points.values))
        found, converged = _valley(points, start, None, tol, max_iter)
    away = np.where(points.far(points.x[found]) > _FAR, points.values, np.inf)
    if converged and np.isfinite(away).any():
        second = int(np.argmin(away))
        _, converged = _valley(points, second, points.x[found], tol, max_iter)
    best = int(np.argmin(points.values))
    theta = lower + points.width * points.x[best]
    return Outcome(theta, points.used, converged)


def _cross(points: _Points, centre: int, max_iter: int) -> bool:
    """Step to either side along each axis; return whether that is worth a descent."""
    x, lowest = points.x[centre], points.values[centre]
    found = np.inf
    for j in range(len(x)):
        for side in (-_ARM, _ARM):
            if points.used < max_iter:
                moved = x.copy()
                moved[j] = np.clip(x[j] + side, 0.0, 1.0)
                found = min(found, points.visit(moved))
    return found < lowest - _STALL * abs(lowest)


def _valley(
    points: _Points, start: int, known: Array | None, tol: float, max_iter: int
) -> tuple[int, bool]:
    """Go down from a point, unless to a minimum that is known."""
    best, radius, quiet = start, _WIDE, 0
    bests = [points.values[start]]
    while points.used < max_iter:
        centre, lowest = points.x[best], points.values[best]
        if known is not None and np.abs(centre - known).max() < _NEAR:
            return best, True
        if radius <= tol / 10 or quiet == 2:
            return best, True
        D = np.array(points.x) - centre
        model = _fit(D, np.array(points.values), points.slopes, radius)
        low = np.maximum(-radius, -centre)
        high = np.minimum(radius, 1.0 - centre)
        step, gain = _lowest(*model, low, high)
        if gain <= _GAIN * tol * abs(lowest):
            quiet, radius = quiet + 1, radius / 4
            continue
        value = points.visit(np.clip(centre + step, 0.0, 1.0))
        if value < lowest:
            best = len(points.values) - 1
        bests.append(points.values[best])
        if len(bests) > _PATIENCE:
            gained = bests[-_PATIENCE - 1] - bests[-1]
            if gained <= _STALL * abs(bests[-1]):
                return best, True
        if value < lowest - gain / 10:
            quiet = 0
            if np.abs(step).max() > 0.9 * radius:
                radius = min(_GROW * radius, 0.5)
        else:
            radius /= _SHRINK
    return best, False


def _fit(
    D: Array, values: Array, slopes: list[Array], radius: float
) -> tuple[Array, Array]:
    """Slope and curvature at the centre, by weighted least squares."""
    m, q = D.shape
    first, second = np.triu_indices(q)
    weight = 1 / (1 + (np.abs(D).max(axis=1) / radius) ** 4)
    D = D / radius
    # value = a + b'd + d'Hd / 2, with the entries of H above the diagonal
    squares = D[:, first] * D[:, second] * np.where(first == second, 0.5, 1.0)
    rows = [np.column_stack([np.ones(m), D, squares]) * weight[:, None]]
    goal = [values * weight]
    for j in range(q):
        bend = np.zeros((m, len(first)))
        for k in range(q):
            entry = (first == min(j, k)) & (second == max(j, k))
            bend[:, entry] += D[:, [k]]
        unit = np.zeros((m, q))
        unit[:, j] = 1.0
        row = np.column_stack([np.zeros(m), unit, bend])
        rows.append(_SLOPES * weight[:, None] * row)
        goal.append(_SLOPES * weight * radius * np.array(slopes)[:, j])
    ridge = 1e-4 * np.eye(1 + q + len(first))[1 + q :]
    A = np.vstack([*rows, ridge])
    found = np.linalg.lstsq(A, np.concatenate([*goal, np.zeros(len(ridge))]))[0]
    H = np.zeros((q, q))
    H[first, second] = H[second, first] = found[1 + q :]
    return found[1 : 1 + q] / radius, H / radius**2


def _lowest(b: Array, H: Array, low: Array, high: Array) -> tuple[Array, float]:
    """Lowest point of a quadratic in a box around zero, and how much lower it is."""
    found, gain = np.zeros(len(b)), 0.0
    corner = np.where(b > 0, low, high)
    for start in (np.zeros(len(b)), corner, (low + high) / 2):
        trial = lbfgs_box(
            lambda d: (float(b @ d + d @ H @ d / 2), b + H @ d), start, low, high
        )
        if -trial.objective > gain:
            found, gain = trial.x, -trial.objective
    return found, gain
