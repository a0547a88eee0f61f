"""A table of categories as small integers, and back.

Codes count from zero in the order of a column's categories; -1 is a missing cell.
"""

import itertools
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

MISSING = -1
_TEXT, _NUMBER = "text", "number"


class Coding(NamedTuple):
    """What was learned about a table, a place a column.

    ``edges`` are the cuts of a binned column, ``members`` the labels and codes of one
    whose rare labels share a category, ``limits`` the smallest and the largest value of
    a column cut at quantiles and whether all were whole; otherwise None.
    """

    categories: list[Any]
    edges: list[Any]
    members: list[Any]
    limits: list[Any]


def read_column(values: Any, name: Any) -> tuple[Any, Any]:
    """The known values of a column, of one kind, and where it is missing."""
    if values.dtype.kind in "iub":
        return values, np.zeros(len(values), dtype=bool)
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
        return _finite(values[~np.isnan(values)], name), np.isnan(values)
    items = values.tolist()
    # pandas.NA has no truth value; NaN is the only value that differs from itself
    missing = np.array(
        [v is None or type(v).__name__ == "NAType" or v != v for v in items], dtype=bool
    )
    known = [v for v, gone in zip(items, missing, strict=True) if not gone]
    text = sum(isinstance(v, str) for v in known)
    if text and text == len(known):
        return np.array(known, dtype=object), missing
    if text:
        raise TypeError(
            f"Column {name} of X mixes strings with other types. Make it all strings."
        )
    if not all(isinstance(v, numbers.Real | np.bool_) for v in known):
        raise TypeError(
            f"Column {name} of X: each argument must be a string or a number."
        )
    return _finite(np.array(known), name), missing


def _finite(values: Any, name: Any) -> Any:
    if values.dtype == object:  # integers too large for a machine word
        values = values.astype(np.float64)
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(f"Column {name} of X contains inf: infinity is no category.")
    return values


def learn_coding(
    X: Any,
    weight: Any,
    exact: Any,
    names: Sequence[Any],
    *,
    max_categories: int,
    n_bins: int,
) -> Coding:
    """Find the categories of each column.

    Numbers with fractions, or of many values, are cut at quantiles; rare strings
    beyond ``max_categories`` share one category.
    """
    coding = Coding([], [], [], [])
    for j, name in enumerate(names):
        known, missing = read_column(X[:, j], name)
        if not len(known):
            raise ValueError(f"Column {name} of X has nothing but missing values.")
        labels, cuts, members, limits = np.unique(known), None, None, None
        many = len(labels) > max_categories
        if exact[j] or labels.dtype.kind == "b":
            pass
        elif labels.dtype == object:
            if many:
                labels, members = _merge(
                    known, labels, weight[~missing], max_categories
                )
        elif np.any(labels != np.floor(labels)) and len(labels) <= n_bins:
            # measurements: a new number belongs to the nearest
            cuts = labels[:-1] + np.diff(labels) / 2
        elif many or np.any(labels != np.floor(labels)):
            whole = bool(np.all(labels == np.floor(labels)))
            limits = (float(labels[0]), float(labels[-1]), whole)
            labels, cuts = _bins(known, weight[~missing], n_bins)
        coding.categories.append(labels)
        coding.edges.append(cuts)
        coding.members.append(members)
        coding.limits.append(limits)
    return coding


def _merge(known: Any, labels: Any, weight: Any, most: int) -> tuple[Any, Any]:
    """Keep the most frequent labels; the rest share a code, named by its commonest."""
    place = np.searchsorted(labels, known)
    order = np.argsort(-np.bincount(place, weight), kind="stable")
    kept = np.sort(order[: most - 1])
    codes = np.full(len(labels), most - 1)
    codes[kept] = np.arange(most - 1)
    named = np.concatenate([labels[kept], labels[order[most - 1 : most]]])
    return named, (labels, codes)


def _bins(values: Any, weight: Any, n_bins: int) -> tuple[Any, Any]:
    """Medians of the bins between weighted quantiles, and the cuts, both values seen.

    A cut is the smallest value with at least its share of the weight below, so that a
    row of weight two means the same row twice.
    """
    order = np.argsort(values, kind="stable")
    ranked, mass = values[order], np.cumsum(weight[order])

    def quantile(share: Any, low: float, high: float) -> Any:
        wanted = low + share * (high - low)
        # rounding must not carry a quantile past the value that attains it
        return ranked[np.searchsorted(mass, wanted * (1 - 1e-12), side="left")]

    shares = np.arange(1, n_bins) / n_bins
    cuts = np.unique(quantile(shares, 0.0, mass[-1]))
    cuts = cuts[cuts < ranked[-1]]
    below = np.r_[0.0, mass[np.searchsorted(ranked, cuts, side="right") - 1], mass[-1]]
    middles = [quantile(0.5, a, b) for a, b in itertools.pairwise(below)]
    return np.array(middles), cuts


