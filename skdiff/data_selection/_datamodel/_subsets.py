"""Training on many subsets at once, from statistics of all rows.

Each function returns what a model trained on each subset says of each target row:
(subsets, targets) of predictions, or (subsets, targets, classes). They agree with
fitting scikit-learn's estimator subset by subset, up to rounding.
"""

from typing import Any

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray

_BATCH = 2**18  # numbers held at once


def draw_masks(
    n: int, size: int, n_subsets: int, codes: IntArray | None, rng: Any
) -> BoolArray:
    """Draw subsets of equal size, each of which holds every class."""
    masks = np.zeros((n_subsets, n), dtype=bool)
    classes = 0 if codes is None else int(codes.max()) + 1
    for mask in masks:
        for _ in range(200):
            rows = rng.choice(n, size=size, replace=False)
            if codes is None or len(np.unique(codes[rows])) == classes:
                break
        else:
            raise ValueError(
                f"Random subsets of {size} rows lose a class. Raise alpha, or drop "
                "classes of a few rows."
            )
        mask[rows] = True
    return masks


def _members(masks: BoolArray) -> IntArray:
    """Row numbers of each subset; all have one size."""
    return np.nonzero(masks)[1].reshape(len(masks), -1)


def _batches(m: int, numbers: int) -> list[slice]:
    step = max(1, _BATCH // max(numbers, 1))
    return [slice(a, min(a + step, m)) for a in range(0, m, step)]


def ridge_outputs(
    X: Array, y: Array, X_target: Array, masks: BoolArray, alpha: float, intercept: bool
) -> Array:
    """Predictions of ridge regressions: primal or dual, whichever system is smaller."""
    size, d = int(masks[0].sum()), X.shape[1]
    if intercept:  # the same fits, better conditioned
        centre = X.mean(axis=0)
        X, X_target = X - centre, X_target - centre
    if size < d:
        return kernel_outputs(X @ X.T, y, X_target @ X.T, masks, alpha, intercept)
    return _primal_outputs(X, y, X_target, masks, alpha, intercept)


def _primal_outputs(
    X: Array, y: Array, X_target: Array, masks: BoolArray, alpha: float, intercept: bool
) -> Array:
    n, d = X.shape
    upper = np.triu_indices(d)
    products = X[:, upper[0]] * X[:, upper[1]]
    total, cross = products.sum(axis=0), X * y[:, None]
    size = int(masks[0].sum())
    outputs = np.empty((len(masks), len(X_target)))
    # statistics of a large subset are those of all rows less those left out
    complement = 2 * size > n
    for batch in _batches(len(masks), d * d):
        M = (~masks[batch] if complement else masks[batch]).astype(np.float64)
        flat = M @ products
        S = masks[batch].astype(np.float64)
        sums, b = S @ X, S @ cross
        y_mean = (S @ y) / size
        H = np.empty((len(M), d, d))
        flat = total - flat if complement else flat
        H[:, upper[0], upper[1]] = flat
        H[:, upper[1], upper[0]] = flat
        x_mean = sums / size
        if intercept:
            H -= sums[:, :, None] * x_mean[:, None, :]
            b = b - sums * y_mean[:, None]
        H[:, np.arange(d), np.arange(d)] += alpha
        w = _solved(H, b, alpha)
        outputs[batch] = w @ X_target.T
        if intercept:
            outputs[batch] += (y_mean - np.einsum("ij,ij->i", x_mean, w))[:, None]
    return outputs


def _solved(H: Array, b: Array, alpha: float) -> Array:
    """Solve many systems; the shortest solutions without a penalty."""
    if alpha > 0:
        return np.asarray(np.linalg.solve(H, b[:, :, None])[:, :, 0], dtype=np.float64)
    inverse = np.linalg.pinv(H, hermitian=True)
    return np.asarray(np.einsum("ijk,ik->ij", inverse, b))


def kernel_outputs(
    K: Array, y: Array, K_target: Array, masks: BoolArray, alpha: float, intercept: bool
) -> Array:
    """Predictions of kernel ridge regressions; ``K`` is (rows, rows)."""
    members = _members(masks)
    size = members.shape[1]
    outputs = np.empty((len(masks), len(K_target)))
    for batch in _batches(len(masks), size * size):
        rows = members[batch]
        H = K[rows[:, :, None], rows[:, None, :]]
        target = y[rows]
        mean = target.mean(axis=1)
        if intercept:
            column = H.mean(axis=1)
            H = H - column[:, None, :] - column[:, :, None]
            H += column.mean(axis=1)[:, None, None]
            target = target - mean[:, None]
        H[:, np.arange(size), np.arange(size)] += alpha
        dual = _solved(H, target, alpha)
        spread = np.zeros((len(rows), K.shape[0]))
        if intercept:
            # products with the centred rows: weights that sum to zero
            centred = dual - dual.mean(axis=1, keepdims=True)
            np.put_along_axis(spread, rows, centred, axis=1)
            offset = mean - np.sum(centred * column, axis=1)
            outputs[batch] = spread @ K_target.T + offset[:, None]
        else:
            np.put_along_axis(spread, rows, dual, axis=1)
            outputs[batch] = spread @ K_target.T
    return outputs


def neighbor_outputs(order: IntArray, Y: Array, masks: BoolArray, k: int) -> Array:
    """Mean outcome of the k nearest rows of each subset.

    ``order`` holds, per target, all rows from the nearest on; ``Y`` is (rows, outputs).
    """
    outputs = np.empty((len(masks), len(order), Y.shape[1]))
    for j, near in enumerate(order):
        present = masks[:, near]
        counted = np.cumsum(present, axis=1, dtype=np.int32)
        chosen = present & (counted <= k)
        outputs[:, j] = chosen.astype(np.float64) @ Y[near] / k
    return outputs


def gaussian_nb_outputs(
    X: Array,
    codes: IntArray,
    X_target: Array,
    masks: BoolArray,
    var_smoothing: float,
    priors: Array | None,
) -> Array:
    """Probabilities of Gaussian naive Bayes: (subsets, targets, classes)."""
    K = int(codes.max()) + 1
    centre = X.mean(axis=0)
    X, X_target = X - centre, X_target - centre
    S = masks.astype(np.float64)
    size = S.sum(axis=1)[:, None]
    first, second = S @ X / size, S @ X**2 / size
    smoothing = var_smoothing * (second - first**2).max(axis=1)
    log_joint = np.empty((len(masks), len(X_target), K))
    for c in range(K):
        inside = codes == c
        own = S[:, inside]
        count = own.sum(axis=1)[:, None]
        mean = own @ X[inside] / count
        var = own @ X[inside] ** 2 / count - mean**2 + smoothing[:, None]
        prior = count[:, 0] / size[:, 0] if priors is None else priors[c]
        constant = np.log(prior) - 0.5 * np.sum(np.log(2 * np.pi * var), axis=1)
        # sum (x - mean)^2 / var, without an array of subsets x targets x columns
        square = (1 / var) @ (X_target**2).T - 2 * (mean / var) @ X_target.T
        square += np.sum(mean**2 / var, axis=1)[:, None]
        log_joint[:, :, c] = constant[:, None] - 0.5 * square
    log_joint -= log_joint.max(axis=2, keepdims=True)
    P = np.exp(log_joint)
    return np.asarray(P / P.sum(axis=2, keepdims=True))
