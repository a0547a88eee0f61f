"""The final training: a net whose step size is given for each epoch."""

from collections.abc import Callable
from functools import cache
from typing import Any

from skdiff._nn._data import TensorData


class Rated:
    """Sets the step size before each epoch; goes in front of a class of nets."""

    _rate: Callable[[int], float] | None = None
    _epoch: int = 0

    def follow(self, rate: Callable[[int], float]) -> None:
        """Take the step size ``rate(0)`` in the next epoch, then ``rate(1)``."""
        self._rate, self._epoch = rate, 0

    def run_epoch(self: Any, data: TensorData) -> float:
        """Run one epoch at its rate."""
        if self._rate is not None:
            for group in self.optimizer_.param_groups:
                group["lr"] = self._rate(self._epoch)
        self._epoch += 1
        loss: float = super().run_epoch(data)  # type: ignore[misc]
        return loss


@cache
def rated(net_class: type) -> type:
    """The same class of nets with given step sizes."""
    return type(f"Rated{net_class.__name__}", (Rated, net_class), {})
