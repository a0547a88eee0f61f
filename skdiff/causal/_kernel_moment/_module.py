"""A torch module as a model with a flat vector of parameters."""

import copy
from typing import Any

import numpy as np

from skdiff._base.typing import Array


class ModuleModel:
    """Residuals ``(y - module(X)) / scale`` on fixed rows, in double precision."""

    def __init__(
        self, module: Any, X: Array, y: Array, scale: float, alpha: float
    ) -> None:
        import torch

        self.alpha = alpha
        self.module = copy.deepcopy(module).double()
        self.module.eval()
        self._X, self._y = torch.as_tensor(X), torch.as_tensor(y)
        self._scale = scale
        self._parameters = [p for p in self.module.parameters() if p.requires_grad]

    def start(self) -> Array:
        """Return the parameters of the module."""
        parts = [p.detach().numpy().ravel() for p in self._parameters]
        return np.concatenate(parts).astype(np.float64)

    def set(self, theta: Array) -> None:
        """Write the parameters into the module."""
        import torch

        start = 0
        with torch.no_grad():
            for p in self._parameters:
                stop = start + p.numel()
                part = torch.as_tensor(theta[start:stop].copy())
                p.copy_(part.reshape(p.shape))
                start = stop

    def _psi(self, theta: Array) -> Any:
        self.set(theta)
        return (self._y - self.module(self._X).reshape(-1)) / self._scale

    def residuals(self, theta: Array) -> Array:
        """Residuals of the rows."""
        import torch

        with torch.no_grad():
            return np.asarray(self._psi(theta).numpy(), dtype=np.float64)

    def pull(self, theta: Array, weight: Array) -> Array:
        """Gradient by one backward pass."""
        import torch

        with torch.enable_grad():
            total = (torch.as_tensor(weight) * self._psi(theta)).sum()
            parts = torch.autograd.grad(total, self._parameters)
        return np.concatenate([p.numpy().ravel() for p in parts]).astype(np.float64)


def outputs(module: Any, X: Array) -> Array:
    """Outputs of a module for rows."""
    import torch

    with torch.no_grad():
        found = module(torch.as_tensor(X)).reshape(-1)
    return np.asarray(found.numpy(), dtype=np.float64)
