QUICK = {
    "ActiveSubspaceTransformer": [{}, {"n_components": 0.9, "whiten": True}],
    "GRBFRegressor": [
        {"n_centers": 8, "max_iter": 40},
        {"n_centers": 6, "rank": 1, "learn_centers": True, "max_iter": 30, "n_init": 2},
    ],
    "GRBFClassifier": [
        {"n_centers": 8, "max_iter": 40},
        {"n_centers": 6, "solver": "adam", "max_iter": 10, "covariance_type": "diag"},
    ],
}
