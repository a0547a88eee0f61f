"""Reading what stands beside X and y: instruments, treatments, interventions."""

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from skdiff._base.typing import Array
from skdiff._base.validation import refuse_dates, refuse_foreign_arrays


def beside(
    estimator: Any,
    values: Any,
    name: str,
    X: Any,
    *,
    ensure_2d: bool = False,
    method: str = "fit",
) -> Array:
    """Return finite numbers with one row per row of X; refuse their absence.

    One column may come as a vector. With ``ensure_2d`` a matrix is returned, otherwise
    a vector is expected.
    """
    if values is None:
        raise ValueError(
            f"{type(estimator).__name__} needs `{name}`: pass {name}=... to {method}."
        )
    refuse_foreign_arrays(values, name)
    refuse_dates(values, name)
    found = check_array(
        values, ensure_2d=False, dtype=np.float64, input_name=name, estimator=estimator
    )
    check_consistent_length(X, found)
    if ensure_2d:
        return found.reshape(len(found), -1) if found.ndim == 1 else found
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ValueError(f"{name} must have one column. Got shape {found.shape}.")
    return np.asarray(found)


def names_of(values: Any) -> Any:
    """Names of the columns of a frame, where all are strings."""
    columns = getattr(values, "columns", None)
    if columns is None:
        return None
    names = np.asarray(columns, dtype=object)
    return names if all(isinstance(n, str) for n in names) else None


def same_names(before: Any, now: Any, what: str) -> None:
    """Refuse columns with other names, or in another order, than those seen before."""
    if before is None or now is None:
        return
    if list(before) != list(now):
        raise ValueError(
            f"The column names of {what} should match those that were passed during "
            f"fit: {list(before)}. Got {list(now)}."
        )
