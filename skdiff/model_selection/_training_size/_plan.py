"""Which rows of each fold are trained on at each size."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray

_STEEP, _FLAT = 2.0, 2.0**0.5
_COMFORT = 20
_FEWEST = 3


class Plan(NamedTuple):
    """Sizes in order, and for each the (training rows, test rows) of every fold."""

    sizes: IntArray
    splits: list[list[tuple[IntArray, IntArray]]]


def stratified_order(codes: IntArray | None, n: int, rng: Any) -> IntArray:
    """Return an order whose every beginning has the proportions of the classes."""
    order: IntArray = rng.permutation(n)
    if codes is None:
        return order
    classes = codes[order]
    rank = np.empty(n)
    for k in np.unique(classes):
        rows = np.flatnonzero(classes == k)
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return order[np.argsort(rank, kind="stable")]


def geometric_sizes(largest: int, n_sizes: int, smallest: int) -> IntArray:
    """Return sizes that double up to the largest, or grow by the square root of two.

    They double where the smallest of ``n_sizes`` is then still comfortable; sizes below
    ``smallest`` are left out. Where fewer than three are left they lie closer.
    """
    comfort = max(smallest, _COMFORT)
    ratio = _STEEP if largest / _STEEP ** (n_sizes - 1) >= comfort else _FLAT
    raw = largest / ratio ** np.arange(n_sizes - 1, -1, -1.0)
    sizes = np.unique(np.round(raw).astype(np.int64))
    sizes = sizes[sizes >= smallest]
    if len(sizes) < _FEWEST:  # a table of some dozen rows
        close = np.geomspace(smallest, max(largest, smallest), n_sizes)
        sizes = np.unique(np.round(close).astype(np.int64))
        sizes = sizes[sizes <= largest]
    return np.asarray(sizes)


def given_sizes(given: Array, largest: int) -> IntArray:
    """Return sizes from numbers of rows, or from fractions of the largest.

    Raises
    ------
    ValueError
        If they are not within one and the largest, or not different.
    """
    values = np.asarray(given)
    if values.ndim != 1 or not len(values) or values.dtype.kind not in "iuf":
        raise ValueError(
            "train_sizes must be 'geometric', or a list of numbers of rows or of "
            f"fractions. Got {given!r}."
        )
    if values.dtype.kind == "f":
        if not np.all((values > 0) & (values <= 1)):
            raise ValueError(
                "Fractions in train_sizes must be in (0, 1]; numbers of rows are "
                f"integers. Got {given!r}."
            )
        values = np.round(values * largest).astype(np.int64)
    if values.min() < 1 or values.max() > largest:
        raise ValueError(
            f"train_sizes must be between 1 and {largest}, the rows of the smallest "
            f"training fold. Got {given!r}."
        )
    return np.unique(values.astype(np.int64))


def complete_from(codes: IntArray, order: IntArray, needed: IntArray) -> int:
    """Return how long a beginning has to be to hold every class that is needed."""
    first = [int(np.argmax(codes[order] == k)) + 1 for k in needed]
    return max(first, default=1)


def smallest_size(
    codes: IntArray | None, orders: list[IntArray], folds: list[IntArray]
) -> int:
    """Return the size from which no fold misses a class that it has."""
    if codes is None:
        return 2
    sizes = [
        complete_from(codes[rows], order, np.unique(codes[rows]))
        for rows, order in zip(folds, orders, strict=True)
    ]
    return max(2, *sizes)
