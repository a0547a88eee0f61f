"""Building blocks of networks, made from sizes alone: no module has seen data.

Parameters are drawn from the caller's generator. torch's own layers draw from the
global generator when they are constructed, and that one belongs to the user.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
}


def uniform(
    shape: Sequence[int], bound: float, generator: torch.Generator
) -> nn.Parameter:
    """Draw a parameter; always in float64, so that float32 gets the same start."""
    values = torch.empty(tuple(shape), dtype=torch.float64)
    values.uniform_(-bound, bound, generator=generator)
    return nn.Parameter(values)


class MLP(nn.Module):
    """A multilayer perceptron; without hidden layers a linear map.

    The start is scikit-learn's: Glorot and Bengio (2010), uniform, biases included.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        factor = 2.0 if activation == "logistic" else 6.0
        self.activation = ACTIVATIONS[activation]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for n_in, n_out in pairwise(sizes):
            bound = math.sqrt(factor / (n_in + n_out))
            self.weights.append(uniform((n_out, n_in), bound, generator))
            self.biases.append(uniform((n_out,), bound, generator))
        # the list access of ParameterList is slow in a hot loop
        self._layers: list[tuple[Tensor, Tensor]] = []

    def _apply(self, function, recurse=True):  # type: ignore[no-untyped-def]
        self._layers = []
        return super()._apply(function, recurse)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs of weight and bias."""
        if not self._layers:
            self._layers = list(zip(self.weights, self.biases, strict=True))
        return self._layers

    def hidden(self, X: Tensor) -> Tensor:
        """Return the last hidden layer: the learned features."""
        for weight, bias in self.layers()[:-1]:
            X = self.activation(F.linear(X, weight, bias))
        return X

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of outputs a row of X."""
        weight, bias = self.layers()[-1]
        return F.linear(self.hidden(X), weight, bias)


class Dropout(nn.Module):
    """Dropout that draws from its own generator.

    Keep probabilities lie on a grid of 1/256: a byte a cell is drawn, eight at a time.
    """

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        self.cut = round(256 * p)
        self.generator = generator

    def forward(self, X: Tensor) -> Tensor:
        """Drop cells in training, pass X on otherwise."""
        if not self.training or self.cut == 0:
            return X
        words = torch.empty(-(-X.numel() // 8), dtype=torch.int64)
        words.random_(-(2**63), None, generator=self.generator)
        keep = words.view(torch.uint8)[: X.numel()].view(X.shape) >= self.cut
        return X * keep.to(X.device, X.dtype).mul_(256 / (256 - self.cut))


class Embeddings(nn.Module):
    """One table of vectors per categorical column, for mixed embeddings."""

    def __init__(
        self,
        cardinalities: Sequence[int],
        sizes: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tables = nn.ParameterList(
            uniform((n, size), 1 / math.sqrt(size), generator)
            for n, size in zip(cardinalities, sizes, strict=True)
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Concatenate the vectors of each row's codes."""
        parts = [F.embedding(codes[:, k], t) for k, t in enumerate(self.tables)]
        return torch.cat(parts, dim=1)
