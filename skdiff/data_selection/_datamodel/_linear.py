"""Linear models of many targets on the same masks, from one Gram matrix.

Masks are centred, ``Z = M - mean``; ``G = Z'Z`` and ``C = Z'F`` serve all targets at
once, so a step for all of them is one product of matrices.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from skdiff._base.typing import Array, BoolArray, FloatArray


class Moments(NamedTuple):
    """What the fits need to know of masks and outputs.

    ``gram`` (rows, rows), ``cross`` (rows, targets), ``squares`` (targets,),
    ``mask_mean`` (rows,), ``output_mean`` (targets,), ``m`` subsets, and ``top``, the
    largest eigenvalue of ``gram``.
    """

    gram: Array
    cross: Array
    squares: Array
    mask_mean: Array
    output_mean: Array
    m: int
    top: float


class Fit(NamedTuple):
    """Coefficients (rows, targets), their relative duality gaps, and steps."""

    coef: Array
    gap: Array
    n_iter: int


def moments(masks: BoolArray, outputs: Array) -> Moments:
    """Gather the moments in one pass."""
    m = len(masks)
    mean, centre = masks.mean(axis=0), outputs.mean(axis=0)
    F = outputs - centre
    # counts of up to 2 ** 24 are exact in single precision, at half the price
    M: FloatArray = masks.astype(np.float32) if m < 2**24 else masks.astype(np.float64)
    gram = (M.T @ M).astype(np.float64) - m * np.outer(mean, mean)
    Z = masks.astype(np.float64)
    Z -= mean
    top = _largest_eigenvalue(gram)
    return Moments(gram, Z.T @ F, np.sum(F**2, axis=0), mean, centre, m, top)


def largest_penalty(data: Moments) -> Array:
    """Return, per target, the smallest L1 penalty under which all weights are zero."""
    return np.asarray(np.abs(data.cross).max(axis=0) / data.m)


def lasso(
    data: Moments,
    penalty: Array,
    start: Array | None = None,
    *,
    tol: float = 1e-4,
    max_iter: int = 5000,
) -> Fit:
    """Minimise ``|F - Z b|^2 / (2 m) + penalty |b|_1`` for all targets.

    Accelerated proximal gradient with restarts; targets leave once their duality gap is
    at most ``tol`` times ``|F|^2 / (2 m)``. The Gram matrix of random masks is well
    conditioned as soon as there are more subsets than rows, which makes few steps do.
    """
    n, q = data.cross.shape
    coef = np.zeros((n, q)) if start is None else start.copy()
    scale = np.maximum(data.squares / (2 * data.m), 1e-300)
    step = data.m / max(data.top, 1e-300)
    gap = np.full(q, np.inf)
    active = np.arange(q)
    B = coef
    A, C, lam = B, data.cross, penalty
    t, n_iter = 1.0, 0
    GB = data.gram @ B
    GA = GB
    for n_iter in range(1, max_iter + 1):
        W = A + step / data.m * (C - GA)
        new = np.sign(W) * np.maximum(np.abs(W) - step * lam, 0.0)
        Gnew = data.gram @ new
        uphill = np.sum((A - new) * (new - B)) > 0
        following = 1.0 if uphill else (1 + np.sqrt(1 + 4 * t * t)) / 2
        momentum = 0.0 if uphill else (t - 1) / following
        A = new + momentum * (new - B)
        GA = Gnew + momentum * (Gnew - GB)
        B, GB, t = new, Gnew, following
        if n_iter % 3 and n_iter != max_iter:
            continue
        found = _gaps(B, GB, C, data.squares[active], lam, data.m) / scale[active]
        gap[active] = found
        going = found > tol
        if not going.all():
            coef[:, active] = B
            active = active[going]
            if not len(active):
                break
            A, B, C, lam = A[:, going], B[:, going], C[:, going], lam[going]
            GA, GB = GA[:, going], GB[:, going]
    else:
        coef[:, active] = B
    return Fit(coef, gap, n_iter)


def _gaps(
    B: Array, GB: Array, C: Array, squares: Array, penalty: Array, m: int
) -> Array:
    """Duality gaps; the dual point is the residual, scaled to be feasible."""
    fitted = np.sum(B * C, axis=0)
    residual = np.maximum(squares - 2 * fitted + np.sum(B * GB, axis=0), 0.0)
    slope = np.abs(C - GB).max(axis=0)
    scale = np.minimum(1.0, m * penalty / np.maximum(slope, 1e-300))
    primal = residual / (2 * m) + penalty * np.abs(B).sum(axis=0)
    inner = squares - fitted  # product of the residual with the outputs
    dual = (2 * scale * inner - scale**2 * residual) / (2 * m)
    return np.asarray(np.maximum(primal - dual, 0.0))


def _largest_eigenvalue(G: Array) -> float:
    return float(eigh(G, eigvals_only=True, subset_by_index=[len(G) - 1] * 2)[0])


def ridge_path(masks: BoolArray, outputs: Array, penalties: Array) -> list[Array]:
    """Minimise ``|F - Z b|^2 + penalty |b|^2`` for several penalties.

    One eigendecomposition serves them all: of the Gram matrix of the rows, or, where
    there are fewer subsets than rows, of that of the subsets.
    """
    Z = masks.astype(np.float64)
    Z -= Z.mean(axis=0)
    F = outputs - outputs.mean(axis=0)
    few = len(Z) < Z.shape[1]
    values, V = eigh(Z @ Z.T if few else Z.T @ Z)
    rotated = V.T @ (F if few else Z.T @ F)
    shifted = [np.maximum(values, 0)[:, None] + lam for lam in penalties]
    found = [V @ (rotated / s) for s in shifted]
    return [Z.T @ B for B in found] if few else found


def correlations(predicted: Array, actual: Array) -> Array:
    """Return the correlation in each column, zero where one of the two is constant."""
    A = predicted - predicted.mean(axis=0)
    B = actual - actual.mean(axis=0)
    norm = np.sqrt(np.sum(A**2, axis=0) * np.sum(B**2, axis=0))
    product = np.sum(A * B, axis=0)
    tiny = norm <= 1e-300
    return np.asarray(np.where(tiny, 0.0, product / np.where(tiny, 1.0, norm)))


class Chosen(NamedTuple):
    """Coefficients (rows, targets), penalty and held-out correlation per target."""

    coef: Array
    penalty: Array
    correlation: Array
    gap: Array


def fit_datamodels(
    masks: BoolArray,
    outputs: Array,
    held: BoolArray,
    *,
    kind: str,
    penalty: float | None,
    n_penalties: int = 20,
    ratio: float = 1e-3,
) -> Chosen:
    """Choose a penalty per target on held-out subsets, then fit to all of them.

    Parameters
    ----------
    masks : ndarray of bool of shape (n_subsets, n_samples)
        Which rows each subset holds.
    outputs : ndarray of shape (n_subsets, n_targets)
        What the model trained on it says of each target.
    held : ndarray of bool of shape (n_subsets,)
        Subsets that judge the penalties.
    kind : {"l1", "l2"}
        Penalty.
    penalty : float or None
        Its strength; None compares a path of ``n_penalties`` down to ``ratio`` times
        the largest sensible one.
    """
    train, test = masks[~held], masks[held]
    known, unseen = outputs[~held], outputs[held]
    q = outputs.shape[1]
    data = moments(train, known)
    if kind == "l1":
        top = largest_penalty(data)
        path = np.geomspace(1.0, ratio, n_penalties)[:, None] * top
    else:
        top = np.full(q, np.trace(data.gram) / len(data.gram))
        path = np.geomspace(1e3, 1e-3, n_penalties)[:, None] * top
    if penalty is not None:
        path = np.full((1, q), float(penalty))
    if kind == "l1":
        fits = _lasso_path(data, path)
    else:
        fits = ridge_path(train, known, path[:, 0])
    errors, found = [], []
    for coef in fits:
        predicted = (test - data.mask_mean) @ coef + data.output_mean
        errors.append(np.sum((predicted - unseen) ** 2, axis=0))
        found.append(correlations(predicted, unseen))
    best = np.argmin(errors, axis=0)
    here = np.arange(q)
    chosen, correlation = path[best, here], np.array(found)[best, here]
    if kind == "l1":
        start = np.stack(fits)[best, :, here].T
        fit = lasso(moments(masks, outputs), chosen, start)
        return Chosen(fit.coef, chosen, correlation, fit.gap)
    final = np.empty((masks.shape[1], q))
    for k in np.unique(best):
        columns = best == k
        final[:, columns] = ridge_path(masks, outputs[:, columns], path[k, :1])[0]
    return Chosen(final, chosen, correlation, np.zeros(q))


def _lasso_path(data: Moments, path: FloatArray) -> list[Array]:
    fits: list[Array] = []
    for penalty in path:
        fits.append(lasso(data, penalty, fits[-1] if fits else None).coef)
    return fits
