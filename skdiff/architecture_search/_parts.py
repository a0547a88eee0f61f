"""Two parts of the rows, and two parts of a time limit."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from skdiff._base.progress import Progress
from skdiff._base.typing import IntArray

SEARCH_TIME = 0.6  # largest fraction of a time limit before the final training


def halves(
    n: int, fraction: float, codes: IntArray | None, rng: np.random.RandomState
) -> tuple[IntArray, IntArray]:
    """Split the rows at random, each class by itself; sorted row numbers.

    Every class has rows in both parts: one that is a single row, which stands for
    several, is in both.
    """
    strata = np.zeros(n, dtype=np.int64) if codes is None else codes
    first, second = [], []
    for code in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == code))
        cut = min(max(round(fraction * len(rows)), 1), max(len(rows) - 1, 1))
        first.append(rows[:cut])
        second.append(rows[cut:] if len(rows) > 1 else rows)
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


@contextmanager
def earlier(progress: Progress, start: float) -> Iterator[None]:
    """Leave part of a time limit to what follows."""
    deadline = progress.deadline
    if deadline is not None:
        progress.deadline = start + SEARCH_TIME * (deadline - start)
    try:
        yield
    finally:
        progress.deadline = deadline
        if progress.ended == "time":
            progress.ended = None
