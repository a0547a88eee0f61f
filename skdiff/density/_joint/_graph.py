"""A graphical model as a distribution with marginals."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING
from skdiff.density._gibbs import draw_shares, redraw_missing
from skdiff.density._missing import log_conditionals, log_marginals
from skdiff.density._model import Model
from skdiff.density._query import eliminate

SWEEPS = 30  # of the Gibbs sampler that completes rows


@dataclass(frozen=True)
class InteractionJoint:
    """Marginals by elimination or sampling, conditionals by sums over missing cells."""

    model: Model
    marginals: list[Array]

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each column."""
        return self.model.sizes

    @cached_property
    def log_normaliser(self) -> float:
        """Logarithm of the sum over all rows."""
        if self.model.factors is not None:
            found = eliminate(self.model.factors, (), self.sizes)
            if found is not None:
                return float(found)
        nothing = np.full((1, len(self.sizes)), MISSING)
        return float(log_marginals(self.model, nothing)[0])

    def log_marginal(self, codes: IntArray) -> Array:
        """Log-probability of the known cells of each row."""
        log = log_marginals(self.model, codes) - self.log_normaliser
        return np.where((codes == MISSING).all(axis=1), 0.0, log)

    def log_conditional(self, codes: IntArray, u: int) -> Array:
        """Log-probabilities of column u given the known cells of the others."""
        codes = codes.copy()
        codes[:, u] = MISSING
        return np.asarray(log_conditionals(self.model, codes, u))

    def complete(self, codes: IntArray, rng: Any) -> IntArray:
        """Draw missing cells by sweeps of a Gibbs sampler from the frequencies."""
        gaps, start = codes == MISSING, codes.copy()
        for u in np.flatnonzero(gaps.any(axis=0)):
            rows = np.flatnonzero(gaps[:, u])
            start[rows, u] = draw_shares(self.marginals[u], len(rows), rng)
        return np.asarray(redraw_missing(start, gaps, self.model, rng, SWEEPS))
