SMALL = {"n_bins": 2, "max_categories": 4}
TINY = {**SMALL, "hidden_layer_sizes": (4,), "max_iter": 3, "marginal_max_iter": 2}

QUICK = {
    "LatentClassModel": [
        {"n_components": 2, "max_iter": 20, **SMALL},
        {"max_components": 2, "max_iter": 5, "smoothing": 0.0, **SMALL},
    ],
    "MarginalizationModel": [
        TINY,
        {
            **TINY,
            "hidden_layer_sizes": (4, 4),
            "smoothing": 0.1,
            "on_policy": 0.2,
            "early_stopping": True,
            "batch_size": 32,
        },
    ],
}
