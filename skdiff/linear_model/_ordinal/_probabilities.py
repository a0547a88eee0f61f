"""Probabilities of ordered classes from their cumulative logits."""

import numpy as np
from scipy.special import expit

from skdiff._base.typing import Array, BoolArray, IntArray


def crossing_rows(eta: Array) -> BoolArray:
    """Rows whose cumulative logits do not rise."""
    return np.asarray(np.any(np.diff(eta, axis=1) < 0, axis=1))


def class_probabilities(eta: Array, monotone: str) -> Array:
    """Probabilities (n, K) from logits (n, K - 1), crossing rows mended.

    ``"rearrange"`` sorts the logits of a row. ``"clip"`` takes negative differences for
    zero and scales the rest to sum to one.
    """
    if monotone == "rearrange":
        eta = np.sort(eta, axis=1)
    ends = np.full((len(eta), 1), np.inf)
    u, v = np.hstack([eta, ends]), np.hstack([-ends, eta])
    with np.errstate(invalid="ignore", over="ignore"):
        # free of cancellation where neighbouring logits are close, or both are extreme
        gap = np.where(np.isinf(u) | np.isinf(v), 1.0, -np.expm1(np.minimum(v - u, 0)))
    proba = expit(u) * expit(-v) * gap
    crossing = crossing_rows(eta)
    proba[crossing] /= proba[crossing].sum(axis=1, keepdims=True)
    return np.asarray(proba)


def cumulative_probabilities(eta: Array, monotone: str) -> Array:
    """Probabilities of a class or a lower one (n, K); the last is one."""
    if monotone == "rearrange":
        eta = np.sort(eta, axis=1)
    found = np.hstack([expit(eta), np.ones((len(eta), 1))])
    crossing = crossing_rows(eta)
    if crossing.any():
        mended = np.cumsum(class_probabilities(eta[crossing], monotone), axis=1)
        found[crossing] = np.minimum(mended, 1.0)
        found[crossing, -1] = 1.0
    return found


def decide(proba: Array, cumulative: Array, decision: str) -> IntArray:
    """Codes of the likeliest class, or of the first with half of the probability."""
    codes = (
        proba.argmax(axis=1)
        if decision == "argmax"
        else (cumulative >= 0.5).argmax(axis=1)
    )
    return np.asarray(codes, dtype=np.int64)


def scores(proba: Array, codes: IntArray, scoring: str) -> Array:
    """Losses of rows by which penalties are chosen."""
    n, K = proba.shape
    if scoring == "log_loss":
        chosen = proba[np.arange(n), codes]
        return -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
    if scoring == "rare_brier":
        return np.asarray((proba[:, -1] - (codes == K - 1)) ** 2)
    return np.asarray(np.sum((proba - np.eye(K)[codes]) ** 2, axis=1))
