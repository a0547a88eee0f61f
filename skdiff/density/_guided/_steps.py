"""Filling cells by value: soft value decoding of single rows and of populations.

Equation numbers are those of arXiv 2408.08252. With v the value of a partial row, the
kernel that reaches the target is ``p(cell | row) exp((v(row, cell) - v(row)) / t)``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING
from skdiff.density._gibbs import draw
from skdiff.density._guided._values import Value
from skdiff.density._guided._weights import (
    choose,
    effective_size,
    systematic,
)
from skdiff.density._joint._chain import Joint, by_column

RESAMPLE_BELOW = 0.5  # effective part of a population below which it is resampled
KEPT_PART = 0.3  # effective part that one resampling leaves at least
HALVINGS = 20


@dataclass(frozen=True)
class Guide:
    """What a step needs: a model, a value, and how many candidates are compared."""

    joint: Joint
    value: Value
    temperature: float
    n_candidates: int


@dataclass
class Population:
    """Partial rows, the logarithms of their weights, and the values they were given."""

    codes: IntArray
    orders: IntArray
    log_weight: Array
    value: Array


def fill(
    guide: Guide, start: IntArray, orders: IntArray, rng: Any, *, particles: bool
) -> Population:
    """Fill all cells; ``particles`` resamples the rows on the way.

    The weights that are left make the rows a sample of the target, whatever the error
    of the values.
    """
    n = len(start)
    group = Population(start.copy(), orders.copy(), np.zeros(n), np.zeros(n))
    for t in range(start.shape[1]):
        column = group.orders[:, t]
        gap = group.codes[np.arange(n), column] == MISSING
        for u, rows in by_column(np.where(gap, column, -1)):
            step(guide, group, rows, u, rng)
        if particles and guide.temperature:
            # the value so far is part of the weight of a row that is not finished
            ahead = group.log_weight + group.value / guide.temperature
            if effective_size(ahead) < RESAMPLE_BELOW * n:
                group = resampled(group, ahead, rng)
    return group


def resampled(group: Population, ahead: Array, rng: Any) -> Population:
    """Resample by as much of the weights as leaves enough rows; keep the rest.

    Noisy values of early cells would otherwise leave copies of a few rows.
    """
    n, alive = len(ahead), np.isfinite(ahead)
    if not alive.any():
        return group
    finite = np.where(alive, ahead, 0.0)

    def tempered(power: float) -> Array:
        return np.where(alive, power * finite, -np.inf)

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = effective_size(tempered(middle)) >= KEPT_PART * alive.sum()
        low, high = (middle, high) if enough else (low, middle)
    kept = systematic(tempered(low), n, rng)
    left = group.log_weight[kept] - low * finite[kept]
    return Population(group.codes[kept], group.orders[kept], left, group.value[kept])


def step(guide: Guide, group: Population, rows: IntArray, u: int, rng: Any) -> None:
    """Draw one cell of some rows in proportion to exp(value / t) (Eq. 5)."""
    log_p = guide.joint.log_conditional(group.codes[rows], u)
    options, log_prior = candidates(log_p, guide, rng)
    trial = np.repeat(group.codes[rows], options.shape[1], axis=0)
    trial[:, u] = options.ravel()
    # fewer categories than candidates share the completions of all candidates
    times = max(1, guide.n_candidates // options.shape[1])
    values = guide.value(trial, rng, times).reshape(options.shape)
    here = np.arange(len(rows))
    if not guide.temperature:
        best = np.where(np.isfinite(log_prior), values, -np.inf).argmax(axis=1)
        group.codes[rows, u] = options[here, best]
        group.value[rows] = values[here, best]
        return
    log = log_prior + values / guide.temperature
    taken = choose(log, rng)
    chosen = values[here, taken]
    group.codes[rows, u] = options[here, taken]
    # prior over proposal: the mean of the candidates over the one that was taken
    alive = np.isfinite(chosen)
    spent = np.where(alive, chosen, 0.0) / guide.temperature
    gain = np.where(alive, logsumexp(log, axis=1) - spent, -np.inf)
    group.log_weight[rows] += gain
    group.value[rows] = chosen


def candidates(log_p: Array, guide: Guide, rng: Any) -> tuple[IntArray, Array]:
    """Categories to compare and the logarithms of their prior weights.

    All categories where there are no more than candidates, which leaves no chance;
    otherwise draws from the model, of equal weight. At temperature zero they are always
    drawn, for the best of all categories would be chosen however improbable it is.
    """
    n, k = log_p.shape
    if k <= guide.n_candidates and guide.temperature:
        return np.tile(np.arange(k), (n, 1)), log_p
    many = np.repeat(log_p, guide.n_candidates, axis=0)
    drawn = draw(many, rng).reshape(n, guide.n_candidates)
    return drawn, np.full(drawn.shape, -np.log(guide.n_candidates))


def best_of(rewards: Array, n: int) -> IntArray:
    """Place of the best row in each of n equal parts of a pool."""
    each = len(rewards) // n
    place = rewards[: n * each].reshape(n, each).argmax(axis=1)
    return np.asarray(np.arange(n) * each + place)
