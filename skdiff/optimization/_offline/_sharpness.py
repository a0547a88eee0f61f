"""How much the mean prediction of a network moves with its parameters (torch).

With ``G(theta) = mean_i f_theta(x_i)`` and ``g = dG/dtheta``, the surrogate's sharpness
is ``rho |g|``, to first order the change of the mean prediction under the worst change
of the parameters of length rho (Dao et al., 2024). The penalty ``lambda rho |g|`` has
the gradient ``lambda rho H g / |g|``, taken as a difference of two gradients:

    lambda (rho / r) (g(theta + r g / |g|) - g(theta)),     r = rho.
"""

from typing import Any

import torch
from torch import Tensor

START, RATE = 1e-3, 1e-3  # of lambda and its ascent where it is adapted


def mean_gradient(module: Any, X: Tensor) -> list[Tensor]:
    """Return the gradient of the mean prediction in the parameters."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = torch.autograd.grad(module(X).mean(), parameters, allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(parameters, found, strict=True)
    ]


def norm(gradient: list[Tensor]) -> Tensor:
    """Return the Euclidean length of a gradient in several parts."""
    return torch.sqrt(torch.stack([g.square().sum() for g in gradient]).sum())


def penalty_gradient(module: Any, X: Tensor, rho: float) -> tuple[list[Tensor], float]:
    """Return the gradient of ``rho |g|`` by one difference, and ``rho |g|`` itself."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    before = mean_gradient(module, X)
    length = norm(before)
    if float(length) == 0.0:
        return [torch.zeros_like(p) for p in parameters], 0.0
    saved = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, g in zip(parameters, before, strict=True):
            p.add_(g * (rho / length))
    try:
        after = mean_gradient(module, X)
    finally:
        with torch.no_grad():
            for p, old in zip(parameters, saved, strict=True):
                p.copy_(old)
    # rho / r is one
    change = [b - a for a, b in zip(before, after, strict=True)]
    return change, rho * float(length)


def penalised(net_class: Any, rho: float, target: float, weight: float | None) -> Any:
    """Return a net class whose gradients hold the penalty.

    ``weight=None`` adapts lambda: it rises while ``rho |g|`` is above ``target``.
    """

    class Penalised(net_class):
        """The given net with the penalty on its sharpness."""

        multiplier = START if weight is None else weight

        def gradient(self, batch: Any, **fit_params: Any) -> Any:
            """Add the gradient of the penalty to that of the loss."""
            found = super().gradient(batch, **fit_params)
            if weight == 0:
                return found
            change, sharpness = penalty_gradient(self.module_, batch[0], rho)
            parameters = [p for p in self.module_.parameters() if p.requires_grad]
            with torch.no_grad():
                for p, c in zip(parameters, change, strict=True):
                    p.grad.add_(c, alpha=self.multiplier)
            if weight is None:
                step = RATE * (sharpness - target)
                self.multiplier = max(self.multiplier + step, 0.0)
            return found

    return Penalised


def sharpness(module: Any, X: Any, rho: float) -> float:
    """Return ``rho |g|`` over rows as the module takes them."""
    dtype = next(module.parameters()).dtype
    rows = torch.as_tensor(X, dtype=dtype)
    return rho * float(norm(mean_gradient(module, rows)))


def input_gradient(module: Any, X: Any) -> tuple[Any, Any]:
    """Return outputs (rows,) and their gradients (rows, columns) in the inputs."""
    dtype = next(module.parameters()).dtype
    rows = torch.tensor(X, dtype=dtype, requires_grad=True)
    output = module(rows)[:, 0]
    (found,) = torch.autograd.grad(output.sum(), rows)
    return output.detach().numpy(), found.numpy()
