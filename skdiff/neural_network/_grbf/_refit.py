"""The last step of a default regressor: kernel ridge regression in the learned metric.

The precision matrix has been learned with few centres and one width. In its metric the
function is then fitted anew, with a centre on every row (or on many) and, where it
helps, a kernel that is the mean of several widths: broad bumps carry far rows, narrow
ones the detail. Penalised is the norm of the function ``w' K w``, not ``|w|^2``:
few centres and a small ridge leave huge weights that cancel on the training rows and
fail on a row off them.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from skdiff._base.typing import Array
from skdiff.neural_network._grbf._losses import LEAST_LEFT, Point
from skdiff.neural_network._grbf._solver import kernel_features

# multiples of the precision
WIDTHS = (0.25, 1.0, 4.0, 16.0)
MOST_ROWS = 1024  # that carry a centre
PENALTIES = 10.0 ** np.arange(-7.0, 0.1, 0.5)
JITTER = 1e-8
# The metric has been fitted to the leave-one-out errors of one width, which are
# too good for that: several are taken unless their squared error is so much larger
ALLOWANCE = 1.4


class Refit(NamedTuple):
    """A point and the mean squared error of rows left out."""

    point: Point
    error: float


def refit(X: Array, Y: Array, s: Array, point: Point, C: Array) -> Refit:
    """The function in the metric of ``point``, with centres C and its best widths."""
    one, several = (
        _ridge(X, Y, s, point._replace(C=C, widths=widths))
        for widths in ((1.0,), WIDTHS)
    )
    return several if several.error <= ALLOWANCE * one.error else one


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
