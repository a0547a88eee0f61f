QUICK = {
    "InteractionScreening": [
        {"n_bins": 2, "max_categories": 4},
        {
            "method": "pseudolikelihood",
            "penalty": "l1",
            "n_bins": 3,
            "max_categories": 3,
        },
    ],
    "InteractionScreeningCV": [
        {"alphas": [0.2, 1.0], "cv": 2, "n_bins": 2, "max_categories": 4},
    ],
    "NeuralInteractionScreening": [
        {"hidden_layer_sizes": (4,), "max_iter": 5, "n_bins": 2, "max_categories": 4},
        {
            "hidden_layer_sizes": (4,),
            "variant": "energy",
            "solver": "adam",
            "max_iter": 3,
            "n_bins": 2,
            "max_categories": 4,
        },
    ],
}
