"""What a fitted network says, in numpy, and what its interactions are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy.special import erf, expit

from skdiff._base.typing import Array
from skdiff.density._features import Layout, features
from skdiff.density._graph import combine
from skdiff.density._model import Model

# states, neighbours and rows of an expansion
EXPANSION_STATES, EXPANSION_NEIGHBOURS, CONTEXTS = 1024, 8, 16

Shapes = Sequence[tuple[int, ...]]
Energies = Callable[[Array, int], Array]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
    "gelu": lambda z: 0.5 * z * (1.0 + erf(z / np.sqrt(2.0))),
    "silu": lambda z: z * expit(z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
}


def shapes_of(where: Layout, hidden: Sequence[int], variant: str) -> Shapes:
    """Shapes of weights and biases in turn."""
    p, D = len(where.spans), where.width
    widest = max((basis.shape[1] for basis in where.bases), default=0)
    energy = variant == "energy"
    widths = [D, *hidden, 1 if energy else widest]
    shapes: list[tuple[int, ...]] = []
    for a, b in pairwise(widths):
        shapes += [(a, b), (b,)] if energy else [(p, a, b), (p, b)]
    return shapes


def unpack(flat: Any, shapes: Shapes) -> list[Any]:
    """Weights and biases in turn, as views of a flat vector."""
    parts, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        parts.append(flat[start : start + size].reshape(shape))
        start += size
    return parts


def forward(F: Array, layers: Sequence[Array], activation: str) -> Array:
    """Outputs of one network."""
    Z = F @ layers[0] + layers[1]
    for W, b in zip(layers[2::2], layers[3::2], strict=True):
        Z = ACTIVATIONS[activation](Z) @ W + b
    return np.asarray(Z)


def conditional_energies(
    F: Array, u: int, layers: Sequence[Array], activation: str, where: Layout
) -> Array:
    """Energies of the states of column u from its own network."""
    span, basis = where.spans[u], where.bases[u]
    F = F.copy()
    F[:, span] = 0.0
    H = forward(F, [part[u] for part in layers], activation)
    return np.asarray(H[:, : basis.shape[1]] @ basis.T)


def joint_energies(
    F: Array, u: int, layers: Sequence[Array], activation: str, where: Layout
) -> Array:
    """Energies of the states of column u from the network of the whole row."""
    span, basis = where.spans[u], where.bases[u]
    F = F.copy()
    F[:, span] = 0.0
    base = F @ layers[0] + layers[1]
    change = basis @ layers[0][span]
    Z = base[:, None] + change
    for W, b in zip(layers[2::2], layers[3::2], strict=True):
        Z = ACTIVATIONS[activation](Z) @ W + b
    return np.asarray(Z[..., 0])


@dataclass(frozen=True)
class Network:
    """The form of the networks; their parameters are a flat vector elsewhere."""

    where: Layout
    hidden: tuple[int, ...]
    variant: str
    activation: str

    @property
    def shapes(self) -> Shapes:
        """Shapes of weights and biases in turn."""
        return shapes_of(self.where, self.hidden, self.variant)

    def model(self, flat: Array) -> Model:
        """The graphical model of some parameters."""
        layers = unpack(flat, self.shapes)
        joint = self.variant == "energy"
        chosen = joint_energies if joint else conditional_energies

        def energies(F: Array, u: int) -> Array:
            return chosen(F, u, layers, self.activation, self.where)

        def total(F: Array) -> Array:
            return forward(F, layers, self.activation)[:, 0]

        return Model(self.where, energies, total if joint else None)

    def input_norms(self, flat: Array) -> Array:
        """Length of the first layer's weights from column v into the network of u."""
        W = unpack(flat, self.shapes)[0]
        p = len(self.where.spans)
        out = np.zeros((p, p))
        for v, span in enumerate(self.where.spans):
            out[:, v] = np.sqrt(np.sum(W[..., span, :] ** 2, axis=(-2, -1)))
        np.fill_diagonal(out, 0.0)
        return out


