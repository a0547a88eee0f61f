"""What one temperature does to forecasts, in numbers."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.metrics._calibration import bin_means, quantile_bins

N_BINS = 15
N_DRAWS = 999


class Quality(NamedTuple):
    """Log loss, calibration error of the top class, error to the true posterior."""

    log_loss: float
    ece: float
    mse_to_truth: float


def quality(log_proba: Array, codes: IntArray, truth: Array | None) -> Quality:
    """Judge forecasts by outcomes and, where it is known, by the true posterior.

    The squared error is that of a row's probabilities summed over the classes.
    """
    P = np.exp(log_proba)
    loss = -float(log_proba[np.arange(len(codes)), codes].mean())
    right = (P.argmax(axis=1) == codes).astype(np.float64)
    mse = np.nan
    if truth is not None:
        mse = float(((P - truth) ** 2).sum(axis=1).mean())
    top = P.max(axis=1)
    return Quality(loss, top_label_error(top, right[:, None])[0], mse)


def top_label_error(top: Array, right: Array) -> Array:
    """Calibration errors of one forecast for several columns of outcomes."""
    weight = np.ones(len(top))
    bins = quantile_bins(top, None, N_BINS)
    base = bin_means(top, top, weight, bins)
    kept = np.unique(bins)
    sums = np.zeros((bins.max() + 1, right.shape[1]))
    np.add.at(sums, bins, right)
    counts = np.bincount(bins)[kept]
    gap = np.abs(base.prediction[:, None] - sums[kept] / counts[:, None])
    error: Array = base.weight @ gap
    return error


def consistency(log_proba: Array, codes: IntArray, rng: np.random.Generator) -> float:
    """P-value of perfect calibration of the top class (Bröcker and Smith, 2007).

    Outcomes are drawn from the forecasts themselves; the p-value is the fraction of
    draws whose calibration error is at least the observed one.
    """
    P = np.exp(log_proba)
    top = P.max(axis=1)
    right = (P.argmax(axis=1) == codes).astype(np.float64)
    observed = top_label_error(top, right[:, None])[0]
    drawn = (rng.random((len(top), N_DRAWS)) < top[:, None]).astype(np.float64)
    above = int((top_label_error(top, drawn) >= observed - 1e-12).sum())
    return (1 + above) / (1 + N_DRAWS)
