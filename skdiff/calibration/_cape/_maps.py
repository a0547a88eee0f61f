"""Maps from what a model says to what then happens, and the targets made of them.

Everything here is on arrays: forecasts ``p``, outcomes ``y`` in {0, 1}, weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from skdiff._base.typing import Array
from skdiff.metrics._calibration import bin_means, quantile_bins

Codes = NDArray[np.intp]

SMALLEST = 1e-3  # of a target of one class among several, before they are normalised
EDGE = 1e-12  # logits stay finite
PLATT_STEPS = 100
# a kernel reaches as far as its tail still counts: exp(-8**2 / 2) is 1e-14
REACH = 8.0
GRID, FINEST_GRID, POINTS_PER_WIDTH = 2048, 2**21, 100.0


def log_odds(p: Array) -> Array:
    """Return the log odds of probabilities, finite at 0 and 1 too."""
    p = np.clip(p, EDGE, 1 - EDGE)
    odds: Array = np.log(p) - np.log1p(-p)
    return odds


# --- Platt's map --------------------------------------------------------------------


class Line(NamedTuple):
    """A line on the log-odds scale: ``expit(slope * z + offset)``."""

    slope: float
    offset: float

    def __call__(self, z: Array) -> Array:
        """Return probabilities at log odds ``z``."""
        p: Array = expit(self.slope * z + self.offset)
        return p


def fit_platt(z: Array, y: Array, weight: Array, prior: float = 0.0) -> Line:
    """Fit ``y ~ expit(slope * z + offset)`` by Newton.

    Without a prior it is fitted to Platt's smoothed outcomes ``(N + 1) / (N + 2)`` and
    ``1 / (N + 2)``, which keep the slope finite when ``z`` separates the classes
    (Platt, 1999). Of a handful of events they change the frequency; with ``prior`` the
    outcomes are as they are, and ``prior / 2 * ((slope - 1)**2 + offset**2)`` holds the
    line near the identity until the rows say otherwise.
    """
    high, low = weight @ y, weight @ (1 - y)
    smoothed = np.where(y > 0, (high + 1) / (high + 2), 1 / (low + 2))
    target = y if prior else smoothed
    unit = max(float(np.abs(z).max()), EDGE)
    design = np.column_stack([z / unit, np.ones_like(z)])
    base = np.average(smoothed, weights=weight)
    centre = np.array([unit, 0.0])
    ridge = prior * np.array([1 / unit**2, 1.0])
    theta = centre if prior else np.array([0.0, np.log(base / (1 - base))])

    def objective(theta: Array) -> float:
        s = design @ theta
        penalty = 0.5 * float(ridge @ (theta - centre) ** 2)
        return float(weight @ (np.logaddexp(0, s) - target * s)) + penalty

    value = objective(theta)
    for _ in range(PLATT_STEPS):
        p = expit(design @ theta)
        gradient = design.T @ (weight * (p - target)) + ridge * (theta - centre)
        curvature = weight * np.maximum(p * (1 - p), EDGE)
        hessian = (design.T * curvature) @ design + np.diag(ridge)
        # constant forecasts have no slope: the ridge leaves it at zero
        step = np.linalg.solve(hessian + EDGE * np.trace(hessian) * np.eye(2), gradient)
        size, gain = 1.0, float(gradient @ step)
        while (new := objective(theta - size * step)) > value - 1e-4 * size * gain:
            size /= 2
            if size < 1e-10:
                return Line(float(theta[0] / unit), float(theta[1]))
        theta, value = theta - size * step, new
        if gain < 1e-14 * (1 + abs(value)):
            break
    return Line(float(theta[0] / unit), float(theta[1]))


# --- targets from the forecasts of the rows themselves ------------------------------


def bin_targets(p: Array, y: Array, weight: Array, n_bins: int) -> Array:
    """Return the mean outcome of each row's bin; equal forecasts share a bin."""
    codes = quantile_bins(p, weight, n_bins)
    mass = np.bincount(codes, weights=weight)
    hits = np.bincount(codes, weights=weight * y)
    with np.errstate(invalid="ignore"):
        means: Array = (hits / mass)[codes]
    return means


def kernel_targets(p: Array, y: Array, weight: Array, bandwidth: float) -> Array:
    """Return a Gaussian kernel regression of ``y`` on ``p``, at the rows themselves.

    ``t_i = sum_j w_j K((p_j - p_i) / s) y_j / sum_j w_j K((p_j - p_i) / s)``. Equal
    forecasts are added up first; then the two sums are convolutions on a grid, by FFT,
    or, for a kernel too narrow for a grid, sums over neighbours in sorted order.
    """
    values, group = np.unique(p, return_inverse=True)
    mass = np.bincount(group, weights=weight)
    hits = np.bincount(group, weights=weight * y)
    width = values[-1] - values[0]
    points = POINTS_PER_WIDTH * width / bandwidth
    if points + 2 <= FINEST_GRID:
        size = max(GRID, int(points) + 2)
        smooth = _smooth_on_grid(values, np.stack([hits, mass]), bandwidth, size)
    else:
        smooth = _smooth_neighbours(values, np.stack([hits, mass]), bandwidth)
    targets: Array = np.clip(smooth[0] / smooth[1], 0, 1)[group]
    return targets


