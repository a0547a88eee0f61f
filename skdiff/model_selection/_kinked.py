"""An outer solver for few variables and a criterion with many small kinks."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize

from skdiff.model_selection._outer import Outcome

Array = np.ndarray[Any, np.dtype[np.float64]]
Objective = Callable[[Array], tuple[float, Array]]
_WIDE = 0.25  # first radius, as a share of the box
_SLOPES = 0.4  # weight of slopes beside values: kinks spoil them more
_GAIN = 3e-2  # of tol: share of the criterion that is not worth a point


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
    region in which a quadratic is trusted shrinks when its minimiser is no better.
    """
    width = np.asarray(upper - lower)
    points: list[Array] = []
    values: list[float] = []
    slopes: list[Array] = []

    def visit(x: Array) -> float:
        value, slope = objective(lower + width * x)
        if np.isfinite(value):
            points.append(x)
            values.append(value)
            slopes.append(slope * width)
        return value

    for theta in scan[:max_iter]:
        visit((theta - lower) / width)
    used, radius, quiet = min(len(scan), max_iter), _WIDE, 0
    if not points:
        return Outcome(scan[0], used, False)
    while used < max_iter and radius > tol / 10 and quiet < 2:
        best = int(np.argmin(values))
        centre, lowest = points[best], values[best]
        model = _fit(np.array(points) - centre, np.array(values), slopes, radius)
        low = np.maximum(-radius, -centre)
        high = np.minimum(radius, 1.0 - centre)
        step, gain = _lowest(*model, low, high)
        if gain <= _GAIN * tol * abs(lowest):
            quiet, radius = quiet + 1, radius / 4
            continue
        value = visit(np.clip(centre + step, 0.0, 1.0))
        used += 1
        if value < lowest - gain / 10:
            quiet = 0
            if np.abs(step).max() > 0.9 * radius:
                radius = min(2 * radius, 0.5)
        else:
            radius /= 2
    best = int(np.argmin(values))
    return Outcome(lower + width * points[best], used, used < max_iter)


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
        trial = minimize(
            lambda d: (b @ d + d @ H @ d / 2, b + H @ d),
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
        )
        if -trial.fun > gain:
            found, gain = np.asarray(trial.x), -float(trial.fun)
    return found, gain
