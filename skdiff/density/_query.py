"""Marginals of some columns given some cells, exact where the tree-width is small."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from skdiff._base.typing import Array
from skdiff.density._coding import MISSING
from skdiff.density._gibbs import redraw_missing
from skdiff.density._missing import distribution
from skdiff.density._model import Factor, Model

LARGEST = 2**20  # entries of a table
BURN_IN, THIN, CHAINS = 100, 5, 1000


def reduce_by(factors: Sequence[Factor], evidence: Mapping[int, int]) -> list[Factor]:
    """Tables over the columns without evidence."""
    found = []
    for T, table in factors:
        place = tuple(evidence.get(j, slice(None)) for j in T)
        found.append((tuple(j for j in T if j not in evidence), table[place]))
    return found


def multiply(factors: Sequence[Factor], scope: Sequence[int], sizes: Any) -> Array:
    """The sum of logarithmic tables, with the axes of ``scope``."""
    total = np.zeros([sizes[j] for j in scope])
    axis = {j: k for k, j in enumerate(scope)}
    for T, table in factors:
        order = sorted(range(len(T)), key=lambda k: axis[T[k]])
        shape = [1] * len(scope)
        for j in T:
            shape[axis[j]] = sizes[j]
        total = total + table.transpose(order).reshape(shape)
    return total


def eliminate(
    factors: Sequence[Factor], kept: Sequence[int], sizes: Sequence[int]
) -> Array | None:
    """Sum out all columns but ``kept``; None where a table would be too large.

    The column whose elimination makes the smallest table goes first.
    """
    left = list(factors)
    while rest := {j for T, _ in left for j in T} - set(kept):
        scopes = {j: {k for T, _ in left if j in T for k in T} for j in rest}
        entries = {j: np.prod([float(sizes[k]) for k in scopes[j]]) for j in rest}
        j = min(sorted(rest), key=lambda j: entries[j])
        if entries[j] > LARGEST:
            return None
        scope = [*sorted(scopes[j] - {j}), j]
        touched = [factor for factor in left if j in factor[0]]
        left = [factor for factor in left if j not in factor[0]]
        table = logsumexp(multiply(touched, scope, sizes), axis=-1)
        left.append((tuple(scope[:-1]), np.asarray(table)))
    return multiply(left, kept, sizes)


def marginal(
    model: Model,
    evidence: Mapping[int, int],
    columns: Sequence[int],
    *,
    n_samples: int,
    rng: Any,
) -> Array:
    """Joint probabilities of some columns given the cells of others."""
    sizes = model.sizes
    if model.factors is not None:
        log = eliminate(reduce_by(model.factors, evidence), columns, sizes)
        if log is not None:
            return np.asarray(np.exp(log - logsumexp(log)))
    row = np.full(len(sizes), MISSING, dtype=np.int64)
    row[list(evidence)] = list(evidence.values())
    found = distribution(model, row)
    if found is None:
        codes = sample_row(model, row, n_samples, rng)
        found = codes, np.full(len(codes), 1.0 / len(codes))
    codes, weight = found
    shape = tuple(sizes[j] for j in columns)
    place = np.ravel_multi_index(codes[:, columns].T, shape)
    total = np.bincount(place, weight, minlength=int(np.prod(shape)))
    return np.asarray(total.reshape(shape), dtype=np.float64)


def sample_row(model: Model, row: Any, n_samples: int, rng: Any) -> Any:
    """Draws of the missing cells of one row, by Gibbs chains side by side."""
    chains = min(n_samples, CHAINS)
    codes = np.tile(row, (chains, 1))
    gaps = codes == MISSING
    for j in np.flatnonzero(gaps[0]):
        codes[:, j] = rng.randint(model.sizes[j], size=chains)
    codes = redraw_missing(codes, gaps, model, rng, BURN_IN)
    kept: list[Any] = []
    while len(kept) * chains < n_samples:
        codes = redraw_missing(codes, gaps, model, rng, THIN)
        kept.append(codes)
    return np.concatenate(kept)[:n_samples]
