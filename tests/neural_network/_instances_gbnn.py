QUICK = {
    "GBNNRegressor": [
        {"n_hidden": 20, "learning_rate": 0.3},
        {"n_hidden": 12, "units_per_step": 5, "learning_rate": 0.5},
    ],
    "GBNNClassifier": [
        {"n_hidden": 20, "learning_rate": 0.3},
        {"n_hidden": 20, "units_per_step": 3, "n_iter_no_change": 3},
    ],
}
