"""From a trained supernet to architectures: by weights, by removal, by draws."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.progress import Progress
from skdiff._base.typing import BoolArray, FloatArray
from skdiff._nn._data import TensorData, TensorIterator
from skdiff._nn._optim import FlatSGD
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._cell import CellSpace
from skdiff.architecture_search._cells._space import Space
from skdiff.architecture_search._cells._supernet import DECAY, MOMENTUM, Search
from skdiff.architecture_search._cells._training import (
    EVALUATION_ROWS,
    evaluate,
    losses,
)

SLOWER = 0.1  # learning rate of the fine-tuning, by that of the search
FEWEST_ROWS = 32  # of a chunk in which many mixtures are compared
MOST_DRAWS = 50  # for each distinct architecture


def log_weights(space: Space, alpha: FloatArray) -> FloatArray:
    """Log of the softmax weights of one network, minus infinity where impossible."""
    weights = space.weights(torch.from_numpy(alpha)[None])[0].numpy()
    with np.errstate(divide="ignore"):
        logs: FloatArray = np.log(weights)
    return logs


def draw(
    space: Space, logs: FloatArray, temperature: float, rng: np.random.RandomState
) -> Architecture:
    """Draw an architecture: the best after Gumbel noise on the log weights.

    The noise makes the best operation of an edge a draw from ``softmax(alpha /
    temperature)``, and the best edges of a node a draw without replacement.
    """
    return space.discretise(logs / temperature + rng.gumbel(size=logs.shape))


def draws(
    space: Space,
    logs: Sequence[FloatArray],
    temperature: float,
    n: int,
    known: Sequence[Architecture],
    rng: np.random.RandomState,
) -> list[Architecture]:
    """Draw up to ``n`` architectures that differ from each other and the known ones.

    ``logs`` are taken in turn. Small spaces may hold fewer.
    """
    seen = set(known)
    found: list[Architecture] = []
    for k in range(n * MOST_DRAWS):
        if len(found) == n:
            break
        one = draw(space, logs[k % len(logs)], temperature, rng)
        if one not in seen:
            seen.add(one)
            found.append(one)
    return found


class Projection:
    """A supernet from which operations are removed (Wang et al., 2021).

    Parameters
    ----------
    space : Space
        Its edges.
    w : list of Parameter
        Weights of one supernet, which the fine-tuning changes.
    weights : Tensor
        Mixing weights of shape (1, edges, operations).
    held : TensorData
        Rows on which losses are measured.
    how : Search
        How the supernet was trained.
    progress : Progress, default=None
        Guard of the fit: once it has ended the fit, nothing more is measured.
    """

    def __init__(
        self,
        space: Space,
        w: list[nn.Parameter],
        weights: Tensor,
        held: TensorData,
        how: Search,
        progress: Progress | None = None,
    ) -> None:
        self.space, self.w, self.held, self.how = space, w, held, how
        self.progress = Progress() if progress is None else progress
        self.weights = weights.detach().clone()

    def _losses(self, changed: dict[int, Tensor]) -> FloatArray:
        """Losses of variants of the mixing weights, which differ on few edges."""
        mix = self.space.split(self.weights)
        for e, variants in changed.items():
            mix[e] = variants
        n = max(map(len, changed.values()))
        found: FloatArray = evaluate(
            lambda X: self.space.forward(self.w, X, mix),
            self.held,
            self.how.row_loss,
            at_once=max(EVALUATION_ROWS // n, FEWEST_ROWS),
        )
        return found

    def removal(self, *edges: int) -> FloatArray:
        """How much the loss grows when each live operation of an edge is removed.

        The weights of the other operations stay as they are. One row per edge; what
        comes before all of them is computed once.
        """
        live = self.space.live
        each, n = len(live), len(edges) * len(live)
        changed = {}
        for k, e in enumerate(edges):
            variants = self.weights[0, e, live].repeat(n + 1, 1)
            variants[range(k * each, (k + 1) * each), range(each)] = 0.0
            changed[e] = variants
        found = self._losses(changed)
        if len(found) == 1:  # nothing reads these edges
            return np.zeros((len(edges), each))
        growth: FloatArray = (found[:n] - found[n]).reshape(len(edges), each)
        return np.where(np.isfinite(growth), growth, math.inf)

    def unknown(self) -> FloatArray:
        """Scores before anything is measured: NaN, and 0 for ``"zero"``."""
        found = np.zeros(self.weights.shape[1:])
        found[:, self.space.live] = np.nan
        return found

    def scores(self) -> FloatArray:
        """Growth of the loss by removal for all edges, none of them fixed."""
        found = self.unknown()
        into: dict[int, list[int]] = {}
        for e, (_, target) in enumerate(self.space.edges):
            into.setdefault(target, []).append(e)
        for edges in into.values():
            if self.progress.is_over():
                break
            found[np.ix_(edges, self.space.live)] = self.removal(*edges)
        return found

    def fine_tune(self, train: TensorData, generator: torch.Generator) -> None:
        """Train the weights for one epoch; the mixture rests."""
        how = self.how
        rate = SLOWER * how.learning_rate
        optimizer = FlatSGD(self.w, lr=rate, momentum=MOMENTUM, weight_decay=DECAY)
        mix = self.space.split(self.weights)
        for X, target in TensorIterator(train, how.batch_size, generator):
            optimizer.zero_grad()
            loss = losses(how.row_loss, self.space.forward(self.w, X, mix), target)
            loss.sum().backward()
            optimizer.step()


def project(
    projection: Projection,
    train: TensorData,
    generator: torch.Generator,
    rng: np.random.RandomState,
) -> tuple[Architecture, FloatArray]:
    """Select a cell by removal; return it with the scores (edges, operations).

    Edges are visited in random order. The operation whose removal costs most is kept,
    and the supernet is fine-tuned before the next edge. Then each node drops the edge
    whose removal costs least until ``n_inputs`` are left. When the fit has ended, the
    weights decide what is left to decide.
    """
    space, progress = projection.space, projection.progress
    assert isinstance(space, CellSpace)
    scores = projection.unknown()
    for e in rng.permutation(len(space.edges)):
        if progress.is_over():
            break
        before = projection.weights[0, e, space.live].cpu().numpy()
        (growth,) = projection.removal(e)
        scores[e, space.live] = growth
        projection.weights[0, e] = 0.0
        projection.weights[0, e, space.live[_strongest(growth, before)]] = 1.0
        projection.fine_tune(train, generator)
    for n in 1 + rng.permutation(space.n_nodes):
        into = [space.place[j, n] for j in range(n)]
        if len(into) <= space.n_inputs or progress.is_over():
            continue
        while len(into) > space.n_inputs:
            e = into.pop(int(_edge_removal(projection, into).argmin()))
            projection.weights[0, e] = 0.0
        projection.fine_tune(train, generator)
    # one-hot where everything is decided
    return space.discretise(projection.weights[0].cpu().numpy()), scores


def _strongest(growth: FloatArray, weight: FloatArray) -> int:
    """The operation whose removal costs most.

    One whose removal changes no bit of the loss does nothing and is passed over.
    """
    alive: BoolArray = growth != 0
    if not alive.any():
        return int(weight.argmax())
    return int(np.where(alive, growth, -np.inf).argmax())


def _edge_removal(projection: Projection, edges: Sequence[int]) -> FloatArray:
    """Losses with one of the edges removed."""
    n, live = len(edges), projection.space.live
    changed = {}
    for k, e in enumerate(edges):
        variants = projection.weights[0, e, live].repeat(n, 1)
        variants[k] = 0.0
        changed[e] = variants
    return projection._losses(changed)
