"""Largest differences between groups over a set of models.

The measure of a group is a weighted mean of responses of its rows; the difference of a
model is the largest one between two groups.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from skdiff._base.typing import Array
from skdiff.multiplicity._sets._fit import FittedSet, Settings

_STEPS, _PAIRS = 12, 12
_FRACTIONS = 0.5 ** np.arange(8)

Response = Callable[[Array], Array]


@dataclass(frozen=True)
class Differences:
    """Attained extremes of the difference, certified outer bounds, and models."""

    low: float
    high: float
    outer_low: float
    outer_high: float
    low_model: Array
    high_model: Array


@dataclass(frozen=True)
class GroupMeasure:
    """Rows V (m, p) and weights (G, m) of the groups' means."""

    V: Array
    weight: Array
    response: Response  # of predictors, what the mean is taken of
    slope: Response  # its derivative, or that of a smooth substitute

    def difference(self, W: Array) -> Array:
        """Largest difference between two groups for each model (k, p)."""
        means = self.response(W @ self.V.T) @ self.weight.T
        return np.asarray(means.max(axis=1) - means.min(axis=1))

    def direction(self, w: Array, contrast: Array) -> Array:
        """Gradient of a contrast of the groups' means."""
        rows = (contrast @ self.weight) * self.slope(self.V @ w)
        return np.asarray(rows @ self.V)


def difference_range(
    fitted: FittedSet, measure: GroupMeasure, settings: Settings, *, linear: bool
) -> Differences:
    """Range of the largest difference between two groups over the set.

    Outer bounds follow from the ranges of the rows, or, where the response is linear,
    from those of the contrasts, which are then exact. Inner bounds are attained by
    models that a local search finds.
    """
    G = len(measure.weight)
    pairs = list(permutations(range(G), 2))
    contrasts = np.array([np.eye(G)[a] - np.eye(G)[b] for a, b in pairs])
    if linear:
        outer = fitted.range(contrasts @ measure.weight @ measure.V, settings)
        outer = measure.response(outer)
    else:
        bounds = measure.response(fitted.range(measure.V, settings))
        low, high = measure.weight @ bounds[:, 0], measure.weight @ bounds[:, 1]
        outer = np.array([[low[a] - high[b], high[a] - low[b]] for a, b in pairs])
    top = np.argsort(-outer[:, 1], kind="stable")[:_PAIRS]
    start = fitted.baseline
    found = [start]
    for k in top:
        found.append(_climb(fitted, measure, start, contrasts[k], settings))
    values = measure.difference(np.array(found))
    high_model = found[int(values.argmax())]
    low_model = _descend(fitted, measure, start, settings)
    if linear and G == 2:
        crossing = _crossing(fitted, measure, contrasts[0], settings)
        pair = np.array([low_model, crossing])
        low_model = pair[int(measure.difference(pair).argmin())]
    return Differences(
        low=float(measure.difference(low_model[None])[0]),
        high=float(values.max()),
        outer_low=float(max(outer[:, 0].max(), 0.0)),
        outer_high=float(outer[:, 1].max()),
        low_model=low_model,
        high_model=high_model,
    )


def _crossing(
    fitted: FittedSet, measure: GroupMeasure, contrast: Array, settings: Settings
) -> Array:
    """The model at which a linear contrast is nearest to zero."""
    v = measure.direction(fitted.baseline, contrast)
    ends = [_furthest(fitted, sign * v, settings) for sign in (-1.0, 1.0)]
    if ends[0] is None or ends[1] is None:
        return fitted.baseline
    low, high = v @ ends[0], v @ ends[1]
    if low < 0 < high:
        return np.asarray(ends[1] + high / (high - low) * (ends[0] - ends[1]))
    return ends[0] if abs(low) < abs(high) else ends[1]


def _furthest(fitted: FittedSet, v: Array, settings: Settings) -> Array | None:
    """The model of the set that maximises ``v'w``; None where there is none."""
    if not np.any(v):
        return None
    norms, _, high = fitted.level_set.maxima(v[None], fitted.budget, **settings.newton)
    if not np.isfinite(norms[0] * high.value[0]):
        return None
    w = fitted.level_set.models(high.model)[0]
    # pulled into the set, by convexity
    problem, center = fitted.level_set.problem, fitted.level_set.center
    gap = problem.value(w) - fitted.level_set.objective
    pull = min(1.0, fitted.budget / max(gap, 1e-300))
    return np.asarray(center + pull * (w - center))


def _climb(
    fitted: FittedSet,
    measure: GroupMeasure,
    w: Array,
    contrast: Array,
    settings: Settings,
) -> Array:
    """Follow linearisations of a contrast of two groups while its difference grows."""
    best = float(measure.difference(w[None])[0])
    point = w
    for _ in range(_STEPS):
        end = _furthest(fitted, measure.direction(point, contrast), settings)
        if end is None:
            break
        trials = point + _FRACTIONS[:, None] * (end - point)
        values = measure.difference(trials)
        top = int(values.argmax())
        if values[top] <= best + 1e-12:
            break
        best, point = float(values[top]), trials[top]
    return point


def _descend(
    fitted: FittedSet, measure: GroupMeasure, w: Array, settings: Settings
) -> Array:
    """Bring the two groups that differ most closer, while the difference falls."""
    best = float(measure.difference(w[None])[0])
    point = w
    for _ in range(2 * _STEPS):
        means = measure.response(measure.V @ point) @ measure.weight.T
        contrast = np.zeros(len(means))
        contrast[means.argmin()] += 1.0
        contrast[means.argmax()] -= 1.0
        end = _furthest(fitted, measure.direction(point, contrast), settings)
        if end is None:
            break
        steps = np.concatenate([_FRACTIONS, np.linspace(0.02, 1.0, 50)])
        trials = point + steps[:, None] * (end - point)
        values = measure.difference(trials)
        top = int(values.argmin())
        if values[top] >= best - 1e-12:
            break
        best, point = float(values[top]), trials[top]
    return point
