"""The distribution of standardised residuals, and what follows from it.

``z`` are sorted standardised residuals of calibration rows (Zelikman, Healy, Zhou and
Avati, 2020). A forecast is the discrete distribution ``mean + scale * z_i``.
"""

import numpy as np

from skdiff._base.typing import Array


def quantiles(z: Array, levels: Array, finite_sample: bool) -> Array:
    """Quantiles of the residuals.

    With ``finite_sample`` the order statistic of rank ``ceil((n + 1) level)`` above
    the median and ``floor((n + 1) level)`` below: a new residual, exchangeable with
    the ``n`` known ones, is below it with at least (at most) that probability. Ranks
    outside 1..n become the extreme residual. Without, linear interpolation.
    """
    if not finite_sample:
        found: Array = np.quantile(z, levels)
        return found
    rank = (len(z) + 1) * levels
    # 0.9 * 10 is 9.000000000000002 for some: a rank is whole up to rounding
    rank = np.where(levels >= 0.5, np.ceil(rank - 1e-9), np.floor(rank + 1e-9))
    return z[np.clip(rank, 1, len(z)).astype(np.intp) - 1]


def rows_needed(coverage: float) -> int:
    """Fewest calibration rows of which both bounds of an interval have a rank."""
    return int(np.ceil(2 / (1 - coverage) - 1 - 1e-9))


def interval(z: Array, coverage: float, finite_sample: bool) -> tuple[float, float]:
    """Bounds of the central interval of the residuals.

    With ``finite_sample`` the ranks are ``k`` and ``n + 1 - k`` with ``k = floor((n +
    1)(1 - coverage) / 2)``: a new residual is inside with probability at least
    ``(n + 1 - 2k) / (n + 1) >= coverage``.
    """
    if not finite_sample:
        low, high = np.quantile(z, [(1 - coverage) / 2, (1 + coverage) / 2])
        return float(low), float(high)
    n = len(z)
    k = max(int(np.floor((n + 1) * (1 - coverage) / 2 + 1e-9)), 1)
    k = min(k, (n + 1) // 2)
    return float(z[k - 1]), float(z[n - k])


def cdf(z: Array, at: Array) -> Array:
    """Proportion of residuals up to each point."""
    below: Array = np.searchsorted(z, at, side="right") / len(z)
    return below


def crps(z: Array, at: Array) -> Array:
    """Continuous ranked probability score of the residuals' distribution.

    ``mean |z_i - x| - mean |z_i - z_j| / 2`` (Gneiting and Raftery, 2007), by sums
    over the sorted residuals.
    """
    n = len(z)
    total = np.concatenate([[0.0], np.cumsum(z)])
    below = np.searchsorted(z, at, side="right")
    distance = at * below - total[below] + (total[-1] - total[below]) - at * (n - below)
    ranks = 2 * np.arange(1, n + 1) - n - 1
    spread = float(ranks @ z) / n**2
    score: Array = distance / n - spread
    return score
