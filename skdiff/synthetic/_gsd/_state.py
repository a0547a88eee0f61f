"""A synthetic table with its exact counts, and the change of the loss by an edit.

The loss is ``sum_w omega_w || a_w - q_w(S) ||^2`` over the measured tables w. Moving
one row from cell o to cell v of table w changes it by
``omega_w (2/N (r[v] - r[o]) + 2/N^2)``, where r are the residuals q - a: two look-ups,
however many queries there are. A row in no cell has neither term.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.synthetic._cells import Cells, cell_of, counts_of, sums_of


class Target(NamedTuple):
    """One measured table: its cells, its noisy shares and its weight in the loss."""

    cells: Cells
    shares: Array
    weight: float


LARGEST_GRID = 2**22  # combinations of one target that are looked up


class State:
    """Codes, counts and slopes; everything about counts is whole numbers."""

    def __init__(self, codes: IntArray, targets: list[Target]) -> None:
        self.codes = np.array(codes, dtype=np.int64, order="F")
        self.targets = targets
        self.n_rows = len(codes)
        self.sums = [sums_of(t.cells, self.codes) for t in targets]
        self.counts = [counts_of(t.cells, self.codes) for t in targets]
        self.slopes = [self._slope(w) for w in range(len(targets))]
        width = self.codes.shape[1]
        self.touching: list[list[int]] = [[] for _ in range(width)]
        for w, target in enumerate(targets):
            for j in target.cells.columns:
                self.touching[j].append(w)
        self._others: dict[tuple[int, int], IntArray | None] = {}
        self._quadratic: dict[int, Array] = {}

    def residual(self, w: int) -> Array:
        """Shares of the synthetic table minus the measured ones."""
        return self.counts[w] / self.n_rows - self.targets[w].shares

    def loss(self) -> float:
        """The loss, from the counts."""
        return float(
            sum(
                t.weight * np.sum(self.residual(w) ** 2)
                for w, t in enumerate(self.targets)
            )
        )

    def _slope(self, w: int) -> Array:
        """First-order cost of one more row in each cell; zero for no cell."""
        slope = np.zeros(self.targets[w].cells.n_cells + 1)
        weight = 2.0 * self.targets[w].weight / self.n_rows
        slope[:-1] = weight * self.residual(w)
        return slope

    def table(self, w: int, column: int) -> IntArray:
        """Summands of a column in a target."""
        cells = self.targets[w].cells
        return cells.tables[cells.columns.index(column)]

    # --- gains ----------------------------------------------------------------------

    def gains(self, column: int, rows: IntArray) -> Array:
        """Change of the loss for each row and each code of a column."""
        old = self.codes[rows, column]
        total = self._second_order(column)[old]
        for w in self.touching[column]:
            table = self.table(w, column)
            base = self.sums[w][rows] - table[old]
            if self.targets[w].cells.modulus:
                total += self._halfspace(w, base, table, old)
                continue
            others = self._sums_of_others(w, column)
            if others is None:
                total += self._direct(w, base[:, None] + table[None, :], old)
                continue
            # one row of the grid per combination of the other columns
            place = np.empty(int(others[-1]) + 1, dtype=np.int64)
            place[others] = np.arange(len(others))
            grid = cell_of(self.targets[w].cells, others[:, None] + table[None, :])
            at = place[base]
            first = self.slopes[w][grid]
            total += first[at]
            total -= first[at, old][:, None]
            if not self.targets[w].cells.partition:
                total += self._leaving(w, grid[at], old)
        return total

    def _halfspace(
        self, w: int, base: IntArray, table: IntArray, old: IntArray
    ) -> Array:
        """Gains of a half-space: its columns move the position or the cell of a row."""
        cells, unit = self.targets[w].cells, self.targets[w].weight / self.n_rows**2
        cell, at = np.divmod(base, cells.modulus)
        own_cell, own_at = np.divmod(table, cells.modulus)
        if own_cell.any():
            slope = self.slopes[w][cell[:, None] + own_cell[None, :]]
            gain = slope - slope[np.arange(len(old)), old][:, None]
            gain += 2.0 * unit * (own_cell[None, :] != own_cell[old][:, None])
            return gain * (at <= cells.limit)[:, None]
        inside = at[:, None] <= cells.limit - own_at[None, :]
        was = inside[np.arange(len(old)), old][:, None]
        # entering costs slope + unit, leaving unit - slope, staying nothing
        slope = self.slopes[w][cell][:, None]
        return np.where(was, unit - slope, unit + slope) * (inside != was)

    def edit_gains(self, column: int, rows: IntArray, new: IntArray) -> Array:
        """Change of the loss for one new code per row, each alone."""
        old, total = self.codes[rows, column], np.zeros(len(rows))
        for w in self.touching[column]:
            table, target = self.table(w, column), self.targets[w]
            before = self.sums[w][rows]
            after = cell_of(target.cells, before + (table[new] - table[old]))
            total += self._moved(w, cell_of(target.cells, before), after)
        return total

    def _moved(self, w: int, before: IntArray, after: IntArray) -> Array:
        """Change of one term of the loss when single rows change their cell."""
        n_cells, slope = self.targets[w].cells.n_cells, self.slopes[w]
        unit = self.targets[w].weight / self.n_rows**2
        gain = slope[after] - slope[before]
        gain += unit * ((after < n_cells).astype(np.float64) + (before < n_cells))
        return np.where(after == before, 0.0, gain)

    def _direct(self, w: int, sums: IntArray, old: IntArray) -> Array:
        """Gains of a target whose combinations are too many for a look-up."""
        cells = cell_of(self.targets[w].cells, sums)
        slope = self.slopes[w][cells]
        gain = slope - slope[np.arange(len(old)), old][:, None]
        if self.targets[w].cells.partition:
            return gain
        return gain + self._leaving(w, cells, old)

    def _leaving(self, w: int, cells: IntArray, old: IntArray) -> Array:
        """Second-order terms where a row may be in no cell."""
        target = self.targets[w]
        current = cells[np.arange(len(old)), old][:, None]
        inside = (cells < target.cells.n_cells).astype(np.float64)
        was = (current < target.cells.n_cells).astype(np.float64)
        return (target.weight / self.n_rows**2) * (cells != current) * (inside + was)

    def _second_order(self, column: int) -> Array:
        """Second-order terms of the partitions, by old and new code."""
        found = self._quadratic.get(column)
        if found is None:
            size = len(self.table(self.touching[column][0], column))
            found = np.zeros((size, size))
            for w in self.touching[column]:
                if self.targets[w].cells.partition:
                    table = self.table(w, column)
                    moved = table[:, None] != table[None, :]
                    found += (2.0 * self.targets[w].weight / self.n_rows**2) * moved
            self._quadratic[column] = found
        return found

    def _sums_of_others(self, w: int, column: int) -> IntArray | None:
        """Every sum that the other columns of a target can have, or None for many."""
        key = (w, column)
        if key not in self._others:
            cells, found = self.targets[w].cells, np.zeros(1, dtype=np.int64)
            most = LARGEST_GRID // len(self.table(w, column))
            for j, table in zip(cells.columns, cells.tables, strict=True):
                if j != column and len(found):
                    found = np.unique(found[:, None] + np.unique(table)[None, :])
                    if len(found) > most or found[-1] > LARGEST_GRID:
                        found = found[:0]
            self._others[key] = found if len(found) else None
        return self._others[key]

    # --- edits ----------------------------------------------------------------------

    def try_edit(
        self, column: int, rows: IntArray, new: IntArray, *, most: float = 0.0
    ) -> float | None:
        """Set one column of distinct rows if that changes the loss by less than most.

        Returns the exact change of the loss, or None where nothing was done.
        """
        old = self.codes[rows, column]
        after = {}
        for w in self.touching[column]:
            table = self.table(w, column)
            after[w] = self.sums[w][rows] + (table[new] - table[old])
        change = self._try_sums(rows, after, most)
        if change is not None:
            self.codes[rows, column] = new
        return change

    def try_rows(
        self, rows: IntArray, new: IntArray, *, most: float = 0.0
    ) -> float | None:
        """Replace distinct rows as a whole, as :meth:`try_edit` does one column."""
        after = {w: sums_of(t.cells, new) for w, t in enumerate(self.targets)}
        change = self._try_sums(rows, after, most)
        if change is not None:
            self.codes[rows] = new
        return change

    def _try_sums(
        self, rows: IntArray, after: dict[int, IntArray], most: float
    ) -> float | None:
        """Set the sums of some rows if the loss changes by less than ``most``."""
        moves, change = [], 0.0
        for w, sums in after.items():
            target, before = self.targets[w], self.sums[w][rows]
            width = target.cells.n_cells + 1
            delta = np.bincount(cell_of(target.cells, sums), minlength=width)
            delta -= np.bincount(cell_of(target.cells, before), minlength=width)
            at = np.flatnonzero(delta[:-1])
            step = delta[at]
            change += float(self.slopes[w][at] @ step)
            change += target.weight * float(step @ step) / self.n_rows**2
            moves.append((w, at, step))
        if change >= most:
            return None
        for w, at, step in moves:
            self.sums[w][rows] = after[w]
            self.counts[w][at] += step
            # from the whole counts, so that no rounding gathers
            share = self.counts[w][at] / self.n_rows - self.targets[w].shares[at]
            self.slopes[w][at] = 2.0 * self.targets[w].weight / self.n_rows * share
        return change

    def replaced(self, rows: IntArray, new: IntArray) -> Array:
        """Change of the loss when single rows are replaced by whole new rows."""
        total = np.zeros(len(rows))
        for w, target in enumerate(self.targets):
            before = cell_of(target.cells, self.sums[w][rows])
            after = cell_of(target.cells, sums_of(target.cells, new))
            total += self._moved(w, before, after)
        return total
