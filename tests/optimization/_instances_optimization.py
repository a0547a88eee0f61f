from sklearn.linear_model import Ridge

QUICK = {
    "OfflineOptimizer": [
        {"surrogate": Ridge(), "n_steps": 5, "n_starts": 4},
        {"surrogate": Ridge(), "n_steps": 2, "trust": "ensemble"},
    ]
}
