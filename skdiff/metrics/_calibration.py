"""How far probabilities are from frequencies.

Bins of equal counts are bins of equal *weight* here, and equal predictions always
share a bin: a row of weight two is the same row twice, to the bit of the arithmetic.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target

from skdiff._base.compat import check_sample_weight
from skdiff._base.typing import Array

Codes = NDArray[np.intp]
STRATEGIES = ("quantile", "uniform")


class BrierDecomposition(NamedTuple):
    """Parts of the Brier score: what is calibration, and what is knowledge.

    Attributes
    ----------
    reliability : float
        Mean squared distance of the bins' forecasts from their frequencies: 0 when
        calibrated, to the resolution of the bins.
    resolution : float
        Variance of the bins' frequencies: the larger, the more the forecasts tell
        apart.
    uncertainty : float
        Variance of the outcome, which no forecast changes.
    within_bin : float
        What the binning hides; 0 when forecasts within a bin are equal.
    brier : float
        Mean squared error of the forecasts: ``reliability - resolution + uncertainty +
        within_bin``.

    Examples
    --------
    >>> from skdiff.metrics import BrierDecomposition
    >>> BrierDecomposition(0.0, 0.05, 0.25, 0.0, 0.2).brier
    0.2
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float
    brier: float


# --- bins ---------------------------------------------------------------------------


def quantile_bins(p: Array, weight: Array | None, n_bins: int) -> Codes:
    """Assign every prediction to one of ``n_bins`` bins of equal weight.

    A group of equal predictions goes to the bin that holds its middle, so that bins
    are exact when counts divide evenly and ties never straddle an edge.
    """
    values, group = np.unique(p, return_inverse=True)
    mass = np.bincount(group, weights=weight, minlength=len(values)).astype(np.float64)
    after = np.cumsum(mass)
    middle = (after - mass / 2) / after[-1]
    codes = np.minimum(np.floor(middle * n_bins), n_bins - 1).astype(np.intp)
    found: Codes = codes[group]
    return found


def uniform_bins(p: Array, n_bins: int) -> Codes:
    """Assign every prediction to one of ``n_bins`` bins of equal width on [0, 1]."""
    return np.minimum((p * n_bins).astype(np.intp), n_bins - 1)


class Bins(NamedTuple):
    """Weight, mean prediction and mean outcome of the bins that hold something."""

    weight: Array
    prediction: Array
    outcome: Array


def bin_means(y: Array, p: Array, weight: Array, codes: Codes) -> Bins:
    """Average predictions and outcomes over bins; weights become shares."""
    mass = np.bincount(codes, weights=weight)
    held = mass > 0
    sums = [np.bincount(codes, weights=weight * values)[held] for values in (p, y)]
    mass = mass[held]
    return Bins(mass / mass.sum(), sums[0] / mass, sums[1] / mass)


# --- input --------------------------------------------------------------------------


def _one_column(values: Any, name: str) -> Any:
    """Return a one-dimensional NumPy array; errors name the argument."""
    try:
        values = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        # an array of another library, on a device or with a gradient, or ragged lists
        raise ValueError(f"{name} cannot be read as a NumPy array: {error}") from error
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        hint = ""
        if name.startswith("p") and values.ndim == 2 and values.shape[1] == 2:
            hint = " Of predict_proba give the column of the positive class, [:, 1]."
        raise ValueError(
            f"{name} must be one-dimensional, got an array of shape {values.shape}."
            f"{hint}"
        )
    return values


def _same_length(a: Array, a_name: str, b: Array, b_name: str) -> None:
    if len(a) != len(b):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{a_name} has {len(a)}, {b_name} has {len(b)}."
        )


def check_probabilities(p: Any, *, name: str = "p") -> Array:
    """Return one-dimensional finite probabilities as floats."""
    p = _one_column(p, name)
    if p.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers, got dtype {p.dtype}.")
    p = p.astype(np.float64)
    if not np.isfinite(p).all():
        raise ValueError(f"Input {name} contains NaN or infinity.")
    if len(p) == 0:
        raise ValueError(f"{name} is empty: found 0 sample(s), 1 is required.")
    if p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"{name} must hold probabilities between 0 and 1; its values range from "
            f"{p.min():.6g} to {p.max():.6g}."
        )
    return p


