from sklearn.linear_model import LogisticRegression

QUICK = {
    "RobustConformalClassifier": [
        {"confidence_level": 0.6, "radius": 0.05},
        {
            "estimator": LogisticRegression(),
            "method": "smoothing",
            "confidence_level": 0.5,
            "radius": 0.1,
            "n_draws": 16,
            "failure": 0.01,
        },
        {
            "estimator": LogisticRegression(),
            "method": "smoothing",
            "conformity_score": "aps",
            "transformation": None,
            "bound": "hoeffding",
            "confidence_level": 0.5,
            "n_draws": 16,
            "augment": False,
            "norm": float("inf"),
        },
    ],
}
