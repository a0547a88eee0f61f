"""Additive cubic splines with a roughness penalty, straight beyond the data.

y = mean + sum_j B_j(x_j) c_j with B-splines on even knots and the penalty
lambda_j |D c_j|^2 on second differences, which leaves straight lines free (P. H. C.
Eilers and B. D. Marx, "Flexible Smoothing with B-splines and Penalties", 1996). Two
groups of columns have one lambda each, both chosen by generalised cross-validation.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.interpolate import BSpline

from skdiff._base.typing import Array, IntArray

DEGREE = 3
PENALTIES = np.logspace(-3, 6, 10)
_RIDGE = 1e-8  # decides what constants and equal columns leave open


class Additive(NamedTuple):
    """A fitted sum of splines."""

    low: Array  # (columns,)
    high: Array  # (columns,)
    coef: Array  # (columns, basis)
    mean: Array  # (columns, basis), of the basis over the training rows
    y_mean: float
    penalties: Array  # (groups,)

    def predict(self, X: Array) -> Array:
        """Predict rows."""
        out = np.full(len(X), self.y_mean)
        for j, column in enumerate(X.T):
            B = basis(column, self.low[j], self.high[j], self.coef.shape[1])
            out += (B - self.mean[j]) @ self.coef[j]
        return out


def basis(x: Array, low: float, high: float, size: int) -> Array:
    """Cubic B-splines on even knots within (low, high), continued by straight lines."""
    if not low < high:
        return np.zeros((len(x), size))
    step = (high - low) / (size - DEGREE)
    knots = low + step * np.arange(-DEGREE, size + 1)
    splines = BSpline(knots, np.eye(size), DEGREE)
    inside = np.clip(x, low, high)
    found: Array = splines(inside)
    beyond = np.flatnonzero(x != inside)
    if len(beyond):
        slope = splines.derivative()(inside[beyond])
        found[beyond] += (x - inside)[beyond, None] * slope
    return found


def fit_additive(X: Array, y: Array, groups: IntArray, size: int) -> Additive:
    """Fit a sum of splines; ``groups`` numbers the group of each column from zero."""
    n, p = X.shape
    low, high = X.min(axis=0), X.max(axis=0)
    parts = [basis(X[:, j], low[j], high[j], size) for j in range(p)]
    mean = np.stack([part.mean(axis=0) for part in parts])
    B = np.hstack(parts) - mean.ravel()
    away = y - y.mean()
    gram, right = B.T @ B, B.T @ away
    difference = np.diff(np.eye(size), n=2, axis=0)
    rough = difference.T @ difference
    total, best = float(away @ away), None
    ridge = _RIDGE * max(float(np.trace(gram)) / len(gram), 1e-300) * np.eye(len(gram))
    for chosen in product(PENALTIES, repeat=int(groups.max()) + 1):
        penalty = np.kron(np.diag(np.array(chosen)[groups]), rough) + ridge
        solved = np.linalg.solve(gram + penalty, np.column_stack([right, gram]))
        coef = solved[:, 0]
        freedom = 1.0 + float(np.trace(solved[:, 1:]))
        error = max(total - 2 * float(coef @ right) + float(coef @ gram @ coef), 0.0)
        score = error / max(n - freedom, 1e-3) ** 2
        if best is None or score < best[0]:
            best = (score, coef, np.array(chosen))
    assert best is not None
    return Additive(low, high, best[1].reshape(p, size), mean, float(y.mean()), best[2])
