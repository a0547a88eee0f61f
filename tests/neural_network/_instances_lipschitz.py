QUICK = {
    "LipschitzMLPClassifier": [
        {
            "lipschitz_bound": 5.0,
            "hidden_layer_sizes": (16,),
            "max_iter": 60,
            "learning_rate_init": 0.05,
        },
    ],
    "LipschitzMLPRegressor": [
        {"hidden_layer_sizes": (16,), "max_iter": 60, "learning_rate_init": 0.05},
    ],
}
