"""Projections and proximal operators, exact and vectorised over rows."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array


def soft_threshold(X: Array, strength: Any) -> Array:
    """Prox of ``strength * |x|``: shrink each entry towards zero."""
    return np.asarray(np.sign(X) * np.maximum(np.abs(X) - strength, 0.0))


def group_soft_threshold(X: Array, strength: Any) -> Array:
    """Prox of ``strength * ||x||`` for every row: shrink its length towards zero."""
    length = np.linalg.norm(X, axis=-1, keepdims=True)
    strength = np.asarray(strength, dtype=np.float64)[..., None]
    factor = np.maximum(1 - strength / np.where(length > 0, length, 1.0), 0.0)
    return np.asarray(X * factor)


def project_simplex(X: Array, total: float = 1.0) -> Array:
    """Nearest point of ``{x >= 0, sum x = total}`` for every row."""
    ranked = -np.sort(-X, axis=-1)
    excess = np.cumsum(ranked, axis=-1) - total
    place = np.arange(1, X.shape[-1] + 1)
    kept = np.count_nonzero(ranked * place > excess, axis=-1, keepdims=True)
    shift = np.take_along_axis(excess, kept - 1, axis=-1) / kept
    return np.asarray(np.maximum(X - shift, 0.0))


def project_capped_simplex(X: Array, total: float, cap: float = 1.0) -> Array:
    """Nearest point of ``{0 <= x <= cap, sum x = total}`` for every row.

    The answer is ``clip(x - t, 0, cap)``; its sum is piecewise linear in ``t`` with
    knots where an entry leaves zero or reaches the cap, so the right piece is found
    among the sorted knots and solved exactly.
    """
    if not 0 <= total <= cap * X.shape[-1]:
        raise ValueError(f"total={total} cannot be reached under a cap of {cap}.")
    knots = np.sort(np.concatenate([X, X - cap], axis=-1), axis=-1)
    low = np.zeros((*X.shape[:-1], 1), dtype=np.intp)
    high = np.full_like(low, knots.shape[-1] - 1)
    while np.any(high - low > 1):  # sums fall along the knots
        middle = (low + high) // 2
        t = np.take_along_axis(knots, middle, axis=-1)
        large = np.clip(X - t, 0.0, cap).sum(axis=-1, keepdims=True) >= total
        low, high = np.where(large, middle, low), np.where(large, high, middle)
    left, right = (np.take_along_axis(knots, k, axis=-1) for k in (low, high))
    at_left, at_right = (
        np.clip(X - t, 0.0, cap).sum(axis=-1, keepdims=True) for t in (left, right)
    )
    fall = at_left - at_right
    share = np.where(fall > 0, (at_left - total) / np.where(fall > 0, fall, 1.0), 0.0)
    return np.asarray(np.clip(X - (left + share * (right - left)), 0.0, cap))


def project_l1_ball(X: Array, radius: float = 1.0) -> Array:
    """Nearest point of ``{||x||_1 <= radius}`` for every row."""
    inside = np.abs(X).sum(axis=-1, keepdims=True) <= radius
    return np.asarray(
        np.where(inside, X, np.sign(X) * project_simplex(np.abs(X), radius))
    )


def project_l2_ball(X: Array, radius: float = 1.0) -> Array:
    """Nearest point of ``{||x||_2 <= radius}`` for every row."""
    length = np.linalg.norm(X, axis=-1, keepdims=True)
    return np.asarray(X * np.minimum(1.0, radius / np.maximum(length, 1e-300)))
