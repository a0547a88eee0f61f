"""The epochs of a fit: progress, early stopping, the best state, faults.

torch is imported by whoever calls; see ``_base`` for the shell.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skdiff._base.progress import Progress
from skdiff._nn._data import TensorData, as_tensor
from skdiff._nn._net import Criterion, Net
from skdiff._nn._optim import OPTIMIZERS, FlatOptimizer


@dataclass
class Run:
    """What a fit leaves behind besides the weights."""

    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    stopped: str = "max_iter"

    @property
    def n_iter(self) -> int:
        """Epochs completed."""
        return len(self.loss_curve)


@dataclass(frozen=True)
class Limits:
    """When training has converged, and how long it may last.

    With ``keep_best=False`` the last weights stand, whatever the validation scores;
    with ``offer_start`` the weights at the start may turn out to be the best.
    """

    max_iter: int
    tol: float
    n_iter_no_change: int
    one_epoch: bool = False
    continued: bool = False
    keep_best: bool = True
    offer_start: bool = False


@dataclass(frozen=True)
class Settings:
    """How a net is trained, by the names of its estimator's parameters."""

    solver: str = "adam"
    learning_rate_init: float = 1e-3
    momentum: float = 0.0
    alpha: float | tuple[float, ...] = 0.0
    batch_size: int = 256
    dtype: str = "float64"
    device: str = "cpu"
    net_params: dict[str, Any] | None = None


class Best:
    """The best state so far and how long nothing has beaten it."""

    def __init__(self, module: nn.Module, tol: float) -> None:
        self.module = module
        self.tol = tol
        self.score = self.plain = -np.inf
        self.stale = 0
        self.state: dict[str, Any] = {}

    def offer(self, score: float, keep: bool) -> None:
        """Note an epoch's score; keep its state if asked to and best."""
        # patience asks for a gain of tol, the state for any gain at all
        self.stale = 0 if score > self.plain + self.tol else self.stale + 1
        self.plain = max(self.plain, score)
        if score > self.score:
            self.score = score
            if keep:
                self.save()

    def save(self) -> None:
        """Remember the current weights."""
        state = self.module.state_dict()
        self.state = {name: t.detach().clone() for name, t in state.items()}

    def restore(self) -> None:
        """Bring the remembered weights back, in place."""
        if self.state:
            with torch.no_grad():
                for name, tensor in self.module.state_dict().items():
                    tensor.copy_(self.state[name])


def run_epochs(
    net: Net,
    data: TensorData,
    limits: Limits,
    progress: Progress,
    validate: Callable[[], float] | None = None,
    run: Run | None = None,
) -> Run:
    """Train until a limit or until nothing improves; leave the best state in the net.

    ``validate`` scores the validation set after an epoch. ``run`` is continued where an
    earlier stage has left one.
    """
    run = Run() if run is None else run
    best = Best(net.module_, limits.tol)
    keep_best = validate is not None and limits.keep_best
    if validate is not None and limits.offer_start:
        best.offer(validate(), keep=keep_best)
    last_good: dict[str, Any] = {}
    with progress.interruptible(lambda: bool(run.loss_curve)):
        for _ in progress.iterations(limits.max_iter):
            loss = _epoch(net, data, progress)
            if not math.isfinite(loss):
                _recover(net, best, last_good, run)
                break
            run.loss_curve.append(loss)
            score = None
            if validate is not None:
                score = validate()
                run.validation_scores.append(score)
            best.offer(-loss if score is None else score, keep=keep_best)
            if not keep_best:
                last_good = _snapshot(net, last_good)
            if progress.step(loss=loss, score=score, state=net):
                break
            if best.stale >= limits.n_iter_no_change:
                run.stopped = "converged"
                break
    best.restore()
    run.stopped = progress.reason(run.stopped)
    return run


def _epoch(net: Net, data: TensorData, progress: Progress) -> float:
    """One epoch. skorch's callbacks stop a fit by raising KeyboardInterrupt."""
    before = len(net.history)
    flat = isinstance(net.optimizer_, FlatOptimizer)
    # before the epoch: a full batch tells its loss at the weights it started from
    penalty = net.optimizer_.penalty() if flat else 0.0
    try:
        return net.run_epoch(data) + penalty
    except KeyboardInterrupt:
        done = len(net.history) > before and "train_loss" in net.history[-1]
        if not done or not net.callbacks_:
            raise
        progress.end("callback")
        return float(net.history[-1, "train_loss"]) + penalty


