"""How uncertain a surrogate is about each row, and how far out the row lies."""

from typing import Any

import numpy as np
from scipy.linalg import eigh

from skdiff._base.typing import Array
from skdiff.data_selection._models._glm import projections, weighted_gram


def uncertainty(P: Array) -> Array:
    """Return ``1 - sum p^2``: the chance that two draws of the label differ."""
    return np.clip(1.0 - np.einsum("ij,ij->i", P, P), 0.0, None)


def inverse_hessian_norms(X: Any, h: Array) -> Array:
    """Return the norm of each extended row in the inverse of ``mean h x x'``.

    Directions without curvature are left out.
    """
    H = weighted_gram(X, h / len(h), True)
    values, V = eigh(H)
    cut = len(H) * np.finfo(float).eps * max(values[-1], 0.0)
    kept = values > cut
    root = V[:, kept] / np.sqrt(values[kept])
    Z = projections(X, root.T, True)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", Z, Z)))


def sampling_probabilities(scores: Array, alpha: float) -> Array:
    """Return probabilities proportional to ``scores ** alpha``; uniform for zeros."""
    top = scores.max(initial=0.0)
    if top <= 0 or alpha == 0:
        return np.full(len(scores), 1.0 / len(scores))
    weights = (scores / top) ** alpha
    return np.asarray(weights / weights.sum())
