"""What all families share: parts, counts, sensitivities, and the form of a file."""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from skdiff._base.typing import IntArray
from skdiff.synthetic import _cells as numbers
from skdiff.synthetic._cells import Cells
from skdiff.synthetic._schema import TableSchema

NEIGHBORS = ("replace-one", "add-remove")

Part: TypeAlias = tuple["QueryFamily", Cells]


@dataclasses.dataclass(frozen=True)
class QueryFamily(ABC):
    """Queries that are measured together, split in parts that are tables of counts.

    A family without ``columns`` covers every choice of columns when it meets a schema;
    one with them is a single part.
    """

    _kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        QueryFamily._kinds[cls.__name__] = cls

    @abstractmethod
    def _tables(self, schema: TableSchema) -> list[Part]:
        """The parts, each with its table of counts; a single part is the family."""

    def fit_schema(self, schema: TableSchema) -> Self:
        """Choose columns, thresholds and directions from what is public.

        Parameters
        ----------
        schema : TableSchema
            Declared columns.

        Returns
        -------
        self : object
            The family, which can now count.
        """
        object.__setattr__(self, "_fitted", self._tables(schema))
        return self

    @property
    def _parts(self) -> list[Part]:
        found = self.__dict__.get("_fitted")
        if found is None:
            raise ValueError(
                f"{type(self).__name__} has no columns yet. Call fit_schema first."
            )
        return list(found)

    def parts(self) -> list["QueryFamily"]:
        """Return the tables of counts of the family, each as a family of its own.

        Returns
        -------
        parts : list
            Fitted families of one part.
        """
        return [part for part, _ in self._parts]

    @property
    def n_queries(self) -> int:
        """Number of counts."""
        return sum(cells.n_cells for _, cells in self._parts)

    def sensitivity_sq(self, neighbors: str = "replace-one") -> int:
        """Return the largest squared change of all counts between neighbours.

        Parameters
        ----------
        neighbors : {"replace-one", "add-remove"}, default="replace-one"
            Tables that are compared.

        Returns
        -------
        sensitivity_sq : int
            Squared L2 sensitivity. One row is in one cell of each part.
        """
        if neighbors not in NEIGHBORS:
            raise ValueError(f"neighbors must be one of {NEIGHBORS}. Got {neighbors}.")
        most = 0
        for _, cells in self._parts:
            # replacing a row empties one cell and fills another, where there are two
            moved = min(cells.n_cells, 2) if neighbors == "replace-one" else 1
            if cells.partition and cells.n_cells == 1 and neighbors == "replace-one":
                moved = 0
            most += moved
        return most

    def counts(self, codes: Any) -> IntArray:
        """Return the number of rows in each cell.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_features)
            Codes of :meth:`TableSchema.encode`.

        Returns
        -------
        counts : ndarray of shape (n_queries,)
            Counts of all parts, one part after the other.
        """
        codes = np.asarray(codes)
        return np.concatenate(
            [numbers.counts_of(cells, codes) for _, cells in self._parts]
        )

    def cells(self, codes: Any) -> IntArray:
        """Return the cell of each row.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_features)
            Codes of :meth:`TableSchema.encode`.

        Returns
        -------
        cells : ndarray of shape (n_samples,) or (n_samples, n_parts)
            Number of the cell in its part; the number of its cells where a row is in
            none.
        """
        codes = np.asarray(codes)
        found = np.stack(
            [
                numbers.cell_of(cells, numbers.sums_of(cells, codes))
                for _, cells in self._parts
            ],
            axis=1,
        )
        return found[:, 0] if found.shape[1] == 1 else found

    def delta(self, codes: Any, rows: Any, column: int, new: Any) -> IntArray:
        """Return how the counts change when one column of some rows changes.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_features)
            Codes of a table.
        rows : array-like of shape (n_rows,)
            Rows that change.
        column : int
            Column that changes.
        new : array-like of shape (n_rows,)
            New codes.

        Returns
        -------
        delta : ndarray of shape (n_queries,)
            Change of the counts.
        """
        rows, new = np.asarray(rows), np.asarray(new)
        chosen = np.asarray(codes)[rows]
        return np.concatenate(
            [numbers.change(cells, chosen, column, new) for _, cells in self._parts]
        )

    def to_json(self) -> str:
        """Return the family as text.

        Returns
        -------
        text : str
            What :meth:`from_json` reads.
        """
        fields = {
            f.name: _jsonable(getattr(self, f.name)) for f in dataclasses.fields(self)
        }
        return json.dumps({"kind": type(self).__name__, **fields})

    @classmethod
    def from_json(cls, text: str) -> "QueryFamily":
        """Return the family that a text describes.

        Parameters
        ----------
        text : str
            What :meth:`to_json` wrote.

        Returns
        -------
        family : object
            A family without a schema.
        """
        fields = json.loads(text)
        kind = QueryFamily._kinds.get(fields.pop("kind", None))
        if kind is None or not issubclass(kind, cls):
            raise ValueError(f"The text does not describe a {cls.__name__}.")
        return kind(**fields)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def tables_of(families: Iterable[QueryFamily], schema: TableSchema) -> list[Part]:
    """The parts of several families, one after the other."""
    return [part for family in families for part in family.fit_schema(schema)._parts]


def _jsonable(value: Any) -> Any:
    if callable(value):
        raise TypeError("A family with functions cannot be written as text.")
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    return value


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no int of at least some size."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}. Got {value!r}.")


def as_tuple(value: Any) -> Any:
    """Lists as tuples, all the way down, so that equal families are equal."""
    if isinstance(value, list | tuple):
        return tuple(as_tuple(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value


def places(schema: TableSchema, columns: Any) -> tuple[int, ...]:
    """Positions of named columns."""
    names = list(schema.names)
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(f"The schema declares no column {missing[0]!r}.")
    return tuple(names.index(name) for name in columns)


def shift_of(schema: TableSchema, j: int, depth: int | None) -> int:
    """How many halvings lead from the bins of a column to ``2**depth`` of them."""
    column = schema._coded[j]
    if depth is None or not column.numeric:
        return 0
    return max((column.n_bins - 1).bit_length() - depth, 0)


def group_of(schema: TableSchema, j: int, depth: int | None = None) -> IntArray:
    """Group of each code of a column at a depth."""
    column = schema._coded[j]
    return numbers.merged(column.size, column.missing, shift_of(schema, j, depth))
