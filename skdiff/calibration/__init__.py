"""Probabilities that mean what they say, offline and online."""

from skdiff.calibration._cape import CalibratedProbabilityClassifier

__all__ = ["CalibratedProbabilityClassifier"]
