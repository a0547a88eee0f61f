from sklearn.linear_model import LogisticRegression, Ridge, SGDRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

QUICK = {
    "HyperbandSearchCV": [
        {
            "estimator": Ridge(),
            "param_distributions": {"alpha": [0.01, 0.1, 1.0, 10.0]},
            "cv": 2,
            "brackets": 1,
        },
        {
            "estimator": SGDRegressor(random_state=0),
            "param_distributions": {"alpha": [1e-4, 1e-3, 1e-2]},
            "resource": "partial_fit",
            "max_resource": 4,
            "factor": 2,
            "cv": 2,
        },
        {
            "estimator": Pipeline(
                [("scale", StandardScaler()), ("model", LogisticRegression())]
            ),
            "param_distributions": {"model__C": [0.01, 0.1, 1.0]},
            "resource": "model__max_iter",
            "max_resource": 20,
            "min_resource": 10,
            "factor": 2,
            "cv": 2,
        },
    ],
}
