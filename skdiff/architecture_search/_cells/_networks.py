"""Networks with a fixed architecture, many of them in one set of tensors.

Cells that are compared are small, and a step of one costs as much in calls as in
arithmetic. Networks of equal widths therefore share their tensors: a linear map of each
edge is one matrix of a batched product, grouped by operation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._base.tables import UNKNOWN
from skdiff._nn._modules import MLP
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes, Stem, matrices, zeros
from skdiff.architecture_search._cells._operations import (
    OPERATIONS,
    linear,
    normalised,
)


@dataclass
class NodePlan:
    """Where the edges into one node of all networks begin, grouped by operation.

    ``sources`` are the earlier states that anybody reads. A place is ``source *
    networks + network`` within their stack. ``owners`` are the networks of the edges.
    """

    sources: list[int]
    groups: list[tuple[str, int]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    #: network of each linear map, and of each second one
    maps: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)
    _cache: dict[Any, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Sequence[tuple[tuple[int, str], ...]]) -> "NodePlan":
        """Plan the same node of several networks."""
        sources = sorted({source for node in nodes for source, _ in node})
        place = {source: k * len(nodes) for k, source in enumerate(sources)}
        plan = cls(sources)
        for name, operation in OPERATIONS.items():
            edges = [
                (g, place[source] + g)
                for g, node in enumerate(nodes)
                for source, chosen in node
                if chosen == name
            ]
            if not edges:
                continue
            owners, places = [g for g, _ in edges], [p for _, p in edges]
            plan.groups.append((name, len(edges)))
            plan.places += places
            plan.owners += owners
            plan.maps += owners * operation.pieces
            plan.inputs += places * operation.pieces
            plan.seconds += owners * operation.second
        return plan

    def indices(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Places of the edges, those of the linear maps, and owners, as tensors."""
        if device not in self._cache:
            self._cache[device] = (
                torch.tensor(self.places, device=device),
                torch.tensor(self.inputs, device=device, dtype=torch.int64),
                torch.tensor(self.owners, device=device),
            )
        return self._cache[device]


