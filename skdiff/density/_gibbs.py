"""Sampling, and completing rows, from conditionals alone.

``energies(F, u)`` returns the energies of the states of column u for rows of features;
what the columns are beyond that is nobody's business here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff.density._coding import MISSING
from skdiff.density._features import Layout, features, log_softmax, softmax

Energies = Callable[[Array, int], Array]


def draw(logits: Array, rng: Any) -> Any:
    """One state a row, by the Gumbel trick."""
    noise = -np.log(-np.log(rng.uniform(1e-300, 1.0, size=logits.shape)))
    return np.argmax(logits + noise, axis=1)


def draw_shares(shares: Array, n: int, rng: Any) -> Any:
    """Independent draws from the frequencies of one column."""
    cut = np.cumsum(shares)[:-1]
    return np.searchsorted(cut, rng.uniform(size=n) * (1 - 1e-15), side="right")


def sweep(codes: Any, F: Array, energies: Energies, where: Layout, rng: Any) -> None:
    """Draw every column given the others, all rows at once, in place."""
    for u, (basis, span) in enumerate(zip(*where, strict=True)):
        if span.stop > span.start:
            codes[:, u] = draw(energies(F, u), rng)
            F[:, span] = basis[codes[:, u]]


def gibbs(
    energies: Energies,
    where: Layout,
    marginals: list[Array],
    n_samples: int,
    rng: Any,
    *,
    burn_in: int,
    thin: int,
    n_chains: int,
) -> Any:
    """Rows of codes from parallel chains, in the order of their sweeps."""
    codes = np.column_stack([draw_shares(m, n_chains, rng) for m in marginals])
    F = features(codes, where)
    for _ in range(burn_in):
        sweep(codes, F, energies, where, rng)
    kept: list[Any] = []
    while len(kept) * n_chains < n_samples:
        for _ in range(thin):
            sweep(codes, F, energies, where, rng)
        kept.append(codes.copy())
    return np.concatenate(kept)[:n_samples]


def redraw_missing(
    codes: Any, gaps: Any, energies: Energies, where: Layout, rng: Any, n_sweeps: int
) -> Any:
    """Gibbs sweeps over the cells of ``gaps`` alone; the start is in ``codes``."""
    codes = codes.copy()
    F = features(codes, where)
    for _ in range(n_sweeps):
        for u in np.flatnonzero(gaps.any(axis=0)).tolist():
            rows = np.flatnonzero(gaps[:, u])
            codes[rows, u] = draw(energies(F[rows], u), rng)
            F[rows, where.spans[u]] = where.bases[u][codes[rows, u]]
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


def expected_features(
    codes: Any,
    energies: Energies,
    where: Layout,
    marginals: list[Array],
    *,
    max_iter: int = 50,
    tol: float = 1e-8,
) -> Array:
    """Features of rows, those of missing cells as their mean-field expectation.

    A single missing cell gets its exact conditional expectation. Each row is
    completed by itself, so that an answer does not depend on the rows beside it.
    """
    gaps = codes == MISSING
    F = features(np.where(gaps, 0, codes), where)
    broken = np.flatnonzero(gaps.any(axis=1))
    if not len(broken):
        return F
    part, holes = F[broken], gaps[broken]
    columns = np.flatnonzero(holes.any(axis=0)).tolist()
    for u in columns:
        part[holes[:, u], where.spans[u]] = marginals[u] @ where.bases[u]
    moving = np.arange(len(broken))
    for _ in range(max_iter):
        before = part[moving].copy()
        for u in columns:
            rows = moving[holes[moving, u]]
            if len(rows):
                p = softmax(energies(part[rows], u))
                part[rows, where.spans[u]] = p @ where.bases[u]
        moved = np.abs(part[moving] - before).max(axis=1, initial=0.0)
        moving = moving[moved > tol]
        if not len(moving):
            break
    F[broken] = part
    return F


def cell_log_likelihood(codes: Any, F: Array, energies: Energies) -> Array:
    """Log-probability of each cell given the rest of its row; zero where missing."""
    out = np.zeros(codes.shape)
    for u in range(codes.shape[1]):
        logs = log_softmax(energies(F, u))
        known = np.flatnonzero(codes[:, u] != MISSING)
        out[known, u] = logs[known, codes[known, u]]
    return out
