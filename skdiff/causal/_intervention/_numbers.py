"""Representations that move linearly with the interventions, and what follows.

Notation: rows of A are interventions (n, q), Z = M0 A + V with V independent of A, X is
an injective function of Z, and Y = l(Z) + U with U and V dependent. An encoder phi with
E[phi(X) - W A - alpha | A] = 0 that keeps X reconstructible is Z up to an affine map
(Saengkyongam et al., 2024, theorem 4). The maximum moment restriction measures the
condition by

    MMR = (1 / n^2) sum_ij r_i' r_j k(A_i, A_j),    r = phi(X) - W A - alpha,

with W and alpha from least squares and k a Gaussian kernel of median bandwidth.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist, squareform

from skdiff._base.typing import Array

MOST_ROWS = 2000  # of a kernel matrix
N_WEIGHTS = 6  # of the moment restriction that are tried
LOST = 0.01  # of the variance of X, by the restriction of its code
_ROUNDING = 1e-9  # of the largest eigenvalue: directions that A does not move


class Line(NamedTuple):
    """The representation as a linear function of the interventions."""

    W: Array  # (latents, interventions)
    alpha: Array  # (latents,)

    def at(self, A: Array) -> Array:
        """Return the mean representation under each row of A."""
        return np.asarray(A @ self.W.T + self.alpha)


def fit_line(phi: Array, A: Array) -> Line:
    """Least squares of the representation on the interventions."""
    centre, middle = A.mean(axis=0), phi.mean(axis=0)
    W = np.linalg.lstsq(A - centre, phi - middle, rcond=None)[0].T
    return Line(W, middle - W @ centre)


def gaussian_kernel(A: Array) -> Array:
    """Gaussian kernel of standardised columns, its bandwidth the median distance."""
    scale = A.std(axis=0)
    squares = pdist(A / np.where(scale > 0, scale, 1.0), "sqeuclidean")
    positive = squares[squares > 0]
    median = float(np.median(positive)) if len(positive) else 1.0
    return np.asarray(np.exp(-squareform(squares) / median))


def restriction(A: Array) -> Array:
    """Return ``M K M / n^2``: the MMR of any columns as a quadratic form.

    M takes the residual of least squares on A and a constant.
    """
    n = len(A)
    design = np.column_stack([np.ones(n), A - A.mean(axis=0)])
    U, S, _ = np.linalg.svd(design, full_matrices=False)
    basis = U[:, S.max() * n * np.finfo(float).eps < S]
    K = gaussian_kernel(A)
    K -= basis @ (basis.T @ K)
    K -= (K @ basis) @ basis.T
    return np.asarray(K / n**2)


def linear_encoder(X: Array, A: Array, n_latents: int, weight: float) -> Array:
    """Return the encoder (columns, latents) of centred rows that minimises the loss.

    The loss is reconstruction by the best linear decoder plus ``weight`` times MMR, of
    codes with identity covariance. With S the covariance of X and Q its MMR form both
    are traces: the encoder is ``S^(-1/2)`` times the lowest eigenvectors of
    ``weight S^(-1/2) Q S^(-1/2) - S``.
    """
    values, vectors = np.linalg.eigh(X.T @ X / len(X))
    kept = values > values.max() * len(values) * 1e-10
    root = vectors[:, kept] / np.sqrt(values[kept])
    white = X @ root
    Q = white.T @ restriction(A) @ white
    loss = weight * Q - np.diag(values[kept])
    found = np.linalg.eigh((loss + loss.T) / 2)[1]
    return np.asarray(root @ found[:, :n_latents])


def lighter(weight: float) -> list[float]:
    """Weights to try, the largest first, the last one none at all."""
    return [weight / 10**k for k in range(N_WEIGHTS)] + [0.0]


def choose_linear_encoder(
    X: Array, A: Array, n_latents: int, weight: float
) -> tuple[Array, float]:
    """Return the encoder of the largest weight that still reconstructs X, and it.

    A large weight prefers what the interventions do not move, or chance.
    """

    def lost(B: Array) -> float:
        code = X @ B  # of identity covariance
        explained = float(np.sum((X.T @ code) ** 2)) / len(X) ** 2
        return float(np.mean(np.sum(X * X, axis=1))) - explained

    least = lost(linear_encoder(X, A, n_latents, 0.0))
    for tried in lighter(weight):
        B = linear_encoder(X, A, n_latents, tried)
        if lost(B) <= least + LOST * X.shape[1]:
            break
    return B, tried


class Canonical(NamedTuple):
    """An affine map to coordinates that do not depend on those of the encoder."""

    centre: Array  # (latents,)
    map: Array  # (latents, kept)

    def __call__(self, phi: Array) -> Array:
        """Map representations."""
        return np.asarray((phi - self.centre) @ self.map)

    def direction(self, v: Array) -> Array:
        """Map differences of representations."""
        return np.asarray(v @ self.map)


def canonical(phi: Array, V: Array, line: Line, A: Array) -> Canonical:
    """Return coordinates in which V is white and A moves one axis after the other.

    They are eigenvectors of what A moves against the covariance of V. Axes that A does
    not move are told apart by the fourth moments of V. Signs make third moments
    positive. Any affine map of phi leads to the same coordinates.
    """
    n = len(phi)
    noise = V.T @ V / n
    values, vectors = np.linalg.eigh(noise)
    scale = phi.std(axis=0).max() ** 2
    kept = values > max(values.max() * 1e-12, scale * 1e-15)
    if not kept.any():  # nothing varies beside A: the line itself is the coordinate
        values, vectors = np.linalg.eigh(np.cov(phi.T, bias=True).reshape(noise.shape))
        kept = values > values.max() * 1e-12
    white = vectors[:, kept] / np.sqrt(values[kept])
    moved = (A - A.mean(axis=0)) @ (line.W.T @ white)
    strength, turn = np.linalg.eigh(moved.T @ moved / n)
    strength, turn = strength[::-1], turn[:, ::-1]
    still = strength <= _ROUNDING * max(strength.max(), 1.0)
    if still.sum() > 1:
        some = V @ white @ turn[:, still]
        fourth = (some * (some**2).sum(axis=1, keepdims=True)).T @ some / n
        turn[:, still] = turn[:, still] @ np.linalg.eigh(fourth)[1]
    full = white @ turn
    third = ((V @ full) ** 3).sum(axis=0)
    return Canonical(phi.mean(axis=0), full * np.where(third < 0, -1.0, 1.0))


def linearity_test(phi: Array, A: Array, n_draws: int, seed: int) -> float:
    """p-value of E[phi - W A - alpha | A] = 0, by a wild bootstrap of the MMR."""
    rng = np.random.default_rng(seed)
    if len(phi) > MOST_ROWS:
        chosen = np.sort(rng.choice(len(phi), MOST_ROWS, replace=False))
        phi, A = phi[chosen], A[chosen]
    R = phi - fit_line(phi, A).at(A)
    scale = R.std(axis=0)
    R = R / np.where(scale > 0, scale, 1.0)
    form = restriction(A)
    found = float(np.sum(R * (form @ R)))
    larger = 0
    for _ in range(n_draws):
        signs = rng.choice((-1.0, 1.0), size=len(R))
        moved = R * signs[:, None]
        larger += float(np.sum(moved * (form @ moved))) >= found
    return (1 + larger) / (n_draws + 1)


def outside(rows: Array, seen: Array) -> float:
    """Fraction of rows beyond the range of those seen, in any coordinate."""
    low, high = seen.min(axis=0), seen.max(axis=0)
    return float(np.mean(np.any((rows < low) | (rows > high), axis=1)))
