"""Optimisers that keep all parameters in one buffer.

A step on one long tensor costs a tenth of a step on a list of small ones. The classes
derive from ``torch.optim.Optimizer``, which schedulers and skorch ask for, but replace
the methods that torch wraps: the first call of a wrapped one imports
``torch._dynamo``, seconds of work that nothing here needs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class FlatOptimizer(torch.optim.Optimizer):
    """Parameters and gradients as views of one buffer each."""

    slots: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.flat = torch.empty(0)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the parameters of the one group there may be."""
        if self.param_groups:
            raise ValueError("A one-buffer optimiser has one parameter group.")
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        group = {**self.defaults, **param_group, "params": params}
        self.param_groups.append(group)
        with torch.no_grad():
            self.flat = torch.cat([p.reshape(-1) for p in params])
        self.grad = torch.zeros_like(self.flat)
        self.penalised = torch.cat(_penalised(group))
        self.memory = {name: torch.zeros_like(self.flat) for name in self.slots}
        self.n_steps = torch.zeros((), dtype=torch.float32, device=self.flat.device)
        self.bind()

    def bind(self) -> None:
        """Make every parameter and its gradient a view of the buffers."""
        start = 0
        for p in self.param_groups[0]["params"]:
            part = slice(start, start + p.numel())
            p.data = self.flat[part].view(p.shape)
            p.grad = self.grad[part].view(p.shape)
            start += p.numel()

    def release(self) -> None:
        """Give every parameter storage of its own, so that it pickles alone."""
        for p in self.param_groups[0]["params"]:
            p.data = p.data.clone()
            p.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to zero in place; autograd adds into them."""
        self.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        with torch.no_grad():
            decay = group["weight_decay"]
            if decay:
                self.grad.addcmul_(self.penalised, self.flat, value=decay)
            self.n_steps += 1
            self.update(group)
        return loss

    # torch wraps an unmarked step by its profiler
    step.hooked = True  # type: ignore[attr-defined]

    def update(self, group: dict[str, Any]) -> None:
        """Change ``flat`` from ``grad`` and ``memory``."""
        raise AssertionError("given by the subclass")

    def penalty(self) -> float:
        """The L2 term of the objective, to be told with the loss."""
        decay = self.param_groups[0]["weight_decay"]
        if not decay:
            return 0.0
        return decay / 2 * float((self.penalised * self.flat).dot(self.flat))

    def get_memory(self) -> dict[str, Any]:
        """What a continued fit needs, as arrays."""
        kept = {name: t.cpu().numpy().copy() for name, t in self.memory.items()}
        return {**kept, "n_steps": float(self.n_steps)}

    def set_memory(self, memory: dict[str, Any]) -> None:
        """Take back what :meth:`get_memory` gave."""
        for name, tensor in self.memory.items():
            tensor.copy_(torch.as_tensor(memory[name]))
        self.n_steps.fill_(memory["n_steps"])


def _penalised(group: dict[str, Any]) -> list[Tensor]:
    """Share of the decay of every entry; decays by layer become shares of one.

    L2 acts on matrices, not on biases, as in scikit-learn's networks.
    """
    matrices = [p for p in group["params"] if p.ndim > 1]
    shares = [1.0] * len(matrices)
    if isinstance(group["weight_decay"], Sequence):
        shares, group["weight_decay"] = list(group["weight_decay"]), 1.0
        if len(shares) != len(matrices):
            raise ValueError(
                f"weight_decay holds {len(shares)} numbers, but the module has "
                f"{len(matrices)} weight matrices."
            )
    left = iter(shares)
    return [
        torch.full_like(p, next(left) if p.ndim > 1 else 0.0).reshape(-1)
        for p in group["params"]
    ]


class FlatAdam(FlatOptimizer):
    """Adam (Kingma and Ba, 2015, arXiv 1412.6980)."""

    slots = ("first", "second")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def update(self, group: dict[str, Any]) -> None:
        """Step by the fused kernel, or by the same formula in plain operations."""
        beta1, beta2 = group["betas"]
        if FUSED:
            torch._fused_adam_(
                [self.flat],
                [self.grad],
                [self.memory["first"]],
                [self.memory["second"]],
                [],
                [self.n_steps],
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=0.0,
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
            return
        first, second = self.memory["first"], self.memory["second"]
        t = float(self.n_steps)
        first.lerp_(self.grad, 1 - beta1)
        second.mul_(beta2).addcmul_(self.grad, self.grad, value=1 - beta2)
        scale = second.sqrt().div_(math.sqrt(1 - beta2**t)).add_(group["eps"])
        self.flat.addcdiv_(first, scale, value=-group["lr"] / (1 - beta1**t))


class FlatSGD(FlatOptimizer):
    """Gradient descent with heavy-ball momentum."""

    slots = ("velocity",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        momentum: float = 0.0,
        weight_decay: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )

    def update(self, group: dict[str, Any]) -> None:
        """Step along the velocity."""
        direction = self.grad
        if group["momentum"]:
            velocity = self.memory["velocity"]
            direction = velocity.mul_(group["momentum"]).add_(self.grad)
        self.flat.add_(direction, alpha=-group["lr"])


# a private operation of torch: absent, the plain formula serves
FUSED = hasattr(torch, "_fused_adam_")

OPTIMIZERS: dict[str, type[FlatOptimizer]] = {"adam": FlatAdam, "sgd": FlatSGD}
