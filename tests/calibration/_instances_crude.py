from sklearn.linear_model import BayesianRidge, Ridge

QUICK = {
    "EmpiricalResidualCalibrator": [
        {},
        {"estimator": BayesianRidge(), "finite_sample": False},
        {"estimator": Ridge(), "scale_estimator": "constant"},
    ],
}
