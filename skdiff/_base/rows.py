"""Rows and columns in a form that does not depend on how the user wrote them."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight

from skdiff._base.compat import check_sample_weight
from skdiff._base.typing import Array, FloatArray, IntArray
from skdiff._base.validation import check_X_y

LARGEST = 1e100  # standardised values are cut here, so that their squares are finite
RARE = 0.5  # least scale of a column of two values, in halves of their distance


class Columns(NamedTuple):
    """Centre and scale of columns; a constant column has the scale zero."""

    mean: Array
    scale: Array

    @property
    def divisor(self) -> Array:
        """The scale, one for a constant column."""
        return np.where(self.scale > 0, self.scale, 1.0)

    def standardised(self, X: FloatArray, largest: float = LARGEST) -> FloatArray:
        """Centre and scale in the precision of X; values are cut at ``largest``."""
        divisor = self.divisor
        with np.errstate(over="ignore"):
            Z: FloatArray = X / divisor.astype(X.dtype, copy=False)
            Z -= (self.mean / divisor).astype(X.dtype, copy=False)
        np.clip(Z, -largest, largest, out=Z)
        return Z


class DistinctRows(NamedTuple):
    """Where the distinct rows of a table stand, in the order of their first one.

    ``X[first]`` are the distinct rows, ``X[first][place]`` is the table again.
    """

    first: IntArray
    place: IntArray

    def gathered(self, weight: Array | None = None) -> Array:
        """Weights (or counts) that gather on each distinct row."""
        gathered = np.bincount(self.place, weights=weight, minlength=len(self.first))
        return gathered.astype(np.float64)


def distinct_rows(X: Array) -> DistinctRows:
    """Find equal rows of a dense table; 0.0 and -0.0 are equal.

    Rows are compared as strings of bytes, about three times as fast as by numbers.
    """
    if not X.shape[1]:
        return DistinctRows(np.arange(min(len(X), 1)), np.zeros(len(X), dtype=np.int64))
    table = np.ascontiguousarray(X + 0.0)  # the sum turns -0.0 into 0.0
    bytes_of_row = np.dtype((np.void, table.dtype.itemsize * table.shape[1]))
    _, first, place = np.unique(
        table.view(bytes_of_row).ravel(), return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return DistinctRows(first[order], rank[place.ravel()])


def merge_rows(X: Array, Y: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """Drop rows of weight zero, merge equal ones, and sort; weights sum to one.

    What is fitted to the result cannot depend on the order of the rows, and a row of
    weight two is, to the last bit, the same row twice.
    """
    table = np.column_stack([X, Y]) + 0.0
    if weight is not None:
        table, weight = table[weight > 0], weight[weight > 0]
    found = distinct_rows(table)
    rows, merged = table[found.first], found.gathered(weight)
    order = _rising(rows)
    rows, merged = rows[order], merged[order]
    d = X.shape[1]
    return (
        np.ascontiguousarray(rows[:, :d]),
        np.ascontiguousarray(rows[:, d:]),
        merged / merged.sum(),
    )


def _rising(rows: Array) -> IntArray:
    """Order by the first column, then the second, and so on."""
    order = np.argsort(rows[:, 0], kind="stable")
    first = rows[order, 0]
    tied = np.any(first[1:] == first[:-1])
    return np.lexsort(rows.T[::-1]) if tied else order


def column_statistics(X: Array, weight: Array) -> Columns:
    """Weighted mean and standard deviation of columns of any size."""
    largest = np.abs(X).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    scaled = X / unit
    mean = weight @ scaled
    spread = np.sqrt(weight @ (scaled - mean) ** 2)
    # rounding leaves a constant column a spread of this order
    constant = spread <= 1e-14 * len(X) ** 0.5 * np.abs(mean)
    constant |= X.max(axis=0) == X.min(axis=0)
    mean = np.where(constant, scaled[0], mean)
    return Columns(mean * unit, np.where(constant, 0.0, spread * unit))


def network_columns(X: FloatArray, weight: Array | None) -> Columns:
    """Centre and scale by which networks see columns.

    The scale is the standard deviation, but for a column of two values at least a
    quarter of their distance: a rare category would otherwise stand dozens of
    deviations away.
    """
    share = np.full(len(X), 1.0) if weight is None else weight
    columns = column_statistics(X, share / share.sum())
    low, high = X.min(axis=0), X.max(axis=0)
    two_values = ((low == X) | (high == X)).all(axis=0) & (columns.scale > 0)
    least = np.where(two_values, RARE * (high / 2.0 - low / 2.0), 0.0)
    return Columns(columns.mean, np.maximum(columns.scale, least))


def without_zeros(X: Array, y: Any, weight: Array) -> tuple[Array, Any, Array]:
    """The table without its rows of weight zero."""
    kept = weight > 0
    return (X, y, weight) if kept.all() else (X[kept], y[kept], weight[kept])


def checked_table(
    estimator: Any, X: Any, y: Any, sample_weight: Any, **checks: Any
) -> tuple[Array, Any, Array | None]:
    """X in float64, the targets, and the weights or None, all of them checked.

    Rows of weight zero are gone.
    """
    X, y = check_X_y(estimator, X, y, dtype=np.float64, order="C", **checks)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if sample_weight is None:
        return X, y, None
    return without_zeros(X, y, check_sample_weight(sample_weight, X))


def class_factors(y: Any, weight: Array | None, class_weight: Any) -> Array:
    """Weight of the class of each row, beside the weights of the rows."""
    if class_weight == "balanced":
        # as scikit-learn's, but a row of weight two counts twice
        classes, codes = np.unique(y, return_inverse=True)
        mass = np.bincount(codes, weights=weight)
        return (mass.sum() / (len(classes) * mass))[codes]
    return compute_sample_weight(class_weight, y)


def class_weighted(
    X: Array, y: Any, weight: Array | None, class_weight: Any
) -> tuple[Array, Any, Array | None]:
    """The same table, its weights times those of the classes."""
    if class_weight is None:
        return X, y, weight
    factors = class_factors(y, weight, class_weight)
    weight = factors if weight is None else weight * factors
    return without_zeros(X, y, check_sample_weight(weight, X))
