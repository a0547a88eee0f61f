from sklearn.gaussian_process.kernels import RBF
from sklearn.tree import DecisionTreeRegressor

QUICK = {
    "InductiveBiasEstimator": [
        {"target_error": 0.1, "random_state": 0},
        {
            "hypotheses": RBF(2.0),
            "target_error": 0.1,
            "n_hypotheses": 5,
            "units": "bits",
            "random_state": 0,
        },
        {
            "hypotheses": DecisionTreeRegressor(max_features=1),
            "task": "regression",
            "target_error": 0.5,
            "n_hypotheses": 5,
            "random_state": 0,
        },
    ],
}
