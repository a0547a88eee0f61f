"""Training on one part of the labelled rows, calibrating on the other."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import check_cv

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import fit_inner, is_frozen, seeded, take_rows
from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.conformal._common._goal import Goal
from skdiff.conformal._common._models import margin, predicted_sizes
from skdiff.conformal._common._scores import labelled_scores

# A predicted size below this fraction of the mean size over the training rows is noise.
FLOOR = 1e-3
# Nothing was learned from the rows of a scale model that was handed in fitted, and the
# calibration rows must not decide: what it predicts at or below zero is tiny.
FLOOR_OF_FITTED = 1e-12


class Labels(NamedTuple):
    """Outcomes of the labelled rows."""

    y: Any
    positive: BoolArray
    thresholds: Array | None

    def at(self, rows: IntArray) -> "Labels":
        """Those of some rows."""
        c = None if self.thresholds is None else self.thresholds[rows]
        return Labels(self.y[rows], self.positive[rows], c)


class Trained(NamedTuple):
    """A model, the model of the size of its errors, and the least size."""

    model: Any
    scale: Any = None
    floor: float = FLOOR_OF_FITTED


def train(
    estimator: Any,
    X: Any,
    labels: Labels,
    goal: Goal,
    params: dict[str, Any],
    scale: tuple[Any, dict[str, Any]] | None,
    seed: int,
) -> Trained:
    """Fit a clone and, if a scale is given, a model of the size of its errors.

    Parameters
    ----------
    estimator : estimator
        What to fit; frozen, it is used as it is.
    X : array-like
        Training rows.
    labels : Labels
        Their outcomes.
    goal : Goal
        What a discovery is.
    params : dict
        Fit arguments of the estimator.
    scale : pair of estimator and dict, or None
        The unfitted model of the size of the errors, with its fit arguments.
    seed : int
        Seed of what is unseeded in the estimators.
    """
    rng = np.random.RandomState([seed, 1])
    estimator = seeded(estimator, rng)
    target = goal.outcome(estimator, labels.y, labels.positive)
    if is_classifier(estimator) and len(np.unique(target)) == 1:
        kind = "a discovery" if target[0] else "no discovery"
        warnings.warn(
            f"Every one of the {len(target)} training rows is {kind}: with 1 class "
            "there is nothing to learn, and all rows get the same score. Move "
            "threshold, or label more rows.",
            UserWarning,
            stacklevel=4,
        )
        return Trained(DummyClassifier(strategy="prior").fit(X, target))
    model = fit_inner(estimator, X, target, params=params)
    if scale is None:
        return Trained(model)
    size, size_params = scale
    if is_frozen(size):
        return Trained(model, size)
    seen = goal
    if is_classifier(model):
        per_row = labels.thresholds is not None
        seen = goal.seen_by(model, not is_frozen(model), labels.y, per_row)
    # errors on rows the model has not seen, as those to come will be
    errors = np.abs(target - _out_of_fold(estimator, X, target, params, seen))
    size = fit_inner(seeded(size, rng), X, errors, params=size_params)
    floor = FLOOR * float(np.abs(predicted_sizes(size, X)).mean())
    return Trained(model, size, floor or 1.0)


def _out_of_fold(
    estimator: Any, X: Any, target: Array, params: dict[str, Any], goal: Goal
) -> Array:
    """Predictions, or probabilities of a discovery, of rows not trained on."""
    classes = is_classifier(estimator)
    cv = check_cv(min(5, len(target)), target, classifier=classes)
    out = np.empty(len(target))
    for rows, held in cv.split(np.empty((len(target), 1)), target):
        part = safe_indexing(X, rows)
        model = fit_inner(
            estimator, part, target[rows], params=take_rows(X, params, rows)
        )
        unseen = safe_indexing(X, held)
        if not classes:
            out[held] = np.ravel(model.predict(unseen))
            continue
        if not hasattr(model, "predict_proba"):
            raise ValueError(
                f"scale_estimator needs the probabilities of {type(model).__name__}, "
                "which has no predict_proba."
            )
        out[held] = margin(model, unseen, goal)
    return out


def default_scale(estimator: Any, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The estimator itself, for the size of its own errors."""
    if is_frozen(estimator):
        raise ValueError(
            "conformity_score='scaled' with a fitted model needs a fitted "
            "scale_estimator; there is none. Without one it is 'residual'."
        )
    if not is_regressor(estimator):
        raise ValueError(
            "conformity_score='scaled' with a classifier needs a regressor as "
            "scale_estimator."
        )
    return estimator, params


