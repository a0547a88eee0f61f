"""Linear models of many targets on the same masks, with penalties chosen per target."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from skdiff._base.typing import Array, BoolArray
from skdiff.data_selection._datamodel._lasso import (
    Fit,
    added,
    centred,
    largest_penalty,
    lasso,
    lasso_path,
    sums,
)


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
    shift = outputs.mean(axis=0)
    split = _Split(masks, outputs - shift, held)
    if kind == "l1":
        return _by_lasso(split, penalty, n_penalties, ratio)
    return _by_ridge(split, penalty, n_penalties)


class _Split(NamedTuple):
    """Masks, outputs, and the subsets that judge the penalties."""

    masks: BoolArray
    outputs: Array
    held: BoolArray

    def judge(self, coef: Array) -> tuple[Array, Array]:
        """Squared errors and correlations on the subsets held out, per target."""
        known = ~self.held
        mask_mean = self.masks[known].mean(axis=0)
        shift = self.outputs[known].mean(axis=0) - mask_mean @ coef
        unseen = self.outputs[self.held]
        predicted = self.masks[self.held] @ coef + shift
        error = np.sum((predicted - unseen) ** 2, axis=0)
        return error, correlations(predicted, unseen)


def _best(split: _Split, coefs: list[Array]) -> tuple[Array, Array]:
    """Which penalty is best for each target, and its correlation."""
    judged = [split.judge(coef) for coef in coefs]
    best = np.argmin([error for error, _ in judged], axis=0)
    found = np.array([correlation for _, correlation in judged])
    return best, found[best, np.arange(len(best))]


def _by_lasso(
    split: _Split, penalty: float | None, n_penalties: int, ratio: float
) -> Chosen:
    """Choose among the points of one path; the sums of all subsets are added up."""
    masks, outputs, held = split
    some = sums(masks[~held], outputs[~held])
    data = centred(some)
    if penalty is None:
        grid = np.geomspace(1.0, ratio, n_penalties)
        path = grid[:, None] * largest_penalty(data)
    else:
        path = np.full((1, outputs.shape[1]), float(penalty))
    fits: list[Fit] = lasso_path(data, path)
    coefs = [fit.coef for fit in fits]
    best, correlation = _best(split, coefs)
    here = np.arange(len(best))
    start = np.stack(coefs)[best, :, here].T
    everything = centred(added(some, sums(masks[held], outputs[held])))
    fit = lasso(everything, path[best, here], start)
    return Chosen(fit.coef, path[best, here], correlation, fit.gap)


def _by_ridge(split: _Split, penalty: float | None, n_penalties: int) -> Chosen:
    """Choose among penalties around the mean eigenvalue."""
    masks, outputs, held = split
    known = masks[~held]
    path = np.array([penalty], dtype=np.float64)
    if penalty is None:
        spread = float(np.sum(known.var(axis=0))) * len(known) / masks.shape[1]
        path = np.geomspace(1e3, 1e-3, n_penalties) * spread
    best, correlation = _best(split, ridge_path(known, outputs[~held], path))
    final = np.empty((masks.shape[1], outputs.shape[1]))
    for k in np.unique(best):
        columns = best == k
        final[:, columns] = ridge_path(masks, outputs[:, columns], path[[k]])[0]
    return Chosen(final, path[best], correlation, np.zeros(len(best)))
