"""Lower tails from a sample of errors, for spaces of hypotheses without a formula."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaln, hyp1f1
from scipy.stats import gamma as gamma_distribution
from scipy.stats import genpareto

from skdiff._base.typing import Array

TAILS = ("gamma", "ncx2", "gpd", "empirical")
BEYOND = 3.0  # nats past ln m from which a figure is the model's alone
_LOW = 0.2  # fraction of the errors that a Pareto tail is fitted to


class ErrorTail(NamedTuple):
    """Distribution of errors, fitted to a sample.

    Attributes
    ----------
    kind : str
        Name of the model.
    parameters : tuple of float
        Shape and scale, or degrees, noncentrality and scale, or threshold, shape and
        scale, in units of the mean.
    errors : ndarray of shape (n_errors,)
        The sample, sorted, in units of its mean.
    unit : float
        The mean.
    """

    kind: str
    parameters: tuple[float, ...]
    errors: Array
    unit: float = 1.0

    def mean(self) -> float:
        """Return the mean of the sample."""
        return float(self.errors.mean() * self.unit)

    def var(self) -> float:
        """Return the variance of the sample."""
        return float(self.errors.var() * self.unit * self.unit)

    def logcdf(self, x: float) -> float:
        """Return the logarithm of the probability of an error of at most x."""
        return _logcdf(self, float(x) / self.unit)

    def cdf(self, x: float) -> float:
        """Return the probability of an error of at most x."""
        return float(np.exp(self.logcdf(x)))

    def ppf(self, q: float) -> float:
        """Return the error with probability q below it."""
        if self.kind == "empirical":
            return float(np.quantile(self.errors, q) * self.unit)

        def miss(z: float) -> float:
            return _logcdf(self, float(np.exp(z))) - float(np.log(q))

        low = high = 0.0
        while miss(low) > 0 and low > -700:
            low -= 1
        while miss(high) < 0 and high < 700:
            high += 1
        if low == high:
            low -= 1
        return float(np.exp(brentq(miss, low, high)) * self.unit)


def fit_tail(errors: Array, kind: str) -> ErrorTail:
    """Fit a model by moments, the Pareto tail by likelihood."""
    unit = float(np.mean(errors)) or 1.0
    errors = np.sort(np.asarray(errors, dtype=np.float64)) / unit
    spread = float(errors.std())
    if kind == "empirical" or spread <= 1e-12:
        return ErrorTail("empirical", (), errors, unit)
    if kind == "gamma":
        return ErrorTail(kind, (spread**-2, spread**2), errors, unit)
    if kind == "ncx2":
        return ErrorTail(kind, _noncentral(errors), errors, unit)
    return ErrorTail(kind, _pareto(errors), errors, unit)


def _noncentral(errors: Array) -> tuple[float, float, float]:
    """Match three moments of scale * ncx2(df, delta), df within [0.5, 2 m].

    With mean m and variance v the scale c has 2 c^2 (df + 2 delta) = v and
    c (df + delta) = m: given df, c solves c^2 df - 2 c m + v / 2 = 0. The third
    central moment 8 c^3 (df + 3 delta) chooses df.
    """
    m, v = float(errors.mean()), float(errors.var())
    third = float(((errors - m) ** 3).mean())

    def at(df: float) -> tuple[float, float]:
        root = max(m * m - df * v / 2, 0.0)
        scale = (m - np.sqrt(root)) / df
        return float(scale), float(max(m / scale - df, 0.0))

    def miss(log_df: float) -> float:
        df = float(np.exp(log_df))
        scale, delta = at(df)
        return (8 * scale**3 * (df + 3 * delta) - third) ** 2

    low, high = np.log(0.5), np.log(max(min(2.0 * len(errors), 2 * m * m / v), 0.51))
    df = float(np.exp(minimize_scalar(miss, bounds=(low, high), method="bounded").x))
    scale, delta = at(df)
    return df, delta, scale


def _pareto(errors: Array) -> tuple[float, float, float]:
    """Fit the reciprocals of the smallest fifth, above their threshold."""
    count = max(int(_LOW * len(errors)), 3)
    threshold = 1 / max(errors[count], 1e-300)
    excess = 1 / np.maximum(errors[:count], 1e-300) - threshold
    if excess.max() <= 0:
        return threshold, 0.0, 1e-12 * threshold
    shape, _, scale = genpareto.fit(excess, floc=0)
    return threshold, float(shape), float(scale)


def _logcdf(tail: ErrorTail, x: float) -> float:
    if x <= 0 and tail.kind != "empirical":
        return -np.inf
    if tail.kind == "gamma":
        return _log_gamma(x, *tail.parameters)
    if tail.kind == "ncx2":
        return _log_noncentral(x, *tail.parameters)
    if tail.kind == "gpd" and 1 / x > tail.parameters[0]:
        threshold, shape, scale = tail.parameters
        inside = (tail.errors < 1 / threshold).mean()
        excess = 1 / x - threshold
        return float(np.log(inside) + genpareto.logsf(excess, shape, 0, scale))
    below = np.searchsorted(tail.errors, x, side="right") / len(tail.errors)
    return float(np.log(below)) if below > 0 else -np.inf


def _log_gamma(x: float, shape: float, scale: float) -> float:
    z = x / scale
    if z > shape / 2:
        return float(gamma_distribution.logcdf(z, shape))
    # the series of the incomplete gamma function, which does not underflow
    log = shape * np.log(z) - z - gammaln(shape + 1)
    return float(log + np.log(hyp1f1(1, shape + 1, z)))


def _log_noncentral(x: float, df: float, delta: float, scale: float) -> float:
    z, half = x / scale, delta / 2
    j = np.arange(int(half + 12 * np.sqrt(half + 1)) + 30)
    log_weight = j * np.log(max(half, 1e-300)) - half - gammaln(j + 1)
    logs = [_log_gamma(z, df / 2 + k, 2.0) for k in j]
    return float(min(np.logaddexp.reduce(log_weight + logs), 0.0))


def bootstrap_interval(
    errors: Array, kind: str, target: float, rng: np.random.RandomState
) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of the information over resampled errors."""
    rows = rng.randint(len(errors), size=(200, len(errors)))
    found = [-fit_tail(errors[r], kind).logcdf(target) for r in rows]
    low, high = np.quantile(found, [0.05, 0.95], method="nearest")
    return float(low), float(high)
