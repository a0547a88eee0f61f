"""The mechanisms: from predictions on the newest period to weights of models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.model_evaluation._temporal._label_free import abilities, confidence
from skdiff.model_evaluation._temporal._outputs import (
    Mix,
    accuracy_weighted,
    by_likelihood,
    ensemble_quality,
    equal,
    ranked,
    row_losses,
    stacked,
)

#: rows of the rarer class, or of a regression, that stacking needs
_ENOUGH = 30
#: models that are averaged unless the user says how many
_RECENT = 5

LABEL_FREE = ("confidence", "distance", "laf")
BY_FOLDS = ("awe", "sea", "stacking", "temporal_cv", "weighted")
MECHANISMS = (
    "latest",
    "stationary",
    "temporal",
    "temporal_rev",
    "temporal_cv",
    "distance",
    "confidence",
    "laf",
    "weighted",
    "stacking",
    "average",
    "sea",
    "awe",
)
CLASSES_ONLY = ("confidence", "laf")


@dataclass(frozen=True)
class Evidence:
    """What is known after a period: the models and their honest predictions on it.

    Models are ordered by age; the last is the newest. ``fresh`` models were trained on
    the period: their predictions are those of folds, or NaN.
    """

    outputs: Array  # (M, n, K) or (M, n)
    target: Any  # (n,)
    weight: Array  # (n,)
    scores: Array  # (M,)
    fresh: BoolArray  # (M,)


@dataclass(frozen=True)
class Taste:
    """How many models are used, and how they are combined."""

    n_select: int | None
    combine: str
    penalty: float


@dataclass(frozen=True)
class Choice:
    """A mechanism's result."""

    mix: Mix
    ranking: IntArray  # from the best down; empty where there is no order


def choose(
    mechanism: str,
    evidence: Evidence,
    taste: Taste,
    target_outputs: Callable[[], Array] | None = None,
    past_scores: Callable[[], tuple[Array, BoolArray]] | None = None,
) -> Choice:
    """Return weights of the models.

    Parameters
    ----------
    mechanism : str
        One of ``MECHANISMS``.
    evidence : Evidence
        Of the newest labelled period.
    taste : Taste
        Number of models, and their combination.
    target_outputs : callable, optional
        Gives the predictions on the rows to predict, for mechanisms without labels.
    past_scores : callable, optional
        Gives the scores on the past period that is closest to the rows to predict, and
        which models were trained on it.
    """
    n_models = len(evidence.outputs)
    newest = n_models - 1
    if mechanism == "average":
        n_recent = taste.n_select or _RECENT
        recent = np.arange(max(n_models - n_recent, 0), n_models)
        return Choice(equal(n_models, recent), recent[::-1])
    if mechanism in ("weighted", "stacking", "awe", "sea"):
        return _combination(mechanism, evidence, taste)
    if mechanism in ("latest", "stationary"):
        order = np.arange(n_models)
        ranking = order[::-1] if mechanism == "latest" else order
    elif mechanism == "distance":
        scores, leaks = (past_scores or _missing)()
        safe = ranked(np.where(leaks, np.nan, scores))
        # trained on the period that judges them: after the others, by their age
        ranking = np.concatenate([safe[~leaks[safe]], np.flatnonzero(leaks)[::-1]])
    elif mechanism in CLASSES_ONLY:
        outputs = (target_outputs or _missing)()
        ranking = ranked(_unlabelled(mechanism, outputs))
    else:
        ranking = _temporal(mechanism, evidence, newest)
    return Choice(_of_the_best(ranking, evidence, taste), ranking)


def _missing() -> Any:
    raise ValueError("This mechanism needs the rows to predict.")


def _unlabelled(mechanism: str, outputs: Array) -> Array:
    if mechanism == "confidence":
        return confidence(outputs)
    return abilities(outputs.argmax(axis=2), outputs.shape[2])


