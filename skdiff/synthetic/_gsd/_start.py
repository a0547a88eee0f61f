"""The table with which the search starts, from noisy marginals or from public rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray

_TRIES = 200  # draws of a row before a permitted one is copied


def start(shares: list[Array], n_rows: int, rng: Any) -> IntArray:
    """Independent columns with these shares of their codes."""
    columns = [rng.permutation(_rounded(share, n_rows, rng)) for share in shares]
    return np.stack(columns, axis=1).astype(np.int64)


def _rounded(share: Array, n_rows: int, rng: Any) -> IntArray:
    """Codes whose counts are within one of the shares (systematic sampling)."""
    at = (np.arange(n_rows) + rng.uniform()) / n_rows
    edges = np.cumsum(share)
    found = np.searchsorted(edges / edges[-1], at, side="right")
    return np.minimum(found, len(share) - 1)


def resampled(codes: IntArray, n_rows: int, rng: Any) -> IntArray:
    """Exactly ``n_rows`` of the rows, every row about equally often."""
    if not len(codes):
        raise ValueError("init must hold at least one row.")
    repeats = -(-n_rows // len(codes))
    order = np.concatenate([rng.permutation(len(codes)) for _ in range(repeats)])
    return codes[order[:n_rows]].copy()


def repaired(
    codes: IntArray,
    allowed: Callable[[IntArray], BoolArray],
    free: IntArray,
    rng: Any,
) -> IntArray:
    """Rows that satisfy a constraint: free cells are drawn anew from their columns."""
    codes = codes.copy()
    for _ in range(_TRIES):
        bad = np.flatnonzero(~allowed(codes))
        if not len(bad):
            return codes
        for j in free:
            drawn = codes[rng.randint(len(codes), size=len(bad)), j]
            anew = rng.uniform(size=len(bad)) < 0.5
            codes[bad, j] = np.where(anew, drawn, codes[bad, j])
    good = np.flatnonzero(allowed(codes))
    if not len(good):
        raise ValueError("No row that was drawn satisfies the constraint.")
    bad = np.flatnonzero(~allowed(codes))
    codes[bad] = codes[good[rng.randint(len(good), size=len(bad))]]
    return codes
