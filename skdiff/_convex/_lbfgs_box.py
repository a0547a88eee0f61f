"""L-BFGS in a box."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize

from skdiff._base.typing import Array
from skdiff._convex._solve import Solution

Objective = Callable[[Array], tuple[float, Array]]


def lbfgs_box(
    objective: Objective,
    start: Array,
    lower: Any = -np.inf,
    upper: Any = np.inf,
    *,
    max_iter: int = 1000,
    max_fun: int | None = None,
    callback: Callable[[Any], Any] | None = None,
    **options: float,
) -> Solution:
    """Minimise within bounds by SciPy's L-BFGS-B.

    ``objective(x)`` returns value and gradient. ``options`` are SciPy's (``ftol``,
    ``gtol``, ``maxcor``); its callback ends the iteration by ``StopIteration``. The
    ``gap`` is the largest entry of the projected gradient, zero at a solution;
    ``stats["status"]`` is 0 where a tolerance was met, 1 where a limit was reached,
    and 2 where the line search found no descent.
    """
    low, high = np.broadcast_to(lower, start.shape), np.broadcast_to(upper, start.shape)
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
        callback=callback,
        options={
            "maxiter": max_iter,
            "maxfun": 20 * max_iter if max_fun is None else max_fun,
            **options,
        },
    )
    x = np.asarray(found.x)
    gap = projected_gradient(x, np.asarray(found.jac), low, high)
    stats = {"status": int(found.status), "evaluations": int(found.nfev)}
    return Solution(x, float(found.fun), gap, int(found.nit), found.status == 0, stats)


def projected_gradient(x: Array, gradient: Array, lower: Any, upper: Any) -> float:
    """Largest distance that a unit step against the gradient goes within bounds."""
    return float(np.abs(np.clip(x - gradient, lower, upper) - x).max(initial=0.0))
