"""Thresholdout: values of a holdout set that adaptive use cannot overfit.

Notation of Dwork et al. (2015): a query is a function of rows with values in a bounded
range; ``E_t`` is its mean over the training rows and ``E_h`` over those held out. ``T``
is the threshold and ``s`` the noise scale.
"""

import math
from dataclasses import dataclass
from typing import Any

#: noise of the threshold, of a comparison and of a value, in units of the noise scale:
#: that of the proof, and that of the published experiments, which have one scale
_UNITS = {"laplace": (2.0, 4.0, 1.0), "gaussian": (1.0, 1.0, 1.0)}
_OF_THRESHOLD, _OF_COMPARISON, _OF_VALUE = range(3)


@dataclass(frozen=True)
class Rule:
    """A mechanism and its constants."""

    mechanism: str  # "thresholdout", "sparse" or "laplace"
    threshold: float  # T
    scale: float  # s
    noise: str  # "gaussian" or "laplace"


@dataclass(frozen=True)
class Reply:
    """What a query gets back, and the state it leaves behind."""

    value: float  # NaN where the mechanism returns no value
    overfit: bool
    spent: bool
    noisy_threshold: float


def scale_of_values(low: float, high: float) -> float:
    """Largest root mean square of values within a range, a bound on their spread."""
    return max(abs(low), abs(high))


def automatic(rule: str, n_holdout: int, budget: float, unit: float) -> float:
    """Constants by the number of rows held out: ``4 / sqrt(n)``, ``1 / sqrt(n)``.

    They are those of the experiment in Science (T = .04, s = .01 at n = 10 000) at any
    n. ``"laplace"`` is the scale ``m / n`` of ``m`` queries at a privacy level of one.
    """
    if rule == "laplace":
        return unit * budget / n_holdout
    return {"threshold": 4.0, "scale": 1.0}[rule] * unit / math.sqrt(n_holdout)


def draw(rule: Rule, purpose: int, random_state: Any) -> float:
    """Noise of a threshold, a comparison or a value."""
    how = random_state.laplace if rule.noise == "laplace" else random_state.normal
    return float(how(0.0, 1.0)) * _UNITS[rule.noise][purpose] * rule.scale


def fresh_threshold(rule: Rule, random_state: Any) -> float:
    """``T`` with fresh noise."""
    return rule.threshold + draw(rule, _OF_THRESHOLD, random_state)


def reply(
    train: float, hold: float, noisy_threshold: float, rule: Rule, random_state: Any
) -> Reply:
    """Answer one query from its two means (Dwork et al., 2015, figure 1).

    The noisy threshold is drawn afresh after a query that overfits, and only then.
    """
    if rule.mechanism == "laplace":
        noise = draw(rule, _OF_VALUE, random_state)
        return Reply(hold + noise, False, True, noisy_threshold)
    gap = abs(hold - train)
    overfit = gap > noisy_threshold + draw(rule, _OF_COMPARISON, random_state)
    value = train
    if overfit:
        noisy_threshold = fresh_threshold(rule, random_state)
        if rule.mechanism == "thresholdout":
            value = hold + draw(rule, _OF_VALUE, random_state)
    if rule.mechanism == "sparse":
        value = math.nan
    return Reply(value, overfit, overfit, noisy_threshold)