class CellNetworks(nn.Module):
    """Networks of equal widths, trained side by side.

    Parameters
    ----------
    architectures : sequence of Architecture
        Cells of one form, or chains of equal widths.
    sizes : Sizes
        Columns that come in and outputs.
    generator : torch.Generator
        Source of the first weights.
    """

    def __init__(
        self,
        architectures: Sequence[Architecture],
        sizes: Sizes,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.architectures = list(architectures)
        first, n = self.architectures[0], len(self.architectures)
        self.read, self.sizes, self.n_cells = first.outputs(), sizes, first.n_cells
        nodes = range(len(first.nodes))
        self.plans = [NodePlan.of([a.nodes[k] for a in architectures]) for k in nodes]
        self.stem = Stem(sizes)
        self.weights = nn.ParameterList()
        self._list: list[Tensor] = []
        #: network of each matrix of a parameter, to drop networks
        self._owners: list[list[int]] = []
        widths = first.widths
        self._own(self.stem.parameters(n, widths[0], generator), list(range(n)))
        self.n_stem = len(self.weights)
        features = sum(widths[k] for k in self.read)
        for cell in range(self.n_cells):
            if cell:
                self._linear(features, widths[0], list(range(n)), generator)
            for plan, before, after in zip(
                self.plans, widths[:-1], widths[1:], strict=True
            ):
                self._linear(before, after, plan.maps, generator)
                self._linear(after, after, plan.seconds, generator)
        self._linear(features, sizes.n_out, list(range(n)), generator)

    def _own(self, parameters: Sequence[nn.Parameter], owners: list[int]) -> None:
        for parameter in parameters:
            self.weights.append(parameter)
            self._owners.append(owners)

    def _linear(
        self, n_in: int, n_out: int, owners: list[int], generator: torch.Generator
    ) -> None:
        n = len(owners)
        self._own([matrices(n, n_in, n_out, generator), zeros(n * n_out)], owners)

    def _apply(self, function, recurse=True):  # type: ignore[no-untyped-def]
        self._list = []
        return super()._apply(function, recurse)

    def _listed(self) -> list[Tensor]:
        """The parameters; the access of a ParameterList is slow in a hot loop."""
        if not self._list:
            self._list = list(self.weights)
        return self._list

    def forward(self, X: Tensor) -> Tensor:
        """Return outputs of shape (networks, rows, outputs)."""
        left = iter(self._listed())
        h = normalised(self.stem(X, [next(left) for _ in range(self.n_stem)]))
        for cell in range(self.n_cells):
            if cell:
                h = normalised(linear(h, next(left), next(left)))
            states = [h]
            for plan in self.plans:
                maps = [next(left) for _ in range(4)]
                states.append(_node(plan, states, maps))
            read = [states[k] for k in self.read]
            h = read[0] if len(read) == 1 else torch.cat(read, dim=2)
        return linear(h, next(left), next(left))

    @classmethod
    def alike(
        cls, architectures: Sequence[Architecture], sizes: Sizes, seed: int
    ) -> "CellNetworks":
        """Draw each network as it would be drawn alone."""
        new = cls(architectures, sizes, torch.Generator())
        for g, one in enumerate(architectures):
            alone = cls([one], sizes, torch.Generator().manual_seed(seed))
            with torch.no_grad():
                for source, own, into in zip(
                    alone.weights, new._owners, new.weights, strict=True
                ):
                    rows = [k for k, owner in enumerate(own) if owner == g]
                    if rows:
                        by_map = into.view(len(own), -1)
                        by_map[rows] = source.view(len(rows), -1)
        return new

    def keep(self, networks: Sequence[int]) -> "CellNetworks":
        """Return some of the networks, with their weights."""
        kept = sorted(networks)
        chosen = [self.architectures[g] for g in kept]
        new = CellNetworks(chosen, self.sizes, torch.Generator())
        new.to(self.weights[0])
        with torch.no_grad():
            for mine, own, into in zip(
                self.weights, self._owners, new.weights, strict=True
            ):
                rows = [k for k, g in enumerate(own) if g in kept]
                if rows:
                    parts = mine.view(
                        len(own), *([-1] if mine.ndim == 1 else mine.shape[1:])
                    )
                    into.copy_(parts[rows].reshape(into.shape))
        return new


def _node(plan: NodePlan, states: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Return the state of one node of all networks."""
    W, b, W2, b2 = maps
    sources = [states[k] for k in plan.sources]
    stack = sources[0] if len(sources) == 1 else torch.cat(sources)
    places, inputs, owners = plan.indices(stack.device)
    given, rows = stack.index_select(0, places), stack.index_select(0, inputs)
    Z = torch.baddbmm(b.view(len(W), 1, W.shape[2]), rows, W)
    found, edge, piece, extra = [], 0, 0, 0
    for name, count in plan.groups:
        operation = OPERATIONS[name]
        h = given[edge : edge + count]
        z = [
            Z[piece + i * count : piece + (i + 1) * count]
            for i in range(operation.pieces)
        ]
        out = operation.function(h, z)
        if operation.second:
            part = slice(extra, extra + count)
            bias = b2.view(len(W2), 1, W2.shape[2])[part]
            out = h + torch.baddbmm(bias, out, W2[part])
            extra += count
        found.append(out)
        edge += count
        piece += count * operation.pieces
    outputs = normalised(found[0] if len(found) == 1 else torch.cat(found))
    sums = outputs.new_zeros(len(sources[0]), *outputs.shape[1:])
    return normalised(sums.index_add(0, owners, outputs))


class CellNetwork(nn.Module):
    """One network with a fixed cell or chain."""

    def __init__(
        self, architecture: Architecture, sizes: Sizes, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.networks = CellNetworks([architecture], sizes, generator)

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of outputs per row of X."""
        out: Tensor = self.networks(X)[0]
        return out


class OneHotMLP(nn.Module):
    """A multilayer perceptron on numbers and one-hot codes."""

    def __init__(
        self, architecture: Architecture, sizes: Sizes, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.sizes = sizes
        n_in = len(sizes.numeric) + sizes.n_categories
        self.mlp = MLP([n_in, *architecture.widths, sizes.n_out], "relu", generator)

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of outputs per row of X; unknown categories are zeros."""
        parts = [X[:, self.sizes.numeric]]
        for j, size in zip(
            self.sizes.categorical, self.sizes.cardinalities, strict=True
        ):
            levels = F.one_hot(X[:, j].long(), size).to(X.dtype)
            levels[:, UNKNOWN] = 0
            parts.append(levels)
        out: Tensor = self.mlp(torch.cat(parts, dim=1))
        return out


def build(
    architecture: Architecture, sizes: Sizes, generator: torch.Generator
) -> nn.Module:
    """Return the module of an architecture."""
    if architecture.space != "mlp":
        return CellNetwork(architecture, sizes, generator)
    if sizes.categorical:
        return OneHotMLP(architecture, sizes, generator)
    widths = [sizes.n_in, *architecture.widths, sizes.n_out]
    return MLP(widths, "relu", generator)
