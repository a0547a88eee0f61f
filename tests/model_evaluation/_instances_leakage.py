"""Quick configurations of the audit."""

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

QUICK = {
    "PreprocessingLeakageAudit": [
        {
            "pipeline": Pipeline([("s", StandardScaler()), ("m", model)]),
            "cv": 3,
            "n_repeats": 1,
        }
        for model in (LogisticRegression(), Ridge())
    ]
}
