QUICK = {
    "PRESTOClassifier": [
        {"alpha": 0.01},
        {"alpha": 0.01, "l1_ratio": 0.0, "class_weight": "balanced"},
    ],
    "PRESTOClassifierCV": [{"alphas": 4, "cv": 2}],
    "ProportionalOddsClassifier": [{}, {"alpha": 0.01}],
}
