"""The final training: a net whose step sizes are given, one per epoch."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from skdiff._nn._data import TensorData


class Rated:
    """Sets the step size before each epoch; goes in front of a class of nets."""

    rates: Sequence[float] = ()
    _epoch: int = 0

    def run_epoch(self: Any, data: TensorData) -> float:
        """Run one epoch at its rate."""
        if self._epoch < len(self.rates):
            for group in self.optimizer_.param_groups:
                group["lr"] = self.rates[self._epoch]
        self._epoch += 1
        loss: float = super().run_epoch(data)  # type: ignore[misc]
        return loss


@cache
def rated(net_class: type) -> type:
    """The same class of nets with given step sizes."""
    return type(f"Rated{net_class.__name__}", (Rated, net_class), {})
