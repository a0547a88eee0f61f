"""Marginals, and ranges as marginals of nested bins."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from skdiff.synthetic._cells import marginal
from skdiff.synthetic._queries._families import (
    Part,
    QueryFamily,
    as_tuple,
    check_count,
    group_of,
    places,
    shift_of,
    tables_of,
)
from skdiff.synthetic._schema import TableSchema


@dataclass(frozen=True)
class MarginalQueries(QueryFamily):
    """Counts of all combinations of the values of k columns.

    Parameters
    ----------
    k : int, default=2
        Number of columns. A table with fewer is counted as a whole.
    columns : sequence or None, default=None
        The columns of one marginal; None counts every choice of k columns.
    depth : int or None, default=None
        Numeric columns have ``2**depth`` bins at most; None keeps all.

    Examples
    --------
    >>> from skdiff.synthetic import MarginalQueries, TableSchema
    >>> schema = TableSchema({"sex": ["F", "M"], "works": [False, True]})
    >>> queries = MarginalQueries(2).fit_schema(schema)
    >>> queries.counts(schema.encode([["F", True], ["F", True], ["M", False]]))
    array([0, 2, 1, 0])
    >>> queries.sensitivity_sq("replace-one")
    2
    """

    k: int = 2
    columns: Any = None
    depth: int | None = None

    def __post_init__(self) -> None:
        check_count("k", self.k, 1)
        if self.columns is not None:
            object.__setattr__(self, "columns", as_tuple(self.columns))
            object.__setattr__(self, "k", len(self.columns))
        if self.depth is not None:
            check_count("depth", self.depth, 1)

    def _tables(self, schema: TableSchema) -> list[Part]:
        if self.columns is None:
            k = min(self.k, len(schema.names))
            chosen = combinations(schema.names, k)
            return tables_of(
                (MarginalQueries(k, names, self.depth) for names in chosen), schema
            )
        where = places(schema, self.columns)
        groups = [group_of(schema, j, self.depth) for j in where]
        return [(self, marginal(groups, where))]


@dataclass(frozen=True)
class RangeQueries(QueryFamily):
    """Marginals of k columns in which numeric columns have nested bins.

    The bins of each level halve those of a coarser one, so that every range between two
    edges is a sum of few counts. The finest level comes first.

    Parameters
    ----------
    k : int, default=2
        Number of columns; a choice without a numeric column is left out.
    depths : sequence of int, default=(3, 4, 5)
        Levels: numeric columns have ``2**depth`` bins at most.
    columns : sequence or None, default=None
        The columns of one tree; None takes every choice of k columns.

    Examples
    --------
    >>> from skdiff.synthetic import RangeQueries, TableSchema
    >>> schema = TableSchema({"age": (0, 100), "sex": ["F", "M"]})
    >>> queries = RangeQueries(1, depths=(1, 2)).fit_schema(schema)
    >>> queries.counts(schema.encode([[10, "F"], [60, "M"], [90, "F"]]))
    array([1, 0, 1, 1, 1, 2])
    """

    k: int = 2
    depths: Any = (3, 4, 5)
    columns: Any = None

    def __post_init__(self) -> None:
        check_count("k", self.k, 1)
        if not len(self.depths):
            raise ValueError("depths must hold at least one depth.")
        for depth in self.depths:
            check_count("each depth", depth, 1)
        object.__setattr__(self, "depths", as_tuple(self.depths))
        if self.columns is not None:
            object.__setattr__(self, "columns", as_tuple(self.columns))
            object.__setattr__(self, "k", len(self.columns))

    def _tables(self, schema: TableSchema) -> list[Part]:
        chosen = [self.columns]
        if self.columns is None:
            k = min(self.k, len(schema.names))
            chosen = list(combinations(schema.names, k))
        families = [
            MarginalQueries(len(names), names, depth)
            for names in chosen
            for depth in _distinct(schema, names, self.depths)
        ]
        if not families:
            raise ValueError("RangeQueries needs a numeric column.")
        return tables_of(families, schema)


def _distinct(schema: TableSchema, names: Any, depths: Any) -> list[int | None]:
    """Depths that give different bins, the finest first."""
    found: dict[Any, int | None] = {}
    where = [j for j in places(schema, names) if schema._coded[j].numeric]
    for depth in sorted(depths, reverse=True):
        shifts = tuple(shift_of(schema, j, depth) for j in where)
        if where and shifts not in found:
            found[shifts] = depth
    return list(found.values())


@dataclass(frozen=True)
class Ways(QueryFamily):
    """What ``"1-way"``, ``"2-way"`` and ``"3-way"`` stand for.

    Choices with a numeric column are counted with the finest bins and with those of the
    next levels, as :class:`RangeQueries` does.
    """

    k: int
    levels: int = 3

    def _tables(self, schema: TableSchema) -> list[Part]:
        k = min(self.k, len(schema.names))
        depths = range(schema.depth, max(schema.depth - self.levels, 0), -1)
        families = []
        for names in combinations(schema.names, k):
            found = _distinct(schema, names, depths) or [None]
            families += [MarginalQueries(k, names, depth) for depth in found]
        return tables_of(families, schema)
