from skdiff.neural_network import GRBFRegressor

GIVEN = {"alpha_precision": 1e-2, "alpha_weights": 1e-3, "n_init": 1}
QUICK = {
    "ActiveSubspaceTransformer": [
        {"estimator": GRBFRegressor(8, max_iter=40, **GIVEN)},
        {
            "estimator": GRBFRegressor(8, max_iter=40, **GIVEN),
            "n_components": 0.9,
            "whiten": True,
        },
    ],
    "GRBFRegressor": [
        {"n_centers": 8, "max_iter": 20, "alpha_precision": 1e-2, "n_init": 1},
        {
            **GIVEN,
            "n_centers": 6,
            "rank": 1,
            "learn_centers": True,
            "max_iter": 30,
            "n_init": 2,
        },
    ],
    "GRBFClassifier": [
        {"n_centers": 8, "max_iter": 40, "n_init": 1},
        {"n_centers": 6, "solver": "adam", "max_iter": 10, "covariance_type": "diag"},
    ],
}
