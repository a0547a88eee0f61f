"""Categories as numbers: contrasts, products of them, and the energies they make up.

A column of q categories becomes q - 1 contrasts, the rows of a regular simplex of
radius sqrt(2 - 2/q) around zero, so that two categories are the spins -1 and 1. A block
of coefficients over contrasts is an interaction in its zero-sum gauge, and its length
does not depend on the order of the categories.
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array

Terms = list[tuple[tuple[int, ...], slice]]


def contrasts(q: int) -> Array:
    """Rows of a simplex: shape (q, q - 1), columns orthogonal of length sqrt(2)."""
    basis = np.zeros((q, q - 1))
    for k in range(1, q):
        basis[:k, k - 1] = -1.0
        basis[k, k - 1] = k
        basis[:, k - 1] *= math.sqrt(2.0 / (k * (k + 1)))
    return basis


def centred_indicators(q: int) -> Array:
    """Redundant features, one a category: sqrt(2) (1[s = a] - 1/q)."""
    return np.asarray(math.sqrt(2.0) * (np.eye(q) - 1.0 / q))


class Layout(NamedTuple):
    """Which columns of the feature matrix belong to which column of the table."""

    bases: list[Array]
    spans: list[slice]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.spans[-1].stop if self.spans else 0


def layout(sizes: Sequence[int], *, redundant: bool = False) -> Layout:
    """Lay out columns with these numbers of categories."""
    bases = [
        centred_indicators(q) if redundant and q > 2 else contrasts(q) for q in sizes
    ]
    ends = np.cumsum([0, *(basis.shape[1] for basis in bases)]).tolist()
    spans = [slice(a, b) for a, b in pairwise(ends)]
    return Layout(bases, spans)


def features(codes: Any, where: Layout) -> Array:
    """Features of rows of codes."""
    F = np.empty((len(codes), where.width))
    for j, (basis, span) in enumerate(zip(*where, strict=True)):
        F[:, span] = basis[codes[:, j]]
    return F


def count_products(where: Layout, degree: int) -> int:
    """Width of the table of products of up to ``degree`` columns, without listing."""
    ways = [1] + [0] * degree  # elementary symmetric polynomials of the sizes
    for span in where.spans:
        for k in range(degree, 0, -1):
            ways[k] += ways[k - 1] * (span.stop - span.start)
    return sum(ways)


def list_terms(where: Layout, degree: int) -> tuple[Terms, int]:
    """Products of up to ``degree`` columns, where each stands, and the total width.

    The first entry, the empty product, is the constant.
    """
    sizes = [span.stop - span.start for span in where.spans]
    alive = [j for j, size in enumerate(sizes) if size]
    terms: Terms = [((), slice(0, 1))]
    end = 1
    for k in range(1, degree + 1):
        for T in combinations(alive, k):
            width = math.prod(sizes[j] for j in T)
            terms.append((T, slice(end, end + width)))
            end += width
    return terms, end


def product(F: Array, T: Sequence[int], where: Layout) -> Array:
    """Products of one feature of each column of T, the last running fastest."""
    out = np.ones((len(F), 1))
    for j in T:
        out = (out[:, :, None] * F[:, None, where.spans[j]]).reshape(len(F), -1)
    return out


def design(F: Array, where: Layout, terms: Terms, width: int) -> Array:
    """All products of a list of terms."""
    Z = np.empty((len(F), width))
    Z[:, 0] = 1.0
    for T, place in terms[1:]:
        if len(T) == 1:
            Z[:, place] = F[:, where.spans[T[0]]]
        else:
            Z[:, place] = product(F, T, where)
    return Z


class Energy(NamedTuple):
    """A joint model ``E(x) = h'f + f'Jf / 2 + sum_T J_T . prod f`` over contrasts."""

    field: Array
    pairs: Array
    higher: dict[tuple[int, ...], Array]

    def at_node(self, F: Array, u: int, where: Layout) -> Array:
        """Energies of the states of column u given the others, up to a constant."""
        span = where.spans[u]
        H = F @ self.pairs[:, span] + self.field[span]
        for T, block in self.higher.items():
            if u in T:
                axis = T.index(u)
                rest = T[:axis] + T[axis + 1 :]
                flat = np.moveaxis(block, axis, -1).reshape(-1, block.shape[axis])
                H += product(F, rest, where) @ flat
        return np.asarray(H @ where.bases[u].T)

    def joint(self, F: Array, where: Layout) -> Array:
        """Logarithm of the joint probability of rows, up to a constant."""
        total = F @ self.field + 0.5 * np.einsum("ij,ij->i", F @ self.pairs, F)
        for T, block in self.higher.items():
            total += product(F, T, where) @ block.ravel()
        return np.asarray(total)


def gauge_block(block: Array, T: Sequence[int], where: Layout) -> Array:
    """Energies of every combination of categories, from coefficients of contrasts."""
    out = block
    for axis, j in enumerate(T):
        out = np.moveaxis(np.tensordot(where.bases[j], out, (1, axis)), 0, axis)
    return np.asarray(out)


def to_contrasts(block: Array, T: Sequence[int], sizes: Sequence[int]) -> Array:
    """Coefficients of contrasts, from those of centred indicators or of contrasts."""
    out = block
    for axis, j in enumerate(T):
        if out.shape[axis] == sizes[j] > 2:
            basis = contrasts(sizes[j]) / math.sqrt(2.0)
            out = np.moveaxis(np.tensordot(basis.T, out, (1, axis)), 0, axis)
    return np.asarray(out)


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def log_softmax(logits: Array) -> Array:
    """Logarithms of probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
