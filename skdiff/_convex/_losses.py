"""Losses of linear predictors, with up to four derivatives, stable at any margin.

A loss is a class whose ``evaluate(f, y, order)`` returns the tuple ``(value, first,
..., order-th derivative in f)``, elementwise and broadcasting, at the price of one
exponential per element. Values are log losses or half deviances, so that their zero
means a perfect fit.
"""

from typing import Any, Protocol

import numpy as np

from skdiff._base.typing import Array


class Loss(Protocol):
    """What the solvers need from a loss."""

    #: whether the second derivative is constant, so that level sets are ellipsoids
    quadratic: bool
    #: whether the third and fourth derivative exist and are not zero everywhere
    smooth: bool

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return the value and the derivatives up to ``order`` (at most 4)."""
        ...


class Logistic:
    """``log(1 + exp(f)) - y f`` for y in [0, 1]."""

    quadratic, smooth = False, True

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        e = np.abs(f)
        np.negative(e, out=e)
        np.exp(e, out=e)
        share = 1.0 + e
        value = np.log1p(e)
        # nothing is added to a small loss that is taken away again
        value += np.maximum(f, 0.0) - y * f
        if order == 0:
            return (value,)
        np.reciprocal(share, out=share)  # probability of the likelier side
        e *= share  # of the other side
        p = np.where(f >= 0, share, e)
        results = [value, np.where(f >= 0, (1.0 - y) - e, e - y)]
        if order >= 2:
            v = share
            v *= e
            results.append(v)
        if order >= 3:
            results.append(v * (1.0 - 2.0 * p))
        if order >= 4:
            results.append(v * (1.0 - 6.0 * v))
        return tuple(results)


class Softplus:
    """``log(1 + exp(f))``: logistic loss of a margin, in few passes over memory.

    With ``precise=False`` the value of a row is exact to 1e-16 absolutely rather than
    relatively, which is enough for sums that are not tiny themselves.
    """

    quadratic, smooth = False, True

    def __init__(self, precise: bool = True) -> None:
        self.precise = precise

    def evaluate(self, f: Array, y: Any = 0.0, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives; y is ignored."""
        if order > 2 or not f.max(initial=0.0) < 700:  # exp would overflow, or NaN
            return Logistic().evaluate(f, 0.0, order)
        e = np.exp(f)
        share = e + 1.0
        value = np.log1p(e) if self.precise else np.log(share)
        if order == 0:
            return (value,)
        np.reciprocal(share, out=share)
        e *= share  # sigmoid(f), without cancellation in either tail
        if order == 1:
            return value, e
        share *= e
        return value, e, share


class Squared:
    """``(f - y)^2 / 2``."""

    quadratic, smooth = True, True

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        r = f - y
        flat = (np.ones_like(r), np.zeros_like(r), np.zeros_like(r))
        return (r * r / 2.0, r, *flat)[: order + 1]


class Poisson:
    """Half the Poisson deviance under the log link: ``exp(f) - y f + y log y - y``."""

    quadratic, smooth = False, True

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        mean = np.exp(f)
        value = mean - y * f
        value += _xlogx(y) - y
        return (value, mean - y, mean, mean, mean)[: order + 1]


class Gamma:
    """Half the gamma deviance under the log link: ``y exp(-f) + f - 1 - log y``."""

    quadratic, smooth = False, True

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        r = y * np.exp(-f)
        value = r + f - (1.0 + np.log(y))
        return (value, 1.0 - r, r, -r, r)[: order + 1]


class Tweedie:
    """Half the deviance of a Tweedie variable of power 1 to 2 under the log link."""

    quadratic, smooth = False, True

    def __init__(self, power: float = 1.5) -> None:
        self.power = power

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        a, b = 2.0 - self.power, 1.0 - self.power
        grown, fallen = np.exp(a * f), y * np.exp(b * f)
        best = np.asarray(y, dtype=np.float64) ** a / (a * b)
        parts = [grown / a - fallen / b + best]
        parts += [a**k * grown - b**k * fallen for k in range(order)]
        return tuple(parts)


class SquaredHinge:
    """``max(0, 1 - y f)^2`` for y in {-1, 1}; not twice differentiable at 1."""

    quadratic, smooth = False, False

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        slack = np.maximum(1.0 - y * f, 0.0)
        inside = 2.0 * (slack > 0)
        zero = np.zeros_like(slack)
        return (slack**2, -2.0 * y * slack, inside, zero, zero)[: order + 1]


