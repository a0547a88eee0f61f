"""What is read from a model about a target row: margin, loss or log odds."""

import numpy as np

from skdiff._base.typing import Array, IntArray


def margins(values: Array, codes: IntArray) -> Array:
    """Return the value of the right class minus the largest other one.

    ``values`` is (..., targets, classes), or (..., targets) of a decision function for
    two classes, whose margin is ``(2 y - 1) f``.
    """
    if values.shape[-1] == len(codes) and values.ndim < 2:
        return np.asarray((2.0 * codes - 1.0) * values)
    here = np.arange(len(codes))
    right = values[..., here, codes]
    others = values.copy()
    others[..., here, codes] = -np.inf
    return np.asarray(right - others.max(axis=-1))


def signed(values: Array, codes: IntArray) -> Array:
    """Return ``(2 y - 1) f`` for decision values of two classes."""
    return np.asarray((2.0 * codes - 1.0) * values)


def log_losses(P: Array, codes: IntArray) -> Array:
    """Return the log loss of each target."""
    p = P[..., np.arange(len(codes)), codes]
    return np.asarray(-np.log(np.clip(p, 1e-15, 1.0)))


def log_odds(P: Array, codes: IntArray) -> Array:
    """Return the log odds of the right class."""
    p = np.clip(P[..., np.arange(len(codes)), codes], 1e-15, 1 - 1e-15)
    return np.asarray(np.log(p) - np.log1p(-p))
