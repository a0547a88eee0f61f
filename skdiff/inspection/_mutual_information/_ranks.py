"""Ranks that treat both directions of a column alike.

Everything here is exactly antisymmetric: the column ``-x`` has the negated scores, to
the last bit, and a strictly increasing map of x has the same ones. Equal values share
their average rank.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from skdiff._base.typing import Array


class Ranks(NamedTuple):
    """One column, reduced to the order of its values."""

    signed: Array  # (n,), 2 rank - n - 1, exact
    ties: Array  # (n,), number of rows with the same value
    n_distinct: int


def rank(x: Array) -> Ranks:
    """Return the average ranks of a column, centred, and the sizes of its ties."""
    _, code, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = 2 * last - counts + 1  # twice the average rank
    code = code.reshape(-1)
    signed = (middle[code] - len(x) - 1).astype(np.float64)
    return Ranks(signed, counts[code].astype(np.float64), len(counts))


def uniform_scores(ranks: Ranks) -> Array:
    """Return centred ranks between -1 and 1."""
    found: Array = ranks.signed / len(ranks.signed)
    return found


def normal_scores(ranks: Ranks) -> Array:
    """Return the normal quantiles of the ranks."""
    outer = 0.5 - np.abs(ranks.signed) / (2.0 * (len(ranks.signed) + 1))
    found: Array = -np.sign(ranks.signed) * ndtri(outer)
    return found


def soft_bins(ranks: Ranks, n_bins: int) -> Array:
    """Return the fraction of each row in each of ``n_bins`` equal bins of ranks.

    A row covers the ranks of all rows that equal it, so that the columns sum to
    n / n_bins and no rule for borders is needed.
    """
    n = len(ranks.signed)
    middle = (ranks.signed + n) / (2 * n)
    half = ranks.ties / (2 * n)
    low, high = (middle - half)[:, None] * n_bins, (middle + half)[:, None] * n_bins
    border = np.arange(n_bins)
    covered = np.minimum(high, border + 1) - np.maximum(low, border)
    found: Array = np.maximum(covered, 0.0) / (high - low)
    return found


def legendre(scores: Array, degree: int) -> Array:
    """Return the normalised Legendre polynomials 1..degree of scores in [-1, 1]."""
    columns = [np.ones_like(scores), scores]
    for j in range(1, degree):
        step = (2 * j + 1) * scores * columns[j] - j * columns[j - 1]
        columns.append(step / (j + 1))
    size = np.sqrt(2 * np.arange(1, degree + 1) + 1)
    found: Array = np.stack(columns[1:], axis=1) * size
    return found


def tie_statistics(ranks: Ranks) -> tuple[float, float]:
    """Return the collision probability of a column, and its distinct values / n."""
    n = len(ranks.signed)
    return float((ranks.ties / n).mean()), ranks.n_distinct / n
