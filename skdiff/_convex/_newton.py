"""Newton's method for smooth convex functions of few variables."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy.linalg import solve
from scipy.linalg.lapack import dposv

from skdiff._base.typing import Array
from skdiff._convex._krylov import Product, pcg
from skdiff._convex._line_search import decrement_of, line_search, rounding
from skdiff._convex._solve import Solution

Oracle = Callable[[Array], tuple[float, Array, Array]]
_KRYLOV_TOL, _KRYLOV_ITER = 1e-10, 2000


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
        slope, decrement = decrement_of(gradient, step)
        floor = rounding(value)
        if decrement <= tol or decrement**2 / 2 <= floor:
            # one undamped step more is free and squares the error
            last = oracle(x + step)
            if np.isfinite(last[0]) and last[0] <= value + floor:
                x, value = x + step, last[0]
            return Solution(x, value, decrement, n_iter, True)
        if n_iter == max_iter:
            break
        found = line_search(_along(oracle, x, step), value, slope, floor)
        if found is None:
            return Solution(x, value, decrement, n_iter, False)
        value, (x, gradient, hessian) = found.value, found.rest
    return Solution(x, value, decrement, max_iter, False)


def _along(oracle: Oracle, x: Array, step: Array) -> Callable[[float], Any]:
    """Value, point, gradient and Hessian at a length of the step."""

    def trial(t: float) -> tuple[float, Any]:
        point = x + t * step
        value, gradient, hessian = oracle(point)
        return value, (point, gradient, hessian)

    return trial


class KrylovOracle(Protocol):
    """A function whose Hessian is known by its products only."""

    def value(self, x: Array) -> float:
        """Return the value; infinite or NaN outside the domain."""
        ...

    def derivatives(self, x: Array) -> tuple[Array, Product, Array]:
        """Return gradient, product with the Hessian, and the Hessian's diagonal."""
        ...


def newton_krylov(
    oracle: KrylovOracle, x: Array, *, tol: float = 1e-10, max_iter: int = 100
) -> Solution:
    """Minimise by damped Newton steps that conjugate gradients solve for.

    No matrix is formed. The diagonal of the Hessian is the preconditioner. ``gap`` is
    the Newton decrement, as in :func:`newton`.
    """
    value, decrement = oracle.value(x), np.inf
    for n_iter in range(max_iter + 1):
        gradient, product, diagonal = oracle.derivatives(x)
        metric = np.where(diagonal > 0, diagonal, 1.0)
        accuracy = 1e-3 if decrement > 1e-3 else _KRYLOV_TOL
        step = -_precise(product, gradient, metric, accuracy)
        slope, decrement = decrement_of(gradient, step)
        floor = rounding(value)
        if not np.isfinite(decrement) or n_iter == max_iter:
            break
        found = line_search(_value_along(oracle, x, step), value, slope, floor)
        if found is None:
            break
        x, value = found.rest, found.value
        if decrement <= tol or decrement**2 / 2 <= floor:
            return Solution(x, value, decrement, n_iter + 1, True)
    return Solution(x, value, decrement, n_iter, False)


def _precise(product: Product, b: Array, metric: Array, tol: float) -> Array:
    """Solve one system."""
    found = pcg(product, b, lambda r: r / metric, tol=tol, max_iter=_KRYLOV_ITER)
    return np.asarray(found.x)


def _value_along(oracle: KrylovOracle, x: Array, step: Array) -> Callable[[float], Any]:
    """Value and point at a length of the step."""

    def trial(t: float) -> tuple[float, Any]:
        point = x + t * step
        return oracle.value(point), point

    return trial


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
        _, x, failed = dposv(S if ridge == 0 else S + ridge * np.eye(len(S)), rhs)
        if not failed:
            return np.asarray((x.T / scale).T)
        ridge = max(10 * ridge, 1e-14)
    return (solve(S + np.eye(len(S)), rhs, assume_a="sym").T / scale).T
