"""Pure functions that judge predictions."""

from skdiff.metrics._calibration import (
    BrierDecomposition,
    brier_decomposition,
    expected_calibration_error,
    ks_error,
    maximum_calibration_error,
    mse_p,
    sharpness,
)
from skdiff.metrics._holistic import HolisticLoss, holistic_robust_loss

__all__ = [
    "BrierDecomposition",
    "HolisticLoss",
    "brier_decomposition",
    "expected_calibration_error",
    "holistic_robust_loss",
    "ks_error",
    "maximum_calibration_error",
    "mse_p",
    "sharpness",
]
