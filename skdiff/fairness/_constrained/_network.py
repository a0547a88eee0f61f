"""The Lagrangian of a network's batch, and its multipliers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from skdiff._nn._data import TensorData
from skdiff.fairness._constrained._terms import Term


class Units(NamedTuple):
    """From outputs of the network to what constraints speak of."""

    classifier: bool
    scale: float
    shift: float
    temperature: float


def margin(output: Tensor, units: Units) -> Tensor:
    """Log odds of the second class, or predictions in the units of y."""
    if not units.classifier:
        return output[:, 0] * units.scale + units.shift
    return output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]


class Lagrangian:
    """A loss of batches with ``sum_j lam_j L_j`` added, estimated without bias.

    Multipliers belong to the loss in the units of y: ``(y - f)^2`` of a regressor.
    ``attach`` puts it into a net that is about to train: the rows of a batch bring the
    weights of the constraints with them, times the number of rows.
    """

    def __init__(self, terms: Sequence[Term], units: Units) -> None:
        self.terms, self.units = list(terms), units
        # a network minimises half the squares of standardised targets
        self.share = 1.0 if units.classifier else 1.0 / (2.0 * units.scale**2)
        self.multipliers = np.zeros(len(terms))
        self.batch_loss: Callable[..., Tensor] | None = None
        self.used = False

    def attach(self, net: Any, data: TensorData) -> TensorData:
        """Add the weights to the data and the terms to the loss."""
        current = net.criterion_.batch_loss
        if not isinstance(current, Lagrangian):
            self.batch_loss = current
        net.criterion_.batch_loss = self
        n = len(data)
        weights = np.array([t.weights for t in self.terms]).T * n
        columns = torch.from_numpy(np.ascontiguousarray(weights))
        return TensorData(data.X, (*data.y, columns.to(data.X)))

    def __call__(self, output: Tensor, target: Tensor, *rest: Any) -> Tensor:
        """Return the loss of a batch; the last argument holds the weights."""
        *others, columns = rest
        assert self.batch_loss is not None
        self.used = True
        loss = self.batch_loss(output, target, *others)
        for j in np.flatnonzero(self.multipliers):
            values = self.values(self.terms[j], output, target)
            multiplier = float(self.multipliers[j]) * self.share
            loss = loss + multiplier * (columns[:, j] * values).mean()
        return loss

    def values(self, term: Term, output: Tensor, target: Tensor) -> Tensor:
        """The losses of one term."""
        units = self.units
        if term.kind == "loss" and units.classifier:
            if output.shape[1] > 1:
                return F.cross_entropy(output, target, reduction="none")
            f = output[:, 0]
            return F.softplus(f) - target.to(f) * f
        f = margin(output, units)
        y = target.to(f) if units.classifier else margin(target, units)
        if term.kind == "loss":
            return (y - f) ** 2
        if term.kind == "custom":
            found: Tensor = term.row_loss(f, y)
            return found
        if term.kind == "score":
            return f
        return torch.sigmoid(f / (units.temperature if term.kind == "rate" else 1.0))
