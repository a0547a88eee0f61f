"""From a fitted model to the scores that conformal selection ranks."""

from typing import NamedTuple

import numpy as np
from sklearn.base import is_classifier, is_regressor

SCORES = ("clip", "residual", "scaled", "null")


class Goal(NamedTuple):
    """What a discovery is: an outcome beyond a threshold, in a region, of a class."""

    threshold: float
    larger: bool
    target: object  # None, a callable, or a class label

    @property
    def numeric(self):
        """Whether outcomes are numbers with a threshold."""
        return self.target is None

    def positive(self, y, thresholds=None):
        """Tell which outcomes are discoveries."""
        if self.numeric:
            c = self.threshold if thresholds is None else thresholds
            return y > c if self.larger else y < c
        if not callable(self.target):
            return np.asarray(y == self.target)
        found = np.asarray(self.target(y))
        if found.shape != y.shape or found.dtype != bool:
            raise ValueError(
                "target must map y to a boolean array of its shape. Got "
                f"{found.dtype} of shape {found.shape} for {y.shape}."
            )
        return found

    def learned(self, model):
        """The goal in the words of a model trained here: 1 is a discovery."""
        return self if self.learns_numbers(model) else self._replace(target=1)

    def learns_numbers(self, estimator):
        """Whether the estimator is a regressor of the outcome itself."""
        return self.numeric and not is_classifier(estimator)

    def outcome(self, estimator, y, positive):
        """What the estimator is trained on: the outcome, or 1 for a discovery."""
        if self.learns_numbers(estimator):
            return y
        return positive.astype(np.float64 if is_regressor(estimator) else np.int64)


def margin(model, X, goal, thresholds=None):
    """How strongly the model expects a discovery: the ``f(x)`` of every score.

    It is the prediction beyond the threshold for a regressor of numbers, otherwise the
    probability or decision value of a discovery.
    """
    f = _margin(model, X, goal, thresholds)
    if not np.all(np.isfinite(f)):
        raise ValueError(
            f"{type(model).__name__} predicts NaN or infinity for some rows."
        )
    # equal rows must tie, though a product over other rows may round differently
    mantissa, exponent = np.frexp(f)
    return np.ldexp(np.round(mantissa * 2.0**36) / 2.0**36, exponent)


def _margin(model, X, goal, thresholds):
    if not is_classifier(model):
        if not hasattr(model, "predict"):
            raise no_score(model)
        f = _flat(model.predict(X), model)
        if not goal.numeric:
            return f
        c = goal.threshold if thresholds is None else thresholds
        return f - c if goal.larger else c - f
    inside = _discovered_classes(model, goal, thresholds)
    if len(inside) == 1:  # all training rows are, or are not, discoveries
        return np.full(_n_rows(X), float(inside[0]))
    if hasattr(model, "predict_proba"):
        p = np.asarray(model.predict_proba(X), dtype=np.float64)
        return p[:, inside].sum(axis=1)
    if hasattr(model, "decision_function"):
        value = np.asarray(model.decision_function(X), dtype=np.float64)
        if value.ndim == 2:
            return value[:, inside].max(axis=1) - value[:, ~inside].max(axis=1)
        return value if inside[1] else -value
    raise no_score(model)


def _discovered_classes(model, goal, thresholds):
    """Which classes of a classifier are discoveries.

    A classifier handed in already fitted may know outcomes by their own names, or, if
    there are two, whether an outcome is a discovery: the second class.
    """
    classes = np.asarray(model.classes_)
    second = np.arange(len(classes)) == 1
    try:
        inside = goal.positive(classes) if thresholds is None else second
    except (TypeError, ValueError):  # names that the goal cannot judge
        inside = second
    if len(classes) == 1 or 0 < inside.sum() < len(classes):
        return inside
    if len(classes) > 2:
        raise ValueError(
            f"The fitted classifier knows the classes {classes.tolist()}, and by "
            "threshold and target all or none of them are discoveries."
        )
    return second


def no_score(model):
    """The error for a model that cannot rank rows."""
    needs = "predict_proba nor decision_function" if is_classifier(model) else "predict"
    return ValueError(
        f"{type(model).__name__} has {'neither' if 'nor' in needs else 'no'} {needs}: "
        "conformal selection needs a score to rank rows by."
    )


def _flat(prediction, model):
    f = np.asarray(prediction, dtype=np.float64)
    if f.ndim == 2 and f.shape[1] == 1:
        f = f[:, 0]
    if f.ndim != 1:
        raise ValueError(
            f"{type(model).__name__} predicts {f.shape[1]} outcomes; selection needs "
            "one."
        )
    return f


def _n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


def labelled_scores(score, f, positive, excess, sigma=1.0):
    """Scores ``V(x, y)`` of labelled rows.

    ``clip`` is ``M 1[y > c] - f(x)`` with an infinite ``M``: a discovery never speaks
    against a new row. ``null`` is the same over the rows that are none.

    Parameters
    ----------
    score : str
        One of ``SCORES``.
    f : ndarray of shape (n,)
        Margins.
    positive : ndarray of bool of shape (n,)
        Which rows are discoveries.
    excess : ndarray of shape (n,)
        Outcomes beyond the threshold, or 1 and 0 where outcomes are no numbers.
    sigma : ndarray of shape (n,) or float
        Expected size of an error.
    """
    if score in ("residual", "scaled"):
        return (excess - f) / sigma
    if score == "null":
        return (-f / sigma)[~positive]
    return np.where(positive, np.inf, -f / sigma)
