"""What follows from marginals and conditionals alone: chains, draws, completions.

A joint distribution is anything with the three members of :class:`Joint`. Rows are
codes, -1 where a cell is missing; every order is one column after the other per row.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING
from skdiff.density._gibbs import draw


class Joint(Protocol):
    """A distribution of tables of categories.

    ``log_marginal`` is the log-probability of the known cells of each row,
    ``log_conditional`` the log-probabilities of one column given the known cells of the
    others, and ``complete`` draws the missing cells of each row.
    """

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each column."""

    def log_marginal(self, codes: IntArray) -> Array:
        """Log-probability of the known cells of each row."""

    def log_conditional(self, codes: IntArray, u: int) -> Array:
        """Log-probabilities of column u given the known cells of the others."""

    def complete(self, codes: IntArray, rng: Any) -> IntArray:
        """Draw the missing cells of each row, given the known ones."""


def random_orders(n: int, p: int, rng: Any) -> IntArray:
    """A permutation of the columns for each row."""
    return np.argsort(rng.uniform(size=(n, p)), axis=1)


def by_column(columns: IntArray) -> list[tuple[int, IntArray]]:
    """Rows that share a column, per column; -1 stands for none."""
    return [
        (int(u), np.flatnonzero(columns == u)) for u in np.unique(columns) if u >= 0
    ]


def chain_log_prob(joint: Joint, codes: IntArray, orders: IntArray) -> Array:
    """Log-probability of the known cells by conditionals along an order per row."""
    n, p = codes.shape
    total, seen = np.zeros(n), np.full_like(codes, MISSING)
    # known cells first, so that rows with few of them are done early
    known = np.take_along_axis(codes, orders, axis=1) != MISSING
    place = np.argsort(~known, axis=1, kind="stable")
    steps = np.take_along_axis(np.where(known, orders, -1), place, axis=1)
    for t in range(p):
        for u, rows in by_column(steps[:, t]):
            log = joint.log_conditional(seen[rows], u)
            total[rows] += log[np.arange(len(rows)), codes[rows, u]]
            seen[rows, u] = codes[rows, u]
    return total


def conditional_chain(joint: Joint, codes: IntArray, targets: Sequence[int]) -> Array:
    """Log-probability of the target cells given the other known cells, by a chain."""
    seen, total = codes.copy(), np.zeros(len(codes))
    seen[:, list(targets)] = MISSING
    for u in targets:
        known = np.flatnonzero(codes[:, u] != MISSING)
        log = joint.log_conditional(seen[known], u)
        total[known] += log[np.arange(len(known)), codes[known, u]]
        seen[known, u] = codes[known, u]
    return total


def draw_cells(joint: Joint, codes: IntArray, orders: IntArray, rng: Any) -> IntArray:
    """Draw missing cells one after the other, each given all that are known by then."""
    codes = codes.copy()
    gaps = codes == MISSING
    for t in range(codes.shape[1]):
        column = orders[:, t]
        hit = gaps[np.arange(len(codes)), column]
        for u, rows in by_column(np.where(hit, column, -1)):
            codes[rows, u] = draw(joint.log_conditional(codes[rows], u), rng)
    return codes


def likeliest_cells(joint: Joint, codes: IntArray) -> IntArray:
    """Each missing cell at its most probable category given the known cells."""
    filled = codes.copy()
    for u in np.flatnonzero((codes == MISSING).any(axis=0)).tolist():
        rows = np.flatnonzero(codes[:, u] == MISSING)
        filled[rows, u] = joint.log_conditional(codes[rows], u).argmax(axis=1)
    return filled


def cell_log_probabilities(joint: Joint, codes: IntArray) -> Array:
    """Log-probability of each known cell given the rest of its row; zero elsewhere."""
    out = np.zeros(codes.shape)
    for u in range(codes.shape[1]):
        known = np.flatnonzero(codes[:, u] != MISSING)
        if len(known):
            log = joint.log_conditional(codes[known], u)
            out[known, u] = log[np.arange(len(known)), codes[known, u]]
    return out


def one_cell_less(joint: Joint, codes: IntArray) -> Array:
    """Smallest log-marginal over all ways to leave out one known cell of a row.

    A marginal that a network estimates may exceed it; a probability never does.
    """
    least = np.zeros(len(codes))
    for u in range(codes.shape[1]):
        rows = np.flatnonzero(codes[:, u] != MISSING)
        fewer = codes[rows]
        fewer[:, u] = MISSING
        least[rows] = np.minimum(least[rows], joint.log_marginal(fewer))
    return least


def every_state(sizes: Sequence[int]) -> IntArray:
    """All rows there are."""
    return np.stack(
        [axis.ravel() for axis in np.indices(tuple(sizes), dtype=np.int64)], axis=1
    )
