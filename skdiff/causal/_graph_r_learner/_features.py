"""Features of neighbourhoods, and folds that keep neighbours together."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from sklearn.utils import check_array

from skdiff._base.typing import Array, IntArray


def check_adjacency(adjacency: Any, n: int) -> sparse.csr_array:
    """Return a square matrix of non-negative weights, one row per row of X."""
    if adjacency is None:
        raise ValueError(
            "GraphRLearner needs `adjacency`: pass adjacency=... , a matrix of shape "
            "(n_samples, n_samples)."
        )
    found = check_array(
        adjacency, accept_sparse="csr", dtype=np.float64, input_name="adjacency"
    )
    if found.shape != (n, n):
        raise ValueError(
            f"adjacency must have one row and one column per row of X: expected shape "
            f"{(n, n)}, got {found.shape}."
        )
    found = sparse.csr_array(found)
    if found.nnz and found.data.min() < 0:
        raise ValueError("adjacency has negative weights; they must be at least 0.")
    return found


def averaging(adjacency: sparse.csr_array) -> sparse.csr_array:
    """Rows scaled to sum one: S x is the mean over neighbours.

    A node without neighbours is its own.
    """
    top = adjacency.max() if adjacency.nnz else 1.0
    A = adjacency / top if top > 0 else adjacency
    degree = np.asarray(A.sum(axis=1)).ravel()
    alone = degree <= 0
    scale = np.where(alone, 0.0, 1.0 / np.where(alone, 1.0, degree))
    return sparse.csr_array(
        sparse.diags_array(scale) @ A + sparse.diags_array(alone.astype(np.float64))
    )


def hop_features(X: Array, S: sparse.csr_array, n_hops: int) -> Array:
    """X, S X, S^2 X, ... side by side (Wu et al., 2019; Frasca et al., 2020)."""
    parts = [X]
    for _ in range(n_hops):
        parts.append(S @ parts[-1])
    return np.hstack(parts)


def clusters(adjacency: sparse.csr_array, count: int) -> IntArray:
    """Label nodes by parts of an ordering in which neighbours stand together."""
    both = sparse.csr_matrix(adjacency + adjacency.T)
    order = reverse_cuthill_mckee(both, symmetric_mode=True)
    labels = np.empty(len(order), dtype=np.int64)
    labels[order] = np.arange(len(order)) * count // len(order)
    return labels
