"""ROC hulls of groups, and points of a hull as mixtures of at most three thresholds."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray

_PASSES, _SMALL = 30, 64
_NOTHING = 1e-12  # a weight below it is rounding


class RocHull(NamedTuple):
    """Vertices of the upper convex hull of an ROC curve, by rising false positives.

    A vertex belongs to the decision ``score >= threshold``. The first is (0, 0) at the
    threshold ``inf``, the last (1, 1) at ``-inf``.
    """

    fpr: Array
    tpr: Array
    thresholds: Array


def roc_hull(scores: Array, positive: BoolArray, weight: Array) -> RocHull:
    """Return the hull over all thresholds, in one sort."""
    order = np.argsort(-scores, kind="stable")
    s, w, hit = scores[order], weight[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)  # of equal scores
    tp = np.cumsum(np.where(hit, w, 0.0))[last]
    fp = np.cumsum(np.where(hit, 0.0, w))[last]
    x, y = np.append(0.0, fp), np.append(0.0, tp)
    kept = upper_hull(x, y)
    thresholds = np.append(np.inf, s[last])[kept]
    thresholds[-1] = -np.inf
    return RocHull(x[kept] / x[-1], y[kept] / y[-1], thresholds)


def upper_hull(x: Array, y: Array) -> IntArray:
    """Return the vertices of the upper hull of a curve that rises in both coordinates.

    Points on or below the chord of their neighbours cannot be vertices; they go all at
    once while there are many, and one by one at the end.
    """
    kept = np.arange(len(x))
    for _ in range(_PASSES):
        if len(kept) <= _SMALL:
            break
        reflex = ~_above_chord(x[kept], y[kept])
        if not reflex.any():
            break
        kept = kept[~reflex]
    return _chain(x, y, kept)


def _above_chord(x: Array, y: Array) -> BoolArray:
    """Mask of the points that lie above the chord of their neighbours."""
    cross = (x[1:-1] - x[:-2]) * (y[2:] - y[1:-1]) - (y[1:-1] - y[:-2]) * (
        x[2:] - x[1:-1]
    )
    above = np.ones(len(x), dtype=bool)
    above[1:-1] = cross < 0
    return above


def _chain(x: Array, y: Array, rows: IntArray) -> IntArray:
    """Andrew's monotone chain."""
    px, py = x[rows].tolist(), y[rows].tolist()
    stack: list[int] = []
    for k in range(len(rows)):
        while len(stack) > 1:
            a, b = stack[-2], stack[-1]
            cross = (px[b] - px[a]) * (py[k] - py[b]) - (py[b] - py[a]) * (
                px[k] - px[b]
            )
            if cross < 0:
                break
            stack.pop()
        stack.append(k)
    return rows[stack]


def mixture(hull: RocHull, point: Array) -> tuple[IntArray, Array]:
    """Return at most three vertices, and weights with which they mix to a point.

    The triangles from (0, 0) to the edges of the hull cover it; on the hull itself two
    vertices are left.
    """
    x, y = hull.fpr, hull.tpr
    # slopes from the origin fall along the hull: the triangle is found by the angle
    cross = x[1:] * point[1] - y[1:] * point[0]  # > 0: the vertex is to the right
    k = int(np.clip(np.searchsorted(cross, 0.0), 1, len(x) - 2))
    if len(x) == 2:
        share = float(np.clip(point[0], 0.0, 1.0))
        corners, weights = np.array([0, 1]), np.array([1 - share, share])
    else:
        edges = np.array([[x[k], x[k + 1]], [y[k], y[k + 1]]])
        a = np.linalg.solve(edges, point)
        corners, weights = np.array([0, k, k + 1]), np.array([1 - a.sum(), *a])
    weights = np.where(weights > _NOTHING, weights, 0.0)
    used = np.flatnonzero(weights)
    return corners[used], weights[used] / weights.sum()
