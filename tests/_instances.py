"""Fast constructor arguments for the common tests: the only list of estimators.

``QUICK[name]`` holds one or more keyword dictionaries; an estimator that is not named
is tested with its defaults. ``EXPECTED_FAILURES[name]`` maps a check to the reason why
it fails; it is strict, so a check that passes again must be removed.
"""

from sklearn.linear_model import LogisticRegression, Ridge

QUICK: dict[str, list[dict]] = {
    "ConformalSelector": [
        {"threshold": 0.5},
        {"estimator": Ridge(), "threshold": 0.5, "conformity_score": "residual"},
    ],
    "CrossFitConformalSelector": [
        {"cv": 3, "threshold": 0.5},
        {"estimators": [Ridge(), LogisticRegression()], "cv": "loo", "fdr_level": 0.4},
    ],
    "OptimizedConformalSelector": [
        {
            "estimators": [Ridge(), LogisticRegression()],
            "threshold": 0.5,
            "fdr_level": 0.4,
        },
    ],
    "AnyLossClassifier": [
        {"max_iter": 150, "learning_rate_init": 0.05},
        {"max_iter": 60, "hidden_layer_sizes": (8,), "learning_rate_init": 0.05},
    ],
    "RashomonClassifier": [{}, {"epsilon_type": "lr", "epsilon": 0.05}],
    "RashomonRegressor": [{}],
}

EXPECTED_FAILURES: dict[str, dict[str, str]] = {}
