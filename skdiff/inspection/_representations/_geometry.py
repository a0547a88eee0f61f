"""Geometry of features: displacement, similarity, effective dimension."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array


class Dimension(NamedTuple):
    """Effective dimensions of one matrix of features."""

    participation: float
    entropy: float
    corrected: float


def effective_dimension(F: Array) -> Dimension:
    """Return participation ratio and exponential of the entropy of the spectrum.

    (sum l)^2 / sum l^2 and exp(-sum p ln p), p = l / sum l, from singular values of the
    centred rows. Of n rows the participation ratio is at most n - 1; 1/PR - 1/(n - 1)
    is its inverse less what n rows alone make of it.
    """
    values = np.linalg.svd(F - F.mean(axis=0), compute_uv=False) ** 2
    size = float(np.abs(F).max(initial=0.0)) ** 2 * F.size
    total = values.sum()
    if total <= 1e-20 * max(size, 1e-300):
        return Dimension(0.0, 0.0, 0.0)
    p = values / total
    participation = 1 / (p**2).sum()
    kept = p[p > 0]
    inverse = 1 / participation - 1 / (len(F) - 1)
    corrected = 1 / inverse if inverse > 0 else np.inf
    entropy = float(np.exp(-(kept * np.log(kept)).sum()))
    return Dimension(float(participation), entropy, float(corrected))


class Movement(NamedTuple):
    """How far features are from those of a reference."""

    displacement: float
    relative: float
    procrustes: float
    cka: float


def movement(F: Array, G: Array) -> Movement:
    """Compare features F with those of a reference G, on the same rows.

    Displacement is the mean distance of a row from itself, which needs equal widths;
    the Procrustes residual is 1 - ||F'G||_*^2 / (||F||^2 ||G||^2) of centred features,
    0 up to rotation and scale; linear CKA is ||F'G||^2 / (||F'F|| ||G'G||).
    """
    displacement = relative = np.nan
    if F.shape == G.shape:
        displacement = float(np.linalg.norm(F - G, axis=1).mean())
        size = float(np.linalg.norm(G, axis=1).mean())
        relative = displacement / size if size > 0 else np.nan
    A, B = F - F.mean(axis=0), G - G.mean(axis=0)
    sizes = float((A**2).sum() * (B**2).sum())
    if sizes == 0:
        return Movement(displacement, relative, np.nan, np.nan)
    values = np.linalg.svd(A.T @ B, compute_uv=False)
    within = np.linalg.norm(A.T @ A) * np.linalg.norm(B.T @ B)
    return Movement(
        displacement,
        relative,
        float(max(1 - values.sum() ** 2 / sizes, 0.0)),
        float((values**2).sum() / within),
    )


def leave_one_out_r2(H: Array, Z: Array) -> Array:
    """Return R^2 of each column of Z predicted from H by ridge, leaving one out.

    The penalty of each column is the one with the least leave-one-out error, which is
    a closed form in the singular values; negative values count as 0.
    """
    A, Z = H - H.mean(axis=0), Z - Z.mean(axis=0)
    spread = A.std(axis=0)
    U, S, _ = np.linalg.svd(
        A / np.where(spread > 1e-12, spread, 1), full_matrices=False
    )
    kept = 1e-10 * max(S[0], 1e-300) < S
    U, S = U[:, kept], S[kept]
    n, along = len(H), U.T @ Z
    total = (Z**2).sum(axis=0) * (n / (n - 1)) ** 2  # of the mean, leaving one out
    best = np.full(Z.shape[1], np.inf)
    for penalty in n * np.geomspace(1e-8, 1e2, 21):
        shrink = (S**2 / (S**2 + penalty))[:, None]
        residual = Z - U @ (shrink * along)
        leverage = (U**2 @ shrink)[:, 0] + 1 / n
        left = residual / np.maximum(1 - leverage, 1e-9)[:, None]
        best = np.minimum(best, (left**2).sum(axis=0))
    ratio = np.where(total > 0, best / np.where(total > 0, total, 1), 1)
    found: Array = np.maximum(1 - ratio, 0.0)
    return found
