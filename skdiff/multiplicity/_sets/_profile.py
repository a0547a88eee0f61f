"""Ranges at many tolerances along one path, each started from the one before."""

from typing import Any

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.typing import Array
from skdiff.multiplicity._sets._level_set import LevelSet
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser

# Where the tangent leaves more than this residual, the start from the centre is tried.
_FAR = 0.2
_POINTS = 4  # of a polynomial along the path


def path(
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
    if level_set.ellipsoidal:
        half = taus[:, None] * norms
        low, high = -half, half
    else:
        block_of = _path_block if level_set.differentiable else _corners
        step = max(8, 100_000 // max(level_set.data.n, 1))
        blocks = [U[k : k + step] for k in range(0, len(U), step)]
        parallel = Parallel(n_jobs=n_jobs, prefer="threads")
        parts = parallel(
            delayed(block_of)(level_set, block, taus, tol, max_iter) for block in blocks
        )
        values = np.concatenate(list(parts), axis=1)
        low, high = -norms * values[:, :, 0], norms * values[:, :, 1]
    bounds = np.stack([middle + low, middle + high], axis=2)
    bounds[:, norms == 0] = middle[norms == 0, None]
    return bounds


def _path_block(
    level_set: LevelSet, V: Array, taus: Array, tol: float, max_iter: int
) -> Array:
    """Values (n_taus, m, 2) of the maxima of ``-V`` and ``V``.

    Every second level is solved on the way up. Those between start where a polynomial
    through their neighbours leads, mostly so close that little is left to solve.
    """
    both = np.concatenate([-V, V])
    values = np.empty((len(taus), len(both)))
    last = len(taus) - 1
    knots = [*range(0, last, 2), last]
    solved: dict[int, Extremes] = {}
    for k in knots:
        solver = Maximiser(level_set.data, taus[k], tol, max_iter)
        mu, U = solver.predict(V)
        if solved:
            mu, U = _better_start(solver, both, (mu, U), taus, solved)
        solved[k] = solver.solve(both, U, mu)
        values[k] = solved[k].value
    for k in set(range(last)) - set(knots):
        solver = Maximiser(level_set.data, taus[k], tol, max_iter)
        mu, U = _through(taus, solved, taus[k])
        astray = ~(mu > 0)  # levels far apart: another sign is another end
        mu[astray], U[astray] = taus[k], taus[k] * both[astray]
        values[k] = solver.solve(both, U, mu).value
    return np.stack([values[:, : len(V)], values[:, len(V) :]], axis=2)


def _corners(level_set: Any, V: Array, taus: Array, tol: float, max_iter: int) -> Array:
    """The same of a squared loss and an L1 penalty: one path passes all levels."""
    both = np.concatenate([-V, V])
    U, mu = level_set.data.follow(both, taus**2 / 2)
    values = np.empty((len(taus), len(both)))
    for k, tau in enumerate(taus):
        solver = level_set.solver(tau, tol, max_iter)
        values[k] = solver.accepted(both, U[k], mu[k]).value
    return np.stack([values[:, : len(V)], values[:, len(V) :]], axis=2)


def _through(
    taus: Array, solved: dict[int, Extremes], tau: float
) -> tuple[Array, Array]:
    """Multipliers and models at a level, by a polynomial through the nearest solved.

    Both grow like the level itself from the centre on; what is left varies slowly with
    its logarithm.
    """
    x = np.log(taus / tau)
    near = sorted(solved, key=lambda k: abs(x[k]))[:_POINTS]
    first = solved[near[0]]
    mu, U = np.zeros_like(first.multiplier), np.zeros_like(first.model)
    for k in near:
        others = x[[j for j in near if j != k]]
        weight = np.prod(others / (others - x[k])) * tau / taus[k]
        mu += weight * solved[k].multiplier
        U += weight * solved[k].model
    return mu, U


def _better_start(
    solver: Maximiser,
    V: Array,
    centre: tuple[Array, Array],
    taus: Array,
    solved: dict[int, Extremes],
) -> tuple[Array, Array]:
    """Row by row, the better of the series at the centre and the path so far.

    The path is continued by its tangent at the last level, a joint Newton step with the
    new level as its goal, or by a polynomial through the last levels.
    """
    mu, U = centre
    size = solver.state(V, U, mu, solver.tau).size
    far = np.flatnonzero(size > _FAR)
    if not len(far):
        return mu, U
    if len(solved) > 2:
        mt, Ut = _through(taus, solved, solver.tau)
        far = _take(solver, V, mu, U, size, far, (mt[far], Ut[far]))
    if len(far):
        last = solved[max(solved)]
        model, multiplier = last.model[far], last.multiplier[far]
        state = solver.state(V[far], model, multiplier, solver.tau)
        Ut, mt = solver.step(state, V[far], model, multiplier)
        _take(solver, V, mu, U, size, far, (mt, Ut))
    return mu, U


def _take(
    solver: Maximiser,
    V: Array,
    mu: Array,
    U: Array,
    size: Array,
    rows: Any,
    start: tuple[Array, Array],
) -> Any:
    """Take another start where it is nearer, in place; return rows still far."""
    found = solver.state(V[rows], start[1], start[0], solver.tau).size
    closer = (found < size[rows]) & (start[0] > 0)
    place = rows[closer]
    mu[place], U[place], size[place] = start[0][closer], start[1][closer], found[closer]
    return rows[size[rows] > _FAR]
