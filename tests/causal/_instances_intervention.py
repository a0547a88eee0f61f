"""A subclass that lets the checks call ``fit(X, y)``: A is the first column of X."""

import numpy as np
from sklearn.linear_model import Ridge

from skdiff import causal
from tests.data_selection._instances_selectors import Adapted


class InterventionExtrapolator(Adapted, causal.InterventionExtrapolator):
    def fit(self, X, y):
        return super().fit(X, y)

    def _interventions(self, A, X, method="fit"):
        A = X[:, :1]
        return A if np.ptp(A) > 0 else np.arange(float(len(X)))[:, None]


ADAPTED = {"InterventionExtrapolator": InterventionExtrapolator}
InterventionExtrapolator.__doc__ = causal.InterventionExtrapolator.__doc__

QUICK = {
    "InterventionExtrapolator": [
        {"outcome": Ridge()},
        {"encoder": "linear", "outcome": Ridge(), "control_function": False},
    ]
}
