"""Newton's method for smooth convex functions of few variables."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve

from skdiff._base.typing import Array
from skdiff._convex._solve import Solution

Oracle = Callable[[Array], tuple[float, Array, Array]]
_ARMIJO, _SHRINK, _HALVINGS = 1e-4, 0.5, 40


def newton(
    oracle: Oracle, x: Array, *, tol: float = 1e-10, max_iter: int = 100
) -> Solution:
    """Minimise by damped Newton steps.

    ``oracle(x)`` returns value, gradient and Hessian. The ``gap`` is the Newton
    decrement ``sqrt(g' H^-1 g)``: half its square is the decrease still to be had.
    It converges when the decrement is at most ``tol``, or when rounding leaves no
    decrease to find.
    """
    value, gradient, hessian = oracle(x)
    for n_iter in range(max_iter + 1):
        step = -spd_solve(hessian, gradient)
        slope = float(gradient @ step)
        decrement = np.sqrt(max(-slope, 0.0))
        floor = 4 * np.finfo(float).eps * max(abs(value), 1e-300)
        if decrement <= tol or decrement**2 / 2 <= floor:
            # one undamped step more is free and squares the error
            last = oracle(x + step)
            if np.isfinite(last[0]) and last[0] <= value + floor:
                x, value = x + step, last[0]
            return Solution(x, value, float(decrement), n_iter, True)
        if n_iter == max_iter:
            break
        t = 1.0
        for _ in range(_HALVINGS):
            with np.errstate(over="ignore", invalid="ignore"):
                found = oracle(x + t * step)
            if found[0] <= value + _ARMIJO * t * slope + floor:
                break
            t *= _SHRINK
        else:
            return Solution(x, value, float(decrement), n_iter, False)
        x = x + t * step
        value, gradient, hessian = found
    return Solution(x, value, float(decrement), max_iter, False)


def newton_equality(
    oracle: Oracle,
    x: Array,
    A: Array,
    *,
    tol: float = 1e-10,
    max_iter: int = 100,
) -> Solution:
    """Minimise subject to ``A x = A x0`` for the feasible start ``x0``.

    Steps stay in the null space of ``A``; ``gap`` is the decrement within it.
    """
    null = _null_space(A)

    def reduced(z: Array) -> tuple[float, Array, Array]:
        value, gradient, hessian = oracle(x + null @ z)
        return value, null.T @ gradient, null.T @ hessian @ null

    found = newton(reduced, np.zeros(null.shape[1]), tol=tol, max_iter=max_iter)
    return found._replace(x=x + null @ found.x)


def spd_solve(H: Array, b: Array) -> Array:
    """Solve ``H x = b`` for a symmetric H, positive definite up to rounding."""
    if not H.size:
        return np.zeros_like(b)
    scale = np.sqrt(np.maximum(np.diag(H), 0.0))
    scale[scale == 0] = 1.0
    S = H / scale / scale[:, None]
    rhs = (b.T / scale).T
    ridge = 0.0
    for _ in range(20):
        try:
            factor = cho_factor(S + ridge * np.eye(len(S)), check_finite=False)
        except LinAlgError:
            ridge = max(10 * ridge, 1e-14)
            continue
        return (cho_solve(factor, rhs, check_finite=False).T / scale).T
    return (solve(S + np.eye(len(S)), rhs, assume_a="sym").T / scale).T


def _null_space(A: Array) -> Array:
    _, s, Vt = np.linalg.svd(A, full_matrices=True)
    rank = int(np.sum(s > s.max(initial=0.0) * max(A.shape) * np.finfo(float).eps))
    return np.ascontiguousarray(Vt[rank:].T)
