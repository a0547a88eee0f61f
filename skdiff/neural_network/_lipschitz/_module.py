"""Networks that cannot change faster than a bound: layers with a Cayley transform.

Wang and Manchester (2023), "Direct Parameterization of Lipschitz-Bounded Deep
Networks": every value of the free parameters gives a network within the bound, so
training needs no projection.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._base.progress import Progress
from skdiff._nn._data import TensorData
from skdiff._nn._fit import Limits, run_epochs
from skdiff._nn._modules import ACTIVATIONS, uniform
from skdiff._nn._net import Net

BOUNDS = (1.0, 2.0, 5.0)


def cayley(W: Tensor) -> Tensor:
    """Return a matrix of W's shape with orthonormal rows or columns (eq. 9).

    A tall ``[U; V]`` with square ``U`` and ``Z = U - U' + V'V`` goes to
    ``[(I + Z)^-1 (I - Z); -2 V (I + Z)^-1]``; a wide one is transposed twice.
    """
    rows, columns = W.shape
    if columns > rows:
        return cayley(W.T).T
    U, V = W[:columns], W[columns:]
    eye = torch.eye(columns, dtype=W.dtype, device=W.device)
    Z = U - U.T + V.T @ V
    # both blocks are right factors of (I + Z)^-1, which commutes with I - Z
    top_and_bottom = torch.cat([eye - Z, -2 * V])
    return torch.linalg.solve(eye + Z, top_and_bottom, left=False)


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
    """A multilayer perceptron with a Lipschitz constant of at most ``bound``."""

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
        self._blocks: list[tuple[Tensor, Tensor]] = []

    def train(self, mode: bool = True) -> "LipschitzMLP":
        """Forget the orthogonal blocks: the weights may have changed."""
        self._blocks = []
        return super().train(mode)

    def blocks(self) -> list[tuple[Tensor, Tensor]]:
        """Orthogonal blocks of all layers, computed once between two trainings."""
        if self.training or torch.is_grad_enabled():
            return [layer.orthogonal() for layer in self.layers]
        blocks = self._blocks or [layer.orthogonal() for layer in self.layers]
        self._blocks = blocks
        return blocks

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of outputs per row of X."""
        h = self.root * X
        for layer, (A, B) in zip(self.layers, self.blocks(), strict=True):
            if layer.last:
                return F.linear(self.root * h, B, layer.b)
            z = math.sqrt(2) * torch.exp(-layer.psi) * F.linear(h, B) + layer.b
            h = math.sqrt(2) * F.linear(torch.exp(layer.psi) * self.activation(z), A.T)
        raise AssertionError("the last layer returns")


class Chosen(NamedTuple):
    """A bound and the log loss that each candidate has reached."""

    bound: float
    losses: dict[float, float]


def choose_bound(
    net: Net,
    data: TensorData,
    rows: tuple[Tensor, Tensor],
    limits: Limits,
    deadline: float | None,
) -> Chosen:
    """Train shortly within each bound; take the lowest log loss of a validation set.

    The net is left as it was found, within the chosen bound.
    """
    start = {k: t.detach().clone() for k, t in net.module_.state_dict().items()}
    memory = net.optimizer_.get_memory()
    train, held = (TensorData(*data.select(part)) for part in rows)
    progress = Progress()
    progress.deadline = deadline
    losses = {}

    def restore(bound: float) -> None:
        with torch.no_grad():
            for name, tensor in net.module_.state_dict().items():
                tensor.copy_(start[name])
            net.module_.root.fill_(math.sqrt(bound))
        net.optimizer_.set_memory(memory)

    def score() -> float:
        net.module_.eval()
        target, weight = held.y[:2]
        with torch.no_grad():
            values = F.cross_entropy(net.module_(held.X), target, reduction="none")
        return -float((values if weight is None else values * weight).mean())

    callbacks, net.callbacks_ = net.callbacks_, []
    for bound in BOUNDS:
        restore(bound)
        run = run_epochs(net, train, limits, progress, score)
        losses[bound] = -max(run.validation_scores, default=-math.inf)
        if progress.ended == "interrupted":
            raise KeyboardInterrupt
    net.callbacks_ = callbacks
    del net.history[:]
    best = min(losses, key=lambda bound: losses[bound])
    restore(best)
    return Chosen(best, losses)
