"""The largest of several smooth convex functions, minimised with its multipliers.

Minimises ``max_j h_j(w) + sum_i ridge_i w_i^2 / 2`` through its dual: weights q on the
simplex, for each of which the weighted sum has a minimiser ``w(q)``. The dual function
is concave with gradient ``h(w(q))`` and Hessian ``-J H^-1 J'``, so that Newton steps
that solve the quadratic model exactly on the simplex find the active functions in a few
iterations.
"""

from typing import NamedTuple, Protocol

import numpy as np

from skdiff._base.typing import Array, BoolArray
from skdiff._convex._newton import spd_solve

_INNER, _HALVINGS, _LAST, _FAR = 50, 30, 1e-11, 0.05


class Pieces(Protocol):
    """Several smooth convex functions of the same variables."""

    def derivatives(self, w: Array, q: Array) -> tuple[Array, Array, Array]:
        """Values (m,), gradients (m, d), and the Hessian (d, d) of the sum under q."""
        ...


class Saddle(NamedTuple):
    """Variables, multipliers, values of the functions, and iterations."""

    w: Array
    q: Array
    values: Array
    n_iter: int
    converged: bool


class _Inner(NamedTuple):
    """The minimiser for fixed multipliers."""

    w: Array
    total: float
    values: Array
    J: Array
    H: Array

    def gap(self, q: Array) -> float:
        """Largest value less the mean."""
        return float(self.values.max() - q @ self.values)


def _look(pieces: Pieces, ridge: Array, q: Array, w: Array) -> _Inner:
    values, J, H = pieces.derivatives(w, q)
    H.flat[:: len(H) + 1] += ridge
    return _Inner(w, float(q @ values + ridge @ w**2 / 2), values, J, H)


def _minimise(pieces: Pieces, ridge: Array, q: Array, w: Array) -> _Inner:
    """Newton's method on the weighted sum, to the level of rounding."""
    here = _look(pieces, ridge, q, w)
    for _ in range(_INNER):
        gradient = q @ here.J + ridge * here.w
        step = -spd_solve(here.H, gradient)
        slope = float(gradient @ step)
        floor = 4 * np.finfo(float).eps * max(abs(here.total), 1e-300)
        # a last step that is not searched squares the error
        last = -slope / 2 <= max(_LAST * abs(here.total), floor)
        t = 1.0
        for _ in range(1 if last else _HALVINGS):
            with np.errstate(over="ignore", invalid="ignore"):
                there = _look(pieces, ridge, q, here.w + t * step)
            if there.total <= here.total + 1e-4 * t * slope + floor:
                here = there
                break
            t /= 2
        else:
            break
        if last:
            break
    return here


def simplex_qp(b: Array, M: Array, q: Array) -> Array:
    """Maximise ``b'q - q'M q / 2`` over the simplex, from a point of it.

    A primal active-set method; M is positive semi-definite.
    """
    m = len(b)
    M = M + 1e-13 * max(float(np.trace(M)), 1e-300) * np.eye(m)
    scale = np.abs(b).max(initial=0.0) + np.abs(M).max(initial=0.0)
    free, start = q > 0, q
    for _ in range(10 * m + 20):
        target = _on_face(b, M, free)
        blocked = free & (target < 0)
        if blocked.any():
            t = q[blocked] / (q[blocked] - target[blocked])
            step = float(t.min())
            q = np.maximum(q + step * (target - q), 0.0)
            out = np.flatnonzero(blocked)[t <= step]
            q[out] = 0.0
            free[out] = False
            if not free.any():  # the face's system is singular beyond repair
                return start
            continue
        q = target
        slope = b - M @ q
        level = float(slope[free].mean())
        excess = np.where(free, 0.0, slope - level)
        if excess.max(initial=0.0) <= 1e-13 * scale:
            break
        free[int(excess.argmax())] = True
    return q / q.sum()


def _on_face(b: Array, M: Array, free: BoolArray) -> Array:
    """Maximiser over a face, its coordinates of any sign."""
    k = np.flatnonzero(free)
    # bordered: M alone is singular where no coefficient has a ridge
    size = max(float(np.abs(M).max()), 1e-300)
    K = np.full((len(k) + 1, len(k) + 1), size)
    K[:-1, :-1] = M[np.ix_(k, k)]
    K[-1, -1] = 0.0
    q = np.zeros(len(b))
    q[k] = np.linalg.lstsq(K, np.append(b[k], size), rcond=1e-14)[0][:-1]
    return q


def minimax(
    pieces: Pieces,
    ridge: Array,
    w: Array,
    q: Array,
    *,
    tol: float = 1e-9,
    max_iter: int = 100,
) -> Saddle:
    """Minimise the largest; ``tol`` bounds the largest value less the weighted one."""
    here, n_iter = _minimise(pieces, ridge, q, w), 0
    for n_iter in range(1, max_iter + 1):  # noqa: B007
        gap = here.gap(q)
        last = gap <= tol  # one step more, not searched, squares the error
        if last and tol == np.inf:
            break
        back = spd_solve(here.H, here.J.T)
        M = here.J @ back
        if not np.all(np.isfinite(M)):
            break
        aim = simplex_qp(here.values + M @ q, M, q.copy())
        move = aim - q
        slope = float(here.values @ move)
        floor = 4 * np.finfo(float).eps * max(abs(here.total), 1e-300)
        t = 1.0
        for _ in range(_HALVINGS):
            start = here.w - t * (back @ move)
            there = _minimise(pieces, ridge, q + t * move, start)
            rises = there.total >= here.total + 1e-4 * t * slope - floor
            # on a face the minimiser may be far, or at infinity: do not jump there
            near = there.gap(q + t * move) <= max(gap, tol) or t < _FAR
            if rises and near:
                break
            t /= 2
        else:
            break
        q, here = q + t * move, there
        if last or slope <= floor:
            break
    gap = here.gap(q)
    return Saddle(here.w, q, here.values, n_iter, gap <= tol)
