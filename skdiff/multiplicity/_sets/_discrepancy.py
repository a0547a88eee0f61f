"""Bounds on how many decisions a single model of a level set can change at once.

Every row may be changed in at most two ways, by ``v'w >= above`` or ``v'w <= below``;
each way that some model reaches is a *constraint* (see ``_feasible``). The discrepancy
is the largest weight of constraints that one model meets. From below: models that meet
many. From above: a concave relaxation, and cliques in the graph of the pairs that go
together. Exactly: a search for the largest clique in which every set that is entered is
checked for feasibility.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray
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

# Beyond this many constraints the pairs are too many; the relaxation bounds alone.
LARGEST_GRAPH = 300
# Sets of constraints that the exact search checks before it gives up.
MOST_CHECKS = 20_000
# Pairs checked times training rows: beyond, the easier pairs are left open.
_PAIR_WORK = 30_000_000
_SAMPLED, _IMPROVED, _STARTS, _TRIES, _RESTARTS = 512, 64, 3, 80, 4


class Bracket(NamedTuple):
    """Bounds on the weight of rows that one model can change, and such a model."""

    lower: float
    upper: float
    model: Array  # weights in the coordinates of the problem


@dataclass(frozen=True)
class Changes:
    """What the predictor of each row must reach for the row to count as changed."""

    V: Array  # (m, p), rows as functionals of the parameters
    below: Array  # (m,), it must fall to this; minus infinity where it cannot
    above: Array  # (m,), or rise to this; infinity where it cannot
    weight: Array  # (m,)

    def take(self, rows: Any) -> "Changes":
        """The same for some rows."""
        return Changes(*(part[rows] for part in vars(self).values()))

    def made(self, W: Array) -> BoolArray:
        """Which rows each model (k, p) changes."""
        F = W @ self.V.T
        return np.asarray((self.below >= F) | (self.above <= F))


@dataclass
class Constraints:
    """What it takes to change each row."""

    A: Array  # (k, r), unit vectors
    c: Array  # (k,)
    least: Array  # (k,), smallest value of A u over the set
    weight: Array  # (k,)
    row: Array  # (k,), two constraints of one row exclude each other
    ends: Array  # (k, r), the model at which each constraint is met most
    spare: float
    together: Array = field(init=False)  # (k, k): NO, UNKNOWN or YES

    def __post_init__(self) -> None:
        k = len(self.c)
        self.together = np.zeros((k, k) if k <= LARGEST_GRAPH else (0, 0), dtype=int)

    def met(self, U: Array) -> Array:
        """Which constraints each model (m, r) meets, safe from rounding."""
        return np.asarray(self.c + self.spare <= U @ self.A.T)

    def gain(self, U: Array) -> Array:
        """Weight of the constraints that each model meets."""
        return np.asarray(self.met(U) @ self.weight)


def discrepancy_bracket(
    level_set: LevelSet,
    changes: Changes,
    budget: float,
    *,
    exact: bool,
    rng: np.random.RandomState,
) -> Bracket:
    """Bracket the largest weight of rows that one model changes.

    ``changes`` holds only rows that some model changes. Rows that the data do not
    bound count in full in the upper bound; a move along the null space, which costs
    nothing, changes as many of them as it can.
    """
    if not len(changes.V):
        return Bracket(0.0, 0.0, level_set.center)
    free = ~np.isfinite(level_set.whitened_directions(changes.V)[1])
    constraints = _constraints_of(level_set, changes.take(~free), budget)
    best, most, model = 0.0, 0.0, level_set.center
    if len(constraints.c):
        best, most, u = _bounded_bracket(
            level_set, constraints, budget, exact=exact, rng=rng
        )
        model = level_set.models(u[None])[0]
    if free.any():
        best, model = _moved_along_null(level_set, changes, free, model, rng)
    unbounded = float(changes.weight[free].sum())
    return Bracket(best, max(best, most + unbounded), model)


def _bounded_bracket(
    level_set: LevelSet,
    constraints: Constraints,
    budget: float,
    *,
    exact: bool,
    rng: np.random.RandomState,
) -> tuple[float, float, Array]:
    """Bounds for rows that the data bound, and the whitened model of the lower one."""
    feasibility = Feasibility.of(level_set, budget)
    most, aims = _relaxed(level_set, constraints, feasibility)
    if level_set.problem.loss.quadratic:
        bound, axes = _spectral(constraints, budget)
        most, aims = min(most, bound), np.concatenate([aims, axes])
    pool = _pool(level_set, constraints, budget, aims, rng)
    best, u = 0.0, np.zeros(constraints.A.shape[1])
    if len(constraints.together):
        _link(constraints, feasibility, pool)
        most = min(most, _clique_bound(constraints))
    most = min(most, _per_row(constraints))
    for start in _starts(constraints, pool):
        grown = _grow(constraints, feasibility, start, most)
        if constraints.gain(grown[None])[0] > best:
            best, u = float(constraints.gain(grown[None])[0]), grown
    for _ in range(_RESTARTS):
        if best >= most:
            break
        held = np.flatnonzero(constraints.met(u[None])[0])
        kept = held[rng.uniform(size=len(held)) > 0.3]
        found = feasibility.together(constraints.A[kept], constraints.c[kept])
        if found.verdict == YES:
            grown = _grow(constraints, feasibility, found.model, most, shuffle=rng)
            if constraints.gain(grown[None])[0] > best:
                best, u = float(constraints.gain(grown[None])[0]), grown
    if exact and best < most and len(constraints.together):
        search = Search(constraints, feasibility, best, u)
        best, u = search.run()
        if search.complete:
            most = max(best, search.unsettled)
    return best, max(best, most), u


def _moved_along_null(
    level_set: LevelSet,
    changes: Changes,
    free: Any,
    model: Array,
    rng: np.random.RandomState,
) -> tuple[float, Array]:
    """The best of some moves along the null space, by the weight it changes."""
    null = level_set.null
    N = changes.V[free] @ null
    drawn = rng.normal(size=(_SAMPLED, null.shape[1]))
    aims = np.concatenate([drawn, N, -N])
    aims /= np.maximum(np.linalg.norm(aims, axis=1, keepdims=True), 1e-300)
    typical = float(np.median(np.linalg.norm(N, axis=1)))
    best, found = float(changes.weight @ changes.made(model[None])[0]), model
    for far in (1e1, 1e2, 1e3, 1e4):
        W = model + far / max(typical, 1e-300) * aims @ null.T
        weight = changes.made(W) @ changes.weight
        top = int(weight.argmax())
        if weight[top] > best:
            best, found = float(weight[top]), W[top]
    return best, found


def _constraints_of(
    level_set: LevelSet, changes: Changes, budget: float
) -> Constraints:
    """List the ways that are open to some model."""
    V = changes.V
    U, norms = level_set.whitened_directions(V)
    _, low, high = level_set.maxima(V, budget, tol=1e-7)
    middle = V @ level_set.center
    safe = np.where(norms > 0, norms, 1.0)
    up, down = (changes.above - middle) / safe, (middle - changes.below) / safe
    rises = np.flatnonzero((up <= high.value) & (norms > 0))
    falls = np.flatnonzero((down <= low.value) & (norms > 0))
    row = np.concatenate([rises, falls])
    return Constraints(
        A=np.concatenate([U[rises], -U[falls]]),
        c=np.concatenate([up[rises], down[falls]]),
        least=np.concatenate([-low.value[rises], -high.value[falls]]),
        weight=changes.weight[row],
        row=row,
        ends=np.concatenate([high.model[rises], low.model[falls]]),
        spare=SPARE / 2 * np.sqrt(2 * budget),
    )


# --- from below ---------------------------------------------------------------------


def _pool(
    level_set: LevelSet,
    constraints: Constraints,
    budget: float,
    aims: Array,
    rng: np.random.RandomState,
) -> Array:
    """Boundary models of the rows, of the relaxation, sampled ones, all improved.

    A model is improved by the boundary model of a sum of constraints: those it meets,
    and those it misses the less the farther they are.
    """
    rays = draw_rays(level_set, budget, _SAMPLED, rng)
    given = [constraints.ends, aims, rays.radius[:, None] * rays.direction]
    pool = shrunk(level_set, np.concatenate(given), budget)
    size = np.sqrt(2 * budget)
    for width in (0.3, 0.1, 0.03):
        top = pool[np.argsort(-constraints.gain(pool), kind="stable")[:_IMPROVED]]
        missing = np.maximum(constraints.c - top @ constraints.A.T, 0.0)
        sums = (constraints.weight * np.exp(-missing / (width * size))) @ constraints.A
        norms = np.linalg.norm(sums, axis=1)
        unit = sums[norms > 1e-12] / norms[norms > 1e-12, None]
        ends = upper_ends(level_set, unit, budget).model
        pool = np.concatenate([pool, shrunk(level_set, ends, budget)])
    return pool


def _starts(constraints: Constraints, pool: Array) -> list[Array]:
    """The best models of the pool that meet different constraints."""
    met = constraints.met(pool)
    order = np.argsort(-(met @ constraints.weight), kind="stable")
    chosen: list[int] = []
    for k in order:
        if all(np.any(met[k] != met[other]) for other in chosen):
            chosen.append(k)
        if len(chosen) == _STARTS:
            break
    return [pool[k] for k in chosen]


def _grow(
    constraints: Constraints,
    feasibility: Feasibility,
    u: Array,
    most: float,
    shuffle: np.random.RandomState | None = None,
) -> Array:
    """Add constraints one by one while one model can meet them all."""
    refused = np.zeros(len(constraints.c), dtype=bool)
    for _ in range(_TRIES):
        met = constraints.met(u[None])[0]
        if met @ constraints.weight >= most:
            break
        open_ = ~met & ~refused & ~np.isin(constraints.row, constraints.row[met])
        if len(constraints.together):
            open_ &= ~np.any(constraints.together[:, met] == NO, axis=1)
        candidates = np.flatnonzero(open_)
        if not len(candidates):
            break
        missing = constraints.c[candidates] - constraints.A[candidates] @ u
        order = missing / constraints.weight[candidates]
        if shuffle is not None:
            order *= shuffle.exponential(size=len(order))
        k = candidates[np.argmin(order)]
        wanted = np.append(np.flatnonzero(met), k)
        found = feasibility.together(constraints.A[wanted], constraints.c[wanted])
        if found.verdict == YES:
            u = found.model
        else:
            refused[k] = True
    return u


# --- from above ---------------------------------------------------------------------


def _per_row(constraints: Constraints) -> float:
    """Weight of all rows: the ambiguity."""
    return float(
        constraints.weight[np.unique(constraints.row, return_index=True)[1]].sum()
    )


def _relaxed(
    level_set: LevelSet, constraints: Constraints, feasibility: Feasibility
) -> tuple[float, Array]:
    """Bound by the concave relaxation ``z <= (a'u - least) / (c - least)``, ``z <= 1``.

    For any shares b in [0, 1], the weight is at most ``sum w (1 - b) + max_u sum w b
    (a'u - least) / (c - least)``, one support function of the set; b is improved by
    projected subgradient steps, and every step is a bound. With the maximisers met
    on the way.
    """
    scale = constraints.weight / (constraints.c - constraints.least)
    share = np.ones(len(scale))
    best, aims = float(constraints.weight.sum()), [np.zeros(constraints.A.shape[1])]
    for k in range(30):
        direction = (share * scale) @ constraints.A
        norm = float(np.linalg.norm(direction))
        if norm <= 1e-12:
            break
        unit = direction[None] / norm
        found = upper_ends(level_set, unit, feasibility.budget)
        top = outer_value(
            level_set, unit, found, feasibility.budget, feasibility.radius
        )[0]
        bound = (
            constraints.weight @ (1 - share)
            + norm * top
            - (share * scale) @ constraints.least
        )
        best = min(best, float(bound))
        aims.append(found.model[0])
        reached = (
            (constraints.A @ found.model[0] - constraints.least)
            * scale
            / constraints.weight
        )
        share = np.clip(share + 2 / (k + 2) * (1 - reached), 0.0, 1.0)
    return _whole(best, constraints), np.array(aims)


def _spectral(constraints: Constraints, budget: float) -> tuple[float, Array]:
    """Bound for a set that is a ball, where rows may change either way.

    A changed row has ``(a'u)^2 >= c^2``; for any shares b in [0, 1] the weight is at
    most ``sum w (1 - b)`` plus the squared radius times the largest eigenvalue of ``sum
    w b a a' / c^2``. With the models at the ends of the eigenvectors met on the way.
    """
    order = np.argsort(constraints.c)
    _, first = np.unique(constraints.row[order], return_index=True)
    nearest = order[first]  # the closer constraint of each row
    A, c, weight = (
        constraints.A[nearest],
        constraints.c[nearest],
        constraints.weight[nearest],
    )
    share, best = np.ones(len(c)), float(weight.sum())
    scale, axes = 2 * budget / c**2, []
    for k in range(100):
        moment = (A.T * (weight * share * scale)) @ A
        values, vectors = np.linalg.eigh(moment)
        best = min(best, float(weight @ (1 - share) + values[-1]))
        axes.append(np.sqrt(2 * budget) * vectors[:, -1])
        reached = scale * (A @ vectors[:, -1]) ** 2
        share = np.clip(share + 1 / np.sqrt(k + 4) * (1 - reached), 0.0, 1.0)
    return _whole(best, constraints), np.concatenate([axes, np.negative(axes)])


def _whole(bound: float, constraints: Constraints) -> float:
    """The bound, rounded down where weights count rows."""
    if np.all(constraints.weight == np.round(constraints.weight)):
        return float(np.floor(bound + 1e-9))
    return bound


def _link(constraints: Constraints, feasibility: Feasibility, pool: Array) -> None:
    """Settle which pairs of constraints one model can meet."""
    met = constraints.met(pool)
    constraints.together[(met.T.astype(float) @ met) > 0] = YES
    same = constraints.row[:, None] == constraints.row
    constraints.together[same] = NO
    np.fill_diagonal(constraints.together, YES)
    first, second = np.nonzero(np.triu(constraints.together == UNKNOWN, 1))
    affordable = max(1000, _PAIR_WORK // max(feasibility.level_set.data.n, 1))
    if len(first) > affordable:
        hardest = np.argsort(
            -(constraints.c[first] + constraints.c[second]), kind="stable"
        )
        first, second = first[hardest[:affordable]], second[hardest[:affordable]]
    verdict = feasibility.pairs(constraints.A, constraints.c, first, second)
    constraints.together[first, second] = verdict
    constraints.together[second, first] = verdict


def _clique_bound(constraints: Constraints) -> float:
    """Best of several greedy colourings: a model meets one per colour at most."""
    linked = constraints.together != NO
    degree = linked.sum(axis=1)
    rng = np.random.RandomState(0)
    orders = [np.argsort(-degree, kind="stable"), np.argsort(degree, kind="stable")]
    orders += [rng.permutation(len(degree)) for _ in range(6)]
    return min(float(colour(linked, constraints.weight, o)[1][-1]) for o in orders)


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
    """Branch and bound over sets of constraints, from the best known model."""

    def __init__(
        self,
        constraints: Constraints,
        feasibility: Feasibility,
        best: float,
        model: Array,
    ) -> None:
        self.constraints, self.feasibility = constraints, feasibility
        self.linked = constraints.together != NO
        self.best, self.model = best, model
        self.checks, self.complete = 0, True
        self.unsettled = 0.0  # largest weight of a set that stayed unknown

    def run(self) -> tuple[float, Array]:
        """Search everything that could beat the best; return it and its model."""
        degree = self.linked.sum(axis=1)
        order = np.argsort(-degree, kind="stable")
        self._expand([], None, order)
        return self.best, self.model

    def _expand(self, chosen: list[int], u: Array | None, candidates: Any) -> None:
        constraints = self.constraints
        held = float(constraints.weight[chosen].sum())
        vertices, bounds = colour(self.linked, constraints.weight, candidates)
        for k in range(len(vertices) - 1, -1, -1):
            if held + bounds[k] <= self.best:
                return
            if self.checks >= MOST_CHECKS:
                self.complete = False
                return
            self.checks += 1
            wanted = [*chosen, int(vertices[k])]
            found = self.feasibility.together(
                constraints.A[wanted], constraints.c[wanted], u
            )
            if found.verdict == NO:
                continue
            if found.verdict == UNKNOWN:
                weight = held + float(constraints.weight[vertices[k]])
                self.unsettled = max(self.unsettled, weight)
            gain = float(constraints.gain(found.model[None])[0])
            if found.verdict == YES and gain > self.best:
                self.best, self.model = gain, found.model
            rest = vertices[:k][self.linked[vertices[k], vertices[:k]]]
            self._expand(wanted, found.model, rest)
