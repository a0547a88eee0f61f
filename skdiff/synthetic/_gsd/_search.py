"""The batched search: all rows and all codes of a column at once.

A generation takes one column, scores every code of every row, and applies the best
edits together as long as the loss falls exactly; otherwise a quarter of them. A second
operator exchanges the cells of two rows, which keeps every marginal of the column.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.progress import Progress
from skdiff._base.typing import BoolArray, IntArray
from skdiff.synthetic._gsd._state import State


class Limits(NamedTuple):
    """When a search ends, which columns it edits and which rows it may make.

    ``allowed`` takes rows of codes and says which satisfy the constraint.
    """

    tol: float
    max_evals: int | None
    batch_size: int | None
    columns: IntArray
    allowed: Callable[[IntArray], BoolArray] | None = None


class Found(NamedTuple):
    """How a search went."""

    loss: float
    history: list[float]
    n_evals: int
    stopped: str


class _Run:
    """One search: the state, the draws and the count of proposals."""

    def __init__(self, state: State, limits: Limits, rng: Any) -> None:
        self.state, self.limits, self.rng = state, limits, rng
        self.n_evals = 0
        self.fraction = np.full(state.codes.shape[1], 0.25)

    @property
    def over(self) -> bool:
        most = self.limits.max_evals
        return most is not None and self.n_evals >= most

    def column(self, j: int) -> None:
        """One generation of edits and one of exchanges on a column."""
        state = self.state
        rows = np.arange(state.n_rows)
        size = self.limits.batch_size
        if size is not None and size < len(rows):
            rows = np.sort(self.rng.permutation(len(rows))[:size])
        gains = state.gains(j, rows)
        self.n_evals += gains.size
        best = gains.argmin(axis=1)
        gain = gains[np.arange(len(rows)), best]
        better = np.flatnonzero(gain < 0)
        if len(better):
            self._apply(j, rows[better], best[better], gain[better])
        self._exchange(j)

    def _permitted(self, rows: IntArray, j: int, new: IntArray) -> BoolArray:
        if self.limits.allowed is None:
            return np.ones(len(rows), dtype=bool)
        moved = self.state.codes[rows]
        moved[:, j] = new
        return self.limits.allowed(moved)

    def _apply(self, j: int, rows: IntArray, new: IntArray, gain: Any) -> None:
        """Apply as many edits together as lower the loss, the best of them at random.

        Many rows want the same move, and all of them together overshoot.
        """
        fine = self._permitted(rows, j, new)
        rows, new, gain = rows[fine], new[fine], gain[fine]
        if not len(rows):
            return
        # by gain times a random factor: different rows of equal gain each time
        order = np.argsort(gain * self.rng.uniform(size=len(gain)), kind="stable")
        take = max(int(np.ceil(self.fraction[j] * len(rows))), 1)
        while True:
            chosen = order[:take]
            if take == 1:
                chosen = np.array([int(np.argmin(gain))])
            if self.state.try_edit(j, rows[chosen], new[chosen]) is not None:
                self.fraction[j] = min(1.0, 1.5 * take / len(rows))
                return
            if take == 1:
                return
            take = max(take // 4, 1)
            self.fraction[j] = take / len(rows)

    def _exchange(self, j: int) -> None:
        """Exchange the cells of random pairs of rows where that lowers the loss."""
        state = self.state
        pairs = self.rng.permutation(state.n_rows)
        half = state.n_rows // 2
        left, right = pairs[:half], pairs[half : 2 * half]
        a, b = state.codes[left, j], state.codes[right, j]
        differ = a != b
        left, right, a, b = left[differ], right[differ], a[differ], b[differ]
        if not len(left):
            return
        gain = state.edit_gains(j, left, b) + state.edit_gains(j, right, a)
        self.n_evals += 2 * len(left)
        good = np.flatnonzero(gain < 0)
        if self.limits.allowed is not None and len(good):
            fine = self._permitted(left[good], j, b[good])
            good = good[fine & self._permitted(right[good], j, a[good])]
        order = good[np.argsort(gain[good], kind="stable")]
        take = len(order)
        while take:
            some = order[:take]
            rows, new = np.r_[left[some], right[some]], np.r_[b[some], a[some]]
            if state.try_edit(j, rows, new) is not None or take == 1:
                return
            take = max(take // 4, 1)

    def cross(self) -> None:
        """Replace rows by mixes with other rows; half of the mixes are copies.

        A row that is one too many in a cell far from the cell where one is missing
        cannot get there by edits of single columns that each lower the loss.
        """
        state, free = self.state, self.limits.columns
        rows = self.rng.permutation(state.n_rows)
        new, donors = state.codes[rows], state.codes[self.rng.permutation(rows)]
        mixed = self.rng.uniform(size=(len(rows), len(free))) < 0.5
        mixed |= self.rng.uniform(size=(len(rows), 1)) < 0.5
        new[:, free] = np.where(mixed, donors[:, free], new[:, free])
        gain = state.replaced(rows, new)
        self.n_evals += len(rows)
        good = np.flatnonzero(gain < 0)
        if self.limits.allowed is not None and len(good):
            good = good[self.limits.allowed(new[good])]
        order = good[np.argsort(gain[good], kind="stable")]
        take = len(order)
        while take:
            some = order[:take]
            if state.try_rows(rows[some], new[some]) is not None or take == 1:
                return
            take //= 4


def search(state: State, limits: Limits, rng: Any, progress: Progress) -> Found:
    """Lower the loss until a sweep over all columns gains less than ``tol`` of it."""
    run = _Run(state, limits, rng)
    history = [state.loss()]
    columns = [j for j in limits.columns if state.touching[j]]
    stopped = "max_evals"
    with progress.interruptible(lambda: True):
        while columns and not run.over and not progress.is_over():
            for j in rng.permutation(columns):
                run.column(int(j))
                if run.over or progress.is_over():
                    break
            if not run.over and not progress.is_over():
                run.cross()
            history.append(state.loss())
            if progress.step(loss=history[-1]):
                break
            if history[-2] - history[-1] <= limits.tol * history[-2]:
                stopped = "converged"
                break
    if not columns:
        stopped = "converged"
    return Found(state.loss(), history, run.n_evals, progress.reason(stopped))
