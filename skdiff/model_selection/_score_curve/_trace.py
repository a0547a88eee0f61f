"""The trace of a curve: what was predicted after each further observation.

Vilares Ferro et al. (2017): trends, their asymptotes, the level from which they can be
used, and the proximity criterion.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.model_selection._score_curve._patterns import (
    Curves,
    Fitting,
    fit_curves,
    limits,
    predict_curves,
)

_FIRST = 3
_LOOK_AHEAD = 5
_VERTICALITY = 0.5
_FAR = 1e6
_GRID = 400


class Trace(NamedTuple):
    """One entry per level from three observations on.

    ``working`` and ``prediction`` are levels, or None; ``thickness`` is NaN where there
    is no earlier level.
    """

    asymptotes: Array
    thickness: Array
    working: int | None
    prediction: int | None


class Points(NamedTuple):
    """Sizes in order, mean scores, weights of residuals, numbers of observations."""

    sizes: Array
    scores: Array
    weight: Array
    number: Array


def trace_of(pattern: str, points: Points, how: Fitting) -> Trace:
    """Fit the trends of all levels at once.

    From the prediction level on each trend sees one more observation, at infinity: the
    asymptote of the level before, without its own anchor.
    """
    m = len(points.sizes)
    levels = np.arange(_FIRST, m + 1)
    seen = np.arange(m) < levels[:, None]
    W, S = points.weight * seen, np.tile(points.scores, (len(levels), 1))
    count = (points.number * seen).sum(axis=1)
    curves = fit_curves(pattern, points.sizes, S, W, how, count=count)
    asymptotes = limits(curves, how.upper)
    if pattern == "log2":  # it grows without end: nothing to converge
        return Trace(asymptotes, np.full(len(levels), np.nan), None, None)
    free = curves
    if pattern != "power2":
        open_ended = how._replace(upper=np.inf)
        free = fit_curves(
            pattern, points.sizes, S, W, open_ended, count=count, refine=False
        )
    working = _working_level(levels, asymptotes, points.scores)
    prediction = _prediction_level(levels, working, free.asymptote, how.upper)
    if prediction is not None:
        first = prediction - _FIRST + 1
        anchor = np.full(len(levels), 0.0)
        anchor[first:] = W[np.arange(len(levels)), levels - 1][first:]
        before = np.r_[0.0, asymptotes[:-1]]
        anchored = fit_curves(
            pattern,
            np.r_[points.sizes, np.inf],
            np.c_[S, before],
            np.c_[W, anchor],
            how,
            count=count + (anchor > 0),
        )
        asymptotes = limits(anchored, how.upper)
        curves = anchored
    thick = [np.nan] + [
        _thickness(curves, k, points.sizes) for k in range(1, len(levels))
    ]
    return Trace(asymptotes, np.array(thick), working, prediction)


def _working_level(levels: IntArray, asymptotes: Array, scores: Array) -> int | None:
    """First level after which asymptotes move little, compared with the scores so far.

    The slope threshold of the paper belongs to sizes in words and steps of one length;
    here a step may move the asymptote by half the range of the scores.
    """
    ranges = np.array([np.ptp(scores[:level]) for level in levels[1:]])
    calm = np.abs(np.diff(asymptotes)) <= _VERTICALITY * ranges
    ahead = max(1, min(_LOOK_AHEAD, len(calm) // 2))
    for k in range(len(calm) - ahead + 1):
        if calm[k : k + ahead].all():
            return int(levels[k + 1])
    return None


def _prediction_level(
    levels: IntArray, working: int | None, asymptotes: Array, upper: float
) -> int | None:
    """First working level whose asymptote, left free, is a score that can be had."""
    if working is None:
        return None
    room = 1e-9 * max(1.0, abs(upper)) if np.isfinite(upper) else 0.0
    good = (levels >= working) & (asymptotes <= upper + room)
    return int(levels[np.argmax(good)]) if good.any() else None


def _thickness(curves: Curves, k: int, sizes: Array) -> float:
    """Distance of trend k at its last crossing with the one before to its asymptote."""
    two = curves.some(slice(k - 1, k + 1))
    at = np.geomspace(sizes[0], sizes[-1] * _FAR, _GRID)
    old, new = predict_curves(two, at)
    apart = new - old
    tiny = 1e-9 * max(float(np.abs(new).max()), 1e-300)
    if np.all(np.abs(apart) <= tiny):
        return 0.0
    asymptote = float(two.asymptote[1])
    changes = np.flatnonzero(np.sign(apart[1:]) != np.sign(apart[:-1]))
    if len(changes):
        return abs(asymptote - float(new[changes[-1]]))
    beyond = at >= sizes[k + _FIRST - 1]  # they never cross: bound what is left
    return max(
        float(np.abs(apart[beyond]).max()), abs(float(np.diff(two.asymptote)[0]))
    )