def noise_factors(model: Model, rows: Any, weight: Array) -> Array:
    """How much noisier strengths are than those of independent columns, by pair.

    The ratio of the root mean square of ``exp(-margin)`` and of its mean, relative to a
    column alone; of a pair the mean over its columns.
    """
    F, here = features(rows, model.where), np.arange(len(rows))
    s = weight / weight.sum(axis=0)
    factor = np.ones(len(model.sizes))
    for u, q in enumerate(model.sizes):
        own = s if s.ndim == 1 else s[:, u]
        E = model.energies(F, u)
        margin = E[here, rows[:, u]] - E.mean(axis=1)
        e = np.exp(-(margin - margin.min()))
        share = np.bincount(rows[:, u], own, minlength=q)
        alone = np.sqrt(np.sum(1.0 / share[share > 0])) / q
        ratio = np.sqrt(own @ e**2) / (own @ e)
        factor[u] = max(ratio / max(float(alone), 1.0), 1.0)
    return np.asarray((factor[:, None] + factor) / 2)


def influence(energies: Energies, F: Array, where: Layout) -> Array:
    """How much column v moves the energies of column u: entry (u, v).

    It is the root mean square over rows of the coefficients of v's contrasts when v
    alone is changed; for a pairwise model the length of the block.
    """
    p = len(where.spans)
    out = np.zeros((p, p))
    for v, (basis, span) in enumerate(zip(*where, strict=True)):
        if span.stop == span.start:
            continue
        changed = np.repeat(F, len(basis), axis=0)
        changed[:, span] = np.tile(basis, (len(F), 1))
        for u in range(p):
            if u == v or not where.bases[u].shape[1]:
                continue
            H = energies(changed, u) @ where.bases[u] / 2.0
            H = H.reshape(len(F), len(basis), -1)
            W = np.einsum("nsr,sc->nrc", H, basis) / 2.0
            out[u, v] = np.sqrt(np.mean(np.sum(W**2, axis=(1, 2))))
    return out


def expand(
    energies: Energies, u: int, neighbours: Sequence[int], F: Array, where: Layout
) -> dict[tuple[int, ...], Array]:
    """Interactions of column u with its neighbours (Walsh-Hadamard, Moebius).

    The energies are tabulated over all states of the neighbours, averaged over the
    rows of F for the other columns, and expanded in products of contrasts. Keys are
    sorted and hold u.
    """
    sizes = [len(where.bases[v]) for v in neighbours]
    grid = np.indices(sizes).reshape(len(sizes), int(np.prod(sizes)))
    table = np.zeros((grid.shape[1], where.bases[u].shape[1]))
    for row in F:
        states = np.repeat(row[None], grid.shape[1], axis=0)
        for v, codes in zip(neighbours, grid, strict=True):
            states[:, where.spans[v]] = where.bases[v][codes]
        table += energies(states, u) @ where.bases[u] / (2.0 * len(F))
    out = table.reshape(*sizes, -1)
    for axis, v in enumerate(neighbours):
        basis, q = where.bases[v], sizes[axis]
        analysis = np.vstack([np.full(q, 1.0 / q), basis.T / 2.0])
        out = np.moveaxis(np.tensordot(analysis, out, (1, axis)), 0, axis)
    found = {}
    for k in range(len(neighbours) + 1):
        for chosen in combinations(range(len(neighbours)), k):
            place = tuple(
                slice(1, None) if axis in chosen else 0
                for axis in range(len(neighbours))
            )
            members = tuple(sorted((u, *(neighbours[axis] for axis in chosen))))
            # axes of the entry: the chosen neighbours in their order, then u
            axes = np.argsort([*(neighbours[axis] for axis in chosen), u])
            found[members] = np.transpose(out[place], axes)
    return found


def expand_graph(
    model: Model, F: Array, strength: Array, adjacency: Array
) -> dict[tuple[int, ...], Array]:
    """Interactions of each column with its strongest neighbours."""
    gathered: dict[tuple[int, ...], list[Array]] = {}
    for u, q in enumerate(model.sizes):
        if q == 1:
            continue
        ranked = np.argsort(-strength[u], kind="stable")
        neighbours: list[int] = []
        states = 1
        for v in ranked[adjacency[u][ranked]][:EXPANSION_NEIGHBOURS].tolist():
            states *= model.sizes[v]
            if states > EXPANSION_STATES:
                break
            neighbours.append(v)
        found = expand(model.energies, u, neighbours, F[:CONTEXTS], model.where)
        for T, block in found.items():
            gathered.setdefault(T, []).append(block)
    return {
        T: combine(blocks, "mean")
        for T, blocks in sorted(gathered.items())
        if len(T) > 1 and len(blocks) == len(T)
    }
