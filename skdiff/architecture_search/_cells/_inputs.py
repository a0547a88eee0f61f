"""From rows of a table to the first state of a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skdiff._base.tables import UNKNOWN
from skdiff._nn._modules import uniform
from skdiff.architecture_search._cells._operations import linear


@dataclass(frozen=True)
class Sizes:
    """Columns of the rows that come in, and the number of outputs.

    The columns ``categorical`` hold codes below their ``cardinalities``.
    """

    n_in: int
    n_out: int
    categorical: tuple[int, ...] = ()
    cardinalities: tuple[int, ...] = ()

    @property
    def numeric(self) -> list[int]:
        """Columns of numbers."""
        return [j for j in range(self.n_in) if j not in self.categorical]

    @property
    def n_categories(self) -> int:
        """Codes of all columns together."""
        return sum(self.cardinalities)


def matrices(n: int, n_in: int, n_out: int, generator: torch.Generator) -> nn.Parameter:
    """Draw the linear maps of ``n`` networks (Glorot and Bengio, 2010)."""
    bound = math.sqrt(6.0 / max(n_in + n_out, 1))
    return uniform((n, n_in, n_out), bound, generator)


def zeros(size: int) -> nn.Parameter:
    """Biases: a flat parameter, which has no decay."""
    return nn.Parameter(torch.zeros(size, dtype=torch.float64))


class Stem:
    """The first linear map: of the numbers, plus one vector per category.

    That is what one-hot columns would give. A category not seen in fit adds nothing.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        starts = torch.tensor([0, *sizes.cardinalities[:-1]]).cumsum(0)
        self.starts = starts if sizes.categorical else None
        self.columns = torch.tensor(sizes.categorical, dtype=torch.int64)
        self.numeric = torch.tensor(sizes.numeric, dtype=torch.int64)

    def parameters(
        self, n: int, width: int, generator: torch.Generator
    ) -> list[nn.Parameter]:
        """Draw weights, biases and, with categories, one table of vectors."""
        W = matrices(n, len(self.numeric), width, generator)
        if self.starts is None:
            return [W, zeros(n * width)]
        total = self.sizes.n_categories
        bound = 1 / math.sqrt(len(self.columns))
        table = uniform((n, total, width), bound, generator)
        with torch.no_grad():
            table[:, self.starts + UNKNOWN] = 0.0
        return [W, zeros(n * width), table]

    def __call__(self, X: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Return the state of each network, of shape (networks, rows, width)."""
        W, b, *tables = parameters
        if self.starts is None:
            return linear(X, W, b)
        (table,) = tables
        device = X.device
        z = linear(X.index_select(1, self.numeric.to(device)), W, b)
        codes = X.index_select(1, self.columns.to(device)).long()
        codes = (codes + self.starts.to(device)).reshape(-1)
        vectors = table.index_select(1, codes)
        return z + vectors.view(len(table), len(X), len(self.columns), -1).sum(2)
