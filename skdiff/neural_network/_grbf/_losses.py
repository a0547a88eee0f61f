"""Losses of radial-basis networks and the weights that minimise them.

For given features the weights solve a convex problem: a ridge regression, or a
penalised logistic regression.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, softmax

from skdiff._base.typing import Array
from skdiff._convex._newton import spd_solve

LEAST_LEFT = 1e-6  # of one minus a leverage: a row that its own weight fits exactly


class Point(NamedTuple):
    """Factor of the precision, centres, weights (M, K), intercepts and the penalty.

    Each basis function is a mean of bumps with ``widths`` times the precision.
    """

    U: Array
    C: Array
    W: Array
    b: Array
    penalty: float = 0.0
    widths: tuple[float, ...] = (1.0,)


class Squares:
    """Weighted mean of squared errors, summed over outputs."""

    name = "squares"

    def loss(self, F: Array, Y: Array, s: Array) -> tuple[float, Array]:
        """Value and its gradient in F."""
        R = F - Y
        G = s[:, None] * R
        return float(np.vdot(G, R)), 2.0 * G

    def solve(
        self, Phi: Array, Y: Array, s: Array, penalty: float, start: Point
    ) -> tuple[Array, Array]:
        """The weights: a ridge regression with a free intercept."""
        phi_mean, y_mean = s @ Phi, s @ Y
        centred = Phi - phi_mean
        weighted = s[:, None] * centred
        H = weighted.T @ centred
        H.flat[:: len(H) + 1] += penalty
        W = spd_solve(H, weighted.T @ (Y - y_mean))
        return W, y_mean - phi_mean @ W


class CrossEntropy:
    """Weighted mean of the log loss; one logit for two classes, else one a class."""

    name = "cross-entropy"

    def probabilities(self, F: Array) -> Array:
        """Of the second class, or of each."""
        return expit(F) if F.shape[1] == 1 else softmax(F, axis=1)

    def loss(self, F: Array, Y: Array, s: Array) -> tuple[float, Array]:
        """Value and its gradient in F, for Y of zeros and ones."""
        if F.shape[1] == 1:
            value = np.logaddexp(0.0, F) - Y * F
            return float(s @ value[:, 0]), s[:, None] * (expit(F) - Y)
        top = F.max(axis=1, keepdims=True)
        E = np.exp(F - top)
        total = E.sum(axis=1, keepdims=True)
        value = (np.log(total) + top)[:, 0] - (Y * F).sum(axis=1)
        E /= total
        E -= Y
        E *= s[:, None]
        return float(s @ value), E

    def solve(
        self, Phi: Array, Y: Array, s: Array, penalty: float, start: Point
    ) -> tuple[Array, Array]:
        """The weights, by damped Newton steps from those of ``start``."""
        T = np.column_stack([Phi, np.ones(len(Phi))])
        V = np.vstack([start.W, start.b])
        ridge = np.full(V.shape, 2.0 * penalty)
        ridge[-1] = 0.0

        def value_at(V: Array) -> tuple[float, Array, Array]:
            F = T @ V
            value, G = self.loss(F, Y, s)
            return value + float(np.sum(ridge * V**2)) / 2.0, F, G

        value, F, G = value_at(V)
        for _ in range(50):
            gradient = T.T @ G + ridge * V
            H = self._hessian(T, F, s)
            H.flat[:: len(H) + 1] += ridge.T.ravel()
            step = -spd_solve(H, gradient.T.ravel()).reshape(V.shape[::-1]).T
            decrement = -float(np.vdot(gradient, step))
            t, allowed = 1.0, 1e-14 * max(abs(value), 1.0)
            for _ in range(30):
                found = value_at(V + t * step)
                if found[0] <= value - 1e-4 * t * decrement + allowed:
                    break
                t /= 2.0
            else:
                break
            V, (value, F, G) = V + t * step, found
            # the step taken squares the error that the decrement measures
            if decrement <= 1e-11:
                break
        return V[:-1], V[-1]

    def _hessian(self, T: Array, F: Array, s: Array) -> Array:
        """Of the mean loss, outputs outermost."""
        p, m = self.probabilities(F), T.shape[1]
        if p.shape[1] == 1:
            curvature = s * (p * (1.0 - p))[:, 0]
            return (T * curvature[:, None]).T @ T
        k = p.shape[1]
        H = np.empty((k, m, k, m))
        for i in range(k):
            for j in range(i, k):
                slope = s * p[:, i] * ((i == j) - p[:, j])
                H[i, :, j] = (T * slope[:, None]).T @ T
                H[j, :, i] = H[i, :, j]
            # intercepts are free up to a common shift; this fixes their sum
        H[:, -1, :, -1] += 1.0
        return H.reshape(k * m, k * m)


Loss = Squares | CrossEntropy


@dataclass
class LeftOut:
    """Leave-one-out errors of the ridge regression on the kernel features.

    For given features the error of a row that is left out is ``r / (1 - h)`` with its
    residual and leverage. Their weighted mean square is a function of features and
    penalty alone, with a gradient in closed form.
    """

    value: float
    weights: Array  # of the features
    intercepts: Array
    in_features: Array  # gradient
    in_log_penalty: float


def leave_one_out(Phi: Array, Y: Array, s: Array, penalty: float) -> LeftOut:
    """Errors left out, their mean square, and its gradient."""
    T = np.column_stack([Phi, np.ones(len(Phi))])
    weighted = s[:, None] * T
    A = weighted.T @ T
    ridge = np.full(len(A), penalty)
    ridge[-1] = 0.0
    A.flat[:: len(A) + 1] += ridge
    B = spd_solve(A, T.T).T
    V = B.T @ (s[:, None] * Y)
    R = Y - T @ V
    kept = np.maximum(1.0 - s * np.einsum("ij,ij->i", B, T), LEAST_LEFT)
    E = R / kept[:, None]
    value = float(np.vdot(s[:, None] * E, E))
    # adjoints of residuals and of leverages, then of the features through both
    u = 2.0 * s[:, None] * E / kept[:, None]
    v = 2.0 * s * (E**2).sum(axis=1) / kept
    g = B.T @ u
    Q = B.T @ ((v * s)[:, None] * B)
    G = -(u - weighted @ g) @ V.T - (s[:, None] * R) @ g.T
    G += 2.0 * (v * s)[:, None] * B - 2.0 * weighted @ Q
    slope = float(np.vdot(g[:-1], V[:-1])) - float(np.trace(Q[:-1, :-1]))
    return LeftOut(value, V[:-1], V[-1], G[:, :-1], slope * penalty)
