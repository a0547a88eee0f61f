"""The R-loss: residual on residual regression (Robinson, 1988; Nie and Wager, 2021).

Notation: with m(x) = E[y | x] and e(x) = E[t | x], held-out residuals are
``v = y - m(x)`` and ``u = t - e(x)``. Then v = tau(x) u + noise, and tau minimises the
mean of ``w (v - tau(x) u)^2 = w u^2 (v / u - tau(x))^2``: a weighted regression.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray


class Residuals(NamedTuple):
    """Held-out residuals of the rows, and their weights."""

    outcome: Array  # (n,)
    treatment: Array  # (n,)
    weight: Array  # (n,)
    variance: Array  # (n,), of the treatment given the row


class FinalData(NamedTuple):
    """What the final stage is fitted on."""

    rows: IntArray
    target: Array
    weight: Array


def final_data(found: Residuals, trim: float) -> FinalData:
    """Targets v / u with weights w u^2, without rows whose treatment says nothing."""
    u, w = found.treatment, found.weight
    spread = np.sqrt(w @ u**2 / w.sum())
    kept = np.flatnonzero((np.abs(u) > trim * spread) & (w > 0) & (u != 0))
    weight = w[kept] * u[kept] ** 2
    return FinalData(kept, found.outcome[kept] / u[kept], weight)


def r_loss(found: Residuals, effect: Array) -> float:
    """Weighted mean of ``(v - tau u)^2``."""
    left = found.outcome - effect * found.treatment
    return float(found.weight @ left**2 / found.weight.sum())


def constant_effect(found: Residuals) -> float:
    """Least squares of v on u without an intercept: partialling out."""
    wu = found.weight * found.treatment
    return float(wu @ found.outcome / (wu @ found.treatment))


def r_score(found: Residuals, effect: Array) -> float:
    """``1 - loss(tau) / loss(best constant)``."""
    constant = np.full_like(effect, constant_effect(found))
    base = r_loss(found, constant)
    own = r_loss(found, effect)
    return 1.0 - own / base if base > 0 else (0.0 if own == 0 else -np.inf)


def resample(weight: Array, size: int, start: float) -> IntArray:
    """Rows in proportion to their weights, evenly spaced in the sum of weights.

    For models that take no weights. A row of n times the mean weight comes n times,
    up to one; ``start`` in [0, 1) moves the grid.
    """
    edges = np.cumsum(weight) / weight.sum()
    grid = (np.arange(size) + start) / size
    return np.minimum(np.searchsorted(edges, grid, side="right"), len(weight) - 1)


def cluster_sums(scores: Array, clusters: IntArray | None) -> Array:
    """Sums of scores within clusters; the scores themselves without clusters."""
    if clusters is None:
        return scores
    n = int(clusters.max()) + 1
    found = np.zeros((n, *scores.shape[1:]))
    np.add.at(found, clusters, scores)
    return found[np.bincount(clusters, minlength=n) > 0]


class Linear(NamedTuple):
    """A linear effect ``d'beta``, and the sandwich covariance of beta."""

    beta: Array
    cov: Array


def linear_effect(D: Array, found: Residuals, clusters: IntArray | None) -> Linear:
    """Least squares of v on u d, with errors that hold whatever the noise (HC1)."""
    Du = D * found.treatment[:, None]
    gram = (Du * found.weight[:, None]).T @ Du
    bread = np.linalg.pinv(gram, hermitian=True)
    beta = bread @ (Du.T @ (found.weight * found.outcome))
    left = found.outcome - Du @ beta
    scores = cluster_sums(Du * (found.weight * left)[:, None], clusters)
    m, k = len(scores), D.shape[1]
    scale = m / max(m - (k if clusters is None else 1), 1)
    return Linear(beta, bread @ (scores.T @ scores) @ bread * scale)


class Mean(NamedTuple):
    """An average effect and its standard error."""

    value: float
    std: float


def linear_mean(
    D: Array, found: Linear, weight: Array, clusters: IntArray | None
) -> Mean:
    """Average of d'beta over the rows: error of beta, and of the rows drawn."""
    effects = D @ found.beta
    share = weight / weight.sum()
    middle = share @ D
    value = float(share @ effects)
    rows = cluster_sums((share * (effects - value))[:, None], clusters)
    variance = middle @ found.cov @ middle + (rows**2).sum()
    return Mean(value, float(np.sqrt(max(variance, 0.0))))


def debiased_mean(effect: Array, found: Residuals, clusters: IntArray | None) -> Mean:
    """Mean of ``tau + u (v - tau u) / Var(t | x)``, which forgives errors of tau."""
    scores = effect + found.treatment / found.variance * (
        found.outcome - effect * found.treatment
    )
    share = found.weight / found.weight.sum()
    value = float(share @ scores)
    rows = cluster_sums((share * (scores - value))[:, None], clusters)
    return Mean(value, float(np.sqrt((rows**2).sum())))
