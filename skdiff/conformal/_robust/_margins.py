"""Exact routes: how far a margin can fall within a radius, without a draw.

The score of a label is ``s(x, y) = max_k f_k(x) - f_y(x)`` over the other labels. A
label is in the set of a moved row when some move back within the radius brings its
score to the threshold or below.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray

SWEEPS = 100
SLACK = 1e-10  # relative; products of matrices differ by less from batch to batch


class Linear(NamedTuple):
    """Coefficients of the scores ``f`` of the classes, and the norm of a move."""

    coef: Array  # (classes, features)
    norm: float


def margins(F: Array) -> Array:
    """Largest other score less the own, (rows, classes)."""
    K = F.shape[1]
    found = np.empty_like(F)
    for y in range(K):
        found[:, y] = np.delete(F, y, axis=1).max(axis=1) - F[:, y]
    return found


def dual_lengths(differences: Array, norm: float) -> Array:
    """How much a unit move changes each difference: the dual norm."""
    if norm == np.inf:
        found: Array = np.abs(differences).sum(axis=1)
        return found
    found = np.sqrt((differences**2).sum(axis=1))
    return found


def slack(F: Array, threshold: float) -> float:
    """What rounding may add to a margin."""
    size = max(float(np.abs(F).max(initial=0.0)), abs(threshold))
    return SLACK * size if np.isfinite(size) else 0.0


def linear_inside(
    F: Array, model: Linear, radius: float, threshold: float
) -> BoolArray:
    """Which labels some move brings to the threshold, for a linear model.

    Each single difference falls by the radius times its dual norm. With three and more
    labels all of them have to fall by one move: for Euclidean moves the shortest one is
    a quadratic program in the other labels, whose dual bounds decide.
    """
    K = F.shape[1]
    limit = threshold + slack(F, threshold)
    found = np.empty(F.shape, dtype=bool)
    for y in range(K):
        others = np.delete(np.arange(K), y)
        A = model.coef[others] - model.coef[y]
        over = F[:, others] - F[:, [y]] - limit
        each = over <= radius * dual_lengths(A, model.norm)
        found[:, y] = each.all(axis=1)
        if K > 2 and model.norm == 2:
            open_rows = np.flatnonzero(found[:, y] & (over > 0).any(axis=1))
            if len(open_rows):
                far = out_of_reach(over[open_rows], A @ A.T, radius)
                found[open_rows[far], y] = False
    return found


def out_of_reach(over: Array, gram: Array, radius: float) -> BoolArray:
    """Rows for which no move ``e`` of the radius gives ``over + A e <= 0``.

    Half the squared length of the shortest such move is the maximum of ``l'over - l' G
    l / 2`` over ``l >= 0``, ``G = A A'``. Any ``l`` is a lower bound, so that a row is
    only given up with a proof. Coordinate ascent, all rows at once.
    """
    scale = np.diag(gram).copy()
    free = np.flatnonzero(scale > 0)
    lam = np.zeros_like(over)
    product = np.zeros_like(over)  # lam @ gram
    enough = 0.5 * radius**2 * (1 + 1e-9)
    far = np.zeros(len(over), dtype=bool)
    for _ in range(SWEEPS):
        moved = 0.0
        for k in free:
            step = np.maximum(lam[:, k] + (over[:, k] - product[:, k]) / scale[k], 0.0)
            change = step - lam[:, k]
            lam[:, k] = step
            product += change[:, None] * gram[k]
            moved = max(moved, float(np.abs(change * np.sqrt(scale[k])).max()))
        value = (lam * over).sum(axis=1) - 0.5 * (lam * product).sum(axis=1)
        far = value > enough
        if moved <= 1e-9 * radius or far.all():
            break
    return far


def lipschitz_inside(
    F: Array, bound: float, radius: float, threshold: float
) -> BoolArray:
    """Which labels may reach the threshold, for outputs with a Lipschitz bound.

    The difference of two outputs has the constant ``sqrt(2)`` times the bound.
    """
    limit = threshold + slack(F, threshold)
    found: BoolArray = margins(F) - np.sqrt(2) * bound * radius <= limit
    return found
