"""Training of the regressor of values, in rounds.

Rows of the model hold few of the completions that a strong reward leads to: a soft mean
of some of them is far too low, and so is the regressor. The regressor of one round
therefore guides rows and completions for the next, whose weights make their soft mean
that of the model.
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING
from skdiff.density._guided._steps import Guide, fill
from skdiff.density._guided._values import (
    Counted,
    Regressed,
    Rollout,
    mask_cells,
    partial_features,
)
from skdiff.density._guided._weights import soft_value
from skdiff.density._joint._chain import Joint, random_orders

ROUNDS, LEAST_ROWS = 4, 10  # of training, and rows that are worth a round


class Effort(NamedTuple):
    """How values are computed, and from how many rows they are learned."""

    temperature: float
    n_candidates: int
    n_completions: int
    n_rows: int


def learn_values(
    joint: Joint, reward: Counted, regressor: Any, effort: Effort, rng: Any
) -> Any:
    """Fit the rows of the model of a first round, then all rows so far in each round.

    With temperature zero there are no weights, and all rows are the model's.
    """
    n_rounds = int(np.clip(effort.n_rows // LEAST_ROWS, 1, ROUNDS))
    sizes = np.full(n_rounds, effort.n_rows // n_rounds)
    sizes[0] += effort.n_rows - sizes.sum()
    if not effort.temperature:
        sizes = np.array([effort.n_rows])
    start = np.full((sizes[0], len(joint.sizes)), MISSING)
    rows = mask_cells(joint.complete(start, rng), rng)
    rollout = Rollout(joint, reward, effort.temperature, effort.n_completions)
    values = rollout(rows, rng)
    fitted = fit_values(joint, regressor, rows, values)
    for size in sizes[1:]:
        value = Regressed(fitted, joint.sizes)
        guide = Guide(joint, value, effort.temperature, effort.n_candidates)
        start = np.full((size, len(joint.sizes)), MISSING)
        more = mask_cells(completed(guide, start, rng)[0], rng)
        found = guided_values(guide, more, reward, effort, rng)
        rows, values = np.concatenate([rows, more]), np.concatenate([values, found])
        fitted = fit_values(joint, regressor, rows, values)
    return fitted


def completed(guide: Guide, rows: IntArray, rng: Any) -> tuple[IntArray, Array]:
    """Rows filled by a guide, and the logarithms of their weights."""
    orders = random_orders(len(rows), rows.shape[1], rng)
    found = fill(guide, rows, orders, rng, particles=False)
    return found.codes, found.log_weight


def guided_values(
    guide: Guide, rows: IntArray, reward: Counted, effort: Effort, rng: Any
) -> Array:
    """Soft values of partial rows by weighted completions towards high rewards."""
    many = np.repeat(rows, effort.n_completions, axis=0)
    codes, log_weight = completed(guide, many, rng)
    gain = reward(codes) + effort.temperature * log_weight
    return soft_value(gain.reshape(len(rows), -1), effort.temperature)


def fit_values(joint: Joint, regressor: Any, rows: IntArray, values: Array) -> Any:
    """A regressor from partial rows to their values; minus infinity counts as low."""
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("No row was found whose reward is not minus infinity.")
    seen = values[finite]
    # as far below the others as they lie apart
    low = seen.min() - max(1.0, seen.max() - seen.min())
    targets = np.where(finite, values, low)
    return clone(regressor).fit(partial_features(rows, joint.sizes), targets)
