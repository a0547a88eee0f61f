"""The search: weights and architecture move in turn.

``L_t`` and ``L_v`` are the losses of the two halves of the rows, ``w`` the weights of
the supernet and ``alpha`` the architecture.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.progress import Progress
from skdiff._base.typing import FloatArray
from skdiff._nn._data import TensorData, TensorIterator
from skdiff._nn._optim import FlatAdam, FlatSGD
from skdiff.architecture_search._cells._space import Space
from skdiff.architecture_search._cells._training import (
    RowLoss,
    evaluate,
    losses,
    rate_of,
)

# of the authors of DARTS
MOMENTUM, DECAY, LARGEST_GRADIENT = 0.9, 3e-4, 5.0
BETAS, ARCHITECTURE_DECAY = (0.5, 0.999), 1e-3
# identities lead at first, whatever they are worth later
WARMUP_ITER = 5


@dataclass(frozen=True)
class Search:
    """How a supernet is searched, by the names of the estimator's parameters."""

    row_loss: RowLoss
    strategy: str = "darts"
    order: int = 1
    weighting: str = "softmax"
    max_iter: int = 30
    batch_size: int = 64
    learning_rate: float = 0.025
    power: float | None = 2.0
    architecture_learning_rate: float = 3e-3
    train_weight: float = 10.0
    penalty: float = 10.0

    def rate(self, epoch: int) -> float:
        """Learning rate of the weights in an epoch."""
        return rate_of(epoch, self.max_iter, self.learning_rate, self.power)


@dataclass
class History:
    """What a search leaves behind, one entry per epoch."""

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)

    def arrays(self) -> dict[str, FloatArray]:
        """The same as arrays."""
        return {name: np.array(values) for name, values in vars(self).items()}