def check_outcomes(y: Any, pos_label: Any = None) -> Array:
    """Return outcomes as 0.0 and 1.0; the larger of two labels is the positive one."""
    y = _one_column(y, "y")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Input y contains NaN or infinity.")
    kind = type_of_target(y, input_name="y")
    if kind != "binary":
        raise ValueError(f"y must hold two classes; it is {kind}.")
    labels = np.unique(y)
    if pos_label is None:
        if set(labels.tolist()) <= {0, 1}:
            pos_label = 1
        elif len(labels) == 2:
            pos_label = labels[1]
        else:
            raise ValueError(
                f"y holds the one label {labels[0]!r}. Give pos_label to tell whether "
                "it is the positive one."
            )
    elif len(labels) == 2 and pos_label not in labels.tolist():
        raise ValueError(f"pos_label={pos_label!r} is not a label of y: {labels}.")
    return (y == pos_label).astype(np.float64)


def _check(
    y: Any, p: Any, sample_weight: Any, pos_label: Any
) -> tuple[Array, Array, Array]:
    p = check_probabilities(p)
    y = check_outcomes(y, pos_label)
    _same_length(y, "y", p, "p")
    weight: Array = check_sample_weight(sample_weight, p[:, None])
    return y, p, weight


def _binned(
    y: Any, p: Any, n_bins: int, strategy: str, sample_weight: Any, pos_label: Any
) -> tuple[Bins, Array, Array, Array]:
    y, p, weight = _check(y, p, sample_weight, pos_label)
    if isinstance(n_bins, bool) or int(n_bins) != n_bins or n_bins < 1:
        raise ValueError(f"n_bins must be a positive integer, got {n_bins!r}.")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}.")
    if strategy == "uniform":
        codes = uniform_bins(p, int(n_bins))
    else:
        codes = quantile_bins(p, weight, int(n_bins))
    return bin_means(y, p, weight, codes), y, p, weight


# --- the metrics --------------------------------------------------------------------


def expected_calibration_error(
    y: Any,
    p: Any,
    n_bins: int = 15,
    strategy: str = "quantile",
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
) -> float:
    """Return the mean distance between the forecasts of a bin and its frequency.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Outcomes: two labels.
    p : array-like of shape (n_samples,)
        Probabilities of the positive label. For several classes give ``proba.max(1)``
        and ``y == classes[proba.argmax(1)]``: the error of the top label.
    n_bins : int, default=15
        Number of bins. More bins see finer faults and add more noise: with ``n``
        rows even perfect forecasts have an error of about ``sqrt(n_bins / n) / 3``.
    strategy : {"quantile", "uniform"}, default="quantile"
        Bins of equal weight, or of equal width on [0, 1]. Equal predictions always
        share a bin.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    pos_label : int, float, bool or str, default=None
        The positive label; 1, or else the larger label, if None.

    Returns
    -------
    error : float
        Between 0 and 1; the smaller, the better calibrated.

    References
    ----------
    M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining Well Calibrated
    Probabilities Using Bayesian Binning", AAAI 2015.

    Examples
    --------
    >>> from skdiff.metrics import expected_calibration_error
    >>> round(expected_calibration_error([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6]), 6)
    0.25
    """
    bins, *_ = _binned(y, p, n_bins, strategy, sample_weight, pos_label)
    return float(bins.weight @ np.abs(bins.prediction - bins.outcome))


def maximum_calibration_error(
    y: Any,
    p: Any,
    n_bins: int = 15,
    strategy: str = "quantile",
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
) -> float:
    """Return the largest distance between the forecasts of a bin and its frequency.

    It is the noisiest of the calibration errors; do not choose models by it.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Outcomes: two labels.
    p : array-like of shape (n_samples,)
        Probabilities of the positive label.
    n_bins : int, default=15
        Number of bins.
    strategy : {"quantile", "uniform"}, default="quantile"
        Bins of equal weight, or of equal width on [0, 1].
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    pos_label : int, float, bool or str, default=None
        The positive label; 1, or else the larger label, if None.

    Returns
    -------
    error : float
        Between 0 and 1.

    Examples
    --------
    >>> from skdiff.metrics import maximum_calibration_error
    >>> round(maximum_calibration_error([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6]), 6)
    0.4
    """
    bins, *_ = _binned(y, p, n_bins, strategy, sample_weight, pos_label)
    return float(np.abs(bins.prediction - bins.outcome).max())


