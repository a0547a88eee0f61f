"""Labelled and new rows as one table of the caller's kind."""

import io
from typing import Any

import numpy as np
from scipy import sparse


def stack_rows(X: Any, Y: Any) -> Any:
    """Return the rows of X and then those of Y, as a table of the kind of X."""
    kind = type(X).__module__.partition(".")[0]
    if kind == "polars" and hasattr(X, "columns"):
        import polars

        Y = Y if hasattr(Y, "columns") else polars.DataFrame(np.asarray(Y), X.columns)
        return polars.concat([X, Y], how="vertical_relaxed")
    if hasattr(X, "iloc"):
        import pandas as pd

        Y = Y if hasattr(Y, "iloc") else pd.DataFrame(np.asarray(Y), columns=X.columns)
        return pd.concat([*_of_same_categories(X, Y)], ignore_index=True)
    if sparse.issparse(X) or sparse.issparse(Y):
        return sparse.vstack([X, Y], format="csr")
    return np.concatenate([np.asarray(X), np.asarray(Y)])


def _of_same_categories(X: Any, Y: Any) -> tuple[Any, Any]:
    """Give categorical columns of both the same categories, so that they stay so."""
    import pandas as pd

    X, Y = X.copy(deep=False), Y.copy(deep=False)
    for i in range(X.shape[1]):  # by place: names may be given twice
        old, new = X.iloc[:, i], Y.iloc[:, i]
        kinds = (
            isinstance(old.dtype, pd.CategoricalDtype),
            isinstance(new.dtype, pd.CategoricalDtype),
        )
        if all(kinds) and old.dtype != new.dtype:
            extra = [c for c in new.cat.categories if c not in set(old.cat.categories)]
            old = old.cat.add_categories(extra)
            dtype = pd.CategoricalDtype(old.cat.categories, old.cat.ordered)
            X.isetitem(i, old)
            Y.isetitem(i, new.astype(dtype))
    return X, Y


# --- a table as arrays and plain values, which every file can hold --------------------


def pack(X: Any) -> Any:
    """Return a frame or a sparse table as a dictionary, an array as it is."""
    kind = type(X).__module__.partition(".")[0]
    if kind == "polars":
        buffer = io.BytesIO()
        X.write_ipc(buffer)
        return {"frame": "polars", "ipc": np.frombuffer(buffer.getvalue(), np.uint8)}
    if sparse.issparse(X):
        X = X.tocsr()
        parts = (X.data, X.indices, X.indptr)
        kind = "array" if isinstance(X, sparse.sparray) else "matrix"
        return {"frame": kind, "parts": parts, "shape": tuple(map(int, X.shape))}
    if not hasattr(X, "iloc"):
        return X
    columns = [_packed_column(X.iloc[:, i]) for i in range(X.shape[1])]
    return {"frame": "pandas", "names": X.columns.tolist(), "columns": columns}


def _packed_column(column: Any) -> dict[str, Any]:
    dtype = str(column.dtype)
    if dtype == "category":
        return {
            "dtype": dtype,
            "codes": column.cat.codes.to_numpy(),
            "categories": column.cat.categories.tolist(),
            "ordered": bool(column.cat.ordered),
        }
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return {"dtype": dtype, "values": column.to_numpy()}
    missing = column.isna().to_numpy()
    values = [None if m else v for m, v in zip(missing, column.tolist(), strict=True)]
    return {"dtype": dtype, "values": values}


def unpack(X: Any) -> Any:
    """Return the table of which :func:`pack` made a dictionary."""
    if not isinstance(X, dict):
        return X
    if X["frame"] == "polars":
        import polars

        return polars.read_ipc(io.BytesIO(X["ipc"].tobytes()))
    if X["frame"] in ("array", "matrix"):
        kind = sparse.csr_array if X["frame"] == "array" else sparse.csr_matrix
        return kind(tuple(X["parts"]), shape=tuple(X["shape"]))
    import pandas as pd

    columns = dict(enumerate(map(_unpacked_column, X["columns"])))
    frame = pd.DataFrame(columns)
    frame.columns = X["names"]
    return frame


def _unpacked_column(packed: dict[str, Any]) -> Any:
    import pandas as pd

    if packed["dtype"] == "category":
        return pd.Categorical.from_codes(
            packed["codes"], packed["categories"], ordered=packed["ordered"]
        )
    return pd.Series(packed["values"], dtype=packed["dtype"])
