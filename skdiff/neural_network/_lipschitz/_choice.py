"""The bound of a classifier and its number of epochs, chosen on a validation set."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiff._base.progress import Progress
from skdiff._nn._data import TensorData
from skdiff._nn._fit import Limits, Run, run_epochs
from skdiff._nn._net import Net
from skdiff._nn._option_steps import OptionLoss

BOUNDS = (1.0, 2.0, 5.0)
# steps of all bounds; of the two that lead then; and without progress to the end of one
FIRST, MOST, PATIENCE = 20, 80, 15
# the same in epochs of many steps
FEWEST_FIRST, FEWEST_MOST, FEWEST_PATIENCE = 4, 20, 3
# a fit lasts so many times as long as its trial: on eleven other tables of up to 1600
# rows once as long lost up to 4 % of log loss against all epochs, this .1 %
LONGER = 1.5
# and as long as any where so few rows validate that they tell little of the end
FEWEST_TO_STOP = 50


class Chosen(NamedTuple):
    """A bound, the epochs that serve it, and the log loss of each bound.

    ``n_epochs`` is None where a trial was still making progress at its end.
    """

    bound: float
    n_epochs: int | None
    losses: dict[float, float]


class Trial:
    """A training within one bound that can be taken up again."""

    def __init__(self, net: Net, bound: float) -> None:
        self.net = net
        self.bound = bound
        self.run = Run()
        self.save()

    def save(self) -> None:
        """Remember the training state of the net."""
        net = self.net
        state = net.module_.state_dict()
        self.state = {name: t.detach().clone() for name, t in state.items()}
        self.memory = net.optimizer_.get_memory()
        loss = net.criterion_.batch_loss
        weights = getattr(loss, "group_weights", None)
        self.group_weights = None if weights is None else weights.clone()

    def restore(self) -> None:
        """Bring it back, within the bound."""
        net = self.net
        with torch.no_grad():
            for name, tensor in net.module_.state_dict().items():
                tensor.copy_(self.state[name])
            net.module_.root.fill_(math.sqrt(self.bound))
        net.optimizer_.set_memory(self.memory)
        loss = net.criterion_.batch_loss
        if self.group_weights is not None and isinstance(loss, OptionLoss):
            loss.group_weights = self.group_weights.clone()

    @property
    def loss(self) -> float:
        """The lowest validation loss so far."""
        return -max(self.run.validation_scores, default=-math.inf)


def choose_bound(
    net: Net,
    data: TensorData,
    rows: tuple[Tensor, Tensor],
    limits: Limits,
    deadline: float | None,
) -> Chosen:
    """Train shortly within each bound, and the better two on; take the lowest loss.

    The net is left as it was found, within the chosen bound.
    """
    train, held = (TensorData(*data.select(part)) for part in rows)
    progress = Progress()
    progress.deadline = deadline
    first, most, patience = _epochs(len(train), net.batch_size, limits)
    limits = replace(limits, n_iter_no_change=patience, keep_best=False)

    def score() -> float:
        net.module_.eval()
        target, weight = held.y[:2]
        with torch.no_grad():
            values = F.cross_entropy(net.module_(held.X), target, reduction="none")
        return -float((values if weight is None else values * weight).mean())

    def advance(trials: Sequence[Trial], until: int) -> None:
        for trial in trials:
            trial.restore()
            left = replace(limits, max_iter=until - trial.run.n_iter)
            run_epochs(net, train, left, progress, score, trial.run)
            trial.save()
            if progress.ended == "interrupted":
                raise KeyboardInterrupt

    callbacks, net.callbacks_ = net.callbacks_, []
    trials = [Trial(net, bound) for bound in BOUNDS]
    start = trials[0].state, trials[0].memory, trials[0].group_weights
    advance(trials, first)
    leaders = sorted(trials, key=lambda trial: trial.loss)[:2]
    advance([t for t in leaders if t.run.stopped == "max_iter"], most)
    net.callbacks_ = callbacks
    del net.history[:]
    best = min(leaders, key=lambda trial: trial.loss)
    best.state, best.memory, best.group_weights = start
    best.restore()
    n_epochs = None
    if best.run.stopped == "converged" and len(held) >= FEWEST_TO_STOP:
        n_epochs = math.ceil(LONGER * best.run.n_iter)
    return Chosen(best.bound, n_epochs, {t.bound: t.loss for t in trials})


def _epochs(n: int, batch_size: int, limits: Limits) -> tuple[int, int, int]:
    """Epochs of the first stage, of both, and without progress."""
    steps = -(-n // batch_size)
    first = max(-(-FIRST // steps), FEWEST_FIRST)
    most = max(-(-MOST // steps), FEWEST_MOST)
    patience = max(-(-PATIENCE // steps), FEWEST_PATIENCE)
    most = min(most, limits.max_iter)
    return min(first, most), most, min(patience, limits.n_iter_no_change)
