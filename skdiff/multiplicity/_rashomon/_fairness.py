"""Ranges of group differences over the set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import is_classifier
from sklearn.utils import column_or_1d

from skdiff.multiplicity._sets._fairness import GroupMeasure, difference_range

MEASURES = (
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "mean_prediction",
)


@dataclass(frozen=True)
class FairnessRange:
    """Range of the largest difference between two groups over all good models.

    Attributes
    ----------
    low, high : float
        Smallest and largest difference that ``low_model`` and ``high_model`` attain.
    outer_low, outer_high : float
        Certified bounds: no model of the set has a difference outside them.
    low_model, high_model : estimator
        Copies of the audited estimator with the coefficients of these models.
    """

    low: float
    high: float
    outer_low: float
    outer_high: float
    low_model: Any
    high_model: Any


class FairnessMixin:
    """Ranges of group differences of a fitted level set."""

    def fairness_range(
        self: Any,
        X: Any,
        y: Any = None,
        *,
        groups: Any,
        measure: str = "selection_rate",
    ) -> FairnessRange:
        """Return the range of the largest difference between two groups.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Their labels; needed for the rates of true and false positives.
        groups : array-like of shape (n_samples,)
            Group of each row.
        measure : {"selection_rate", "true_positive_rate", "false_positive_rate", \
"mean_prediction"}, default="selection_rate"
            What is compared: the proportion of rows for which ``classes_[1]`` is
            predicted, of all rows or of those with label ``classes_[1]`` or
            ``classes_[0]``; or the mean probability or value. Regressors have the last
            only.

        Returns
        -------
        found : FairnessRange
            ``low`` and ``high`` are attained by ``low_model`` and ``high_model``; the
            true extremes lie between them and the certified bounds ``outer_low`` and
            ``outer_high``. They coincide for ``mean_prediction`` of linear regressors
            and two groups.
        """
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {MEASURES}, got {measure!r}.")
        V = self._query(X)
        if hasattr(V, "toarray"):
            V = V.toarray()
        weight = _group_weights(self, len(V), y, groups, measure)
        used = weight.any(axis=0)
        rates = measure != "mean_prediction"
        if rates:
            cut = self._cut()
            response = _selected(cut)
            slope = _bell(cut)
        else:
            response, slope = self._response, _slope_of(self._response)
        linear = not rates and not is_classifier(self) and self._linear_response
        found = difference_range(
            self._set,
            GroupMeasure(V[used], weight[:, used], response, slope),
            self._settings,
            linear=linear,
        )
        return FairnessRange(
            found.low,
            found.high,
            found.outer_low,
            found.outer_high,
            self._model_at(found.low_model),
            self._model_at(found.high_model),
        )


def _group_weights(audit: Any, n: int, y: Any, groups: Any, measure: str) -> Any:
    """Weights (G, n) whose products with responses are means of the groups."""
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) != n:
        raise ValueError(f"groups has {len(codes)} entries for {n} rows of X.")
    if len(names) < 2:
        raise ValueError("groups must hold at least two groups.")
    counted = np.ones(n, dtype=bool)
    if measure != "mean_prediction" and not is_classifier(audit):
        raise ValueError(f"measure={measure!r} is for classifiers.")
    if measure in ("true_positive_rate", "false_positive_rate"):
        if y is None:
            raise ValueError(f"measure={measure!r} needs y.")
        y = column_or_1d(y)
        if len(y) != n:
            raise ValueError(f"y has {len(y)} entries for {n} rows of X.")
        counted = y == audit.classes_[int(measure == "true_positive_rate")]
    weight = (codes == np.arange(len(names))[:, None]) * counted.astype(np.float64)
    total = weight.sum(axis=1)
    if not total.all():
        empty = names[total == 0].tolist()
        raise ValueError(f"The groups {empty} have no row that {measure} counts.")
    return weight / total[:, None]


def _selected(cut: float) -> Any:
    return lambda f: (f > cut).astype(np.float64)


def _bell(cut: float) -> Any:
    """Slope of a smooth step: rows far from the threshold do not change."""

    def slope(f: Any) -> Any:
        width = max(float(np.median(np.abs(f - cut))), 1e-12) / 4
        p = expit((f - cut) / width)
        return p * (1 - p) + 1e-12

    return slope


def _slope_of(response: Any) -> Any:
    """Central differences of a smooth response."""

    def slope(f: Any) -> Any:
        step = 1e-5 * (1 + np.abs(f))
        return (response(f + step) - response(f - step)) / (2 * step)

    return slope
