"""Networks that cannot change faster than a bound: layers with a Cayley transform.

Wang and Manchester (2023), "Direct Parameterization of Lipschitz-Bounded Deep
Networks": every value of the free parameters gives a network within the bound, so
training needs no projection.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._nn._modules import ACTIVATIONS, uniform
from skdiff._nn._net import Net
from skdiff._nn._plain import BACKWARD, PlainNet, cross_entropy, propagate, squares


def cayley(W: Tensor) -> Tensor:
    """Return a matrix of W's shape with orthonormal rows or columns (eq. 9).

    A wide ``[U, V]`` with square ``U`` and ``Z = U - U' + V V'`` goes to
    ``[(I + Z)^-1 (I - Z), -2 (I + Z)^-1 V]``; a tall one is transposed twice. The
    symmetric part of ``I + Z`` is at least ``I``, so its inverse always exists.
    """
    rows, columns = W.shape
    if columns < rows:
        return cayley(W.T).T
    U, V = W[:, :rows], W[:, rows:]
    eye = torch.eye(rows, dtype=W.dtype, device=W.device)
    inverse = torch.linalg.inv_ex(torch.addmm(eye + (U - U.T), V, V.T))[0]
    # (I + Z)^-1 (I - Z) = 2 (I + Z)^-1 - I
    return torch.cat([2 * inverse - eye, -2 * (inverse @ V)], dim=1)


class Sandwich(nn.Module):
    """One layer; the last one, without activation, is a map of norm at most one."""

    def __init__(
        self, n_in: int, n_out: int, last: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / (n_in + 2 * n_out))
        self.W = uniform((n_out, n_in + n_out), bound, generator)
        self.b = uniform((n_out,), bound, generator)
        self.n_out = n_out
        self.last = last
        with torch.no_grad():
            norm = torch.linalg.norm(self.W)
        self.a = nn.Parameter(norm.clone())
        if not last:
            self.psi = nn.Parameter(torch.zeros(n_out, dtype=torch.float64))

    def orthogonal(self) -> tuple[Tensor, Tensor]:
        """Return ``A`` and ``B`` with ``A A' + B B' = I`` (eq. 8)."""
        W = self.W
        Q = cayley(self.a * W / torch.linalg.norm(W).clamp(min=1e-30))
        return Q[:, : self.n_out], Q[:, self.n_out :]


class LipschitzMLP(nn.Module):
    """A multilayer perceptron with a Lipschitz constant of at most ``bound``.

    Between two activations stand the ``A'`` of one layer and the ``B`` of the next:
    their product is one matrix, so the rows pass through a standard network, and all
    that the bound costs is independent of their number.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        bound: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        root = torch.tensor(math.sqrt(bound), dtype=torch.float64)
        self.register_buffer("root", root)
        pairs = list(pairwise(sizes))
        self.layers = nn.ModuleList(
            Sandwich(n_in, n_out, k == len(pairs) - 1, generator)
            for k, (n_in, n_out) in enumerate(pairs)
        )
        self._kept: list[tuple[Tensor, Tensor]] = []

    def train(self, mode: bool = True) -> "LipschitzMLP":
        """Forget the matrices: the weights may have changed."""
        self._kept = []
        return super().train(mode)

    def matrices(self) -> list[tuple[Tensor, Tensor]]:
        """Matrix and bias of each layer, computed once between two trainings."""
        if self.training or torch.is_grad_enabled():
            return self._merged()
        kept = self._kept or self._merged()
        self._kept = kept
        return kept

    def _merged(self) -> list[tuple[Tensor, Tensor]]:
        """Products of what stands between two activations (eq. 10)."""
        merged, before = [], None
        for layer in self.layers:
            A, B = layer.orthogonal()
            W = self.root * B if before is None else B @ before
            if layer.last:
                merged.append((self.root * W, layer.b))
                break
            stretch = torch.exp(layer.psi)
            merged.append((W * (math.sqrt(2) / stretch)[:, None], layer.b))
            before = A.T * (math.sqrt(2) * stretch)
        return merged

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of outputs per row of X."""
        *hidden, (W, b) = self.matrices()
        for weight, bias in hidden:
            X = self.activation(F.linear(X, weight, bias))
        return F.linear(X, W, b)


class BoundedNet(PlainNet):
    """Trains the free weights: by hand to the matrices, by autograd behind them."""

    def gradient(self, batch: Any, **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch to those of the parameters."""
        self.optimizer_.zero_grad()
        module = self.module_
        layers = module.matrices()
        into = [(torch.empty_like(W), b.grad) for W, b in layers]
        loss, output = propagate(
            layers, module.activation, batch, type(self).loss, into
        )
        torch.autograd.backward([W for W, _ in layers], [g for g, _ in into])
        return loss, output


class BoundedCrossEntropyNet(BoundedNet):
    """Trains a classifier."""

    loss = staticmethod(cross_entropy)


class BoundedSquaresNet(BoundedNet):
    """Trains a regressor."""

    loss = staticmethod(squares)


def bounded_net_class(module: LipschitzMLP, loss: str | None) -> type[Net]:
    """Return the class that trains this module on this loss, by hand if it can."""
    if module.activation not in BACKWARD:
        return Net
    by_hand: dict[str | None, type[Net]] = {
        "cross_entropy": BoundedCrossEntropyNet,
        "squares": BoundedSquaresNet,
    }
    return by_hand.get(loss, Net)