def _snapshot(net: Net, into: dict[str, Any]) -> dict[str, Any]:
    """Copy the weights after a good epoch, into the same memory each time."""
    if isinstance(net.optimizer_, FlatOptimizer):
        flat = net.optimizer_.flat
        if not into:
            copy = flat.clone()
            on_cpu = flat.device.type == "cpu"
            return {"flat": copy, "views": on_cpu and (copy.numpy(), flat.numpy())}
        if into["views"]:  # a third of the time of torch's copy
            np.copyto(*into["views"])
        else:
            into["flat"].copy_(flat)
        return into
    return {name: t.detach().clone() for name, t in net.module_.state_dict().items()}


def _recover(net: Net, best: Best, last_good: dict[str, Any], run: Run) -> None:
    """The loss is not finite: back to the last good state, or say there is none."""
    if best.state:
        pass  # restored by the caller
    elif "flat" in last_good:
        net.optimizer_.flat.copy_(last_good["flat"])
    elif last_good:
        best.state = last_good
    else:
        raise ValueError(
            "The loss is not finite after the first epoch. Scale X (StandardScaler) or "
            "lower learning_rate_init."
        )
    run.stopped = "diverged"
    warnings.warn(
        f"The loss became non-finite at epoch {run.n_iter + 1}; the best state before "
        "is kept. Scale X or lower learning_rate_init.",
        ConvergenceWarning,
        stacklevel=3,
    )


def build_net(
    net_class: type[Net],
    module: nn.Module,
    batch_loss: Any,
    settings: Settings,
    generator: torch.Generator,
) -> Net:
    """Initialise a net over a module in the dtype and on the device asked for."""
    arguments: dict[str, Any] = {
        "optimizer": OPTIMIZERS[settings.solver],
        "optimizer__weight_decay": settings.alpha,
        "lr": settings.learning_rate_init,
        "batch_size": settings.batch_size,
        "device": settings.device,
    }
    if settings.solver == "sgd":
        arguments["optimizer__momentum"] = settings.momentum
    arguments |= settings.net_params or {}
    net = net_class(
        module.to(device=settings.device, dtype=getattr(torch, settings.dtype)),
        Criterion(batch_loss),
        generator=generator,
        **arguments,
    )
    return net.initialize()


def seeded(seed: int) -> torch.Generator:
    """A generator of its own: the global one is left alone, also between threads."""
    return torch.Generator().manual_seed(seed)


def start_at_log_odds(
    bias: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None
) -> None:
    """Set the output biases to the log frequencies of the classes.

    A network that starts from probabilities alike spends its first epochs on the base
    rate, and where an event is rare, most of its validation score.
    """
    with torch.no_grad():
        w = torch.ones_like(target, dtype=bias.dtype) if weight is None else weight
        n_classes = max(len(bias), 2)
        mass = torch.zeros(n_classes, dtype=bias.dtype, device=bias.device)
        mass.index_add_(0, target, w)
        logs = (mass / mass.sum()).clamp(min=torch.finfo(bias.dtype).tiny).log()
        if len(bias) == 1:
            bias.copy_(logs[1:] - logs[:1])
        else:
            known = mass > 0
            logs[~known] = logs[known].min()
            bias.copy_(logs - logs.mean())


def codes(strata: np.ndarray | None) -> torch.Tensor | None:
    """Codes of the rows as a tensor; None where there are no strata."""
    return None if strata is None else as_tensor(strata)


def finish(net: Net) -> None:
    """Undo what only training needs."""
    net.strata = net.mixing = None
    if isinstance(net.optimizer_, FlatOptimizer):
        net.optimizer_.release()
    net.module_.eval()


def state_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """The weights as arrays on the CPU."""
    return {
        name: t.detach().cpu().numpy().copy() for name, t in module.state_dict().items()
    }


def load_arrays(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Put arrays into a module built alike."""
    module.load_state_dict({name: torch.tensor(a) for name, a in arrays.items()})


def work_per_batch(module: nn.Module, rows: int) -> float:
    """Multiply-adds of a forward pass, from the number of weights."""
    return float(rows * sum(p.numel() for p in module.parameters()))


PREDICT_ROWS = 1024  # activations of a chunk stay in the cache


def predict_chunks(module: nn.Module, X: np.ndarray, device: str) -> np.ndarray:
    """Outputs of all rows, a chunk at a time."""
    module.eval()
    with torch.no_grad():
        parts = [
            module(as_tensor(X[start : start + PREDICT_ROWS], device)).cpu().numpy()
            for start in range(0, len(X), PREDICT_ROWS)
        ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
