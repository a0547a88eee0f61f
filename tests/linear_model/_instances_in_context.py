"""A subclass that takes more columns than the network was trained on."""

from skdiff import linear_model
from tests.data_selection._instances_selectors import Adapted


class InContextLinearRegressor(Adapted, linear_model.InContextLinearRegressor):
    def _check_size(self, X):
        pass


ADAPTED = {"InContextLinearRegressor": InContextLinearRegressor}
InContextLinearRegressor.__doc__ = linear_model.InContextLinearRegressor.__doc__

QUICK = {"InContextLinearRegressor": [{}, {"n_blocks": 1}]}
