"""Training options as torch code: sharper minima avoided, groups weighed, rows mixed.

Each is a small change of a plain step; the shell in ``_options`` says which are on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdiff._nn._data import Nested, TensorIterator


@contextmanager
def sharpest_neighbour(net: Any, rho: float) -> Iterator[None]:
    """Move to ``w + rho g / ||g||``, where the loss is highest to first order.

    The gradient found there serves a step from ``w``: Foret et al. (2021), eq. 2 and 3.
    Buffers (running statistics) and group weights come from the first pass alone.
    """
    parameters = [p for p in net.module_.parameters() if p.grad is not None]
    norm = torch.sqrt(sum(p.grad.square().sum() for p in parameters))
    with torch.no_grad():
        saved = [p.detach().clone() for p in parameters]
        buffers = [(b, b.detach().clone()) for b in net.module_.buffers()]
        scale = rho / norm.clamp(min=torch.finfo(norm.dtype).tiny)
        for p in parameters:
            p.add_(p.grad * scale)
    loss = net.criterion_.batch_loss
    if isinstance(loss, OptionLoss):
        loss.frozen = True
    try:
        yield
    finally:
        if isinstance(loss, OptionLoss):
            loss.frozen = False
        with torch.no_grad():
            for p, old in zip(parameters, saved, strict=True):
                p.copy_(old)
            for buffer, old in buffers:
                buffer.copy_(old)


class OptionLoss:
    """A batch loss with spectral decoupling and, over groups, with moving weights.

    Spectral decoupling (Pezeshki et al., 2021) adds ``strength * mean((z - target)^2)``
    over the logits. Group DRO (Sagawa et al., 2020, algorithm 1) replaces the loss by
    ``sum_g q_g loss_g`` and moves ``q_g`` by ``exp(step (loss_g + C / sqrt(n_g)))``.
    """

    def __init__(
        self,
        batch_loss: Callable[[Tensor, Nested, Tensor | None], Tensor],
        *,
        spectral_decoupling: float = 0.0,
        spectral_targets: Tensor | None = None,
        group_sizes: Tensor | None = None,
        group_step_size: float = 0.01,
        group_adjustment: float = 0.0,
    ) -> None:
        self.batch_loss = batch_loss
        self.spectral_decoupling = spectral_decoupling
        self.spectral_targets = spectral_targets
        self.group_step_size = group_step_size
        self.frozen = False
        if group_sizes is not None:
            self.adjustment = group_adjustment / group_sizes.sqrt()
            self.group_weights = torch.full_like(group_sizes, 1 / len(group_sizes))

    def __call__(
        self,
        output: Tensor,
        target: Nested,
        weight: Tensor | None,
        groups: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch."""
        if groups is None:
            loss = self.batch_loss(output, target, weight)
        else:
            loss = self._over_groups(output, target, weight, groups)
        if self.spectral_decoupling:
            loss = loss + self.spectral_decoupling * self._spread(output, weight)
        return loss

    def _spread(self, output: Tensor, weight: Tensor | None) -> Tensor:
        """Mean square of the logits; a row of weight two counts twice."""
        if self.spectral_targets is not None:
            output = output - self.spectral_targets.to(output)
        squares = output.square()
        if weight is None:
            return squares.mean()
        return (squares.mean(dim=1) * weight).mean()

    def _over_groups(
        self, output: Tensor, target: Nested, weight: Tensor | None, groups: Tensor
    ) -> Tensor:
        present = torch.unique(groups)
        losses = torch.stack(
            [
                group_loss(self.batch_loss, output, target, weight, groups == g)
                for g in present
            ]
        )
        q = self.group_weights.to(losses)
        if not self.frozen:
            gain = torch.zeros_like(q)
            gain[present] = losses.detach() + self.adjustment.to(q)[present]
            q = torch.softmax(torch.log(q) + self.group_step_size * gain, dim=0)
            self.group_weights = q
        # a batch without a group weighs those it has as if it held all the mass
        return (q[present] / q[present].sum() * losses).sum()


def group_loss(
    batch_loss: Callable[..., Tensor],
    output: Tensor,
    target: Tensor,
    weight: Tensor | None,
    rows: Tensor,
) -> Tensor:
    """Return the loss of some rows, their weights scaled to mean one."""
    if weight is not None:
        weight = weight[rows] / weight[rows].mean()
    return batch_loss(output[rows], target[rows], weight)


class Mixing(NamedTuple):
    """Which rows may be mixed: neighbours (n, k), and the shape of the Beta law."""

    neighbours: Tensor
    alpha: float


class MixedIterator(TensorIterator):
    """Batches of rows mixed with one of their neighbours (Hwang and Whang, 2021)."""

    def __init__(
        self,
        data: Any,
        batch_size: int,
        generator: torch.Generator | None,
        strata: Tensor | None,
        mixing: Mixing,
    ) -> None:
        super().__init__(data, batch_size, generator, strata)
        self.mixing = mixing

    def __iter__(self) -> Iterator[tuple[Nested, Nested]]:
        n, k = self.mixing.neighbours.shape
        seed = torch.randint(2**62, (), generator=self.generator)
        rng = np.random.default_rng(int(seed))
        for rows in self.rows():
            if rows is None:
                rows = torch.arange(n)
            column = torch.from_numpy(rng.integers(k, size=len(rows)))
            partner = self.mixing.neighbours[rows, column]
            # the row itself keeps the larger share, and with it its weight and group
            share = rng.beta(self.mixing.alpha, self.mixing.alpha, len(rows))
            share = torch.from_numpy(np.maximum(share, 1 - share))[:, None]
            X, (target, *rest) = self.data.select(rows)
            other_X, (other_target, *_) = self.data.select(partner)
            share = share.to(X)
            X = share * X + (1 - share) * other_X
            target = share * target + (1 - share) * other_target
            yield X, (target, *rest)
