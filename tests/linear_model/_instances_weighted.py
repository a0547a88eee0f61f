QUICK = {
    "WeightedElasticNet": [{"alpha": 0.01}, {"alpha": 0.01, "l1_ratio": 0.5}],
    "WeightedLogisticRegression": [{}, {"class_weight": "balanced"}],
    "WeightedRidge": [{}, {"fit_intercept": False}],
}
