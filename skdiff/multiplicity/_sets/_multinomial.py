"""Level sets of multinomial logistic regression, and extremes of its probabilities.

Parameters are a matrix with one row per class, flattened. Margins ``f_k - f_j`` are
linear in them, so that their extremes are those of any linear functional. The logarithm
of a probability is concave: its maximum solves ``grad L = mu grad log p_k`` on the
boundary. Its minimum is that of a concave function; only bounds of it are to be had.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._batched import Hessians
from skdiff._convex._losses import Multinomial
from skdiff.multiplicity._sets._level_set import LevelSet
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser, blocks_of
from skdiff.multiplicity._sets._problem import Problem, Whitened

DESCENTS = 6  # steps of the search for small probabilities


@dataclass
class MultinomialProblem(Problem):
    """Mean multinomial log loss plus a quadratic penalty."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.penalty) // self.X.shape[1]

    def scores(self, w: Array) -> Array:
        """Linear predictors (n, n_classes)."""
        return np.asarray(self.X @ w.reshape(self.n_classes, -1).T)

    def oracle(self, w: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian."""
        codes = self.y.astype(np.intp)
        value, first = Multinomial().evaluate(self.scores(w), codes, 1)
        total = float(self.s @ value) + float(self.penalty @ w**2) / 2
        gradient = ((self.s[:, None] * first).T @ self.X).ravel() + self.penalty * w
        P = first
        P[np.arange(len(codes)), codes] += 1.0
        grams = Grams(self.X, self.s, self.n_classes)
        return total, gradient, grams(P.T[None])[0] + np.diag(self.penalty)

    def value(self, w: Array) -> float:
        """Return the objective."""
        (value,) = Multinomial().evaluate(self.scores(w), self.y.astype(np.intp))
        return float(self.s @ value) + float(self.penalty @ w**2) / 2

    def representative(self, w: Array) -> Array:
        """Return the model whose classes sum to zero: a constant changes nothing."""
        W = w.reshape(self.n_classes, -1)
        return np.asarray(W - W.mean(axis=0)).ravel()

    def row_losses(self, X: Array, y: Array, w: Array) -> Array:
        """Return the losses of other rows."""
        F = X @ w.reshape(self.n_classes, -1).T
        return Multinomial().evaluate(F, y.astype(np.intp))[0]

    def whitened(self, center: Array, whiten: Array) -> "WhitenedMultinomial":
        """Return the objective in the coordinates ``w = center + whiten @ u``."""
        return WhitenedMultinomial(self, center, whiten)


class Grams:
    """Hessians of the loss (m, K p, K p) from probabilities (m, K, n)."""

    def __init__(self, X: Array, s: Array, n_classes: int) -> None:
        self.grams, self.K = Hessians(X, s), n_classes
        self.pairs = np.tril_indices(n_classes)

    def __call__(self, P: Array) -> Array:
        """``sum_i s_i (diag(p_i) - p_i p_i') kron x_i x_i'``."""
        k, j = self.pairs
        D = -P[:, k] * P[:, j]
        D[:, k == j] += P
        blocks = self.grams(D.reshape(-1, P.shape[2]))
        m, p = len(P), blocks.shape[1]
        blocks = blocks.reshape(m, len(k), p, p)
        H = np.empty((m, self.K, p, self.K, p))
        for t, (a, b) in enumerate(zip(k, j, strict=True)):
            H[:, a, :, b, :] = blocks[:, t]
            H[:, b, :, a, :] = blocks[:, t]
        return H.reshape(m, self.K * p, self.K * p)


class WhitenedMultinomial(Whitened):
    """The multinomial objective around its minimiser."""

    def __init__(
        self, problem: MultinomialProblem, center: Array, whiten: Array
    ) -> None:
        self.loss, self.K = Multinomial(), problem.n_classes
        self.rows, self.s, self.whiten = problem.X, problem.s, whiten
        self.y = problem.y.astype(np.intp)
        n = len(self.y)
        self.r, self.n = whiten.shape[1], n * self.K  # n: cells of a query's scores
        self.F0 = problem.scores(center).T.copy()
        self.P = (whiten.T * problem.penalty) @ whiten
        self.g0 = whiten.T @ (problem.penalty * center)
        self.weighted = self.s[:, None] * self.rows
        self.label = (np.arange(self.K)[:, None] == self.y).astype(np.float64)
        value, self.p0 = self._softmax(self.F0[None])
        self.base, self.p0 = float(value[0] @ self.s), self.p0[0]
        self._grams: Grams | None = None

    def _softmax(self, F: Array) -> tuple[Array, Array]:
        """Losses (m, n) and probabilities (m, K, n) of scores (m, K, n)."""
        F = F - F.max(axis=1, keepdims=True)
        e = np.exp(F)
        total = e.sum(axis=1, keepdims=True)
        value = np.log(total[:, 0]) - F[:, self.y, np.arange(len(self.y))]
        e /= total
        return value, e

    def _scores(self, U: Array) -> Array:
        """Changes of the scores (m, K, n)."""
        W = (U @ self.whiten.T).reshape(len(U) * self.K, -1)
        return np.asarray(W @ self.rows.T).reshape(len(U), self.K, -1)

    def _back(self, D: Array) -> Array:
        """Gradients (m, r) of what has derivatives D (m, K, n) in the scores."""
        m = len(D)
        G = D.reshape(m * self.K, -1) @ self.weighted
        return np.asarray(G.reshape(m, -1) @ self.whiten)

    def evaluate(self, U: Array) -> tuple[Array, Array, Array]:
        """Gaps, gradients, and probabilities (m, K, n)."""
        value, P = self._softmax(self._scores(U) + self.F0)
        UP = U @ self.P
        gap = value @ self.s - self.base
        gap += U @ self.g0 + np.einsum("ij,ij->i", UP, U) / 2
        return gap, self._back(P - self.label) + UP + self.g0, P

    def hessian(self, second: Array) -> Array:
        """Hessians (m, r, r) from the probabilities."""
        if self._grams is None:
            self._grams = Grams(self.rows, self.s, self.K)
        return self.whiten.T @ self._grams(second) @ self.whiten + self.P

    def curves(self, V: Array) -> tuple[Array, Array]:
        """Second and third derivative of the paths along V.

        Derivatives of a softmax along a line are its central moments.
        """
        z = self._scores(V)
        p = self.p0
        z -= (p * z).sum(axis=1, keepdims=True)
        spread = (p * z**2).sum(axis=1, keepdims=True)
        b = -self._back(p * (z**2 - spread))
        zb = self._scores(b)
        zb -= (p * zb).sum(axis=1, keepdims=True)
        mixed = p * (z * zb - (p * z * zb).sum(axis=1, keepdims=True))
        skew = (p * z**3).sum(axis=1, keepdims=True)
        return b, -self._back(3 * mixed + p * (z**3 - 3 * z * spread - skew))


class ProbabilityMaximiser(Maximiser):
    """Maximise ``log p`` of one class of each row.

    A row is described by its margins under the others: offsets at the centre and
    directions, packed as ``[offsets, directions]`` in one vector.
    """

    def functional(self, V: Array, U: Array) -> tuple[Array, Array, Array | None]:
        """``-log sum_j exp(margin_j)``, its slope, and minus its second derivative."""
        r = self.data.r
        K = V.shape[1] // (r + 1)
        D = V[:, K:].reshape(len(V), K, r)
        F = V[:, :K] + np.einsum("mkr,mr->mk", D, U)
        top = F.max(axis=1, keepdims=True)
        q = np.exp(F - top)
        total = q.sum(axis=1, keepdims=True)
        q /= total
        slope = -np.einsum("mk,mkr->mr", q, D)
        bend = np.einsum("mkr,mks->mrs", q[..., None] * D, D)
        bend -= slope[:, :, None] * slope[:, None, :]
        return -(top + np.log(total))[:, 0], slope, bend

    def start(self, V: Array, level: Array) -> tuple[Array, Array]:
        """First-order points along the slope at the centre."""
        slope = self.functional(V, np.zeros((len(V), self.data.r)))[1]
        size = np.linalg.norm(slope, axis=1)
        return (level / size)[:, None] * slope, level / size


def margin_directions(level_set: LevelSet, V: Array, k: int) -> tuple[Array, Array]:
    """Offsets (m, K) and whitened directions (m, K, r) of the margins ``f_j - f_k``."""
    p = V.shape[1]
    C = level_set.center.reshape(-1, p)
    W = level_set.whiten.reshape(len(C), p, -1)
    offsets = V @ (C - C[k]).T
    return offsets, np.einsum("mp,kpr->mkr", V, W - W[k])


def largest_probabilities(
    level_set: LevelSet, V: Array, budget: float, *, tol: float, max_iter: int
) -> Array:
    """Exact maxima (m, K) of the probabilities of every class."""
    data = level_set.data
    solver = ProbabilityMaximiser(data, np.sqrt(2 * budget), tol, max_iter)
    K = len(level_set.center) // V.shape[1]
    logs = np.empty((len(V), K))
    for k in range(K):
        offsets, D = margin_directions(level_set, V, k)
        packed = np.concatenate([offsets, D.reshape(len(V), -1)], axis=1)
        value, slope, _ = solver.functional(packed, np.zeros((len(V), data.r)))
        # a certain class: nothing in the set makes it more so
        certain = np.linalg.norm(slope, axis=1) < 1e-13
        logs[certain, k] = value[certain]
        rows = np.flatnonzero(~certain)
        for chunk in blocks_of(len(rows), data.n):
            part = packed[rows[chunk]]
            U, mu = solver.start(part, np.full(len(part), solver.tau))
            logs[rows[chunk], k] = solver.solve(part, U, mu).value
    return np.exp(np.minimum(logs, 0.0))


def small_probabilities(
    level_set: LevelSet,
    V: Array,
    budget: float,
    starts: Array,
    *,
    tol: float,
    max_iter: int,
) -> Array:
    """Probabilities (m, K) that models of the set attain, found by descent.

    ``-log p_k`` is convex, so that each maximiser of its linearisation over the set is
    a model with a smaller probability. ``starts`` (m, K, K, r) are whitened models that
    maximise ``f_j - f_k`` at ``[:, k, j]``.
    """
    data = level_set.data
    solver = Maximiser(data, np.sqrt(2 * budget), tol, max_iter)
    K = len(level_set.center) // V.shape[1]
    found = np.empty((len(V), K))
    for k in range(K):
        offsets, D = margin_directions(level_set, V, k)
        F = offsets[:, None] + np.einsum("mkr,mjr->mjk", D, starts[:, k])
        logs = -_logsumexp(F)
        best = logs.argmin(axis=1)
        rows = np.arange(len(V))
        U, log_p = starts[rows, k, best], logs[rows, best]
        for _ in range(DESCENTS):
            F = offsets + np.einsum("mkr,mr->mk", D, U)
            q = np.exp(F - _logsumexp(F)[:, None])
            direction = np.einsum("mk,mkr->mr", q, D)
            size = np.linalg.norm(direction, axis=1)
            go = size > 1e-13
            if not go.any():
                break
            V1 = direction[go] / size[go, None]
            model = np.empty_like(V1)
            for chunk in blocks_of(len(V1), data.n):
                mu = np.full(len(chunk), solver.tau)
                step = solver.solve(V1[chunk], solver.tau * V1[chunk], mu)
                model[chunk] = _within(data, step, budget)
            F = offsets[go] + np.einsum("mkr,mr->mk", D[go], model)
            new = -_logsumexp(F)
            better = new < log_p[go] - 1e-12
            change = np.flatnonzero(go)[better]
            U[change], log_p[change] = model[better], new[better]
            if not better.any():
                break
        found[:, k] = np.exp(log_p)
    return found


def _within(data: Any, step: Extremes, budget: float) -> Array:
    """Models pulled onto the set: the gap is convex along the ray from the centre."""
    gap = data.evaluate(step.model)[0]
    return step.model * np.minimum(1.0, budget / np.maximum(gap, 1e-300))[:, None]


def _logsumexp(F: Array) -> Array:
    top = F.max(axis=-1, keepdims=True)
    return np.asarray(
        (top + np.log(np.exp(F - top).sum(axis=-1, keepdims=True)))[..., 0]
    )
