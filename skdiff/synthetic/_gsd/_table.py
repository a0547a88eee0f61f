"""Frames and arrays in, frames and arrays out; messages name columns, never values."""

import math
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import IntArray
from skdiff._base.validation import check_X
from skdiff.synthetic._columns import Column, as_numbers
from skdiff.synthetic._schema import TableSchema, cell_values


class Form(NamedTuple):
    """What is public about the form of X: kind of table, names and dtypes."""

    kind: str
    names: tuple[Any, ...]
    dtypes: tuple[str, ...]


class Rows(NamedTuple):
    """The columns of X, and of y where there is one."""

    columns: list[Any]
    form: Form

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0])


def number_of_rows(X: Any) -> int:
    """Number of rows by the form of X alone; zero where it has none."""
    shape = getattr(X, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 0
    return len(X) if hasattr(X, "__len__") else 0


def read(estimator: Any, X: Any, y: Any, target_name: Any) -> Rows:
    """Check the form of X and y; cells are read column by column later."""
    X = checked(estimator, X, reset=True)
    rows = _rows_of(X, getattr(estimator, "feature_names_in_", None))
    if y is None:
        return rows
    if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
        y = y.iloc[:, 0] if hasattr(y, "iloc") else np.asarray(y)[:, 0]
    if getattr(y, "ndim", 1) != 1:
        raise ValueError(f"y must be one column. Got {y.ndim} dimensions.")
    if not hasattr(y, "dtype"):
        known = (target_name, len(rows.columns))
        y = _plain(y, words=_has_words(estimator.schema, known))
    if len(y) != rows.n_rows:
        raise ValueError("X and y have different numbers of rows.")
    form = rows.form
    if target_name in form.names:
        raise ValueError(f"X has a column {target_name!r} already; set target_name.")
    _refuse_complex(y)
    form = Form(
        form.kind, (*form.names, target_name), (*form.dtypes, _dtype_name(y.dtype))
    )
    return Rows([*rows.columns, y], form)


def named(rows: Rows, schema: TableSchema | None) -> Rows:
    """Name the columns of an array as a schema that declares all of them does."""
    names = () if schema is None else schema.names
    whole = len(names) == len(rows.form.names) and rows.form.kind == "array"
    words = all(isinstance(n, str) for n in names)
    if whole and words and not set(names) & set(rows.form.names):
        return rows._replace(form=rows.form._replace(names=names))
    return rows


def checked(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Check a table without reading its cells."""
    if hasattr(X, "columns"):
        X = check_X(estimator, X, reset=reset, skip_check_array=True)
        if not (X.shape[0] and X.shape[1]):
            raise ValueError(
                f"Found a frame of shape {tuple(X.shape)}; at least one row and one "
                "column are required."
            )
        return X
    if not hasattr(X, "dtype"):
        schema = estimator.schema
        known = set() if schema is None else set(schema.names)
        X = _plain(X, words=_has_words(schema, known - {estimator.target_name}))
    _refuse_complex(X)
    if getattr(X, "ndim", 2) < 2:  # scikit-learn's own message quotes the array
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. Reshape your data."
        )
    # cells are read with the schema, and no message may quote one
    return check_X(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)


def _plain(values: Any, *, words: bool) -> Any:
    """Lists as an array. Its dtype follows from what is declared, never from a cell."""
    cells = np.array(values, dtype=object)
    if words:
        return cells
    try:
        return cells.astype(np.float64)
    except (TypeError, ValueError):
        return cells  # refused by the name of the column when it is read


def _has_words(schema: TableSchema | None, names: Any) -> bool:
    """Whether a column is declared with levels that are no numbers."""
    if schema is None:
        return False
    levels = [schema.columns[n] for n in names if n in schema.columns]
    return any(
        not isinstance(level, Real)
        for column in levels
        if isinstance(column, list)
        for level in column
    ) or any(name in schema.other for name in names)


def _refuse_complex(X: Any) -> None:
    """NumPy's own message quotes the array."""
    if getattr(getattr(X, "dtype", None), "kind", "") == "c":
        raise ValueError("Complex data not supported.")


def _rows_of(X: Any, names: Any) -> Rows:
    width = X.shape[1]
    columns = [cell_values(X, j) for j in range(width)]
    if not hasattr(X, "columns"):
        names = tuple(f"x{j}" for j in range(width))
        return Rows(columns, Form("array", names, (_dtype_name(X.dtype),) * width))
    kind = "pandas" if hasattr(X, "iloc") else "polars"
    dtypes = tuple(_dtype_name(dtype) for dtype in X.dtypes)
    if len(set(X.columns)) < width:
        raise ValueError("X has columns of equal names.")
    return Rows(columns, Form(kind, tuple(X.columns), dtypes))


def _dtype_name(dtype: Any) -> str:
    """Name of a dtype without the categories that pandas keeps in it."""
    if getattr(dtype, "byteorder", "=") not in "=|":
        dtype = dtype.newbyteorder("=")
    if getattr(dtype, "kind", "") in ("U", "S") and hasattr(dtype, "itemsize"):
        # without the length of the longest cell
        return "str" if dtype.kind == "U" else "bytes"
    name = str(dtype)
    if name == "category":
        return "ordered" if getattr(dtype, "ordered", False) else "category"
    return name.partition("(")[0]


def is_integer(dtype: str) -> bool:
    """Whether a dtype holds whole numbers."""
    return dtype.lower().startswith(("int", "uint"))


def representable(bounds: tuple[float, float], dtype: str) -> tuple[float, float]:
    """Bounds within what an integer dtype holds, so that no value wraps around."""
    if not is_integer(dtype):
        return bounds
    limits = np.iinfo(dtype.lower())
    least, most = float(limits.min), float(limits.max)
    if most > 2**53:  # the largest integer is no float
        most = float(np.nextafter(most, 0.0))
    low, high = max(bounds[0], least), min(bounds[1], most)
    return (low, high) if low < high else (max(-1.0, least), 1.0)


def around_whole(bounds: tuple[float, float]) -> tuple[float, float]:
    """Bounds with a whole number between them; noise may have bought others."""
    low, high = bounds
    if math.ceil(low) <= math.floor(high):
        return bounds
    return float(math.floor(low)), float(math.ceil(high))


def _is_numeric(dtype: str) -> bool:
    return is_integer(dtype) or dtype.lower().startswith(("float", "double"))


def undeclared(form: Form, declared: TableSchema) -> list[Any]:
    """Numeric columns without bounds; other columns must be declared."""
    found = []
    for name, dtype in zip(form.names, form.dtypes, strict=True):
        if name in declared.columns or name in declared.edges:
            continue
        # arrays of objects hold numbers, or are refused when they are read
        numeric = _is_numeric(dtype) or (form.kind == "array" and dtype == "object")
        if not numeric:
            raise ValueError(
                f"Column {name!r} of X is not numeric, and its levels are not declared."
                " Declare them in a TableSchema; levels are not read from the rows."
            )
        found.append(name)
    return found


def integer_columns(form: Form, declared: TableSchema) -> tuple[Any, ...]:
    """Columns of whole numbers: declared, or of integer dtype in a frame."""
    found = list(declared.integer)
    if form.kind == "array":  # one dtype for all columns need not be a choice
        return tuple(found)
    for name, dtype in zip(form.names, form.dtypes, strict=True):
        numeric = not isinstance(declared.columns.get(name), list)
        if numeric and is_integer(dtype) and name not in (*found, *declared.log):
            found.append(name)
    return tuple(found)


def missing_columns(form: Form, declared: TableSchema) -> tuple[Any, ...]:
    """Columns that may miss values: declared so, and of a dtype that can."""
    found = []
    for name, dtype in zip(form.names, form.dtypes, strict=True):
        wanted = declared.missing is True or name in tuple(declared.missing or ())
        never = form.kind == "pandas" and dtype.startswith(("int", "uint", "bool"))
        if wanted and not (never and dtype != "boolean"):
            found.append(name)
    return tuple(found)


def numbers_of(rows: Rows, name: Any, schema: TableSchema) -> Any:
    """A numeric column whose bounds are to be bought, without what is missing."""
    values = as_numbers(rows.columns[rows.form.names.index(name)], name)
    if np.isinf(values).any():
        raise ValueError(f"Column {name!r} of X contains infinity.")
    absent = np.isnan(values)
    if absent.any() and name not in schema.missing:
        raise ValueError(
            f"Column {name!r} of X contains NaN. Name it in the parameter missing of a "
            "TableSchema if that is a value to be kept."
        )
    return values[~absent]


def encode(rows: Rows, schema: TableSchema) -> IntArray:
    """Codes of all columns."""
    pairs = zip(schema._coded, rows.columns, strict=True)
    return np.stack([column.encode(values) for column, values in pairs], axis=1)


def written(values: dict[Any, Any], form: Form, schema: TableSchema) -> Any:
    """Values by column in the form of X: same kind, order and dtypes."""
    if form.kind == "array":
        return _array(list(values.values()), form.dtypes)
    pairs = zip(schema._coded, form.dtypes, strict=True)
    if form.kind == "polars":
        import polars as pl

        return pl.DataFrame(
            {c.name: _polars_series(pl, values[c.name], dtype) for c, dtype in pairs}
        )
    import pandas as pd

    return pd.DataFrame(
        {c.name: _pandas_series(pd, values[c.name], dtype, c) for c, dtype in pairs}
    )


def _array(columns: list[Any], dtypes: tuple[str, ...]) -> Any:
    """Numbers as float64, or as the integers that they came as; else objects."""
    if all(_is_numeric(dtype) or dtype == "bool" for dtype in dtypes):
        table = np.stack([column.astype(np.float64) for column in columns], axis=1)
        whole = all(is_integer(dtype) for dtype in dtypes)
        if whole and np.all(table == np.floor(table)):
            return table.astype(np.int64)
        return table
    table = np.empty((len(columns[0]), len(columns)), dtype=object)
    for j, column in enumerate(columns):
        table[:, j] = column
    return table


def _pandas_series(pd: Any, values: Any, dtype: str, column: Column) -> Any:
    if dtype in ("category", "ordered"):
        # the declared levels: those that pandas knows may come from the rows
        levels = None if column.levels is None else list(column.levels)
        return pd.Series(pd.Categorical(values, levels, ordered=dtype == "ordered"))
    return pd.Series(values).astype(dtype)


def _polars_series(pl: Any, values: Any, dtype: str) -> Any:
    items = [None if v is None or v != v else v for v in values.tolist()]
    if is_integer(dtype):
        items = [None if v is None else int(v) for v in items]
    return pl.Series(items, dtype=pl.String if dtype == "Enum" else getattr(pl, dtype))
