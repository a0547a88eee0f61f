"""Random boxes and half-spaces over numeric columns, times a categorical one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff.synthetic._cells import Cells, box, halfspace
from skdiff.synthetic._queries._families import (
    Part,
    QueryFamily,
    as_tuple,
    check_count,
    group_of,
    places,
    tables_of,
)
from skdiff.synthetic._schema import TableSchema, middles_of


def _by_kind(schema: TableSchema) -> tuple[list[Any], list[Any]]:
    """Names of the numeric and of the categorical columns."""
    numeric = [c.name for c in schema._coded if c.numeric]
    return numeric, [c.name for c in schema._coded if not c.numeric]


def _few(rng: np.random.RandomState, names: list[Any], k: int) -> list[Any]:
    return [names[i] for i in sorted(rng.permutation(len(names))[:k])]


def _check_numbers(name: str, values: Any, columns: Any) -> None:
    """Finite numbers, one for each of the numeric columns, which come first."""
    if not 1 <= len(values) <= len(columns):
        raise ValueError(
            f"{name} must hold from 1 to {len(columns)} numbers, one per numeric "
            f"column. Got {len(values)}."
        )
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be finite. Got {values}.")


def _with_categories(schema: TableSchema, columns: Any, n_numeric: int) -> Any:
    where = places(schema, columns)
    for j in where[:n_numeric]:
        if not schema._coded[j].numeric:
            raise ValueError(f"Column {schema.names[j]!r} has levels and no order.")
    return where, [group_of(schema, j) for j in where[n_numeric:]]


@dataclass(frozen=True)
class PrefixQueries(QueryFamily):
    """Counts of the levels of a column within random boxes of numeric columns.

    A box is all rows below one threshold in each of its numeric columns.

    Parameters
    ----------
    k_real : int, default=2
        Number of numeric columns of a box.
    k_cat : int, default=1
        Number of categorical columns.
    n_boxes : int, default=100
        Number of boxes that are drawn.
    random_state : int, default=0
        Public seed of the boxes.
    columns : sequence or None, default=None
        The columns of one box, numeric ones first.
    thresholds : sequence of int or None, default=None
        Number of bins below each threshold, for one box.

    Examples
    --------
    >>> from skdiff.synthetic import PrefixQueries, TableSchema
    >>> schema = TableSchema({"age": (0, 32), "pay": (0, 32), "sex": ["F", "M"]})
    >>> young_and_poor = PrefixQueries(
    ...     columns=("age", "pay", "sex"), thresholds=(16, 8)
    ... ).fit_schema(schema)
    >>> young_and_poor.counts(schema.encode([[10, 5, "M"], [10, 20, "F"]]))
    array([0, 1])
    """

    k_real: int = 2
    k_cat: int = 1
    n_boxes: int = 100
    random_state: int = 0
    columns: Any = None
    thresholds: Any = None

    def __post_init__(self) -> None:
        if (self.columns is None) != (self.thresholds is None):
            raise ValueError("columns and thresholds of a box come together.")
        check_count("k_real", self.k_real, 1)
        check_count("k_cat", self.k_cat, 0)
        check_count("n_boxes", self.n_boxes, 1)
        if self.columns is not None:
            object.__setattr__(self, "columns", as_tuple(self.columns))
            object.__setattr__(self, "thresholds", as_tuple(self.thresholds))
            _check_numbers("thresholds", self.thresholds, self.columns)

    def _tables(self, schema: TableSchema) -> list[Part]:
        if self.columns is not None:
            return [(self, self._cells(schema))]
        numeric, categorical = _by_kind(schema)
        if not numeric:
            raise ValueError("PrefixQueries needs a numeric column.")
        rng = np.random.RandomState(self.random_state)
        sizes = {c.name: c.n_bins for c in schema._coded}
        parts: dict[Any, QueryFamily] = {}
        for _ in range(self.n_boxes):
            real = _few(rng, numeric, self.k_real)
            chosen = (*real, *_few(rng, categorical, self.k_cat))
            at = tuple(int(rng.randint(1, max(sizes[n], 2))) for n in real)
            parts[chosen, at] = PrefixQueries(columns=chosen, thresholds=at)
        return tables_of(parts.values(), schema)

    def _cells(self, schema: TableSchema) -> Cells:
        n_real = len(self.thresholds)
        where, groups = _with_categories(schema, self.columns, n_real)
        coded = [schema._coded[j] for j in where[:n_real]]
        # a missing value has the last code, above every threshold
        limits = [
            (min(t, c.n_bins), c.size, c.missing)
            for t, c in zip(self.thresholds, coded, strict=True)
        ]
        return box(limits, where, groups)


@dataclass(frozen=True)
class HalfspaceQueries(QueryFamily):
    """Counts of the levels of a column within random half-spaces of numeric columns.

    A half-space is all rows whose numeric columns, scaled to the unit interval, have at
    most a given sum along a Gaussian direction.

    Parameters
    ----------
    k_cat : int, default=1
        Number of categorical columns.
    n_halfspaces : int, default=100
        Number of half-spaces that are drawn.
    random_state : int, default=0
        Public seed of the directions.
    columns : sequence or None, default=None
        The columns of one half-space, numeric ones first.
    direction : sequence of float or None, default=None
        Its direction, one number per numeric column.
    offset : float or None, default=None
        Its largest sum.

    Examples
    --------
    >>> from skdiff.synthetic import HalfspaceQueries, TableSchema
    >>> schema = TableSchema({"age": (0, 32), "pay": (0, 32)})
    >>> below = HalfspaceQueries(
    ...     columns=("age", "pay"), direction=(1.0, 1.0), offset=1.0
    ... ).fit_schema(schema)
    >>> below.counts(schema.encode([[10, 10], [30, 30]]))
    array([1])
    """

    k_cat: int = 1
    n_halfspaces: int = 100
    random_state: int = 0
    columns: Any = None
    direction: Any = None
    offset: float | None = None

    def __post_init__(self) -> None:
        given = {v is None for v in (self.columns, self.direction, self.offset)}
        if len(given) > 1:
            raise ValueError("columns, direction and offset come together.")
        check_count("k_cat", self.k_cat, 0)
        check_count("n_halfspaces", self.n_halfspaces, 1)
        if self.columns is not None:
            object.__setattr__(self, "columns", as_tuple(self.columns))
            object.__setattr__(self, "direction", as_tuple(self.direction))
            _check_numbers("direction", self.direction, self.columns)
            _check_numbers("offset", (self.offset,), self.columns)

    def _tables(self, schema: TableSchema) -> list[Part]:
        if self.columns is not None:
            return [(self, self._cells(schema))]
        numeric, categorical = _by_kind(schema)
        if not numeric:
            raise ValueError("HalfspaceQueries needs a numeric column.")
        rng = np.random.RandomState(self.random_state)
        parts: list[QueryFamily] = []
        for _ in range(self.n_halfspaces):
            direction = rng.normal(size=len(numeric))
            # through a random point of the unit cube
            offset = float(direction @ rng.uniform(size=len(numeric)))
            chosen = (*numeric, *_few(rng, categorical, self.k_cat))
            parts.append(
                HalfspaceQueries(
                    columns=chosen, direction=tuple(direction), offset=offset
                )
            )
        return tables_of(parts, schema)

    def _cells(self, schema: TableSchema) -> Cells:
        n_real = len(self.direction)
        where, groups = _with_categories(schema, self.columns, n_real)
        heights: list[Array] = []
        for weight, j in zip(self.direction, where[:n_real], strict=True):
            height = weight * middles_of(schema, j)
            absent = [np.nan] * schema._coded[j].missing
            heights.append(np.r_[height, absent])
        return halfspace(heights, float(self.offset or 0.0), where, groups)
