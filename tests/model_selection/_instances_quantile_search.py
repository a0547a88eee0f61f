from sklearn.linear_model import LogisticRegression, Ridge

_SMALL = {"cv": 2, "n_candidates": 20, "n_quantiles": 2}

QUICK = {
    "ConformalQuantileSearchCV": [
        {
            "estimator": Ridge(),
            "param_distributions": {"alpha": [0.01, 0.1, 1.0, 10.0]},
            "n_iter": 3,
            "n_initial": 2,
            **_SMALL,
        },
        {
            "estimator": LogisticRegression(),
            "param_distributions": {"C": [0.01, 0.1, 1.0], "fit_intercept": [True]},
            "n_iter": 3,
            "n_initial": 2,
            **_SMALL,
        },
    ],
}
