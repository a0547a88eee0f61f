"""Full-batch steps of a linear AnyLoss model in NumPy, with the gradient by hand.

A step is one product with X, two exponentials a row, one product with X': there is no
room for a graph. Parameters and moments are the optimiser's own memory, so that the
step and torch's may take turns.
"""

import math
from typing import NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray, IntArray
from skdiff._nn._optim import FlatOptimizer
from skdiff.neural_network._anyloss._metrics import BinaryMetric


class Task(NamedTuple):
    """What a linear model is trained for."""

    metric: BinaryMetric
    amplification: float
    balanced_warmup: bool


class LinearSteps:
    """Steps on ``1 - M`` for one logit a row and a metric in closed form.

    With ``t = tanh(z / 2)`` the probability is ``(1 + t) / 2``, its amplified form ``(1
    + tanh(L t / 4)) / 2``, and both slopes are ``(1 - tanh^2) / 4`` and a factor: two
    hyperbolic tangents a row are all the transcendental work.
    """

    def __init__(
        self,
        X: FloatArray,
        y: IntArray,
        weight: FloatArray | None,
        task: Task,
        optimizer: FlatOptimizer,
    ) -> None:
        # positives first: the two class costs become two slices
        order = np.argsort(1 - y, kind="stable")
        n, d = X.shape
        # a line a column: both products then run along long lines
        self.halves = np.empty((d + 1, n), dtype=X.dtype)
        np.multiply(X[order].T, 0.5, out=self.halves[:d])
        self.halves[d] = 0.5
        self.s = np.ones(n, dtype=X.dtype) if weight is None else weight[order]
        self.n1 = n1 = int(y.sum())
        self.P, self.N = float(self.s[:n1].sum()), float(self.s[n1:].sum())
        self.metric, self.L = task.metric, task.amplification
        self.balanced = task.balanced_warmup
        self.counts = np.zeros((2, n), dtype=X.dtype)  # tp and fp in one product
        self.counts[0, :n1], self.counts[1, n1:] = self.s[:n1] / 2, self.s[n1:] / 2
        self.tanhs = np.empty((2, n), dtype=X.dtype)
        self.t, self.u = self.tanhs
        self.sides = self.u[:n1], self.u[n1:]
        self.weighted = weight is not None
        self.optimizer = optimizer
        group = optimizer.param_groups[0]
        self.lr = group["lr"]
        self.alpha = group["weight_decay"] * float(optimizer.penalised[0])
        self.betas, self.eps = group.get("betas"), group.get("eps")
        self.momentum = group.get("momentum", 0.0)
        self.flat = optimizer.flat.numpy()
        self.w = self.flat[:d]
        self.memory = {k: m.numpy() for k, m in optimizer.memory.items()}
        self.n_steps = float(optimizer.n_steps)
        self.gradient = np.empty_like(self.flat)
        self.g_w = self.gradient[:d]

    def step(self, warm: bool) -> float:
        """Take one step and return the loss before it."""
        np.dot(self.flat, self.halves, out=self.t)
        loss = self._entropy() if warm else self._metric()
        np.dot(self.halves, self.u, out=self.gradient)
        if self.alpha:
            self.g_w += self.alpha * self.w
        self._update()
        return loss

    def _metric(self) -> float:
        """Slope of ``1 - M`` in half the logits, left in ``u``."""
        t, u, L = self.t, self.u, self.L
        np.tanh(t, out=t)
        np.multiply(t, L / 4, out=u)
        np.tanh(u, out=u)
        tp, fp = np.dot(self.counts, u).tolist()
        value, m_tp, m_fp = self.metric(
            tp + self.P / 2, fp + self.N / 2, self.P, self.N
        )
        # da/dz = L a (1 - a) p (1 - p); twice that for half the logit
        self.tanhs *= self.tanhs
        self.tanhs -= 1.0
        u *= t
        if self.weighted:
            u *= self.s
        positive, negative = self.sides
        positive *= -m_tp * L / 8
        negative *= -m_fp * L / 8
        return 1.0 - value

    def _entropy(self) -> float:
        """Slope of the warm-up's cross-entropy in half the logits, left in ``u``."""
        n1, u = self.n1, self.u
        scales = (self.P, self.N)
        shares = [0.5 / m if self.balanced else 1 / (self.P + self.N) for m in scales]
        np.tanh(self.t, out=u)
        # log(1 + e^z) = max(z, 0) - log((1 + tanh |z / 2|) / 2), z away from the label
        losses = np.abs(u)
        losses += 1.0
        losses *= 0.5
        np.log(losses, out=losses)
        z = self.t
        z[:n1] *= -1.0
        np.maximum(z, 0.0, out=z)
        z *= 2.0
        np.subtract(z, losses, out=losses)
        if self.weighted:
            losses *= self.s
        u[:n1] -= 1.0
        u[n1:] += 1.0
        if self.weighted:
            u *= self.s
        for side, share in zip(self.sides, shares, strict=True):
            side *= share
        return float(losses[:n1].sum() * shares[0] + losses[n1:].sum() * shares[1])

    def _update(self) -> None:
        """The optimiser's formula on its own memory."""
        g = self.gradient
        if self.betas is None:
            direction = g
            if self.momentum:
                direction = self.memory["velocity"]
                direction *= self.momentum
                direction += g
            np.multiply(direction, self.lr, out=g)
            self.flat -= g
            return
        self.n_steps += 1
        beta1, beta2 = self.betas
        first, second = self.memory["first"], self.memory["second"]
        first *= beta1
        first += (1 - beta1) * g
        g *= g
        second *= beta2
        g *= 1 - beta2
        second += g
        root = np.sqrt(second)
        root *= 1 / math.sqrt(1 - beta2**self.n_steps)
        root += self.eps
        np.divide(first, root, out=root)
        root *= self.lr / (1 - beta1**self.n_steps)
        self.flat -= root

    def close(self) -> None:
        """Leave the number of steps with the optimiser."""
        self.optimizer.n_steps.fill_(self.n_steps)
