"""From zero-concentrated differential privacy to (epsilon, delta), and back.

A mechanism of zCDP parameter rho satisfies (epsilon, delta) for every alpha > 1 with
``delta = exp((alpha - 1) (alpha rho - epsilon)) (1 - 1/alpha)^alpha / (alpha - 1)``
(Canonne, Kamath and Steinke, 2020, Corollary 13); the best alpha is searched.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from scipy.optimize import brentq, minimize_scalar

# log(alpha - 1) at which the search for the best order starts
_GRID = np.linspace(-25.0, 45.0, 281)
_BITS = 48
LEAST_RHO = 2.0**-80  # noise for less would not fit 64-bit counts


def _lowest(function: Callable[[float], float]) -> float:
    """Minimum over log(alpha - 1): a scan, then bounded Brent around the best."""
    values = [function(t) for t in _GRID]
    k = int(np.argmin(values))
    low, high = _GRID[max(k - 1, 0)], _GRID[min(k + 1, len(_GRID) - 1)]
    found = minimize_scalar(
        function, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    return float(min(found.fun, values[k]))


def _log_rest(t: float) -> float:
    """``log((1 - 1/alpha)^alpha / (alpha - 1))`` at ``alpha = 1 + exp(t)``."""
    alpha = 1.0 + math.exp(t)
    return alpha * (t - math.log1p(math.exp(t))) - t


def log_delta(rho: float, epsilon: float) -> float:
    """Logarithm of the smallest delta at an epsilon."""
    if rho == 0:
        return -math.inf
    return min(
        0.0,
        _lowest(
            lambda t: math.exp(t) * ((1 + math.exp(t)) * rho - epsilon) + _log_rest(t)
        ),
    )


def delta_of(rho: float, epsilon: float) -> float:
    """Return the smallest delta at an epsilon."""
    return math.exp(log_delta(rho, epsilon))


def epsilon_of(rho: float, delta: float) -> float:
    """Return the smallest epsilon at a delta."""
    if rho == 0:
        return 0.0
    if math.isinf(rho):
        return math.inf
    best = _lowest(
        lambda t: (
            (1 + math.exp(t)) * rho + (_log_rest(t) - math.log(delta)) / math.exp(t)
        )
    )
    return max(best, 0.0)


def rho_of(epsilon: float, delta: float) -> float:
    """Return the largest rho that satisfies (epsilon, delta).

    It is zero where that is smaller than ``LEAST_RHO``.
    """
    if epsilon_of(LEAST_RHO, delta) > epsilon:
        return 0.0
    high = epsilon + 1.0
    while epsilon_of(high, delta) < epsilon:
        high *= 2
    low = high
    while epsilon_of(low, delta) > epsilon:
        low /= 4
    found = brentq(
        lambda s: epsilon_of(math.exp(s), delta) - epsilon,
        math.log(low),
        math.log(high),
        xtol=1e-14,
        rtol=1e-14,
    )
    return float(math.exp(found))


def floored(value: float) -> Fraction:
    """Return a fraction at most ``value`` and within 2**-41 of it, relatively."""
    exact = Fraction(value) * (1 - Fraction(1, 2**42))
    scale = 2 ** max(_BITS - math.frexp(value)[1], 0)
    return Fraction(math.floor(exact * scale), scale)
