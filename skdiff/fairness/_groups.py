"""Labels of groups: any hashable values, one per row, read alike everywhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray

_MISSING = ("NAType", "NaTType", "NoneType")


def read_groups(values: Any, n_samples: int, where: str) -> Any:
    """Return ``sensitive_features`` as a one-dimensional array of ``n_samples`` labels.

    ``where`` is the function that messages name.
    """
    if values is None:
        raise ValueError(f"{where} requires sensitive_features, the group of each row.")
    labels: Any = _one_dimensional(values)
    if labels.ndim != 1:
        raise ValueError(
            "sensitive_features must be one-dimensional, got an array of shape "
            f"{labels.shape}. Combine several columns into one label."
        )
    if len(labels) != n_samples:
        raise ValueError(
            f"sensitive_features has {len(labels)} entries for {n_samples} rows."
        )
    return labels


def _one_dimensional(values: Any) -> Any:
    """An array; a list of tuples keeps its tuples as labels."""
    tuples = isinstance(values, list | tuple) and any(
        isinstance(v, tuple | frozenset) for v in values
    )
    if tuples:
        labels = np.empty(len(values), dtype=object)
        labels[:] = values
        return labels
    if isinstance(values, list | tuple) and len({type(v) for v in values}) > 1:
        return np.array(values, dtype=object)  # numbers beside text stay numbers
    array: Any = np.asarray(values)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def missing_labels(labels: Any) -> Any:
    """Mask of the labels that are None or NaN."""
    if labels.dtype.kind in "biuUS":
        return np.zeros(len(labels), dtype=bool)
    if labels.dtype.kind == "f":
        return np.isnan(labels)
    return np.fromiter(
        (
            type(v).__name__ in _MISSING or (isinstance(v, float) and v != v)
            for v in labels
        ),
        dtype=bool,
        count=len(labels),
    )


def refuse_missing(labels: Any) -> None:
    """Raise where a row has no group."""
    if (gone := missing_labels(labels)).any():
        raise ValueError(
            f"sensitive_features has {int(gone.sum())} missing values, the first in "
            f"row {int(np.argmax(gone))}. Give these rows a label, or leave them out."
        )


def encode_groups(labels: Any) -> tuple[list[Any], IntArray]:
    """Return the sorted labels, and the code of each row."""
    refuse_missing(labels)
    if labels.dtype.kind != "O":
        found, codes = np.unique(labels, return_inverse=True)
        return found.tolist(), codes.astype(np.int64)
    distinct = list(dict.fromkeys(labels.tolist()))
    try:
        distinct.sort()
    except TypeError:  # labels of several kinds
        distinct.sort(key=lambda v: (type(v).__name__, str(v)))
    return distinct, group_codes(labels, distinct)


def group_codes(labels: Any, known: Sequence[Any]) -> IntArray:
    """Return the position of each label in ``known``, -1 where it is not there."""
    if labels.dtype.kind != "O":
        found, inverse = np.unique(labels, return_inverse=True)
        where = {label: k for k, label in enumerate(known)}
        places = [where.get(label, -1) for label in found.tolist()]
        return np.array(places, dtype=np.int64)[inverse.ravel()]
    where = {label: k for k, label in enumerate(known)}
    return np.fromiter(
        (where.get(v, -1) for v in labels.tolist()), dtype=np.int64, count=len(labels)
    )


def label_array(labels: Sequence[Any]) -> Any:
    """Return labels as an array that keeps tuples whole."""
    kinds = {type(v) for v in labels}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return np.array(labels)
    array = np.empty(len(labels), dtype=object)
    array[:] = labels
    return array


def require_two_groups(labels: Sequence[Any]) -> None:
    """Raise where there is nothing to compare."""
    if len(labels) < 2:
        raise ValueError(
            "sensitive_features needs at least two groups; it has one group only, "
            f"{labels[0]!r}."
        )


def require_both_classes(y: IntArray, classes: Any) -> None:
    """Raise where rows of weight zero have taken a class away."""
    if len(np.unique(y)) < 2:
        raise ValueError(
            "The rows of positive weight have one class only, "
            f"{classes[y[0]]!r}; two are needed."
        )


def require_both_labels(
    groups: Sequence[Any], codes: IntArray, y: IntArray, weight: Array, classes: Any
) -> None:
    """Raise and name the group where a label is missing among its rows."""
    for k, name in enumerate(classes):
        mass = np.bincount(codes[y == k], weight[y == k], minlength=len(groups))
        if not np.all(mass > 0):
            group = groups[int(np.argmin(mass > 0))]
            label = name.item() if hasattr(name, "item") else name
            raise ValueError(
                f"Group {group!r} of sensitive_features has no row with the label "
                f"{label!r}; its rates are not defined. Merge it with another group, "
                "or leave its rows out."
            )
