"""Uniform numbers that belong to a row: equal rows get equal numbers in any batch.

A row is hashed cell by cell and the hashes are summed, so that the order of storage,
zeros that are not stored and the kind of table do not matter.
"""

import hashlib
from typing import Any

import numpy as np
from scipy import sparse

from skdiff._base.typing import Array, IntArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: Any) -> Any:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _cells(values: Array, columns: Any) -> Any:
    """Hash of numbers in their columns; zero has the hash zero."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    keys = (np.asarray(columns).astype(np.uint64) + np.uint64(1)) * _GOLDEN
    return np.where(values == 0, np.uint64(0), _mix(_mix(bits) + keys))


def _text(values: Any) -> Array:
    """Numbers that stand for values that are no numbers."""
    known: dict[str, float] = {}
    found = np.empty(len(values))
    for k, value in enumerate(values):
        word = str(value)
        if word not in known:
            digest = hashlib.blake2b(word.encode(), digest_size=6).digest()
            known[word] = 1.0 + int.from_bytes(digest, "little")
        found[k] = known[word]
    return found


def _numbers(column: Any) -> Array:
    """A column as numbers, whatever it holds."""
    values = np.asarray(column)
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return _text(values.tolist())


def row_hashes(X: Any) -> Any:
    """Return one unsigned integer per row of an array, sparse matrix or frame."""
    with np.errstate(over="ignore"):
        if sparse.issparse(X):
            X = X.tocsr(copy=True)
            X.sum_duplicates()
            hashes = np.append(np.uint64(0), _cells(X.data, X.indices))
            total = np.cumsum(hashes, dtype=np.uint64)
            return total[X.indptr[1:]] - total[X.indptr[:-1]]
        if hasattr(X, "columns"):
            columns = [_numbers(X[name]) for name in X.columns]
        elif X.dtype.kind in "biuf":
            columns = list(np.asarray(X, dtype=np.float64).T)
        else:
            columns = [_numbers(column) for column in X.T]
        total = np.zeros(X.shape[0], dtype=np.uint64)
        for j, column in enumerate(columns):
            total += _cells(column, j)
        return total


def told_apart(hashes: Any) -> Any:
    """Give equal hashes different ones, by their places among their equals.

    The first of equal rows keeps its hash, so that it has the draw that it has alone.
    """
    order = np.argsort(hashes, kind="stable")
    ordered = np.asarray(hashes)[order]
    place = np.arange(len(ordered))
    first = np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
    place = place - np.maximum.accumulate(np.where(first, place, 0))
    found = ordered.copy()
    with np.errstate(over="ignore"):
        again = place > 0
        found[again] = _mix(ordered[again] + place[again].astype(np.uint64) * _GOLDEN)
    apart = np.empty_like(found)
    apart[order] = found
    return apart


def uniforms(X: Any, codes: IntArray, seed: int) -> Array:
    """Return one number in [0, 1) per row, from the row, its group and a seed."""
    return uniforms_of(row_hashes(X), codes, seed)


def uniforms_of(hashes: Any, codes: Any, seed: int) -> Array:
    """Return one number in [0, 1) per hash of a row; ``codes`` tell draws apart."""
    with np.errstate(over="ignore"):
        key = _mix(np.array([seed + 1], dtype=np.uint64) * _GOLDEN)
        group = _mix((np.asarray(codes) + 2).astype(np.uint64) * _GOLDEN)
        hashes = _mix(_mix(hashes + key) + group)
    return np.asarray((hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53)
