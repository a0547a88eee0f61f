"""A Hyperband race: what one fit leaves for another to resume."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import joblib
import numpy as np

from skdiff._base.typing import IntArray
from skdiff.model_selection._sampled._hyperband._schedule import rung_budget
from skdiff.model_selection._sampled._sampling import Setting
from skdiff.model_selection._sampled._training import Result


class Plan(NamedTuple):
    """The numbers that fix a schedule."""

    most: int
    least: int
    s_max: int
    factor: int


class Entry(NamedTuple):
    """One setting on one rung, with the results of its folds."""

    bracket: int
    rung: int
    budget: int
    promoted: bool
    setting: Setting
    outs: list[Result]


@dataclass
class Race:
    """Settings, who stands on which rung, results, and partly trained models.

    At every moment it can be resumed: a rung lists its settings before they are
    trained, and what has no result yet is trained by the next fit.

    Attributes
    ----------
    plan : Plan
        The present schedule.
    splits : list of (train, test)
        Folds; ``orders`` are the orders in which their rows are taken.
    metric : str
        The metric that decides.
    settled : dict
        Digests of what must not change between two fits.
    stream : tuple
        State of the generator that draws settings.
    settings : list of dict
        All settings; elsewhere they are called by their number in this list.
    reached : list of int
        Resource that each has had.
    models : dict
        Models of the folds, of the settings that can be continued.
    rungs : dict
        For each bracket a list of rungs, each a list of settings.
    left_behind : dict
        By (bracket, rung): who was not promoted before the schedule grew.
    results : dict
        By (bracket, rung, setting): the results of the folds.
    used : int
        Resource spent on one fold.
    """

    plan: Plan
    splits: Sequence[tuple[IntArray, IntArray]]
    metric: str
    settled: dict[str, str]
    stream: Any
    orders: list[IntArray] | None = None
    settings: list[Setting] = field(default_factory=list)
    reached: list[int] = field(default_factory=list)
    models: dict[int, list[Any]] = field(default_factory=dict)
    rungs: dict[int, list[list[int]]] = field(default_factory=dict)
    left_behind: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    results: dict[tuple[int, int, int], list[Result]] = field(default_factory=dict)
    used: int = 0

    def to_state(self) -> dict[str, Any]:
        """The race as plain containers, for files."""
        return {**vars(self), "plan": tuple(self.plan)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Race":
        """The race from what :meth:`to_state` returned."""
        return cls(**{**state, "plan": Plan(*state["plan"])})

    def bracket(self, s: int) -> list[list[int]]:
        """The rungs of a bracket; those that are not there yet are empty."""
        rungs = self.rungs.setdefault(s, [])
        rungs += [[] for _ in range(s + 1 - len(rungs))]
        return rungs

    def enter(self, settings: Sequence[Setting]) -> list[int]:
        """Take in new settings; return their numbers."""
        first = len(self.settings)
        self.settings += settings
        self.reached += [0] * len(settings)
        return list(range(first, len(self.settings)))

    def budget(self, s: int, rung: int) -> int:
        """Resource of a rung."""
        return rung_budget(self.plan.most, self.plan.factor, s, rung)

    def waiting(self, s: int, rung: int) -> list[int]:
        """Settings on a rung that have no result there."""
        members = self.bracket(s)[rung]
        return [m for m in members if (s, rung, m) not in self.results]

    def take_model(self, m: int) -> tuple[list[Any] | None, int]:
        """Models of a setting and the resource they have had.

        They change as they are trained: the race forgets them until :meth:`record`.
        """
        models = self.models.pop(m, None)
        return models, 0 if models is None else self.reached[m]

    def record(
        self, s: int, rung: int, m: int, done: int, found: tuple[list[Result], list]
    ) -> None:
        """Note the results of a setting, whose models had had ``done``."""
        outs, models = found
        self.results[s, rung, m] = outs
        self.reached[m] = self.budget(s, rung)
        self.used += self.reached[m] - done
        if all(model is not None for model in models):
            self.models[m] = models

    def entries(self) -> Iterator[Entry]:
        """All results, by bracket, the most explorative first, and by rung."""
        for s in sorted(self.rungs, reverse=True):
            rungs = self.rungs[s]
            for rung, members in enumerate(rungs):
                beyond: set[int] = set(*rungs[rung + 1 : rung + 2])
                for m in members:
                    if outs := self.results.get((s, rung, m)):
                        where = s, rung, self.budget(s, rung), m in beyond
                        yield Entry(*where, self.settings[m], outs)

    def latest(self) -> dict[int, list[Result]]:
        """Results of each setting on the highest rung it has reached."""
        last: dict[int, tuple[int, list[Result]]] = {}
        for (_, rung, m), outs in self.results.items():
            if m not in last or rung > last[m][0]:
                last[m] = rung, outs
        return {m: outs for m, (_, outs) in last.items()}

    def resume(self, plan: Plan, settled: Mapping[str, str]) -> None:
        """Take over a schedule of as much or of more resource.

        Raises
        ------
        ValueError
            If something else has changed, or the resource is not the old one times a
            power of the factor. The race is then as it was.
        """
        changed = [k for k, v in settled.items() if self.settled.get(k) != v]
        if changed:
            raise ValueError(
                "warm_start=True resumes the search on the same rows with the same "
                f"parameters, and these have changed: {', '.join(changed)}. Clone the "
                "search to start afresh."
            )
        grown = self.plan.most
        while grown < plan.most:
            grown *= plan.factor
        if grown != plan.most:
            raise ValueError(
                f"max_resource={plan.most} does not continue a search with "
                f"max_resource={self.plan.most}: take a power of factor={plan.factor} "
                "times that."
            )
        shift, self.plan = plan.s_max - self.plan.s_max, plan
        if not shift:
            return
        self.rungs = {s + shift: rungs for s, rungs in self.rungs.items()}
        self.results = {
            (s + shift, rung, m): out for (s, rung, m), out in self.results.items()
        }
        self.left_behind = {
            (s, rung): [m for m in lower if m not in upper]
            for s, rungs in self.rungs.items()
            for rung, (lower, upper) in enumerate(pairwise(rungs))
            if upper
        }


def digest(value: Any) -> str:
    """A digest of a parameter or data set, to tell whether it changed."""
    try:
        return str(joblib.hash(value))
    except (AttributeError, TypeError, pickle.PicklingError):  # a lambda, say
        return repr(value)


def random_stream(state: Any) -> np.random.RandomState:
    """A generator in a given state."""
    stream = np.random.RandomState()
    stream.set_state(state)
    return stream
