"""The hypercuboid: chains through a grid of layers, widths and operations."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.typing import BoolArray, FloatArray
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes, matrices, zeros
from skdiff.architecture_search._cells._operations import linear, normalised
from skdiff.architecture_search._cells._space import Mix, Space, mixed

FACTORS = (0.25, 0.5, 1.0, 2.0)


class HypercuboidSpace(Space):
    """Grid of (layer, width before, width after, operation) (sharpDARTS).

    Every path through the layers is a chain. All entries of a layer compete, and the
    architecture is the path whose product of weights is largest, by dynamic
    programming. Edges are ordered by layer, width before and width after.

    Parameters
    ----------
    sizes : Sizes
        Columns that come in and outputs.
    names : sequence of str
        Operations of an edge.
    width : int
        The grid has the widths ``width`` times 1/4, 1/2, 1 and 2.
    n_layers : int
        Layers of the grid.
    """

    def __init__(
        self, sizes: Sizes, names: Sequence[str], width: int, n_layers: int
    ) -> None:
        super().__init__(sizes, names)
        self.widths = [int(width * f) for f in FACTORS]
        self.n_layers = n_layers
        size = len(self.widths)
        self.edges = [
            (layer * size + i, (layer + 1) * size + o)
            for layer in range(n_layers)
            for i in range(size)
            for o in range(size)
        ]

    def _edge(self, layer: int, i: int, o: int) -> int:
        size = len(self.widths)
        return (layer * size + i) * size + o

    def parameters(self, n: int, generator: torch.Generator) -> list[nn.Parameter]:
        """Draw a stem per width, the maps of each layer and width, and the head."""
        found: list[nn.Parameter] = []
        for width in self.widths:
            found += self.stem.parameters(n, width, generator)
        self.n_stem = len(found) // len(self.widths)
        for _ in range(self.n_layers):
            for before in self.widths:
                maps = [
                    matrices(n, before, after, generator).detach()
                    for after in self.widths
                    for _ in range(self.pieces)
                ]
                W = torch.cat(maps or [torch.zeros(n, before, 0)], dim=2)
                found += [nn.Parameter(W.double()), zeros(n * W.shape[2])]
                if self.seconds:
                    second = matrices(n, before, before, generator).detach()
                    found += [nn.Parameter(second[:, None]), zeros(n * before)]
        return found + self.head(n, sum(self.widths), generator)

    def forward(self, parameters: Sequence[Tensor], X: Tensor, mix: Mix) -> Tensor:
        """Return outputs of shape (networks, rows, outputs)."""
        size, k = len(self.widths), self.n_stem
        states = [
            normalised(self.stem(X, parameters[i * k : (i + 1) * k]))
            for i in range(size)
        ]
        left = iter(parameters[size * k :])
        for layer in range(self.n_layers):
            states = self._layer(layer, states, left, mix)
        return linear(torch.cat(states, dim=2), next(left), next(left))

    def _layer(
        self, layer: int, states: list[Tensor], left: Iterator[Tensor], mix: Mix
    ) -> list[Tensor]:
        sums: list[Tensor | None] = [None] * len(self.widths)
        for i, h in enumerate(states):
            Z = linear(h, next(left), next(left))
            second = (next(left), next(left)) if self.seconds else None
            start = 0
            for o, width in enumerate(self.widths):
                stop = start + self.pieces * width
                shape = (*Z.shape[:2], 1, self.pieces, width)
                outputs = self.outputs(
                    h[:, :, None],
                    Z[:, :, start:stop].reshape(shape),
                    i == o,
                    second,
                )
                start = stop
                part = mixed(outputs[:, :, 0], mix[self._edge(layer, i, o)])
                known = sums[o]
                sums[o] = part if known is None else known + part
        done = [normalised(s) for s in sums if s is not None]
        rows = max(len(s) for s in done)
        return [s.expand(rows, -1, -1) for s in done]

    def allowed(self) -> BoolArray:
        """Operations that keep the width are possible between equal widths only."""
        square = np.array([o.square for o in self.operations])
        size = len(self.widths)
        same = np.array([(a % size) == (b % size) for a, b in self.edges])
        return same[:, None] | ~square[None]

    def contest(self, alpha: Tensor) -> Tensor:
        """All entries of a layer compete."""
        return alpha.reshape(len(alpha), self.n_layers, -1)

    def discretise(self, scores: FloatArray) -> Architecture:
        """Return the path of the largest sum of scores, by dynamic programming."""
        possible = self.allowed()[:, self.live]
        values = np.where(possible, scores[:, self.live], -np.inf)
        size = len(self.widths)
        best = values.max(axis=1).reshape(self.n_layers, size, size)
        chosen = values.argmax(axis=1).reshape(self.n_layers, size, size)
        reached, back = np.zeros(size), []
        for layer in range(self.n_layers):
            total = reached[:, None] + best[layer]
            back.append(total.argmax(axis=0))
            reached = total.max(axis=0)
        path = [int(reached.argmax())]
        for layer in reversed(range(self.n_layers)):
            path.insert(0, int(back[layer][path[0]]))
        nodes = []
        for layer in range(self.n_layers):
            k = chosen[layer, path[layer], path[layer + 1]]
            nodes.append(((layer, self.names[self.live[k]]),))
        widths = tuple(self.widths[i] for i in path)
        return Architecture(tuple(nodes), widths, "hypercuboid")

    def labels(self) -> list[str]:
        """Name the edges by layer and widths."""
        return [
            f"layer {layer + 1}, {before} to {after}"
            for layer in range(self.n_layers)
            for before in self.widths
            for after in self.widths
        ]
