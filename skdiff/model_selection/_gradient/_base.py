"""What the gradient search shares with scikit-learn's searches: scorers and state."""

from sklearn.metrics import get_scorer

from skdiff._base.compat import BaseSearchCV, CallbackSupportMixin, routing_enabled
from skdiff._base.persistence import SaveMixin
from skdiff.model_selection._gradient import _criteria
from skdiff.model_selection._gradient._space import from_plain, to_plain


class BaseGradientSearch(SaveMixin, BaseSearchCV, CallbackSupportMixin):
    """Scorers whose default is the criterion, and a state without frozen objects."""

    # --- scorers ----------------------------------------------------------------------

    def _get_scorers(self):
        """Return the scorers; the criterion's own where none is given."""
        if self.scoring is not None:
            return super()._get_scorers()
        criterion = _criteria.resolve(self.criterion, self.estimator)
        if not isinstance(criterion, str) or criterion not in _criteria.SCORERS:
            return _criteria.CriterionScorer(criterion), "score"
        scorer = get_scorer(_criteria.SCORERS[criterion])
        if routing_enabled():
            # weights reach the default score where they reach the estimator's own
            routing = getattr(self.estimator, "get_metadata_routing", None)
            asked = routing and routing().consumes("score", ["sample_weight"])
            scorer = scorer.set_score_request(sample_weight=bool(asked))
        return scorer, "score"

    @property
    def scorer_(self):
        """The scorer, or the scorers by name."""
        if not hasattr(self, "cv_results_"):
            raise AttributeError(f"{type(self).__name__} object has no scorer_ yet.")
        scorers = self._get_scorers()[0]
        return getattr(scorers, "_scorers", scorers)

    @property
    def n_features_in_(self):
        """Number of columns seen by ``fit``."""
        return super().n_features_in_

    # --- state ------------------------------------------------------------------------

    def __getstate__(self):
        """Turn intervals into plain values, which a file without pickle can hold."""
        state = super().__getstate__()
        given = state.get("param_distributions")
        if isinstance(given, dict):
            plain = {key: to_plain(value) for key, value in given.items()}
            state = {**state, "param_distributions": plain}
        return state

    def __setstate__(self, state):
        """Bring the intervals back."""
        given = state.get("param_distributions")
        if isinstance(given, dict):
            again = {key: from_plain(value) for key, value in given.items()}
            state = {**state, "param_distributions": again}
        super().__setstate__(state)
