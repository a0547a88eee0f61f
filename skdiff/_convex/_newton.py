"""Newton's method for smooth convex functions of few variables."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve

from skdiff._base.typing import Array
from skdiff._convex._krylov import Product, pcg
from skdiff._convex._solve import Solution

Oracle = Callable[[Array], tuple[float, Array, Array]]
_ARMIJO, _SHRINK, _HALVINGS = 1e-4, 0.5, 40
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
        slope = float(gradient @ step)
        decrement = float(np.sqrt(max(-slope, 0.0)))
        floor = 4 * np.finfo(float).eps * max(abs(value), 1e-300)
        if not np.isfinite(decrement) or n_iter == max_iter:
            break
        found = _line_search(oracle.value, x, step, value, slope, floor)
        if found is None:
            break
        x, value = found
        if decrement <= tol or decrement**2 / 2 <= floor:
            return Solution(x, value, decrement, n_iter + 1, True)
    return Solution(x, value, decrement, n_iter, False)


def _precise(product: Product, b: Array, metric: Array, tol: float) -> Array:
    """Solve one system."""
    found = pcg(product, b, lambda r: r / metric, tol=tol, max_iter=_KRYLOV_ITER)
    return np.asarray(found.x)


def _line_search(
    function: Callable[[Array], float],
    x: Array,
    step: Array,
    value: float,
    slope: float,
    floor: float,
) -> tuple[Array, float] | None:
    """Armijo's rule; None where no step is short enough."""
    t = 1.0
    for _ in range(_HALVINGS):
        candidate = x + t * step
        with np.errstate(over="ignore", invalid="ignore"):
            new = function(candidate)
        if new <= value + _ARMIJO * t * slope + floor:
            return candidate, new
        t *= _SHRINK
    return None


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
