"""Quick configurations of learning curves, and sizes from a column of a table.

scikit-learn's checks pass tables of several columns of any sign. A subclass takes its
columns, added up, as the logarithm of the size.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.validation import validate_data

from skdiff import model_selection
from tests.data_selection._instances_selectors import Adapted, public_class


class ScoreCurve(Adapted, model_selection.ScoreCurve):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.positive_only = False
        tags.regressor_tags.poor_score = True  # a curve in one variable
        return tags

    def _sizes(self, X, reset):
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        total = X @ np.exp(-np.arange(X.shape[1]))
        return np.exp(20 * np.tanh(total / 20))

    def fit(self, X, y, sample_weight=None):
        sizes = self._sizes(X, True)
        try:
            return super().fit(sizes, y, sample_weight)
        finally:  # an interrupted fit too has the columns of X
            self._sizes(X, True)

    def predict(self, X, return_std=False):
        return super().predict(self._sizes(X, False), return_std)

    def predict_quantiles(self, X, q=(0.05, 0.5, 0.95)):
        return super().predict_quantiles(self._sizes(X, False), q)

    def probability_above(self, X, target):
        return super().probability_above(self._sizes(X, False), target)


ScoreCurve.__doc__ = public_class(ScoreCurve).__doc__
ADAPTED = {"ScoreCurve": ScoreCurve}

QUICK = {
    "ScoreCurve": [{"upper": np.inf}, {"upper": np.inf, "pattern": "exp3"}],
    "TrainingSizeEstimator": [
        {"estimator": Ridge(), "cv": 2, "n_sizes": 4},
        {"estimator": LogisticRegression(), "cv": 2, "n_sizes": 4, "stop": "none"},
    ],
}
