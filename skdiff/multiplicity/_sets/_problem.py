"""The objective of a linear model, and the same around its minimiser.

For data ``X`` (intercept included as a column), weights ``s`` that sum to one and a
quadratic penalty, the objective is ``L(w) = sum_i s_i loss(x_i'w, y_i) + w' P w / 2``.
"""

from dataclasses import dataclass

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._batched import Hessians, gram, row_blocks
from skdiff._convex._losses import Logistic, Loss, Softplus

# With a best loss above this, rounding of single saturated rows is out of sight.
COARSE = 1e-6


@dataclass
class Problem:
    """The objective whose level set is meant."""

    X: Array
    y: Array
    s: Array
    penalty: Array  # the diagonal of P
    loss: Loss
    lasso: Array | None = None  # strengths of an L1 norm, where there is one

    def oracle(self, w: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian."""
        f = self.X @ w
        value, first, second = self.loss.evaluate(f, self.y, 2)
        total = float(self.s @ value) + float(self.penalty @ w**2) / 2
        gradient = self.X.T @ (self.s * first) + self.penalty * w
        hessian = gram(self.X, self.s * second) + np.diag(self.penalty)
        return total, gradient, hessian

    def value(self, w: Array) -> float:
        """Return the objective."""
        (value,) = self.loss.evaluate(self.X @ w, self.y, 0)
        total = float(self.s @ value) + float(self.penalty @ w**2) / 2
        return total if self.lasso is None else total + float(self.lasso @ np.abs(w))

    def row_losses(self, X: Array, y: Array, w: Array) -> Array:
        """Return the losses of other rows."""
        return self.loss.evaluate(X @ w, y, 0)[0]

    def representative(self, w: Array) -> Array:
        """Return the model that stands for all with the same predictions."""
        return w

    def whitened(self, center: Array, whiten: Array) -> "Whitened":
        """Return the objective in the coordinates ``w = center + whiten @ u``."""
        return Whitened(self, center, whiten)

    def largest_hessian(self) -> Array:
        """Return the Hessian if every row were on the curved piece of its loss."""
        return gram(self.X, self.s) + np.diag(self.penalty)


class Whitened:
    """The objective around its minimiser, in whitened coordinates ``u``."""

    def __init__(self, problem: Problem, center: Array, whiten: Array) -> None:
        self.loss, self.y, self.s = problem.loss, problem.y, problem.s
        X, self.f0 = problem.X @ whiten, problem.X @ center
        if isinstance(self.loss, Logistic):  # the label turns into the row's sign
            sign = 1.0 - 2.0 * self.y
            X *= sign[:, None]
            self.f0 = sign * self.f0
            self.loss = Softplus(precise=problem.value(center) < COARSE)
            self.y = np.zeros(1)
        self.X = np.ascontiguousarray(X)
        self.n, self.r = self.X.shape
        self.P = (whiten.T * problem.penalty) @ whiten
        self.g0 = whiten.T @ (problem.penalty * center)
        parts = self.loss.evaluate(self.f0, self.y, 4)
        self.base = float(self.s @ parts[0])
        self.first = self.s * parts[1]
        self.h3, self.h4 = self.s * parts[3], self.s * parts[4]
        self._hessians: Hessians | None = None

    @property
    def hessians(self) -> Hessians:
        """Tabulated on first use: an ellipsoid needs none."""
        if self._hessians is None:
            self._hessians = Hessians(self.X, self.s)
        return self._hessians

    def evaluate(self, U: Array) -> tuple[Array, Array, Array]:
        """Gaps ``L - L*``, gradients, and second derivatives of the rows."""
        UP = U @ self.P
        gradient = UP + self.g0
        gap = U @ self.g0 + np.einsum("ij,ij->i", UP, U) / 2 - self.base
        blocks = list(row_blocks(self.n, len(U)))
        second = np.empty((len(U), self.n)) if len(blocks) > 1 else None
        for rows in blocks:
            F = U @ self.X[rows].T
            F += self.f0[rows]
            y = self.y if len(self.y) == 1 else self.y[rows]
            value, first, curvature = self.loss.evaluate(F, y, 2)
            gap += value @ self.s[rows]
            first = first * self.s[rows]
            gradient += first @ self.X[rows]
            if second is None:
                return gap, gradient, curvature
            second[:, rows] = curvature
        assert second is not None
        return gap, gradient, second

    def hessian(self, second: Array) -> Array:
        """Hessians (m, r, r) from what :meth:`evaluate` returned."""
        return self.hessians(second) + self.P

    def curves(self, V: Array) -> tuple[Array, Array]:
        """Second and third derivative at the minimiser of the paths along V."""
        blocks = list(row_blocks(self.n, len(V)))
        b, bend = np.zeros(V.shape), np.zeros(V.shape)
        scores = np.empty((len(V), self.n))
        for rows in blocks:
            A = np.matmul(V, self.X[rows].T, out=scores[:, rows])
            b -= (A * A * self.h3[rows]) @ self.X[rows]
        for rows in blocks:
            A = scores[:, rows]
            inner = b @ self.X[rows].T
            inner *= 3 * self.h3[rows]
            inner += A * A * self.h4[rows]
            inner *= A
            bend -= inner @ self.X[rows]
        return b, bend
