"""Ranges at many tolerances in one sweep, each started from the one before."""

from typing import Any

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skdiff._convex._losses import Array
from skdiff.multiplicity._level_set import Extremes, LevelSet, Maximiser

# Where the tangent leaves more than this residual, the start from the centre is tried.
_FAR = 0.5


def sweep(
    level_set: LevelSet,
    V: Array,
    budgets: Array,
    *,
    tol: float,
    max_iter: int,
    n_jobs: int | None = None,
) -> Array:
    """Ranges (n_budgets, m, 2) of the directions V at ascending budgets."""
    U, norms = level_set.whitened_directions(V)
    taus = np.sqrt(2 * np.asarray(budgets))
    middle = V @ level_set.center
    if level_set.problem.loss.quadratic:
        half = taus[:, None] * norms
        low, high = -half, half
    else:
        step = max(8, 100_000 // max(level_set.data.n, 1))
        blocks = [U[k : k + step] for k in range(0, len(U), step)]
        parallel = Parallel(n_jobs=n_jobs, prefer="threads")
        parts = parallel(
            delayed(_sweep_block)(level_set.data, block, taus, tol, max_iter)
            for block in blocks
        )
        values = np.concatenate(list(parts), axis=1)
        low, high = -norms * values[:, :, 0], norms * values[:, :, 1]
    bounds = np.stack([middle + low, middle + high], axis=2)
    bounds[:, norms == 0] = middle[norms == 0, None]
    return bounds


def _sweep_block(data: Any, V: Array, taus: Array, tol: float, max_iter: int) -> Array:
    """Values (n_taus, m, 2) of the maxima of ``-V`` and ``V``."""
    both = np.concatenate([-V, V])
    values = np.empty((len(taus), len(both)))
    found: Extremes | None = None
    for k, tau in enumerate(taus):
        solver = Maximiser(data, tau, tol, max_iter)
        mu, U = solver.predict(V)
        if found is not None:
            mu, U = _better_start(solver, both, (mu, U), found)
        found = solver.solve(both, U, mu)
        values[k] = found.value
    return np.stack([values[:, : len(V)], values[:, len(V) :]], axis=2)


def _better_start(
    solver: Maximiser, V: Array, centre: tuple[Array, Array], last: Extremes
) -> tuple[Array, Array]:
    """Row by row, the better of the series at the centre and the last tangent.

    The tangent of the path at the last level is a joint Newton step with the new level
    as its goal.
    """
    state = solver.state(V, centre[1], centre[0], solver.tau)
    far = state.size > _FAR
    mu, U = centre
    if far.any():
        V, old = (
            V[far],
            solver.state(V[far], last.model[far], last.multiplier[far], solver.tau),
        )
        Ut, mt = solver.step(old, V, last.model[far], last.multiplier[far])
        size = solver.state(V, Ut, mt, solver.tau).size
        closer = size < state.size[far]
        place = np.flatnonzero(far)[closer]
        mu[place], U[place] = mt[closer], Ut[closer]
    return mu, U
