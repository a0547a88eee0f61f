from sklearn.linear_model import Ridge

QUICK = {
    "MultiOutputConformalRegressor": [
        {},
        {
            "estimator": Ridge(),
            "region": "neighbors",
            "confidence_level": 0.5,
            "scale_estimator": Ridge(),
        },
        {"region": "directional", "confidence_level": 0.6, "scale_estimator": None},
    ],
}
