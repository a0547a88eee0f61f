"""Training of networks that are compared, side by side and on equal terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.progress import Progress
from skdiff._base.typing import FloatArray
from skdiff._nn._data import TensorData, TensorIterator
from skdiff._nn._optim import OPTIMIZERS
from skdiff.architecture_search._cells._schedule import cosine_power

RowLoss = Callable[[Tensor, Tensor], Tensor]
EVALUATION_ROWS = 1024
LOWEST_RATE = 0.01  # last learning rate, as a fraction of the first


@dataclass(frozen=True)
class Training:
    """How networks are trained, by the names of the estimator's parameters.

    ``power`` is None for a constant learning rate. ``row_loss(output, target)`` is the
    loss of each row.
    """

    row_loss: RowLoss
    learning_rate: float
    power: float | None
    batch_size: int
    solver: str = "adam"
    momentum: float = 0.9
    alpha: float = 0.0

    def rate(self, epoch: int, epochs: int) -> float:
        """Learning rate of an epoch."""
        return rate_of(epoch, epochs, self.learning_rate, self.power)

    def optimizer(self, parameters: Sequence[Tensor]) -> Any:
        """Return a new optimiser."""
        how: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.alpha}
        if self.solver == "sgd":
            how["momentum"] = self.momentum
        return OPTIMIZERS[self.solver](parameters, **how)


def rate_of(epoch: int, epochs: int, highest: float, power: float | None) -> float:
    """Learning rate of an epoch, constant without a power."""
    if power is None:
        return highest
    rate: float = cosine_power(
        epoch, epochs, lr_max=highest, lr_min=LOWEST_RATE * highest, power=power
    )
    return rate


def losses(row_loss: RowLoss, output: Tensor, target: Any) -> Tensor:
    """Mean loss of each network; ``target`` is a pair of targets and weights.

    Weights have mean one over the table; one network may come without its axis.
    """
    y, weight = target
    output = output if output.ndim == 3 else output[None]
    n = len(output)
    copies = y.repeat(n, *[1] * (y.ndim - 1))
    rows = row_loss(output.flatten(0, 1), copies).view(n, -1)
    return rows.mean(dim=1) if weight is None else (rows * weight).mean(dim=1)


def evaluate(
    forward: Callable[[Tensor], Tensor],
    data: TensorData,
    row_loss: RowLoss,
    at_once: int = EVALUATION_ROWS,
) -> FloatArray:
    """Weighted mean loss of each network on all rows, ``at_once`` of them at a time."""
    total: Any = 0.0
    mass = 0.0
    with torch.no_grad():
        for X, (y, weight) in TensorIterator(data, at_once):
            part = losses(row_loss, forward(X), (y, weight))
            total = total + part * len(X)
            mass += float(len(X) if weight is None else weight.sum())
    found: FloatArray = (total / mass).double().cpu().numpy()
    # a network that diverged is the worst
    return np.where(np.isfinite(found), found, np.inf)


def train(
    module: nn.Module,
    data: TensorData,
    epochs: int,
    how: Training,
    generator: torch.Generator,
    progress: Progress,
    held: TensorData | None = None,
) -> FloatArray:
    """Train networks; return losses of the held-out rows, one row per epoch.

    The losses of all networks are added up: none of them sees another, since the
    optimisers act on each entry alone.
    """
    optimizer = how.optimizer(list(module.parameters()))
    curve = []
    for epoch in progress.iterations(epochs):
        optimizer.param_groups[0]["lr"] = how.rate(epoch, epochs)
        for X, target in TensorIterator(data, how.batch_size, generator):
            optimizer.zero_grad()
            losses(how.row_loss, module(X), target).sum().backward()
            optimizer.step()
        if held is not None:
            curve.append(evaluate(module, held, how.row_loss))
        if progress.is_over():
            break
    optimizer.release()
    return np.array(curve)
