"""Quick configurations of nested cross-validation."""

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV

QUICK = {
    "NestedCV": [
        {"search": GridSearchCV(Ridge(), {"alpha": [0.1, 10.0]}, cv=2), "cv_outer": 3},
        {
            "search": GridSearchCV(LogisticRegression(), {"C": [0.1, 10.0]}, cv=2),
            "cv_outer": 2,
            "n_repeats": 2,
        },
    ],
}
