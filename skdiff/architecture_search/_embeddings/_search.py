"""Warm start, search of the selection, pruning and a short training of what is left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from skdiff._base.progress import Patience, Progress
from skdiff._base.typing import BoolArray, FloatArray
from skdiff._nn._data import TensorData, TensorIterator
from skdiff._nn._optim import OPTIMIZERS
from skdiff.architecture_search._embeddings._blocks import (
    Blocks,
    keep_dimensions,
    keep_entries,
)
from skdiff.architecture_search._embeddings._module import MixedNet

RowLoss = Callable[[Tensor, Tensor], Tensor]
EVALUATION_ROWS = 4096
# fractions that keep_fraction="auto" tries, until one loses too much
FRACTIONS = (0.5, 0.25, 0.125)
# standard errors above the lowest validation loss: a whole one is wide where validation
# rows are few, and lost accuracy on every small table tried
MOST_LOST = 0.25
# standard errors above it where a trial that has had as many epochs is given up
HOPELESS = 1.0
TINY = 1e-8
# of the step size, after an epoch without progress
SHRINKAGE = 0.5


@dataclass(frozen=True)
class Training:
    """How networks are trained, by the names of the estimator's parameters."""

    row_loss: RowLoss
    batch_size: int
    learning_rate: float
    max_iter: int
    tol: float
    n_iter_no_change: int
    progress: Progress
    generator: torch.Generator
    solver: str = "adam"
    momentum: float = 0.9
    alpha: float = 0.0

    def optimizer(self, parameters: Sequence[Tensor]) -> Any:
        """Return a new optimiser."""
        how: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.alpha}
        if self.solver == "sgd":
            how["momentum"] = self.momentum
        return OPTIMIZERS[self.solver](parameters, **how)

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        """Mean loss of a batch; weights have mean one over the table."""
        X, (target, weight) = batch
        rows = self.row_loss(module(X), target)
        return rows.mean() if weight is None else (rows * weight).mean()


@dataclass(frozen=True)
class Selection:
    """How the selection is searched and what is kept."""

    keep_fraction: float | str = "auto"
    structured: bool = True
    order: int = 1
    learning_rate: float = 0.01
    l1: float = 1e-5
    max_iter: int = 20


@dataclass
class History:
    """One entry per epoch of all stages."""

    stage: list[str] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    mean_selection: list[float] = field(default_factory=list)

    def note(self, stage: str, loss: float, module: MixedNet) -> None:
        """Note an epoch."""
        chosen = module.selection
        self.stage.append(stage)
        self.validation_loss.append(loss)
        self.mean_selection.append(
            1.0 if chosen is None else float(chosen.detach().mean())
        )

    def arrays(self) -> dict[str, Any]:
        """The lists as arrays."""
        return {name: np.array(values) for name, values in vars(self).items()}


@dataclass(frozen=True)
class Found:
    """What the stages before the final training have chosen."""

    mask: BoolArray
    selection: FloatArray
    state: dict[str, FloatArray]
    rates: list[float]
    keep_fraction: float
    trials: dict[float, float]


def row_losses(module: nn.Module, data: TensorData, row_loss: RowLoss) -> Tensor:
    """Loss of each row, times its weight."""
    module.eval()
    parts = []
    with torch.no_grad():
        for X, (target, weight) in TensorIterator(data, EVALUATION_ROWS):
            rows = row_loss(module(X), target)
            parts.append(rows if weight is None else rows * weight)
    return torch.cat(parts).double()


def mean_loss(module: nn.Module, data: TensorData, row_loss: RowLoss) -> float:
    """Weighted mean loss of a table; infinite where it is not a number."""
    weight = data.y[1]
    mass = len(data) if weight is None else float(weight.sum())
    found = float(row_losses(module, data, row_loss).sum()) / mass
    return found if np.isfinite(found) else np.inf


class Best:
    """The state of the lowest loss, and when it was."""

    def __init__(self, module: MixedNet) -> None:
        self.module, self.loss, self.epoch = module, np.inf, 0
        self.n_epochs = 0  # with those after the best
        self.state: dict[str, Tensor] = {}
        self.rates: list[float] = []
        self.selection: Tensor | None = None

    def offer(self, loss: float, epoch: int) -> None:
        """Keep the weights if they are the best so far."""
        if loss < self.loss or not self.state:
            self.loss, self.epoch = loss, epoch
            state = self.module.state_dict()
            self.state = {name: t.detach().clone() for name, t in state.items()}
            chosen = self.module.selection
            self.selection = None if chosen is None else chosen.detach().clone()

    def restore(self) -> None:
        """Bring the best weights back."""
        self.module.load_state_dict(self.state)
        self.module.selection = self.selection


