"""A race of architectures: short real trainings, the worse half leaves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from skdiff._base.progress import Progress
from skdiff._base.typing import FloatArray, IntArray
from skdiff._nn._data import TensorData
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._inputs import Sizes
from skdiff.architecture_search._cells._networks import CellNetworks, build
from skdiff.architecture_search._cells._training import Training, train


@dataclass(frozen=True)
class Race:
    """Losses of the held-out rows, one row per candidate and one column per rung.

    They are NaN where a candidate had left. ``n_iter`` are the epochs each was trained.
    """

    losses: FloatArray
    n_iter: IntArray
    winner: int


@dataclass(frozen=True)
class Bench:
    """What every comparison shares: rows, training, where results are reported."""

    sizes: Sizes
    train: TensorData
    held: TensorData
    how: Training
    progress: Progress

    def networks(
        self, architectures: Sequence[Architecture], generator: torch.Generator
    ) -> CellNetworks:
        """Networks of equal widths, in the dtype and on the device of the rows."""
        return CellNetworks(architectures, self.sizes, generator).to(self.train.X)


def rungs(n_candidates: int, epochs: int) -> list[int]:
    """Epochs of each rung, such that the last one ends at half of ``epochs``."""
    n = max(1, int(np.ceil(np.log2(max(n_candidates, 2)))))
    ends = [max(k + 1, epochs >> (n - k)) for k in range(n)]
    return np.diff([0, *ends]).tolist()


def race(
    candidates: Sequence[Architecture],
    bench: Bench,
    epochs: int,
    generator: torch.Generator,
) -> Race:
    """Train all, keep the better half, train on, until one is left.

    Within a rung the learning rate falls to its end, so that losses are comparable.
    Candidates of equal widths are trained as one batch.
    """
    by_widths: dict[tuple[int, ...], list[int]] = {}
    for k, one in enumerate(candidates):
        by_widths.setdefault(one.widths, []).append(k)
    groups = [
        (members, bench.networks([candidates[k] for k in members], generator))
        for members in by_widths.values()
    ]
    plan = rungs(len(candidates), epochs)
    found = np.full((len(candidates), len(plan)), np.nan)
    n_iter = np.zeros(len(candidates), dtype=np.int64)
    alive = list(range(len(candidates)))
    for rung, more in enumerate(plan):
        if len(alive) == 1 or bench.progress.is_over():
            break
        for members, networks in groups:
            curve = train(
                networks,
                bench.train,
                more,
                bench.how,
                generator,
                bench.progress,
                bench.held,
            )
            if len(curve):
                found[members, rung] = curve[-1]
                n_iter[members] += len(curve)
        scores = np.nan_to_num(found[alive, rung], nan=np.inf)
        order = [alive[k] for k in np.argsort(scores, kind="stable")]
        alive = sorted(order[: max(1, len(order) // 2)])
        groups = [_left(group, alive) for group in groups if set(group[0]) & set(alive)]
    best = _leader(found, alive)
    return Race(found, n_iter, best)


def _left(
    group: tuple[list[int], CellNetworks], alive: Sequence[int]
) -> tuple[list[int], CellNetworks]:
    """Those of a group that are still in the race."""
    members, networks = group
    places = [i for i, k in enumerate(members) if k in alive]
    if len(places) == len(members):
        return group
    return [members[i] for i in places], networks.keep(places)


def _leader(found: FloatArray, alive: Sequence[int]) -> int:
    """The best of those left, by their last loss."""
    last = [row[~np.isnan(row)] for row in found[list(alive)]]
    scores = [row[-1] if len(row) else np.inf for row in last]
    return alive[int(np.argmin(scores))]


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


def trial(
    architecture: Architecture,
    bench: Bench,
    epochs: int,
    generator: torch.Generator,
) -> Trial:
    """Train one architecture from the start, for as long as in the final training."""
    module = build(architecture, bench.sizes, generator).to(bench.train.X)
    curve = train(
        module, bench.train, epochs, bench.how, generator, bench.progress, bench.held
    )
    return Trial(curve[:, 0] if len(curve) else np.empty(0))
