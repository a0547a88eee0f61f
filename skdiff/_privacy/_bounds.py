"""Bounds and quantiles of a numeric column, bought with noise.

The cells are fixed in advance: signed powers of two from ``2**-64`` to ``2**64``, and
one cell for what is smaller. Larger values count in the outermost cells.
"""

import math
from fractions import Fraction

import numpy as np

from skdiff._base.typing import Array, IntArray

_HALF = 128
_SMALLEST = -64
N_CELLS = 2 * _HALF + 1
_BETA = 1e-3  # chance that noise alone makes a bound


def power_cells(values: Array) -> IntArray:
    """Return the cell of each value, from the most negative one up."""
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        # frexp is exact where a logarithm is not: size = m 2^e with m in [1/2, 1)
        power = np.frexp(size)[1].astype(np.int64) - 1 - _SMALLEST
    place = np.where(size > 0, np.clip(power, -1, _HALF - 1) + 1, 0)
    return np.asarray(_HALF + np.sign(values).astype(np.int64) * place)


def threshold(sigma_sq: Fraction) -> float:
    """Count that noise alone exceeds in none of the cells, but for chance beta."""
    return math.sqrt(float(sigma_sq)) * math.sqrt(2 * math.log(2 * N_CELLS / _BETA))


def bounds_of(noisy: IntArray, least: float) -> tuple[float, float]:
    """Outer edges of the outermost cells above a count; (-1, 1) where none is."""
    kept = np.flatnonzero(noisy > least)
    if not len(kept):
        return -1.0, 1.0
    return -_upper_edge(_HALF - int(kept[0])), _upper_edge(int(kept[-1]) - _HALF)


def _upper_edge(k: int) -> float:
    """Largest value of the k-th cell above zero; of one below zero, minus its lower."""
    if k >= 0:
        return 2.0 ** (k + _SMALLEST)
    return -(2.0 ** (-k - 1 + _SMALLEST))


def quantile_edges(noisy: IntArray, edges: Array, n_bins: int) -> Array:
    """Edges of bins of equal mass under a noisy histogram; distinct and rising."""
    mass = np.maximum(noisy, 0).astype(np.float64)
    if mass.sum() == 0:
        mass[:] = 1.0
    # an empty stretch keeps a little mass, so that no bin is without width
    mass += mass.sum() / (64 * len(mass))
    reached = np.r_[0.0, np.cumsum(mass)]
    inner = np.interp(np.arange(1, n_bins) / n_bins * reached[-1], reached, edges)
    return np.unique(np.r_[edges[0], inner, edges[-1]])
