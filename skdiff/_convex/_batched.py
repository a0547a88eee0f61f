"""Many small Newton systems over one table, at once."""

import numpy as np

from skdiff._base.typing import Array

# Beyond this many columns the table of products outgrows the gain of one big product.
PAIRS_UP_TO = 120


class Hessians:
    """Gram matrices ``X' diag(D_k * s) X`` for every row ``D_k`` of D.

    With few columns, the products of all pairs of columns are tabulated once and a
    batch of Gram matrices is one matrix product.
    """

    def __init__(self, X: Array, s: Array | None = None) -> None:
        self.X = X
        self.weighted = X if s is None else s[:, None] * X
        d = X.shape[1]
        self.tabulated = d <= PAIRS_UP_TO
        if self.tabulated:
            rows, columns = np.tril_indices(d)
            self.Z = np.empty((len(X), len(rows)), np.result_type(X, self.weighted))
            for k in range(d):  # no temporary of the table's size
                pairs = slice(k * (k + 1) // 2, (k + 1) * (k + 2) // 2)
                np.multiply(
                    X[:, k : k + 1], self.weighted[:, : k + 1], self.Z[:, pairs]
                )
            # where each entry of the full matrix stands among the pairs
            self.place = np.empty((d, d), dtype=np.intp)
            self.place[rows, columns] = np.arange(len(rows))
            self.place[columns, rows] = np.arange(len(rows))

    def __call__(self, D: Array) -> Array:
        """Return Gram matrices of shape (len(D), d, d)."""
        if self.tabulated:
            packed: Array = (D @ self.Z)[:, self.place.ravel()]
            return packed.reshape(len(D), *self.place.shape)
        return np.stack([(self.X.T * weights) @ self.weighted for weights in D])


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
