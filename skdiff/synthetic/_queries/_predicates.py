"""Counts of rows that satisfy predicates of the user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import BoolArray, IntArray
from skdiff.synthetic._cells import Cells, marginal
from skdiff.synthetic._queries._families import (
    Part,
    QueryFamily,
    as_tuple,
    places,
    tables_of,
)
from skdiff.synthetic._schema import TableSchema

MOST_CELLS = 2**22  # combinations on which a function is evaluated


@dataclass(frozen=True)
class PredicateQueries(QueryFamily):
    """Counts of the rows that satisfy each of a list of predicates.

    A predicate is a dict: for each of its columns the levels, or a pair of bounds
    ``(low, high)``, that it admits. Or it is a pair of a function and a list of
    columns: the function is called once, on the levels and the middles of bins of all
    their combinations, and never sees a row.

    Parameters
    ----------
    predicates : sequence
        Predicates.

    Examples
    --------
    >>> from skdiff.synthetic import PredicateQueries, TableSchema
    >>> schema = TableSchema({"age": (0, 32), "sex": ["F", "M"]})
    >>> queries = PredicateQueries([
    ...     {"age": (0, 16), "sex": ["F"]},
    ...     (lambda values: values["age"] > 20, ["age"]),
    ... ]).fit_schema(schema)
    >>> queries.counts(schema.encode([[10, "F"], [30, "M"], [31, "F"]]))
    array([1, 2])
    """

    predicates: Any

    def __post_init__(self) -> None:
        if isinstance(self.predicates, Mapping):
            raise TypeError("predicates must be a list of predicates, not one of them.")
        found = tuple(_normal(p) for p in self.predicates)
        if not found:
            raise ValueError("predicates must hold at least one predicate.")
        object.__setattr__(self, "predicates", found)

    def _tables(self, schema: TableSchema) -> list[Part]:
        if len(self.predicates) > 1:
            return tables_of((PredicateQueries([p]) for p in self.predicates), schema)
        (predicate,) = self.predicates
        if isinstance(predicate, dict):
            return [(self, _conjunction(schema, predicate))]
        return [(self, _tabulated(schema, *predicate))]


def _normal(predicate: Any) -> Any:
    if isinstance(predicate, Mapping):
        if not predicate:
            raise ValueError("A predicate must name a column.")
        return {
            name: tuple(allowed) if isinstance(allowed, tuple) else list(allowed)
            for name, allowed in predicate.items()
        }
    if len(predicate) != 2 or not callable(predicate[0]):
        raise TypeError(
            "A predicate must be a dict of columns, or a function with its columns."
        )
    return predicate[0], as_tuple(list(predicate[1]))


def _conjunction(schema: TableSchema, predicate: dict[Any, Any]) -> Cells:
    """Rows within what each column admits: their indicators add up to all."""
    where = places(schema, predicate)
    tables = tuple(
        _admitted(schema, j, predicate[schema.names[j]]).astype(np.int64) for j in where
    )
    lookup = np.ones(len(where) + 1, dtype=np.int64)
    lookup[-1] = 0
    return Cells(where, tables, 1, lookup)


def _admitted(schema: TableSchema, j: int, allowed: Any) -> BoolArray:
    column = schema._coded[j]
    inside = np.zeros(column.size, dtype=bool)
    if column.levels is not None:
        strange = [level for level in allowed if level not in column.levels]
        if strange:
            raise ValueError(
                f"A predicate names a level that column {column.name!r} has not."
            )
        inside[: column.n_bins] = [level in allowed for level in column.levels]
        return inside
    low, high = allowed
    middles = column.middles()
    inside[: column.n_bins] = (middles >= low) & (middles <= high)
    return inside


def _tabulated(schema: TableSchema, function: Any, columns: Any) -> Cells:
    """A function as a table over the combinations of its columns."""
    where = places(schema, columns)
    groups: list[IntArray] = [np.arange(schema._coded[j].size) for j in where]
    table = marginal(groups, where)
    if table.n_cells > MOST_CELLS:
        raise ValueError(
            f"A predicate over the columns {list(columns)} has {table.n_cells} "
            f"combinations; at most {MOST_CELLS} are evaluated."
        )
    grid = np.meshgrid(*groups, indexing="ij")
    values = {
        schema.names[j]: schema._coded[j].values(g.ravel(), None)
        for j, g in zip(where, grid, strict=True)
    }
    found = np.asarray(function(values))
    if found.shape != (table.n_cells,) or found.dtype != bool:
        raise ValueError("A predicate must return one bool per row of its columns.")
    lookup = np.where(found, 0, 1).astype(np.int64)
    return Cells(where, table.tables, 1, lookup)
