"""Pure functions that judge predictions and compare samples."""

from skdiff.metrics._calibration import (
    BrierDecomposition,
    brier_decomposition,
    expected_calibration_error,
    ks_error,
    maximum_calibration_error,
    mse_p,
    sharpness,
)
from skdiff.metrics._discrepancy import mmd
from skdiff.metrics._holistic import HolisticLoss, holistic_robust_loss
from skdiff.metrics._shapes import shape_distance
from skdiff.metrics._weighted_discrepancy import optimally_weighted_mmd

__all__ = [
    "BrierDecomposition",
    "HolisticLoss",
    "brier_decomposition",
    "expected_calibration_error",
    "holistic_robust_loss",
    "ks_error",
    "maximum_calibration_error",
    "mmd",
    "mse_p",
    "optimally_weighted_mmd",
    "shape_distance",
    "sharpness",
]