class Huber:
    """Squared within ``delta`` of the target, linear beyond."""

    quadratic, smooth = False, False

    def __init__(self, delta: float = 1.35) -> None:
        self.delta = delta

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        r = f - y
        clipped = np.clip(r, -self.delta, self.delta)
        value = clipped * (r - clipped / 2.0)
        inside = (np.abs(r) <= self.delta).astype(np.float64)
        zero = np.zeros_like(r)
        return (value, clipped, inside, zero, zero)[: order + 1]


class ModifiedHuber:
    """Squared hinge that grows linearly below a margin of -1, y in {-1, 1}."""

    quadratic, smooth = False, False

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        slack = np.maximum(1.0 - y * f, 0.0)
        clipped = np.minimum(slack, 2.0)
        inside = 2.0 * ((slack > 0) & (slack <= 2.0))
        zero = np.zeros_like(slack)
        value = clipped * (2.0 * slack - clipped)
        return (value, -2.0 * y * clipped, inside, zero, zero)[: order + 1]


class SquaredEpsilonInsensitive:
    """``max(0, |f - y| - delta)^2``."""

    quadratic, smooth = False, False

    def __init__(self, delta: float = 0.1) -> None:
        self.delta = delta

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        r = f - y
        excess = np.maximum(np.abs(r) - self.delta, 0.0)
        inside = 2.0 * (excess > 0)
        zero = np.zeros_like(r)
        first = 2.0 * np.sign(r) * excess
        return (excess**2, first, inside, zero, zero)[: order + 1]


class Hinge:
    """``max(0, 1 - y f)`` for y in {-1, 1}; piecewise linear."""

    quadratic, smooth = False, False

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return the value and a subgradient; curvature is zero almost everywhere."""
        slack = np.maximum(1.0 - y * f, 0.0)
        zero = np.zeros_like(slack)
        return (slack, -y * (slack > 0), zero, zero, zero)[: order + 1]


class Pinball:
    """``q (y - f)`` above the quantile, ``(1 - q) (f - y)`` below; piecewise linear."""

    quadratic, smooth = False, False

    def __init__(self, quantile: float = 0.5) -> None:
        self.quantile = quantile

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return the value and a subgradient."""
        r = y - f
        slope = np.where(r > 0, self.quantile, self.quantile - 1.0)
        zero = np.zeros_like(r)
        return (slope * r, -slope, zero, zero, zero)[: order + 1]


class EpsilonInsensitive:
    """``max(0, |f - y| - delta)``; piecewise linear."""

    quadratic, smooth = False, False

    def __init__(self, delta: float = 0.1) -> None:
        self.delta = delta

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return the value and a subgradient."""
        r = f - y
        excess = np.maximum(np.abs(r) - self.delta, 0.0)
        zero = np.zeros_like(r)
        return (excess, np.sign(r) * (excess > 0), zero, zero, zero)[: order + 1]


PIECEWISE_LINEAR = (Hinge, Pinball, EpsilonInsensitive)


class Multinomial:
    """``log(sum_k exp(F_k)) - F_y`` for codes y; F of shape (..., n, n_classes)."""

    quadratic, smooth = False, True

    def evaluate(self, F: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return values (..., n), and with ``order=1`` the gradient (..., n, K).

        The Hessian of a row is ``diag(p) - p p'`` with ``p`` the gradient plus the
        indicator of the label, so it needs no evaluation of its own.
        """
        top = F.max(axis=-1, keepdims=True)
        e = np.exp(F - top)
        total = e.sum(axis=-1, keepdims=True)
        index = np.broadcast_to(np.asarray(y)[..., None], (*F.shape[:-1], 1))
        chosen = np.take_along_axis(F, index, axis=-1)
        value = (np.log(total) + top - chosen)[..., 0]
        if order == 0:
            return (value,)
        e /= total
        p = e
        here = np.take_along_axis(p, index, axis=-1) - 1.0
        np.put_along_axis(p, index, here, axis=-1)
        return (value, p)


def _xlogx(y: Any) -> Array:
    y = np.asarray(y, dtype=np.float64)
    return y * np.log(np.where(y > 0, y, 1.0))
