"""Quick configurations, and a subclass that lets the checks call ``fit(X, y)``.

The columns of X serve as instruments, which makes the model least squares. Its domain
is X of full rank: a few light rows, away from the mean in one column each, give every
table of the checks that rank.
"""

import numpy as np

from skdiff import causal
from tests.data_selection._instances_selectors import Adapted

LIGHT = 1e-5


class LinearGMMRegressor(Adapted, causal.LinearGMMRegressor):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, instruments=X, sample_weight=sample_weight)

    def partial_fit(self, X, y, sample_weight=None):
        return super().partial_fit(X, y, instruments=X, sample_weight=sample_weight)

    def _read(self, X, y, instruments, sample_weight, *, reset):
        Z, V, w = super()._read(X, y, instruments, sample_weight, reset=reset)
        largest = np.abs(V).max(axis=0)
        largest[largest == 0] = 1.0
        middle = (w / w.sum()) @ (V / largest) * largest
        p = Z.shape[1]
        away = np.tile(middle, (2 * p, 1))
        away[:p, :p] += np.diag(largest[:p])
        away[p:, :p] -= np.diag(largest[:p])
        light = np.full(2 * p, LIGHT * w.sum())
        return (
            np.vstack([Z, away[:, :p]]),
            np.vstack([V, away]),
            np.concatenate([w, light]),
        )


ADAPTED = {"LinearGMMRegressor": LinearGMMRegressor}
LinearGMMRegressor.__doc__ = causal.LinearGMMRegressor.__doc__

QUICK = {
    "LinearGMMRegressor": [
        {},
        {"weights": "2sls", "cov": "unadjusted", "fit_intercept": False},
        {"streaming": "sgmm"},
    ]
}
