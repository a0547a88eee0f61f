QUICK = {
    "SelfTuningMLPClassifier": [
        {"hidden_layer_sizes": (16,), "max_iter": 15, "learning_rate_init": 0.02},
        {
            "hidden_layer_sizes": (),
            "response": "hypernetwork",
            "max_iter": 15,
            "learning_rate_init": 0.05,
        },
    ],
    "SelfTuningMLPRegressor": [
        {"hidden_layer_sizes": (16,), "max_iter": 20, "learning_rate_init": 0.02},
    ],
}
