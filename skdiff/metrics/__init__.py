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

__all__ = [
    "BrierDecomposition",
    "brier_decomposition",
    "expected_calibration_error",
    "ks_error",
    "maximum_calibration_error",
    "mse_p",
    "sharpness",
]
