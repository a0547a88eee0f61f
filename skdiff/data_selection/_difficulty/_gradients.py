"""Norms of each row's gradient in all parameters, without forming the gradients.

A layer ``z = h W + b`` gets the gradient ``h' delta`` from one row, a matrix of rank
one. Its Frobenius norm is ``|h| |delta|``, that of the bias ``|delta|``; so the squared
norm over all layers is the sum of ``|delta|^2 (|h|^2 + 1)``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from skdiff._base.typing import Array

# derivative of each hidden activation, as a function of its value
DERIVATIVES: dict[str, Callable[[Array], Any]] = {
    "identity": lambda h: 1.0,
    "relu": lambda h: h > 0,
    "tanh": lambda h: 1.0 - h**2,
    "logistic": lambda h: h * (1.0 - h),
}
VALUES: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "logistic": lambda z: 0.5 * (1.0 + np.tanh(0.5 * z)),
}


def row_squares(X: Any) -> Array:
    """Return the squared norm of each row, dense or sparse."""
    if issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    return np.einsum("ij,ij->i", X, X)


def linear_gradient_norms(X: Any, delta: Array) -> Array:
    """Norms for one layer, its intercept included; ``delta`` is (n, outputs)."""
    return np.sqrt((row_squares(X) + 1.0) * row_squares(delta))


def network_gradient_norms(
    X: Array,
    delta: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    activation: str,
) -> Array:
    """Norms for a feed-forward network.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    delta : ndarray of shape (n_samples, n_outputs)
        Derivative of each row's loss in the outputs before the last activation.
    weights, biases : list of ndarray
        Of each layer, inputs in rows.
    activation : {"identity", "relu", "tanh", "logistic"}
        Of the hidden layers.

    Notes
    -----
    One forward and one backward pass over all rows.
    """
    hidden = [X]
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        hidden.append(VALUES[activation](hidden[-1] @ W + b))
    total = np.zeros(len(delta))
    for layer in range(len(weights) - 1, -1, -1):
        total += row_squares(delta) * (row_squares(hidden[layer]) + 1.0)
        if layer:
            slope = DERIVATIVES[activation](hidden[layer])
            delta = (delta @ weights[layer].T) * slope
    return np.sqrt(total)
