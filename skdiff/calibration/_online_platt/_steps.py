"""Online Platt scaling and calibeating, step by step (Gupta and Ramdas, 2023).

Plain functions on arrays. A state is a handful of small arrays; a block of rows leaves
what its rows one by one leave.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from skdiff._base.typing import Array


def features(f: Array, method: str, clip: float) -> Array:
    """Features of forecasts of shape (n_rows, n_forecasters), the constant last.

    ``logit f`` for Platt; ``log f`` and ``log(1 - f)`` for beta scaling.
    """
    f = np.clip(f, clip, 1 - clip)
    yes, no = np.log(f), np.log1p(-f)
    columns = [yes - no] if method == "platt" else [yes, no]
    return np.column_stack([*columns, np.ones(len(f))])


def identity_map(n_forecasters: int, method: str) -> Array:
    """Coefficients that return the forecast, or the mean log odds of several."""
    share = np.full(n_forecasters, 1 / n_forecasters)
    columns = [share] if method == "platt" else [share, -share]
    return np.concatenate([*columns, [0.0]])


def project(theta: Array, inverse: Array, radius: float) -> Array:
    """Return the nearest point of a ball in the norm of ``A``, given its inverse.

    Minimise ``(x - theta)' A (x - theta)`` over ``|x| <= radius``: ``x = (A + mu I)^-1
    A theta`` with the multiplier ``mu`` found by bisection.
    """
    if theta @ theta <= radius**2:
        return theta
    values, vectors = np.linalg.eigh(inverse)
    values = np.maximum(values, 1e-300)  # of the inverse: 1 / values are those of A
    along = vectors.T @ theta

    def point(mu: float) -> Array:
        inside: Array = along / (1 + mu * values)
        return inside

    low, high = 0.0, 1.0 / float(values.max())
    while point(high) @ point(high) > radius**2:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if point(middle) @ point(middle) > radius**2:
            low = middle
        else:
            high = middle
    found: Array = vectors @ point(high)
    return found


class Newton(NamedTuple):
    """Coefficients, inverse of the curvature matrix, forecasts before each step."""

    theta: Array
    inverse: Array
    forecasts: Array


def newton_steps(
    theta: Array, inverse: Array, Z: Array, y: Array, gamma: float, radius: float
) -> Newton:
    """Take an online Newton step on the log loss for every row, in order.

    ``A += g g'`` by Sherman and Morrison, ``theta = Project(theta - A^-1 g / gamma)``
    with ``g = (p - y) z`` (Hazan, Agarwal and Kale, 2007).
    """
    theta, inverse = theta.copy(), inverse.copy()
    forecasts = np.empty(len(y))
    for t, (z, outcome) in enumerate(zip(Z, y.tolist(), strict=True)):
        forecasts[t] = p = float(expit(theta @ z))
        error = p - outcome
        along = inverse @ z
        growth = 1 + error * error * float(z @ along)
        theta -= (error / (gamma * growth)) * along
        inverse -= (error * error / growth) * np.outer(along, along)
        if theta @ theta > radius**2:
            theta = project(theta, inverse, radius)
    return Newton(theta, inverse, forecasts)


# --- calibeating --------------------------------------------------------------------


def bin_of(p: Array, n_bins: int) -> NDArray[np.intp]:
    """Bins of equal width; 1 belongs to the last."""
    return np.minimum((p * n_bins).astype(np.intp), n_bins - 1)


def tracked(p: Array, counts: Array, sums: Array) -> Array:
    """Return the past frequency of each forecast's bin; the forecast where none."""
    b = bin_of(p, len(counts))
    seen = counts[b] > 0
    return np.where(seen, sums[b] / np.where(seen, counts[b], 1), p)


def track_steps(p: Array, y: Array, counts: Array, sums: Array) -> Array:
    """Forecasts by tracking, row by row; ``counts`` and ``sums`` are updated."""
    forecasts = np.empty(len(p))
    for t, b in enumerate(bin_of(p, len(counts)).tolist()):
        forecasts[t] = sums[b] / counts[b] if counts[b] > 0 else p[t]
        counts[b] += 1
        sums[b] += y[t]
    return forecasts


def hedge(p: float, u: float, counts: Array, sums: Array) -> tuple[int, float]:
    """Choose a bin point at random between neighbours (Foster, 1999).

    ``counts`` and ``sums`` are those of the times each point was played while the
    underlying forecast was in the bin of ``p``. A point whose past frequency lies in
    its own bin is played for sure, the one nearest to ``p``; otherwise a point whose
    frequency is too high and its right neighbour, whose is too low, share the chance
    such that neither can be exploited. Returns the point's number and its value.
    """
    n_bins = len(counts)
    points = (np.arange(n_bins) + 0.5) / n_bins
    frequency = np.where(counts > 0, sums / np.where(counts > 0, counts, 1), points)
    below = np.arange(n_bins) / n_bins - frequency  # deficit: left of the bin
    above = frequency - np.arange(1, n_bins + 1) / n_bins  # excess: right of the bin
    fine = np.flatnonzero((below <= 0) & (above <= 0))
    if len(fine):
        i = int(fine[np.argmin(np.abs(points[fine] - p))])
        return i, float(points[i])
    # the first point has no deficit and the last no excess, so a change of sign exists
    pairs = np.flatnonzero((above[:-1] > 0) & (below[1:] > 0))
    i = int(pairs[np.argmin(np.abs((pairs + 1) / n_bins - p))])
    chance = below[i + 1] / (below[i + 1] + above[i])
    i = i if u < chance else i + 1
    return i, float(points[i])


def hedged(p: Array, u: float, counts: Array, sums: Array) -> Array:
    """Forecasts by hedging, each as if its row came next."""
    bins = bin_of(p, len(counts)).tolist()
    pairs = zip(p.tolist(), bins, strict=True)
    return np.array([hedge(q, u, counts[b], sums[b])[1] for q, b in pairs])


def hedge_steps(p: Array, u: Array, y: Array, counts: Array, sums: Array) -> Array:
    """Forecasts by hedging, row by row; ``counts`` and ``sums`` are updated."""
    forecasts = np.empty(len(p))
    for t, b in enumerate(bin_of(p, len(counts)).tolist()):
        i, forecasts[t] = hedge(float(p[t]), float(u[t]), counts[b], sums[b])
        counts[b, i] += 1
        sums[b, i] += y[t]
    return forecasts


def draws(seed: int, start: int, n: int) -> Array:
    """Return the uniform numbers of steps ``start`` to ``start + n``."""
    return np.random.Generator(np.random.PCG64(seed).advance(start)).random(n)
