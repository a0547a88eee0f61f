FAST = {"width": 8, "search_max_iter": 2, "max_iter": 8, "n_candidates": 3}
QUICK = {
    "ArchitectureSearchClassifier": [
        {**FAST, "learning_rate_init": 0.03},
        {
            **FAST,
            "space": "hypercuboid",
            "n_nodes": 2,
            "strategy": "rarts",
            "selection": "perturbation",
            "operations": ("zero", "skip", "tanh", "residual_relu"),
        },
    ],
    "ArchitectureSearchRegressor": [
        {**FAST, "learning_rate_init": 0.03},
        {
            **FAST,
            "order": 2,
            "selection": "max_w",
            "n_restarts": 2,
            "n_cells": 2,
            "n_nodes": 2,
            "compare_baseline": False,
        },
    ],
}
