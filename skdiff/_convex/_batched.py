"""Many small Newton systems over one table, at once."""

from collections.abc import Iterator

import numpy as np

from skdiff._base.typing import Array

# Beyond this many columns the table of products outgrows the gain of one big product.
PAIRS_UP_TO = 120
# A table of products of this many numbers is kept; a larger one is made block by block.
KEPT_CELLS = 4_000_000
# Numbers of a block's temporaries: they stay in the second-level cache.
BLOCK_CELLS = 400_000
_FEWEST = 8  # matrices for which products of pairs pay


def row_blocks(n: int, width: int, cells: int = BLOCK_CELLS) -> Iterator[slice]:
    """Blocks of rows that hold about ``cells`` numbers of the given width."""
    step = max(256, cells // max(width, 1))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def gram(X: Array, w: Array) -> Array:
    """``X' diag(w) X`` without a temporary of the table's size."""
    if X.size <= BLOCK_CELLS:
        return np.asarray((X.T * w) @ X)
    total = np.zeros((X.shape[1], X.shape[1]))
    for rows in row_blocks(len(X), X.shape[1]):
        total += (X[rows].T * w[rows]) @ X[rows]
    return total


class Hessians:
    """Gram matrices ``X' diag(D_k * s) X`` for every row ``D_k`` of D.

    With few columns, the products of all pairs of columns make a batch of Gram matrices
    one matrix product. They are kept where they are few, and otherwise made again for
    each batch, in blocks of rows that stay in the cache.
    """

    def __init__(self, X: Array, s: Array | None = None) -> None:
        self.X, self.s = X, s
        n, d = X.shape
        self.paired = d <= PAIRS_UP_TO
        pairs = d * (d + 1) // 2
        self.tabulated = self.paired and n * pairs <= KEPT_CELLS
        if self.paired:
            rows, columns = np.tril_indices(d)
            # where each entry of the full matrix stands among the pairs
            self.place = np.empty((d, d), dtype=np.intp)
            self.place[rows, columns] = np.arange(pairs)
            self.place[columns, rows] = np.arange(pairs)
        if self.tabulated:
            self.Z = self._products(slice(0, n))

    def _products(self, rows: slice) -> Array:
        """Weighted products of all pairs of columns for some rows."""
        X, d = self.X[rows], self.X.shape[1]
        weighted = X if self.s is None else self.s[rows, None] * X
        Z = np.empty((len(X), d * (d + 1) // 2), np.result_type(X, weighted))
        for k in range(d):
            pairs = slice(k * (k + 1) // 2, (k + 1) * (k + 2) // 2)
            np.multiply(X[:, k : k + 1], weighted[:, : k + 1], Z[:, pairs])
        return Z

    def __call__(self, D: Array) -> Array:
        """Return Gram matrices of shape (len(D), d, d)."""
        n, d = self.X.shape
        if self.tabulated:
            packed: Array = D @ self.Z
        elif self.paired and len(D) >= _FEWEST:
            pairs = d * (d + 1) // 2
            packed = np.zeros((len(D), pairs))
            for rows in row_blocks(n, pairs, 4 * BLOCK_CELLS):
                packed += D[:, rows] @ self._products(rows)
        else:
            s = 1.0 if self.s is None else self.s
            return np.stack([gram(self.X, s * weights) for weights in D])
        return packed[:, self.place.ravel()].reshape(len(D), d, d)


def solve_systems(H: Array, B: Array) -> Array:
    """Solve ``H_k x = B_k`` for matrices (m, d, d) and right-hand sides (m, d, r).

    One singular matrix must not stop the batch: then all get a ridge at the level of
    rounding, and the caller's residuals show which solutions are of use.
    """
    try:
        return np.asarray(np.linalg.solve(H, B), dtype=np.float64)
    except np.linalg.LinAlgError:
        size = np.maximum(np.trace(H, axis1=1, axis2=2), 1e-200)
        ridge = 1e-14 * size[:, None, None] * np.eye(H.shape[1])
        return np.asarray(np.linalg.solve(H + ridge, B), dtype=np.float64)
