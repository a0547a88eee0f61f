"""What a fit reads from private counts goes through one object, and is charged."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from skdiff._base.typing import IntArray
from skdiff._privacy._budget import Ledger
from skdiff._privacy._noise import Source, SystemSource, select
from skdiff._privacy._table import draw


class Release:
    """Noisy counts and private choices of one fit.

    Parameters
    ----------
    source : Source or None
        Random bits; None is the operating system.
    noise : {"discrete", "opendp"}
        Who draws the noise.
    private : bool
        False adds no noise, chooses the best, and charges nothing.
    rows_per_user : int
        Rows that one user may have: all sensitivities are multiplied by it.
    """

    def __init__(
        self,
        source: Source | None,
        noise: str = "discrete",
        *,
        private: bool = True,
        rows_per_user: int = 1,
    ) -> None:
        self.source: Source = SystemSource() if source is None else source
        self.noise, self.private, self.rows_per_user = noise, private, rows_per_user
        self.ledger = Ledger()

    def counts(
        self, name: str, counts: IntArray, sensitivity_sq: int, rho: Fraction
    ) -> tuple[IntArray, Fraction]:
        """Return counts with noise, and its variance."""
        if not self.private:
            return counts.copy(), Fraction(0)
        bound = max(sensitivity_sq, 1) * self.rows_per_user**2
        sigma_sq = self.ledger.gaussian(name, bound, rho)
        if self.noise == "opendp":
            from skdiff._privacy._opendp import noisy_counts

            return noisy_counts(counts, sigma_sq), sigma_sq
        return counts + draw(sigma_sq, len(counts), self.source), sigma_sq

    def choose(
        self, name: str, scores: list[int], sensitivity: int, rho: Fraction
    ) -> int:
        """Return the position of a high score."""
        if not self.private:
            return int(np.argmax(scores))
        bound = sensitivity * self.rows_per_user
        eps = self.ledger.exponential(name, bound, rho)
        return select(scores, eps, bound, self.source)


def partition_sensitivity_sq(neighbors: str) -> int:
    """Squared sensitivity of a table of counts in which each row has one cell."""
    return 2 if neighbors == "replace-one" else 1


def expected_noise(sigma_sq: Any, n_cells: int) -> float:
    """Mean sum of the absolute noise of some cells."""
    return math.sqrt(2 / math.pi * float(sigma_sq)) * n_cells