def _smooth_on_grid(x: Array, sums: Array, bandwidth: float, size: int) -> Array:
    """Kernel sums at sorted points: linear binning, a convolution, interpolation."""
    width = x[-1] - x[0]
    if width == 0:
        return sums
    place = (x - x[0]) / width * (size - 1)
    left = np.minimum(place.astype(np.intp), size - 2)
    share = place - left
    step = width / (size - 1) / bandwidth
    reach = min(size - 1, int(np.ceil(REACH / step)))
    kernel = np.exp(-0.5 * (step * np.arange(-reach, reach + 1)) ** 2)
    length = next_fast_len(size + 2 * reach, real=True)
    spectrum = rfft(kernel, length)
    smooth = np.empty_like(sums)
    for k, values in enumerate(sums):
        grid = np.bincount(left, weights=values * (1 - share), minlength=size)
        grid += np.bincount(left + 1, weights=values * share, minlength=size)
        found = irfft(rfft(grid, length) * spectrum, length)[reach : reach + size]
        smooth[k] = found[left] * (1 - share) + found[left + 1] * share
    return smooth


def _smooth_neighbours(x: Array, sums: Array, bandwidth: float) -> Array:
    """Kernel sums at sorted distinct points, over pairs within the kernel's reach."""
    smooth = sums.copy()
    for lag in range(1, len(x)):
        z = (x[lag:] - x[:-lag]) / bandwidth
        near = np.flatnonzero(z < REACH)
        if not len(near):
            break
        kernel = np.exp(-0.5 * z[near] ** 2)
        smooth[:, near] += kernel * sums[:, near + lag]
        smooth[:, near + lag] += kernel * sums[:, near]
    return smooth


# --- targets from the forecasts of other rows ---------------------------------------


def platt_map(p: Array, y: Array, weight: Array, n_bins: int) -> Callable:
    """Platt's map, learned on held-out forecasts."""
    line = fit_platt(log_odds(p), y, weight)
    return lambda new: line(log_odds(new))


def bin_map(p: Array, y: Array, weight: Array, n_bins: int) -> Callable:
    """Frequencies of bins by Laplace's rule, ``(hits + 1) / (rows + 2)``."""
    codes = quantile_bins(p, weight, n_bins)
    bins = bin_means(y, p, weight, codes)
    mass = bins.weight * weight.sum()
    frequency = (mass * bins.outcome + 1) / (mass + 2)
    # an edge lies midway between the bins; the bins hold intervals in order
    _, first = np.unique(codes[np.argsort(p)], return_index=True)
    ordered = np.sort(p)
    edges = (ordered[first[1:] - 1] + ordered[first[1:]]) / 2
    return lambda new: frequency[np.searchsorted(edges, new)]


def isotonic_map(p: Array, y: Array, weight: Array, n_bins: int) -> Callable:
    """The best increasing map, kept off 0 and 1 by Laplace's rule."""
    mass = weight.sum()
    curve = IsotonicRegression(
        y_min=1 / (mass + 2), y_max=(mass + 1) / (mass + 2), out_of_bounds="clip"
    ).fit(p, y, sample_weight=weight)
    return lambda new: curve.predict(new)


MAPS = {"platt": platt_map, "bin": bin_map, "isotonic": isotonic_map}


# --- several classes ----------------------------------------------------------------

# targets of some rows' forecasts of one class, from (forecasts, hits) of known rows
OneClass = Callable[[Array, Array, Array], Array]


def class_targets(
    proba: Array, known: Array, codes: Codes, one_class: OneClass, top_label: bool
) -> Array:
    """Return targets of shape (n_rows, n_classes) that sum to one.

    ``proba`` are the forecasts that get targets, ``known`` those whose classes
    ``codes`` are known; ``one_class(p, p_known, hit)`` makes the targets of one
    column. Two classes have one column; several are treated one against the rest, or
    the likeliest alone with the rest in proportion.
    """
    n, k = proba.shape
    if k == 2:
        t = one_class(proba[:, 1], known[:, 1], (codes == 1).astype(float))
        return np.column_stack([1 - t, t])
    if top_label:
        rows, top = np.arange(n), proba.argmax(axis=1)
        hit = (known.argmax(axis=1) == codes).astype(float)
        confidence = one_class(proba[rows, top], known.max(axis=1), hit)
        rest = proba.copy()
        rest[rows, top] = 0.0
        total = rest.sum(axis=1, keepdims=True)
        rest = np.where(total > EDGE, rest / np.maximum(total, EDGE), 1 / (k - 1))
        targets = rest * (1 - confidence)[:, None]
        targets[rows, top] = confidence
        return targets / targets.sum(axis=1, keepdims=True)
    columns = [
        one_class(proba[:, j], known[:, j], (codes == j).astype(float))
        for j in range(k)
    ]
    targets = np.clip(np.column_stack(columns), SMALLEST, 1)
    normal: Array = targets / targets.sum(axis=1, keepdims=True)
    return normal