def descend(
    module: MixedNet,
    train: TensorData,
    held: TensorData,
    how: Training,
    note: Callable[[float, MixedNet], None],
    hopeless: Callable[[int], bool] = lambda n_epochs: False,
) -> Best:
    """Train all weights; leave those of the best epoch on the held-out rows.

    The step size is halved after each epoch without progress.
    """
    best, patience = Best(module), Patience(how.n_iter_no_change, how.tol)
    best.offer(mean_loss(module, held, how.row_loss), 0)
    optimizer = how.optimizer(list(module.parameters()))
    for epoch in how.progress.iterations(how.max_iter):
        module.train()
        for batch in TensorIterator(train, how.batch_size, how.generator):
            optimizer.zero_grad()
            how.loss(module, batch).backward()
            optimizer.step()
        group = optimizer.param_groups[0]
        best.rates.append(group["lr"])
        loss = mean_loss(module, held, how.row_loss)
        if loss >= best.loss:
            group["lr"] *= SHRINKAGE
        note(loss, module)
        best.offer(loss, epoch + 1)
        over = how.progress.step(score=-loss)
        if patience.is_over(loss) or over or hopeless(epoch + 1):
            break
    optimizer.release()
    best.restore()
    best.n_epochs = len(best.rates)
    # one epoch at least, so that the held-out rows are learned from too
    best.rates = best.rates[: max(best.epoch, 1)] or [how.learning_rate]
    return best


def normalised_rows(gradient: Tensor) -> Tensor:
    """Divide the gradient of each block by its mean absolute entry.

    Without it frequent blocks move and rare ones never do (section 3.3).
    """
    return gradient / (gradient.abs().mean(dim=1, keepdim=True) + TINY)


def selection_gradient(
    module: MixedNet, batches: tuple[Any, Any], how: Training, order: int
) -> Tensor:
    """Gradient of the validation loss in the selection.

    With ``order=2`` the weights have taken one step of gradient descent on the training
    batch before (equation 7); autograd differentiates through that step.
    """
    train, held = batches
    alpha = module.selection
    assert alpha is not None
    if order == 1:
        (found,) = torch.autograd.grad(how.loss(module, held), [alpha])
        return found
    moved = {id(p) for p in module.searched()}
    names = [name for name, p in module.named_parameters() if id(p) in moved]
    weights = [dict(module.named_parameters())[name] for name in names]
    loss = how.loss(module, train)
    steps = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    after = {
        name: w if g is None else w - how.learning_rate * g
        for name, w, g in zip(names, weights, steps, strict=True)
    }
    X, (target, weight) = held
    rows = how.row_loss(functional_call(module, after, (X,)), target)
    value = rows.mean() if weight is None else (rows * weight).mean()
    (found,) = torch.autograd.grad(value, [alpha])
    return found


def _endless(data: TensorData, how: Training) -> Iterator[Any]:
    while True:
        yield from TensorIterator(data, how.batch_size, how.generator)


def search(
    module: MixedNet,
    train: TensorData,
    held: TensorData,
    how: Training,
    choice: Selection,
    note: Callable[[float, MixedNet], None],
) -> Best:
    """Move vectors on training batches and the selection on validation batches."""
    shape = int(module.block.max()) + 1, module.table.shape[1]
    alpha = torch.ones(shape, dtype=module.table.dtype, device=module.table.device)
    module.selection = alpha.requires_grad_()
    best, patience = Best(module), Patience(how.n_iter_no_change, how.tol)
    optimizer = how.optimizer(module.searched())
    validation = _endless(held, how)
    with still(module):
        for epoch in how.progress.iterations(choice.max_iter):
            module.train()
            for batch in TensorIterator(train, how.batch_size, how.generator):
                optimizer.zero_grad()
                alpha.requires_grad_(False)
                how.loss(module, batch).backward()
                optimizer.step()
                alpha.requires_grad_(True)
                pair = batch, next(validation)
                gradient = selection_gradient(module, pair, how, choice.order)
                gradient = normalised_rows(gradient) + choice.l1
                with torch.no_grad():
                    alpha.sub_(gradient, alpha=choice.learning_rate).clamp_(0, 1)
            loss = mean_loss(module, held, how.row_loss)
            note(loss, module)
            best.offer(loss, epoch + 1)
            over = how.progress.step(score=-loss)
            if patience.is_over(loss) or over:
                break
    optimizer.release()
    if best.state:
        best.restore()
    return best


@contextmanager
def still(module: MixedNet) -> Iterator[None]:
    """Compute no gradients of the weights that the search leaves alone."""
    moved = {id(p) for p in module.searched()}
    others = [p for p in module.parameters() if id(p) not in moved]
    for p in others:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in others:
            p.requires_grad_(True)


def restart(module: MixedNet, first: dict[str, Tensor], mask: BoolArray) -> None:
    """Put the first weights back, and nothing where the mask is zero.

    What the search has trained is not kept: its vectors have seen the training rows too
    often, and its selection the validation rows.
    """
    module.load_state_dict(first)
    kept = torch.as_tensor(mask).to(module.table)
    with torch.no_grad():
        module.mask.copy_(kept)
        module.table.mul_(kept)
    module.selection = None


