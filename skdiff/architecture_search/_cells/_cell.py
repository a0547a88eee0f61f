"""The cell: nodes that read all earlier nodes through mixtures of operations."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.typing import BoolArray, FloatArray
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes, matrices, zeros
from skdiff.architecture_search._cells._operations import linear, normalised
from skdiff.architecture_search._cells._space import Mix, Space, mixed


class CellSpace(Space):
    """Cells of ``n_nodes`` nodes, each a normalised sum over its edges.

    Edges are ordered by target, then by source; source 0 is the stem. All linear maps
    that read one source, of all edges and operations, are one matrix product.

    Parameters
    ----------
    sizes : Sizes
        Columns that come in and outputs.
    names : sequence of str
        Operations of an edge.
    width : int
        Units of each node.
    n_nodes : int
        Nodes of a cell.
    n_inputs : int
        Edges per node that an architecture keeps.
    n_cells : int
        Cells in sequence, with the same architecture and weights for each.
    """

    def __init__(
        self,
        sizes: Sizes,
        names: Sequence[str],
        width: int,
        n_nodes: int,
        n_inputs: int,
        n_cells: int = 1,
    ) -> None:
        super().__init__(sizes, names)
        self.width, self.n_nodes, self.n_cells = width, n_nodes, n_cells
        self.n_inputs = n_inputs
        self.edges = [(j, n) for n in range(1, n_nodes + 1) for j in range(n)]
        self.place = {edge: e for e, edge in enumerate(self.edges)}

    def parameters(self, n: int, generator: torch.Generator) -> list[nn.Parameter]:
        """Draw stem, per cell the maps of each source, and the head."""
        D, N = self.width, self.n_nodes
        found = self.stem.parameters(n, D, generator)
        self.n_stem = len(found)
        for cell in range(self.n_cells):
            if cell:
                found += [matrices(n, N * D, D, generator), zeros(n * D)]
            for j in range(N):
                targets = N - j
                maps = [
                    matrices(n, D, D, generator) for _ in range(targets * self.pieces)
                ]
                W = torch.cat(
                    [m.detach() for m in maps] or [torch.zeros(n, D, 0)], dim=2
                )
                found += [nn.Parameter(W.double()), zeros(n * W.shape[2])]
                if self.seconds:
                    W = torch.stack(
                        [matrices(n, D, D, generator).detach() for _ in range(targets)],
                        1,
                    )
                    found += [nn.Parameter(W), zeros(n * targets * D)]
        return found + self.head(n, N * D, generator)

    def forward(self, parameters: Sequence[Tensor], X: Tensor, mix: Mix) -> Tensor:
        """Return outputs of shape (networks, rows, outputs)."""
        left = iter(parameters[self.n_stem :])
        h = normalised(self.stem(X, parameters[: self.n_stem]))
        for cell in range(self.n_cells):
            if cell:
                h = normalised(linear(h, next(left), next(left)))
            h = self._cell(h, left, mix)
        return linear(h, next(left), next(left))

    def _cell(self, h: Tensor, left: "object", mix: Mix) -> Tensor:
        """Run one cell; return the nodes side by side."""
        states: list[Tensor] = [h]
        sums: list[Tensor | None] = [None] * (self.n_nodes + 1)
        for j in range(self.n_nodes):
            targets = self.n_nodes - j
            Z = linear(states[j], next(left), next(left))  # type: ignore[call-overload]
            shape = (*Z.shape[:2], targets, self.pieces, self.width)
            second = None
            if self.seconds:
                W, b = next(left), next(left)  # type: ignore[call-overload]
                second = (W, b)
            given = states[j][:, :, None].expand(*shape[:3], self.width)
            outputs = self.outputs(given, Z.view(shape), second)
            for t in range(targets):
                n = j + 1 + t
                part = mixed(outputs[:, :, t], mix[self.place[j, n]])
                known = sums[n]
                sums[n] = part if known is None else known + part
            done = sums[j + 1]
            assert done is not None
            states.append(normalised(done))
        size = max(len(s) for s in states)
        return torch.cat([s.expand(size, -1, -1) for s in states[1:]], dim=2)

    def allowed(self) -> BoolArray:
        """Everything is possible in a cell."""
        return np.ones((len(self.edges), len(self.names)), dtype=bool)

    def contest(self, alpha: Tensor) -> Tensor:
        """The operations of an edge compete."""
        return alpha

    def discretise(self, scores: FloatArray) -> Architecture:
        """Keep the best operation of each edge, and the best edges of each node."""
        values = scores[:, self.live]
        best, chosen = values.max(axis=1), values.argmax(axis=1)
        nodes = []
        for n in range(1, self.n_nodes + 1):
            edges = [self.place[j, n] for j in range(n)]
            # ties go to the earlier source
            order = sorted(edges, key=lambda e: (-best[e], e))[: self.n_inputs]
            nodes.append(self._node(sorted(order), chosen))
        return self._described(nodes)

    def _node(
        self, edges: Sequence[int], chosen: np.ndarray
    ) -> tuple[tuple[int, str], ...]:
        return tuple(
            (self.edges[e][0], self.names[self.live[chosen[e]]]) for e in edges
        )

    def _described(self, nodes: list[tuple[tuple[int, str], ...]]) -> Architecture:
        widths = (self.width,) * (self.n_nodes + 1)
        return Architecture(tuple(nodes), widths, "cell", self.n_cells)

    def labels(self) -> list[str]:
        """Name the edges by source and target."""
        names = ["stem", *(f"node {n}" for n in range(1, self.n_nodes + 1))]
        return [f"{names[j]} to {names[n]}" for j, n in self.edges]
