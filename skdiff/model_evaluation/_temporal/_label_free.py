"""Choosing among models for rows without labels."""

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit, log_expit, log_softmax

from skdiff._base.typing import Array, IntArray

#: rows of a sample of which pairwise distances are taken
_MOST_ROWS = 300
_N_ITER = 30


def confidence(outputs: Array) -> Array:
    """Mean largest probability of each model, (M,)."""
    return np.asarray(outputs.max(axis=2).mean(axis=1))


def abilities(votes: IntArray, n_classes: int) -> Array:
    """Ability of each model as an annotator of rows without labels, (M,).

    Model i is right on row j with probability ``expit(a_i exp(b_j))`` and otherwise
    gives each other class alike (Whitehill et al., 2009, GLAD, which LaF follows).
    Expectation maximisation starts from the vote; ``a`` has the prior N(1, 1), ``b``
    has N(0, 1). Rows on which all models agree tell nothing and are left out.
    """
    votes = votes[:, np.any(votes != votes[:1], axis=0)]
    M, n = votes.shape
    a, b = np.ones(M), np.zeros(n)
    if n == 0:
        return a
    hot = votes[:, :, None] == np.arange(n_classes)
    posterior = hot.mean(axis=0)  # of the true class, (n, K)
    for _ in range(_N_ITER):
        right = np.einsum("mnk,nk->mn", hot, posterior)
        a, b = _maximise(a, b, right)
        margin = np.outer(a, np.exp(b))
        gain = log_expit(margin) - log_expit(-margin) + np.log(max(n_classes - 1, 1))
        posterior = np.exp(log_softmax(np.einsum("mnk,mn->nk", hot, gain), axis=1))
    return a


def _maximise(a: Array, b: Array, right: Array) -> tuple[Array, Array]:
    """One damped Newton step in abilities, then one in difficulties."""
    easy = np.exp(b)
    p = expit(np.outer(a, easy))
    slope = (right - p) @ easy - (a - 1.0)
    a = a + np.clip(slope / ((p * (1 - p)) @ easy**2 + 1.0), -1.0, 1.0)
    p = expit(np.outer(a, easy))
    slope = easy * (a @ (right - p)) - b
    curvature = easy**2 * (a**2 @ (p * (1 - p))) + 1.0
    return a, np.clip(b + np.clip(slope / curvature, -1.0, 1.0), -4.0, 4.0)


def numeric_sample(X: Any) -> Array:
    """Up to 300 rows, evenly spaced, of the columns of numbers."""
    if hasattr(X, "columns"):
        polars = not hasattr(X, "iloc")
        columns = [X[c] if polars else X.iloc[:, j] for j, c in enumerate(X.columns)]
        arrays = [np.asarray(c) for c in columns]
        arrays = [a.astype(np.float64) for a in arrays if a.dtype.kind in "biuf"]
        if not arrays:
            raise ValueError(
                "mechanism='distance' compares columns of numbers, and X has none."
            )
        X = np.column_stack(arrays)
    rows = np.unique(np.linspace(0, X.shape[0] - 1, _MOST_ROWS).astype(int))
    X = X[rows]
    return np.nan_to_num(np.asarray(X.toarray() if hasattr(X, "toarray") else X, float))


def energy_distance(A: Array, B: Array, scale: Array) -> float:
    """Energy distance of two samples in units of ``scale`` (Székely and Rizzo)."""
    A, B = A / scale, B / scale
    across, within = cdist(A, B).mean(), cdist(A, A).mean() + cdist(B, B).mean()
    return float(2 * across - within)


def closest(samples: list[Array], target: Array) -> int:
    """Index of the sample closest to the target."""
    spread = np.concatenate([*samples, target]).std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    distances = [energy_distance(sample, target, scale) for sample in samples]
    return int(np.argmin(distances))
