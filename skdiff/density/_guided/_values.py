"""The value of a partial row: what reward its completions have.

With temperature t it is ``t log E exp(r / t)`` over completions drawn from the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING, indicators
from skdiff.density._guided._weights import soft_value
from skdiff.density._joint._chain import Joint, likeliest_cells, random_orders

ROWS = 100_000  # complete rows that are rewarded together
Reward = Callable[[IntArray], Array]
Value = Callable[[IntArray, Any, int], Array]


class Counted:
    """A reward that counts the rows it was computed for."""

    def __init__(self, reward: Reward) -> None:
        self.reward, self.calls = reward, 0

    def __call__(self, codes: IntArray) -> Array:
        self.calls += len(codes)
        parts = [self.reward(codes[i : i + ROWS]) for i in range(0, len(codes), ROWS)]
        return np.concatenate(parts) if parts else np.empty(0)


@dataclass(frozen=True)
class Rollout:
    """Soft value of rewards of completions drawn from the model."""

    joint: Joint
    reward: Counted
    temperature: float
    n_completions: int

    def __call__(self, codes: IntArray, rng: Any, times: int = 1) -> Array:
        """Values of rows; ``times`` as many completions as usual of each."""
        n_completions = self.n_completions * times
        complete = ~(codes == MISSING).any(axis=1)
        out = np.empty(len(codes))
        if complete.any():  # nothing to draw: one reward will do
            out[complete] = self.reward(codes[complete])
        left = np.flatnonzero(~complete)
        if len(left):
            many = np.repeat(codes[left], n_completions, axis=0)
            rewards = self.reward(self.joint.complete(many, rng))
            rewards = rewards.reshape(len(left), n_completions)
            out[left] = soft_value(rewards, self.temperature)
        return out


@dataclass(frozen=True)
class Mode:
    """Reward of the row with each missing cell at its most probable category."""

    joint: Joint
    reward: Counted

    def __call__(self, codes: IntArray, rng: Any, times: int = 1) -> Array:
        return self.reward(likeliest_cells(self.joint, codes))


@dataclass(frozen=True)
class Regressed:
    """Prediction of a regressor that was fitted to soft values of partial rows."""

    regressor: Any
    sizes: Sequence[int]

    def __call__(self, codes: IntArray, rng: Any, times: int = 1) -> Array:
        return np.asarray(
            self.regressor.predict(partial_features(codes, self.sizes)), dtype=float
        )


def partial_features(codes: IntArray, sizes: Sequence[int]) -> Array:
    """One indicator per category; all of a column are zero where it is missing."""
    return np.asarray(indicators(codes, sizes).toarray())


def mask_cells(rows: IntArray, rng: Any) -> IntArray:
    """Rows of which a random part is visible."""
    n, p = rows.shape
    rank = np.argsort(random_orders(n, p, rng), axis=1)
    visible = rank < rng.randint(1, p + 1, size=(n, 1))
    return np.where(visible, rows, MISSING)
