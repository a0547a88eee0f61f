"""The hypercuboid: chains through a grid of layers, widths and operations."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.typing import BoolArray, FloatArray
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes, matrices, zeros
from skdiff.architecture_search._cells._operations import linear, normalised
from skdiff.architecture_search._cells._space import Mix, Space

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

    # a supernet proposes, and this one is many times the size of what it proposes
    dtype = torch.float32

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
        # of the entries, within (width before, width after, operation)
        self.order = torch.tensor(
            [
                (i * size + o) * len(self.live) + place
                for o in range(size)
                for keeps in (False, True)
                for place, k in enumerate(self.live)
                if self.operations[k].square == keeps
                for i in ([o] if keeps else range(size))
            ]
        )

    def _edge(self, layer: int, i: int, o: int) -> int:
        size = len(self.widths)
        return (layer * size + i) * size + o

    def parameters(self, n: int, generator: torch.Generator) -> list[nn.Parameter]:
        """Draw a stem per width, the maps of each layer and width, and the head.

        The columns of a map are ordered by piece and width after.
        """
        found: list[nn.Parameter] = []
        for width in self.widths:
            found += self.stem.parameters(n, width, generator)
        self.n_stem = len(found) // len(self.widths)
        for _ in range(self.n_layers):
            for before in self.widths:
                maps = [
                    [
                        matrices(n, before, after, generator).detach()
                        for _ in range(self.pieces)
                    ]
                    for after in self.widths
                ]
                columns = [m for piece in zip(*maps, strict=True) for m in piece]
                W = torch.cat(columns or [torch.zeros(n, before, 0)], dim=2)
                found += [nn.Parameter(W.double()), zeros(n * W.shape[2])]
                if self.seconds:
                    found += [matrices(n, before, before, generator), zeros(n * before)]
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
            outputs = self._outputs(states, left)
            weights = self._weights(mix[layer * size**2 : (layer + 1) * size**2])
            states = [
                normalised(combined(normalised(x), a))
                for x, a in zip(outputs, weights, strict=True)
            ]
            rows = max(len(s) for s in states)
            states = [s.expand(rows, -1, -1) for s in states]
        return linear(torch.cat(states, dim=2), next(left), next(left))

    def _outputs(self, states: list[Tensor], left: Iterator[Tensor]) -> list[Tensor]:
        """What each width after gets, of shape (networks, entries, rows, width).

        An operation is computed at once for all pairs of widths. Entries are ordered by
        operation and width before; behind them are the operations that keep the width.
        """
        maps, found = [], []
        for o, h in enumerate(states):
            Z = linear(h, next(left), next(left))
            maps.append(Z)
            second = (next(left), next(left)) if self.seconds else None
            found.append(self._kept(o, h, Z, second))
        pieces = torch.stack(maps, dim=1).split(max(sum(self.widths), 1), dim=3)
        start = 0
        loose = []
        for k in self.live:
            operation = self.operations[k]
            z = pieces[start : start + operation.pieces]
            start += operation.pieces
            if not operation.square:
                out = operation.function(z[0], z)
                loose.append(out.split(self.widths, dim=3))
        return [
            torch.cat([*parts, *kept], dim=1)
            for *parts, kept in zip(*loose, found, strict=True)
        ]

    def _kept(
        self, o: int, h: Tensor, Z: Tensor, second: tuple[Tensor, Tensor] | None
    ) -> list[Tensor]:
        """Outputs of the operations that keep the width ``o``."""
        found, total, width = [], sum(self.widths), self.widths[o]
        start = sum(self.widths[:o])
        for k in self.live:
            operation = self.operations[k]
            if operation.square:
                starts = [start + i * total for i in range(operation.pieces)]
                out = operation.function(h, [Z[:, :, s : s + width] for s in starts])
                if operation.second:
                    assert second is not None
                    out = h + linear(out, *second)
                found.append(out[:, None])
            start += operation.pieces * total
        return found

    def _weights(self, mix: Mix) -> Sequence[Tensor]:
        """Mixing weights of one layer for each width after, ordered as its entries."""
        rows = max(len(a) for a in mix)
        by_pair = torch.stack(
            [a if len(a) == rows else a.expand(rows, -1) for a in mix], dim=1
        )
        order = self.order.to(by_pair.device)
        return by_pair.flatten(1).index_select(1, order).split(len(order) // 4, dim=1)

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


def combined(outputs: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums over the second axis of (networks, entries, rows, width)."""
    n, _, rows, width = outputs.shape
    flat = outputs.flatten(2)
    if n == 1:
        return (weights @ flat[0]).view(-1, rows, width)
    weights = weights.expand(n, -1)[:, None]
    return torch.bmm(weights, flat).view(n, rows, width)
