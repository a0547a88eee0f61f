"""Fits of cumulative logit models: direct, along paths of penalties, and by cvxpy."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._newton import newton, spd_solve
from skdiff._convex._prox_newton import prox_newton
from skdiff._convex._solve import Solution, SolverFailedError, solve
from skdiff.linear_model._ordinal._certificate import lower_bound
from skdiff.linear_model._ordinal._likelihood import (
    Cumulative,
    General,
    Parallel,
    Rows,
)

#: relative gap below which a solution counts as proved
PROVED = 1e-6
_ANCHOR = 1e-10
_ROUGH, _SETTLING = 1e-2, 4
_BESIDE, _FINEST = 1e-4, 1e-14
# a conic problem of more rows takes minutes
_CVXPY_ROWS = 20_000


class Penalty(NamedTuple):
    """``alpha (l1_ratio |psi| + (1 - l1_ratio) psi^2 / 2)`` for each entry of psi."""

    alpha: float
    l1_ratio: float
    base: bool = True
    parallel: bool = False


def pose(rows: Rows, penalty: Penalty) -> Cumulative:
    """The problem of one penalty."""
    m, width = rows.n_thresholds, rows.A.shape[1]
    if penalty.parallel:
        weight = np.concatenate([np.zeros(m), np.ones(width - 1)])
    else:
        blocks = np.ones((m, width))
        blocks[:, 0] = 0.0
        blocks[0, 1:] = penalty.base
        weight = blocks.ravel()
    lasso = penalty.alpha * penalty.l1_ratio * weight
    ridge = penalty.alpha * (1.0 - penalty.l1_ratio) * weight
    return (Parallel if penalty.parallel else General)(rows, lasso, ridge)


def fit(
    problem: Cumulative, start: Array | None, tol: float, max_iter: int
) -> Solution:
    """Minimise; ``gap`` becomes an upper bound of the distance to the optimum."""
    if start is not None and not np.isfinite(problem.smooth(start, 0)[0]):
        start = None  # rows cross there
    start = np.zeros(problem.size) if start is None else start
    if problem.lasso.any():
        found = _sparse_fit(problem, start, tol, max_iter)
    else:
        found = newton(anchored(problem).oracle, start, tol=tol, max_iter=max_iter)
    return certified(problem, found)


def _sparse_fit(
    problem: Cumulative, start: Array, tol: float, max_iter: int
) -> Solution:
    """Proximal steps until the support is found, steps on it, and more if needed."""
    # the bound needs a gradient that is known well beside the penalty
    least = float(problem.lasso[problem.lasso > 0].min()) / problem.gradient_scale
    tol = min(tol, max(_BESIDE * least, _FINEST))
    # within the tolerance a flat loss leaves digits open that Newton's steps settle
    fine = 1e-3 * tol * problem.gradient_scale
    rough = prox_newton(problem, start, tol=max(tol, _ROUGH), max_iter=max_iter)
    left = max(max_iter - rough.n_iter, 0)
    found = prox_newton(
        problem, settled(problem, rough.x, fine), tol=tol, max_iter=left
    )
    if found.n_iter:
        found = found._replace(x=settled(problem, found.x, fine))
    return found._replace(n_iter=rough.n_iter + found.n_iter)


def settled(problem: Cumulative, w: Array, fine: float) -> Array:
    """Newton steps on the support with its signs held, each of which squares the error.

    They end where the slope is ``fine``, or where a step leaves the orthant.
    """
    support = np.flatnonzero((w != 0) | (problem.lasso == 0))
    signs = np.sign(w[support])
    penalised = problem.lasso[support] > 0
    for _ in range(_SETTLING):
        value, gradient, parts = problem.smooth(w, 2)
        slope = gradient[support] + problem.lasso[support] * signs
        if np.abs(slope).max(initial=0.0) <= fine:
            break
        moved = w.copy()
        moved[support] -= spd_solve(problem.hessian(parts, support), slope)
        kept = np.all(np.sign(moved[support]) == signs, where=penalised)
        total = value + problem.penalty(w)
        found = problem.smooth(moved, 2)[0] + problem.penalty(moved)
        if not (kept and found <= total + 1e-15 * abs(total)):
            break
        w = moved
    return w


def anchored(problem: Cumulative) -> Cumulative:
    """The problem with a trace of a ridge on free coefficients, not on thresholds.

    It makes the solution unique where columns are collinear and finite where classes
    are separated, and moves others by less than other packages' tolerances.
    """
    free = (problem.ridge == 0) & ~problem.thresholds()
    return type(problem)(
        problem.rows, problem.lasso, np.where(free, _ANCHOR, problem.ridge)
    )


def certified(problem: Cumulative, found: Solution) -> Solution:
    """The same solution with the duality gap in place of the solver's own."""
    value = problem.smooth(found.x, 0)[0] + problem.penalty(found.x)
    needed = PROVED * max(value, 1e-2)
    gap = value - lower_bound(problem, found.x)
    if gap > needed and problem.lasso.any():
        gap = min(gap, value - lower_bound(problem, found.x, support=True))
    rounding = 1e-15 * max(1.0, abs(value))
    gap = gap if abs(gap) > 100 * rounding else rounding
    return found._replace(objective=value, gap=gap, converged=gap <= needed)


