"""The last step of a default regressor: kernel ridge regression in a metric.

The precision matrix has been learned with few centres and one width. The function is
then fitted anew, with a centre on every row (or on many), in that metric or in one with
a floor under its eigenvalues, and with one width or with several: broad bumps carry far
rows, narrow ones the detail. Penalised is the norm of the function ``w' K w``, not
``|w|^2``.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from skdiff._base.typing import Array
from skdiff.neural_network._grbf._losses import LEAST_LEFT, Point
from skdiff.neural_network._grbf._solver import (
    choose_centers,
    half_distances,
    kernel_features,
    mean_of_bumps,
)

# multiples of a precision of trace one; weighed by one over their roots the bumps add
# up to a kernel that falls off linearly from its centre, for targets with fine detail
WIDTHS = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
# eigenvalues that are added to all, in units of the mean eigenvalue, largest first
# the first is the plain metric but for the order of the directions
FLOORS = (30.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.0)
CHOOSING_ROWS = 600
# The learned metric has been fitted to errors left out, which are too good for that:
# the largest floor is taken whose squared error is at most so much above the lowest
ALLOWANCE = 1.05
MOST_CENTERS = 1024  # of one width, beyond which more rows carry nothing new
# rows that all carry a centre where there are several widths (of more, so many are
# drawn); fewer come first, for the penalty
MIDDLE_ROWS, MOST_ROWS = 2048, 8192
BLOCK = 256  # rows of the kernel matrix made at once
# rows beyond which the matrix is in single precision, for half the memory and time, and
# what is at least added to its diagonal of ones
DOUBLE_UP_TO, SINGLE_JITTER = 2048, 1e-3
# rows whose errors left out choose the penalty then, and how often it may get smaller:
# more rows lie closer, and what was noise among few is detail among many
CHECKED, SMALLER = 256, 4
PENALTIES = 10.0 ** np.arange(-7.0, 0.1, 0.5)
JITTER = 1e-8


class Refit(NamedTuple):
    """A point and the mean squared error of rows left out."""

    point: Point
    error: float


def refit(
    X: Array,
    Y: Array,
    s: Array,
    point: Point,
    alive: Array | None,
    rng: np.random.RandomState,
    is_over: Callable[[], bool],
) -> Point:
    """The function anew, with metric, widths and penalty chosen by errors left out.

    ``alive`` marks the columns that a floor may bring in. Without it the metric is that
    of ``point``, scale included. ``is_over`` tells that there is no time for more.
    """
    n = len(X)
    rows = np.sort(rng.permutation(n)[:CHOOSING_ROWS])
    few = X[rows], Y[rows], s[rows] / s[rows].sum()
    best = []
    for start in _starts(point, alive):
        start = start._replace(C=few[0])
        several = start._replace(widths=WIDTHS)
        if alive is not None:  # the scale of detail is not that of one width
            unit = start.U / max(float(np.linalg.norm(start.U)), 1e-150)
            several = several._replace(U=unit)
        pair = _ridge(*few, start), _ridge(*few, several)
        best.append(min(pair, key=lambda one: one.error))
    most = ALLOWANCE * min(one.error for one in best)
    chosen = next(one.point for one in best if one.error <= most)
    if n <= CHOOSING_ROWS:
        return chosen
    if len(chosen.widths) > 1:
        order, before = rng.permutation(n), CHOOSING_ROWS
        for most_rows in (MIDDLE_ROWS, MOST_ROWS):
            rows = np.sort(order[:most_rows])
            # the penalty is on the scale of weights that sum to one
            penalty = chosen.penalty * before / len(rows)
            some = X[rows], Y[rows], s[rows] / s[rows].sum()
            chosen = _on_all_rows(*some, chosen._replace(penalty=penalty), rng)
            before = len(rows)
            if before == n or is_over():
                break
        return chosen
    C = choose_centers(X, s, min(MOST_CENTERS, n), "random", rng)
    return _ridge(X, Y, s, chosen._replace(C=C)).point


def _starts(point: Point, alive: Array | None) -> list[Point]:
    """The point with each floor under the eigenvalues of its precision matrix."""
    if alive is None:
        return [point]
    P = point.U @ point.U.T
    mean = np.trace(P) / max(alive.sum(), 1.0)
    found = []
    for floor in FLOORS[:-1]:
        values, vectors = np.linalg.eigh(P + np.diag(floor * mean * alive))
        U = vectors * np.sqrt(np.maximum(values, 0.0))
        found.append(point._replace(U=U))
    return [*found, point]


def _on_all_rows(
    X: Array, Y: Array, s: Array, point: Point, rng: np.random.RandomState
) -> Point:
    """Kernel ridge regression with a centre on every row, solved exactly.

    ``(K + penalty / S) w = Y - b`` where the weights sum to zero. The error of a row
    left out is its weight over its diagonal entry of the inverse matrix.
    """
    n = len(X)
    K = _lower_triangle(X, point)
    jitter = JITTER if K.dtype == np.float64 else SINGLE_JITTER
    rows = np.sort(rng.permutation(n)[:CHECKED])
    units = np.zeros((n, len(rows)), K.dtype)
    units[rows, np.arange(len(rows))] = 1.0
    best = Refit(point, np.inf)
    for k in range(SMALLER + 1):
        penalty = point.penalty * 10.0 ** (-k / 2)
        _fill_upper(K)
        K.flat[:: n + 1] = 1.0 + jitter + penalty / s
        # the factor takes the upper triangle alone
        L, _ = cho_factor(K.T, lower=True, overwrite_a=True, check_finite=False)
        solved = cho_solve((L, True), np.column_stack([Y, np.ones(n)]).astype(K.dtype))
        solved = solved.astype(np.float64)
        V, one = solved[:, :-1], solved[:, -1:]
        b = V.sum(axis=0) / one.sum()
        W = V - one * b
        half = solve_triangular(L, units, lower=True, check_finite=False)
        inverse = (half**2).sum(axis=0) - one[rows, 0] ** 2 / one.sum()
        E = W[rows] / inverse[:, None]
        error = float(np.vdot(s[rows, None] * E, E) / s[rows].sum())
        if error >= best.error:
            break
        best = Refit(point._replace(C=X.copy(), W=W, b=b, penalty=penalty), error)
    return best.point


def _lower_triangle(X: Array, point: Point) -> Array:
    """Kernel values of all pairs of rows; only those below the diagonal are set."""
    n = len(X)
    K = np.empty((n, n), np.float64 if n <= DOUBLE_UP_TO else np.float32)
    Z = X @ point.U
    for i in range(0, n, BLOCK):
        # distances in double precision: the narrow bumps see their rounding
        D = half_distances(Z[i:], Z[i : i + BLOCK]).astype(K.dtype, copy=False)
        K[i:, i : i + BLOCK] = mean_of_bumps(D, point.widths)
    return K


def _fill_upper(K: Array) -> None:
    """Copy what is below the diagonal above it."""
    for i in range(0, len(K), BLOCK):
        j = i + BLOCK
        K[i:j, j:] = K[j:, i:j].T
        low = np.tril(K[i:j, i:j], -1)
        K[i:j, i:j] = low + low.T


def _ridge(X: Array, Y: Array, s: Array, point: Point) -> Refit:
    """Kernel ridge regression; the penalty has the lowest leave-one-out error."""
    C = point.C
    K = kernel_features(C, point.U, C, point.widths)[0]
    K.flat[:: len(K) + 1] += JITTER
    # in the coordinates L'w the norm of the function is that of a vector
    L = np.linalg.cholesky(K)
    Phi = kernel_features(X, point.U, C, point.widths)[0]
    T = solve_triangular(L, Phi.T, lower=True).T
    t_mean, y_mean = s @ T, s @ Y
    T -= t_mean
    R = Y - y_mean
    values, vectors = np.linalg.eigh((T * s[:, None]).T @ T)
    values = np.maximum(values, 0.0)
    T = T @ vectors
    slopes, squares = T.T @ (s[:, None] * R), T**2
    error, penalty, best = np.inf, 0.0, np.zeros_like(slopes)
    for candidate in PENALTIES:
        kept = 1.0 / (values + candidate)
        v = kept[:, None] * slopes
        leverage = s * (squares @ kept + 1.0)  # one for the intercept
        left = np.maximum(1.0 - leverage, LEAST_LEFT)
        E = (R - T @ v) / left[:, None]
        found = float(np.vdot(s[:, None] * E, E))
        if found < error:
            error, penalty, best = found, float(candidate), v
    v = vectors @ best
    W = solve_triangular(L, v, lower=True, trans="T")
    return Refit(point._replace(W=W, b=y_mean - t_mean @ v, penalty=penalty), error)
