"""Validation criteria: mean losses of raw predictions, with their gradients."""

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from skdiff._base.typing import FloatArray as Array
from skdiff._convex._losses import Huber, Logistic, Multinomial, SquaredHinge

Criterion = Callable[..., tuple[float, Array]]


def _shares(weight: Array | None, n: int) -> Array:
    return np.full(n, 1.0 / n) if weight is None else weight / weight.sum()


def squared_error(y: Array, raw: Array, weight: Array | None = None) -> Any:
    """Mean squared error, over targets too."""
    share = _shares(weight, len(y)).reshape(-1, *[1] * (raw.ndim - 1))
    r = raw - y.reshape(raw.shape)
    m = r.size / max(len(r), 1)
    scaled = share * r / m
    return float(np.sum(scaled * r)), 2 * scaled


def huber(y: Array, raw: Array, weight: Array | None = None) -> Any:
    """Mean Huber loss, squared within 1.35 of the target."""
    share = _shares(weight, len(y)).reshape(-1, *[1] * (raw.ndim - 1))
    value, first = Huber().evaluate(raw, y.reshape(raw.shape), 1)
    m = raw.size / max(len(raw), 1)
    return float(np.sum(share * value)) / m, share * first / m


def log_loss(y: Array, raw: Array, weight: Array | None = None) -> Any:
    """Mean log loss; y holds codes, raw one margin or one logit per class."""
    share = _shares(weight, len(y))
    if raw.ndim == 3:
        raise ValueError(
            "A log loss needs one margin per class, and pairs of classes have theirs. "
            'Use criterion="squared_hinge".'
        )
    if raw.ndim == 1:
        value, first = Logistic().evaluate(raw, y, 1)
        return float(share @ value), share * first
    value, first = Multinomial().evaluate(raw, y, 1)
    return float(share @ value), share[:, None] * first


def squared_hinge(y: Array, raw: Array, weight: Array | None = None) -> Any:
    """Mean squared hinge loss, summed over the one-against-rest margins.

    Of margins of pairs, those of the true class against each other class count.
    """
    share = _shares(weight, len(y))
    if raw.ndim == 3:
        rows, ones = np.arange(len(y)), np.ones(raw.shape[:2])
        value, first = SquaredHinge().evaluate(raw[rows, y], ones, 1)
        value[rows, y] = first[rows, y] = 0.0
        gradient = np.zeros_like(raw)
        gradient[rows, y] = share[:, None] * first
        return float(share @ value.sum(axis=1)), gradient
    if raw.ndim == 1:
        value, first = SquaredHinge().evaluate(raw, 2.0 * y - 1.0, 1)
        return float(share @ value), share * first
    sign = np.where(y[:, None] == np.arange(raw.shape[1]), 1.0, -1.0)
    value, first = SquaredHinge().evaluate(raw, sign, 1)
    return float(share @ value.sum(axis=1)), share[:, None] * first


def reported_log_loss(y: Array, raw: Array, weight: Array | None = None) -> float:
    """Log loss as scikit-learn reports it: probabilities are cut off at epsilon."""
    share = _shares(weight, len(y))
    loss: Any = Logistic() if raw.ndim == 1 else Multinomial()
    value = loss.evaluate(raw, y, 0)[0]
    return float(share @ np.minimum(value, -np.log(np.finfo(float).eps)))


CRITERIA: dict[str, Criterion] = {
    "squared_error": squared_error,
    "huber": huber,
    "log_loss": log_loss,
    "squared_hinge": squared_hinge,
}
SCORERS = {"squared_error": "neg_mean_squared_error", "log_loss": "neg_log_loss"}
_FOR_CLASSES = ("log_loss", "squared_hinge")


def resolve(criterion: Any, estimator: Any) -> Any:
    """Name of the criterion, or the user's function."""
    classifier = is_classifier(estimator)
    if callable(criterion):
        return criterion
    if criterion == "auto":
        if not classifier:
            return "squared_error"
        return "log_loss" if hasattr(estimator, "predict_proba") else "squared_hinge"
    if (criterion in _FOR_CLASSES) != classifier:
        kind = "classifier" if classifier else "regressor"
        raise ValueError(f"criterion={criterion!r} is not for a {kind}.")
    return criterion


class CriterionScorer:
    """Minus a criterion, as a scorer: for criteria scikit-learn has no name for."""

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        """Score a fitted estimator."""
        raw = raw_prediction(estimator, X)
        y = np.asarray(y)
        if callable(self.criterion):
            return -float(self.criterion(y, raw)[0])
        if is_classifier(estimator):
            y = np.searchsorted(estimator.classes_, y)
        return -CRITERIA[self.criterion](y, raw, sample_weight)[0]


def square_pairs(raw: Array) -> Array:
    """Margin of class k against class l at ``[:, k, l]``, from one column a pair."""
    n_pairs = raw.shape[1]
    n_classes = int((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
    pairs = np.zeros((len(raw), n_classes, n_classes))
    k, other = np.triu_indices(n_classes, 1)
    pairs[:, k, other], pairs[:, other, k] = raw, -raw
    return pairs


def pair_votes(pairs: Array) -> Array:
    """Pairs that each class wins; the earlier class wins a draw."""
    k, other = np.triu_indices(pairs.shape[1], 1)
    won = pairs[:, k, other] > 0
    votes = np.zeros(pairs.shape[:2])
    for j in range(len(k)):
        votes[:, k[j]] += won[:, j]
        votes[:, other[j]] += ~won[:, j]
    return votes


def pair_scores(pairs: Array) -> Array:
    """Votes, and the sum of a class's margins where votes are equal."""
    total = pairs.sum(axis=2)
    return pair_votes(pairs) + total / (3 * (np.abs(total) + 1))


def raw_prediction(estimator: Any, X: Any) -> Array:
    """Margins of a classifier, of pairs for SVC; predictions of a regressor."""
    if not is_classifier(estimator):
        return np.asarray(estimator.predict(X))
    last = estimator
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    if not isinstance(last, SVC) or len(last.classes_) == 2:
        return np.asarray(estimator.decision_function(X))
    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator.steps[-1][1]
    pairs = copy(last)
    pairs.decision_function_shape = "ovo"
    return square_pairs(np.asarray(pairs.decision_function(X)))
