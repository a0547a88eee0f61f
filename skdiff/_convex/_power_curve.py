"""Power laws ``c - a x**(-b)`` of scores over sizes, by variable projection.

For a fixed rate b the model is linear in (c, a), with closed forms under ``a >= 0`` and
``c <= upper``; what remains is a search in one variable, done for all curves at once.
There are no starting values and there is nothing to fail.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array

_RATES = np.geomspace(0.05, 2.5, 60)
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_STEPS = 60


class PowerCurve(NamedTuple):
    """``asymptote - amplitude * (x / scale) ** -rate``; one entry per curve.

    ``error`` is the weighted sum of squared residuals.
    """

    asymptote: Array
    amplitude: Array
    rate: Array
    scale: float
    error: Array


def fit_power(
    sizes: Array,
    scores: Array,
    weight: Array | None = None,
    *,
    upper: float = np.inf,
) -> PowerCurve:
    """Fit one curve per row of ``scores``.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Positive.
    scores : ndarray of shape (n_curves, n_sizes)
        Larger is better.
    weight : ndarray broadcastable to ``scores``, default=None
        Weights of the squared residuals; zero leaves a size out.
    upper : float, default=inf
        Bound of the asymptote.
    """
    scale = float(sizes.max())
    logs = np.log(sizes / scale)
    W = np.ones_like(scores)
    if weight is not None:
        W = W * weight
    errors = np.stack(
        [_profile(np.full(len(scores), b), logs, scores, W, upper)[2] for b in _RATES]
    )
    best = np.argmin(errors, axis=0)
    low = np.log(_RATES[np.maximum(best - 1, 0)])
    high = np.log(_RATES[np.minimum(best + 1, len(_RATES) - 1)])
    rate = _golden(low, high, logs, scores, W, upper)
    found = _profile(rate, logs, scores, W, upper)
    grid = _profile(_RATES[best], logs, scores, W, upper)
    worse = found[2] > grid[2]
    rate = np.where(worse, _RATES[best], rate)
    c, a, error = _profile(rate, logs, scores, W, upper)
    return PowerCurve(c, a, rate, scale, error)


def _golden(
    low: Array, high: Array, logs: Array, scores: Array, W: Array, upper: float
) -> Array:
    """Golden-section search for the logarithm of the rate, for all curves at once."""

    def error(log_rate: Array) -> Array:
        return _profile(np.exp(log_rate), logs, scores, W, upper)[2]

    left, right = _inside(low, high)
    f_left, f_right = error(left), error(right)
    for _ in range(_STEPS):
        smaller = f_left <= f_right
        low, high = np.where(smaller, low, left), np.where(smaller, right, high)
        new_left, new_right = _inside(low, high)
        f_new = error(np.where(smaller, new_left, new_right))
        left, right, f_left, f_right = (
            np.where(smaller, new_left, right),
            np.where(smaller, left, new_right),
            np.where(smaller, f_new, f_right),
            np.where(smaller, f_left, f_new),
        )
    return np.exp((low + high) / 2)


def _inside(low: Array, high: Array) -> tuple[Array, Array]:
    """The two points that divide intervals in the golden ratio."""
    width = _GOLDEN * (high - low)
    return high - width, low + width


def _profile(
    rate: Array, logs: Array, scores: Array, W: Array, upper: float
) -> tuple[Array, Array, Array]:
    """Best asymptote and amplitude for given rates, and the error they leave."""
    basis = np.exp(-rate[:, None] * logs)
    total = W.sum(axis=1)
    mean_b = np.sum(W * basis, axis=1) / total
    mean_s = np.sum(W * scores, axis=1) / total
    centred = basis - mean_b[:, None]
    spread = np.sum(W * centred**2, axis=1)
    slope = np.sum(W * centred * (scores - mean_s[:, None]), axis=1)
    a = np.where(spread > 0, -slope / np.where(spread > 0, spread, 1.0), 0.0)
    a = np.maximum(a, 0.0)
    c = mean_s + a * mean_b
    over = c > upper
    if over.any():
        squares = np.sum(W * basis**2, axis=1)
        bound = np.sum(W * basis * (upper - scores), axis=1) / squares
        a = np.where(over, np.maximum(bound, 0.0), a)
        c = np.where(over, upper, c)
    residual = scores - c[:, None] + a[:, None] * basis
    return c, a, np.sum(W * residual**2, axis=1)


def predict_power(curve: PowerCurve, sizes: Array) -> Array:
    """Return scores at sizes: (curves, sizes)."""
    logs = np.log(np.asarray(sizes, dtype=np.float64) / curve.scale)
    basis = np.exp(-curve.rate[:, None] * logs)
    return np.asarray(curve.asymptote[:, None] - curve.amplitude[:, None] * basis)


def required_size(curve: PowerCurve, target: float) -> Array:
    """Return the size at which each curve reaches a score; inf where it never does."""
    room = curve.asymptote - target
    with np.errstate(divide="ignore", invalid="ignore"):
        size = curve.scale * (curve.amplitude / room) ** (1.0 / curve.rate)
    return np.where(room > 0, size, np.inf)
