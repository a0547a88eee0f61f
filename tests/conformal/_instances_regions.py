from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

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
        {
            "estimator": Ridge(),
            "region": "box",
            "confidence_level": 0.5,
            "calibration": KFold(3),
        },
    ],
}
