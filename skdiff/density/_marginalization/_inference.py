"""Networks on rows with missing cells, evaluated by numpy.

A row is its known categories and one level "?" per column for missing cells. The first
layer is a sum of embeddings, one per column; residual layers follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, log_softmax

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING
from skdiff.density._joint._chain import (
    Joint,
    chain_log_prob,
    draw_cells,
    random_orders,
)

CHUNK_CELLS = 2**21  # activations of a layer held at a time
Weights = dict[str, Array]


def silu(z: Array) -> Array:
    """The activation ``z * logistic(z)``."""
    return np.asarray(z * expit(z))


def one_hot(codes: IntArray, sizes: Sequence[int]) -> Any:
    """Sparse rows with one entry per column: its category, or the level "?" before."""
    n, p = codes.shape
    starts = np.cumsum([0, *(k + 1 for k in sizes)])
    place = (codes + 1 + starts[:-1]).ravel()
    ones = np.ones(n * p, dtype=np.float64)
    ends = np.arange(n + 1) * p
    return sparse.csr_matrix((ones, place, ends), shape=(n, int(starts[-1])))


def trunk(weights: Weights, codes: IntArray, sizes: Sequence[int]) -> Array:
    """Activations of the last hidden layer."""
    h = one_hot(codes, sizes) @ weights["embedding"] + weights["bias"]
    h = silu(h)
    for k in range(count_hidden(weights)):
        z = silu(h @ weights[f"W{k}"] + weights[f"b{k}"])
        h = h + z if z.shape == h.shape else z
    return np.asarray(h)


def count_hidden(weights: Weights) -> int:
    """Hidden layers behind the embeddings."""
    return sum(name.startswith("W") for name in weights)


@dataclass(frozen=True)
class MarginalNetworks:
    """Two networks: log-probabilities of known cells, and conditionals of each column.

    ``marginals`` are the frequencies that ``smoothing`` mixes into the conditionals.
    """

    marginal: Weights | None
    conditional: Weights
    sizes: list[int]
    marginals: list[Array]
    smoothing: float = 0.0

    def _chunks(self, codes: IntArray, weights: Weights) -> list[slice]:
        size = max(1, CHUNK_CELLS // len(weights["bias"]))
        return [slice(i, i + size) for i in range(0, len(codes), size)]

    def log_marginal(self, codes: IntArray) -> Array:
        """f(row) - f(all missing), so that the empty set has probability one."""
        assert self.marginal is not None
        weights, out = self.marginal, np.empty(len(codes))
        nothing = np.full((1, len(self.sizes)), MISSING)
        zero = self._output(nothing)[0]
        for part in self._chunks(codes, weights):
            out[part] = self._output(codes[part]) - zero
        return np.where((codes == MISSING).all(axis=1), 0.0, out)

    def _output(self, codes: IntArray) -> Array:
        assert self.marginal is not None
        h = trunk(self.marginal, codes, self.sizes)
        return np.asarray((h @ self.marginal["head"])[:, 0])

    def log_conditional(self, codes: IntArray, u: int) -> Array:
        """Log-probabilities of column u given the known cells of the others."""
        codes, weights = codes.copy(), self.conditional
        codes[:, u] = MISSING
        start = sum(self.sizes[:u])
        span = slice(start, start + self.sizes[u])
        head, bias = weights["head"][:, span], weights["head_bias"][span]
        out = np.empty((len(codes), self.sizes[u]))
        for part in self._chunks(codes, weights):
            h = trunk(weights, codes[part], self.sizes)
            out[part] = log_softmax(h @ head + bias, axis=1)
        if not self.smoothing:
            return out
        mixed = (1 - self.smoothing) * np.exp(out) + self.smoothing * self.marginals[u]
        return np.asarray(np.log(np.maximum(mixed, np.finfo(float).tiny)))

    def complete(self, codes: IntArray, rng: Any) -> IntArray:
        """Draw missing cells by the conditionals, in a random order per row."""
        return draw_cells(
            self, codes, random_orders(len(codes), codes.shape[1], rng), rng
        )


@dataclass(frozen=True)
class ChainOnly:
    """Conditionals alone: a marginal is their product in the order of the columns."""

    networks: MarginalNetworks

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each column."""
        return self.networks.sizes

    def log_marginal(self, codes: IntArray) -> Array:
        """Product of conditionals along the columns as they stand."""
        order = np.arange(codes.shape[1])
        return chain_log_prob(self, codes, np.tile(order, (len(codes), 1)))

    def log_conditional(self, codes: IntArray, u: int) -> Array:
        """Log-probabilities of column u given the known cells of the others."""
        return self.networks.log_conditional(codes, u)

    def complete(self, codes: IntArray, rng: Any) -> IntArray:
        """Draw missing cells by the conditionals, in a random order per row."""
        return self.networks.complete(codes, rng)


def squared_gaps(joint: Joint, codes: IntArray, orders: IntArray) -> tuple[float, int]:
    """Sum of squares of the steps in which marginals and conditionals disagree."""
    total, count = 0.0, 0
    for order in orders:
        seen = np.full_like(codes, MISSING)
        before = joint.log_marginal(seen)
        for u in order.tolist():
            hit = np.flatnonzero(codes[:, u] != MISSING)
            if not len(hit):
                continue
            log = joint.log_conditional(seen[hit], u)
            seen[hit, u] = codes[hit, u]
            after = joint.log_marginal(seen[hit])
            step = before[hit] + log[np.arange(len(hit)), codes[hit, u]] - after
            total, count = total + float(step @ step), count + len(hit)
            before[hit] = after
    return total, count
