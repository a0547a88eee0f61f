"""Which models predict which rows correctly."""

from numbers import Number
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from skdiff._base.typing import BoolArray
from skdiff._base.validation import refuse_dates, refuse_foreign_arrays


def is_continuous(values: Any) -> bool:
    """Whether an array holds numbers that are not whole; objects are looked through."""
    if values.dtype.kind == "O":
        if len({isinstance(v, str) for v in values.ravel()}) > 1:
            raise ValueError("Labels cannot be compared: strings beside other values.")
        return type_of_target(values).startswith("continuous")
    return values.dtype.kind == "f" and bool(np.any(values != np.floor(values)))


def check_labels(y: Any, *predictions: Any, names: Any = None) -> list[Any]:
    """Return labels and predictions as arrays of one length and one kind."""
    names = names or ["y", *"ab"][: len(predictions) + 1]
    arrays = []
    for name, values in zip(names, (y, *predictions), strict=True):
        refuse_foreign_arrays(values, name)
        refuse_dates(values, name)
        array = check_array(values, ensure_2d=False, dtype=None, input_name=name)
        arrays.append(_plain(column_or_1d(array, warn=True)))
        if is_continuous(arrays[-1]):
            raise ValueError(
                f"{name} has continuous values, and this test compares labels. Give "
                "predicted classes, not probabilities; for regressors use "
                "paired_permutation_test or paired_bootstrap_test."
            )
        if arrays[-1].dtype.kind == "O":
            check_classification_targets(arrays[-1])
    check_consistent_length(*arrays)
    _refuse_mixed_labels(names, arrays)
    return arrays


def _plain(values: Any) -> Any:
    """Turn an array of objects into one of numbers where all are numbers."""
    if values.dtype.kind == "O" and all(isinstance(v, Number) for v in values):
        return np.array(values.tolist())
    return values


def _refuse_mixed_labels(names: Any, arrays: list[Any]) -> None:
    """Refuse strings beside numbers, which would never be equal."""
    text = [isinstance(array.ravel()[0], str) for array in arrays]
    if len(set(text)) > 1:
        kinds = ", ".join(
            f"{name} of {'strings' if t else 'numbers'}"
            for name, t in zip(names, text, strict=True)
        )
        raise ValueError(f"Labels cannot be compared: {kinds}.")


def correct_rows(y: Any, *predictions: Any, names: Any = None) -> BoolArray:
    """Return which predictions are right, of shape (n_samples, n_models)."""
    y, *given = check_labels(y, *predictions, names=names)
    return np.column_stack([p == y for p in given])
