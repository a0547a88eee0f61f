"""Families of learning curves, all of the form ``c - a * basis(size; shape)``.

The power law has its own search over one rate; the others close in on grids of one or
two parameters of their shape, for all curves at once.
"""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._power_curve import PowerCurve, RatePrior, fit_power, project

_ROUNDS = 300
_FINEST = 1e-7


class Fitting(NamedTuple):
    """How curves are fitted: bound of the asymptote, and prior of the rate."""

    upper: float
    prior: RatePrior | None = None


class Curves(NamedTuple):
    """Fitted curves of one pattern; ``shape`` is (n_curves, n_parameters)."""

    pattern: str
    asymptote: Array
    amplitude: Array
    shape: Array
    scale: float
    error: Array

    def some(self, which: slice) -> "Curves":
        """Keep some of the curves."""
        a, b, c, d = (v[which] for v in (self[1], self[2], self[3], self[5]))
        return Curves(self.pattern, a, b, c, self.scale, d)


def _exponential(u: Array, shape: Array) -> Array:
    return np.asarray(np.exp(-shape[..., 0, None] * u))


def _logarithm(u: Array, shape: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(u) + 0.0 * shape[..., 0, None])


def _morgan(u: Array, shape: Array) -> Array:
    """Morgan-Mercer-Flodin: half of the way at size h, with slope d."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + _relative(u, shape)))


def _weibull(u: Array, shape: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-_relative(u, shape)))


def _relative(u: Array, shape: Array) -> Array:
    return np.asarray((u / shape[..., 0, None]) ** shape[..., 1, None])


def _power(u: Array, shape: Array) -> Array:
    return np.asarray(np.exp(-shape[..., 0, None] * np.log(u)))


class _Family(NamedTuple):
    """From sizes and shapes to the basis, and the grid of each parameter."""

    basis: Callable[[Array, Array], Array]
    grids: tuple[Array, ...]


_HALF_WAYS, _SLOPES = np.geomspace(1e-3, 10.0, 25), np.geomspace(0.3, 4.0, 15)
_FAMILIES = {
    "power": _Family(_power, ()),
    "power2": _Family(_power, ()),
    "exp3": _Family(_exponential, (np.geomspace(0.1, 50.0, 60),)),
    "log2": _Family(_logarithm, (np.ones(1),)),
    "mmf4": _Family(_morgan, (_HALF_WAYS, _SLOPES)),
    "weibull4": _Family(_weibull, (_HALF_WAYS, _SLOPES)),
}

#: what ``pattern`` may be, and the numbers of parameters
N_PARAMETERS = {
    "power": 3,
    "power2": 2,
    "exp3": 3,
    "log2": 2,
    "mmf4": 4,
    "weibull4": 4,
}


def fit_curves(
    pattern: str,
    sizes: Array,
    scores: Array,
    weight: Array,
    how: Fitting,
    *,
    count: Array | None = None,
    refine: bool = True,
) -> Curves:
    """Fit one curve per row of ``scores``; zero weights leave sizes out.

    Parameters
    ----------
    pattern : str
        A key of ``N_PARAMETERS``.
    sizes : ndarray of shape (n_sizes,)
        Positive; an infinite one holds a score for the asymptote.
    scores, weight : ndarray of shape (n_curves, n_sizes)
        Scores, larger is better, and weights of their squared residuals.
    how : Fitting
        Bound and prior.
    count : ndarray of shape (n_curves,), default=None
        Numbers of observations.
    refine : bool, default=True
        Whether to search between the points of the grid.
    """
    if pattern in ("power", "power2"):
        found = fit_power(
            sizes,
            scores,
            weight,
            upper=how.upper,
            prior=how.prior,
            count=count,
            fixed=pattern == "power2",
            refine=refine,
        )
        return _of_power(pattern, found)
    family = _FAMILIES[pattern]
    scale = float(sizes[np.isfinite(sizes)].max())
    upper = np.inf if pattern == "log2" else how.upper
    u = sizes / scale
    axes = [np.log(grid) for grid in family.grids]
    points = np.array(list(product(*axes)))[None]

    def error(where: Array) -> Array:
        return project(family.basis(u, np.exp(where)), scores, weight, upper).error

    best = points[0, np.argmin(error(points), axis=1)]
    if refine and len(points[0]) > 1:
        best = _close_in(error, best, axes)
    shape = np.exp(best)
    fit = project(family.basis(u, shape[:, None, :]), scores, weight, upper)
    a, b, c = (v[:, 0] for v in fit)
    return Curves(pattern, a, b, shape, scale, c)


def _of_power(pattern: str, found: PowerCurve) -> Curves:
    c, a, rate, scale, error = found
    return Curves(pattern, c, a, rate[:, None], scale, error)


def _close_in(error: Callable[[Array], Array], best: Array, axes: list[Array]) -> Array:
    """Walk a small grid to the best point, and halve it where its centre is best.

    Valleys may be narrow and oblique: a step is halved only when it leads nowhere.
    """
    low = np.array([axis[0] for axis in axes])
    high = np.array([axis[-1] for axis in axes])
    first = np.array([axis[1] - axis[0] for axis in axes])
    moves = np.array(list(product(np.linspace(-1, 1, 5), repeat=len(axes))))
    moves = moves[np.argsort(np.abs(moves).sum(axis=1), kind="stable")]
    here, shrink = np.arange(len(best)), np.ones(len(best))
    for _ in range(_ROUNDS):
        step = shrink[:, None, None] * first * moves
        around = np.clip(best[:, None, :] + step, low, high)
        found = np.argmin(error(around), axis=1)  # the centre comes first
        best = around[here, found]
        shrink = np.where(found == 0, shrink / 2, shrink)
        if np.all(shrink < _FINEST):
            break
    return best


def predict_curves(curves: Curves, sizes: Array) -> Array:
    """Return scores at sizes: (n_curves, n_sizes)."""
    basis = _FAMILIES[curves.pattern].basis(sizes / curves.scale, curves.shape)
    return np.asarray(curves.asymptote[:, None] - curves.amplitude[:, None] * basis)


def limits(curves: Curves, upper: float) -> Array:
    """Return what the curves tend to; a logarithm grows up to the bound."""
    if curves.pattern != "log2":
        return curves.asymptote
    return np.where(curves.amplitude > 0, upper, curves.asymptote)
