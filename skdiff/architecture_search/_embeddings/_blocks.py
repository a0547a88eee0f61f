"""Blocks of categories by frequency, and what is kept of a table of vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skdiff._base.tables import FIRST, MISSING, UNKNOWN
from skdiff._base.typing import BoolArray, FloatArray, IntArray

# fewer categories than these are one block
LEAST_CATEGORIES = 50
# section 4.1 of the paper, for ratings
PAPER_SHARES = (0.1, 0.2, 0.2, 0.2, 0.3)


@dataclass(frozen=True)
class Blocks:
    """Rows of the table of all columns: where each column starts, and their blocks.

    Block numbers run through all columns; in a column the most frequent come first.
    """

    starts: IntArray
    block: IntArray
    per_column: IntArray
    dims: IntArray

    @property
    def n_blocks(self) -> int:
        """Blocks of all columns together."""
        return int(self.per_column.sum())

    @property
    def allowed(self) -> BoolArray:
        """Entries that a column of few categories has."""
        column = np.repeat(np.arange(len(self.dims)), np.diff(self.starts))
        widest = int(self.dims.max())
        return np.arange(widest) < self.dims[column, None]

    def rows(self, column: int) -> slice:
        """Rows of a column."""
        return slice(int(self.starts[column]), int(self.starts[column + 1]))


def shares_of(n_blocks: int, shares: Sequence[float] | None) -> FloatArray:
    """Return the fraction of the categories in each block, the head first."""
    if shares is not None:
        found = np.asarray(shares, dtype=np.float64)
        fine = found.shape == (n_blocks,) and np.all(found > 0)
        if not fine or abs(found.sum() - 1) > 1e-6:
            raise ValueError(
                f"block_shares must hold n_frequency_blocks={n_blocks} numbers > 0 "
                f"with sum 1. Got {shares!r} instead."
            )
        return found
    if n_blocks == len(PAPER_SHARES):
        return np.array(PAPER_SHARES)
    steps = np.arange(1.0, n_blocks + 1)
    return steps / steps.sum()


def frequency_blocks(
    codes: IntArray,
    weight: FloatArray | None,
    cardinalities: Sequence[int],
    shares: FloatArray,
    max_dim: int,
) -> Blocks:
    """Cut the categories of each column by their frequency.

    Equal frequencies keep the order of the categories. A category not seen in fit is
    in the last block, and so is a missing one where fit had none.
    """
    starts = np.concatenate([[0], np.cumsum(cardinalities)])
    block = np.empty(starts[-1], dtype=np.int64)
    per_column, first = [], 0
    for k, size in enumerate(cardinalities):
        counts = np.bincount(codes[:, k], weights=weight, minlength=size)
        # a sum of weights is not exact, and ties must be ties
        counts = np.round(counts / counts.sum(), 12)
        found, n = _column_blocks(counts, shares)
        block[starts[k] : starts[k + 1]] = first + found
        per_column.append(n)
        first += n
    dims = np.clip(np.array(cardinalities) - FIRST - 1, 1, max_dim)
    return Blocks(starts, block, np.array(per_column), dims)


def _column_blocks(counts: FloatArray, shares: FloatArray) -> tuple[IntArray, int]:
    """Block of each code of one column, and the number of blocks."""
    block = np.zeros(len(counts), dtype=np.int64)
    if len(counts) - FIRST < LEAST_CATEGORIES or len(shares) == 1:
        return block, 1
    ranked = np.arange(len(counts))
    absent = [UNKNOWN] if counts[MISSING] else [UNKNOWN, MISSING]
    ranked = ranked[~np.isin(ranked, absent)]
    order = ranked[np.argsort(-counts[ranked], kind="stable")]
    cuts = np.round(np.cumsum(shares) * len(order)).astype(np.int64)
    block[order] = np.searchsorted(cuts, np.arange(len(order)), side="right")
    block[absent] = len(shares) - 1
    # few categories and a small share may leave a block empty
    used, block = np.unique(block, return_inverse=True)
    return block, len(used)


def budget(allowed: BoolArray, fraction: float) -> int:
    """Most entries that a fraction keeps."""
    return int(np.floor(fraction * allowed.sum() + 1e-9))


def keep_entries(folded: FloatArray, blocks: Blocks, fraction: float) -> BoolArray:
    """Keep the largest entries, exactly as many as the fraction allows."""
    allowed = blocks.allowed
    size = np.where(allowed, np.abs(folded), -1.0).ravel()
    mask = np.zeros(size.shape, dtype=bool)
    mask[np.argsort(-size, kind="stable")[: budget(allowed, fraction)]] = True
    return mask.reshape(folded.shape)


def keep_dimensions(folded: FloatArray, blocks: Blocks, fraction: float) -> BoolArray:
    """Keep whole dimensions of blocks, those of the largest mean square first.

    A dimension of a block costs its number of rows. What no longer fits in the budget
    is passed over, so that smaller blocks may fill it.
    """
    allowed = blocks.allowed
    rows = np.bincount(blocks.block, minlength=blocks.n_blocks)
    power = np.zeros((blocks.n_blocks, folded.shape[1]))
    np.add.at(power, blocks.block, folded**2)
    power /= rows[:, None]
    possible = np.zeros(power.shape, dtype=bool)
    possible[blocks.block] = allowed
    left = budget(allowed, fraction)
    kept = np.zeros(power.shape, dtype=bool)
    for place in np.argsort(-power.ravel(), kind="stable"):
        b, k = divmod(int(place), power.shape[1])
        if possible[b, k] and rows[b] <= left:
            kept[b, k] = True
            left -= rows[b]
    return kept[blocks.block]


def sizes_of(mask: BoolArray, blocks: Blocks, structured: bool) -> list[FloatArray]:
    """Numbers per category in each block of each column, the head first.

    Whole numbers where whole dimensions were removed, otherwise means.
    """
    rows = np.bincount(blocks.block, minlength=blocks.n_blocks)
    kept = np.bincount(blocks.block, weights=mask.sum(axis=1), minlength=len(rows))
    means = kept / rows
    if structured:
        means = np.round(means).astype(np.int64)
    return np.split(means, np.cumsum(blocks.per_column)[:-1])
