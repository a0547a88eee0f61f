"""Approximate best responses: weights of a network as a function of ``h``.

``move`` is always the distance of ``h`` from where tuning started, so that the network
at the start is the standard one, whatever the response. It has one row per row of X,
or a single row for all.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layers = Sequence[tuple[Tensor, Tensor]]
Between = Callable[[int, Tensor], Tensor]
SMALL = 0.01  # standard deviation of the first linear maps, that of the authors' code


def normal(shape: Sequence[int], scale: float, like: Tensor, draw: Any) -> Tensor:
    """Draw numbers on the CPU in float64, so that float32 gets the same ones."""
    values = torch.empty(tuple(shape), dtype=torch.float64)
    return values.normal_(0.0, scale, generator=draw).to(like)


class Plain(nn.Module):
    """Weights that do not depend on ``h``: a network at one fixed schedule."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self._layers = list(layers)

    def forward(self, X: Tensor, move: Tensor, between: Between) -> Tensor:
        """Outputs; ``between(k, Z)`` follows every layer but the last."""
        for k, (weight, bias) in enumerate(self._layers):
            X = F.linear(X, weight, bias)
            if k + 1 < len(self._layers):
                X = between(k, X)
        return X

    def squared_norms(self, move: Tensor) -> list[Tensor]:
        """Squared length of each weight matrix, one entry per row of ``move``."""
        return [weight.square().sum()[None] for weight, _ in self._layers]


class Structured(nn.Module):
    """Layers ``W x + b + s(h) * (V x) + t(h) * c`` for linear ``s`` and ``t`` (eq. 13).

    ``W`` and ``V`` are the halves of one matrix, so that a layer is one product.
    """

    def __init__(self, layers: Layers, q: int, draw: torch.Generator) -> None:
        super().__init__()
        self.stacks, self.shifts = nn.ParameterList(), nn.ParameterList()
        self.widths = [len(bias) for _, bias in layers]
        for weight, bias in layers:
            spread = float(weight.detach().std(correction=0)) or 1.0
            second = normal(weight.shape, spread, weight, draw)
            stack = torch.cat([weight.detach(), second])
            shift = torch.stack([bias.detach(), torch.ones_like(bias)])
            self.stacks.append(nn.Parameter(stack))
            self.shifts.append(nn.Parameter(shift))
        maps = normal((2 * sum(self.widths), q), SMALL, layers[0][0], draw)
        self.maps = nn.Parameter(maps)

    def _scales(self, move: Tensor) -> list[tuple[Tensor, Tensor]]:
        """``s(h)`` and ``t(h)`` of every layer."""
        both = F.linear(move, self.maps).split([2 * w for w in self.widths], dim=1)
        return [
            (pair[:, :w], pair[:, w:])
            for pair, w in zip(both, self.widths, strict=True)
        ]

    def forward(self, X: Tensor, move: Tensor, between: Between) -> Tensor:
        """Outputs of each row under its own ``h``."""
        last = len(self.widths) - 1
        for k, (s, t) in enumerate(self._scales(move)):
            first, second = F.linear(X, self.stacks[k]).chunk(2, dim=1)
            bias, shift = self.shifts[k]
            X = first + bias + s * second + t * shift
            if k < last:
                X = between(k, X)
        return X

    def squared_norms(self, move: Tensor) -> list[Tensor]:
        """Squared length of each weight matrix, for each row's ``h``."""
        norms = []
        for (s, _), stack in zip(self._scales(move), self.stacks, strict=True):
            W, V = stack.chunk(2)
            own = W.square().sum()
            mixed, second = (W * V).sum(1), V.square().sum(1)
            norms.append(own + 2 * (s @ mixed) + s.square() @ second)
        return norms

    def layers(self, move: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the network at one ``h``."""
        result = []
        for k, (s, t) in enumerate(self._scales(move[None])):
            W, V = self.stacks[k].chunk(2)
            bias, shift = self.shifts[k]
            result.append((W + s[0][:, None] * V, bias + t[0] * shift))
        return result


class Hypernetwork(nn.Module):
    """All weights linear in ``h``: ``w = a + B h`` (Lorraine and Duvenaud, 2018)."""

    def __init__(self, layers: Layers, q: int, draw: torch.Generator) -> None:
        super().__init__()
        self.origins, self.slopes = nn.ParameterList(), nn.ParameterList()
        for weight, bias in layers:
            joined = torch.cat([weight.detach(), bias.detach()[:, None]], dim=1)
            self.origins.append(nn.Parameter(joined))
            # it starts without a slope: nothing is known of the response
            self.slopes.append(nn.Parameter(torch.zeros_like(joined).repeat(q, 1, 1)))

    def layers(self, move: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the network at one ``h``."""
        result = []
        for origin, slope in zip(self.origins, self.slopes, strict=True):
            joined = origin + torch.tensordot(move, slope, dims=1)
            result.append((joined[:, :-1], joined[:, -1]))
        return result

    def forward(self, X: Tensor, move: Tensor, between: Between) -> Tensor:
        """Outputs under the one ``h`` of the batch."""
        output: Tensor = Plain(self.layers(move[0]))(X, move, between)
        return output

    def squared_norms(self, move: Tensor) -> list[Tensor]:
        """Squared length of each weight matrix under the ``h`` of the batch."""
        return Plain(self.layers(move[0])).squared_norms(move)


RESPONSES: dict[str, Any] = {"structured": Structured, "hypernetwork": Hypernetwork}
