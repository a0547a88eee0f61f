"""Bounds on how many decisions a single model of a level set can change at once.

Every row may be changed in at most two ways, by ``v'w >= above`` or ``v'w <= below``;
each way that some model reaches is a *demand* (see ``_feasible``). The discrepancy is
the largest weight of demands that one model meets. From below: models that meet many.
From above: a concave relaxation, and cliques in the graph of the pairs that go
together. Exactly: a search for the largest clique in which every set that is entered is
asked for a model.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff.multiplicity._sets._feasible import (
    NO,
    SPARE,
    UNKNOWN,
    YES,
    Feasibility,
    outer_value,
    shrunk,
    upper_ends,
)
from skdiff.multiplicity._sets._level_set import LevelSet
from skdiff.multiplicity._sets._sampling import draw_rays

# Beyond this many demands the pairs are too many; the relaxation bounds alone.
LARGEST_GRAPH = 300
# Sets of demands that the exact search asks about before it gives up.
MOST_QUESTIONS = 20_000
# Pairs asked about times training rows: beyond, the easier pairs are left open.
_PAIR_WORK = 30_000_000
_SAMPLED, _IMPROVED, _STARTS, _TRIES, _RESTARTS = 512, 64, 3, 80, 4


class Bracket(NamedTuple):
    """Bounds on the weight of rows that one model can change, and such a model."""

    lower: float
    upper: float
    model: Array  # weights in the coordinates of the problem


@dataclass
class Demands:
    """What it takes to change each row."""

    A: Array  # (k, r), unit vectors
    c: Array  # (k,)
    least: Array  # (k,), smallest value of A u over the set
    weight: Array  # (k,)
    row: Array  # (k,), two demands of one row exclude each other
    ends: Array  # (k, r), the model at which each demand is met most
    spare: float
    together: Array = field(init=False)  # (k, k): NO, UNKNOWN or YES

    def __post_init__(self) -> None:
        k = len(self.c)
        self.together = np.zeros((k, k) if k <= LARGEST_GRAPH else (0, 0), dtype=int)

    def met(self, U: Array) -> Array:
        """Which demands each model (m, r) meets, safe from rounding."""
        return np.asarray(self.c + self.spare <= U @ self.A.T)

    def gain(self, U: Array) -> Array:
        """Weight of the demands that each model meets."""
        return np.asarray(self.met(U) @ self.weight)


def discrepancy_bracket(
    level_set: LevelSet,
    V: Array,
    below: Array,
    above: Array,
    weight: Array,
    budget: float,
    *,
    exact: bool,
    rng: np.random.RandomState,
) -> Bracket:
    """Bracket the largest weight of rows that one model changes.

    ``V`` holds only rows that some model changes, ``below`` and ``above`` (infinite
    where there is no such way) are what ``v'w`` must reach.
    """
    if not len(V):
        return Bracket(0.0, 0.0, level_set.center)
    free = ~np.isfinite(level_set.whitened_directions(V)[1])
    demands = _demands(level_set, V[~free], below[~free], above[~free], weight, budget)
    unbounded = float(weight[free].sum())  # counted as changed in the upper bound only
    if not len(demands.c):
        return Bracket(0.0, unbounded, level_set.center)
    asked = Feasibility.of(level_set, budget)
    most, aims = _relaxed(level_set, demands, asked)
    if level_set.problem.loss.quadratic:
        bound, axes = _spectral(demands, budget)
        most, aims = min(most, bound), np.concatenate([aims, axes])
    pool = _pool(level_set, demands, budget, aims, rng)
    best, u = 0.0, np.zeros(demands.A.shape[1])
    if len(demands.together):
        _link(demands, asked, pool)
        most = min(most, _clique_bound(demands))
    most = min(most, _per_row(demands))
    for start in _starts(demands, pool):
        grown = _grow(demands, asked, start, most)
        if demands.gain(grown[None])[0] > best:
            best, u = float(demands.gain(grown[None])[0]), grown
    for _ in range(_RESTARTS):
        if best >= most:
            break
        held = np.flatnonzero(demands.met(u[None])[0])
        kept = held[rng.uniform(size=len(held)) > 0.3]
        answer = asked.together(demands.A[kept], demands.c[kept])
        if answer.verdict == YES:
            grown = _grow(demands, asked, answer.model, most, shuffle=rng)
            if demands.gain(grown[None])[0] > best:
                best, u = float(demands.gain(grown[None])[0]), grown
    if exact and best < most and len(demands.together):
        search = Search(demands, asked, best, u)
        best, u = search.run()
        if search.complete:
            most = max(best, search.unsettled)
    return Bracket(best, max(best, most) + unbounded, level_set.models(u[None])[0])


def _demands(
    level_set: LevelSet,
    V: Array,
    below: Array,
    above: Array,
    weight: Array,
    budget: float,
) -> Demands:
    """List the ways that are open to some model."""
    U, norms = level_set.whitened_directions(V)
    _, low, high = level_set.maxima(V, budget, tol=1e-7)
    middle = V @ level_set.center
    safe = np.where(norms > 0, norms, 1.0)
    up, down = (above - middle) / safe, (middle - below) / safe
    rises = np.flatnonzero((up <= high.value) & (norms > 0))
    falls = np.flatnonzero((down <= low.value) & (norms > 0))
    row = np.concatenate([rises, falls])
    return Demands(
        A=np.concatenate([U[rises], -U[falls]]),
        c=np.concatenate([up[rises], down[falls]]),
        least=np.concatenate([-low.value[rises], -high.value[falls]]),
        weight=weight[row],
        row=row,
        ends=np.concatenate([high.model[rises], low.model[falls]]),
        spare=SPARE / 2 * np.sqrt(2 * budget),
    )


# --- from below ---------------------------------------------------------------------


def _pool(
    level_set: LevelSet,
    demands: Demands,
    budget: float,
    aims: Array,
    rng: np.random.RandomState,
) -> Array:
    """Boundary models of the rows, of the relaxation, sampled ones, all improved.

    A model is improved by the boundary model of a sum of demands: those it meets, and
    those it misses the less the farther they are.
    """
    rays = draw_rays(level_set, budget, _SAMPLED, rng)
    given = [demands.ends, aims, rays.radius[:, None] * rays.direction]
    pool = shrunk(level_set, np.concatenate(given), budget)
    size = np.sqrt(2 * budget)
    for width in (0.3, 0.1, 0.03):
        top = pool[np.argsort(-demands.gain(pool), kind="stable")[:_IMPROVED]]
        missing = np.maximum(demands.c - top @ demands.A.T, 0.0)
        sums = (demands.weight * np.exp(-missing / (width * size))) @ demands.A
        norms = np.linalg.norm(sums, axis=1)
        unit = sums[norms > 1e-12] / norms[norms > 1e-12, None]
        ends = upper_ends(level_set, unit, budget).model
        pool = np.concatenate([pool, shrunk(level_set, ends, budget)])
    return pool


def _starts(demands: Demands, pool: Array) -> list[Array]:
    """The best models of the pool that meet different demands."""
    met = demands.met(pool)
    order = np.argsort(-(met @ demands.weight), kind="stable")
    chosen: list[int] = []
    for k in order:
        if all(np.any(met[k] != met[other]) for other in chosen):
            chosen.append(k)
        if len(chosen) == _STARTS:
            break
    return [pool[k] for k in chosen]


def _grow(
    demands: Demands,
    asked: Feasibility,
    u: Array,
    most: float,
    shuffle: np.random.RandomState | None = None,
) -> Array:
    """Add demands one by one while one model can meet them all."""
    refused = np.zeros(len(demands.c), dtype=bool)
    for _ in range(_TRIES):
        met = demands.met(u[None])[0]
        if met @ demands.weight >= most:
            break
        open_ = ~met & ~refused & ~np.isin(demands.row, demands.row[met])
        if len(demands.together):
            open_ &= ~np.any(demands.together[:, met] == NO, axis=1)
        candidates = np.flatnonzero(open_)
        if not len(candidates):
            break
        missing = demands.c[candidates] - demands.A[candidates] @ u
        order = missing / demands.weight[candidates]
        if shuffle is not None:
            order *= shuffle.exponential(size=len(order))
        k = candidates[np.argmin(order)]
        wanted = np.append(np.flatnonzero(met), k)
        answer = asked.together(demands.A[wanted], demands.c[wanted])
        if answer.verdict == YES:
            u = answer.model
        else:
            refused[k] = True
    return u


# --- from above ---------------------------------------------------------------------


def _per_row(demands: Demands) -> float:
    """Weight of all rows: the ambiguity."""
    return float(demands.weight[np.unique(demands.row, return_index=True)[1]].sum())


def _relaxed(
    level_set: LevelSet, demands: Demands, asked: Feasibility
) -> tuple[float, Array]:
    """Bound by the concave relaxation ``z <= (a'u - least) / (c - least)``, ``z <= 1``.

    For any shares b in [0, 1], the weight is at most ``sum w (1 - b) + max_u sum w b
    (a'u - least) / (c - least)``, one support function of the set; b is improved by
    projected subgradient steps, and every step is a bound. With the maximisers met
    on the way.
    """
    scale = demands.weight / (demands.c - demands.least)
    share = np.ones(len(scale))
    best, aims = float(demands.weight.sum()), [np.zeros(demands.A.shape[1])]
    for k in range(30):
        direction = (share * scale) @ demands.A
        norm = float(np.linalg.norm(direction))
        if norm <= 1e-12:
            break
        unit = direction[None] / norm
        found = upper_ends(level_set, unit, asked.budget)
        top = outer_value(level_set, unit, found, asked.budget, asked.radius)[0]
        bound = (
            demands.weight @ (1 - share) + norm * top - (share * scale) @ demands.least
        )
        best = min(best, float(bound))
        aims.append(found.model[0])
        reached = (demands.A @ found.model[0] - demands.least) * scale / demands.weight
        share = np.clip(share + 2 / (k + 2) * (1 - reached), 0.0, 1.0)
    return _whole(best, demands), np.array(aims)


def _spectral(demands: Demands, budget: float) -> tuple[float, Array]:
    """Bound for a set that is a ball, where rows may change either way.

    A changed row has ``(a'u)^2 >= c^2``; for any shares b in [0, 1] the weight is at
    most ``sum w (1 - b)`` plus the squared radius times the largest eigenvalue of ``sum
    w b a a' / c^2``. With the models at the ends of the eigenvectors met on the way.
    """
    order = np.argsort(demands.c)
    _, first = np.unique(demands.row[order], return_index=True)
    nearest = order[first]  # the closer demand of each row
    A, c, weight = demands.A[nearest], demands.c[nearest], demands.weight[nearest]
    share, best = np.ones(len(c)), float(weight.sum())
    scale, axes = 2 * budget / c**2, []
    for k in range(100):
        moment = (A.T * (weight * share * scale)) @ A
        values, vectors = np.linalg.eigh(moment)
        best = min(best, float(weight @ (1 - share) + values[-1]))
        axes.append(np.sqrt(2 * budget) * vectors[:, -1])
        reached = scale * (A @ vectors[:, -1]) ** 2
        share = np.clip(share + 1 / np.sqrt(k + 4) * (1 - reached), 0.0, 1.0)
    return _whole(best, demands), np.concatenate([axes, np.negative(axes)])


def _whole(bound: float, demands: Demands) -> float:
    """The bound, rounded down where weights count rows."""
    if np.all(demands.weight == np.round(demands.weight)):
        return float(np.floor(bound + 1e-9))
    return bound


def _link(demands: Demands, asked: Feasibility, pool: Array) -> None:
    """Settle which pairs of demands one model can meet."""
    met = demands.met(pool)
    demands.together[(met.T.astype(float) @ met) > 0] = YES
    same = demands.row[:, None] == demands.row
    demands.together[same] = NO
    np.fill_diagonal(demands.together, YES)
    first, second = np.nonzero(np.triu(demands.together == UNKNOWN, 1))
    affordable = max(1000, _PAIR_WORK // max(asked.level_set.data.n, 1))
    if len(first) > affordable:
        hardest = np.argsort(-(demands.c[first] + demands.c[second]), kind="stable")
        first, second = first[hardest[:affordable]], second[hardest[:affordable]]
    verdict = asked.pairs(demands.A, demands.c, first, second)
    demands.together[first, second] = verdict
    demands.together[second, first] = verdict


def _clique_bound(demands: Demands) -> float:
    """Best of several greedy colourings: a model meets one demand a colour at most."""
    linked = demands.together != NO
    degree = linked.sum(axis=1)
    rng = np.random.RandomState(0)
    orders = [np.argsort(-degree, kind="stable"), np.argsort(degree, kind="stable")]
    orders += [rng.permutation(len(degree)) for _ in range(6)]
    return min(float(colour(linked, demands.weight, o)[1][-1]) for o in orders)


def colour(linked: Any, weight: Array, order: Any) -> tuple[Any, Array]:
    """Colour the graph greedily; return vertices and bounds on what they add.

    Vertices of one colour are pairwise unlinked. They come colour by colour, and the
    bound at a vertex is the largest weight of a clique among it and those before it.
    """
    vertices: list[int] = []
    bounds: list[float] = []
    total, left = 0.0, list(order)
    while left:
        blocked = np.zeros(len(linked), dtype=bool)
        chosen = []
        for k in left:
            if not blocked[k]:
                chosen.append(k)
                blocked |= linked[k]
        picked = set(chosen)
        left = [k for k in left if k not in picked]
        heaviest = 0.0
        for k in sorted(chosen, key=lambda k: weight[k]):
            heaviest = max(heaviest, float(weight[k]))
            vertices.append(k)
            bounds.append(total + heaviest)
        total += heaviest
    return np.array(vertices), np.array(bounds)


# --- exactly ------------------------------------------------------------------------


class Search:
    """Branch and bound over sets of demands, from the best known model."""

    def __init__(
        self, demands: Demands, asked: Feasibility, best: float, model: Array
    ) -> None:
        self.demands, self.asked = demands, asked
        self.linked = demands.together != NO
        self.best, self.model = best, model
        self.questions, self.complete = 0, True
        self.unsettled = 0.0  # largest weight of a set that stayed unknown

    def run(self) -> tuple[float, Array]:
        """Search everything that could beat the best; return it and its model."""
        degree = self.linked.sum(axis=1)
        order = np.argsort(-degree, kind="stable")
        self._expand([], None, order)
        return self.best, self.model

    def _expand(self, chosen: list[int], u: Array | None, candidates: Any) -> None:
        demands = self.demands
        held = float(demands.weight[chosen].sum())
        vertices, bounds = colour(self.linked, demands.weight, candidates)
        for k in range(len(vertices) - 1, -1, -1):
            if held + bounds[k] <= self.best:
                return
            if self.questions >= MOST_QUESTIONS:
                self.complete = False
                return
            self.questions += 1
            wanted = [*chosen, int(vertices[k])]
            answer = self.asked.together(demands.A[wanted], demands.c[wanted], u)
            if answer.verdict == NO:
                continue
            if answer.verdict == UNKNOWN:
                weight = held + float(demands.weight[vertices[k]])
                self.unsettled = max(self.unsettled, weight)
            gain = float(demands.gain(answer.model[None])[0])
            if answer.verdict == YES and gain > self.best:
                self.best, self.model = gain, answer.model
            rest = vertices[:k][self.linked[vertices[k], vertices[:k]]]
            self._expand(wanted, answer.model, rest)
