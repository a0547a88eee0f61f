"""What counts as a discovery, in terms of outcomes and of a model's classes."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import assert_all_finite, column_or_1d

from skdiff._base.typing import Array, BoolArray


class Goal(NamedTuple):
    """A discovery: an outcome beyond a threshold, in a region, or of a class."""

    threshold: float
    larger: bool
    target: Any  # None, a callable, or a class label

    @property
    def numeric(self) -> bool:
        """Whether outcomes are numbers with a threshold."""
        return self.target is None

    def positive(self, y: Any, thresholds: Array | None = None) -> BoolArray:
        """Return which outcomes are discoveries."""
        if self.numeric:
            c = self.threshold if thresholds is None else thresholds
            return np.asarray(y > c if self.larger else y < c)
        if not callable(self.target):
            return np.asarray(y == self.target)
        found = np.asarray(self.target(y))
        if found.shape != y.shape or found.dtype != bool:
            raise ValueError(
                "target must map y to a boolean array of its shape. Got "
                f"{found.dtype} of shape {found.shape} for {y.shape}."
            )
        return found

    def learns_numbers(self, estimator: Any) -> bool:
        """Whether the estimator is a regressor of the outcome itself."""
        return self.numeric and not is_classifier(estimator)

    def outcome(self, estimator: Any, y: Array, positive: BoolArray) -> Array:
        """What the estimator is trained on: the outcome, or 1 for a discovery."""
        if self.learns_numbers(estimator):
            return y
        return positive.astype(np.float64 if is_regressor(estimator) else np.int64)

    def seen_by(self, model: Any, trained: bool, y: Any, per_row: bool) -> "Goal":
        """Return the goal in terms of what a fitted model predicts.

        A model trained here knows a discovery as 1. A classifier that was handed in
        fitted knows outcomes by their own labels, if those of ``y`` are among its
        classes, or, as the second of two classes, that an outcome is a discovery.
        """
        if self.learns_numbers(model):
            return self
        if trained:
            return self._replace(target=1)
        if not is_classifier(model):
            return self
        classes = np.asarray(model.classes_)
        if len(classes) == 2 and (per_row or not self._names_outcomes(classes, y)):
            return self._replace(target=classes.tolist()[1])
        if per_row:
            raise ValueError(
                f"The fitted classifier knows the classes {classes.tolist()}; with "
                "thresholds it must know two, the second of them a discovery."
            )
        return self

    def _names_outcomes(self, classes: Any, y: Any) -> bool:
        if classes.dtype == bool and np.asarray(y).dtype != bool:
            return False
        if not set(np.asarray(y).tolist()) <= set(classes.tolist()):
            return False
        return 0 < self.positive(classes).sum() < len(classes)


def check_outcomes(y: Any, goal: Goal) -> Any:
    """Return outcomes without gaps: numbers where they are compared, else labels."""
    y = column_or_1d(y, warn=True)
    if goal.numeric:
        return check_numbers(y)
    if gaps := sum(_missing(v) for v in y.tolist()):
        raise ValueError(
            f"Input y contains NaN or missing outcomes in {gaps} rows. A row whose "
            "outcome is unknown cannot calibrate; drop it."
        )
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    return y


def _missing(value: Any) -> bool:
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def check_numbers(y: Any, name: str = "y") -> Array:
    """Return finite numbers, or raise an error that names the argument."""
    try:
        found = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold numbers to compare with a threshold. For classes or "
            f"string categories give target. ({error})"
        ) from error
    if not np.all(np.isfinite(found)):
        raise ValueError(f"Input {name} contains NaN or infinity.")
    return found
