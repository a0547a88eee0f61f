"""What the networks read: statistics of a pair that no monotone map changes.

Each vector is the same, up to rounding, for x and -x, for y and -y, for (x, y) and
(y, x), and for any order and any names of classes.
"""

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.inspection._mutual_information._neighbours import (
    block_terms,
    class_terms,
    pair_terms,
)
from skdiff.inspection._mutual_information._ranks import (
    Ranks,
    legendre,
    normal_scores,
    soft_bins,
    tie_statistics,
    uniform_scores,
)

N_BINS, DEGREE = 16, 6
NEIGHBOURS, UNIFORM_NEIGHBOURS = (1, 3, 5, 8, 15), (3, 8)
CLASS_NEIGHBOURS, BLOCK_NEIGHBOURS = (1, 3, 5, 8), (3, 8)
_LARGEST = 0.9999  # correlation


def binned_information(joint: Array) -> float:
    """Return the mutual information of a table of counts or probabilities, in nats."""
    p = joint / joint.sum()
    independent = np.outer(p.sum(axis=1), p.sum(axis=0))
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / independent[seen])).sum())


def gaussian_information(correlation: float) -> float:
    """Return the mutual information of two normal variables, in nats."""
    r = min(abs(correlation), _LARGEST)
    return float(-0.5 * np.log1p(-r * r))


def _correlation(x: Array, y: Array) -> float:
    size = np.sqrt((x @ x) * (y @ y))
    return float(abs(x @ y) / size) if size > 0 else 0.0


def _coarser(joint: Array) -> Array:
    found: Array = joint[0::2] + joint[1::2]
    return found


def _at_most(neighbours: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Numbers of neighbours that n rows have."""
    return tuple(min(k, n - 1) for k in neighbours)


def _sizes(n: int) -> list[float]:
    return [np.log(n), 10 / n, 1 / np.sqrt(n)]


def _summary(terms: Array) -> list[float]:
    """Mean, standard error and skewness of the terms of an estimate."""
    away = terms - terms.mean()
    spread = np.sqrt((away**2).mean())
    skew = (away**3).mean() / (spread + 1e-3) ** 3
    return [float(terms.mean()), float(spread / np.sqrt(len(terms))), float(skew)]


def _both_ways(matrix: Array) -> list[float]:
    """Squares of coefficients (j, k) and (k, j) together, as lengths."""
    squares = matrix**2
    squares = (squares + squares.T) / 2
    found: list[float] = np.sqrt(squares[np.triu_indices(len(matrix))]).tolist()
    return found


def pair_statistics(x: Ranks, y: Ranks) -> Array:
    """Return the statistics of two ordered columns; the second entry is KSG, k = 3."""
    n = len(x.signed)
    s, t = normal_scores(x), normal_scores(y)
    terms = pair_terms(s, t, _at_most(NEIGHBOURS, n))
    found = [float(part.mean()) for part in terms] + _summary(terms[1])[1:]
    u, v = uniform_scores(x), uniform_scores(y)
    found += [
        float(p.mean()) for p in pair_terms(u, v, _at_most(UNIFORM_NEIGHBOURS, n))
    ]
    r = _correlation(s, t)
    found += [
        r,
        gaussian_information(r),
        _correlation(u, v),
        _correlation(s * s, t * t),
    ]
    found += _both_ways(legendre(u, DEGREE).T @ legendre(v, DEGREE) / n)
    joint = soft_bins(x, N_BINS).T @ soft_bins(y, N_BINS)
    while len(joint) > 1:
        found.append(binned_information(joint))
        joint = _coarser(_coarser(joint).T).T
    tied = np.array([tie_statistics(x), tie_statistics(y)])
    found += tied.max(axis=0).tolist() + tied.min(axis=0).tolist() + _sizes(n)
    return np.array(found)


def _between(columns: Array, one_hot: Array, counts: Array) -> list[float]:
    """Correlation ratio of each column."""
    means = one_hot.T @ columns / counts[:, None]
    total = np.maximum((columns**2).sum(axis=0), 1e-12)
    found: list[float] = np.sqrt(counts @ means**2 / total).tolist()
    return found


def class_statistics(x: Ranks, codes: IntArray) -> Array:
    """Return the statistics of an ordered column and classes coded 0..K-1."""
    n, counts = len(codes), np.bincount(codes).astype(np.float64)
    s, u, p = normal_scores(x), uniform_scores(x), counts / n
    terms = class_terms(s, codes, CLASS_NEIGHBOURS)
    found = [float(part.mean()) for part in terms] + _summary(terms[1])[1:]
    one_hot = np.eye(len(counts))[codes]
    columns = np.concatenate([s[:, None], legendre(u, DEGREE)], axis=1)
    ratios = _between(columns - columns.mean(axis=0), one_hot, counts)
    found += [*ratios, gaussian_information(ratios[0])]
    joint = soft_bins(x, N_BINS).T @ one_hot
    while len(joint) > 1:
        found.append(binned_information(joint))
        joint = _coarser(joint)
    found += [class_entropy(counts), len(counts) / 10, float((p**2).sum())]
    found += [float(p.min()), len(counts) / n, *tie_statistics(x), *_sizes(n)]
    return np.array(found)


def class_entropy(counts: Array) -> float:
    """Return the entropy of observed frequencies, in nats."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def table_statistics(first: IntArray, second: IntArray) -> Array:
    """Return the statistics of two columns of classes."""
    n = len(first)
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1.0)
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    expected = np.outer(rows, columns) / n
    residual = (joint - expected) / np.sqrt(expected * n)
    # singular values of correspondence analysis; zeros stand for the missing ones
    strength = np.zeros(4)
    values = np.linalg.svd(residual, compute_uv=False)[:4]
    strength[: len(values)] = values
    seen = float((joint > 0).sum())
    degrees = (joint.shape[0] - 1.0) * (joint.shape[1] - 1.0)
    plain = binned_information(joint)
    bias = (seen - np.count_nonzero(rows) - np.count_nonzero(columns) + 1) / (2 * n)
    shapes = np.sort([len(rows), len(columns)]) / 10
    entropies = np.sort([class_entropy(rows), class_entropy(columns)])
    smallest = np.sort([rows.min(), columns.min()]) / n
    once = float((joint == 1).sum())
    found = [plain - bias, plain, bias, degrees / (2 * n), once / n, seen / n]
    found += [*strength, float((residual**2).sum()), *shapes, *entropies, *smallest]
    return np.array(found + _sizes(n))


