"""Nearest-neighbour estimates of mutual information, without random jitter.

A. Kraskov, H. Stoegbauer and P. Grassberger, "Estimating Mutual Information", 2004,
eq. 8; B. Ross, "Mutual Information between Discrete and Continuous Data Sets", 2014,
eq. 6; for rows with equal values the rule of W. Gao, S. Kannan, S. Oh and
P. Viswanath, "Estimating Mutual Information for Discrete-Continuous Mixtures", 2017,
Algorithm 1: where the k-th neighbour is at distance zero, k is the number of rows at
distance zero and neighbours at distance zero are counted.
"""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma

from skdiff._base.typing import Array, IntArray

#: distances that differ by less count as equal, so that rounding decides nothing
_EQUAL = 1e-12


def _within(ordered: Array, values: Array, radius: Array) -> Any:
    """Number of ``ordered`` values nearer than ``radius``, or equal where it is 0."""
    reach = np.where(radius > 0, radius * (1 - _EQUAL), 0.0)
    high = np.searchsorted(ordered, values + reach, side="right")
    return high - np.searchsorted(ordered, values - reach, side="left")


def pair_terms(x: Array, y: Array, neighbours: tuple[int, ...]) -> list[Array]:
    """Return the terms (n,) whose mean is the estimate, for each number of neighbours.

    Parameters
    ----------
    x, y : array of shape (n_samples,)
        Columns in comparable units, such as normal scores.
    neighbours : tuple of int
        Numbers of neighbours, each below n_samples.
    """
    both = np.stack([x, y], axis=1)
    tree = cKDTree(both, balanced_tree=False, compact_nodes=False)
    distances, _ = tree.query(both, k=[k + 1 for k in neighbours], p=np.inf)
    x_sorted, y_sorted = np.sort(x), np.sort(y)
    terms = []
    for k, radius in zip(neighbours, distances.T, strict=True):
        counts = _within(x_sorted, x, radius), _within(y_sorted, y, radius)
        terms.append(_terms(k, radius, counts, tree, both))
    return terms


def _terms(
    k: int, radius: Array, counts: tuple[Array, Array], tree: cKDTree, both: Array
) -> Array:
    same = np.full(len(radius), k)
    if not radius.all():
        zero = radius == 0
        same[zero] = (
            tree.query_ball_point(both[zero], 0.0, p=np.inf, return_length=True) - 1
        )
    found: Array = digamma(same) + digamma(len(radius))
    found -= digamma(counts[0]) + digamma(counts[1])
    return found


def _class_radius(ordered: Array, k: int) -> Array:
    """Distance to the k-th neighbour of each value of a sorted column."""
    m = len(ordered)
    padded = np.concatenate([np.full(k, -np.inf), ordered, np.full(k, np.inf)])
    best = np.full(m, np.inf)
    for left in range(k + 1):
        low = padded[k - left : k - left + m]
        high = padded[2 * k - left : 2 * k - left + m]
        best = np.minimum(best, np.maximum(ordered - low, high - ordered))
    return best


def class_terms(x: Array, codes: IntArray, neighbours: tuple[int, ...]) -> list[Array]:
    """Return the terms of the estimate between a column and classes.

    Rows of classes with one row count as independent: their term is zero, as in
    scikit-learn they are left out.
    """
    order = np.lexsort((x, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    parts = np.split(order, starts[1:])
    ordered, n, found = np.sort(x), len(x), []
    for k in neighbours:
        terms = np.zeros(n)
        for rows in parts:
            m = len(rows)
            if m < 2:
                continue
            kth = min(k, m - 1)
            radius = _class_radius(x[rows], kth)
            same = np.full(m, kth)
            zero = radius == 0
            if zero.any():
                same[zero] = _within(x[rows], x[rows][zero], radius[zero]) - 1
            near = _within(ordered, x[rows], radius)
            terms[rows] = digamma(same) + digamma(n) - digamma(m) - digamma(near)
        found.append(terms)
    return found


def block_terms(X: Array, Y: Array, neighbours: tuple[int, ...]) -> list[Array]:
    """Return the terms of the estimate between two blocks of columns (max norm)."""
    both = np.concatenate([X, Y], axis=1)
    tree = cKDTree(both)
    distances, _ = tree.query(both, k=[k + 1 for k in neighbours], p=np.inf)
    parts = [cKDTree(X), cKDTree(Y)]
    terms = []
    for k, radius in zip(neighbours, distances.T, strict=True):
        reach = np.where(radius > 0, radius * (1 - _EQUAL), 0.0)
        counts = tuple(
            part.query_ball_point(part.data, reach, p=np.inf, return_length=True)
            for part in parts
        )
        terms.append(_terms(k, radius, (counts[0], counts[1]), tree, both))
    return terms
