"""Meta-estimators that predict as the estimator they have fitted inside."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import routing_enabled
from skdiff._base.inner import check_table

Method = TypeVar("Method", bound=Callable[..., Any])


def _where_it_has(name: str) -> Callable[[Method], Method]:
    """Show a method only where the estimator inside has it, fitted or not."""

    def check(self: Any) -> bool:
        return hasattr(getattr(self, "estimator_", self.estimator), name)

    found: Callable[[Method], Method] = available_if(check)
    return found


class DelegateMixin:
    """Methods of a fitted ``estimator_``, as far as the estimator has them."""

    estimator: Any
    estimator_: Any

    def _readers(self) -> list[Any]:
        """Return the estimators that read the rows of the caller."""
        return [self.estimator]

    def _read(self, X: Any) -> Any:
        check_is_fitted(self, "estimator_")
        return check_table(self, X, self._readers(), reset=False)

    @_where_it_has("predict")
    def predict(self, X: Any) -> Any:
        """Predict with the fitted estimator.

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

    @_where_it_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities with the fitted estimator.

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

    @_where_it_has("decision_function")
    def decision_function(self, X: Any) -> Any:
        """Return decision values of the fitted estimator.

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

    @_where_it_has("transform")
    def transform(self, X: Any) -> Any:
        """Transform with the fitted estimator.

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

    @_where_it_has("score")
    def score(self, X: Any, y: Any, **score_params: Any) -> Any:
        """Score the fitted estimator by its own ``score``.

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
