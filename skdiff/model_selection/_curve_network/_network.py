"""The network in NumPy: a summary and a query in, a mixture of Gaussians out."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from skdiff._base.typing import FloatArray
from skdiff._base.weights import load_weights
from skdiff.model_selection._curve_network._mixture import Mixture

#: components of the predicted mixture
N_COMPONENTS = 6
_LOG_STD = (-10.0, -1.0)
_STEP = 0.3


@cache
def double_precision(name: str) -> dict[str, FloatArray]:
    """Return shipped arrays in double precision.

    In single precision a matrix product depends on how many curves are predicted at
    once, in the seventh digit.
    """
    arrays = load_weights(name).arrays
    return {key: array.astype(np.float64) for key, array in arrays.items()}


def context(arrays: Mapping[str, FloatArray], summary: FloatArray) -> FloatArray:
    """Run the part that sees only the summary, once per curve."""
    h = summary
    for k in range(3):
        h = h @ arrays[f"context_W{k}"] + arrays[f"context_b{k}"]
        h = h * _sigmoid(h) if k < 2 else h
    return h


def forecast(
    arrays: Mapping[str, FloatArray],
    hidden: FloatArray,
    query: FloatArray,
    reference: FloatArray,
) -> Mixture:
    """Return the mixtures of curves (n) at queries (n, q, 3)."""
    h = query @ arrays["query_W"]
    h += hidden[:, None, :]
    np.maximum(h, 0, out=h)
    h = h @ arrays["head_W"] + arrays["head_b"]
    np.maximum(h, 0, out=h)
    out = h @ arrays["out_W"] + arrays["out_b"]
    logits, shifts, log_std = np.split(out, 3, axis=-1)
    logits -= logits.max(-1, keepdims=True)
    weights = np.exp(logits)
    weights /= weights.sum(-1, keepdims=True)
    means = reference[:, None, None] + _STEP * shifts
    return Mixture(weights, means, np.exp(np.clip(log_std, *_LOG_STD)))


def _sigmoid(z: FloatArray) -> FloatArray:
    half: FloatArray = 0.5 * (np.tanh(0.5 * z) + 1)
    return half
