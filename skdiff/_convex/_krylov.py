"""Preconditioned conjugate gradients, for one system or for many at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._solve import Solution

Product = Callable[[Any], Any]
_TINY = 1e-300


def pcg(
    product: Product,
    b: Any,
    precondition: Product | None = None,
    *,
    tol: float = 1e-10,
    max_iter: int = 1000,
) -> Solution:
    """Solve ``H x = b`` from products with a positive definite ``H``.

    ``b`` has any shape; ``product`` and ``precondition`` keep it. The ``gap`` is the
    norm of the residual relative to that of ``b``; the ``objective`` is
    ``x'Hx/2 - b'x``. A direction without curvature ends the iteration.
    """
    x, r = np.zeros_like(b), b.copy()
    z = r if precondition is None else precondition(r)
    p, rz = z.copy(), float(np.vdot(r, z))
    size = float(np.linalg.norm(b))
    n_iter = 0
    while n_iter < max_iter and np.linalg.norm(r) > tol * size and rz > 0:
        Hp = product(p)
        curvature = float(np.vdot(p, Hp))
        if curvature <= 0:
            break
        step = rz / curvature
        x += step * p
        r -= step * Hp
        z = r if precondition is None else precondition(r)
        previous, rz = rz, float(np.vdot(r, z))
        p = z + (rz / previous) * p
        n_iter += 1
    gap = float(np.linalg.norm(r)) / max(size, _TINY)
    return Solution(x, -float(np.vdot(x, b + r)) / 2, gap, n_iter, gap <= tol)


class RowSolutions(NamedTuple):
    """Solutions of many systems, row by row, and the relative residual of each."""

    x: Array
    gap: Array


def pcg_rows(
    product: Product,
    B: Array,
    metric: Array | Product | None = None,
    *,
    tol: float = 1e-10,
    max_iter: int = 2000,
) -> RowSolutions:
    """Solve ``H x = b`` for every row b of B.

    ``product`` maps rows to rows and may hold another ``H`` for each. ``metric`` is
    the diagonal of a preconditioner M, or what applies ``M^-1`` to rows; gaps are
    relative residuals in the norm of ``M^-1``, which no unit of a column changes. A row
    that has converged stays.
    """
    solve = metric if callable(metric) else _scaling(metric)
    X, R = np.zeros_like(B), B.copy()
    Z = solve(R)
    P, rz = Z.copy(), _dots(R, Z)
    size = np.maximum(np.sqrt(rz), _TINY)
    for _ in range(max_iter):
        active = np.sqrt(np.maximum(rz, 0.0)) > tol * size
        if not active.any():
            break
        HP = product(P)
        curvature = _dots(P, HP)
        active &= curvature > 0
        step = np.where(active, rz / np.where(active, curvature, 1.0), 0.0)
        X += step[:, None] * P
        R -= step[:, None] * HP
        Z = solve(R)
        before, rz = rz, _dots(R, Z)
        P = Z + (rz / np.where(before > 0, before, 1.0))[:, None] * P
    return RowSolutions(X, np.sqrt(np.maximum(rz, 0.0)) / size)


def _scaling(metric: Array | None) -> Product:
    """Apply the inverse of a diagonal; of the identity without one."""
    return lambda R: R.copy() if metric is None else R / metric


def _dots(A: Array, B: Array) -> Array:
    return np.asarray(np.einsum("ij,ij->i", A, B))
