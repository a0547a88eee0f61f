"""A race of architectures: short real trainings, the worse half leaves, a final."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from skdiff._base.progress import Progress
from skdiff._base.typing import FloatArray, IntArray
from skdiff._nn._data import TensorData
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes
from skdiff.architecture_search._cells._networks import CellNetworks, build
from skdiff.architecture_search._cells._training import Training, train

FINALISTS = 4


@dataclass(frozen=True)
class Trial:
    """Losses of the held-out rows after each epoch of one whole training."""

    curve: FloatArray

    @property
    def loss(self) -> float:
        """Lowest loss; infinite where no epoch was run."""
        return float(self.curve.min()) if len(self.curve) else np.inf

    @property
    def n_iter(self) -> int:
        """Epochs to the lowest loss."""
        return int(self.curve.argmin()) + 1 if len(self.curve) else 0


@dataclass(frozen=True)
class Race:
    """Losses of the held-out rows, one row per candidate and one column per rung.

    They are NaN where a candidate had left. The last column is the final, a whole
    training from new weights; ``trial`` is that of the winner. ``n_iter`` are the
    epochs each candidate was trained.
    """

    losses: FloatArray
    n_iter: IntArray
    winner: int
    trial: Trial


@dataclass(frozen=True)
class Bench:
    """What every comparison shares: rows, training, where results are reported."""

    sizes: Sizes
    train: TensorData
    held: TensorData
    how: Training
    progress: Progress

    def train_on(self, module: nn.Module, epochs: int, seed: int) -> FloatArray:
        """Train; return losses of the held-out rows, one row per epoch."""
        generator = torch.Generator().manual_seed(seed)
        return train(
            module, self.train, epochs, self.how, generator, self.progress, self.held
        )


def rungs(n_candidates: int, epochs: int) -> list[int]:
    """Epochs of each rung before the final, which end at a quarter of ``epochs``."""
    n = max(0, int(np.ceil(np.log2(n_candidates / FINALISTS))))
    ends = [max(k + 1, epochs >> (n - k + 1)) for k in range(n)]
    return np.diff([0, *ends]).tolist()


def race(
    candidates: Sequence[Architecture], bench: Bench, epochs: int, seed: int
) -> Race:
    """Train all, keep the better half, train on; the last four are trained in full.

    Within a rung the learning rate falls to its end, so that losses are comparable. All
    candidates are one batch. The final starts from new weights and is what ``trial``
    does with each finalist alone.
    """
    plan = rungs(len(candidates), epochs)
    found = np.full((len(candidates), len(plan) + 1), np.nan)
    n_iter = np.zeros(len(candidates), dtype=np.int64)
    alive = list(range(len(candidates)))

    def start() -> CellNetworks:
        chosen = [candidates[k] for k in alive]
        return CellNetworks.alike(chosen, bench.sizes, seed).to(bench.train.X)

    networks = start()
    for rung, more in enumerate(plan):
        curve = bench.train_on(networks, more, seed + rung)
        n_iter[alive] += len(curve)
        if len(curve):
            found[alive, rung] = curve[-1]
        if bench.progress.is_over():
            return Race(found, n_iter, _leader(found[:, rung]), Trial(np.empty(0)))
        order = np.argsort(found[alive, rung], kind="stable")
        places = sorted(order[: (len(alive) + 1) // 2].tolist())
        alive = [alive[i] for i in places]
        networks = networks.keep(places)
    curve = bench.train_on(start(), epochs, seed)
    n_iter[alive] += len(curve)
    trials = {k: Trial(column) for k, column in zip(alive, curve.T, strict=False)}
    for k, one in trials.items():
        found[k, -1] = one.loss
    winner = _leader(found[:, -1])
    return Race(found, n_iter, winner, trials.get(winner, Trial(np.empty(0))))


def _leader(losses: FloatArray) -> int:
    """The lowest loss; the first candidate where there is none."""
    return int(np.nan_to_num(losses, nan=np.inf).argmin())


def trial(architecture: Architecture, bench: Bench, epochs: int, seed: int) -> Trial:
    """Train one architecture from the start, for as long as in the final training."""
    module = build(architecture, bench.sizes, torch.Generator().manual_seed(seed))
    curve = bench.train_on(module.to(bench.train.X), epochs, seed)
    return Trial(curve[:, 0] if len(curve) else np.empty(0))
