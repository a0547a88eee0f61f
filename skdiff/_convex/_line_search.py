"""Armijo's rule, which every Newton method here shortens its steps by."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array

_ARMIJO, _HALVINGS = 1e-4, 40


class Accepted(NamedTuple):
    """Length of the step, the value there, and what else its evaluation gave."""

    t: float
    value: float
    rest: Any


def rounding(value: float) -> float:
    """Differences of values of this size that are rounding alone."""
    return float(4 * np.finfo(float).eps * max(abs(value), 1e-300))


def line_search(
    trial: Callable[[float], tuple[float, Any]],
    value: float,
    slope: float,
    floor: float = 0.0,
) -> Accepted | None:
    """Halve the step until the value falls by a part of what ``slope`` promises.

    ``trial(t)`` returns the value at step ``t`` and whatever the caller wants of that
    point. ``floor`` is the rise that counts as rounding. None where no step is short
    enough.
    """
    t = 1.0
    for _ in range(_HALVINGS):
        with np.errstate(over="ignore", invalid="ignore"):
            new, rest = trial(t)
        if new <= value + _ARMIJO * t * slope + floor:
            return Accepted(t, new, rest)
        t /= 2
    return None


def decrement_of(gradient: Array, step: Array) -> tuple[float, float]:
    """Slope along a Newton step, and the decrement ``sqrt(g' H^-1 g)``."""
    slope = float(np.vdot(gradient, step))
    return slope, float(np.sqrt(max(-slope, 0.0)))
