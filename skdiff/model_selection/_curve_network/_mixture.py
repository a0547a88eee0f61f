"""Mixtures of Gaussians: densities, distribution functions, quantiles."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtr

from skdiff._base.typing import FloatArray

_LOG_2PI = float(np.log(2 * np.pi))


class Mixture(NamedTuple):
    """Mixtures of Gaussians, components on the last axis.

    Parameters
    ----------
    weights, means, stds : array of shape (..., n_components)
    """

    weights: FloatArray
    means: FloatArray
    stds: FloatArray

    def mean(self) -> FloatArray:
        """Means of the mixtures."""
        total: FloatArray = (self.weights * self.means).sum(-1)
        return total

    def log_density(self, value: FloatArray) -> FloatArray:
        """Log densities at ``value`` of shape (...,)."""
        z = (value[..., None] - self.means) / self.stds
        with np.errstate(divide="ignore"):
            parts = np.log(self.weights) - 0.5 * (z**2 + _LOG_2PI) - np.log(self.stds)
        density: FloatArray = logsumexp(parts, axis=-1)
        return density

    def cdf(self, value: FloatArray) -> FloatArray:
        """Distribution functions at ``value`` of shape (...,)."""
        z = (value[..., None] - self.means) / self.stds
        below: FloatArray = (self.weights * ndtr(z)).sum(-1)
        return below

    def log_survival(self, value: FloatArray) -> FloatArray:
        """Log probabilities of more than ``value``, exact far in the tail."""
        z = (value[..., None] - self.means) / self.stds
        with np.errstate(divide="ignore"):
            above: FloatArray = logsumexp(np.log(self.weights) + log_ndtr(-z), axis=-1)
        return above

    def stretched(self, scale: float) -> "Mixture":
        """Widen the spread about the mean by a factor."""
        centre = self.mean()[..., None]
        return Mixture(
            self.weights, centre + scale * (self.means - centre), scale * self.stds
        )

    def quantile(self, levels: FloatArray) -> FloatArray:
        """Invert the distribution functions; levels broadcast against (...,).

        Bisection between the outermost component quantiles, which hold the solution.
        """
        from scipy.special import ndtri

        z = ndtri(levels)[..., None]
        ends = self.means + self.stds * z
        low, high = ends.min(-1), ends.max(-1)
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < levels
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        middle_: FloatArray = 0.5 * (low + high)
        return middle_
