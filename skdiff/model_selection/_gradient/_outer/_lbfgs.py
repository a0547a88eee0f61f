"""An outer solver for many variables: L-BFGS-B, and descent where it stalls."""

from collections.abc import Callable

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff.model_selection._gradient._outer._root import Outcome

Objective = Callable[[Array], tuple[float, Array]]
_FLAT = 1e-2  # slopes this small, relative to tol * C, are zero


def lbfgs(
    objective: Objective,
    theta: Array,
    lower: Array,
    upper: Array,
    *,
    tol: float,
    max_iter: int,
) -> Outcome:
    """Minimise in a box by L-BFGS-B; projected gradient steps where it stalls."""
    counter = {"calls": 0}
    first, _ = objective(theta)
    scale = max(abs(first), 1e-300) if np.isfinite(first) else 1.0
    worst = [abs(first) if np.isfinite(first) else 1.0]
    lowest: list[tuple[float, Array, Array]] = []

    def scaled(t: Array) -> tuple[float, Array]:
        counter["calls"] += 1
        value, gradient = objective(t)
        if not np.isfinite(value):  # a wall, steeper than anything seen
            return 10 * worst[0] / scale, np.zeros_like(t)
        worst[0] = max(worst[0], abs(value))
        if not lowest or value < lowest[0][0]:
            lowest[:] = [(value, t.copy(), gradient)]
        return value / scale, gradient / scale

    found = lbfgs_box(
        scaled,
        theta,
        lower,
        upper,
        max_iter=max_iter,
        max_fun=max(max_iter, 2),
        ftol=tol**2,
        gtol=_FLAT * tol,
    )
    theta = found.x
    if found.stats["status"] == 2 and lowest:  # the criterion is not smooth there
        left = max(max_iter - counter["calls"], 0)
        return descend(objective, lowest[0], lower, upper, tol=tol, max_iter=left)
    if lowest and lowest[0][0] < found.objective * scale:
        theta = lowest[0][1]
    return Outcome(theta, counter["calls"], found.converged)


def descend(
    objective: Objective,
    start: tuple[float, Array, Array],
    lower: Array,
    upper: Array,
    *,
    tol: float,
    max_iter: int,
) -> Outcome:
    """Projected gradient steps with backtracking."""
    value, theta, gradient = start
    size = max(float(np.linalg.norm(gradient)), 1e-300)
    step = 0.1 * np.sqrt(len(theta)) / size
    for n_iter in range(max_iter):
        trial = np.clip(theta - step * gradient, lower, upper)
        moved = float(np.abs(trial - theta).max(initial=0.0))
        if moved < tol / 10:
            return Outcome(theta, n_iter, True)
        found, slope = objective(trial)
        if (
            np.isfinite(found)
            and found <= value - 1e-4 * np.sum((trial - theta) ** 2) / step
        ):
            theta, value, gradient = trial, found, slope
            step *= 1.5
        else:
            step /= 3
    return Outcome(theta, max_iter, False)
