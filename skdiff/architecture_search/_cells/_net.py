"""The final training: a net whose learning rate falls along the schedule."""

from functools import cache
from typing import Any

from skdiff._nn._data import TensorData
from skdiff.architecture_search._cells._training import rate_of


class Scheduled:
    """Sets the learning rate before each epoch; goes in front of a class of nets."""

    power: float | None = None
    horizon: int = 1
    _epoch: int = 0
    _first_rate: float | None = None

    def schedule(self, power: float | None, horizon: int) -> None:
        """Let the rate fall over the next ``horizon`` epochs."""
        self.power, self.horizon, self._epoch = power, horizon, 0

    def run_epoch(self: Any, data: TensorData) -> float:
        """Run one epoch at its rate."""
        groups = self.optimizer_.param_groups
        if self._first_rate is None:
            self._first_rate = groups[0]["lr"]
        epoch = min(self._epoch, self.horizon - 1)
        for group in groups:
            group["lr"] = rate_of(epoch, self.horizon, self._first_rate, self.power)
        self._epoch += 1
        loss: float = super().run_epoch(data)  # type: ignore[misc]
        return loss


@cache
def scheduled(net_class: type) -> type:
    """The same class of nets with a falling learning rate."""
    return type(f"Scheduled{net_class.__name__}", (Scheduled, net_class), {})
