"""A grid of Bayesian linear regressions from one singular value decomposition.

Notation: a cell (tau, sigma) of the grid says w ~ N(0, s^2 tau^2 I), y = x'w + b + e
with e ~ N(0, s^2 sigma^2), s^2 ~ nu / chi^2(nu) and a flat b. Rows are centred, which
integrates b out exactly, and scaled by the root of their weights; Z = U diag(S) V' is
their decomposition, n the sum of weights, m = n - 1 (n without an intercept) the number
of contrasts that the data have. All cells share U'y, S and V.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp, stdtr, stdtrit

from skdiff._base.typing import Array

_LIGHTEST = 1e-12  # of the largest weight: lighter cells change no printed digit
_NEWTON = 60


class Grid(NamedTuple):
    """Scales of coefficients and of noise, one pair per cell."""

    scales: Array  # (n_scales,)
    noises: Array  # (n_noises,)

    def cells(self) -> tuple[Array, Array]:
        """Return tau and sigma of every cell, noises fastest."""
        tau = np.repeat(self.scales, len(self.noises))
        return tau, np.tile(self.noises, len(self.scales))


class Design(NamedTuple):
    """The decomposition of centred rows, which all targets share."""

    mean: Array  # (p,)
    U: Array  # (rows, r), of rows scaled by the root of their weights
    S: Array  # (r,)
    V: Array  # (p, r)
    root: Array  # (rows,)
    n: float  # sum of weights
    m: float  # contrasts

    def without_rows(self) -> "Design":
        """Return what predictions need, which grows with the columns only."""
        empty = np.empty(0)
        return self._replace(U=empty[:, None], root=empty)


class Posterior(NamedTuple):
    """What one target says about the cells."""

    y_mean: float
    along: Array  # (r,), U'y
    weights: Array  # (cells,), sum one
    log_evidence: float
    fit: Array  # (cells,), (nu + Q) / (nu + m): scale of the predictive distribution


@dataclass(frozen=True)
class Mixture:
    """Student t distributions of each row, with weights of their cells."""

    weights: Array  # (cells,)
    means: Array  # (rows, cells)
    scales: Array  # (rows, cells)
    dof: float

    def mean(self) -> Array:
        """Mean of each row."""
        found: Array = self.means @ self.weights
        return found

    def std(self) -> Array:
        """Standard deviation of each row; infinite where ``dof`` is at most 2."""
        factor = 1.0
        if np.isfinite(self.dof):
            factor = self.dof / (self.dof - 2) if self.dof > 2 else np.inf
        within = (factor * self.scales**2) @ self.weights
        away = self.means - self.mean()[:, None]
        found: Array = np.sqrt(within + away**2 @ self.weights)
        return found

    def log_density(self, y: Array) -> Array:
        """Logarithm of the density of each row at y."""
        z = (y[:, None] - self.means) / self.scales
        logs = _log_t(z, self.dof) - np.log(self.scales)
        found: Array = logsumexp(logs, b=self.weights, axis=1)
        return found

    def quantiles(self, levels: Array) -> Array:
        """Quantiles (rows, levels), by Newton steps kept within a bracket.

        The quantile of a mixture lies between the smallest and the largest of the
        quantiles of its parts.
        """
        kept = self.weights > _LIGHTEST * self.weights.max()
        w, means, scales = self.weights[kept], self.means[:, kept], self.scales[:, kept]
        w = w / w.sum()
        out = np.empty((len(means), len(levels)))
        for j, level in enumerate(levels):
            parts = means + scales * _t_quantile(self.dof, level)
            low, high = parts.min(axis=1), parts.max(axis=1)
            x = parts @ w
            for _ in range(_NEWTON):
                z = (x[:, None] - means) / scales
                gap = _t_cdf(self.dof, z) @ w - level
                low, high = np.where(gap < 0, x, low), np.where(gap > 0, x, high)
                slope = (np.exp(_log_t(z, self.dof)) / scales) @ w
                with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                    step = x - gap / slope
                inside = (step > low) & (step < high)
                new = np.where(inside, step, 0.5 * (low + high))
                if np.all(np.abs(new - x) <= 1e-13 * (np.abs(x) + high - low + 1e-300)):
                    break
                x = new
            out[:, j] = x
        return out


def _log_t(z: Array, dof: float) -> Array:
    if np.isinf(dof):
        return np.asarray(-0.5 * z**2 - 0.5 * np.log(2 * np.pi))
    constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(dof * np.pi)
    return np.asarray(constant - (dof + 1) / 2 * np.log1p(z**2 / dof))


def _t_cdf(dof: float, z: Array) -> Array:
    return np.asarray(stdtr(dof, z))


def _t_quantile(dof: float, level: float) -> float:
    return float(stdtrit(dof, level))


def spread(A: Array, weight: Array, centred: bool) -> Array:
    """Standard deviation of each column, about its mean or about zero.

    Columns are scaled by their largest entry first, so that no square overflows.
    """
    away = A - weight @ A / weight.sum() if centred else A
    top = np.abs(away).max(axis=0)
    unit = away / np.where(top > 0, top, 1.0)
    found: Array = top * np.sqrt(weight @ unit**2 / weight.sum())
    # what rounding leaves of a constant column is no spread
    return np.where(top > 8 * np.finfo(float).eps * np.abs(A).max(axis=0), found, 0.0)


def units(
    X: Array, targets: Array, weight: Array, centred: bool
) -> tuple[float, Array]:
    """Return the spread of X as a whole and of each target, none of them zero."""
    width = float(np.hypot.reduce(spread(X, weight, centred))) or 1.0
    heights = spread(targets, weight, centred)
    largest = np.abs(targets).max(axis=0)
    heights = np.where(heights > 0, heights, 1e-8 * np.where(largest, largest, 1))
    if not (np.isfinite(width) and np.all(np.isfinite(heights))):
        raise ValueError(
            "The spread of X or y is not finite. Rescale them, for instance with "
            "StandardScaler."
        )
    return width, heights


def decompose(X: Array, weight: Array, fit_intercept: bool) -> Design:
    """Centre the rows and decompose them once."""
    n = float(weight.sum())
    mean = weight @ X / n if fit_intercept else np.zeros(X.shape[1])
    root = np.sqrt(weight)
    U, S, Vt = np.linalg.svd((X - mean) * root[:, None], full_matrices=False)
    # directions that rounding has made carry no information
    kept = S.max(initial=0.0) * max(X.shape) * np.finfo(float).eps < S
    return Design(
        mean, U[:, kept], S[kept], Vt[kept].T, root, n, n - 1.0 if fit_intercept else n
    )


def posterior(
    design: Design, y: Array, grid: Grid, dof: float, fit_intercept: bool
) -> Posterior:
    """Weights of the cells, all of them equally likely before the data.

    The marginal density of the m contrasts is Student t with scale matrix
    sigma^2 I + tau^2 Z Z'.
    """
    tau, sigma = grid.cells()
    m, r = design.m, len(design.S)
    y_mean = float(design.root**2 @ y / design.n) if fit_intercept else 0.0
    centred = (y - y_mean) * design.root
    along = design.U.T @ centred
    beyond = max(float(centred @ centred - along @ along), 0.0)
    spread = sigma[:, None] ** 2 + tau[:, None] ** 2 * design.S**2
    Q = (along**2 / spread).sum(axis=1) + beyond / sigma**2
    log_det = np.log(spread).sum(axis=1) + (m - r) * 2 * np.log(sigma)
    if np.isinf(dof):
        logs = -0.5 * (m * np.log(2 * np.pi) + log_det + Q)
        fit = np.ones_like(Q)
    else:
        constant = gammaln((dof + m) / 2) - gammaln(dof / 2)
        constant -= m / 2 * np.log(dof * np.pi)
        logs = constant - 0.5 * log_det - (dof + m) / 2 * np.log1p(Q / dof)
        fit = (dof + Q) / (dof + m)
    if fit_intercept:
        logs = logs - 0.5 * np.log(design.n)
    total = float(logsumexp(logs))
    return Posterior(
        y_mean, along, np.exp(logs - total), total - float(np.log(len(logs))), fit
    )


def coefficients(design: Design, found: Posterior, grid: Grid) -> Array:
    """Posterior mean of the coefficients, averaged over the cells."""
    tau, sigma = grid.cells()
    spread = sigma[:, None] ** 2 + tau[:, None] ** 2 * design.S**2
    gain = found.weights @ (tau[:, None] ** 2 / spread)
    return np.asarray(design.V @ (gain * design.S * found.along))


def predictive(
    design: Design, found: Posterior, grid: Grid, X: Array, dof: float
) -> Mixture:
    """Predictive distributions of rows."""
    tau, sigma = grid.cells()
    away = X - design.mean
    Z = away @ design.V
    outside = np.maximum((away**2).sum(axis=1) - (Z**2).sum(axis=1), 0.0)
    spread = sigma[:, None] ** 2 + tau[:, None] ** 2 * design.S**2
    means = found.y_mean + Z @ (tau[:, None] ** 2 / spread * design.S * found.along).T
    # the variance of x'w after the data; sigma^2 / n is that of the flat intercept
    intercept = sigma**2 / design.n if design.m < design.n else 0.0
    variance = Z**2 @ (tau[:, None] ** 2 * sigma[:, None] ** 2 / spread).T
    variance += outside[:, None] * tau**2 + sigma**2 + intercept
    return Mixture(found.weights, means, np.sqrt(variance * found.fit), dof + design.m)
