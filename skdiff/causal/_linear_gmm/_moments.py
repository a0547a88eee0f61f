"""Sums that hold all that instruments, regressors and target say about the moments.

Notation: a row has instruments z, and v = (x, 1, y) or (x, y); with theta =
(-beta, 1) the residual is u = v'theta. The moments of the second step are
``S(theta) = mean u^2 z z'``, which is linear in theta theta' and in the sums of
``(z z') (v v')``. So one pass over the rows serves every theta; the order of the rows
and their blocks change rounding only.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from skdiff._base.typing import Array, IntArray

_BLOCK = 2048  # rows whose products fit in the cache


class Reference(NamedTuple):
    """Fixed shift and scale of the columns, so that fourth powers keep their digits.

    With a constant among instruments and regressors the estimators do not depend on
    either; without one nothing is shifted.
    """

    z_shift: Array
    z_scale: Array
    v_shift: Array
    v_scale: Array
    constant: bool


def reference(Z: Array, V: Array, constant: bool) -> Reference:
    """Means and largest distances from them in the first block."""
    return Reference(*_span(Z, constant), *_span(V, constant), constant)


def _span(A: Array, constant: bool) -> tuple[Array, Array]:
    largest = np.abs(A).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    shift = (A / unit).mean(axis=0) * unit if constant else np.zeros(A.shape[1])
    scale = np.abs(A - shift).max(axis=0)
    # one row, or a constant column, has no spread to go by
    return shift, np.where(scale > 1e-12 * largest, scale, unit)


def standard(ref: Reference, Z: Array, V: Array) -> tuple[Array, Array]:
    """Rows in the units of the reference, with the constant where there is one."""
    Z = (Z - ref.z_shift) / ref.z_scale
    V = (V - ref.v_shift) / ref.v_scale
    if not ref.constant:
        return Z, V
    one = np.ones((len(Z), 1))
    return np.hstack([Z, one]), np.hstack([V[:, :-1], one, V[:, -1:]])


class Sums(NamedTuple):
    """Weighted sums over the rows seen so far."""

    n: float
    zz: Array  # (q, q)
    zv: Array  # (q, m)
    vv: Array  # (m, m)
    fourth: Array  # (q (q + 1) / 2, m (m + 1) / 2), or empty where not kept


def state_size(q: int, m: int) -> int:
    """Number of entries of the sums of fourth powers."""
    return q * (q + 1) * m * (m + 1) // 4


def sums(Z: Array, V: Array, w: Array, ref: Reference, fourth: bool) -> Sums:
    """Sums of one block of rows, in the units of the reference."""
    if not fourth:
        Z, V = standard(ref, Z, V)
        weighted = Z * w[:, None]
        vv = (V * w[:, None]).T @ V
        n = float(w.sum())
        return Sums(n, weighted.T @ Z, weighted.T @ V, vv, np.empty((0, 0)))
    found = _fourth(Z, V, w, ref)
    if not ref.constant:
        return sums(Z, V, w, ref, False)._replace(fourth=found)
    # products with the constant are the second moments, and its own the weight
    q, m = Z.shape[1] + 1, V.shape[1] + 1
    by_z, by_v = _index(q)[-1], _index(m)[m - 2]
    zz, vv = _square(found[:, by_v[m - 2]], q), _square(found[by_z[-1]], m)
    return Sums(float(w.sum()), zz, found[np.ix_(by_z, by_v)], vv, found)


def _index(size: int) -> IntArray:
    """Where the product of two columns stands among the pairs, (size, size)."""
    at = np.zeros((size, size), dtype=np.int64)
    i, j = np.triu_indices(size)
    at[i, j] = at[j, i] = np.arange(len(i))
    return at


def _fourth(Z: Array, V: Array, w: Array, ref: Reference) -> Array:
    """Sums of products of pairs of columns, each pair once."""
    q, m = Z.shape[1] + ref.constant, V.shape[1] + ref.constant
    left, right = (
        np.empty((q * (q + 1) // 2, _BLOCK)),
        np.empty((m * (m + 1) // 2, _BLOCK)),
    )
    equal = bool(np.all(w == 1.0))
    found = np.zeros((len(left), len(right)))
    for start in range(0, len(Z), _BLOCK):
        rows = slice(start, start + _BLOCK)
        z, v = _columns(ref, Z[rows], V[rows])
        size = z.shape[1]
        zz, vv = left[:, :size], right[:, :size]
        _products(z, zz)
        _products(v, vv)
        if not equal:
            zz *= w[rows]
        found += zz @ vv.T
    return found


def _columns(ref: Reference, Z: Array, V: Array) -> tuple[Array, Array]:
    """Transposed rows in the units of the reference."""
    c, n = int(ref.constant), len(Z)
    z, v = np.ones((Z.shape[1] + c, n)), np.ones((V.shape[1] + c, n))
    k = V.shape[1] - 1
    z[: Z.shape[1]] = (Z.T - ref.z_shift[:, None]) / ref.z_scale[:, None]
    v[:k] = (V[:, :k].T - ref.v_shift[:k, None]) / ref.v_scale[:k, None]
    v[-1] = (V[:, k] - ref.v_shift[k]) / ref.v_scale[k]
    return z, v


def _products(rows: Array, out: Array) -> None:
    """Products of each row with itself and those after it."""
    start = 0
    for k in range(len(rows)):
        stop = start + len(rows) - k
        np.multiply(rows[k:], rows[k], out=out[start:stop])
        start = stop


def add(first: Sums, second: Sums) -> Sums:
    """Sums of both blocks."""
    return Sums(
        first.n + second.n,
        first.zz + second.zz,
        first.zv + second.zv,
        first.vv + second.vv,
        first.fourth + second.fourth,
    )


class Source(Protocol):
    """Where the moments that depend on the coefficients come from."""

    def weights(self, theta: Array) -> Array:
        """Return ``S(theta) = mean (v'theta)^2 z z'``, of shape (q, q)."""

    def curvature(self, lam: Array) -> Array:
        """Return ``mean (z'lam)^2 v v'``, of shape (m, m)."""


@dataclass(frozen=True)
class Stored:
    """Moments from sums: no row is needed any more."""

    n: float
    fourth: Array
    q: int
    m: int

    def weights(self, theta: Array) -> Array:
        """Contract the sums with theta theta'."""
        return _square(self.fourth @ _pairs(theta), self.q) / self.n

    def curvature(self, lam: Array) -> Array:
        """Contract the sums with lam lam'."""
        return _square(self.fourth.T @ _pairs(lam), self.m) / self.n


@dataclass(frozen=True)
class Rows:
    """Moments from the rows themselves, where their sums would be too large."""

    Z: Array
    V: Array
    w: Array

    def weights(self, theta: Array) -> Array:
        """One pass over the rows."""
        return _weighted_gram(self.Z, self.w * (self.V @ theta) ** 2) / self.w.sum()

    def curvature(self, lam: Array) -> Array:
        """One pass over the rows."""
        return _weighted_gram(self.V, self.w * (self.Z @ lam) ** 2) / self.w.sum()


@dataclass(frozen=True)
class Running:
    """One estimate of the moments, made while the rows passed by."""

    S: Array

    def weights(self, theta: Array) -> Array:
        """Return the estimate, whatever theta."""
        return self.S

    def curvature(self, lam: Array) -> Array:
        """Refuse: the continuously updated estimator needs the sums."""
        raise TypeError("The state of streaming='sgmm' holds no curvature.")


def _weighted_gram(A: Array, w: Array) -> Array:
    return np.asarray((A * w[:, None]).T @ A)


def _pairs(a: Array) -> Array:
    """Products of the entries, each pair once, with its multiplicity."""
    i, j = np.triu_indices(len(a))
    return np.asarray(a[i] * a[j] * np.where(i == j, 1.0, 2.0))


def _square(upper: Array, size: int) -> Array:
    """Symmetric matrix of its upper triangle."""
    full = np.zeros((size, size))
    full[np.triu_indices(size)] = upper
    return full + np.triu(full, 1).T
