"""Networks with a fixed architecture, many of them in one set of tensors.

Cells that are compared are small, and a step of one costs as much in calls as in
arithmetic. Networks therefore share their tensors: a linear map of each edge is one
matrix of a batched product, grouped by operation. Where widths differ all are padded to
the largest: units beyond the width of a network, and their weights, are zero and stay
so, since normalisation passes them over and nothing sends them a gradient.
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
    EPSILON,
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
    """Networks that are trained side by side.

    Parameters
    ----------
    architectures : sequence of Architecture
        Cells of one form, or chains of one length, whose widths may differ.
    sizes : Sizes
        Columns that come in and outputs.
    generator : torch.Generator
        Source of the first weights. Where widths differ, :meth:`alike` draws them.
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
        each = list(zip(*(a.widths for a in self.architectures), strict=True))
        self._masks = [_mask(own) for own in each]
        widths = [max(own) for own in each]
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
        self._masks = [m if m is None else function(m) for m in self._masks]
        return super()._apply(function, recurse)

    def _listed(self) -> list[Tensor]:
        """The parameters; the access of a ParameterList is slow in a hot loop."""
        if not self._list:
            self._list = list(self.weights)
        return self._list

    def forward(self, X: Tensor) -> Tensor:
        """Return outputs of shape (networks, rows, outputs)."""
        left = iter(self._listed())
        h = self.stem(X, [next(left) for _ in range(self.n_stem)])
        h = _normalised(h, self._masks[0])
        for cell in range(self.n_cells):
            if cell:
                h = normalised(linear(h, next(left), next(left)))
            states = [h]
            for plan, mask in zip(self.plans, self._masks[1:], strict=True):
                maps = [next(left) for _ in range(4)]
                states.append(_node(plan, states, maps, mask))
            read = [states[k] for k in self.read]
            h = read[0] if len(read) == 1 else torch.cat(read, dim=2)
        return linear(h, next(left), next(left))

    @classmethod
    def alike(
        cls, architectures: Sequence[Architecture], sizes: Sizes, seed: int
    ) -> "CellNetworks":
        """Draw each network as it would be drawn alone."""
        new = cls(architectures, sizes, torch.Generator())
        with torch.no_grad():
            for weight in new.weights:
                weight.zero_()
            for g, one in enumerate(architectures):
                alone = cls([one], sizes, torch.Generator().manual_seed(seed))
                for source, own, into in zip(
                    alone.weights, new._owners, new.weights, strict=True
                ):
                    rows = [k for k, owner in enumerate(own) if owner == g]
                    if rows:
                        maps = _by_map(source, len(rows))
                        _by_map(into, len(own))[rows, *_block(maps)] = maps
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
                    maps = _by_map(into, len(rows))
                    maps.copy_(_by_map(mine, len(own))[rows][:, *_block(maps)])
        return new


def _by_map(parameter: Tensor, n: int) -> Tensor:
    """A parameter of ``n`` linear maps with an axis for the maps; biases are flat."""
    return parameter.view(n, -1) if parameter.ndim == 1 else parameter


def _block(maps: Tensor) -> list[slice]:
    """Where a linear map lies within a larger, padded one."""
    return [slice(size) for size in maps.shape[1:]]


# --- padding ----------------------------------------------------------------------


def _mask(widths: Sequence[int]) -> Tensor | None:
    """Ones up to the width of each network; None where all are equal."""
    if len(set(widths)) == 1:
        return None
    units, ends = torch.arange(max(widths)), torch.tensor(widths)
    return (units < ends[:, None]).double()[:, None]


def _normalised(x: Tensor, mask: Tensor | None) -> Tensor:
    """Centre and scale the units of each network that are not padding."""
    if mask is None:
        return normalised(x)
    found: Tensor = MaskedNormalisation.apply(x, mask)
    return found


class MaskedNormalisation(torch.autograd.Function):
    """``normalised`` of the units in a mask; the others are zero before and after.

    Written by hand, since a dozen small operations, each with its own derivative, took
    longer than the linear maps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        """Return centred and scaled units."""
        count = mask.sum(-1, keepdim=True)
        centred = torch.addcmul(x, x.sum(-1, keepdim=True) / count, mask, value=-1)
        square = centred.square().sum(-1, keepdim=True)
        scale = (square / count).add_(EPSILON).rsqrt_()
        out = centred.mul_(scale)
        ctx.save_for_backward(out, scale, mask, count)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Return the gradient in ``x``."""
        out, scale, mask, count = ctx.saved_tensors
        g = grads[0] * mask
        along = (g * out).sum(-1, keepdim=True) / count
        g = torch.addcmul(g, g.sum(-1, keepdim=True) / count, mask, value=-1)
        return g.addcmul_(along, out, value=-1).mul_(scale), None


def _node(
    plan: NodePlan,
    states: Sequence[Tensor],
    maps: Sequence[Tensor],
    mask: Tensor | None,
) -> Tensor:
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
        if operation.square and (more := W.shape[2] - h.shape[2]):
            h = F.pad(h, (0, more))  # less padding where it is negative
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
    outputs = found[0] if len(found) == 1 else torch.cat(found)
    of_edges = mask if mask is None else mask.index_select(0, owners)
    outputs = _normalised(outputs, of_edges)
    sums = outputs.new_zeros(len(sources[0]), *outputs.shape[1:])
    return _normalised(sums.index_add(0, owners, outputs), mask)


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