@dataclass(frozen=True)
class Stages:
    """What all stages share; each training begins with the first weights."""

    module: MixedNet
    train: TensorData
    held: TensorData
    how: Training
    choice: Selection
    blocks: Blocks
    history: History
    first: dict[str, Tensor]

    def note(self, stage: str) -> Callable[[float, MixedNet], None]:
        """Return what notes an epoch of a stage."""
        return lambda loss, module: self.history.note(stage, loss, module)

    def losses(self) -> Tensor:
        """Losses of the held-out rows."""
        return row_losses(self.module, self.held, self.how.row_loss)

    def trained(
        self, stage: str, hopeless: Callable[[int], bool] = lambda n_epochs: False
    ) -> Best:
        """Train what the module holds."""
        data = self.train, self.held
        return descend(self.module, *data, self.how, self.note(stage), hopeless)

    def searched(self) -> tuple[FloatArray, dict[str, Tensor]]:
        """Return the selection, and weights with the selection in the table."""
        module, note = self.module, self.note("search")
        search(module, self.train, self.held, self.how, self.choice, note)
        assert module.selection is not None
        selection = module.selection.detach().double().cpu().numpy()
        return selection, {**_copy(module), "table": module.fold().clone()}

    def kept(
        self,
        found: Found,
        folded: Tensor,
        fraction: float,
        hopeless: Callable[[int], bool] = lambda n_epochs: False,
    ) -> tuple[Found, Best]:
        """Train what a fraction keeps."""
        keep = keep_dimensions if self.choice.structured else keep_entries
        mask = keep(folded.double().cpu().numpy(), self.blocks, fraction)
        restart(self.module, self.first, mask)
        start = _arrays(_copy(self.module))
        best = self.trained(f"keep {fraction:g}", hopeless)
        found.trials[fraction] = best.loss
        found = replace(found, mask=mask, state=start, rates=best.rates)
        return replace(found, keep_fraction=fraction), best


def find(
    module: MixedNet,
    train: TensorData,
    held: TensorData,
    how: Training,
    choice: Selection,
    blocks: Blocks,
    history: History,
) -> Found:
    """Run all stages before the final training (algorithm 1)."""
    first = _copy(module)
    stages = Stages(module, train, held, how, choice, blocks, history, first)
    warm = stages.trained("warm start")
    lowest, learned = stages.losses(), warm.state
    ones = np.ones((blocks.n_blocks, module.table.shape[1]))
    found = Found(blocks.allowed, ones, _arrays(first), warm.rates, 1.0, {})
    if choice.keep_fraction != 1:
        selection, searched = stages.searched()
        found = replace(found, selection=selection)
        if choice.keep_fraction == "auto":
            found, learned = smallest(stages, found, warm, lowest, searched["table"])
        else:
            found, learned = given(stages, found, searched)
    return going_on(found, learned) if how.progress.is_over() else found


def smallest(
    stages: Stages, found: Found, warm: Best, lowest: Tensor, folded: Tensor
) -> tuple[Found, dict[str, Tensor]]:
    """Halve the table until it loses too much (``keep_fraction="auto"``)."""
    best = warm
    for fraction in FRACTIONS:
        if stages.how.progress.is_over():
            break
        given_up = partial(_is_hopeless, stages, lowest, best.n_epochs)
        trial, tried = stages.kept(found, folded, fraction, given_up)
        rows = stages.losses()
        if _loses(rows, lowest):
            break
        lowest = min(rows, lowest, key=lambda losses: float(losses.mean()))
        found, best = trial, tried
    return found, best.state


def _is_hopeless(stages: Stages, lowest: Tensor, enough: int, n_epochs: int) -> bool:
    """Whether a trial is far behind after the epochs of the last that was kept."""
    return n_epochs == enough and _loses(stages.losses(), lowest, HOPELESS)


def given(
    stages: Stages, found: Found, searched: dict[str, Tensor]
) -> tuple[Found, dict[str, Tensor]]:
    """Keep the fraction asked for; return what has learned most of it, too."""
    fraction, how = float(stages.choice.keep_fraction), stages.how
    found, best = stages.kept(found, searched["table"], fraction)
    if how.progress.is_over():
        restart(stages.module, searched, found.mask)
        if mean_loss(stages.module, stages.held, how.row_loss) < best.loss:
            return found, _copy(stages.module)
    return found, best.state


def going_on(found: Found, learned: dict[str, Tensor]) -> Found:
    """Let the final training start from what is learned.

    So it is where a time limit or a callback leaves no room to train the same again.
    """
    return replace(found, state=_arrays(learned))


def _copy(module: MixedNet) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in module.state_dict().items()}


def _arrays(state: dict[str, Tensor]) -> dict[str, FloatArray]:
    return {name: t.detach().cpu().numpy().copy() for name, t in state.items()}


def _loses(rows: Tensor, lowest: Tensor, errors: float = MOST_LOST) -> bool:
    """Whether the mean loss is above the lowest by more than noise would be."""
    difference = rows - lowest
    error = float(difference.std(correction=0)) / np.sqrt(max(len(rows), 1))
    return not float(difference.mean()) <= errors * error