class Supernet:
    """Weights of ``n`` supernets and their architecture parameters."""

    def __init__(self, space: Space, how: Search, n: int) -> None:
        self.space, self.how, self.n = space, how, n

    def start(self, generator: torch.Generator, like: Tensor) -> "Supernet":
        """Draw the first weights, in the dtype and on the device of the rows."""
        where = {"dtype": like.dtype, "device": like.device}
        drawn = self.space.parameters(self.n, generator)
        self.w = [nn.Parameter(p.detach().to(**where)) for p in drawn]
        alpha = self.space.start(self.n, generator).detach().to(**where)
        if self.how.strategy == "joint":
            alpha.zero_()
        self.alpha = nn.Parameter(alpha)
        self.optimizer = self._optimizer(self.w)
        self.v = [nn.Parameter(p.detach().clone()) for p in self.w]
        self.second = self._optimizer(self.v)
        self.architect = FlatAdam(
            [self.alpha],
            lr=self.how.architecture_learning_rate,
            betas=BETAS,
            weight_decay=ARCHITECTURE_DECAY,
        )
        return self

    def _optimizer(self, parameters: list[nn.Parameter]) -> FlatSGD:
        rate = self.how.learning_rate
        return FlatSGD(parameters, lr=rate, momentum=MOMENTUM, weight_decay=DECAY)

    def losses(self, w: Sequence[Tensor], alpha: Tensor, batch: Any) -> Tensor:
        """Loss of each supernet on a batch."""
        X, target = batch
        mix = self.space.mix(alpha, self.how.weighting)
        return losses(self.how.row_loss, self.space.forward(w, X, mix), target)

    # --- steps ------------------------------------------------------------------------

    def step(self, train: Any, held: Any, moves: bool) -> float:
        """Take one step of the strategy; return the training loss."""
        if self.how.strategy == "rarts":
            return self._rarts(train, held, moves)
        if self.how.strategy == "darts" and moves:
            self._move(self.architecture_gradient(train, held))
        return self._descend(self.optimizer, self.w, train)

    def architecture_gradient(self, train: Any, held: Any) -> Tensor:
        """Gradient of DARTS in the architecture, of order 1 or 2.

        Order 2 looks one step of the optimiser ahead, ``w' = w - rate * direction``
        with momentum and decay in the direction; the mixed derivative of ``L_t`` times
        the gradient of ``L_v`` at ``w'`` is exact.
        """
        w = self.w
        if self.how.order == 1:
            return _grad(self.losses(w, self.alpha, held).sum(), [self.alpha])[0]
        slope = _grad(self.losses(w, self.alpha, train).sum(), w, keep=True)
        rate = self.optimizer.param_groups[0]["lr"]
        ahead = [
            (p - rate * (g + d)).detach().requires_grad_()
            for p, g, d in zip(w, slope, self._momentum(), strict=True)
        ]
        *u, partial = _grad(
            self.losses(ahead, self.alpha, held).sum(), [*ahead, self.alpha]
        )
        product = sum((g * x).sum() for g, x in zip(slope, u, strict=True))
        assert isinstance(product, Tensor)
        mixed = _grad(product, [self.alpha])[0]
        return partial - rate * mixed

    def _momentum(self) -> list[Tensor]:
        """What the next step adds to the gradient: momentum and decay."""
        optimizer = self.optimizer
        flat = MOMENTUM * optimizer.memory["velocity"]
        flat = flat + DECAY * optimizer.penalised * optimizer.flat
        sizes = [p.numel() for p in self.w]
        parts = flat.split(sizes)
        return [part.view(p.shape) for part, p in zip(parts, self.w, strict=True)]

    def _move(self, gradient: Tensor) -> None:
        self.architect.zero_grad()
        assert self.alpha.grad is not None
        self.alpha.grad.copy_(gradient)
        self.architect.step()

    def _descend(
        self,
        optimizer: FlatSGD,
        parameters: list[nn.Parameter],
        batch: Any,
        pull: Tensor | None = None,
    ) -> float:
        """One step of the weights; ``pull`` is added to the gradient."""
        optimizer.zero_grad()
        loss = self.losses(parameters, self.alpha.detach(), batch)
        loss.sum().backward()
        clip(parameters, self.n)
        if pull is not None:
            optimizer.grad.add_(pull)
        optimizer.step()
        return float(loss.detach().mean())

    def _rarts(self, train: Any, held: Any, moves: bool) -> float:
        """One Gauss-Seidel sweep over w, v and alpha.

        The step of ``w`` is the learning rate over ``train_weight``, so that it moves
        along ``L_t`` as far as DARTS does whatever the weight; that of ``v`` is the
        learning rate over ``max(penalty, 1)``, within which the pull is stable.
        """
        how, w, v = self.how, self.optimizer, self.second
        loss = self._descend(
            w, self.w, train, how.penalty / how.train_weight * (w.flat - v.flat)
        )
        v.zero_grad()
        self.losses(self.v, self.alpha.detach(), held).sum().backward()
        clip(self.v, self.n)
        v.grad.add_(how.penalty * (v.flat - w.flat)).div_(max(how.penalty, 1.0))
        v.step()
        if moves:
            both = how.train_weight * self.losses(self.w, self.alpha, train).sum()
            both = both + self.losses(self.v, self.alpha, held).sum()
            self._move(_grad(both, [self.alpha])[0])
        return loss

    # --- epochs -----------------------------------------------------------------------

    def run(
        self,
        train: TensorData,
        held: TensorData,
        generator: torch.Generator,
        progress: Progress,
    ) -> History:
        """Search; the architecture rests in the first epochs."""
        how, history = self.how, History()
        warmup = min(WARMUP_ITER, how.max_iter // 3)
        for epoch in progress.iterations(how.max_iter):
            rate = how.rate(epoch)
            for optimizer in (self.optimizer, self.second):
                optimizer.param_groups[0]["lr"] = rate
            batches = TensorIterator(train, how.batch_size, generator)
            others = endless(TensorIterator(held, how.batch_size, generator))
            found = [
                self.step(batch, next(others), epoch >= warmup) for batch in batches
            ]
            history.train_loss.append(float(np.mean(found)))
            found_held = self.evaluate(held)
            history.validation_loss.append(float(found_held.min()))
            history.entropy.append(self._entropy())
            if progress.step(loss=history.train_loss[-1], score=-found_held.min()):
                break
        return history

    def evaluate(self, data: TensorData) -> FloatArray:
        """Loss of each supernet on all rows."""
        with torch.no_grad():
            mix = self.space.mix(self.alpha, self.how.weighting)
        return evaluate(
            lambda X: self.space.forward(self.w, X, mix), data, self.how.row_loss
        )

    def _entropy(self) -> float:
        """Mean entropy of the mixing weights, one for uniform ones."""
        with torch.no_grad():
            a = self.space.contest(self.space.weights(self.alpha))
            count = (a > 0).sum(-1).clamp(min=2)
            entropy = -torch.xlogy(a, a).sum(-1) / count.log()
        return float(entropy.mean())

    def alone(self, k: int) -> list[nn.Parameter]:
        """The weights of one of the supernets, copied."""
        return [
            nn.Parameter(
                (p.view(self.n, -1)[k] if p.ndim == 1 else p[k : k + 1])
                .detach()
                .clone()
            )
            for p in self.w
        ]


def clip(parameters: Sequence[nn.Parameter], n: int) -> None:
    """Shorten the gradient of each of ``n`` networks to the largest length allowed."""
    grads = [p.grad.view(n, -1) for p in parameters if p.grad is not None]
    square = torch.stack([g.square().sum(1) for g in grads]).sum(0)
    factor = (LARGEST_GRADIENT / (square.sqrt() + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(factor[:, None])


def endless(batches: TensorIterator) -> Iterator[Any]:
    """Batches without end, in a new order each time through."""
    while True:
        yield from batches


def _grad(value: Tensor, of: Sequence[Tensor], keep: bool = False) -> list[Tensor]:
    found: Callable[..., Any] = torch.autograd.grad
    return list(
        found(value, of, create_graph=keep, allow_unused=True, materialize_grads=True)
    )
