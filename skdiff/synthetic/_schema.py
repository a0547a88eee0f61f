"""What is public about a table: its columns, their levels and bounds."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.synthetic._columns import Column, numeric_edges


@dataclass(frozen=True)
class TableSchema:
    """What is declared of a table, and therefore public.

    Levels and bounds must come from knowledge of the columns, a code book for instance,
    and not from the rows: what is read from the rows is private and not paid for.

    Parameters
    ----------
    columns : dict
        For each column a list of levels, or a pair ``(low, high)`` of bounds. Values
        beyond the bounds are clamped. A numeric column may be left out; its bounds are
        then bought with a part of the budget. Columns of arrays are named by position,
        or ``"x0"``, ``"x1"`` and so on.
    integer : sequence, default=()
        Numeric columns of whole numbers. Integer columns of a data frame are found by
        their dtype.
    log : sequence, default=()
        Numeric columns with positive bounds that are binned on the log scale.
    missing : sequence or bool, default=()
        Columns in which missing is one more value; True for all.
    other : dict, default={}
        For categorical columns the level that stands for every value that is not
        declared.
    edges : dict, default={}
        For numeric columns the edges of their bins, in place of equal widths.
    depth : int, default=5
        Numeric columns have at most ``2**depth`` bins. A synthesizer puts its own
        ``depth`` in place of it.

    Examples
    --------
    >>> from skdiff.synthetic import TableSchema
    >>> schema = TableSchema({"age": (17, 90), "sex": ["F", "M"]}, integer=["age"])
    >>> schema.n_codes
    (32, 2)
    """

    columns: Mapping[Any, Any]
    integer: Any = ()
    log: Any = ()
    missing: Any = ()
    other: Mapping[Any, Any] = field(default_factory=dict)
    edges: Mapping[Any, Any] = field(default_factory=dict)
    depth: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping):
            raise TypeError(
                "columns must be a dict of levels and bounds. Got "
                f"{type(self.columns).__name__}."
            )
        columns = {name: _declared(name, what) for name, what in self.columns.items()}
        whole = isinstance(self.depth, numbers.Integral)
        if not whole or not 1 <= int(self.depth) <= 12:
            raise ValueError(f"depth must be an int from 1 to 12. Got {self.depth!r}.")
        set_ = object.__setattr__
        set_(self, "columns", columns)
        for name in ("integer", "log", "missing"):
            value = getattr(self, name)
            set_(self, name, value if isinstance(value, bool) else tuple(value))
        edges = {name: tuple(map(float, e)) for name, e in self.edges.items()}
        set_(self, "edges", edges)
        set_(self, "other", dict(self.other))
        set_(self, "depth", int(self.depth))
        self._check()

    def _check(self) -> None:
        for name in (*self.log, *self.edges):
            if isinstance(self.columns.get(name), list):
                raise ValueError(f"Column {name!r} has levels; bins are for numbers.")
        for name in self.log:
            bounds = self.columns.get(name)
            if bounds is None or bounds[0] <= 0:
                raise ValueError(f"Column {name!r} needs positive bounds for log.")
        for name, edges in self.edges.items():
            if len(edges) < 2 or not np.all(np.diff(edges) > 0):
                raise ValueError(f"The edges of column {name!r} must rise.")
            if not np.all(np.isfinite(edges)):
                raise ValueError(f"The edges of column {name!r} must be finite.")
        for name in self.integer:
            ends = self.edges.get(name) or self.columns.get(name)
            if isinstance(ends, tuple) and math.ceil(ends[0]) > math.floor(ends[-1]):
                raise ValueError(
                    f"Column {name!r} holds whole numbers, and none lies between its "
                    "bounds."
                )
        for name, level in self.other.items():
            if level not in (self.columns.get(name) or []):
                raise ValueError(
                    f"The level that stands for other values of column {name!r} must "
                    "be one of its levels."
                )

    @property
    def names(self) -> tuple[Any, ...]:
        """Names of the columns."""
        return tuple(self.columns)

    @property
    def n_codes(self) -> tuple[int, ...]:
        """Number of codes of each column, that of missing values included."""
        return tuple(column.size for column in self._coded)

    @property
    def _coded(self) -> tuple[Column, ...]:
        found = self.__dict__.get("_cache")
        if found is None:
            found = tuple(self._column(name) for name in self.columns)
            object.__setattr__(self, "_cache", found)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _column(self, name: Any) -> Column:
        what = self.columns[name]
        missing = self.missing is True or (
            not isinstance(self.missing, bool) and name in self.missing
        )
        if isinstance(what, list):
            return Column(
                name, tuple(what), None, False, False, missing, self.other.get(name)
            )
        integer, log = name in self.integer, name in self.log
        if name in self.edges:
            edges = np.array(self.edges[name])
            if integer:
                edges = np.unique(np.r_[np.ceil(edges[:-1]), np.floor(edges[-1]) + 1])
        else:
            edges = numeric_edges(what, self.depth, integer=integer, log=log)
        return Column(name, None, edges, integer, log, missing, None)

    def encode(self, X: Any) -> IntArray:
        """Return the codes of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the declared columns in their order.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_features)
            Codes of levels and bins.
        """
        if not hasattr(X, "shape"):
            X = np.array(X, dtype=object)  # cells of lists stay what they are
        codes = [column.encode(cell_values(X, j)) for j, column in self._numbered(X)]
        return np.stack(codes, axis=1)

    def _numbered(self, X: Any) -> list[tuple[int, Column]]:
        if len(X.shape) != 2:
            raise ValueError(f"Expected 2D array, got {len(X.shape)}D array instead.")
        if X.shape[1] != len(self.columns):
            raise ValueError(
                f"X has {X.shape[1]} columns, and the schema declares "
                f"{len(self.columns)}."
            )
        return list(enumerate(self._coded))

    def decode(self, codes: Any, random_state: Any = None) -> dict[Any, Any]:
        """Return the values of codes, by column.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_features)
            Codes of levels and bins.
        random_state : RandomState instance or None, default=None
            Draws numbers within their bins; None returns the middle of each bin.

        Returns
        -------
        values : dict of ndarray
            Values of each column.
        """
        codes = np.asarray(codes)
        return {
            column.name: column.values(codes[:, j], random_state)
            for j, column in enumerate(self._coded)
        }

    def _resolved(
        self, names: Any, found: Mapping[Any, tuple[float, float]], **changes: Any
    ) -> "TableSchema":
        """The schema of a table whose other columns have these bounds."""
        declared = self._by_name(names)
        ends = {n: (e[0], e[-1]) for n, e in declared.edges.items()}
        columns = {n: {**found, **ends, **declared.columns}[n] for n in names}
        return dataclasses.replace(declared, columns=columns, **changes)

    def _with(self, **changes: Any) -> "TableSchema":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def _by_name(self, names: Any) -> "TableSchema":
        """The schema with names where it has positions."""
        names = list(names)

        def name_of(key: Any) -> Any:
            if key in names:
                return key
            if isinstance(key, int | np.integer) and 0 <= key < len(names):
                return names[int(key)]
            raise ValueError(f"The schema declares {key!r}, which is no column of X.")

        def renamed(value: Any) -> Any:
            if isinstance(value, bool):
                return value
            if isinstance(value, Mapping):
                return {name_of(k): v for k, v in value.items()}
            return tuple(name_of(k) for k in value)

        fields = ("columns", "integer", "log", "missing", "other", "edges")
        return TableSchema(
            **{f: renamed(getattr(self, f)) for f in fields}, depth=self.depth
        )


def _declared(name: Any, what: Any) -> Any:
    """Bounds as a pair of floats, levels as a list."""
    if isinstance(what, tuple) and len(what) == 2 and all(map(_is_number, what)):
        low, high = map(float, what)
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"The bounds of column {name!r} must be finite and rise.")
        return low, high
    if isinstance(what, str | bytes) or not hasattr(what, "__iter__"):
        raise TypeError(
            f"Column {name!r} needs a list of levels or a pair of bounds. Got "
            f"{type(what).__name__}."
        )
    levels = [v.item() if isinstance(v, np.generic) else v for v in what]
    if not levels or any(v is None or v != v for v in levels):
        raise ValueError(
            f"Column {name!r} needs at least one level, and none that is missing."
        )
    if len(set(levels)) != len(levels):
        raise ValueError(f"Column {name!r} has repeated levels.")
    return levels


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def cell_values(X: Any, j: int) -> Any:
    """One column of a frame or an array."""
    if hasattr(X, "iloc"):
        return X.iloc[:, j]
    if hasattr(X, "to_numpy"):  # polars
        return X[:, j].to_numpy()
    return np.asarray(X)[:, j]


def middles_of(schema: TableSchema, j: int) -> Array:
    """Middles of the bins of a column on the unit interval."""
    return schema._coded[j].scaled()
