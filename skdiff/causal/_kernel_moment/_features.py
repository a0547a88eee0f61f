"""Random cosines of columns that are put on their ranks."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array

_PAIRS = 500  # rows whose distances give the bandwidth


def ranked(A: Array, by: Array) -> Array:
    """Columns on the ranks of ``by``, of mean zero and variance one.

    A rank spreads the resolution of a kernel evenly over the rows, whatever the tails;
    values between those of ``by`` are interpolated, and equal values share a rank.
    """
    out = np.zeros(A.shape)
    for j in range(A.shape[1]):
        values, counts = np.unique(by[:, j], return_counts=True)
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        out[:, j] = np.interp(A[:, j], values, middle)
    return (out - 0.5) * np.sqrt(12.0)


class Cosines(NamedTuple):
    """Random Fourier features of a Gaussian kernel (Rahimi and Recht, 2007)."""

    frequencies: Array
    phases: Array

    def of(self, A: Array) -> Array:
        """Features of rows."""
        size = len(self.phases)
        found: Array = np.cos(A @ self.frequencies + self.phases)
        return np.sqrt(2.0 / size) * found


def bandwidth(A: Array) -> float:
    """Root of half the median squared distance between rows."""
    B = A[:: max(1, len(A) // _PAIRS)][:_PAIRS]
    squares = ((B[:, None] - B) ** 2).sum(axis=2)[np.triu_indices(len(B), 1)]
    middle = float(np.median(squares)) if len(squares) else 0.0
    if not middle > 0:  # most rows are equal
        middle = float(squares.mean()) if len(squares) and squares.any() else 2.0
    return float(np.sqrt(0.5 * middle))


def cosines(A: Array, size: int, rng: np.random.RandomState) -> Cosines:
    """Draw features for the kernel of the rows' bandwidth."""
    frequencies = rng.standard_normal((A.shape[1], size)) / bandwidth(A)
    return Cosines(frequencies, rng.uniform(0, 2 * np.pi, size))
