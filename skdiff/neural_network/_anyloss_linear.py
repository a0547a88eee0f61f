"""Full-batch steps of a linear AnyLoss model in NumPy, with the gradient by hand.

A step is one product with X, two exponentials a row, one product with X': there is no
room for a graph. Parameters and moments are the optimiser's own memory, so that the
step and torch's may take turns.
"""

import math

import numpy as np
from scipy.special import expit


class LinearSteps:
    """Steps on ``1 - M`` for one logit a row and a metric in closed form."""

    def __init__(self, X, y, weight, metric, amplification, optimizer):
        # positives first: the two class costs become two slices
        order = np.argsort(1 - y, kind="stable")
        self.X = np.ascontiguousarray(X[order])
        self.n1 = int(y.sum())
        self.s = None if weight is None else np.ascontiguousarray(weight[order])
        s = np.ones(len(y)) if weight is None else self.s
        self.P, self.N = float(s[: self.n1].sum()), float(s[self.n1 :].sum())
        self.metric, self.L = metric, amplification
        self.optimizer = optimizer
        group = optimizer.param_groups[0]
        self.lr, self.alpha = group["lr"], group["weight_decay"]
        self.betas, self.eps = group.get("betas"), group.get("eps")
        self.momentum = group.get("momentum", 0.0)
        self.flat = optimizer.flat.numpy()
        self.memory = {k: t.numpy() for k, t in optimizer.memory.items()}
        self.t = float(optimizer.n_steps)
        d = X.shape[1]
        self.w, self.b = self.flat[:d], self.flat[d:]
        self.gradient = np.empty_like(self.flat)
        self.room = [np.empty(len(y), dtype=X.dtype) for _ in range(3)]

    def step(self, warm):
        """Take one step and return the loss before it."""
        z, p, a = self.room
        np.dot(self.X, self.w, out=z)
        z += self.b
        _sigmoid(z, p)
        loss = self._balanced_entropy(z, p, a) if warm else self._metric(p, a, z)
        d = len(self.w)
        np.dot(a, self.X, out=self.gradient[:d])
        self.gradient[d] = a.sum()
        if self.alpha:
            self.gradient[:d] += self.alpha * self.w
        self._update()
        return loss

    def _metric(self, p, a, z):
        """Slope of ``1 - M`` in the logits, left in ``a``."""
        n1, L = self.n1, self.L
        np.subtract(p, 0.5, out=z)
        z *= L
        _sigmoid(z, a)
        if self.s is None:
            tp, fp = float(a[:n1].sum()), float(a[n1:].sum())
        else:
            tp, fp = float(a[:n1] @ self.s[:n1]), float(a[n1:] @ self.s[n1:])
        value, m_tp, m_fp = self.metric(tp, fp, self.P, self.N)
        # da/dz = L a (1 - a) p (1 - p)
        np.subtract(1.0, a, out=z)
        a *= z
        np.subtract(1.0, p, out=z)
        a *= z
        a *= p
        a[:n1] *= -m_tp * L
        a[n1:] *= -m_fp * L
        if self.s is not None:
            a *= self.s
        return 1.0 - value

    def _balanced_entropy(self, z, p, a):
        """Slope of the class-balanced cross-entropy, left in ``a``."""
        n1 = self.n1
        np.copyto(a, p)
        a[:n1] -= 1.0
        a[:n1] *= 0.5 / self.P
        a[n1:] *= 0.5 / self.N
        z[:n1] *= -1.0
        losses = np.logaddexp(0.0, z)
        if self.s is not None:
            a *= self.s
            losses *= self.s
        loss = losses[:n1].sum() / self.P + losses[n1:].sum() / self.N
        return float(loss) / 2

    def _update(self):
        """The optimiser's formula on its own memory."""
        g = self.gradient
        if self.betas is None:
            direction = g
            if self.momentum:
                direction = self.memory["velocity"]
                direction *= self.momentum
                direction += g
            self.flat -= self.lr * direction
            return
        self.t += 1
        beta1, beta2 = self.betas
        first, second = self.memory["first"], self.memory["second"]
        first *= beta1
        first += (1 - beta1) * g
        g *= g
        second *= beta2
        g *= 1 - beta2
        second += g
        root = np.sqrt(second)
        root *= 1 / math.sqrt(1 - beta2**self.t)
        root += self.eps
        np.divide(first, root, out=root)
        root *= self.lr / (1 - beta1**self.t)
        self.flat -= root

    def close(self):
        """Leave the number of steps with the optimiser."""
        self.optimizer.n_steps.fill_(self.t)

    def flattest(self):
        """Largest ``da/dz`` over the rows: near zero, nothing can move."""
        p = expit(self.X @ self.w + self.b)
        a = expit(self.L * (p - 0.5))
        return float((self.L * a * (1 - a) * p * (1 - p)).max(initial=0.0))


def _sigmoid(z, out):
    """``1 / (1 + exp(-z))`` in place; an overflow of exp is a zero of it."""
    np.negative(z, out=out)
    np.exp(out, out=out)
    out += 1.0
    np.reciprocal(out, out=out)
