"""Rows that are kept for later: tables of any kind, in a form that files can hold.

Arrays and sparse matrices stay what they are. A frame is kept as its columns, and built
again where an estimator reads it.
"""

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
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
        "levels": [_levels(column) for column in columns],
        "values": [_values(column) for column in columns],
    }


def _levels(column: Any) -> Any:
    """Categories in their order and whether they are ordered; None without any."""
    kind = str(column.dtype).partition("(")[0]
    if kind not in ("category", "Enum"):
        return None
    levels = column.dtype.categories
    return list(levels), bool(getattr(column.dtype, "ordered", True))


def _values(column: Any) -> Any:
    if hasattr(column, "null_count") and column.null_count():
        # NumPy has no null, and would make a floating-point number of an integer
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_list()
        return values
    if str(column.dtype) == "category":
        column = column.astype(object)  # dates among them would become numbers
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
    parts = zip(kept["values"], kept["dtypes"], kept["levels"], strict=True)
    columns = [build(library, *part) for part in parts]
    if kept["library"] == "polars":
        return library.DataFrame(dict(zip(kept["names"], columns, strict=True)))
    frame = library.DataFrame(dict(enumerate(columns)))
    frame.columns = kept["names"]
    return frame


def _is_one_block(kept: Any) -> bool:
    """Whether every column has the same type of NumPy's numbers."""
    types = {values.dtype for values in kept["values"]}
    only = next(iter(types))
    names = set(kept["dtypes"])
    return len(types) == 1 and only.kind in "biuf" and names == {str(only)}


def _pandas_column(pd: Any, values: Any, dtype: str, levels: Any) -> Any:
    if levels is not None:
        return pd.Categorical(values, categories=levels[0], ordered=levels[1])
    return values if str(values.dtype) == dtype else pd.Series(values).astype(dtype)


def _polars_column(pl: Any, values: Any, dtype: str, levels: Any) -> Any:
    column = pl.Series(values=values.tolist() if values.dtype == object else values)
    kind = dtype.partition("(")[0]
    if kind == "Enum":
        return column.cast(pl.Enum(levels[0]))
    # types with a parameter, such as dates with a unit, come from the values
    known = kind == dtype and values.dtype == object and hasattr(pl, kind)
    return column.cast(getattr(pl, kind)) if known else column


def stack(parts: Sequence[Any]) -> Any:
    """Return kept tables below each other, kept as well."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, dict):
        columns = range(len(first["values"]))
        values = [
            np.concatenate([part["values"][j] for part in parts]) for j in columns
        ]
        levels = [_union([part["levels"][j] for part in parts]) for j in columns]
        return {**first, "levels": levels, "values": values}
    if sparse.issparse(first):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


def _union(levels: Sequence[Any]) -> Any:
    """Levels of a column in several tables, in the order of their appearance."""
    known = [one for one in levels if one is not None]
    if not known:
        return None
    every = dict.fromkeys(level for one in known for level in one[0])
    return list(every), all(ordered for _, ordered in known)


def take(kept: Any, rows: Any) -> Any:
    """Return some rows of a kept table, kept as well."""
    if isinstance(kept, dict):
        return {**kept, "values": [values[rows] for values in kept["values"]]}
    return safe_indexing(kept, rows)


def n_rows(kept: Any) -> int:
    """Return the number of rows of a kept table."""
    table = kept["values"][0] if isinstance(kept, dict) else kept
    return int(table.shape[0])


def shared_rows(first: tuple[Any, Any], second: tuple[Any, Any]) -> tuple[int, float]:
    """Count the rows of the second set that are in the first one.

    Also returns the number to expect by chance: as large a part as of the rows of the
    first set that are there twice. Sets are pairs of a kept table and outcomes. Cells
    without a hash, such as lists, are not compared.
    """
    try:
        keys, others = _row_hashes(*first), _row_hashes(*second)
    except TypeError:
        return 0, 0.0
    times = Counter(keys)
    shared = sum(key in times for key in others)
    repeated = sum(count for count in times.values() if count > 1)
    return shared, len(second[1]) * repeated / len(first[1])


def _row_hashes(kept: Any, y: Any) -> list[int]:
    """One number per row and its outcome, the same for equal ones without NaN."""
    rows: Any
    if isinstance(kept, dict):
        rows = zip(*kept["values"], strict=True)
    elif sparse.issparse(kept):
        table = kept.tocsr(copy=True)
        table.sum_duplicates()
        rows = (
            (*table.indices[a:b], *table.data[a:b]) for a, b in pairwise(table.indptr)
        )
    else:
        rows = map(tuple, kept)
    return [hash(pair) for pair in zip(rows, y, strict=True)]
