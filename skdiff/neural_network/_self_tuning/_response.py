"""Approximate best responses: weights of a network as a function of ``h``.

``move`` is always the distance of ``h`` from where tuning started, so that the network
at the start is the standard one, whatever the response. It has one row per row of X,
or a single row for all. ``span`` holds the lowest and the highest move.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff.neural_network._self_tuning._plan import WIDTH

Layers = Sequence[tuple[Tensor, Tensor]]
Between = Callable[[int, Tensor], Tensor]
SMALL = 0.01  # standard deviation of the first linear maps, that of the authors' code
STEEP = 5.0  # first slope of the hidden units of a global hypernetwork


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
        """Squared length of each weight matrix."""
        return [weight.square().sum()[None, None] for weight, _ in self._layers]

    def column_norms(self, move: Tensor) -> Tensor:
        """Squared length of each column of the first matrix."""
        return self._layers[0][0].square().sum(0)[None]


class Structured(nn.Module):
    """Layers ``W x + b + s(h) * (V x) + t(h) * c`` for linear ``s`` and ``t`` (eq. 13).

    ``W`` and ``V`` are the halves of one matrix, so that a layer is one product.
    """

    def __init__(self, layers: Layers, span: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        q = span.shape[1]
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
            norms.append((own + 2 * (s @ mixed) + s.square() @ second)[:, None])
        return norms

    def column_norms(self, move: Tensor) -> Tensor:
        """Squared length of each column of the first matrix, for each row's ``h``."""
        s, _ = self._scales(move)[0]
        W, V = self.stacks[0].chunk(2)
        return W.square().sum(0) + 2 * s @ (W * V) + s.square() @ V.square()

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

    def __init__(self, layers: Layers, span: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        self.origins, self.slopes = nn.ParameterList(), nn.ParameterList()
        k = self._n_features(span)
        for weight, bias in layers:
            joined = torch.cat([weight.detach(), bias.detach()[:, None]], dim=1)
            self.origins.append(nn.Parameter(joined))
            # it starts without a slope: nothing is known of the response
            self.slopes.append(nn.Parameter(torch.zeros_like(joined).repeat(k, 1, 1)))

    def _n_features(self, span: Tensor) -> int:
        return span.shape[1]

    def features(self, move: Tensor) -> Tensor:
        """What the weights are linear in, one row per row of ``move``."""
        return move

    def layers(self, move: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of the network at one ``h``."""
        result = []
        features = self.features(move[None])[0]
        for origin, slope in zip(self.origins, self.slopes, strict=True):
            joined = origin + torch.tensordot(features, slope, dims=1)
            result.append((joined[:, :-1], joined[:, -1]))
        return result

    def forward(self, X: Tensor, move: Tensor, between: Between) -> Tensor:
        """Outputs of each row under its own ``h``."""
        features = self.features(move)[:, :, None]
        last = len(self.origins) - 1
        for k, (origin, slope) in enumerate(
            zip(self.origins, self.slopes, strict=True)
        ):
            X = torch.cat([X, torch.ones_like(X[:, :1])], dim=1)
            parts = F.linear(X, slope.flatten(0, 1)).unflatten(1, slope.shape[:2])
            X = F.linear(X, origin) + (features * parts).sum(1)
            if k < last:
                X = between(k, X)
        return X

    def squared_norms(self, move: Tensor) -> list[Tensor]:
        """Squared length of each weight matrix, for each row's ``h``."""
        features = self.features(move)
        norms = []
        for origin, slope in zip(self.origins, self.slopes, strict=True):
            own, others = origin[:, :-1].flatten(), slope[:, :, :-1].flatten(1)
            mixed, gram = others @ own, others @ others.T
            quadratic = ((features @ gram) * features).sum(1)
            norms.append((own @ own + 2 * (features @ mixed) + quadratic)[:, None])
        return norms

    def column_norms(self, move: Tensor) -> Tensor:
        """Squared length of each column of the first matrix, for each row's ``h``."""
        slope = self.slopes[0][:, :, :-1]
        weights = torch.tensordot(self.features(move), slope, dims=1)
        return (weights + self.origins[0][:, :-1]).square().sum(1)


class GlobalHypernetwork(Hypernetwork):
    """All weights by a network of two layers in ``h``, for the whole box of ``h``."""

    def __init__(self, layers: Layers, span: Tensor, draw: torch.Generator) -> None:
        super().__init__(layers, span, draw)
        low, high = span
        self.register_buffer("middle", (low + high) / 2)
        self.register_buffer("radius", (high - low) / 2)
        # steep enough to turn within the box, and turning all over it
        directions = normal((WIDTH, len(low)), 1.0, span, draw)
        directions = STEEP * directions / directions.norm(dim=1, keepdim=True)
        orders = [torch.randperm(WIDTH, generator=draw) for _ in low]
        turns = (2 * torch.stack(orders, dim=1) + 1) / WIDTH - 1
        self.directions = nn.Parameter(directions)
        self.offsets = nn.Parameter(-(directions * turns.to(span)).sum(1))

    def _n_features(self, span: Tensor) -> int:
        return WIDTH

    def features(self, move: Tensor) -> Tensor:
        """The units of the hidden layer."""
        place = (move - self.middle) / self.radius
        return torch.tanh(F.linear(place, self.directions, self.offsets))


RESPONSES: dict[str, Any] = {
    "structured": Structured,
    "hypernetwork": Hypernetwork,
    "global_hypernetwork": GlobalHypernetwork,
}
