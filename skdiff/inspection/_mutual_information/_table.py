"""What the estimator and the selector share: columns of a table and a target."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.progress import Progress
from skdiff._base.typing import Array, BoolArray
from skdiff.inspection._mutual_information._functions import SMALLEST, warn_about_size
from skdiff.inspection._mutual_information._network import LEVELS, Estimates
from skdiff.inspection._mutual_information._null import p_values
from skdiff.inspection._mutual_information._pairs import (
    Column,
    column,
    estimate_blocks,
    estimate_pairs,
)


class Settings(NamedTuple):
    """How pairs are estimated."""

    method: str
    max_samples: int
    n_permutations: int
    rng: Any
    n_jobs: int | None
    progress: Progress


def discrete_mask(given: Any, n_features: int, name: str) -> BoolArray:
    """Return which columns hold classes."""
    mask = np.zeros(n_features, dtype=bool)
    if isinstance(given, str) and given == "auto":
        return mask
    if isinstance(given, bool | np.bool_):
        return np.full(n_features, bool(given))
    chosen = np.atleast_1d(np.asarray(given))
    if chosen.dtype.kind == "b" and chosen.shape == (n_features,):
        return chosen
    fine = chosen.ndim == 1 and chosen.dtype.kind in "iu"
    if not fine or np.any((chosen < 0) | (chosen >= n_features)):
        raise ValueError(
            f'{name} must be "auto", a bool, a mask of {n_features} columns or their '
            f"numbers. Got {given!r}."
        )
    mask[chosen] = True
    return mask


def target_is_discrete(y: Any, given: Any, most: int = 50) -> bool:
    """Tell whether a target holds classes; few whole numbers do in doubt."""
    if not (isinstance(given, str) and given == "auto"):
        return bool(given)
    if y.dtype.kind not in "iuf":
        if len(np.unique(y)) < 2:
            raise ValueError("y has one class only; two are needed.")
        return True
    if type_of_target(y).startswith("continuous"):
        return False
    return len(np.unique(y)) <= max(min(most, len(y) // 3), 2)


def feature(X: Any, k: int) -> Any:
    """Return one column of an array or a sparse matrix, and the rows that have it."""
    values = X[:, [k]].toarray()[:, 0] if sparse.issparse(X) else X[:, k]
    return values, ~np.isnan(values)


class Batch(NamedTuple):
    """Pairs that have the same rows."""

    features: list[int]
    pairs: list[tuple[Column, Column]]
    n: int


def batches(X: Any, y: Any, mask: BoolArray, y_discrete: bool) -> list[Batch]:
    """Pair every column with the target, over the rows where it is known."""
    whole = column(y, y_discrete)
    complete = Batch([], [], len(y))
    found = [complete]
    for k in range(X.shape[1]):
        values, known = feature(X, k)
        if known.all():
            complete.features.append(k)
            complete.pairs.append((column(values, bool(mask[k])), whole))
            continue
        n = int(known.sum())
        pair = [
            column(v, d) if n else None
            for v, d in ((values[known], bool(mask[k])), (y[known], y_discrete))
        ]
        if n >= SMALLEST:
            found.append(Batch([k], [(pair[0], pair[1])], n))  # type: ignore[list-item]
    return [batch for batch in found if batch.features]


def measure(
    X: Any, y: Any, mask: BoolArray, y_discrete: bool, settings: Settings
) -> tuple[Estimates, Array]:
    """Return estimates and p-values of all columns; 0 and 1 of unknown ones.

    Where the guard ends the fit, columns that were not tested have NaN.
    """
    d = X.shape[1]
    mean, quantiles = np.zeros(d), np.zeros((d, len(LEVELS)))
    p, parts = np.ones(d), batches(X, y, mask, y_discrete)
    for batch in parts:
        if settings.method == "learned":
            warn_about_size(batch.n, batch.pairs[0][1])
        found = estimate_pairs(
            batch.pairs,
            batch.n,
            settings.method,
            settings.max_samples,
            settings.rng,
            settings.n_jobs,
        )
        mean[batch.features], quantiles[batch.features] = found
        p[batch.features] = np.nan
        _say_measured(len(batch.features), batch.n, settings)
    if settings.n_permutations:
        with settings.progress.interruptible(lambda: True):
            for batch in parts:
                _note(batch.features, _tested(batch, settings), p, settings.progress)
    return Estimates(mean, quantiles), p


def _say_measured(columns: int, n: int, settings: Settings) -> None:
    settings.progress.write(f"Columns with an estimate from {n} rows: {columns}")


def _note(features: Any, values: Iterator[float], p: Array, progress: Progress) -> None:
    """Take p-values one by one until the guard ends the fit."""
    for k in features:
        if progress.is_over():
            return
        p[k] = next(values)
        progress.write(f"Column {k}: p-value = {p[k]:.3g}")
        progress.step()


def _tested(batch: Batch, settings: Settings) -> Iterator[float]:
    """p-values, on at most ``max_samples`` of the rows."""
    pairs, n, rng = batch.pairs, batch.n, settings.rng
    if n > settings.max_samples:
        rows = rng.permutation(n)[: settings.max_samples]
        pairs, n = [(x.take(rows), y.take(rows)) for x, y in pairs], len(rows)
    method, count = settings.method, settings.n_permutations
    return p_values(pairs, n, method, count, rng, settings.n_jobs)


def measure_blocks(X: Any, Y: Array, settings: Settings) -> tuple[Estimates, Array]:
    """Return estimates of every column with a target of several columns."""
    n, rng = len(Y), settings.rng
    rows = rng.permutation(n)[: settings.max_samples]
    if settings.method == "learned":
        warn_about_size(len(rows))
    columns, Y = [feature(X, k) for k in range(X.shape[1])], Y[rows]
    if not all(known.all() for _, known in columns):
        raise ValueError("X has NaN, which a target of several columns excludes.")
    each = [values[rows][:, None] for values, _ in columns]
    found = [estimate_blocks(x, Y, settings.method) for x in each]
    mean = np.array([estimate.mean[0] for estimate in found])
    quantiles = np.array([estimate.quantiles[0] for estimate in found])
    _say_measured(len(each), len(rows), settings)
    p = np.full(len(each), np.nan)
    if settings.n_permutations:
        with settings.progress.interruptible(lambda: True):
            values = _blocks_tested(each, Y, mean, settings)
            _note(range(len(each)), values, p, settings.progress)
    return Estimates(mean, quantiles), p


def _blocks_tested(
    each: list[Array], Y: Array, mean: Array, settings: Settings
) -> Iterator[float]:
    """p-values of columns with a target of several columns, by counting."""
    rng, count = settings.rng, min(settings.n_permutations, 50)
    for x, estimate in zip(each, mean, strict=True):
        null = Parallel(settings.n_jobs)(
            delayed(estimate_blocks)(x[rng.permutation(len(x))], Y, settings.method)
            for _ in range(count)
        )
        yield (1 + sum(v.mean[0] >= estimate for v in null)) / (1 + count)


def rejected(p: Array, level: float) -> BoolArray:
    """Return the hypotheses that Benjamini and Hochberg reject."""
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= level * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), dtype=bool)
    if len(passed):
        found[order[: passed[-1] + 1]] = True
    return found
