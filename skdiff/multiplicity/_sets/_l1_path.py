"""Paths of extremes under squared loss and an L1 penalty, which are piecewise linear.

The extremes of ``v'u`` at all budgets lie on one path, the minimisers of ``F(u) - mu
v'u`` for growing ``mu``. While support and signs stay, a quadratic smooth part makes it
a straight line, ``H_AA du_A = v_A dmu``, along which the gap is ``d gap = mu v'du``. A
piece ends where a coefficient reaches zero and leaves the support, or where the
gradient of a zero coefficient reaches the strength of its penalty and it joins. So the
path is followed from corner to corner, without a search for ``mu``: what an iterative
method cannot find where supports are singular, because ``mu`` all but stands still
there while the model moves.
"""

from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._batched import solve_systems

# Curvature added to every coordinate, whose own is one. On a singular support it turns
# the piece on which mu stands still into one on which it moves by this much.
_RIDGE = 1e-14
_CELLS = 4_000_000  # numbers of the systems that are solved together


def follow(
    H: Array, gradient: Array, center: Array, lasso: Array, V: Array, budgets: Array
) -> tuple[Array, Array]:
    """Follow the paths of directions V (m, r) through ascending budgets.

    ``H`` and ``gradient`` are of the smooth part at ``center``, the minimiser of it
    plus ``lasso @ abs(u)``. Returned are displacements (n_budgets, m, r) from the
    centre and multipliers (n_budgets, m), NaN where corners lie so close that the path
    was lost.
    """
    m, r = V.shape
    moved = np.full((len(budgets), m, r), np.nan)
    multiplier = np.full((len(budgets), m), np.nan)
    rows, level = np.arange(m), np.zeros(m, dtype=np.intp)
    W, G = np.tile(center, (m, 1)), np.tile(gradient, (m, 1))
    sign = np.sign(W) * (lasso > 0)
    alive = (sign != 0) | (lasso == 0)
    mu, gap = np.zeros(m), np.zeros(m)
    for _ in range(200 + 20 * r):
        D = _directions(H, alive, V)
        dG = D @ H
        bend = np.einsum("ij,ij->i", V, D)
        t, corner = _next_corner(W, sign, alive, lasso, D, G - mu[:, None] * V, dG - V)
        open_ = np.arange(len(rows))
        while len(open_):
            until = _way(budgets[level[open_]] - gap[open_], bend[open_], mu[open_])
            reached = until <= t[open_]
            open_, until = open_[reached], until[reached]
            here = level[open_], rows[open_]
            moved[here] = W[open_] - center + until[:, None] * D[open_]
            multiplier[here] = mu[open_] + until
            level[open_] += 1
            open_ = open_[level[open_] < len(budgets)]
        go = (level < len(budgets)) & np.isfinite(t)
        if not go.any():
            break
        rows, level, t, corner = rows[go], level[go], t[go], corner[go]
        V, sign, alive = V[go], sign[go], alive[go]
        W, G = W[go] + t[:, None] * D[go], G[go] + t[:, None] * dG[go]
        gap = gap[go] + t * bend[go] * (mu[go] + t / 2)
        mu = mu[go] + t
        _turn(W, sign, alive, G - mu[:, None] * V, corner)
    return moved, multiplier


def _way(missing: Array, bend: Array, mu: Array) -> Array:
    """How far ``mu`` grows until the gap has grown by what is missing.

    The gap at ``mu + t`` is larger by ``bend ((mu + t)^2 - mu^2) / 2``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        need = 2 * np.maximum(missing, 0.0) / bend
        way = need / (np.sqrt(mu**2 + need) + mu)
    return np.where(bend > 0, way, np.inf)


def _directions(H: Array, alive: Any, V: Array) -> Array:
    """Solutions of ``H_AA d_A = v_A`` (m, r), zero off the supports."""
    D = np.zeros_like(V)
    size = int(alive.sum(axis=1).max(initial=0))
    step = max(1, _CELLS // max(size, 1) ** 2)
    for first in range(0, len(V), step):
        block = slice(first, first + step)
        place = np.argsort(~alive[block], axis=1, kind="stable")[:, :size]
        own = np.take_along_axis(alive[block], place, axis=1)
        M = H[place[:, :, None], place[:, None, :]]
        M *= own[:, :, None] & own[:, None, :]
        M += np.where(own, _RIDGE, 1.0)[:, :, None] * np.eye(size)
        v = np.where(own, np.take_along_axis(V[block], place, axis=1), 0.0)
        d = solve_systems(M, v[..., None])[..., 0]
        np.put_along_axis(D[block], place, d, axis=1)
    return D


def _next_corner(
    W: Array, sign: Array, alive: Array, lasso: Array, D: Array, R: Array, dR: Array
) -> tuple[Array, Array]:
    """How far each row's piece goes, and the coefficient that ends it.

    ``R`` is the gradient of the smooth part less ``mu v``. A coefficient that left at
    the last corner moves inward, towards the other bound of its interval.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        leave = np.where(sign * D < 0, -W / D, np.inf)
        join = (lasso * np.sign(dR) - R) / dR
    t = np.where(alive, leave, np.where(dR != 0, join, np.inf))
    np.maximum(t, 0.0, out=t)
    corner = t.argmin(axis=1)
    return t[np.arange(len(t)), corner], corner


def _turn(W: Array, sign: Array, alive: Array, R: Array, corner: Array) -> None:
    """Let the coefficient at each row's corner leave or join, in place."""
    rows = np.arange(len(W))
    joins = ~alive[rows, corner]
    W[rows, corner] = 0.0
    sign[rows, corner] = np.where(joins, -np.sign(R[rows, corner]), 0.0)
    alive[rows, corner] = joins
