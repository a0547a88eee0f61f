"""What the two search spaces have in common: edges, mixing weights, a supernet.

A supernet holds the weights of every operation on every edge. Its parameters are a list
of tensors whose first axis runs over networks that are trained side by side
(``n_restarts``), and ``forward`` is a pure function of them, so that a virtual step
needs no copy of a module. Mixing weights come as one tensor of shape (networks,
operations) for each edge; where networks share weights (one network, several mixtures)
the first axis runs over mixtures.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skdiff._base.typing import BoolArray, FloatArray
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes, Stem, matrices
from skdiff.architecture_search._cells._operations import (
    OPERATIONS,
    Operation,
    normalised,
)

Mix = Sequence[Tensor]
START = 1e-3  # spread of the architecture parameters at the start


class Space(ABC):
    """Edges and operations; the subclass knows how they are wired.

    Parameters
    ----------
    sizes : Sizes
        Columns that come in and outputs.
    names : sequence of str
        Operations of an edge.
    """

    edges: list[tuple[int, int]]
    #: in which a supernet is trained, by default that of the rows
    dtype: torch.dtype | None = None

    def __init__(self, sizes: Sizes, names: Sequence[str]) -> None:
        self.sizes = sizes
        self.names = tuple(names)
        self.operations = [OPERATIONS[name] for name in names]
        # zero adds nothing to the sum of a node: it only takes weight from the others
        self.live = [k for k, name in enumerate(names) if name != "zero"]
        self.pieces = sum(o.pieces for o in self.operations)
        self.stem = Stem(sizes)

    # --- wiring -----------------------------------------------------------------------

    @abstractmethod
    def parameters(self, n: int, generator: torch.Generator) -> list[nn.Parameter]:
        """Draw the weights of ``n`` supernets."""

    @abstractmethod
    def forward(self, parameters: Sequence[Tensor], X: Tensor, mix: Mix) -> Tensor:
        """Return outputs of shape (networks, rows, outputs)."""

    @abstractmethod
    def allowed(self) -> BoolArray:
        """Tell which operation is possible on which edge: (edges, operations)."""

    @abstractmethod
    def contest(self, alpha: Tensor) -> Tensor:
        """Arrange the last two axes as contests, one per row of the last axis."""

    @abstractmethod
    def discretise(self, scores: FloatArray) -> Architecture:
        """Return the architecture of the largest scores of shape (edges, operations).

        Entries that are not possible, and ``"zero"``, are not looked at.
        """

    @abstractmethod
    def labels(self) -> list[str]:
        """Name the edges."""

    # --- mixing weights ---------------------------------------------------------------

    def start(self, n: int, generator: torch.Generator) -> nn.Parameter:
        """Draw architecture parameters of ``n`` networks, nearly zero."""
        shape = (n, len(self.edges), len(self.names))
        values = torch.randn(shape, dtype=torch.float64, generator=generator)
        return nn.Parameter(START * values)

    def weights(self, alpha: Tensor, weighting: str = "softmax") -> Tensor:
        """Mixing weights of shape (networks, edges, operations).

        With ``"max_w"`` (sharpDARTS) the leader has weight one and the others their
        distance to it: ``1 - max(a) + a``. The maximum is differentiated, so that the
        leader does not gain from leading.
        """
        possible = torch.from_numpy(self.allowed()).to(alpha.device)
        masked = alpha.masked_fill(~possible, -math.inf)
        a = torch.softmax(self.contest(masked), dim=-1)
        if weighting == "max_w":
            a = 1 - a.amax(dim=-1, keepdim=True) + a
        return torch.where(possible, a.reshape(alpha.shape), 0.0)

    def mix(self, alpha: Tensor, weighting: str = "softmax") -> list[Tensor]:
        """Mixing weights as the supernet takes them."""
        return self.split(self.weights(alpha, weighting))

    def split(self, weights: Tensor) -> list[Tensor]:
        """Cut weights of shape (networks, edges, operations) by edge; drop zero."""
        return list(weights[:, :, self.live].unbind(1))

    # --- operations -------------------------------------------------------------------

    def outputs(
        self, h: Tensor, Z: Tensor, second: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Return normalised outputs of the live operations.

        ``h`` has the shape (networks, rows, targets, n_in) and ``Z``, the linear maps,
        (networks, rows, targets, pieces, n_out); the result is (networks, rows,
        targets, operations, n_out).
        """
        found, start = [], 0
        for k in self.live:
            operation = self.operations[k]
            z = [Z[..., start + i, :] for i in range(operation.pieces)]
            start += operation.pieces
            out = operation.function(h, z)
            if operation.second:
                assert second is not None
                out = h + _per_target(out, *second)
            found.append(out)
        return normalised(torch.stack(found, dim=3))

    @property
    def seconds(self) -> list[Operation]:
        """Operations with a second linear map."""
        return [o for o in self.operations if o.second]

    def head(
        self, n: int, width: int, generator: torch.Generator
    ) -> list[nn.Parameter]:
        """Draw the output layer."""
        out = self.sizes.n_out
        return [
            matrices(n, width, out, generator),
            nn.Parameter(torch.zeros(n * out, dtype=torch.float64)),
        ]


def _per_target(h: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """Apply one linear map per target: ``W`` is (networks, targets, n_in, n_out)."""
    n, targets = W.shape[:2]
    out = torch.einsum("gbti,gtio->gbto", h.expand(-1, -1, targets, -1), W)
    return out + b.view(n, 1, targets, -1)


def mixed(outputs: Tensor, weights: Tensor) -> Tensor:
    """Sum the outputs of the operations, (networks, rows, operations, n_out)."""
    return (outputs * weights[:, None, :, None]).sum(2)
