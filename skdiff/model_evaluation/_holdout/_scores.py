"""Scores of single rows, whose mean is the score of a set of rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_regressor

from skdiff._base.typing import Array

#: a probability of zero counts as this one before values are clipped
_SMALLEST = 1e-300


def _accuracy(model: Any, X: Any, y: Any) -> Any:
    return np.asarray(model.predict(X)) == y


def _of_label(model: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Probabilities, and one where the label is; labels unknown to it have no one."""
    p = np.asarray(model.predict_proba(X), dtype=np.float64)
    return p, np.asarray(y)[:, None] == np.asarray(model.classes_)[None]


def _log_loss(model: Any, X: Any, y: Any) -> Any:
    p, here = _of_label(model, X, y)
    return np.log(np.maximum((p * here).sum(axis=1), _SMALLEST))


def _brier(model: Any, X: Any, y: Any) -> Any:
    p, here = _of_label(model, X, y)
    missed = 1.0 - here.sum(axis=1)
    squares = ((p - here) ** 2).sum(axis=1) + missed
    # of two classes the squares of one, as in brier_score_loss
    return -squares / 2 if p.shape[1] == 2 else -squares


def _squared(model: Any, X: Any, y: Any) -> Any:
    return -((np.asarray(model.predict(X)) - y) ** 2)


def _absolute(model: Any, X: Any, y: Any) -> Any:
    return -np.abs(np.asarray(model.predict(X)) - y)


ROW_SCORES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "accuracy": _accuracy,
    "neg_brier_score": _brier,
    "neg_log_loss": _log_loss,
    "neg_mean_absolute_error": _absolute,
    "neg_mean_squared_error": _squared,
}


def check_scoring_of_rows(scoring: Any) -> Any:
    """Return the function of a score that is a mean over rows; refuse others."""
    if callable(scoring):
        return scoring
    if not isinstance(scoring, str) or scoring not in ROW_SCORES:
        raise ValueError(
            f"scoring must be a mean over rows, one of {sorted(ROW_SCORES)} or a "
            "callable (estimator, X, y) that returns one value per row. Got "
            f"{scoring!r}, which a reusable holdout set cannot protect."
        )
    return ROW_SCORES[scoring]


def row_values(
    scoring: Any, model: Any, X: Any, y: Any, value_range: tuple[float, float]
) -> Array:
    """Scores of rows, clipped to the range."""
    if scoring == "accuracy" and is_regressor(model):
        raise ValueError(
            "scoring='accuracy' is for classifiers. Pass scoring="
            "'neg_mean_squared_error' and a value_range such as (-10, 0)."
        )
    found = np.asarray(check_scoring_of_rows(scoring)(model, X, y), dtype=np.float64)
    if found.shape != (len(y),):
        raise ValueError(
            f"scoring must return one value per row, of shape ({len(y)},). It returned "
            f"the shape {found.shape}."
        )
    if np.isnan(found).any():
        raise ValueError("scoring returned NaN.")
    low, high = value_range
    if not np.any((found >= low) & (found <= high)):
        raise ValueError(
            f"Every value of the score lies outside value_range=({low:g}, {high:g}): "
            f"they are between {found.min():.3g} and {found.max():.3g}. Pass a "
            "value_range that holds most of them."
        )
    return np.clip(found, low, high)
