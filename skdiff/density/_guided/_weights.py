"""Weights of rows, effective sample sizes, systematic resampling, soft values."""

from typing import Any

import numpy as np
from scipy.special import logsumexp

from skdiff._base.typing import Array, IntArray


def normalised(log_weight: Array) -> Array:
    """Weights that sum to one along the last axis."""
    top = log_weight.max(axis=-1, keepdims=True)
    # where all are minus infinity, all are alike
    lifted = np.where(np.isfinite(top), log_weight, 0.0)
    p = np.exp(lifted - np.where(np.isfinite(top), top, 0.0))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def effective_size(log_weight: Array) -> float:
    """Rows of equal weight that would tell as much (Kish); none where all are zero."""
    if not np.isfinite(log_weight).any():
        return 0.0
    p = normalised(log_weight)
    return float(1.0 / np.sum(p**2))


def systematic(log_weight: Array, n: int, rng: Any) -> IntArray:
    """Draw n places in proportion to their weights, one point per equal part."""
    points = (np.arange(n) + rng.uniform()) / n
    ends = np.cumsum(normalised(log_weight))
    place = np.searchsorted(ends, points * ends[-1], side="right")
    return np.minimum(place, len(log_weight) - 1)


def choose(log_weight: Array, rng: Any) -> IntArray:
    """One place per row of weights."""
    cut = np.cumsum(normalised(log_weight), axis=1)
    uniform = rng.uniform(size=(len(cut), 1)) * cut[:, -1:]
    return np.asarray((cut[:, :-1] <= uniform).sum(axis=1))


def soft_value(rewards: Array, temperature: float) -> Array:
    """``t log mean exp(r / t)`` along the last axis; the largest reward at t = 0."""
    if temperature == 0:
        return np.asarray(rewards.max(axis=-1))
    n = rewards.shape[-1]
    total = logsumexp(rewards / temperature, axis=-1) - np.log(n)
    return np.asarray(temperature * total)
