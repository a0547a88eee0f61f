"""Sampling, and completing rows, from conditionals alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff.density._coding import MISSING
from skdiff.density._features import features
from skdiff.density._model import Model


def draw(energies: Array, rng: Any) -> Any:
    """One state per row."""
    uniform = rng.uniform(size=len(energies))
    if energies.shape[1] == 2:
        with np.errstate(over="ignore"):
            odds = np.exp(energies[:, 0] - energies[:, 1])
        return (uniform * (1.0 + odds) < 1.0).astype(np.int64)
    p = np.exp(energies - energies.max(axis=1, keepdims=True))
    np.cumsum(p, axis=1, out=p)
    return (p[:, :-1] < (uniform * p[:, -1])[:, None]).sum(axis=1)


def draw_shares(shares: Array, n: int, rng: Any) -> Any:
    """Independent draws from the frequencies of one column."""
    cut = np.cumsum(shares)[:-1]
    return np.searchsorted(cut, rng.uniform(size=n) * (1 - 1e-15), side="right")


def sweep(
    codes: Any, F: Array, model: Model, rng: Any, given: Mapping[int, int]
) -> None:
    """Draw every column but those given, all rows at once, in place."""
    for u, (basis, span) in enumerate(zip(*model.where, strict=True)):
        if span.stop > span.start and u not in given:
            codes[:, u] = draw(model.energies(F, u), rng)
            F[:, span] = basis[codes[:, u]]


def gibbs(
    model: Model,
    marginals: list[Array],
    n_samples: int,
    rng: Any,
    *,
    given: Mapping[int, int],
    burn_in: int,
    thin: int,
    n_chains: int,
) -> Any:
    """Rows of codes from parallel chains, in the order of their sweeps.

    Columns of ``given`` keep their category.
    """
    codes = np.column_stack([draw_shares(m, n_chains, rng) for m in marginals])
    codes[:, list(given)] = list(given.values())
    # columns of both are written one by one
    codes = np.asfortranarray(codes)
    F = np.asfortranarray(features(codes, model.where))
    for _ in range(burn_in):
        sweep(codes, F, model, rng, given)
    kept: list[Any] = []
    while len(kept) * n_chains < n_samples:
        for _ in range(thin):
            sweep(codes, F, model, rng, given)
        kept.append(codes.copy())
    return np.concatenate(kept)[:n_samples]


def redraw_missing(codes: Any, gaps: Any, model: Model, rng: Any, n_sweeps: int) -> Any:
    """Gibbs sweeps over the cells of ``gaps`` alone; the start is in ``codes``."""
    codes = codes.copy()
    F = features(codes, model.where)
    columns = np.flatnonzero(gaps.any(axis=0)).tolist()
    holes = [np.flatnonzero(gaps[:, u]) for u in columns]
    for _ in range(n_sweeps):
        for u, rows in zip(columns, holes, strict=True):
            codes[rows, u] = draw(model.energies(F[rows], u), rng)
            F[rows, model.where.spans[u]] = model.where.bases[u][codes[rows, u]]
    return codes


def split_incomplete(
    codes: Any, weight: Array, marginals: list[Array], copies: int, rng: Any
) -> tuple[Any, Array, Any]:
    """Incomplete rows several times over, their gaps filled from the marginals.

    Returns the rows, weights with a column for each node, and where the gaps were. The
    copies of a row share its weight; a node learns from the rows alone in which its own
    cell was known.
    """
    gaps = codes == MISSING
    incomplete = gaps.any(axis=1)
    again = np.flatnonzero(incomplete)
    repeats = np.r_[np.flatnonzero(~incomplete), np.tile(again, copies)]
    share = np.where(incomplete, weight / copies, weight)[repeats]
    codes, gaps = codes[repeats], gaps[repeats]
    for u in np.flatnonzero(gaps.any(axis=0)):
        holes = np.flatnonzero(gaps[:, u])
        codes[holes, u] = draw_shares(marginals[u], len(holes), rng)
    return codes, share[:, None] * ~gaps, gaps
