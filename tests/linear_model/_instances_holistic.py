QUICK = {
    "HolisticRobustClassifier": [
        {"alpha": 0.01},
        {"loss": "squared_hinge", "alpha": 0.01, "poisoning": 0.05},
    ],
    "HolisticRobustRegressor": [
        {"alpha": 0.01},
        {"fit_intercept": False, "poisoning": 0.0},
    ],
}