def fit_or_fall_back(
    problem: Cumulative, start: Array | None, tol: float, max_iter: int
) -> Solution:
    """The direct solution; where it has no proof, the better of it and cvxpy's."""
    found = fit(problem, start, tol, max_iter)
    penalised = np.count_nonzero(problem.lasso + problem.ridge)
    # without a penalty an unproved solution is one at infinity
    attained = penalised == problem.size - problem.rows.n_thresholds
    small = problem.rows.cuts[-1] <= _CVXPY_ROWS
    if found.converged or not (attained and small and max_iter >= 100):
        return found
    try:
        other = fit_cvxpy(problem)
    except (SolverFailedError, ValueError):
        return found
    return other if other.objective < found.objective else found


def fit_cvxpy(problem: Cumulative) -> Solution:
    """The statement as the paper writes it, and its solution by a cone solver."""
    found = solve(*statement(problem))
    value = problem.smooth(found.x, 0)[0]
    if not np.isfinite(value):  # a row on the border of crossing
        raise SolverFailedError("The solution of the cone solver has crossing rows.")
    return certified(problem, found)


def statement(problem: Cumulative) -> tuple[Any, Any]:
    """Problem and variable for cvxpy.

    ``-log(1 - e^-t)`` is the least r with ``e^-r + e^-t <= 1``.
    """
    import cvxpy as cp

    rows = problem.rows
    cuts = rows.cuts
    w = cp.Variable(problem.size)
    U, V = linear_maps(problem)
    first, last = problem.offsets
    u, v = U @ w + first, V @ w + last
    loss = rows.s[: cuts[-2]] @ cp.logistic(-u) + rows.s[cuts[1] :] @ cp.logistic(v)
    constraints = []
    if inner := int(cuts[-2] - cuts[1]):
        r = cp.Variable(inner)
        t = u[int(cuts[1]) :] - v[:inner]
        constraints = [cp.exp(-r) + cp.exp(-t) <= 1]
        loss += rows.s[cuts[1] : cuts[-2]] @ r
    penalty = problem.lasso @ cp.abs(w) + problem.ridge @ cp.square(w) / 2
    return cp.Problem(cp.Minimize(loss + penalty), constraints), w


def linear_maps(problem: Cumulative) -> tuple[Array, Array]:
    """Matrices of the predictors u and v."""
    images = [problem.linear(e) for e in np.eye(problem.size)]
    return (
        np.column_stack([u for u, _ in images]),
        np.column_stack([v for _, v in images]),
    )


def largest_alpha(rows: Rows, penalty: Penalty, tol: float) -> float:
    """Smallest penalty at which no penalised coefficient leaves zero.

    A pure ridge has none; its path starts where a lasso of a thousandth would.
    """
    lasso = penalty._replace(l1_ratio=max(penalty.l1_ratio, 1e-3))
    problem = pose(rows, lasso._replace(alpha=1.0))
    w = np.zeros(problem.size)
    if not (penalty.base or penalty.parallel):
        # the base is free: that of the parallel model, with all differences zero
        plain = pose(rows, Penalty(0.0, 1.0, parallel=True))
        w = spread(fit(plain, None, tol, 100).x, rows)
    gradient = problem.smooth(w)[1] - problem.ridge * w
    penalised = problem.lasso > 0
    size = np.abs(gradient[penalised]) / lasso.l1_ratio
    return float(size.max(initial=0.0))


def spread(w: Array, rows: Rows) -> Array:
    """Coefficients of the general model that equal those of the parallel one."""
    m = rows.n_thresholds
    blocks = np.zeros((m, rows.A.shape[1]))
    blocks[:, 0], blocks[0, 1:] = w[:m], w[m:]
    return blocks.ravel()


def unpack(w: Array, rows: Rows, parallel: bool) -> tuple[Array, Array]:
    """Thresholds (K - 1,) and differences psi (K - 1, p)."""
    blocks = (spread(w, rows) if parallel else w).reshape(rows.n_thresholds, -1)
    return rows.start + np.cumsum(blocks[:, 0]), blocks[:, 1:].copy()


def information(problem: Cumulative, w: Array, parallel: bool) -> Array:
    """Observed information of thresholds first, then coefficients, per unit weight.

    Coefficients are those of the thresholds, one after the other, in the general model.
    """
    parts = problem.smooth(w, 2)[2]
    m = problem.rows.n_thresholds
    if parallel:
        H = problem.hessian(parts, np.arange(problem.size))
        # back from differences of thresholds to thresholds: D' H D
        D = np.eye(problem.size)
        D[np.arange(1, m), np.arange(m - 1)] = -1.0
        return np.asarray(D.T @ H @ D)
    assert isinstance(problem, General)
    width = problem.rows.A.shape[1]
    H = problem.threshold_hessian(parts, np.arange(width)).reshape(m * width, -1)
    place = np.arange(m * width).reshape(m, width)
    order = np.concatenate([place[:, 0], place[:, 1:].ravel()])
    return np.asarray(H[np.ix_(order, order)])
