"""What a fitted estimator inside answers, and what its fits are given."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    check_method_params,
    check_sample_weight,
    routing_enabled,
    safe_indexing,
)
from skdiff._base.inner import check_table


def _estimator_has(name):
    def check(self):
        return hasattr(getattr(self, "estimator_", self.estimator), name)

    return check


class CurveComparison(NamedTuple):
    """Where the predicted scores of two estimators cross, and who leads at a size.

    Attributes
    ----------
    crossing_size : float
        Largest training size at which the lead changes; ``inf`` where it never does.
    probability : float
        Probability that the other estimator has the higher score at ``n_samples``.
    n_samples : float
        That size.
    """

    crossing_size: float
    probability: float
    n_samples: float


class DelegateMixin:
    """Methods of the estimator that was fitted to all rows."""

    def _read(self, X):
        check_is_fitted(self, "estimator_")
        return check_table(self, X, [self.estimator], reset=False)

    @available_if(_estimator_has("predict"))
    def predict(self, X):
        """Predict with the estimator fitted to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions.
        """
        X = self._read(X)
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Predict probabilities with the estimator fitted to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        X = self._read(X)
        return self.estimator_.predict_proba(X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X):
        """Return decision values of the estimator fitted to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        f : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values.
        """
        X = self._read(X)
        return self.estimator_.decision_function(X)

    @available_if(_estimator_has("transform"))
    def transform(self, X):
        """Transform with the estimator fitted to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : array-like of shape (n_samples, n_outputs)
            What the estimator makes of them.
        """
        X = self._read(X)
        return self.estimator_.transform(X)

    @available_if(_estimator_has("score"))
    def score(self, X, y, **score_params):
        """Score the estimator fitted to all rows, by its own ``score``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their outcomes.
        **score_params : dict
            Passed on, such as ``sample_weight``; routed with metadata routing enabled.

        Returns
        -------
        score : float
            The score.
        """
        X = self._read(X)
        if routing_enabled() and score_params:
            routed = process_routing(self, "score", **score_params)
            score_params = routed.estimator.score
        return self.estimator_.score(X, y, **score_params)


def present(X, y, groups, params):
    """Rows of positive weight, and what has one entry per row cut to them."""
    params = {k: v for k, v in params.items() if v is not None}
    params = check_method_params(X, params=params)
    weight = params.get("sample_weight")
    if weight is None:
        return X, y, groups, params
    weight = check_sample_weight(weight, np.empty((len(weight), 1)))
    params["sample_weight"] = weight
    if np.all(weight > 0):
        return X, y, groups, params
    rows = np.flatnonzero(weight > 0)
    params = check_method_params(X, params=params, indices=rows)
    groups = None if groups is None else safe_indexing(groups, rows)
    return safe_indexing(X, rows), safe_indexing(y, rows), groups, params


def largest_score(scorer, scores):
    """Zero for negated losses, one for scores up to one, none otherwise."""
    if getattr(scorer, "_sign", 1) < 0 and scores.max() <= 0:
        return 0.0
    return 1.0 if scores.max() <= 1 else np.inf
