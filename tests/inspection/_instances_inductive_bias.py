import numpy as np
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from skdiff import inspection
from skdiff._base.validation import check_X
from tests.data_selection._instances_selectors import Adapted, public_class


class InductiveBiasEstimator(Adapted, inspection.InductiveBiasEstimator):
    """A diagnostic makes nothing of new rows; the common tests read its mean error."""

    def predict(self, X):
        check_is_fitted(self)
        X = check_X(self, X, reset=False, dtype=np.float64)
        return np.full(X.shape[0], self.mean_error_)

    def score(self, X, y):
        return float(np.mean(self.predict(X)))


InductiveBiasEstimator.__doc__ = public_class(InductiveBiasEstimator).__doc__
ADAPTED = {"InductiveBiasEstimator": InductiveBiasEstimator}
QUICK = {
    "InductiveBiasEstimator": [
        {"target_error": 0.1, "random_state": 0},
        {
            "hypotheses": "linear",
            "target_error": 100.0,
            "n_hypotheses": 5,
            "units": "bits",
            "random_state": 0,
        },
        {
            "hypotheses": DecisionTreeRegressor(max_features=1),
            "task": "regression",
            "target_error": 0.5,
            "n_hypotheses": 5,
            "random_state": 0,
        },
    ],
}
