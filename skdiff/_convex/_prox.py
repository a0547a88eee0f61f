"""Proximal operators."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array


def soft_threshold(X: Array, strength: Any) -> Array:
    """Prox of ``strength * |x|``: shrink each entry towards zero."""
    return np.asarray(np.sign(X) * np.maximum(np.abs(X) - strength, 0.0))
