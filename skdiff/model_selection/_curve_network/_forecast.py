"""Forecasts in the units of the score, from mixtures on the unit interval."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray
from skdiff.model_selection._curve_network._mixture import Mixture
from skdiff.model_selection._curve_network._scale import Scale

#: probabilities at which a mean under a logistic map is computed
_NODES = (np.arange(200) + 0.5) / 200


class Forecast(NamedTuple):
    """Distributions of later values of one or more curves.

    Under a logistic map the mixture is cut to the unit interval, which the bounds of
    the score are mapped to; under a straight line it is kept as it is, since noisy
    values of curves of the prior leave the interval.
    """

    mixture: Mixture
    scale: Scale

    @property
    def _cut(self) -> bool:
        return self.scale.soft is not None

    def _ends(self) -> tuple[FloatArray, FloatArray]:
        shape = self.mixture.means.shape[:-1]
        return self.mixture.cdf(np.zeros(shape)), self.mixture.cdf(np.ones(shape))

    def mean(self) -> FloatArray:
        """Mean in the units of the score.

        The mean of a curved map is not the map of the mean, so it is the average of
        quantiles there.
        """
        if not self._cut:
            return self.scale.backward(self.mixture.mean())
        return self.quantiles(_NODES).mean(-1)

    def quantiles(self, levels: FloatArray) -> FloatArray:
        """Quantiles at levels of shape (k,), on a new last axis."""
        levels = 1 - levels if self.scale.flip else levels
        wide = Mixture(*(a[..., None, :] for a in self.mixture))
        at = np.broadcast_to(levels, (*self.mixture.means.shape[:-1], len(levels)))
        if not self._cut:
            return self.scale.backward(wide.quantile(at))
        low, high = (e[..., None] for e in self._ends())
        inner = low + at * (high - low)
        unit = wide.quantile(np.clip(inner, 1e-12, 1 - 1e-12))
        return self.scale.backward(np.clip(unit, 1e-9, 1 - 1e-9))

    def log_density(self, y: FloatArray) -> FloatArray:
        """Log density in the units of the score."""
        unit = self.scale.forward(y)
        density = self.mixture.log_density(unit) + self.scale.log_slope(y)
        if self._cut:
            low, high = self._ends()
            density = density - np.log(np.maximum(high - low, 1e-300))
        return density

    def better_than(self, threshold: FloatArray) -> FloatArray:
        """Probability of a score that is strictly better than ``threshold``."""
        unit = self.scale.forward(threshold)
        above = np.exp(self.mixture.log_survival(unit))
        if self._cut:
            low, high = self._ends()
            above = (above - (1 - high)) / np.maximum(high - low, 1e-300)
        better: FloatArray = np.clip(above, 0, 1)
        return better

    def sample(self, n: int, rng: np.random.RandomState) -> FloatArray:
        """Draw ``n`` values of each, on a new first axis."""
        shape = (n, *self.mixture.means.shape[:-1])
        level = rng.uniform(size=shape)
        if self._cut:
            low, high = self._ends()
            level = low + level * (high - low)
        unit = self.mixture.quantile(np.clip(level, 1e-12, 1 - 1e-12))
        if self._cut:
            unit = np.clip(unit, 1e-9, 1 - 1e-9)
        return self.scale.backward(unit)
