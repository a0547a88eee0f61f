"""Smooth losses of linear rows under any weights, and lower bounds of their means.

Rows have one output (a logit, a value, a margin) or one per class. Coefficients are a
vector of ``n_outputs`` blocks, one entry per column of A each. The lower bound is by
duality, for the weighted mean loss plus a ridge: derivatives of the rows whose pull
vanishes on the coefficients without a ridge give one through the conjugate losses.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from scipy.special import xlogy

from skdiff._base.typing import Array
from skdiff._convex._batched import gram
from skdiff._convex._losses import Logistic, Multinomial, Squared, SquaredHinge
from skdiff._convex._newton import spd_solve


class RowParts(NamedTuple):
    """Losses of the rows (n,), first derivatives (n, m), and what curves them."""

    value: Array
    first: Array
    second: Array


class LinearRows(ABC):
    """Rows of a linear model with ``n_outputs`` outputs."""

    n_outputs = 1

    def __init__(self, A: Array, y: Any) -> None:
        self.A, self.y = A, y

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return int(self.A.shape[1] * self.n_outputs)

    def outputs(self, w: Array) -> Array:
        """Outputs (n, m)."""
        return np.asarray(self.A @ w.reshape(self.n_outputs, -1).T)

    def values(self, w: Array) -> Array:
        """Losses of the rows."""
        return self.losses(self.outputs(w), 0).value

    def parts(self, w: Array) -> RowParts:
        """Losses and two derivatives of the rows."""
        return self.losses(self.outputs(w), 2)

    def pull(self, R: Array) -> Array:
        """Gradient of what has derivatives R (n, m) in the outputs."""
        return np.asarray((self.A.T @ R).T.ravel())

    @abstractmethod
    def losses(self, F: Array, order: int) -> RowParts:
        """Losses, and derivatives up to the order."""

    @abstractmethod
    def conjugates(self, R: Array) -> Array:
        """Conjugate losses (n,) at derivatives R; infinite outside their domain."""

    def curve(self, second: Array, V: Array) -> Array:
        """Second derivatives of the rows times directions V of the outputs."""
        return second * V

    def hessian(self, second: Array, p: Array) -> Array:
        """Second derivatives of the losses' sum under weights p."""
        return gram(self.A, p * second[:, 0])


class _Scalar(LinearRows):
    """One output, by a loss of :mod:`_losses`."""

    loss: Any

    def losses(self, F: Array, order: int) -> RowParts:
        """Losses, and derivatives up to the order."""
        found = self.loss.evaluate(F[:, 0], self.y, order)
        if order == 0:
            return RowParts(found[0], F, F)
        return RowParts(found[0], found[1][:, None], found[2][:, None])


class LogisticRows(_Scalar):
    """Log loss of codes 0 and 1."""

    loss = Logistic()

    def conjugates(self, R: Array) -> Array:
        """Negative entropy of the probability."""
        p = R[:, 0] + self.y
        outside = (p < 0) | (p > 1)
        p = np.clip(p, 0, 1)
        return np.where(outside, np.inf, xlogy(p, p) + xlogy(1 - p, 1 - p))


class SquaredRows(_Scalar):
    """``(y - f)^2``."""

    loss = Squared()

    def losses(self, F: Array, order: int) -> RowParts:
        """Losses, and derivatives up to the order."""
        half = super().losses(F, order)
        if order == 0:
            return half._replace(value=2 * half.value)
        return RowParts(2 * half.value, 2 * half.first, 2 * half.second)

    def conjugates(self, R: Array) -> Array:
        """``r y + r^2 / 4``."""
        r = R[:, 0]
        return np.asarray(r * self.y + r**2 / 4)


class SquaredHingeRows(_Scalar):
    """``max(0, 1 - y f)^2`` of codes -1 and 1."""

    loss = SquaredHinge()

    def conjugates(self, R: Array) -> Array:
        """``m + m^2 / 4`` for derivatives m <= 0 in the margin."""
        m = R[:, 0] * self.y
        return np.where(m > 0, np.inf, m + m**2 / 4)


class SoftmaxRows(LinearRows):
    """Log loss of codes 0 to m - 1, one output per class."""

    loss = Multinomial()

    def __init__(self, A: Array, y: Any, n_classes: int) -> None:
        super().__init__(A, y)
        self.n_outputs = n_classes
        self._hot = np.eye(n_classes)[y]

    def losses(self, F: Array, order: int) -> RowParts:
        """Losses, and derivatives up to the order; the curvature is that of p."""
        found = self.loss.evaluate(F, self.y, min(order, 1))
        if order == 0:
            return RowParts(found[0], F, F)
        return RowParts(found[0], found[1], found[1] + self._hot)

    def curve(self, second: Array, V: Array) -> Array:
        """``p V - p (p' V)``."""
        scaled = second * V
        return np.asarray(scaled - second * scaled.sum(axis=1, keepdims=True))

    def hessian(self, second: Array, p: Array) -> Array:
        """Blocks ``A' diag(p_k (1[k = l] - p_l)) A``.

        Adding the same to all classes changes no loss. That direction, in which no
        gradient has a component, gets a curvature, so that systems are regular.
        """
        m, d = self.n_outputs, self.A.shape[1]
        H = np.empty((m, d, m, d))
        for k in range(m):
            for j in range(k + 1):
                weight = second[:, k] * ((k == j) - second[:, j])
                H[k, :, j] = H[j, :, k] = gram(self.A, p * weight)
        every = np.arange(d)
        level = np.einsum("kjkj->j", H) / m**2
        H[:, every, :, every] += level[:, None, None]
        return H.reshape(m * d, m * d)

    def conjugates(self, R: Array) -> Array:
        """Negative entropy of the probabilities."""
        P = R + self._hot
        outside = (P < 0).any(axis=1) | (np.abs(P.sum(axis=1) - 1) > 1e-9)
        P = np.clip(P, 0, 1)
        return np.where(outside, np.inf, xlogy(P, P).sum(axis=1))


def lower_bound(rows: LinearRows, p: Array, ridge: Array, w: Array) -> float:
    """Value below which ``sum_i p_i loss_i + ridge w^2 / 2`` cannot fall.

    Exact at the minimiser, quadratic in the distance to it, minus infinity where w is
    too far. Gradients of coefficients without a ridge vanish up to rounding.
    """
    parts = rows.parts(w)
    R, free = parts.first, ridge == 0
    pulled = rows.pull(p[:, None] * R)
    size = 1.0 + float(np.abs(rows.A).T.dot(p[:, None] * np.abs(R)).max(initial=0.0))
    if free.any():
        H = rows.hessian(parts.second, p)
        H = H[np.ix_(free, free)]
        step = np.zeros_like(w)
        step[free] = spd_solve(H, pulled[free])
        R = R - rows.curve(parts.second, rows.outputs(step))
        pulled = rows.pull(p[:, None] * R)
        if np.abs(pulled[free]).max() > 1e-12 * size:
            return -np.inf
    used = p > 0
    held = ~free
    bound = -float(p[used] @ rows.conjugates(R)[used])
    return bound - float(np.sum(pulled[held] ** 2 / (2 * ridge[held])))
