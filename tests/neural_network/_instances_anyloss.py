QUICK = {
    "AnyLossClassifier": [
        {"max_iter": 150, "learning_rate_init": 0.05},
        {"max_iter": 60, "hidden_layer_sizes": (8,), "learning_rate_init": 0.05},
    ],
}
