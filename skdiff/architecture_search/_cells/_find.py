"""A whole search: halves of the rows, a supernet, candidates, and what decides."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skdiff._base.typing import FloatArray
from skdiff._nn._data import TensorData
from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._cell import CellSpace
from skdiff.architecture_search._cells._race import Bench, Race, race
from skdiff.architecture_search._cells._selection import (
    Projection,
    draws,
    log_weights,
    project,
)
from skdiff.architecture_search._cells._space import Space
from skdiff.architecture_search._cells._supernet import History, Search, Supernet


@dataclass(frozen=True)
class Choice:
    """How an architecture is chosen, by the names of the estimator's parameters."""

    selection: str = "race"
    n_candidates: int = 8
    temperature: float = 1.0
    n_restarts: int = 1
    max_iter: int = 60


@dataclass(frozen=True)
class Found:
    """What a search has found, and the evidence."""

    architecture: Architecture
    alphas: FloatArray
    perturbation_scores: FloatArray
    history: History
    candidates: list[tuple[str, Architecture]]
    race: Race | None


def find(
    space: Space,
    search: Search,
    choice: Choice,
    bench: Bench,
    everything: TensorData,
    seed: int,
) -> Found:
    """Search, and select by the rule of ``choice``.

    The strategy ``"joint"`` trains its supernet on ``everything``, the others on the
    two halves of ``bench``.
    """
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.RandomState(seed)
    nets = Supernet(space, search, choice.n_restarts)
    rows = everything if search.strategy == "joint" else bench.train
    rows, held = cast(rows, space.dtype), cast(bench.held, space.dtype)
    nets.start(generator, rows.X)
    history = nets.run(rows, held, generator, bench.progress)
    order = np.argsort(nets.evaluate(held), kind="stable")
    alphas = nets.alpha.detach().double().cpu().numpy()[order]
    logs = [log_weights(space, alpha) for alpha in alphas]
    candidates = [("magnitude", space.discretise(logs[0]))]
    blank = search.strategy == "joint"  # all weights are equal: magnitude means nothing
    weights = space.weights(nets.alpha.detach(), search.weighting)
    best = int(order[0])
    projection = Projection(
        space,
        nets.alone(best),
        weights[best : best + 1],
        held,
        search,
        bench.progress,
    )
    if choice.selection in ("perturbation", "race") and not bench.progress.is_over():
        removed, scores = by_removal(projection, rows, generator, rng)
        candidates = [*([] if blank else candidates), ("perturbation", removed)]
    else:
        scores = projection.scores()
    result = None
    if choice.selection == "race":
        more = choice.n_candidates - len(candidates)
        known = [one for _, one in candidates]
        drawn = draws(space, logs, choice.temperature, more, known, rng)
        candidates = distinct([*candidates, *(("drawn", one) for one in drawn)])
        result = race([a for _, a in candidates], bench, choice.max_iter, seed)
        chosen = candidates[result.winner][1]
    else:  # the last rule that was computed is the one asked for
        chosen = candidates[-1][1]
    alpha = np.where(space.allowed(), alphas[0], -np.inf)
    return Found(chosen, alpha, scores, history, candidates, result)


def cast(data: TensorData, dtype: torch.dtype | None) -> TensorData:
    """Return rows in another dtype; codes of classes stay as they are."""

    def convert(t: Any) -> Any:
        return t.to(dtype) if t is not None and t.is_floating_point() else t

    if dtype is None:
        return data

    return TensorData(convert(data.X), tuple(convert(t) for t in data.y))


def by_removal(
    projection: Projection,
    rows: TensorData,
    generator: torch.Generator,
    rng: np.random.RandomState,
) -> tuple[Architecture, FloatArray]:
    """Select by removal: edge by edge in a cell, the best path in a hypercuboid."""
    if isinstance(projection.space, CellSpace):
        return project(projection, rows, generator, rng)
    scores = projection.scores()
    found = scores
    if np.isnan(scores).any():  # the fit has ended: the weights decide
        with np.errstate(divide="ignore"):
            found = np.log(projection.weights[0].cpu().numpy())
    return projection.space.discretise(found), scores


def distinct(
    candidates: list[tuple[str, Architecture]],
) -> list[tuple[str, Architecture]]:
    """Drop architectures that came before; their origins are joined."""
    names: dict[Architecture, str] = {}
    for name, one in candidates:
        names[one] = f"{names[one]}, {name}" if one in names else name
    return [(name, one) for one, name in names.items()]
