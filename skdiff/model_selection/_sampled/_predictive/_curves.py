"""Who goes on: the state of a search whose candidates have learning curves."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray
from skdiff.model_selection._sampled._sampling import Setting
from skdiff.model_selection._sampled._training import Result


@dataclass
class Candidate:
    """A setting, its curve so far, and the models it goes on from.

    Attributes
    ----------
    setting : dict
        Parameters.
    scores : list of float
        Mean score over the folds after each step.
    outs : list of dict
        Results of the folds after the last step.
    models : list or None
        Models of the folds.
    done : int
        Resource that it has had.
    stopped : bool
        Whether a forecast has stopped it.
    failed : bool
        Whether a training of it has failed.
    predicted : float
        Forecast of the last score when it was looked at last; NaN if never.
    """

    setting: Setting
    scores: list[float] = field(default_factory=list)
    outs: list[Result] = field(default_factory=list)
    models: Any = None
    done: int = 0
    stopped: bool = False
    failed: bool = False
    predicted: float = np.nan

    @property
    def over(self) -> bool:
        """Whether it will not be trained further."""
        return self.stopped or self.failed

    @property
    def latest(self) -> float:
        """The last score, minus infinity where there is none."""
        last = self.scores[-1] if self.scores else np.nan
        return -np.inf if np.isnan(last) else last


class Steps(NamedTuple):
    """The resource of a candidate after each step.

    Parameters
    ----------
    budgets : tuple of int
        Rising; the last one is that of a complete training.
    first : int
        Steps before the first forecast.
    """

    budgets: tuple[int, ...]
    first: int


def plan_steps(most: int, least: int, step: int) -> Steps:
    """Look at curves every ``step`` of the resource, first after ``least``."""
    budgets = (*range(step, most, step), most)
    first = int(np.searchsorted(budgets, least)) + 1
    return Steps(budgets, min(first, len(budgets)))


def curves_of(candidates: list[Candidate]) -> FloatArray:
    """Curves as rows, NaN after their ends and where a score is none."""
    longest = max(len(c.scores) for c in candidates)
    rows = np.full((len(candidates), longest), np.nan)
    for row, candidate in zip(rows, candidates, strict=True):
        row[: len(candidate.scores)] = candidate.scores
    return rows


def incumbent_score(candidates: list[Candidate]) -> float:
    """Best of the last scores of all candidates."""
    return max((c.latest for c in candidates), default=-np.inf)
