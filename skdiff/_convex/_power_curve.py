"""Power laws ``c - a x**(-b)`` of scores over sizes, by variable projection.

For a fixed shape of the curve the model is linear in (c, a), with closed forms under
``a >= 0`` and ``c <= upper``; what remains is a search in the few parameters of the
shape, done for all curves at once on grids that close in on the best point. There are
no starting values and there is nothing to fail.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray

_LOWEST, _HIGHEST = 0.05, 2.5
_RATES = np.geomspace(_LOWEST, _HIGHEST, 60)
_POINTS = 21
_ROUNDS = 8
_MOST = 4_000_000  # numbers in one array
_TINY = 1e-300


class PowerCurve(NamedTuple):
    """``asymptote - amplitude * (x / scale) ** -rate``; one entry per curve.

    ``error`` is the weighted sum of squared residuals.
    """

    asymptote: Array
    amplitude: Array
    rate: Array
    scale: float
    error: Array


class RatePrior(NamedTuple):
    """A log-normal prior of the rate: its median, and the spread of its logarithm."""

    median: float = 0.5
    spread: float = 0.85

    def penalty(self, rate: Array) -> Array:
        """Minus the log density, up to a constant."""
        away = np.log(rate / self.median) / self.spread
        return np.asarray(0.5 * away**2)


class Projected(NamedTuple):
    """Best asymptote and amplitude for given shapes, and the error they leave."""

    asymptote: Array
    amplitude: Array
    error: Array


def project(
    basis: Array,
    scores: Array,
    weight: Array,
    upper: float = np.inf,
    *,
    fixed: bool = False,
) -> Projected:
    """Fit ``c - a * basis`` with ``a >= 0`` and ``c <= upper``, for every shape.

    Parameters
    ----------
    basis : ndarray of shape (n_curves or 1, n_shapes, n_sizes)
        What falls as the size grows.
    scores, weight : ndarray of shape (n_curves, n_sizes)
        Scores, and the weights of their squared residuals.
    upper : float, default=inf
        Bound of the asymptote.
    fixed : bool, default=False
        Whether the asymptote is ``upper``.

    Returns
    -------
    fit : Projected
        Arrays of shape (n_curves, n_shapes).
    """
    total = weight.sum(axis=1, keepdims=True)
    centre = np.sum(weight * scores, axis=1, keepdims=True) / total
    mean = _sums(basis, weight) / total
    centred = basis - mean[:, :, None]
    spread = _sums(centred**2, weight)
    slope = _sums(centred, weight * (scores - centre))
    a = np.maximum(np.where(spread > 0, -slope / (spread + (spread <= 0)), 0.0), 0.0)
    c = centre + a * mean
    over = c > upper
    if fixed or over.any():
        squares = np.maximum(_sums(basis**2, weight), _TINY)
        bound = np.maximum(_sums(basis, weight * (upper - scores)) / squares, 0.0)
        a = bound if fixed else np.where(over, bound, a)
        c = np.full_like(a, upper) if fixed else np.where(over, upper, c)
    residual = scores[:, None, :] - c[:, :, None] + a[:, :, None] * basis
    return Projected(c, a, _sums(residual**2, weight))


def _sums(values: Array, weight: Array) -> Array:
    """Weighted sums over sizes: (n_curves, n_shapes). Products are faster than sums."""
    return np.asarray((values @ weight[:, :, None])[:, :, 0])


def criterion(
    error: Array, penalty: Array | float, freedom: Array | None = None
) -> Array:
    """Return the error, or with a prior minus twice the log posterior.

    The variance of the residuals is integrated out: with ``freedom`` degrees of freedom
    the likelihood is ``error ** (-freedom / 2)``.
    """
    if freedom is None:
        return error
    return np.asarray(freedom[:, None] * np.log(error + _TINY) + 2 * penalty)


def close_in(
    objective: Callable[[Array], Array], low: Array, high: Array
) -> tuple[Array, Array]:
    """Minimise in one variable between bounds, for all curves at once.

    Each round lays a grid over the interval and keeps the neighbourhood of its best
    point, a tenth of it.

    Parameters
    ----------
    objective : callable
        From points of shape (n_curves, n_points) to values of the same shape.
    low, high : ndarray of shape (n_curves,)
        Bounds.

    Returns
    -------
    point, value : ndarray of shape (n_curves,)
        The best point met, and its value.
    """
    steps = np.linspace(0.0, 1.0, _POINTS)
    here = np.arange(len(low))
    point, value = low, np.full(len(low), np.inf)
    for _ in range(_ROUNDS):
        grid = low[:, None] + (high - low)[:, None] * steps
        values = objective(grid)
        best = np.argmin(values, axis=1)
        better = values[here, best] < value
        point = np.where(better, grid[here, best], point)
        value = np.where(better, values[here, best], value)
        low = grid[here, np.maximum(best - 1, 0)]
        high = grid[here, np.minimum(best + 1, _POINTS - 1)]
    return point, value


def fit_power(
    sizes: Array,
    scores: Array,
    weight: Array | None = None,
    *,
    upper: float = np.inf,
    prior: RatePrior | None = None,
    count: Array | None = None,
    fixed: bool = False,
    refine: bool = True,
) -> PowerCurve:
    """Fit one curve per row of ``scores``.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Positive; the curves are scaled by the largest finite one. An infinite size
        holds a score for the asymptote.
    scores : ndarray of shape (n_curves, n_sizes)
        Larger is better.
    weight : ndarray broadcastable to ``scores``, default=None
        Weights of the squared residuals; zero leaves a size out.
    upper : float, default=inf
        Bound of the asymptote.
    prior : RatePrior, default=None
        Prior of the rate; None is least squares.
    count : ndarray of shape (n_curves,), default=None
        Number of observations of each curve; the prior needs it.
    fixed : bool, default=False
        Whether the asymptote is ``upper``.
    refine : bool, default=True
        Whether to search between the rates of the grid.
    """
    W = (
        np.ones_like(scores)
        if weight is None
        else np.broadcast_to(weight, scores.shape)
    )
    most = max(1, _MOST // (len(_RATES) * len(sizes)))
    if len(scores) > most:
        parts = [
            fit_power(
                sizes,
                scores[k : k + most],
                W[k : k + most],
                upper=upper,
                prior=prior,
                count=None if count is None else count[k : k + most],
                fixed=fixed,
                refine=refine,
            )
            for k in range(0, len(scores), most)
        ]
        return _joined(parts)
    scale = float(sizes[np.isfinite(sizes)].max())
    logs = np.log(sizes / scale)
    freedom = None
    if prior is not None:
        given = np.sum(W > 0, axis=1) if count is None else count
        freedom = np.maximum(given - 3.0, 0.25)

    def of(rates: Array) -> tuple[Projected, Array]:
        found = project(np.exp(-rates[..., None] * logs), scores, W, upper, fixed=fixed)
        penalty = 0.0 if prior is None else prior.penalty(rates)
        return found, criterion(found.error, penalty, freedom)

    found, values = of(_RATES[None])
    best = np.argmin(values, axis=1)
    here = np.arange(len(scores))
    rate = _RATES[best]
    if refine:
        low, high = _around(best)
        point, value = close_in(lambda v: of(np.exp(v))[1], low, high)
        better = value < values[here, best]
        rate = np.where(better, np.exp(point), rate)
        found, _ = of(rate[:, None])
        best = np.zeros_like(best)
    c, a, error = (v[here, best] for v in found)
    return PowerCurve(c, a, rate, scale, error)


def _around(best: IntArray) -> tuple[Array, Array]:
    """Logarithms of the neighbours of grid points."""
    logs = np.log(_RATES)
    last = len(_RATES) - 1
    return logs[np.maximum(best - 1, 0)], logs[np.minimum(best + 1, last)]


def _joined(parts: list[PowerCurve]) -> PowerCurve:
    c, a, rate, error = (
        np.concatenate(v)
        for v in zip(*((p[0], p[1], p[2], p[4]) for p in parts), strict=True)
    )
    return PowerCurve(c, a, rate, parts[0].scale, error)


def posterior(
    sizes: Array,
    scores: Array,
    weight: Array,
    at: Array,
    *,
    upper: float,
    prior: RatePrior,
    rate: float,
    count: float,
) -> tuple[Array, Array]:
    """Return predictions of one curve at sizes for every rate, and their weights.

    The rates are those of the grid and ``rate``, the fitted one.

    Returns
    -------
    predictions : ndarray of shape (n_rates, n_at)
    weights : ndarray of shape (n_rates,)
        Posterior of the rate on the grid, of sum one.
    """
    scale = sizes.max()
    rates = np.append(_RATES, rate)
    basis = np.exp(-rates[:, None] * np.log(sizes / scale))[None]
    c, a, error = project(basis, scores[None], weight[None], upper)
    freedom = np.array([max(count - 3.0, 0.25)])
    loss = criterion(error, prior.penalty(rates[None]), freedom)[0] / 2
    p = np.exp(loss.min() - loss)
    shape = np.exp(-rates[:, None] * np.log(at / scale))
    return c[0][:, None] - a[0][:, None] * shape, np.asarray(p / p.sum())


def predict_power(curve: PowerCurve, sizes: Array) -> Array:
    """Return scores at sizes: (curves, sizes)."""
    logs = np.log(np.asarray(sizes, dtype=np.float64) / curve.scale)
    basis = np.exp(-curve.rate[:, None] * logs)
    return np.asarray(curve.asymptote[:, None] - curve.amplitude[:, None] * basis)


def required_size(curve: PowerCurve, target: float) -> Array:
    """Return the size at which each curve reaches a score; inf where it never does."""
    room = curve.asymptote - target
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = curve.scale * (curve.amplitude / room) ** (1.0 / curve.rate)
    return np.where(room > 0, size, np.inf)
