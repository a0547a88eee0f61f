"""CaPE's second stage: epochs on empirical targets between epochs on labels.

Liu et al. (2022), algorithm 1. Loaded by the first fit, with torch.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn import functional as F

from skdiff._base.progress import Progress
from skdiff._base.typing import Array
from skdiff._nn._data import TensorData, as_tensor
from skdiff._nn._fit import Best, Limits, Run, predict_chunks, run_epochs
from skdiff._nn._net import Net
from skdiff._nn._optim import FlatOptimizer
from skdiff.metrics._calibration import bin_means, quantile_bins

Codes = NDArray[np.int64]
BINS = 15
MEASURES = ("train_loss", "validation_loss", "validation_ece", "validation_brier")


def row_loss(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each row against class codes or against probabilities."""
    if output.shape[1] == 1:
        positive = target[:, 1] if target.ndim == 2 else target.to(output.dtype)
        return F.binary_cross_entropy_with_logits(
            output[:, 0], positive, reduction="none"
        )
    return F.cross_entropy(output, target, reduction="none")


def probabilities(output: NDArray[Any]) -> Array:
    """Probabilities of the classes from one logit or from one a class."""
    output = output.astype(np.float64)
    if output.shape[1] == 1:
        return np.column_stack([expit(-output[:, 0]), expit(output[:, 0])])
    proba: Array = softmax(output, axis=1)
    return proba


@dataclass
class Held:
    """Rows that are not trained on."""

    X: NDArray[Any]
    codes: Codes
    weight: Array

    def judge(self, proba: Array) -> tuple[float, float, float]:
        """Return log loss, calibration error of the top label, and Brier score."""
        rows = np.arange(len(self.codes))
        weight = self.weight / self.weight.sum()
        log_loss = -weight @ np.log(np.maximum(proba[rows, self.codes], 1e-300))
        if proba.shape[1] == 2:
            p, hit = proba[:, 1], (self.codes == 1).astype(float)
            brier = weight @ (p - hit) ** 2
        else:
            p, hit = proba.max(axis=1), (proba.argmax(axis=1) == self.codes) * 1.0
            wrong = proba.copy()
            wrong[rows, self.codes] -= 1
            brier = weight @ (wrong**2).sum(axis=1)
        bins = bin_means(hit, p, weight, quantile_bins(p, weight, BINS))
        ece = bins.weight @ np.abs(bins.prediction - bins.outcome)
        return float(log_loss), float(ece), float(brier)


@dataclass
class CapeRun(Run):
    """A run of both stages."""

    kinds: list[str] = field(default_factory=list)
    measures: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in MEASURES}
    )
    targets: Array | None = None
    best_epoch: int = -1

    def note(self, kind: str, judged: tuple[float, float, float]) -> float:
        """Write down an epoch; return its score, the larger the better."""
        self.kinds.append(kind)
        values = (self.loss_curve[-1], *judged)
        for name, value in zip(MEASURES, values, strict=True):
            self.measures[name].append(value)
        return -judged[0]


class CapeNet(Net):
    """A net whose second stage chooses the targets of each epoch."""

    choose: Callable[[TensorData], TensorData] | None = None

    def run_epoch(self, data: TensorData) -> float:
        """Run one epoch on labels or on the targets of the moment."""
        return super().run_epoch(data if self.choose is None else self.choose(data))


@dataclass(frozen=True)
class Finetuning:
    """The second stage: epochs on targets between epochs on labels.

    ``retarget(proba, held_proba)`` makes targets from the predictions for the training
    rows and for the validation set.
    """

    max_iter: int
    learning_rate: float
    discrimination_epochs: int
    retarget: Callable[[Array, Array], Array]


def first_stage(
    net: CapeNet,
    data: TensorData,
    limits: Limits,
    progress: Progress,
    held: Held | None,
    run: CapeRun,
) -> None:
    """Train on labels; leave the weights of the best held-out cross-entropy."""

    def validate() -> float:
        assert held is not None
        output = predict_chunks(net.module_, held.X, net.device)
        return run.note("early", held.judge(probabilities(output)))

    run_epochs(net, data, limits, progress, None if held is None else validate, run)


def second_stage(
    net: CapeNet,
    data: TensorData,
    how: Finetuning,
    progress: Progress,
    held: Held,
    run: CapeRun,
) -> None:
    """Fine-tune; leave the best weights of both stages."""
    X = data.X.cpu().numpy()
    start, before = Best(net.module_, 0.0), run.stopped
    held_proba = probabilities(predict_chunks(net.module_, held.X, net.device))
    start.offer(-held.judge(held_proba)[0], keep=True)
    epoch, kind = 0, ""

    def choose(data: TensorData) -> TensorData:
        nonlocal epoch, kind
        kind = "discrimination" if epoch % (how.discrimination_epochs + 1) else "cape"
        epoch += 1
        if kind == "discrimination":
            return data
        proba = probabilities(predict_chunks(net.module_, X, net.device))
        run.targets = how.retarget(proba, held_proba)
        soft = as_tensor(run.targets.astype(X.dtype), net.device)
        return TensorData(data.X, (soft, data.y[1]))

    def validate() -> float:
        nonlocal held_proba
        held_proba = probabilities(predict_chunks(net.module_, held.X, net.device))
        return run.note(kind, held.judge(held_proba))

    rates = [group["lr"] for group in net.optimizer_.param_groups]
    first = len(run.validation_scores)
    run.stopped = "max_iter"
    try:
        _slow_down(net, how.learning_rate)
        net.choose = choose
        patient = Limits(how.max_iter, 0.0, how.max_iter + 1)
        run_epochs(net, data, patient, progress, validate, run)
    except ValueError:
        # not even one finite epoch: the early-stopped network stands
        run.stopped = "diverged"
        warnings.warn(
            "The loss of the fine-tuning is not finite; the early-stopped network is "
            "kept. Lower finetune_learning_rate.",
            ConvergenceWarning,
            stacklevel=2,
        )
    finally:
        net.choose = None
        for group, rate in zip(net.optimizer_.param_groups, rates, strict=True):
            group["lr"] = rate
    scores = run.validation_scores[first:]
    if scores and max(scores) > start.score:
        run.best_epoch = int(np.argmax(scores))
    else:
        start.restore()
    if run.stopped == "max_iter":
        run.stopped = before


def _slow_down(net: CapeNet, learning_rate: float) -> None:
    """Set the rate of the second stage; its momenta start anew."""
    for group in net.optimizer_.param_groups:
        group["lr"] = learning_rate
    if isinstance(net.optimizer_, FlatOptimizer):
        for tensor in net.optimizer_.memory.values():
            tensor.zero_()
        net.optimizer_.n_steps.zero_()
