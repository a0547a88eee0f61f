"""What fitted models say about rows: margins and expected sizes of errors."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff._base.compat import routing_enabled
from skdiff._base.inner import request_weights
from skdiff._base.typing import Array, BoolArray
from skdiff.conformal._common._goal import Goal
from skdiff.conformal._common._scores import rounded

_SCORING = ("predict", "predict_proba", "decision_function")


def default_estimator() -> Pipeline:
    """The baseline: a scaled logistic regression on whether a row is a discovery."""
    return weighted(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)))


def default_candidates() -> list[Any]:
    """A linear model, a forest, boosted trees."""
    return [
        default_estimator(),
        weighted(RandomForestClassifier(min_samples_leaf=3, random_state=0)),
        weighted(HistGradientBoostingClassifier(early_stopping=False, random_state=0)),
    ]


def weighted(estimator: Any) -> Any:
    """A model of ours that takes the caller's row weights where they are routed."""
    if routing_enabled():
        request_weights(estimator)
    return estimator


def check_candidates(estimators: Any) -> list[Any]:
    """Return the list of candidates, empty if None was given."""
    if estimators is None:
        return []
    if not len(estimators):
        raise ValueError("estimators must hold at least one estimator.")
    for e in estimators:
        if not hasattr(e, "fit") or isinstance(e, type):
            raise TypeError(f"estimators must hold estimator instances, got {e!r}.")
    return list(estimators)


def check_scores_rows(estimator: Any) -> None:
    """Raise for an estimator that cannot rank rows.

    Some have a method only once they are fitted, frozen ones not on their class.
    """
    owners = (estimator, type(estimator))
    if not any(hasattr(owner, name) for owner in owners for name in _SCORING):
        raise no_score(estimator)


def margin(model: Any, X: Any, goal: Goal, thresholds: Array | None = None) -> Array:
    """How strongly the model expects a discovery: the ``f(x)`` of every score.

    It is the prediction beyond the threshold for a regressor of numbers, otherwise the
    probability or decision value of a discovery.
    """
    f = _margin(model, X, goal, thresholds)
    if not np.all(np.isfinite(f)):
        raise ValueError(
            f"{type(model).__name__} predicts NaN or infinity for some rows."
        )
    return rounded(f)


def _margin(model: Any, X: Any, goal: Goal, thresholds: Array | None) -> Array:
    if not is_classifier(model):
        if not hasattr(model, "predict"):
            raise no_score(model)
        f = _flat(model.predict(X), model)
        if not goal.numeric:
            return f
        c = goal.threshold if thresholds is None else thresholds
        return f - c if goal.larger else c - f
    inside = _discovered_classes(model, goal)
    if len(inside) == 1:  # all training rows are, or are not, discoveries
        return np.full(X.shape[0], float(inside[0]))
    if hasattr(model, "predict_proba"):
        p = np.asarray(model.predict_proba(X), dtype=np.float64)
        return np.asarray(p[:, inside].sum(axis=1))
    if hasattr(model, "decision_function"):
        value = np.asarray(model.decision_function(X), dtype=np.float64)
        if value.ndim == 2:
            best: Array = value[:, inside].max(axis=1) - value[:, ~inside].max(axis=1)
            return best
        return value if inside[1] else -value
    raise no_score(model)


def _discovered_classes(model: Any, goal: Goal) -> BoolArray:
    """Which classes of a classifier are discoveries."""
    classes = np.asarray(model.classes_)
    inside = goal.positive(classes)
    if len(classes) == 1 or 0 < inside.sum() < len(classes):
        return inside
    raise ValueError(
        f"The fitted classifier knows the classes {classes.tolist()}, and by "
        "threshold and target all or none of them are discoveries."
    )


def no_score(model: Any) -> ValueError:
    """The error for a model that cannot rank rows."""
    needs = "predict_proba nor decision_function" if is_classifier(model) else "predict"
    return ValueError(
        f"{type(model).__name__} has {'neither' if 'nor' in needs else 'no'} {needs}: "
        "conformal selection needs a score to rank rows by."
    )


def _flat(prediction: Any, model: Any) -> Array:
    f = np.asarray(prediction, dtype=np.float64)
    if f.ndim == 2 and f.shape[1] == 1:
        f = f[:, 0]
    if f.ndim != 1:
        raise ValueError(
            f"{type(model).__name__} predicts {f.shape[1]} outcomes; selection needs "
            "one."
        )
    return f


def predicted_sizes(scale: Any, X: Any) -> Array:
    """Sizes of the errors as the scale model predicts them, of any sign."""
    sigma = _flat(scale.predict(X), scale)
    if not np.all(np.isfinite(sigma)):
        raise ValueError("scale_estimator predicts NaN or infinity.")
    return rounded(sigma)
