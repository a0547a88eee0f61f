"""Selection after choosing a score for each row: the recipe of OptCS.

Bai and Jin (2024), algorithm 1. The e-value of row ``j`` is ``1[p_j <= beta q R_j / m]
m / (beta q R_j)``, where the size ``R_j`` of an auxiliary selection treats ``j`` as one
of the labelled rows and may therefore choose the score that ``p_j`` is computed with.
"""

from typing import NamedTuple

import numpy as np

from skdiff.conformal._p_values import (
    SLACK,
    adjusted_p_values,
    count_scores,
    ranks,
    selection_sizes,
)


class Selection(NamedTuple):
    """Arrays of shape (n_levels, m); the optional ones only where they exist."""

    p_values: np.ndarray
    selected: np.ndarray
    smallest: float  # the least p-value that is sure to be possible
    sizes: np.ndarray | None = None
    chosen: np.ndarray | None = None
    first_step: np.ndarray | None = None
    e_values: np.ndarray | None = None


def plain_selection(
    V: np.ndarray, T: np.ndarray, levels: np.ndarray, draws: np.ndarray | float
) -> Selection:
    """Benjamini-Hochberg on the p-values of one candidate."""
    p = ranks(count_scores(V, T), draws)[:, 0]
    selected = adjusted_p_values(p) <= levels[:, None] * SLACK
    return Selection(np.broadcast_to(p, selected.shape), selected, 1 / (len(V) + 1))


def optimized_selection(
    V: np.ndarray,
    T: np.ndarray,
    levels: np.ndarray,
    draws: np.ndarray | float,
    prune: np.ndarray | float,
    beta: float = 1.0,
    weights: tuple = (None, None),
) -> Selection:
    """Select with the candidate whose auxiliary selection is largest, row by row.

    Parameters
    ----------
    V : ndarray of shape (n, k)
        Scores of labelled rows under each candidate.
    T : ndarray of shape (m, k)
        Scores of new rows at their thresholds.
    levels : ndarray of shape (n_levels,)
        Levels of false discovery.
    draws : ndarray of shape (m, 1) or float
        Share of ties that counts in the p-values; 1 for the conservative ones.
    prune : ndarray of shape (m,) or float
        The pruning variables; 1 for the deterministic rule.
    beta : float
        Factor of the first step's bound.
    weights : pair of arrays or pair of None
        Density ratios at labelled and at new rows.

    Returns
    -------
    selection : Selection
        For every level and row.
    """
    m = len(T)
    counts = count_scores(V, T, *weights)
    p = ranks(counts, draws)
    sizes = selection_sizes(counts, T, levels)
    # ties go to the first candidate: a choice symmetric in the rows
    chosen = sizes.argmax(axis=2)
    R = np.take_along_axis(sizes, chosen[..., None], axis=2)[..., 0]
    p = np.take_along_axis(p[None], chosen[..., None], axis=2)[..., 0]
    first = p <= beta * levels[:, None] * R / m * SLACK
    selected = np.empty_like(first)
    for i in range(len(levels)):
        selected[i] = prune_selection(first[i], prune * beta * R[i])
    smallest = float((counts.own / (counts.total + counts.own)).min())
    return Selection(p, selected, smallest, R, chosen, first)


def prune_selection(first: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Keep the rows whose pruned size is matched by as many rows as it asks for."""
    selected = np.zeros(len(first), dtype=bool)
    ranked = np.sort(size[first])
    rank = np.arange(1, len(ranked) + 1)
    feasible = np.flatnonzero(ranked <= rank * SLACK)
    if len(feasible):
        selected = first & (size <= rank[feasible[-1]] * SLACK)
    return selected