def ks_error(
    y: Any, p: Any, *, sample_weight: Any = None, pos_label: Any = None
) -> float:
    """Return the largest distance of cumulated outcomes from cumulated forecasts.

    The Kolmogorov-Smirnov calibration error: rows are sorted by forecast, and no bins
    are needed.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Outcomes: two labels.
    p : array-like of shape (n_samples,)
        Probabilities of the positive label.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    pos_label : int, float, bool or str, default=None
        The positive label; 1, or else the larger label, if None.

    Returns
    -------
    error : float
        Between 0 and 1.

    References
    ----------
    K. Gupta, A. Rahimi, T. Ajanthan, T. Mensink, C. Sminchisescu and R. Hartley,
    "Calibration of Neural Networks using Splines", ICLR 2021, arXiv 2006.12800.

    Examples
    --------
    >>> from skdiff.metrics import ks_error
    >>> round(ks_error([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6]), 6)
    0.15
    """
    y, p, weight = _check(y, p, sample_weight, pos_label)
    _, group = np.unique(p, return_inverse=True)
    excess = np.bincount(group, weights=weight * (y - p)) / weight.sum()
    return float(np.abs(np.cumsum(excess)).max())


def mse_p(p_true: Any, p: Any, *, sample_weight: Any = None) -> float:
    """Return the mean squared error to the true probabilities.

    Only simulations know them. The Brier score is this number plus a constant that no
    forecast changes, which is why it ranks forecasts of probabilities better than
    calibration errors do.

    Parameters
    ----------
    p_true : array-like of shape (n_samples,)
        True probabilities.
    p : array-like of shape (n_samples,)
        Forecasts.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    error : float
        Between 0 and 1.

    Examples
    --------
    >>> from skdiff.metrics import mse_p
    >>> round(mse_p([0.2, 0.8], [0.3, 0.6]), 6)
    0.025
    """
    p_true = check_probabilities(p_true, name="p_true")
    p = check_probabilities(p)
    _same_length(p_true, "p_true", p, "p")
    weight: Array = check_sample_weight(sample_weight, p[:, None])
    return float(np.average((p_true - p) ** 2, weights=weight))


def sharpness(
    y: Any,
    p: Any,
    n_bins: int = 10,
    strategy: str = "uniform",
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
) -> float:
    """Return the mean squared frequency of the bins of the forecasts.

    The larger, the better forecasts sort outcomes; calibration does not enter. It lies
    between the squared base rate (no knowledge) and the base rate (perfect knowledge).

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Outcomes: two labels.
    p : array-like of shape (n_samples,)
        Probabilities of the positive label.
    n_bins : int, default=10
        Number of bins.
    strategy : {"quantile", "uniform"}, default="uniform"
        Bins of equal weight, or of equal width on [0, 1].
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    pos_label : int, float, bool or str, default=None
        The positive label; 1, or else the larger label, if None.

    Returns
    -------
    sharpness : float
        Between 0 and 1.

    References
    ----------
    C. Gupta and A. Ramdas, "Online Platt Scaling with Calibeating", ICML 2023,
    arXiv 2305.00070.

    Examples
    --------
    >>> from skdiff.metrics import sharpness
    >>> sharpness([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6])
    0.5
    """
    bins, *_ = _binned(y, p, n_bins, strategy, sample_weight, pos_label)
    return float(bins.weight @ bins.outcome**2)


def brier_decomposition(
    y: Any,
    p: Any,
    n_bins: int = 10,
    strategy: str = "quantile",
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
) -> BrierDecomposition:
    """Split the Brier score into reliability, resolution and uncertainty.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Outcomes: two labels.
    p : array-like of shape (n_samples,)
        Probabilities of the positive label.
    n_bins : int, default=10
        Number of bins.
    strategy : {"quantile", "uniform"}, default="quantile"
        Bins of equal weight, or of equal width on [0, 1].
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    pos_label : int, float, bool or str, default=None
        The positive label; 1, or else the larger label, if None.

    Returns
    -------
    parts : BrierDecomposition
        ``reliability``, ``resolution``, ``uncertainty``, ``within_bin`` and ``brier``.

    References
    ----------
    A. H. Murphy, "A New Vector Partition of the Probability Score", Journal of Applied
    Meteorology 12, 1973.

    Examples
    --------
    >>> from skdiff.metrics import brier_decomposition
    >>> parts = brier_decomposition([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6])
    >>> round(parts.reliability, 6), parts.resolution, parts.uncertainty
    (0.085, 0.25, 0.25)
    """
    bins, y, p, weight = _binned(y, p, n_bins, strategy, sample_weight, pos_label)
    base = float(np.average(y, weights=weight))
    brier = float(np.average((y - p) ** 2, weights=weight))
    reliability = float(bins.weight @ (bins.prediction - bins.outcome) ** 2)
    resolution = float(bins.weight @ (bins.outcome - base) ** 2)
    uncertainty = base * (1 - base)
    rest = brier - (reliability - resolution + uncertainty)
    return BrierDecomposition(reliability, resolution, uncertainty, rest, brier)
