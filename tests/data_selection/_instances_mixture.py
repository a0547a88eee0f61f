"""Quick configurations, and a subclass that makes up the sources."""

import numpy as np
from scipy.special import expit
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted

from skdiff import data_selection
from skdiff._base.inner import check_table
from skdiff.data_selection._mixture._base import Numbers
from tests.data_selection._instances_selectors import Adapted, public_class


class MixturePerformanceProjector(Adapted, data_selection.MixturePerformanceProjector):
    def predict(self, X):
        # it predicts from mixtures: one is made of the columns of each row
        check_is_fitted(self, "form_")
        X = check_table(self, X, [self.estimator], reset=False)
        Z = Numbers(X).of(X)
        part = expit(Z @ np.exp(-np.arange(Z.shape[1])))
        return super().predict(np.column_stack([part, 1 - part]))

    def score(self, X, y=None):
        # searches of the common tests need a number
        return float(np.mean(self.predict(X)))

    def fit(self, X, y):
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        groups = np.arange(n) % 2
        return super().fit(X, y, groups, X_val=X, y_val=y)


MixturePerformanceProjector.__doc__ = public_class(MixturePerformanceProjector).__doc__
ADAPTED = {"MixturePerformanceProjector": MixturePerformanceProjector}

QUICK = {
    "MixturePerformanceProjector": [
        {"estimator": Ridge(), "n_mixtures": 4, "n_repeats": 1},
        {
            # tables of ten rows leave pilots without a class: no classifier here
            "estimator": Ridge(),
            "n_mixtures": 4,
            "n_repeats": 1,
            "ot_solver": "sinkhorn",
        },
    ]
}
