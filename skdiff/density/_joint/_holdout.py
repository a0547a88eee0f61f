"""A validation set of a histogram, the same for weights and for repeated rows."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array


def hold_out(weight: Array, fraction: float, rng: Any) -> Array:
    """Weight of each distinct row that goes to the validation set.

    Rows stand one after the other on a line, as long as their weight; a point is drawn
    in each of equal parts of it, and a row gives one unit per point that it holds.
    """
    total = float(weight.sum())
    n_points = round(fraction * total)
    if n_points < 1:
        return np.zeros(len(weight))
    points = (np.arange(n_points) + rng.uniform(size=n_points)) * (total / n_points)
    ends = np.cumsum(weight)
    place = np.minimum(np.searchsorted(ends, points, side="right"), len(weight) - 1)
    held = np.bincount(place, minlength=len(weight)).astype(np.float64)
    return np.minimum(held, weight)


def gains(difference: Array, weight: Array) -> bool:
    """Whether rows gain on average by more than the standard error of the mean."""
    mean = np.average(difference, weights=weight)
    spread = np.average((difference - mean) ** 2, weights=weight)
    return bool(mean > np.sqrt(spread / weight.sum()))