def _canonical(X: Array, Y: Array) -> Array:
    """Canonical correlations of centred columns."""
    parts = []
    for Z in (X, Y):
        U, S, _ = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
        parts.append(U[:, 1e-9 * max(S[0], 1e-300) < S])
    return np.minimum(np.linalg.svd(parts[0].T @ parts[1], compute_uv=False), _LARGEST)


def _canonical_summary(X: Array, Y: Array) -> list[float]:
    n, r = len(X), _canonical(X, Y)
    degrees = X.shape[1] * Y.shape[1] / n
    plain = float(-0.5 * np.log1p(-r * r).sum())
    return [plain, plain - degrees / 2, float(r.max(initial=0)), float((r * r).sum())]


def block_statistics(X: Array, Y: Array) -> Array:
    """Return the statistics of two blocks of normal scores (n, dx) and (n, dy)."""
    n, shape = len(X), np.sort([X.shape[1], Y.shape[1]])
    terms = block_terms(X, Y, _at_most(BLOCK_NEIGHBOURS, n))
    found = [float(part.mean()) for part in terms] + _summary(terms[0])[1:]
    found += _canonical_summary(X, Y) + _canonical_summary(X**2, Y**2)
    Z = np.concatenate([X, Y], axis=1)
    joint = np.corrcoef(Z, rowvar=False)
    cross = joint[: X.shape[1], X.shape[1] :]
    found += [float(np.abs(cross).max()), float((cross**2).mean())]
    within = np.sort([_within_information(part) for part in (X, Y)])
    lengths = _correlation(*[_centred_lengths(part) for part in (X, Y)])
    found += [*within, lengths, *(shape / 8), shape.sum() / n, shape.prod() / n]
    return np.array(found + _sizes(n))


def _within_information(X: Array) -> float:
    """Gaussian total correlation of the columns of a block."""
    found = np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(X, rowvar=False)))
    return float(-0.5 * np.log(np.maximum(found, 1e-4)).sum())


def _centred_lengths(X: Array) -> Array:
    lengths = np.log((X**2).sum(axis=1) + 0.1)
    found: Array = lengths - lengths.mean()
    return found
