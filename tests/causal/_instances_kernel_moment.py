"""Quick configurations, and a subclass whose instruments are the columns of X."""

from skdiff import causal
from tests.data_selection._instances_selectors import Adapted


class KernelMomentRegressor(Adapted, causal.KernelMomentRegressor):
    def fit(self, X, y):
        return super().fit(X, y, instruments=X)


ADAPTED = {"KernelMomentRegressor": KernelMomentRegressor}
KernelMomentRegressor.__doc__ = causal.KernelMomentRegressor.__doc__

SMALL = {"n_components_dual": 10, "n_components_instrument": 100}
QUICK = {
    "KernelMomentRegressor": [
        {**SMALL, "instrument_penalty": 1e-2, "max_iter": 20},
        {
            "n_components_dual": 5,
            "n_components_instrument": 95,
            "cv": 2,
            "max_iter": 3,
            "reference": "kde",
        },
    ]
}
