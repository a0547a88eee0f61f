"""Rows whose numbers move and whose other columns stay."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.compat import safe_indexing
from skdiff._base.typing import Array, IntArray


class Rows(NamedTuple):
    """A table as the model reads it, and the numbers in it.

    ``frame`` is None for an array, which is all numbers. ``names`` are those of the
    columns of numbers of a frame.
    """

    numbers: Array
    frame: Any = None
    names: tuple[Any, ...] = ()

    @property
    def all_move(self) -> bool:
        """Whether every column is a number."""
        return self.frame is None or len(self.names) == self.frame.shape[1]

    def take(self, rows: IntArray) -> "Rows":
        """Some rows."""
        frame = None if self.frame is None else safe_indexing(self.frame, rows)
        return Rows(self.numbers[rows], frame, self.names)

    def table(self) -> Any:
        """What the model is given."""
        return self.numbers if self.frame is None else self.frame

    def moved(self, rows: IntArray, numbers: Array) -> Any:
        """What the model is given when rows are moved to other numbers."""
        if self.frame is None:
            return numbers
        if hasattr(self.frame, "iloc"):
            block = self.frame.iloc[rows].reset_index(drop=True)
            for name, values in zip(self.names, numbers.T, strict=True):
                block[name] = values
            return block
        import polars as pl

        columns = [
            pl.Series(name, values)
            for name, values in zip(self.names, numbers.T, strict=True)
        ]
        return self.frame[rows.tolist()].with_columns(columns)


def read_rows(X: Any) -> Rows:
    """Separate the numbers of a checked table from its other columns."""
    if not (hasattr(X, "columns") and hasattr(X, "dtypes")):
        values = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        if values.dtype.kind not in "biuf":
            try:
                values = values.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    "X must hold numbers, which are what is moved; give a DataFrame "
                    f"where other columns stand beside them. {error}"
                ) from error
        return Rows(np.ascontiguousarray(values, dtype=np.float64))
    names = [
        name
        for name, dtype in zip(X.columns, X.dtypes, strict=True)
        if _is_number(dtype)
    ]
    if not names:
        raise ValueError("X has no column of numbers, which are what is moved.")
    if hasattr(X, "iloc"):
        numbers = np.column_stack(
            [X[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names]
        )
    else:
        numbers = X.select(names).to_numpy().astype(np.float64)
    return Rows(np.ascontiguousarray(numbers), X, tuple(names))


def _is_number(dtype: Any) -> bool:
    if hasattr(dtype, "is_numeric"):  # polars
        return bool(dtype.is_numeric())
    return getattr(dtype, "kind", "O") in "iuf"
