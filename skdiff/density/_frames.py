"""Rows of categories as the kind of DataFrame that a model was fitted on."""

from collections.abc import Sequence
from typing import Any

Description = dict[str, Any]


def describe_frame(X: Any) -> Description | None:
    """Library, names and dtypes of a DataFrame in plain values; None for an array."""
    if hasattr(X, "iloc"):
        dtypes = [_describe_pandas(dtype) for dtype in X.dtypes]
        return {"library": "pandas", "names": list(X.columns), "dtypes": dtypes}
    if hasattr(X, "with_columns"):
        dtypes = [_describe_polars(dtype) for dtype in X.dtypes]
        return {"library": "polars", "names": list(X.columns), "dtypes": dtypes}
    return None


def _describe_pandas(dtype: Any) -> Any:
    if str(dtype) == "category":
        return {
            "categories": dtype.categories.tolist(),
            "of": str(dtype.categories.dtype),
            "ordered": bool(dtype.ordered),
        }
    return str(dtype)


def _describe_polars(dtype: Any) -> Any:
    name = type(dtype).__name__
    if name == "Enum":
        return {"categories": dtype.categories.to_list()}
    return name


def build_frame(columns: Sequence[Any], description: Description) -> Any:
    """A DataFrame of the described kind from one array per column."""
    names, dtypes = description["names"], description["dtypes"]
    if description["library"] == "pandas":
        import pandas as pd

        # built by place, for names may repeat or be of any kind
        parts = [_pandas_column(pd, c, d) for c, d in zip(columns, dtypes, strict=True)]
        frame = pd.concat(parts, axis=1, ignore_index=True)
        frame.columns = names
        return frame
    import polars as pl

    return pl.DataFrame(
        [
            pl.Series(name, c.tolist()).cast(_polars_dtype(pl, d))
            for name, c, d in zip(names, columns, dtypes, strict=True)
        ]
    )


def _pandas_column(pd: Any, values: Any, dtype: Any) -> Any:
    if isinstance(dtype, dict):
        labels = pd.Index(dtype["categories"], dtype=dtype["of"])
        dtype = pd.CategoricalDtype(labels, ordered=dtype["ordered"])
    return pd.Series(values.tolist()).astype(dtype)


def _polars_dtype(pl: Any, dtype: Any) -> Any:
    if isinstance(dtype, dict):
        return pl.Enum(dtype["categories"])
    return getattr(pl, dtype)


def fill_polars(X: Any, filled: dict[int, tuple[Any, Any]]) -> Any:
    """A polars frame with some cells replaced: by column, rows and values."""
    import polars as pl

    changed = []
    for j, (rows, values) in filled.items():
        name, cells = X.columns[j], X.get_column(X.columns[j]).to_list()
        for row, value in zip(rows.tolist(), values.tolist(), strict=True):
            cells[row] = value
        changed.append(pl.Series(name, cells, dtype=X.dtypes[j], strict=False))
    return X.with_columns(changed)
