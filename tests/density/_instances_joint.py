"""A subclass of GuidedSampler that predicts, for the checks.

It predicts the log-density of the target for rows whose gaps are filled.
"""

from sklearn.dummy import DummyRegressor
from sklearn.frozen import FrozenEstimator

from skdiff import density

SMALL = {"n_bins": 2, "max_categories": 4}
TINY = {**SMALL, "hidden_layer_sizes": (4,), "max_iter": 3, "marginal_max_iter": 2}
CLASSES = {"n_components": 2, "max_iter": 20, **SMALL}
FLAT = FrozenEstimator(DummyRegressor().fit([[0.0], [1.0]], [1.0, 1.0]))

QUICK = {
    "LatentClassModel": [
        CLASSES,
        {"max_components": 2, "max_iter": 5, "smoothing": 0.0, **SMALL},
    ],
    "MarginalizationModel": [
        TINY,
        {
            **TINY,
            "hidden_layer_sizes": (4, 4),
            "smoothing": 0.1,
            "on_policy": 0.2,
            "early_stopping": True,
            "batch_size": 32,
        },
    ],
    "MarginalImputer": [{"estimator": density.LatentClassModel(**CLASSES)}],
    "GuidedSampler": [
        {"model": density.LatentClassModel(**CLASSES), "reward": FLAT},
        {
            "model": density.LatentClassModel(**CLASSES),
            "reward": FLAT,
            "value": "regressor",
            "value_estimator": DummyRegressor(),
            "n_value_rows": 10,
        },
    ],
}


class GuidedSampler(density.GuidedSampler):
    __doc__ = density.GuidedSampler.__doc__

    def predict(self, X):
        """Score complete rows."""
        if not hasattr(self, "model_"):
            return self.score_samples(X)
        return self.score_samples(self.model_.impute(X))

    def score(self, X, y=None):
        """Mean of the predictions."""
        return float(self.predict(X).mean())

    def save(self, path):
        """Save as the public class."""
        public = density.GuidedSampler(None, None)
        public.__dict__.update(self.__dict__)
        public.save(path)

    @classmethod
    def load(cls, path):
        """Load as this class."""
        model = density.GuidedSampler.load(path)
        model.__class__ = cls
        return model


ADAPTED = {"GuidedSampler": GuidedSampler}
