"""Quick configurations of the selector of models over time."""

from sklearn.linear_model import LogisticRegression, Ridge

QUICK = {
    "TemporalModelSelector": [
        {"estimator": LogisticRegression()},
        {"estimator": Ridge(), "mechanism": "temporal_cv", "cv": 2},
    ]
}
