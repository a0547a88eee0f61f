"""What the network sees of the observed part of a curve: a summary of fixed length.

Everything is computed from cumulative sums, so that all prefixes of many curves cost
little more than one.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray

N_BINS = 12
#: means and counts of the bins, and eight numbers on the whole prefix
N_SUMMARY = 2 * N_BINS + 8
N_QUERY = 3
_LAST = 8
_NO_NOISE = 3e-4


class Observed(NamedTuple):
    """Cumulative sums over the observed epochs of n curves.

    Parameters
    ----------
    counts : array of shape (n, m + 1)
        Observed epochs among the first 0, 1, ..., m.
    values : array of shape (n, m)
        Observed values first, in order.
    positions : array of shape (n, m)
        Their epochs as x = 100 * epoch / horizon.
    sums : array of shape (n, m + 1)
        Cumulative sums of ``values``.
    bends : array of shape (n, m + 1)
        Cumulative sums of squared second differences of ``values``.
    horizon : int
        Epochs of a whole curve.
    """

    counts: np.ndarray
    values: FloatArray
    positions: FloatArray
    sums: FloatArray
    bends: FloatArray
    horizon: int


def observe(Y: FloatArray, horizon: int) -> Observed:
    """Prepare curves of shape (n, m), NaN where an epoch was not observed."""
    seen = ~np.isnan(Y)
    first = np.argsort(~seen, axis=1, kind="stable")
    values = np.where(seen, Y, 0.0)
    values = np.take_along_axis(values, first, 1)
    positions = (first + 1) * (100.0 / horizon)
    bend = np.zeros_like(values)
    bend[:, 2:] = np.diff(values, 2, axis=1) ** 2
    start = np.zeros((len(Y), 1))
    return Observed(
        np.concatenate([start.astype(int), np.cumsum(seen, 1)], 1),
        values,
        positions,
        np.concatenate([start, np.cumsum(values, 1)], 1),
        np.concatenate([start, np.cumsum(bend, 1)], 1),
        horizon,
    )


def summarise(
    seen: Observed, rows: np.ndarray, epochs: np.ndarray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Summarise the first ``epochs`` of the curves ``rows``.

    Parameters
    ----------
    seen : Observed
    rows, epochs : int arrays of shape (k,)
        At least one epoch has to be observed.

    Returns
    -------
    summary : array of shape (k, N_SUMMARY)
    reference : array of shape (k,)
        Mean of the last values, from which the network counts.
    last : array of shape (k,)
        x of the last observed epoch.
    """
    n = seen.counts[rows, epochs]
    values, sums, bends = seen.values[rows], seen.sums[rows], seen.bends[rows]
    at = np.arange(len(rows))
    last = seen.positions[rows, n - 1]
    recent = np.minimum(n, _LAST)
    reference = (sums[at, n] - sums[at, n - recent]) / recent
    quarter = np.maximum(n // 4, 1)
    means, numbers = _bins(seen, rows, last, values, sums)
    tail = np.minimum(np.maximum(n - 2, 0), _LAST)
    noise = _log_noise(bends[at, n], n - 2)
    recent_noise = _log_noise(bends[at, n] - bends[at, n - tail], tail)
    summary = np.concatenate(
        [
            means - reference[:, None],
            np.log1p(numbers) / 3,
            np.stack(
                [
                    reference,
                    values[at, n - 1] - reference,
                    (sums[at, n] - sums[at, n - quarter]) / quarter - reference,
                    noise / 4,
                    recent_noise / 4,
                    np.log(last) / 4,
                    last / 100,
                    np.log(n) / 4,
                ],
                axis=1,
            ),
        ],
        axis=1,
    )
    return summary, reference, last


def _bins(
    seen: Observed,
    rows: np.ndarray,
    last: FloatArray,
    values: FloatArray,
    sums: FloatArray,
) -> tuple[FloatArray, np.ndarray]:
    """Mean and number of values in bins that are log-spaced from x = 1 on.

    The first bin takes what is before. An empty one takes the value at its right edge.
    """
    at = np.arange(len(rows))[:, None]
    parts = np.arange(N_BINS + 1) / N_BINS
    low = np.minimum(1.0, last / 2)[:, None]
    edges = low * (last[:, None] / low) ** parts
    edges[:, 0] = 0.0
    epochs = np.floor(edges * (seen.horizon / 100.0) + 1e-6).astype(int)
    epochs = np.minimum(epochs, seen.counts.shape[1] - 1)
    upto = seen.counts[rows[:, None], epochs]
    numbers = np.diff(upto, axis=1)
    totals = np.diff(sums[at, upto], axis=1)
    right = values[at, np.maximum(upto[:, 1:] - 1, 0)]
    means = np.where(numbers > 0, totals / np.maximum(numbers, 1), right)
    return means, numbers


def _log_noise(bend: FloatArray, n: np.ndarray) -> FloatArray:
    """Half the log of the noise variance that second differences show."""
    variance = np.where(n > 0, bend / (6 * np.maximum(n, 1)), _NO_NOISE)
    noise: FloatArray = 0.5 * np.log(np.maximum(variance, 1e-10))
    return noise


def queries(last: FloatArray, at: FloatArray) -> FloatArray:
    """Describe the positions ``at`` as seen from ``last``; the new last axis is 3."""
    last, at = np.broadcast_arrays(last, at)
    query: FloatArray = np.stack(
        [at / 100, np.log(at / last), (at - last) / 100], axis=-1
    )
    return query
