"""Numbers of the .632+ bootstrap: no-information error, weight, standard error.

Errors are scores with their sign turned, so smaller is better. ``Err1`` is the
leave-one-out bootstrap error: the mean over rows of the mean error of the bootstrap
models that have not seen the row.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray


def _zero_one(y: Any, p: Any) -> Array:
    return np.asarray(y != p, dtype=np.float64)


def _squared(y: Any, p: Any) -> Array:
    return np.asarray((y - p) ** 2, dtype=np.float64)


def _absolute(y: Any, p: Any) -> Array:
    return np.asarray(np.abs(y - p), dtype=np.float64)


def no_information_zero_one(y: Any, p: Any) -> float:
    """Error of predictions that are independent of the outcomes (eq. 27)."""
    labels, codes = np.unique(np.concatenate([y, p]), return_inverse=True)
    n = len(y)
    of_y = np.bincount(codes[:n], minlength=len(labels)) / n
    of_p = np.bincount(codes[n:], minlength=len(labels)) / n
    return float(1 - of_y @ of_p)


def no_information_squared(y: Any, p: Any) -> float:
    """Mean over all pairs of ``(y_i - p_j)^2``, in closed form."""
    return float(np.var(y) + np.var(p) + (np.mean(y) - np.mean(p)) ** 2)


def no_information_absolute(y: Any, p: Any) -> float:
    """Mean over all pairs of ``|y_i - p_j|``, by one sort."""
    values = np.sort(p)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    below = np.searchsorted(values, y)
    total = below * y - sums[below] + (sums[-1] - sums[below])
    total -= (len(p) - below) * y
    return float(total.sum() / (len(y) * len(p)))


class RowLoss(NamedTuple):
    """A loss of single rows, and its value without information."""

    loss: Callable[[Any, Any], Array]
    no_information: Callable[[Any, Any], float]


ROW_LOSSES = {
    "accuracy": RowLoss(_zero_one, no_information_zero_one),
    "neg_mean_squared_error": RowLoss(_squared, no_information_squared),
    "neg_mean_absolute_error": RowLoss(_absolute, no_information_absolute),
}


def draw(n_units: int, strata: IntArray | None, rng: Any) -> IntArray:
    """How often each unit is drawn in one bootstrap sample."""
    if strata is None:
        return np.asarray(
            np.bincount(rng.randint(n_units, size=n_units), minlength=n_units)
        )
    counts = np.zeros(n_units, dtype=np.int64)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        drawn = rows[rng.randint(len(rows), size=len(rows))]
        counts += np.bincount(drawn, minlength=n_units)
    return counts


class Tally:
    """Running sums over bootstrap samples; memory of a few vectors.

    Parameters
    ----------
    n_rows, n_units : int
        Rows, and units that are drawn: rows or groups.
    """

    def __init__(self, n_rows: int, n_units: int) -> None:
        self.n_rows, self.n_units, self.n_samples = n_rows, n_units, 0
        self.error, self.times_out = np.zeros(n_rows), np.zeros(n_rows)
        self.counts, self.counts_q = np.zeros(n_units), np.zeros(n_units)
        self.q: list[float] = []

    def add(self, counts: IntArray, out: BoolArray, errors: Array | float) -> None:
        """Note one sample: row errors of the rows outside it, or one error."""
        single = np.ndim(errors) == 0
        if not single:
            self.error[out] += errors
        self.times_out[out] += 1
        q = float(errors) if single else float(np.sum(errors)) / self.n_rows
        self.q.append(q)
        self.counts += counts
        self.counts_q += counts * q
        self.n_samples += 1

    def row_errors(self) -> Array:
        """Mean error of each row; NaN for rows that every sample holds."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.error / self.times_out)

    def covariance(self) -> Array:
        """Covariance over samples of each unit's count with the error."""
        B = self.n_samples
        return np.asarray(self.counts_q / B - self.counts / B * np.mean(self.q))


def influence_of_rows(tally: Tally, unit_of_row: IntArray) -> Array:
    """Influence of each unit on Err1, divided by the number of units (eq. 37).

    With ``E_i`` the mean error of row i, ``D_i = (2 + 1 / (n - 1)) (E_i - Err1) / n +
    (1 - 1 / n)^-n Cov(N_i, q)``; units of several rows count by their total error.
    """
    errors, m = tally.row_errors(), tally.n_units
    total = np.nanmean(errors)
    filled = np.where(np.isnan(errors), total, errors)
    of_unit = np.bincount(unit_of_row, weights=filled, minlength=m) * m / tally.n_rows
    e = (1 - 1 / m) ** -m
    return np.asarray(
        (2 + 1 / (m - 1)) * (of_unit - total) / m + e * tally.covariance()
    )


def standard_error(influence: Array, noise: float, strata: IntArray | None) -> float:
    """Root of the sum of squares, less what few bootstrap samples add to it."""
    D = influence - influence.mean()
    if strata is not None:
        size = np.bincount(strata)
        D = D - (np.bincount(strata, weights=D) / size)[strata]
    squares = float(np.sum(D**2))
    # the correction can exceed the sum with very few samples
    return float(np.sqrt(max(squares - noise, squares / 4)))


def sampling_noise(tally: Tally, scale: float) -> float:
    """Expected sum of squares of the covariances that chance alone gives."""
    m = tally.n_units
    return float(scale**2 * m * (1 - 1 / m) * np.var(tally.q) / tally.n_samples)


class Combined(NamedTuple):
    """The estimate, and what it is made of."""

    error: float
    weight: float
    overfitting: float


def combine(method: str, out: float, train: float, gamma: float) -> Combined:
    """Combine the error outside the samples with the training error.

    With ``out' = min(out, gamma)`` the relative overfitting rate is ``R = (out' -
    train) / (gamma - train)``, zero where either difference is not positive, and the
    weight of the first ``.632 / (1 - .368 R)``, within [.632, 1] (eq. 28 to 32).
    """
    if method == "oob":
        return Combined(out, 1.0, np.nan)
    if method == "632":
        return Combined(0.368 * train + 0.632 * out, 0.632, np.nan)
    capped = min(out, gamma)
    R = 0.0
    if capped > train and gamma > train:
        R = (capped - train) / (gamma - train)
    weight = 0.632 / (1 - 0.368 * R)
    return Combined((1 - weight) * train + weight * capped, weight, float(R))
