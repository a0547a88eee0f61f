"""k-means as one layer: assignments, losses and steps (Peng et al., 2022).

Rows ``x``, centres ``c`` and a temperature ``a``: with ``W = 2 a c``, ``b = -a |c|^2``
and ``beta = a |x|^2`` the scaled squared distance is ``a D = beta - W x - b``, so the
nearest centre is the largest output of a linear layer.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp, softmax

Array = NDArray[Any]  # of the precision of the table
Codes = NDArray[np.intp]
CHUNK = 4096  # scores of a chunk stay in the cache


def layer(centers: Array, temperature: float) -> tuple[Array, Array]:
    """Weights and bias of the layer."""
    return 2 * temperature * centers, -temperature * (centers**2).sum(axis=1)


def row_norms(X: Any) -> Array:
    """Squared lengths of rows."""
    if sparse.issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1)).ravel()
    norms: Array = np.einsum("ij,ij->i", X, X)
    return norms


def squared_distances(X: Any, centers: Array) -> Array:
    """Squared distances of shape (n_rows, n_clusters)."""
    D: Array = row_norms(X)[:, None] - 2 * _product(X, centers)
    D += (centers**2).sum(axis=1)
    return np.maximum(D, 0, out=D)


def _product(X: Any, centers: Array) -> Array:
    return np.asarray(X @ centers.T)


def _chunks(X: Any) -> Iterator[slice]:
    for start in range(0, X.shape[0], CHUNK):
        yield slice(start, start + CHUNK)


def nearest(X: Any, centers: Array) -> Codes:
    """The number of each row's nearest centre: the layer's largest output."""
    half = (centers**2).sum(axis=1) / 2
    labels = np.empty(X.shape[0], dtype=np.intp)
    for rows in _chunks(X):
        scores = _product(X[rows], centers)
        scores -= half
        scores.argmax(axis=1, out=labels[rows])
    return labels


def assign(X: Any, centers: Array, norms: Array) -> tuple[Codes, Array]:
    """Each row's nearest centre and the squared distance to it."""
    half = (centers**2).sum(axis=1) / 2
    labels = np.empty(X.shape[0], dtype=np.intp)
    near = norms.copy()
    for rows in _chunks(X):
        scores = _product(X[rows], centers)
        scores -= half
        scores.argmax(axis=1, out=labels[rows])
        near[rows] -= 2 * scores.max(axis=1)
    return labels, np.maximum(near, 0, out=near)


def cluster_sums(X: Any, labels: Codes, k: int) -> tuple[Array, Array]:
    """Sums and numbers of the rows of each cluster."""
    n = X.shape[0]
    pick = sparse.csr_array(
        (np.ones(n, dtype=X.dtype), labels, np.arange(n + 1)), shape=(n, k)
    )
    sums = pick.T @ X
    sums = sums.toarray() if sparse.issparse(sums) else np.asarray(sums)
    return sums, np.bincount(labels, minlength=k).astype(np.float64)


# --- soft assignments ---------------------------------------------------------------


def soft_assignment(D: Array, temperature: float) -> Array:
    """Return ``softmax(-a D)``, row by row."""
    found: Array = softmax(-temperature * D, axis=1)
    return found


def loss_of(D: Array, temperature: float, loss: str) -> float:
    """The objective: inertia, its expectation, or the log-sum-exp under it."""
    if loss == "hard":
        return float(D.min(axis=1).sum())
    if loss == "expected":
        return float((soft_assignment(D, temperature) * D).sum())
    return float(-logsumexp(-temperature * D, axis=1).sum() / temperature)


def pulls(D: Array, temperature: float, loss: str) -> tuple[Array, Array]:
    """Shares of each row in the centres, and how strongly it pulls at each.

    Half the gradient with respect to centre ``c_j`` is ``sum_i v_ij (c_j - x_i)``. For
    the expectation ``v = I (1 - a (D - L))`` with ``L`` the row's loss, which is
    negative for far centres; for the others ``v`` is the share ``I`` itself.
    """
    if loss == "hard":
        shares = np.zeros_like(D)
        shares[np.arange(len(D)), D.argmin(axis=1)] = 1
        return shares, shares
    shares = soft_assignment(D, temperature)
    if loss == "logsumexp":
        return shares, shares
    own = (shares * D).sum(axis=1, keepdims=True)
    return shares, shares * (1 - temperature * (D - own))


def default_temperature(near: Array) -> float:
    """One over the median squared distance to the nearest centre."""
    middle = float(np.median(near))
    return 1 / middle if middle > 0 and np.isfinite(1 / middle) else 1.0