def encode(
    X: Any,
    coding: Coding,
    names: Sequence[Any],
    *,
    refuse_unknown: bool = True,
    skip: int | None = None,
) -> tuple[Any, list[Any]]:
    """Codes of every cell, and the categories per column that were not seen in fit.

    The column ``skip`` is not looked at; its cells count as missing.
    """
    codes = np.full(X.shape, MISSING, dtype=np.int64)
    strangers: list[Any] = []
    for j, name in enumerate(names):
        unknown: Any = []
        if j != skip:
            codes[:, j], unknown = encode_column(X[:, j], coding, j, name)
        if len(unknown) and refuse_unknown:
            some = ", ".join(repr(v) for v in unknown[:3])
            raise ValueError(
                f"Column {name} of X holds categories that were not seen in fit: "
                f"{some}. handle_unknown='missing' treats them as missing cells."
            )
        strangers.append(unknown)
    return codes, strangers


def encode_column(
    values: Any, coding: Coding, j: int, name: Any
) -> tuple[Any, list[Any]]:
    """Codes of one column, and its values that are no category."""
    labels, cuts, members = (part[j] for part in coding[:3])
    codes = np.full(len(values), MISSING, dtype=np.int64)
    known, missing = read_column(values, name)
    if not len(known):
        return codes, []
    if (known.dtype == object) != (labels.dtype == object):
        kinds = [_TEXT if a.dtype == object else _NUMBER for a in (labels, known)]
        raise ValueError(
            f"Column {name} of X was fitted on {kinds[0]}s and holds {kinds[1]}s now."
        )
    if cuts is not None:
        codes[~missing] = np.searchsorted(cuts, known, side="left")
        return codes, []
    merged = None
    if members is not None:
        labels, merged = members
    found = np.searchsorted(labels, known)
    found[found == len(labels)] = 0
    unknown = labels[found] != known
    found = found if merged is None else merged[found]
    codes[~missing] = np.where(unknown, MISSING, found)
    return codes, np.unique(known[unknown]).tolist()


def decode(codes: Any, categories: Sequence[Any]) -> Any:
    """The labels of codes; numbers stay an array of numbers."""
    columns = [labels[codes[:, j]] for j, labels in enumerate(categories)]
    kinds = {labels.dtype.kind for labels in categories}
    if kinds <= set("iuf") or kinds == {"b"}:
        return np.column_stack(columns)
    out = np.empty(codes.shape, dtype=object)
    for j, column in enumerate(columns):
        out[:, j] = column
    return out


def histogram(codes: Any, weight: Any) -> tuple[Any, Any]:
    """Distinct rows and the weights that gather on them.

    ``weight`` may have a column for each node, which then gather apart.
    """
    key = np.zeros(len(codes), dtype=np.int64)
    span = 1
    for j in range(codes.shape[1]):
        width = int(codes[:, j].max()) + 1
        if span * width >= 2**62:
            _, key = np.unique(key, return_inverse=True)
            span = int(key.max()) + 1
        key = key * width + codes[:, j]
        span *= width
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    columns = weight[:, None] if weight.ndim == 1 else weight
    gathered = np.column_stack(
        [np.bincount(place, column, minlength=len(first)) for column in columns.T]
    )
    return codes[first], gathered[:, 0] if weight.ndim == 1 else gathered


def distinct_codes(codes: Any, weight: Any) -> tuple[Any, Any]:
    """Distinct rows, missing cells included, and the weights that gather on them."""
    rows, gathered = histogram(codes - MISSING, weight)  # which counts from zero
    return rows + MISSING, gathered


def indicators(codes: Any, sizes: Sequence[int]) -> Any:
    """Sparse one-hot rows; a missing cell has no entry."""
    known = codes != MISSING
    place = (codes + np.cumsum([0, *sizes[:-1]]))[known]
    ends = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
    shape = (len(codes), sum(sizes))
    return sparse.csr_matrix((np.ones(len(place)), place, ends), shape=shape)


def shares(codes: Any, weight: Any, categories: Sequence[Any]) -> list[Any]:
    """Weighted frequencies of each column's categories among its known cells."""
    found = []
    for j, labels in enumerate(categories):
        known = codes[:, j] != MISSING
        counts = np.bincount(
            codes[known, j], weight[known] if weight.ndim == 1 else None, len(labels)
        )
        found.append(counts / counts.sum())
    return found
