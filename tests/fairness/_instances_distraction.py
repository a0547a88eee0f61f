from skdiff import fairness
from tests.fairness._instances_postprocessing import Grouped, find_rule, groups_of


class DistractionClassifier(Grouped, fairness.DistractionClassifier):
    __doc__ = fairness.DistractionClassifier.__doc__

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        rule = find_rule(X, y, sample_weight)
        return super().partial_fit(
            X,
            y,
            classes,
            sensitive_features=groups_of(X, rule),
            sample_weight=sample_weight,
        )


ADAPTED = {"DistractionClassifier": DistractionClassifier}

QUICK = {
    "DistractionClassifier": [
        {"hidden_layer_sizes": (8,), "max_iter": 60, "learning_rate_init": 0.02},
        {
            "hidden_layer_sizes": (6, 4),
            "max_iter": 60,
            "learning_rate_init": 0.02,
            "mode": "penalty",
            "position": 0,
            "fairness_weight": 0.2,
        },
    ]
}