def _temporal(mechanism: str, evidence: Evidence, newest: int) -> IntArray:
    """Order by the newest labelled period (Lyu et al., 2025)."""
    if mechanism == "temporal_cv":
        ranking = ranked(evidence.scores)
        return _shrunk(ranking, evidence, newest)
    ranking = ranked(np.where(evidence.fresh, np.nan, evidence.scores))
    ranking = np.concatenate(
        [ranking[~evidence.fresh[ranking]], np.flatnonzero(evidence.fresh)[::-1]]
    )
    older = np.flatnonzero(~evidence.fresh)
    if mechanism == "temporal_rev" and len(older) and ranking[0] == older[-1]:
        # the freshest of those that could be judged is best: fresher is better still
        return np.concatenate([[newest], ranking[ranking != newest]])
    return ranking


def _shrunk(ranking: IntArray, evidence: Evidence, newest: int) -> IntArray:
    """Keep the newest unless another gains more than one standard error."""
    best = ranking[0]
    losses = row_losses(evidence.outputs[[newest, best]], evidence.target)
    if best == newest or np.isnan(losses[0]).any():
        return ranking
    w = evidence.weight / evidence.weight.sum()
    gain = losses[0] - losses[1]
    mean = float(w @ gain)
    error = np.sqrt(float(w**2 @ (gain - mean) ** 2))
    if mean > error:
        return ranking
    return np.concatenate([[newest], ranking[ranking != newest]])


def _of_the_best(ranking: IntArray, evidence: Evidence, taste: Taste) -> Mix:
    """Combine the first models of a ranking."""
    n_select = 1 if taste.combine == "best" else taste.n_select or 1
    chosen = ranking[:n_select]
    n_models = len(evidence.outputs)
    if len(chosen) == 1 or taste.combine in ("best", "average"):
        return equal(n_models, chosen)
    return _weights_among(np.sort(chosen), taste.combine, evidence, taste)


def _weights_among(chosen: IntArray, how: str, evidence: Evidence, taste: Taste) -> Mix:
    """Weights by likelihood or of a stack among some models; else equal ones."""
    n_models = len(evidence.outputs)
    known = chosen[~_unknown(evidence.outputs[chosen])]
    if len(known) == 0 or (how == "stacking" and not _enough(evidence)):
        return equal(n_models, chosen)
    some = evidence.outputs[known]
    if how == "stacking":
        mix = stacked(some, evidence.target, evidence.weight, taste.penalty)
    else:
        losses = row_losses(some, evidence.target)
        mix = by_likelihood(losses, evidence.weight, numbers=some.ndim == 2)
    weights = np.zeros(n_models)
    weights[known] = mix.weights
    return Mix(weights, mix.intercept)


def _unknown(outputs: Array) -> BoolArray:
    return np.asarray(np.isnan(outputs.reshape(len(outputs), -1)).any(axis=1))


def _enough(evidence: Evidence) -> bool:
    """Whether the period has rows enough for a stack."""
    if evidence.outputs.ndim == 2:
        return len(evidence.target) >= _ENOUGH
    counts = np.bincount(evidence.target, minlength=evidence.outputs.shape[2])
    present = counts[counts > 0]
    return len(present) > 1 and bool(present.min() >= _ENOUGH)


def _combination(mechanism: str, evidence: Evidence, taste: Taste) -> Choice:
    n_models = len(evidence.outputs)
    every, newest = np.arange(n_models), n_models - 1
    ranking = ranked(evidence.scores)
    if mechanism == "awe":
        mix = accuracy_weighted(evidence.outputs, evidence.target, evidence.weight)
        return Choice(equal(n_models, [newest]) if mix is None else mix, ranking)
    if mechanism == "sea":
        ranking = ranked(
            ensemble_quality(evidence.outputs, evidence.target, evidence.weight)
        )
        members = ranking[: taste.n_select or n_models]
        return Choice(equal(n_models, members), ranking)
    if n_models == 1:
        return Choice(equal(1, [0]), ranking)
    if mechanism == "weighted" or (
        _enough(evidence) and not _unknown(evidence.outputs[newest:])[0]
    ):
        return Choice(_weights_among(every, mechanism, evidence, taste), ranking)
    return choose("average", evidence, Taste(None, "average", taste.penalty))
