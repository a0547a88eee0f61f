"""Rows that are kept for later: tables of any kind, in a form that files can hold.

Arrays and sparse matrices stay what they are. A frame is kept as its columns, and built
again where an estimator reads it.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from scipy import sparse

from skdiff._base.compat import safe_indexing


def keep(X: Any) -> Any:
    """Return a table in the form in which it is kept."""
    if not hasattr(X, "columns"):
        return X
    polars = type(X).__module__.partition(".")[0] == "polars"
    names = list(X.columns)
    # by position, as names need not be unique
    columns = [X[name] if polars else X.iloc[:, j] for j, name in enumerate(names)]
    return {
        "library": "polars" if polars else "pandas",
        "names": names,
        "dtypes": [str(column.dtype) for column in columns],
        "values": [_values(column) for column in columns],
    }


def _values(column: Any) -> Any:
    values = np.asarray(column)
    return values if values.dtype.kind in "biuf" else values.astype(object)


def restore(kept: Any) -> Any:
    """Return the table that :func:`keep` was given."""
    if not isinstance(kept, dict):
        return kept
    library = import_module(kept["library"])
    if kept["library"] == "pandas" and _is_one_block(kept):
        # in the order of rows, as an array: it decides the last bit of a product
        block = np.ascontiguousarray(np.column_stack(kept["values"]))
        return library.DataFrame(block, columns=kept["names"], copy=False)
    build = _polars_column if kept["library"] == "polars" else _pandas_column
    parts = zip(kept["values"], kept["dtypes"], strict=True)
    columns = [build(library, values, dtype) for values, dtype in parts]
    if kept["library"] == "polars":
        return library.DataFrame(dict(zip(kept["names"], columns, strict=True)))
    frame = library.concat(columns, axis=1)
    frame.columns = kept["names"]
    return frame


def _is_one_block(kept: Any) -> bool:
    """Whether every column has the same type of NumPy's numbers."""
    types = {values.dtype for values in kept["values"]}
    only = next(iter(types))
    names = set(kept["dtypes"])
    return len(types) == 1 and only.kind in "biuf" and names == {str(only)}


def _pandas_column(pd: Any, values: Any, dtype: str) -> Any:
    return pd.Series(values).astype(dtype)


def _polars_column(pl: Any, values: Any, dtype: str) -> Any:
    column = pl.Series(values=values.tolist() if values.dtype == object else values)
    # the levels of an Enum are those of one block only
    kind = dtype.partition("(")[0]
    return column.cast(
        pl.Categorical if kind in ("Categorical", "Enum") else column.dtype
    )


def stack(parts: Sequence[Any]) -> Any:
    """Return kept tables below each other, kept as well."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, dict):
        values = [
            np.concatenate([part["values"][j] for part in parts])
            for j in range(len(first["values"]))
        ]
        return {**first, "values": values}
    if sparse.issparse(first):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


def take(kept: Any, rows: Any) -> Any:
    """Return some rows of a kept table, kept as well."""
    if isinstance(kept, dict):
        return {**kept, "values": [values[rows] for values in kept["values"]]}
    return safe_indexing(kept, rows)


def n_rows(kept: Any) -> int:
    """Return the number of rows of a kept table."""
    table = kept["values"][0] if isinstance(kept, dict) else kept
    return int(table.shape[0])
