"""How far above the best objective a model may be."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chi2
from sklearn.model_selection import KFold, StratifiedKFold

from skdiff._base.typing import Array
from skdiff.multiplicity._sets._kinds import minimiser
from skdiff.multiplicity._sets._objective import LIKELIHOODS, Objective
from skdiff.multiplicity._sets._problem import Problem

_FOLDS = 5
_SMALLEST = 1e-12  # a best loss below this gives a relative epsilon no meaning


@dataclass(frozen=True)
class Tolerance:
    """The tolerance that the user chose."""

    epsilon: float
    kind: str = "relative"  # the constructor's epsilon_type
    level: str = "objective"
    seed: Any = None  # of the folds of kind "cv"
    stratified: bool = False  # whether these folds are stratified by the target


class Facts(NamedTuple):
    """What a tolerance is computed from, in the solver's units."""

    best: float  # the best objective
    total: float  # sum of the weights, over the dispersion of a gamma model
    dimension: int
    weight: float  # sum of the weights


def likelihood_budget(kind: str, epsilon: float, facts: Facts, loss: str) -> float:
    """Half a chi-square quantile per observation, or its Gaussian form."""
    quantile = chi2.isf(epsilon, facts.dimension if kind == "lr" else 1)
    if loss == "Squared":  # variance profiled out: n log(rss) / 2
        return float(facts.best * np.expm1(quantile / facts.total))
    return float(quantile / (2 * facts.total))


def budget_of(
    tolerance: Tolerance,
    facts: Facts,
    problem: Problem,
    baseline: Array,
    unit: float,
    goal: Objective,
) -> float:
    """The tolerance as an amount of the objective, in the solver's units."""
    kind, epsilon = tolerance.kind, tolerance.epsilon
    if kind == "absolute":
        return epsilon / unit**goal.degree
    if kind in ("lr", "profile") and goal.loss not in LIKELIHOODS:
        raise ValueError(
            f"epsilon_type={kind!r} needs a likelihood, and {goal.loss} is not one. "
            "Use epsilon_type='relative', 'absolute' or 'cv'."
        )
    if facts.best <= _SMALLEST and kind != "cv":
        raise ValueError(
            f"The best objective is {facts.best:.1g}: a tolerance relative to it is "
            f"not defined (n_samples = {len(problem.y)}). Use epsilon_type='absolute'."
        )
    if kind == "relative":
        return epsilon * facts.best
    if kind == "cv":
        return epsilon * _standard_error(tolerance, facts, problem, baseline)
    return likelihood_budget(kind, epsilon, facts, goal.loss)


def dispersion(problem: Problem, w: Array, total: float) -> float:
    """Pearson's estimate for a gamma model: squared relative residuals."""
    relative = problem.y * np.exp(-(problem.X @ w)) - 1.0
    free = max(total - len(w), 1.0)
    return float(problem.s @ relative**2) * total / free


def _standard_error(
    tolerance: Tolerance, facts: Facts, problem: Problem, baseline: Array
) -> float:
    """Standard error of the five-fold cross-validated mean loss.

    Rows of the problem are distinct and carry the weight of all their repetitions,
    which fall into different folds.
    """
    total = facts.weight
    pieces = np.ceil(problem.s * total * (1 - 1e-12))
    if pieces.sum() < 10:
        raise ValueError(
            "epsilon_type='cv' needs at least 10 rows, got n_samples = "
            f"{pieces.sum():.0f}."
        )
    held = _fold_weights(pieces, problem.y, tolerance) * (problem.s / pieces)
    sums = np.zeros(3)  # of weights, losses, and their squares
    for weight in held:
        train, test = problem.s - weight > 1e-12 * problem.s, weight > 0
        s = (problem.s - weight)[train]
        part = replace(problem, X=problem.X[train], y=problem.y[train], s=s / s.sum())
        w = minimiser(part, baseline).center
        losses = problem.row_losses(problem.X[test], problem.y[test], w)
        sums += [weight[test] @ losses**power for power in range(3)]
    mean = sums[1] / sums[0]
    return float(np.sqrt(max(sums[2] / sums[0] - mean**2, 0.0) / total))


def _fold_weights(pieces: Array, y: Array, tolerance: Tolerance) -> Array:
    """How many of each row's repetitions each of five folds holds (5, n).

    Every fold holds a fifth of them; what is left over is dealt out at random.
    """
    held = np.tile(pieces // _FOLDS, (_FOLDS, 1))
    rows = np.repeat(np.arange(len(y)), (pieces % _FOLDS).astype(int))
    if len(rows) < _FOLDS:  # fewer than folds: one each
        held[np.arange(len(rows)), rows] += 1
        return held
    folds = KFold(_FOLDS, shuffle=True, random_state=tolerance.seed)
    if tolerance.stratified and np.unique(y[rows], return_counts=True)[1].min() >= 5:
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=tolerance.seed)
    for k, (_, test) in enumerate(folds.split(rows, y[rows])):
        np.add.at(held[k], rows[test], 1)
    return held
