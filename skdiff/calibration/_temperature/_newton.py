"""The temperature with the lowest log loss.

In ``b = 1 / T`` the mean log loss ``mean(logsumexp(b z_i) - b z_iy)`` is convex (Guo,
Pleiss, Sun and Weinberger, 2017): its slope is the mean of ``E_p z - z_y``, its
curvature the mean of ``Var_p z``, with ``p = softmax(b z)``.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from skdiff._base.typing import Array, IntArray

#: bounds of ``b`` in units of one over the spread of the logits
LOWEST, HIGHEST = 1e-4, 1e4
MAX_ITER = 200
CLOSE = 1e-9  # relative step, or width of the bracket, at the end


class Fitted(NamedTuple):
    """The temperature; ``bound`` tells which end of the search it lies at, if any."""

    temperature: float
    n_iter: int
    bound: str | None = None


def log_softmax(logits: Array, temperature: float) -> Array:
    """Log probabilities at a temperature."""
    z = logits / temperature
    found: Array = z - logsumexp(z, axis=1, keepdims=True)
    return found


def _slopes(b: float, Z: Array, own: float, weight: Array) -> tuple[float, float]:
    """First and second derivative of the mean log loss in ``b``.

    The largest entry of a row of ``Z`` is zero, and so it is after the product with
    ``b``; ``own`` is the mean logit of the rows' classes.
    """
    E = np.exp(b * Z)
    total = E.sum(axis=1)
    E *= Z
    mean = E.sum(axis=1) / total
    square = np.einsum("ij,ij->i", E, Z) / total
    return float(weight @ mean) - own, float(weight @ (square - mean**2))


def fit_temperature(logits: Array, codes: IntArray, weight: Array | None) -> Fitted:
    """Minimise the log loss by Newton steps within a bracket, bisected where needed.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        Logits.
    codes : ndarray of shape (n_samples,)
        Column of each row's class.
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows.
    """
    w = np.full(len(codes), 1.0) if weight is None else weight
    w = w / w.sum()
    Z = logits - logits.mean(axis=1, keepdims=True)
    spread = float(np.sqrt(w @ (Z**2).mean(axis=1)))
    if spread == 0:  # no row prefers a class: any temperature is the best
        return Fitted(1.0, 0)
    Z = (logits - logits.max(axis=1, keepdims=True)) / spread
    own = float(w @ Z[np.arange(len(codes)), codes])
    if own == 0:  # every row has its own class on top: the certain forecast is best
        return Fitted(spread / HIGHEST, 0, "low")
    low, high, b = LOWEST, HIGHEST, 1.0
    n_iter = 0
    while high / low - 1 > CLOSE and n_iter < MAX_ITER:
        n_iter += 1
        slope, curvature = _slopes(b, Z, own, w)
        if slope == 0:
            break
        low, high = (b, high) if slope < 0 else (low, b)
        step = b - slope / curvature if curvature > 0 else -1.0
        inside = low < step < high
        before, b = b, step if inside else float(np.sqrt(low * high))
        # the error of the next Newton step is about the square of this one
        if inside and abs(b - before) <= CLOSE * b:
            break
    bound = None
    if b > 0.99 * HIGHEST or b < 1.01 * LOWEST:
        bound = "low" if b > 1 else "high"
    return Fitted(spread / b, n_iter, bound)