def sizes(trained: Trained, X: Any) -> Array | float:
    """Expected sizes of the errors, never below the floor."""
    if trained.scale is None:
        return 1.0
    return np.maximum(predicted_sizes(trained.scale, X), trained.floor)


class Calibration(NamedTuple):
    """What one split leaves: models, and the scores of the calibration rows."""

    models: list[Any]
    scales: list[Any]
    floors: list[float]
    targets: list[list[Any]]  # per model: nothing, or its class of discoveries
    scores: Array
    ratios: Array | None
    groups: IntArray | None

    def goals(self, goal: Goal) -> list[Goal]:
        """The goal in terms of each model."""
        return [goal._replace(target=t[0]) if t else goal for t in self.targets]

    def trained(self) -> list[Trained]:
        """The models with their scales."""
        parts = zip(self.models, self.scales, self.floors, strict=True)
        return [Trained(*part) for part in parts]

    def new_scores(self, X: Any, goal: Goal, thresholds: Array | None) -> Array:
        """Scores of new rows at their thresholds, one column per model."""
        columns = [
            -margin(t.model, X, g, thresholds) / sizes(t, X)
            for t, g in zip(self.trained(), self.goals(goal), strict=True)
        ]
        return np.column_stack(columns)


def calibrate(
    trained: list[Trained],
    X: Any,
    labels: Labels,
    goals: list[Goal],
    score: str,
    density_ratio: Callable | None,
    groups: IntArray | None,
) -> Calibration:
    """Score the calibration rows by every model.

    Parameters
    ----------
    trained : list of Trained
        The models.
    X : array-like
        Calibration rows.
    labels : Labels
        Their outcomes.
    goals : list of Goal
        What a discovery is, in terms of each model.
    score : str
        The conformity score.
    density_ratio : callable or None
        Frequency of rows among new ones over that among these.
    groups : ndarray of int or None
        Codes of their groups.
    """
    c, positive = labels.thresholds, labels.positive
    columns = []
    for one, goal in zip(trained, goals, strict=True):
        f = margin(one.model, X, goal, c)
        excess = positive.astype(np.float64)
        if goal.learns_numbers(one.model):
            excess = labels.y - (goal.threshold if c is None else c)
            excess = excess if goal.larger else -excess
        columns.append(labelled_scores(score, f, positive, excess, sizes(one, X)))
    scores = np.column_stack(columns)
    if not len(scores):
        raise ValueError(
            "conformity_score='null' needs calibration rows that are no discoveries; "
            "there are none."
        )
    ratios = None if density_ratio is None else density_ratios(density_ratio, X)
    if len(scores) < len(positive):  # the null score leaves discoveries out
        ratios = None if ratios is None else ratios[~positive]
        groups = None if groups is None else groups[~positive]
    return Calibration(
        models=[t.model for t in trained],
        scales=[t.scale for t in trained],
        floors=[t.floor for t in trained],
        targets=[[] if g.numeric or callable(g.target) else [g.target] for g in goals],
        scores=scores,
        ratios=ratios,
        groups=groups,
    )


def density_ratios(density_ratio: Callable, X: Any) -> Array:
    """Density ratios of rows, checked."""
    ratios = np.asarray(density_ratio(X), dtype=np.float64)
    n = X.shape[0]
    if ratios.shape != (n,) or not np.all(np.isfinite(ratios)) or ratios.min() < 0:
        raise ValueError(
            f"density_ratio must give {n} non-negative numbers, one per row."
        )
    return ratios
