from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB

from skdiff.fairness import Constraint

QUICK = {
    "ConstrainedClassifier": [
        {"constraints": [Constraint.loss_at_most(0.3)], "on_infeasible": "relax"},
        {
            "estimator": GaussianNB(),
            "constraints": Constraint.loss_at_most(0.1),
            "max_iter": 4,
        },
    ],
    "ConstrainedRegressor": [
        {"constraints": [Constraint.loss_at_most(3000.0)], "on_infeasible": "relax"},
        {
            "estimator": LinearRegression(positive=True),
            "constraints": [Constraint.loss_at_most(3000.0)],
            "max_iter": 4,
            "select": "mixture",
        },
    ],
}