def to_unit(C: Array) -> Array:
    """Rows of length one; rows of zeros stay."""
    length = np.sqrt(row_norms(C))
    return C * (1 / np.where(length > 0, length, 1)).astype(C.dtype)[:, None]


# --- whole tables: Lloyd ------------------------------------------------------------


class Clusters(NamedTuple):
    """What a run ends with; ``near`` are squared distances to the nearest centre."""

    centers: Array
    labels: Codes
    near: Array
    value: float
    n_iter: int


def lloyd(
    X: Any,
    centers: Array,
    *,
    loss: str,
    temperature: float,
    unit: bool,
    max_iter: int,
    tol: float,
) -> Clusters:
    """Alternate assignments and means until neither moves.

    ``unit`` keeps the centres at length one. An empty cluster takes the row farthest
    from its centre, as in scikit-learn's k-means, whose path this is for hard
    assignments.
    """
    labels, norms = np.full(X.shape[0], -1), row_norms(X)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        if loss == "hard":
            new_labels = nearest(X, centers)
            sums, counts = cluster_sums(X, new_labels, len(centers))
            if (counts == 0).any():
                _relocate(X, centers, new_labels, sums, counts)
        else:
            D = squared_distances(X, centers)
            shares = soft_assignment(D, temperature)
            new_labels, counts = D.argmin(axis=1), shares.sum(axis=0)
            sums = np.asarray((X.T @ shares).T)
        filled = np.where(counts > 0, counts, 1)[:, None].astype(centers.dtype)
        new = np.where(counts[:, None] > 0, sums / filled, centers)
        new = to_unit(new) if unit else new
        shift = float(((new - centers) ** 2).sum())
        settled = loss == "hard" and np.array_equal(new_labels, labels)
        centers, labels = new, new_labels
        if settled or shift <= tol:
            break
    labels, near = assign(X, centers, norms)
    value = float(near.sum(dtype=np.float64))
    if loss != "hard":
        value = loss_of(squared_distances(X, centers), temperature, loss)
    return Clusters(centers, labels, near, value, n_iter)


def _relocate(
    X: Any, centers: Array, labels: Codes, sums: Array, counts: Array
) -> None:
    """Give each empty cluster the row farthest from its centre."""
    empty = np.flatnonzero(counts == 0)
    D = squared_distances(X, centers)[np.arange(X.shape[0]), labels]
    if D.max() == 0:  # fewer distinct rows than clusters
        return
    far = np.argpartition(D, -len(empty))[: -len(empty) - 1 : -1]
    for j, row in zip(empty, far, strict=True):
        x = X[[row]].toarray()[0] if sparse.issparse(X) else X[row]
        sums[labels[row]] -= x
        counts[labels[row]] -= 1
        sums[j], counts[j] = x, 1


# --- streams: one batch -------------------------------------------------------------


def online_step(
    X: Any,
    centers: Array,
    counts: Array,
    weight: Array | None,
    *,
    loss: str,
    temperature: float,
    unit: bool,
) -> tuple[Array, Array]:
    """Move each centre by the batch's share in all it has seen.

    ``c += sum_i v_i (x_i - c) / counts``: for hard assignments the rule of mini-batch
    k-means, under which a centre is the mean of its rows.
    """
    shares, pull = pulls(squared_distances(X, centers), temperature, loss)
    if weight is not None:
        shares, pull = shares * weight[:, None], pull * weight[:, None]
    counts = counts + shares.sum(axis=0)
    move = np.asarray((X.T @ pull).T) - pull.sum(axis=0)[:, None] * centers
    rate = np.where(counts > 0, 1 / np.where(counts > 0, counts, 1), 0)
    moved = centers + (rate[:, None] * move).astype(centers.dtype)
    return (to_unit(moved) if unit else moved), counts


def reassign(
    X: Any, centers: Array, counts: Array, ratio: float, rng: np.random.Generator
) -> Array:
    """Move centres that hardly anything reaches to random rows of the batch."""
    dead = np.flatnonzero(counts < ratio * counts.max())
    dead = dead[np.argsort(counts[dead], kind="stable")][: X.shape[0] // 2]
    if not len(dead):
        return centers
    rows = rng.choice(X.shape[0], size=len(dead), replace=False)
    picked = X[rows].toarray() if sparse.issparse(X) else X[rows]
    centers = centers.copy()
    centers[dead] = picked
    return centers
