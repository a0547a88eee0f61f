from sklearn.linear_model import LogisticRegression, Ridge

QUICK = {
    "ConformalSelector": [
        {"threshold": 0.5, "random_state": 0},
        {
            "estimator": Ridge(),
            "threshold": 0.5,
            "conformity_score": "residual",
            "random_state": 0,
        },
    ],
    "CrossFitConformalSelector": [
        {"cv": 3, "threshold": 0.5, "random_state": 0},
        {
            "estimators": [Ridge(), Ridge(100.0)],
            "cv": "loo",
            "fdr_level": 0.4,
            "random_state": 0,
        },
    ],
    "OptimizedConformalSelector": [
        {
            "estimators": [Ridge(), LogisticRegression()],
            "threshold": 0.5,
            "fdr_level": 0.4,
            "random_state": 0,
        },
    ],
}
