"""Averages over networks drawn from a posterior, one network held at a time."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, ndtr, softmax, xlogy

from skdiff._base.typing import Array, FloatArray


class Probabilities(NamedTuple):
    """Mean probabilities (n, n_classes) and the mean entropy of the networks (n,)."""

    mean: FloatArray
    entropy: FloatArray


def average_probabilities(logits: Iterable[FloatArray]) -> Probabilities:
    """Average over networks, given the logits (n, n_classes) of each."""
    total = entropy = None
    for count, output in enumerate(logits, start=1):
        p = softmax(output, axis=1)
        own = -xlogy(p, p).sum(axis=1)
        total = p if total is None else total + (p - total) / count
        entropy = own if entropy is None else entropy + (own - entropy) / count
    assert total is not None and entropy is not None
    return Probabilities(total, entropy)


def average_log_probabilities(logits: Iterable[FloatArray]) -> FloatArray:
    """Logarithm of the mean probabilities."""
    logs, count = None, 0
    for count, output in enumerate(logits, start=1):  # noqa: B007
        log_p = output - logsumexp(output, axis=1, keepdims=True)
        logs = log_p if logs is None else np.logaddexp(logs, log_p)
    assert logs is not None
    mean: FloatArray = logs - np.log(count)
    return mean.astype(logs.dtype, copy=False)


class Values(NamedTuple):
    """Mean of the networks' values, variance between them, mean variance of noise."""

    mean: FloatArray
    epistemic: FloatArray
    aleatoric: FloatArray


def average_values(parts: Iterable[tuple[FloatArray, FloatArray]]) -> Values:
    """Average over networks, given values and deviations of the noise of each."""
    mean = spread = noise = None
    count = 0
    for value, std in parts:
        count += 1
        variance = np.broadcast_to(std**2, value.shape)
        if mean is None or spread is None or noise is None:
            mean, spread, noise = value, np.zeros_like(value), variance
            continue
        step = value - mean
        mean = mean + step / count
        spread = spread + step * (value - mean)
        noise = noise + (variance - noise) / count
    assert mean is not None and spread is not None and noise is not None
    return Values(mean, spread / count, noise)


def mixture_quantile(means: Array, stds: Array, level: float) -> Array:
    """Quantile of equal mixtures of normals along the first axis, by bisection.

    Without noise the mixture has steps; the quantile is then where they pass ``level``.
    """
    reach = 40 * stds.max(axis=0)
    low, high = means.min(axis=0) - reach, means.max(axis=0) + reach
    sure = np.where(stds > 0, stds, 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = np.where(stds > 0, ndtr((middle - means) / sure), middle >= means)
        under = below.mean(axis=0) < level
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return np.asarray(high)
