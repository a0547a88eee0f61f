"""Paths of penalties on folds."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.linear_model._ordinal._labels import scaling
from skdiff.linear_model._ordinal._likelihood import sort_rows
from skdiff.linear_model._ordinal._probabilities import class_probabilities, scores
from skdiff.linear_model._ordinal._solver import Penalty, fit, pose, unpack


class Settings(NamedTuple):
    """What is the same on all folds."""

    penalty: Penalty
    alphas: Array
    standardize: bool
    monotone: str
    scoring: str
    tol: float
    max_iter: int


def stratified_folds(codes: IntArray, n_folds: int) -> list[tuple[IntArray, IntArray]]:
    """Folds over which every class is dealt out evenly, in the order of the rows.

    The dealing goes on from one class to the next, so that folds differ by one row.
    """
    n_folds = min(n_folds, len(codes))
    fold = np.empty(len(codes), dtype=np.int64)
    fold[np.argsort(codes, kind="stable")] = np.arange(len(codes)) % n_folds
    return [
        (np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)
    ]


def fold_scores(
    X: Array, codes: IntArray, weight: Array, split: tuple, how: Settings
) -> tuple[Array, float]:
    """Weighted sums of losses for each penalty on one fold, and the fold's weight."""
    train, test = split
    n_classes = int(codes.max()) + 1
    scale = scaling(X[train], weight[train], how.standardize)
    rows = sort_rows(scale.apply(X[train]), codes[train], weight[train], n_classes)
    held = scale.apply(X[test])
    start, found = None, np.empty(len(how.alphas))
    for k, alpha in enumerate(how.alphas):
        problem = pose(rows, how.penalty._replace(alpha=float(alpha)))
        with np.errstate(all="ignore"):
            start = fit(problem, start, how.tol, how.max_iter).x
        levels, psi = unpack(start, rows, False)
        eta = held @ np.cumsum(psi, axis=0).T + levels
        losses = scores(
            class_probabilities(eta, how.monotone), codes[test], how.scoring
        )
        found[k] = weight[test] @ losses
    return found, float(weight[test].sum())
