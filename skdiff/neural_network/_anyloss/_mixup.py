"""Mixup (Zhang, Cisse, Dauphin and Lopez-Paz, 2018) for any loss of a batch.

A mixed row ``u x_i + (1 - u) x_j`` with the target ``u e_i + (1 - u) e_j`` has the same
cross-entropy as two rows at that place, of class ``y_i`` with weight ``u w_i`` and of
class ``y_j`` with weight ``(1 - u) w_j``. So written, it enters a confusion matrix too.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdiff._nn._data import Nested, TensorIterator


class Partners(NamedTuple):
    """Targets, weights (and groups) of the partners, and the weight of each row."""

    share: Tensor
    target: tuple[Any, ...]


class MixupIterator(TensorIterator):
    """Batches whose rows are mixed in pairs.

    The two rows of a pair share ``u``, which each gives to itself. So the mean of the
    mixed targets, weighted or not, is exactly that of the targets.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        generator: torch.Generator | None,
        strata: Tensor | None,
        alpha: float,
    ) -> None:
        super().__init__(data, batch_size, generator, strata)
        self.alpha = alpha

    def __iter__(self) -> Iterator[tuple[Nested, Nested]]:
        seed = torch.randint(2**62, (), generator=self.generator)
        rng = np.random.default_rng(int(seed))
        for rows in self.rows():
            X, y = (
                (self.data.X, self.data.y) if rows is None else self.data.select(rows)
            )
            partner, drawn = pairs(len(X), self.alpha, rng)
            other = tuple(
                None if t is None else t[torch.from_numpy(partner)] for t in y
            )
            share = torch.from_numpy(drawn).to(X)
            column = share[:, None]
            mixed = column * X + (1 - column) * X[torch.from_numpy(partner)]
            yield mixed, (*y, Partners(share, other))


def pairs(n: int, alpha: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """The partner of each row, at random, and the share that a row gives to itself.

    The last of an odd number of rows is its own partner.
    """
    order = rng.permutation(n)
    half = n // 2
    partner = np.arange(n)
    first, second = order[:half], order[half : 2 * half]
    partner[first], partner[second] = second, first
    share = np.ones(n)
    share[first] = share[second] = rng.beta(alpha, alpha, half)
    return partner, share


def doubled(y: tuple[Any, ...]) -> tuple[Any, ...]:
    """Targets, weights and groups of the rows and then of their partners."""
    *own, (share, other) = y
    target, weight, *rest = own
    other_target, other_weight, *other_rest = other
    shares = torch.cat([share, 1 - share])
    if weight is not None:
        shares = shares * torch.cat([weight, other_weight])
    groups = [torch.cat(both) for both in zip(rest, other_rest, strict=True)]
    return torch.cat([target, other_target]), shares, *groups
