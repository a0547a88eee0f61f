"""Quick configurations, and curves made of the tables that the checks pass."""

import numpy as np
from scipy.special import expit
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from skdiff import model_selection
from skdiff._base.validation import refuse_dates


class LearningCurvePFN(model_selection.LearningCurvePFN):
    """Rows of any numbers are squeezed into curves of scores."""

    __doc__ = model_selection.LearningCurvePFN.__doc__

    def _curves(self, X, reset):
        refuse_dates(X)
        X = validate_data(
            self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"
        )
        return expit(X)

    def fit(self, X, y=None):
        curves = self._curves(X, True)
        try:
            return super().fit(curves)
        finally:  # once more, for the names
            self._curves(X, True)

    def predict(self, X):
        return super().predict(self._curves(X, False))

    def score(self, X, y):
        return super().score(self._curves(X, False), expit(np.asarray(y))[:, None])

    def save(self, path):
        public = object.__new__(model_selection.LearningCurvePFN)
        public.__dict__.update(self.__dict__)
        public.save(path)

    @classmethod
    def load(cls, path):
        model = model_selection.LearningCurvePFN.load(path)
        model.__class__ = cls
        return model


ADAPTED = {"LearningCurvePFN": LearningCurvePFN}

QUICK = {
    "LearningCurvePFN": [
        {},
        {"prior": "domhan", "direction": "minimize", "soft_bounds": (0.2, 0.8)},
    ],
    "PredictiveStoppingSearchCV": [
        {
            "estimator": SGDRegressor(random_state=0),
            "param_distributions": {"alpha": [1e-4, 1e-3, 1e-2]},
            "n_iter": 2,
            "max_resource": 5,
            "min_resource": 2,
        },
        {
            "estimator": Pipeline(
                [
                    ("scale", StandardScaler()),
                    ("model", SGDClassifier(random_state=0)),
                ]
            ),
            "param_distributions": {"model__alpha": [1e-4, 1e-3, 1.0]},
            "n_iter": 2,
            "max_resource": 4,
            "cv": 2,
        },
    ],
}
