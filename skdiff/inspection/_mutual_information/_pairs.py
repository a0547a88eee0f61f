"""Estimates for pairs of columns of any kind."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.typing import Array, IntArray
from skdiff._base.weights import load_weights
from skdiff.inspection._mutual_information._neighbours import (
    block_terms,
    class_terms,
    pair_terms,
)
from skdiff.inspection._mutual_information._network import (
    LEVELS,
    Estimates,
    forward,
)
from skdiff.inspection._mutual_information._ranks import (
    Ranks,
    normal_scores,
    rank,
    soft_bins,
)
from skdiff.inspection._mutual_information._statistics import (
    N_BINS,
    binned_information,
    block_statistics,
    class_entropy,
    class_statistics,
    gaussian_information,
    pair_statistics,
    table_statistics,
)

METHODS = ("learned", "ksg", "gaussian_copula", "binned")
#: statistic that each network corrects, and the range that it was trained on
REFERENCE = {"pairs": 1, "classes": 1, "tables": 0, "blocks": 0}
NAMES = {"pairs": "mutual_information"} | {
    kind: f"mutual_information_{kind}" for kind in ("classes", "tables", "blocks")
}
FEWEST_ROWS, MOST_ROWS, MOST_CLASSES, MOST_COLUMNS = 20, 2000, 12, 8
NEIGHBOURS = 3


class Column(NamedTuple):
    """One column, as ranks or as codes of classes."""

    ranks: Ranks | None
    codes: IntArray | None

    def take(self, rows: Any) -> "Column":
        """Return some of the rows."""
        if self.codes is not None:
            return Column(None, _codes(self.codes[rows]))
        assert self.ranks is not None
        return Column(rank(self.ranks.signed[rows]), None)

    @property
    def is_constant(self) -> bool:
        """Whether all rows are equal."""
        if self.codes is not None:
            return bool(self.codes.max() == 0)
        assert self.ranks is not None
        return self.ranks.n_distinct == 1

    @property
    def entropy(self) -> float:
        """Entropy of classes; infinity of numbers."""
        if self.codes is None:
            return np.inf
        return class_entropy(np.bincount(self.codes).astype(np.float64))


def _codes(values: Any) -> IntArray:
    found = np.unique(values, return_inverse=True)[1].reshape(-1)
    return found.astype(np.int64)


def column(values: Any, discrete: bool) -> Column:
    """Return a column of classes or of numbers."""
    if discrete:
        return Column(None, _codes(values))
    return Column(rank(np.asarray(values, dtype=np.float64)), None)


def kind_of(x: Column, y: Column) -> str:
    """Name the network of a pair."""
    discrete = (x.codes is not None) + (y.codes is not None)
    return ("pairs", "classes", "tables")[discrete]


def statistics_of(x: Column, y: Column) -> Array:
    """Return what the network of the pair reads."""
    if x.codes is not None and y.codes is not None:
        return table_statistics(x.codes, y.codes)
    if x.codes is not None:
        x, y = y, x
    assert x.ranks is not None
    if y.codes is not None:
        return class_statistics(x.ranks, y.codes)
    assert y.ranks is not None
    return pair_statistics(x.ranks, y.ranks)


def parts_of(n: int, max_samples: int, rng: Any) -> list[Any]:
    """Return disjoint parts of at most ``max_samples`` rows, of one size each."""
    if n <= max_samples:
        return [slice(None)]
    count = -(-n // max_samples)
    return np.array_split(rng.permutation(n), count)


def apply(kind: str, statistics: Array, n: Array) -> Estimates:
    """Run a network on the statistics of several pairs."""
    arrays = load_weights(NAMES[kind]).arrays
    return forward(statistics, np.maximum(n, 1), arrays, REFERENCE[kind])


def learned(
    pairs: list[tuple[Column, Column]], n: int, n_jobs: int | None = None
) -> Estimates:
    """Return estimates of pairs with n rows each, not yet clipped; 0 of constants."""
    mean, quantiles = np.zeros(len(pairs)), np.zeros((len(pairs), len(LEVELS)))
    kinds = np.array(
        ["" if x.is_constant or y.is_constant else kind_of(x, y) for x, y in pairs]
    )
    for kind in set(kinds.tolist()) - {""}:
        rows = np.flatnonzero(kinds == kind)
        read = Parallel(n_jobs)(delayed(statistics_of)(*pairs[k]) for k in rows)
        found = apply(kind, np.stack(read), np.full(len(rows), float(n)))
        mean[rows], quantiles[rows] = found.mean, found.quantiles
    return Estimates(mean, widened(quantiles, n) if n < FEWEST_ROWS else quantiles)


def clipped(found: Estimates, pairs: list[tuple[Column, Column]]) -> Estimates:
    """Return estimates between 0 and the entropies of the classes."""
    most = np.array([min(x.entropy, y.entropy) for x, y in pairs])
    return Estimates(
        np.clip(found.mean, 0, most), np.clip(found.quantiles, 0, most[:, None])
    )


def widened(quantiles: Array, n: int) -> Array:
    """Widen intervals below the smallest trained size, as 1 / sqrt(n) grows."""
    middle = quantiles[:, len(LEVELS) // 2][:, None]
    found: Array = middle + (quantiles - middle) * np.sqrt(FEWEST_ROWS / n)
    return found


def simple(x: Column, y: Column, method: str) -> float:
    """Return one of the estimates without a network, in nats."""
    if x.is_constant or y.is_constant:
        return 0.0
    if x.codes is not None and y.codes is not None:
        return float(table_statistics(x.codes, y.codes)[0])
    if x.codes is not None:
        x, y = y, x
    assert x.ranks is not None
    n = len(x.ranks.signed)
    s, joint = normal_scores(x.ranks), soft_bins(x.ranks, N_BINS).T
    if y.codes is not None:
        one_hot = np.eye(y.codes.max() + 1)[y.codes]
        if method == "ksg":
            return float(class_terms(s, y.codes, (NEIGHBOURS,))[0].mean())
        if method == "binned":
            return binned_information(joint @ one_hot)
        means = one_hot.T @ s / one_hot.sum(axis=0)
        between = one_hot.mean(axis=0) @ means**2 / (s @ s / n)
        return gaussian_information(float(np.sqrt(between)))
    assert y.ranks is not None
    t = normal_scores(y.ranks)
    if method == "ksg":
        return float(pair_terms(s, t, (min(NEIGHBOURS, n - 1),))[0].mean())
    if method == "binned":
        return binned_information(joint @ soft_bins(y.ranks, N_BINS))
    return gaussian_information(float(s @ t / np.sqrt((s @ s) * (t @ t))))


def raw(
    pairs: list[tuple[Column, Column]], n: int, method: str, n_jobs: int | None = None
) -> Estimates:
    """Return estimates of pairs of n rows by any method, not yet clipped."""
    if method == "learned":
        return learned(pairs, n, n_jobs)
    values = np.array(Parallel(n_jobs)(delayed(simple)(x, y, method) for x, y in pairs))
    return Estimates(values, np.repeat(values[:, None], len(LEVELS), axis=1))


def estimate_pairs(
    pairs: list[tuple[Column, Column]],
    n: int,
    method: str,
    max_samples: int,
    rng: Any,
    n_jobs: int | None = None,
) -> Estimates:
    """Return estimates of pairs of n rows; parts of many rows are averaged.

    The estimates of disjoint parts are nearly independent: the half widths of the
    interval are divided by the root of their number.
    """
    found = []
    for rows in parts_of(n, max_samples, rng):
        if isinstance(rows, slice):
            return clipped(raw(pairs, n, method, n_jobs), pairs)
        taken = [(x.take(rows), y.take(rows)) for x, y in pairs]
        found.append(raw(taken, len(rows), method, n_jobs))
    mean = np.mean([part.mean for part in found], axis=0)
    quantiles = np.mean([part.quantiles for part in found], axis=0)
    middle = quantiles[:, len(LEVELS) // 2][:, None]
    quantiles = middle + (quantiles - middle) / np.sqrt(len(found))
    return clipped(Estimates(mean, quantiles), pairs)


def estimate_blocks(X: Array, Y: Array, method: str) -> Estimates:
    """Return the estimate of two blocks of columns, on normal scores."""
    X, Y = (np.stack([normal_scores(rank(c)) for c in Z.T], axis=1) for Z in (X, Y))
    X, Y = X[:, X.any(axis=0)], Y[:, Y.any(axis=0)]
    if not X.shape[1] or not Y.shape[1]:
        return Estimates(np.zeros(1), np.zeros((1, len(LEVELS))))
    if method == "learned" and max(X.shape[1], Y.shape[1]) > MOST_COLUMNS:
        warnings.warn(
            f"The network was trained on up to {MOST_COLUMNS} columns on either side; "
            'method="ksg" is used, which has no interval.',
            UserWarning,
            stacklevel=4,
        )
        method = "ksg"
    if method == "learned":
        found = apply("blocks", block_statistics(X, Y)[None], np.array([len(X)]))
        return Estimates(np.maximum(found.mean, 0), np.maximum(found.quantiles, 0))
    if method == "ksg":
        value = float(block_terms(X, Y, (min(NEIGHBOURS, len(X) - 1),))[0].mean())
    else:
        value = float(block_statistics(X, Y)[4])
    values = np.array([max(value, 0.0)])
    return Estimates(values, np.repeat(values[:, None], len(LEVELS), 1))
