from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from skdiff.linear_model import WeightedRidge
from skdiff.model_selection import Continuous
from skdiff.neural_network import AnyLossClassifier

QUICK = {
    "GradientSearchCV": [
        {
            "estimator": Ridge(),
            "param_distributions": {"alpha": Continuous(1e-3, 1e3)},
            "cv": 3,
        },
        {
            "estimator": LogisticRegression(),
            "param_distributions": {"C": Continuous(1e-3, 1e2)},
            "cv": 3,
        },
        {
            "estimator": WeightedRidge(),
            "param_distributions": {"alpha": Continuous(1e-2, 1e3, per="feature")},
            "cv": 3,
            "max_iter": 15,
        },
        {  # no unique fits
            "estimator": AnyLossClassifier(
                bce_weight=1.0, warmup_iter=0, max_iter=6, random_state=0
            ),
            "param_distributions": {"alpha": Continuous(1e-3, 1.0)},
            "cv": 2,
            "max_iter": 3,
            "tol": 0.5,
        },
        {
            "estimator": SVC(random_state=0),
            "param_distributions": {
                "C": Continuous(1e-1, 1e2),
                "gamma": Continuous(1e-3, 1),
            },
            "cv": 3,
            "max_iter": 5,
        },
    ],
}
