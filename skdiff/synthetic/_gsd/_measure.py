"""Which tables are measured, with what part of the budget, and the search between.

One-shot measures all of them. Adaptive selection measures the one-way marginals, makes
a table that has them, and then picks the tables of counts on which it is most wrong.
The score of a table is the L1 distance of its counts minus the noise that measuring it
would bring (McKenna et al., 2022), and "none of them" is a candidate of score zero:
where it is picked, the next pick gets twice the budget.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff._privacy._release import Release, expected_noise
from skdiff.synthetic._cells import Cells, counts_of
from skdiff.synthetic._gsd._state import Target

ONE_WAY = Fraction(1, 3)  # part of an adaptive budget for the one-way marginals
SELECTING = Fraction(1, 10)  # part of a pick's budget that selects
LARGEST_NOISE = 0.9  # noise of a one-shot cell of a typical table in average cells
PICK_NOISE = 1.0  # total noise of a typical pick as a fraction of the rows


class Task(NamedTuple):
    """What may be measured and how rows are compared."""

    families: list[Any]
    parts: list[Cells]
    one_way: list[Any]
    neighbors: str
    n_rows: int
    rows_per_user: int = 1


class Measured(NamedTuple):
    """Noisy shares of one table, and the standard deviation of a count."""

    family: Any
    cells: Cells
    shares: Array
    sigma: float


def target_of(measured: Measured, weight: float = 1.0) -> Target:
    """The term of the loss for a measured table."""
    return Target(measured.cells, measured.shares, weight)


def targets_of(measured: list[Measured]) -> list[Target]:
    """Terms of the loss, weighted by the precision of their noise."""
    sigma = np.array([m.sigma for m in measured])
    if np.all(sigma == sigma[0]):
        return [target_of(m) for m in measured]
    weights = 1.0 / np.maximum(sigma, sigma.max() * 1e-6) ** 2
    weights *= len(weights) / weights.sum()
    return [target_of(m, float(w)) for m, w in zip(measured, weights, strict=True)]


def label(family: Any) -> str:
    """Name of a table of counts, for the ledger."""
    columns = getattr(family, "columns", None)
    if columns is None:
        predicate = family.predicates[0]
        columns = list(predicate) if isinstance(predicate, dict) else predicate[1]
    return f"{type(family).__name__}({', '.join(map(str, columns))})"


def _take(
    release: Release, codes: IntArray, pair: Any, task: Task, rho: Fraction
) -> Measured:
    family, cells = pair
    counts = counts_of(cells, codes)
    sensitivity_sq = family.sensitivity_sq(task.neighbors)
    noisy, sigma_sq = release.counts(label(family), counts, sensitivity_sq, rho)
    return Measured(family, cells, noisy / task.n_rows, math.sqrt(sigma_sq))


def one_shot(
    release: Release, codes: IntArray, task: Task, rho: Fraction | None
) -> list[Measured]:
    """Measure every table with an equal part of the budget."""
    part = Fraction(0) if rho is None else rho / len(task.parts)
    pairs = zip(task.families, task.parts, strict=True)
    return [_take(release, codes, pair, task, part) for pair in pairs]


def typical_noise(task: Task, rho: Fraction) -> float:
    """Standard deviation of a one-shot count in units of an average cell.

    The median over the tables: a few tables of very many cells, which are shrunk to
    independence anyway, must not decide.
    """
    variance = task.rows_per_user**2 * len(task.parts) / float(rho)
    size = np.median([cells.n_cells for cells in task.parts])
    return float(size * math.sqrt(variance) / task.n_rows)


def most_picks(task: Task, rho: Fraction) -> int:
    """Number of picks whose noise is bearable; public numbers decide it."""
    rest = float(rho * (1 - ONE_WAY) * (1 - SELECTING))
    typical = float(np.median([cells.n_cells for cells in task.parts]))
    bearable = PICK_NOISE * task.n_rows / (math.sqrt(2 / math.pi) * typical)
    # sigma^2 = 2 / (2 rho_pick) at most, times the squared number of rows of a user
    return min(int(rest * (bearable / task.rows_per_user) ** 2), len(task.parts))


class Rounds(NamedTuple):
    """How adaptive picks are grouped: picks in all, and picks per search."""

    n_picks: int
    per_round: int


def adaptive(
    release: Release,
    codes: IntArray,
    task: Task,
    rho: Fraction,
    plan: tuple[Rounds, Callable[[list[Measured]], IntArray]],
) -> list[Measured]:
    """Measure one-way marginals, then what the synthetic table has most wrong."""
    rounds, fit_table = plan
    first = rho if rounds.n_picks < 1 else rho * ONE_WAY
    each = first / len(task.one_way)
    measured = [_take(release, codes, pair, task, each) for pair in task.one_way]
    if rounds.n_picks < 1:
        return measured
    rest = rho - first
    budget = rest / rounds.n_picks
    open_, known = list(range(len(task.parts))), {m.family for m in measured}
    open_ = [w for w in open_ if task.families[w] not in known]
    truth = {w: counts_of(task.parts[w], codes) for w in open_}
    while open_ and rest > 0:
        table = fit_table(measured)
        for _ in range(rounds.per_round):
            if not open_ or rest <= 0:
                break
            # what would be too little for another pick goes into this one
            budget = rest if rest < 2 * budget or len(open_) == 1 else budget
            scores = [_score(task, w, truth[w], table, budget) for w in open_]
            picked = release.choose(
                "selection", [*scores, 0], _score_sensitivity(task), budget * SELECTING
            )
            rest -= budget * SELECTING
            if picked == len(open_):
                if rest < budget:
                    open_ = []
                budget *= 2
                continue
            w = open_.pop(picked)
            part = budget * (1 - SELECTING)
            pair = (task.families[w], task.parts[w])
            measured.append(_take(release, codes, pair, task, part))
            rest -= part
    if rest > 0:
        each = rest / len(task.one_way)
        again = [_take(release, codes, pair, task, each) for pair in task.one_way]
        measured = [
            *map(_combined, measured[: len(again)], again),
            *measured[len(again) :],
        ]
    return measured


def _combined(first: Measured, second: Measured) -> Measured:
    """Two measurements of one table, weighted by their precision."""
    a, b = second.sigma**2, first.sigma**2
    shares = (a * first.shares + b * second.shares) / (a + b)
    return first._replace(shares=shares, sigma=math.sqrt(a * b / (a + b)))


def _score_sensitivity(task: Task) -> int:
    """Largest change of an L1 distance of counts: two cells, or one, change by one."""
    return 2 if task.neighbors == "replace-one" else 1


def _score(
    task: Task, w: int, truth: IntArray, table: IntArray, budget: Fraction
) -> int:
    """L1 distance of counts in whole rows, minus the noise to expect."""
    shares = counts_of(task.parts[w], table) / len(table)
    # rounding what is public keeps the sensitivity
    public = np.round(shares * task.n_rows).astype(np.int64)
    distance = int(np.abs(truth - public).sum())
    variance = task.rows_per_user**2 / float(budget * (1 - SELECTING))
    return distance - round(expected_noise(variance, task.parts[w].n_cells))
