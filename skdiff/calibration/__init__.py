"""Probabilities that agree with frequencies, offline and online."""

from skdiff.calibration._cape._estimator import CalibratedProbabilityClassifier
from skdiff.calibration._crude._estimator import EmpiricalResidualCalibrator
from skdiff.calibration._online_platt._estimator import OnlinePlattCalibrator
from skdiff.calibration._temperature._base import temperature_scaling_study
from skdiff.calibration._temperature._estimator import TemperatureScaler

__all__ = [
    "CalibratedProbabilityClassifier",
    "EmpiricalResidualCalibrator",
    "OnlinePlattCalibrator",
    "TemperatureScaler",
    "temperature_scaling_study",
]
