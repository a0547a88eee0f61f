QUICK = {
    "SparseBayesianMLPClassifier": [
        {
            "hidden_layer_sizes": (16,),
            "density": 0.5,
            "max_iter": 60,
            "learning_rate_init": 0.05,
            "update_every": 5,
            "n_predict_samples": 5,
        },
    ],
    "SparseBayesianMLPRegressor": [
        {
            "hidden_layer_sizes": (16,),
            "density": 0.5,
            "max_iter": 60,
            "learning_rate_init": 0.05,
            "update_every": 5,
            "n_predict_samples": 5,
        },
    ],
}
