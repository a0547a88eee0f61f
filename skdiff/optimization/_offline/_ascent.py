"""Projected ascent of a believed value within bounds, from several rows at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from skdiff._base.typing import Array, BoolArray

ValueAndGradient = Callable[[Array], tuple[Array, Array]]
_ORDINARY = 0.9  # quantile of the distances between rows that counts as usual


class Box(NamedTuple):
    """Bounds of the rows; ``width`` is one where there is nothing between them."""

    low: Array
    high: Array

    @property
    def width(self) -> Array:
        """Length of each side."""
        length = self.high - self.low
        return np.asarray(np.where(length > 0, length, 1.0))


class Ascent(NamedTuple):
    """Where each start has led, and the mean belief after each step."""

    rows: Array  # (starts, columns)
    values: Array  # (starts,), of the objective
    trace: Array  # (steps + 1,)


class Neighbourhood:
    """Distance to the nearest training row in whitened columns.

    It is measured by the covariance of the rows (Mahalanobis), and is zero up to the
    distance that nine rows in ten have to their own nearest neighbour.
    """

    def __init__(self, X: Array) -> None:
        centred = X - X.mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T @ centred / max(len(X), 1))
        kept = values > values.max(initial=0.0) * len(values) * np.finfo(float).eps
        self.whiten = vectors[:, kept] / np.sqrt(values[kept])
        rows = np.unique(X @ self.whiten, axis=0)
        self.tree = cKDTree(rows)
        own = self.tree.query(rows, k=2)[0][:, 1] if len(rows) > 1 else np.zeros(1)
        usual = float(np.quantile(own, _ORDINARY))
        self.usual = usual if usual > 0 else 1.0

    def __call__(self, X: Array) -> tuple[Array, Array]:
        """Return the excess, in usual distances and squared, and its gradient."""
        Z = X @ self.whiten
        distance, nearest = self.tree.query(Z)
        excess = np.maximum(distance / self.usual - 1.0, 0.0)
        away = (Z - self.tree.data[nearest]) / np.where(distance > 0, distance, 1.0)[
            :, None
        ]
        slope = (2 * excess / self.usual)[:, None] * (away @ self.whiten.T)
        return excess**2, slope


def ascend(
    objective: ValueAndGradient,
    starts: Array,
    box: Box,
    n_steps: int,
    step_size: float,
) -> Ascent:
    """Climb by Adam in units of the box, projected; keep the best row of each path.

    The step falls to zero like a cosine. A row is never worse than its start.
    """
    U = np.clip((starts - box.low) / box.width, 0.0, 1.0)
    fixed = box.high <= box.low
    first, second = np.zeros_like(U), np.zeros_like(U)
    value, slope = objective(box.low + U * box.width)
    best, rows, trace = value.copy(), U.copy(), [float(value.mean())]
    for step in range(1, n_steps + 1):
        g = np.where(fixed, 0.0, slope * box.width)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        rate = step_size * 0.5 * (1 + np.cos(np.pi * (step - 1) / n_steps))
        rate *= np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        U = np.clip(U + rate * first / (np.sqrt(second) + 1e-12), 0.0, 1.0)
        value, slope = objective(box.low + U * box.width)
        better = value > best
        best, rows = np.where(better, value, best), np.where(better[:, None], U, rows)
        trace.append(float(value.mean()))
    return Ascent(box.low + rows * box.width, best, np.array(trace))


def whole_columns(X: Array) -> BoolArray:
    """Tell which columns hold whole numbers only."""
    return np.asarray(np.all(np.round(X) == X, axis=0))


def rounded(X: Array, whole: BoolArray, box: Box) -> Array:
    """Round the columns of whole numbers, within the bounds."""
    low, high = np.ceil(box.low), np.floor(box.high)
    near = np.clip(np.round(X), low, np.maximum(low, high))
    return np.asarray(np.where(whole, near, np.clip(X, box.low, box.high)))


def by_differences(predict: Callable[[Array], Array], box: Box) -> ValueAndGradient:
    """Value and central differences of any function of rows, for smooth ones."""
    steps = 1e-4 * box.width

    def evaluate(X: Array) -> tuple[Array, Array]:
        p = X.shape[1]
        moved = np.repeat(X[None], 2 * p + 1, axis=0)
        for j in range(p):
            moved[2 * j + 1, :, j] += steps[j]
            moved[2 * j + 2, :, j] -= steps[j]
        found = np.asarray(predict(moved.reshape(-1, p)), dtype=np.float64)
        found = found.reshape(2 * p + 1, len(X))
        return found[0], ((found[1::2] - found[2::2]) / (2 * steps[:, None])).T

    return evaluate
