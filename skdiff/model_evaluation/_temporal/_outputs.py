"""Predictions of several models as arrays, their losses, and what is made of them.

``outputs`` has the shape (M, n, K) for M models, n rows and K classes, where it holds
probabilities, and (M, n) for a regression. ``target`` holds codes of classes or
numbers. A model without honest predictions has NaN.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax, softmax

from skdiff._base.typing import Array, IntArray
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff._convex._losses import Multinomial

#: probabilities below this count as this in losses and logarithms
_FLOOR = 1e-6
_LOSS = Multinomial()


class Mix(NamedTuple):
    """How models are combined."""

    weights: Array  # (M,)
    intercept: Array  # (K,) for a stack of classifiers, (1,) of regressors, else (0,)


def row_losses(outputs: Array, target: Any) -> Array:
    """Log loss or squared error of every model on every row, (M, n)."""
    if outputs.ndim == 3:
        chosen = outputs[:, np.arange(len(target)), target]
        return -np.log(np.maximum(chosen, _FLOOR))
    return np.asarray((outputs - target) ** 2)


def mean_losses(losses: Array, weight: Array) -> Array:
    """Weighted mean over rows."""
    return np.asarray(losses @ weight / weight.sum())


def equal(n_models: int, chosen: Any) -> Mix:
    """Equal weights of some models."""
    weights = np.zeros(n_models)
    weights[chosen] = 1.0 / np.size(chosen)
    return Mix(weights, np.empty(0))


def combined(outputs: Array, mix: Mix) -> Array:
    """Predictions of the combination, (n, K) or (n,)."""
    used = np.flatnonzero(mix.weights)
    if not len(mix.intercept):
        return np.asarray(np.tensordot(mix.weights[used], outputs[used], axes=1))
    if outputs.ndim == 2:
        return np.asarray(mix.weights[used] @ outputs[used] + mix.intercept[0])
    logs = _logs(outputs[used])
    scores = np.tensordot(mix.weights[used], logs, axes=1) + mix.intercept
    return np.asarray(softmax(scores, axis=1))


def _logs(outputs: Array) -> Array:
    """Centred log probabilities."""
    logs = np.log(np.maximum(outputs, _FLOOR))
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def by_likelihood(losses: Array, weight: Array, *, numbers: bool) -> Mix:
    """Posterior weights of models under equal prior weights.

    Errors of a regression are normal with the variance of the best model.
    """
    total = losses @ weight
    total = np.where(np.isnan(total), np.inf, total)
    if numbers:
        best = total.min() / weight.sum()
        total = total / (2.0 * max(best, np.finfo(float).tiny))
    return Mix(softmax(-(total - total.min())), np.empty(0))


def accuracy_weighted(outputs: Array, target: Any, weight: Array) -> Mix | None:
    """Weights of Wang et al. (2003): a random prediction's error less the model's.

    The mean squared error is that of the probability of the true class; a random
    prediction has ``sum_c p_c (1 - p_c)^2``. None where no model beats it.
    """
    w = weight / weight.sum()
    if outputs.ndim == 3:
        error = (1.0 - outputs[:, np.arange(len(target)), target]) ** 2 @ w
        p = np.bincount(target, w, minlength=outputs.shape[2])
        chance = float(np.sum(p * (1 - p) ** 2))
    else:
        error = (outputs - target) ** 2 @ w
        chance = float(w @ (target - w @ target) ** 2)
    gain = np.maximum(np.nan_to_num(chance - error, nan=0.0), 0.0)
    return Mix(gain / gain.sum(), np.empty(0)) if gain.sum() > 0 else None


def ensemble_quality(outputs: Array, target: Any, weight: Array) -> Array:
    """Quality of each model beside the vote of all (Street and Kim, 2001).

    A right prediction counts more where the vote is close, a wrong one costs more where
    the vote for the true class is close to that for the predicted one.
    """
    if outputs.ndim == 2:
        return -mean_losses(row_losses(outputs, target), weight)
    votes = outputs.argmax(axis=2)
    known = ~np.isnan(outputs[:, 0, 0])
    rows = np.arange(len(target))
    n_classes = outputs.shape[2]
    counts = np.stack(
        [np.sum(votes[known] == k, axis=0) for k in range(n_classes)], axis=1
    ) / max(known.sum(), 1)
    ordered = np.sort(counts, axis=1)
    first, second = ordered[:, -1], ordered[:, -2]
    right_vote = counts.argmax(axis=1) == target
    true = counts[rows, target]
    gain = np.where(right_vote, 1 - np.abs(first - second), 1 - np.abs(first - true))
    cost = 1 - np.abs(true - counts[rows, votes])
    quality = np.where(votes == target, gain, -cost) @ weight
    return np.where(known, quality, np.nan)


def stacked(outputs: Array, target: Any, weight: Array, penalty: float) -> Mix:
    """Weights of least penalised loss, with a ridge towards equal weights.

    Classifiers: the log loss of ``softmax(sum_m w_m log p_m + b)`` summed over rows,
    plus ``penalty / 2`` times ``M |w - 1/M|^2``. Regressors: the squared error in units
    of the variance around the plain average, with the same penalty.
    """
    if outputs.ndim == 2:
        return _stacked_numbers(outputs, target, weight, penalty)
    logs = _logs(outputs)
    M, _, K = logs.shape
    total, centre = weight.sum(), np.full(M, 1.0 / M)

    def objective(x: Array) -> tuple[float, Array]:
        w, b = x[:M], x[M:]
        scores = np.tensordot(w, logs, axes=1) + b
        value, slope = _LOSS.evaluate(scores, target, 1)
        slope = slope * weight[:, None]
        away = w - centre
        # the intercepts are only kept from running away, as one row would
        ridge = 0.5 * penalty * M * away @ away + 0.5 * b @ b
        of_w = np.tensordot(logs, slope, axes=2) + penalty * M * away
        gradient = np.concatenate([of_w, slope.sum(axis=0) + b])
        return (float(weight @ value) + ridge) / total, gradient / total

    start = np.concatenate([centre, np.zeros(K)])
    found = lbfgs_box(objective, start, max_iter=500, ftol=1e-12, gtol=1e-8)
    return Mix(found.x[:M], found.x[M:])


def _stacked_numbers(outputs: Array, y: Array, weight: Array, penalty: float) -> Mix:
    M, w = len(outputs), weight / weight.sum()
    middle, level = outputs @ w, float(w @ y)
    F, average = outputs - middle[:, None], outputs.mean(axis=0)
    rest = y - average - (level - middle.mean())
    variance = max(float(w @ rest**2), np.finfo(float).tiny)
    A = (F * weight) @ F.T / variance + penalty * M * np.eye(M)
    away = np.linalg.solve(A, (F * weight) @ rest / variance)
    weights = 1.0 / M + away
    return Mix(weights, np.array([level - weights @ middle]))


def log_odds(p: Array) -> Array:
    """Decision values of probabilities: log odds for two classes, logarithms else."""
    logs = np.log(np.maximum(p, np.finfo(float).tiny))
    return np.asarray(logs[:, 1] - logs[:, 0] if p.shape[1] == 2 else logs)


def pseudo_probabilities(decision: Array) -> Array:
    """Probabilities that have given decision values as log odds, (n, K)."""
    if decision.ndim == 1:
        decision = np.stack([np.zeros_like(decision), decision], axis=1)
    return np.exp(np.asarray(log_softmax(decision, axis=1)))


def redundant(outputs: Array) -> int:
    """Index of the older one of the two models whose predictions are most alike.

    The last model, which is the newest, is never it.
    """
    flat = outputs.reshape(len(outputs), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1)
    alike = flat @ flat.T / np.maximum(np.outer(norms, norms), np.finfo(float).tiny)
    alike = np.where(np.isnan(alike), -np.inf, alike)
    older = np.triu(np.ones_like(alike, dtype=bool), k=1)  # pairs (older, newer)
    return int(np.argmax(np.max(np.where(older, alike, -np.inf), axis=1)))


def ranked(scores: Array) -> IntArray:
    """Indices from the best score down; ties to the newer, NaN last."""
    values = np.where(np.isnan(scores), -np.inf, scores)
    newest_first = np.arange(len(values))[::-1]
    order = np.argsort(-values[newest_first], kind="stable")
    return np.asarray(newest_first[order])
