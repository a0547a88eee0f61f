"""Moments of classes with one variance per column, exact under merging.

Notation: class k has weight ``n_k`` and mean ``mu_k``; ``S`` holds, for each column,
the weighted sum of squared distances to the mean of the own class. Zheng et al. (2023)
call the classifier with ``v = S / n`` naive Bayes; it is linear discriminant analysis
with a diagonal covariance.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skdiff._base.typing import Array, IntArray


class Moments(NamedTuple):
    """Sufficient statistics of the rows seen so far."""

    counts: Array  # (K,) sums of weights
    means: Array  # (K, p); zeros for a class without rows
    scatter: Array  # (p,) squared distances to the mean of the own class


class Discriminant(NamedTuple):
    """Linear scores ``x @ coef + intercept``, one per class."""

    coef: Array  # (K, p)
    intercept: Array  # (K,); minus infinity for a class without rows


def moments(X: Any, codes: IntArray, weight: Array, n_classes: int) -> Moments:
    """Moments of one block of rows; sparse rows are not made dense."""
    counts = np.bincount(codes, weight, n_classes).astype(np.float64)
    means = np.zeros((n_classes, X.shape[1]))
    scatter = np.zeros(X.shape[1])
    for k in np.flatnonzero(counts):
        rows = codes == k
        Z, w = X[rows], weight[rows]
        if sparse.issparse(Z):
            means[k], own = _sparse_class(sparse.csc_array(Z), w)
        else:
            means[k] = w @ Z / counts[k]
            own = w @ (Z - means[k]) ** 2
        scatter += own
    return Moments(counts, means, scatter)


def _sparse_class(Z: Any, w: Array) -> tuple[Array, Array]:
    """Mean and scatter of each column; cells that are not stored are zeros."""
    total = w.sum()
    columns = np.repeat(np.arange(Z.shape[1]), np.diff(Z.indptr))
    of_cell = w[Z.indices]

    def sums(values: Array) -> Array:
        return np.bincount(columns, of_cell * values, Z.shape[1]).astype(np.float64)

    mean: Array = sums(Z.data) / total
    stored = sums(np.ones(len(Z.data)))
    # rounding can leave the weight of the other cells a little below zero
    zeros = np.maximum(total - stored, 0.0)
    return mean, sums((Z.data - mean[columns]) ** 2) + zeros * mean**2


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of both blocks together (Chan, Golub and LeVeque, 1983)."""
    counts = first.counts + second.counts
    safe = np.where(counts > 0, counts, 1.0)
    shift = second.means - first.means
    part = (second.counts / safe)[:, None]
    between = (first.counts * second.counts / safe) @ shift**2
    means = first.means + part * shift
    return Moments(counts, means, first.scatter + second.scatter + between)


def overall(found: Moments) -> tuple[Array, Array]:
    """Mean and variance of each column over all classes."""
    total = found.counts.sum()
    mean = found.counts @ found.means / total
    spread = found.counts @ (found.means - mean) ** 2
    return mean, (found.scatter + spread) / total


def variances(
    found: Moments, shrinkage: float | None, smoothing: float
) -> tuple[Array, float]:
    """Pooled variances and the shrinkage that was used.

    The part of a column's variance that lies within the classes, ``r_j = v_j / t_j``,
    is pulled towards its mean over columns. A change of unit changes nothing, and a
    column that separates the classes better than its few rows can tell is trusted
    less. ``shrinkage=None`` is an estimate of Ledoit and Wolf's form: the sampling
    variance of the ``r_j`` (``2 r_j^2 / n`` for normal columns) over their spread, at
    most 1.
    """
    total = found.counts.sum()
    _, t = overall(found)
    v = found.scatter / total
    varies = t > 0
    r = v[varies] / t[varies]
    if shrinkage is None:
        noise = float(np.sum(2 * r**2) / total)
        spread = float(np.sum((r - r.mean()) ** 2)) if len(r) else 0.0
        shrinkage = 1.0 if spread <= noise else noise / spread
    if shrinkage > 0 and len(r):
        v = v.copy()
        v[varies] = t[varies] * ((1 - shrinkage) * r + shrinkage * r.mean())
    v = v + smoothing * t.max(initial=0.0)
    # a column without any spread says nothing, whatever its variance is called
    return np.where(v > 0, v, 1.0), float(shrinkage)


def discriminant(found: Moments, v: Array, log_prior: Array) -> Discriminant:
    """Log posterior of each class up to a constant of the row.

    Means are taken from the overall mean, without which the intercept would lose its
    digits on columns far from zero.
    """
    center, _ = overall(found)
    away = np.where(found.counts[:, None] > 0, found.means - center, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        coef = away / v
        intercept = log_prior - 0.5 * np.sum(away * coef, axis=1) - coef @ center
    return Discriminant(coef, intercept)
