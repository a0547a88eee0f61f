QUICK = {
    "BayesianLinearMixture": [{"n_scales": 7, "n_noises": 7}, {"fit_intercept": False}]
}
