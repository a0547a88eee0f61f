"""The network: a table of vectors for all columns, and what it makes of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skdiff._base.tables import UNKNOWN
from skdiff._nn._modules import MLP, uniform

# which parts an interaction has: first-order terms, products, a multilayer perceptron
PARTS = {
    "mlp": ("deep",),
    "fm": ("first", "pairs"),
    "deepfm": ("first", "pairs", "deep"),
    "wide_deep": ("first", "deep"),
    "mf": ("first", "product"),
    "neumf": ("first", "product", "deep"),
}
# of the codes of a batch become those of an unknown category
UNKNOWN_RATE = 0.01
# standard deviation of a vector's entries at the start
FIRST_SPREAD = 0.1


@dataclass(frozen=True)
class Layout:
    """Columns of the rows that come in, and the number of outputs.

    The columns ``places`` hold codes; ``starts`` are their first rows in the table, one
    more than columns, and ``dims`` their numbers of dimensions.
    """

    n_in: int
    n_out: int
    places: tuple[int, ...]
    starts: tuple[int, ...]
    dims: tuple[int, ...]

    @property
    def numeric(self) -> list[int]:
        """Columns of numbers."""
        return [j for j in range(self.n_in) if j not in self.places]


@dataclass(frozen=True)
class Design:
    """What is made of the vectors, by the names of the estimator's parameters."""

    interaction: str = "mlp"
    hidden: tuple[int, ...] = (64, 32)
    activation: str = "relu"
    numeric: str = "passthrough"
    unknown_rate: float = UNKNOWN_RATE


def pairwise_products(vectors: Tensor) -> Tensor:
    """Sum of the products of all pairs of vectors, entry by entry.

    That is half of the square of the sum less the sum of the squares, so that the cost
    is linear in the number of vectors (Rendle, 2010).
    """
    return (vectors.sum(1).square() - vectors.square().sum(1)) / 2


class MixedNet(nn.Module):
    """Vectors of the categories, masked, and a prediction made of them.

    ``selection`` (blocks, dimensions) multiplies the vectors during the search only.
    """

    mask: Tensor
    block: Tensor

    def __init__(
        self,
        layout: Layout,
        design: Design,
        mask: Tensor,
        block: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.layout, self.design, self.generator = layout, design, generator
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("block", block, persistent=False)
        for name, values in (
            ("places", layout.places),
            ("starts", layout.starts[:-1]),
            ("numeric", layout.numeric),
        ):
            index = torch.tensor(values, dtype=torch.int64)
            self.register_buffer(name, index, persistent=False)
        self.selection: Tensor | None = None
        n, K = mask.shape
        self.table = uniform((n, K), math.sqrt(3) * FIRST_SPREAD, generator)
        self._parts(layout, design, K)

    def _parts(self, layout: Layout, design: Design, K: int) -> None:
        parts = PARTS[design.interaction]
        embedded = design.numeric == "embedding"
        n_numeric, n_out = len(layout.numeric), layout.n_out
        generator = self.generator
        if embedded and n_numeric:
            spread = math.sqrt(3) * FIRST_SPREAD
            self.numbers = uniform((n_numeric, K), spread, generator)
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float64))
        if "first" in parts:
            zeros = torch.zeros(len(self.table), n_out, dtype=torch.float64)
            self.first = nn.Parameter(zeros)
            zeros = torch.zeros(n_numeric, n_out, dtype=torch.float64)
            self.slopes = nn.Parameter(zeros)
        if ("pairs" in parts or "product" in parts) and n_out > 1:
            # one output has the plain mean or sum; several read it each in its own way
            self.reading = uniform((n_out, K), math.sqrt(3.0 / K), generator)
        if "deep" in parts:
            kept = [f * K + k for f, d in enumerate(layout.dims) for k in range(d)]
            index = torch.tensor(kept, dtype=torch.int64)
            self.register_buffer("inputs", index, persistent=False)
            width = len(kept) + n_numeric * (K if embedded else 1)
            sizes = [width, *design.hidden, n_out]
            self.deep = MLP(sizes, design.activation, generator)

    def searched(self) -> list[nn.Parameter]:
        """Return what moves during the search: vectors and first-order terms."""
        names = ("table", "numbers", "first", "slopes", "bias")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def _codes(self, X: Tensor) -> Tensor:
        """Rows of the table, one per column; some become unknown in training."""
        codes = X.index_select(1, self.places).long()
        if self.training and self.design.unknown_rate:
            drawn = torch.rand(codes.shape, generator=self.generator)
            forget = drawn < self.design.unknown_rate
            codes = codes.masked_fill(forget.to(codes.device), UNKNOWN)
        return codes + self.starts

    def vectors(self, rows: Tensor) -> Tensor:
        """Return the vectors of each row, (rows, columns, dimensions)."""
        flat = rows.reshape(-1)
        found = self.table.index_select(0, flat)
        found = found * self.mask.index_select(0, flat)
        if self.selection is not None:
            blocks = self.block.index_select(0, flat)
            found = found * self.selection.index_select(0, blocks)
        return found.view(*rows.shape, -1)

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of outputs a row of X."""
        rows = self._codes(X)
        numbers = X.index_select(1, self.numeric)
        vectors = self.vectors(rows)
        fields, extra = vectors, numbers
        if hasattr(self, "numbers"):
            embedded = numbers[:, :, None] * self.numbers
            fields, extra = torch.cat([vectors, embedded], 1), embedded.flatten(1)
        output = self.bias.expand(len(X), -1)
        parts = PARTS[self.design.interaction]
        if "first" in parts:
            terms = self.first.index_select(0, rows.reshape(-1))
            output = output + terms.view(*rows.shape, -1).sum(1)
            output = output + numbers @ self.slopes
        if "pairs" in parts:
            output = output + self._read(pairwise_products(fields), mean=True)
        if "product" in parts:
            output = output + self._read(vectors[:, 0] * vectors[:, 1], mean=False)
        if "deep" in parts:
            inputs = vectors.flatten(1).index_select(1, self.inputs)
            output = output + self.deep(torch.cat([inputs, extra], 1))
        return output

    def _read(self, products: Tensor, mean: bool) -> Tensor:
        """Turn products, entry by entry, into outputs."""
        if hasattr(self, "reading"):
            return products @ self.reading.t()
        summed = products.sum(1, keepdim=True)
        return summed / products.shape[1] if mean else summed

    def fold(self) -> Tensor:
        """Return the vectors times their selection, as a table."""
        values = self.table.detach() * self.mask
        if self.selection is None:
            return values
        return values * self.selection.detach()[self.block]


def build(
    layout: Layout,
    design: Design,
    mask: Tensor,
    block: Sequence[int],
    generator: torch.Generator,
) -> MixedNet:
    """Draw a network; the mask comes in the precision of the parameters."""
    blocks = torch.as_tensor(block, dtype=torch.int64)
    return MixedNet(layout, design, mask, blocks, generator)
