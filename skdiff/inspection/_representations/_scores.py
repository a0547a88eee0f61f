"""Scores of a network and of a probe, with a paired bootstrap."""

from collections.abc import Callable
from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray

METRICS = ("roc_auc", "accuracy", "r2")


def area(scores: Array, positive: Array) -> Callable[[Array], float]:
    """Return the area under the ROC curve as a function of row weights."""
    order = np.argsort(scores, kind="stable")
    values, hits = scores[order], positive[order]
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf) > 0)

    def of(weight: Array) -> float:
        w = weight[order]
        up = np.add.reduceat(w * hits, starts)
        down = np.add.reduceat(w * (1 - hits), starts)
        total = up.sum() * down.sum()
        if total == 0:
            return np.nan
        return float((up * (np.cumsum(down) - down / 2)).sum() / total)

    return of


def weighted_score(
    metric: str, outputs: Array, y: IntArray | Array, n_classes: int
) -> Callable[[Array], float]:
    """Return a score as a function of row weights."""
    if metric == "r2":
        errors = (np.ravel(outputs) - y) ** 2

        def r2(w: Array) -> float:
            spread = w @ (y - w @ y / w.sum()) ** 2
            return float(1 - w @ errors / spread) if spread > 0 else np.nan

        return r2
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        flat = np.ravel(outputs)
        outputs = np.stack([-flat, flat], axis=1)
    if metric == "accuracy":
        right = (outputs.argmax(axis=1) == y).astype(np.float64)
        return lambda w: float(w @ right / w.sum())
    used = [1] if n_classes == 2 else range(n_classes)
    areas = [area(outputs[:, k], (y == k).astype(np.float64)) for k in used]
    return lambda w: float(np.nanmean([of(w) for of in areas]))


def bootstrap_gap(
    first: Callable[[Array], float],
    second: Callable[[Array], float],
    n: int,
    count: int,
    rng: Any,
) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the difference over resampled rows."""
    found = []
    for _ in range(count):
        weight = np.bincount(rng.randint(n, size=n), minlength=n).astype(np.float64)
        found.append(first(weight) - second(weight))
    if np.isnan(found).all():
        return np.nan, np.nan
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)
