"""Tables in memory as torch tensors, and batches of them without a DataLoader.

A stock DataLoader fetches rows one at a time and collates them, which costs more than
the arithmetic of a small network. Here a batch is one ``index_select``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

Nested = Any  # a tensor, or tuples and dicts of tensors that share the first axis


def map_nested(function: Callable[[Tensor], Tensor], data: Nested) -> Nested:
    """Apply a function to every tensor of a nested structure; None stays None."""
    if data is None:
        return None
    if isinstance(data, tuple):
        return tuple(map_nested(function, part) for part in data)
    if isinstance(data, dict):
        return {key: map_nested(function, part) for key, part in data.items()}
    return function(data)


def first_tensor(data: Nested) -> Tensor:
    """Return one tensor of a nested structure, to read its length or device."""
    while not isinstance(data, Tensor):
        data = next(iter(data.values())) if isinstance(data, dict) else data[0]
    return data


def as_tensor(array: np.ndarray, device: str = "cpu") -> Tensor:
    """Wrap an array without a copy where torch allows it."""
    array = np.ascontiguousarray(array)
    if not array.flags.writeable:  # joblib hands out read-only maps; torch warns
        array = array.copy()
    return torch.from_numpy(array).to(device)


class TensorData:
    """Inputs and targets: tensors, or tuples and dicts that share the first axis."""

    def __init__(self, X: Nested, y: Nested) -> None:
        self.X = X
        self.y = y

    def __len__(self) -> int:
        return len(first_tensor(self.X))

    def __getitem__(self, rows: Any) -> tuple[Nested, Nested]:
        return (
            map_nested(lambda t: t[rows], self.X),
            map_nested(lambda t: t[rows], self.y),
        )

    def select(self, rows: Tensor) -> tuple[Nested, Nested]:
        """Gather the rows of a batch."""
        return (
            map_nested(lambda t: t.index_select(0, rows), self.X),
            map_nested(lambda t: t.index_select(0, rows), self.y),
        )


def as_tensors(
    X: np.ndarray, target: np.ndarray, weight: np.ndarray | None, device: str
) -> TensorData:
    """Return inputs and the pair of targets and weights that a net trains on."""
    weights = None if weight is None else as_tensor(weight, device)
    return TensorData(as_tensor(X, device), (as_tensor(target, device), weights))


class TensorIterator:
    """Batches of a :class:`TensorData`, in a fresh random order each epoch.

    A batch that holds all rows is the data itself: nothing is copied and nothing is
    drawn, so that a row of weight two and the same row twice take the same path.
    With ``strata`` (codes of the rows) each batch holds every stratum in proportion.
    """

    def __init__(
        self,
        data: TensorData,
        batch_size: int,
        generator: torch.Generator | None = None,
        strata: Tensor | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.generator = generator
        self.strata = strata

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Nested, Nested]]:
        for rows in self.rows():
            yield (
                (self.data.X, self.data.y) if rows is None else self.data.select(rows)
            )

    def rows(self) -> Iterator[Tensor | None]:
        """Rows of each batch; None for all of them in their own order."""
        n = len(self.data)
        if self.batch_size >= n:
            yield None
            return
        device = first_tensor(self.data.X).device
        order = self._order(n).to(device)
        for start in range(0, n, self.batch_size):
            yield order[start : start + self.batch_size]

    def _order(self, n: int) -> Tensor:
        if self.generator is None:
            return torch.arange(n)
        order = torch.randperm(n, generator=self.generator)
        if self.strata is None:
            return order
        # spread the shuffled rows of each stratum evenly over the epoch
        place = torch.empty(n, dtype=torch.float64)
        codes = self.strata[order]
        for code in torch.unique(codes):
            rows = torch.nonzero(codes == code)[:, 0]
            start = torch.rand((), generator=self.generator, dtype=torch.float64)
            ranks = torch.arange(len(rows), dtype=torch.float64)
            place[rows] = (ranks + start) / len(rows)
        return order[torch.argsort(place)]
