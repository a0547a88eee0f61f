"""Between the units of a score and the interval [0, 1] in which curves rise."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray

# of the logistic map: the soft range is where it is nearly straight
_STEEP = 2.0


class Scale(NamedTuple):
    """A map of scores onto [0, 1], larger is better.

    Parameters
    ----------
    low, high : float
        Bounds of the score, possibly infinite; they land on 0 and 1.
    soft : tuple of float or None
        Range in which scores usually lie. With it the map is a logistic one, without
        it a straight line.
    flip : bool
        Whether smaller scores are better.
    """

    low: float
    high: float
    soft: tuple[float, float] | None
    flip: bool

    def forward(self, y: FloatArray) -> FloatArray:
        """Map scores onto [0, 1]."""
        if self.soft is None:
            unit = (y - self.low) / (self.high - self.low)
        else:
            bottom, top = self._ends()
            unit = (_logistic(self._straight(y)) - bottom) / (top - bottom)
        return 1 - unit if self.flip else unit

    def backward(self, unit: FloatArray) -> FloatArray:
        """Invert :meth:`forward`."""
        unit = 1 - unit if self.flip else unit
        if self.soft is None:
            return self.low + unit * (self.high - self.low)
        bottom, top = self._ends()
        with np.errstate(divide="ignore"):
            part = np.clip(bottom + np.clip(unit, 0, 1) * (top - bottom), 0, 1)
            z = (np.log(part) - np.log1p(-part)) / _STEEP
        low, high = self.soft
        scores: FloatArray = np.clip(
            low + (z + 1) / 2 * (high - low), self.low, self.high
        )
        return scores

    def log_slope(self, y: FloatArray) -> FloatArray:
        """Logarithm of the derivative of :meth:`forward`, without its sign."""
        if self.soft is None:
            return np.full(np.shape(y), -np.log(self.high - self.low))
        bottom, top = self._ends()
        z = np.abs(_STEEP * self._straight(y))
        low, high = self.soft
        slope: FloatArray = (
            -z - 2 * np.log1p(np.exp(-z))
            + np.log(2 * _STEEP / (high - low))
            - np.log(top - bottom)
        )  # fmt: skip
        return slope

    def _straight(self, y: FloatArray) -> FloatArray:
        """Map the soft range onto [-1, 1]."""
        assert self.soft is not None
        low, high = self.soft
        straight: FloatArray = 2 * (np.asarray(y, float) - low) / (high - low) - 1
        return straight

    def _ends(self) -> tuple[float, float]:
        ends = self._straight(np.array([self.low, self.high]))
        bottom, top = _logistic(ends)
        return float(bottom), float(top)


def _logistic(z: FloatArray) -> FloatArray:
    from scipy.special import expit

    value: FloatArray = expit(_STEEP * z)
    return value
