"""One measured table of counts in numbers.

Each column of it turns its code into a summand, and the sum of a row's summands is its
cell, directly or by a lookup. A row that falls in no cell gets the number ``n_cells``.
Sums are integers, so that they never drift.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray


class Cells(NamedTuple):
    """Columns, their summands by code, and what a sum means.

    ``lookup`` turns a sum into a cell. With ``modulus`` a sum is
    ``cell * modulus + position``, and positions above ``limit`` are in no cell.
    """

    columns: tuple[int, ...]
    tables: tuple[IntArray, ...]
    n_cells: int
    lookup: IntArray | None = None
    modulus: int = 0
    limit: int = 0

    @property
    def partition(self) -> bool:
        """Whether every row falls in a cell."""
        if self.modulus:
            return False
        return self.lookup is None or bool(np.all(self.lookup < self.n_cells))


def sums_of(cells: Cells, codes: IntArray) -> IntArray:
    """Sum of the summands of each row."""
    total = np.zeros(len(codes), dtype=np.int64)
    for j, table in zip(cells.columns, cells.tables, strict=True):
        total += table[codes[:, j]]
    return total


def cell_of(cells: Cells, sums: IntArray) -> IntArray:
    """Cell of each sum."""
    if cells.modulus:
        inside = sums % cells.modulus <= cells.limit
        return np.where(inside, sums // cells.modulus, cells.n_cells)
    return sums if cells.lookup is None else cells.lookup[sums]


def counts_of(cells: Cells, codes: IntArray) -> IntArray:
    """Number of rows in each cell."""
    found = cell_of(cells, sums_of(cells, codes))
    return np.bincount(found, minlength=cells.n_cells + 1)[: cells.n_cells]


def merged(size: int, missing: bool, shift: int) -> IntArray:
    """Group of each bin when ``2**shift`` neighbours are one; the tail is a group."""
    bins = np.arange(size - missing) >> shift
    last = bins[-1] + 1
    return np.r_[bins, [last] * missing].astype(np.int64)


def marginal(groups: list[IntArray], columns: tuple[int, ...]) -> Cells:
    """Table of all combinations of groups, the last column fastest."""
    tables, stride = [], 1
    for group in reversed(groups):
        tables.append(group * stride)
        stride *= int(group.max()) + 1
    return Cells(columns, tuple(reversed(tables)), stride)


def box(
    thresholds: list[tuple[int, int, bool]],
    columns: tuple[int, ...],
    categories: list[IntArray],
) -> Cells:
    """Cells of categories within ``code < threshold`` for each real column.

    ``thresholds`` holds the threshold, the number of codes and whether the last code is
    a missing value, which is in no box. Categories follow the real columns.
    """
    inner = marginal(categories, ()) if categories else Cells((), (), 1)
    bit = inner.n_cells
    inside = [
        (np.arange(size) < threshold).astype(np.int64) * bit
        for threshold, size, _ in thresholds
    ]
    total = bit * (len(thresholds) + 1)
    lookup = np.full(total, inner.n_cells, dtype=np.int64)
    lookup[bit * len(thresholds) :] = np.arange(bit)
    return Cells(columns, (*inside, *inner.tables), inner.n_cells, lookup)


def halfspace(
    heights: list[Array],
    offset: float,
    columns: tuple[int, ...],
    categories: list[IntArray],
) -> Cells:
    """Cells of categories within a half-space.

    ``heights`` is the direction times the scaled value of each code; NaN is a missing
    value, which is in no half-space. Heights are rounded to integers once, so that all
    rows are compared exactly alike.
    """
    scale = 2.0**24
    whole = [np.round(np.nan_to_num(h) * scale).astype(np.int64) for h in heights]
    lowest = [int(h.min()) for h in whole]
    shifted = [h - low for h, low in zip(whole, lowest, strict=True)]
    limit = round(offset * scale) - sum(lowest)
    span = sum(int(h.max()) for h in shifted) + 1
    shifted = [
        np.where(np.isnan(h), span, s) for h, s in zip(heights, shifted, strict=True)
    ]
    modulus = span * (len(heights) + 1) + 1
    inner = marginal(categories, ()) if categories else Cells((), (), 1)
    tables = (*shifted, *(t * modulus for t in inner.tables))
    limit = min(max(limit, -1), span - 1)
    return Cells(columns, tables, inner.n_cells, None, modulus, limit)


def change(cells: Cells, codes: IntArray, column: int, new: IntArray) -> IntArray:
    """Change of the counts when one cell of each row becomes ``new``."""
    moved = codes.copy()
    moved[:, column] = new
    return counts_of(cells, moved) - counts_of(cells, codes)
