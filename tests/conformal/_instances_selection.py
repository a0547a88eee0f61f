from sklearn.linear_model import LogisticRegression, Ridge

QUICK = {
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
}
