import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff import inspection
from skdiff._base.validation import check_X
from tests.data_selection._instances_selectors import Adapted, public_class


class MutualInformationEstimator(Adapted, inspection.MutualInformationEstimator):
    """A diagnostic makes nothing of new rows; the common tests read its estimates."""

    def fit(self, X, y):
        if np.asarray(y).dtype.kind in "US":
            raise ValueError("y has strings")  # which the battery takes for a mistake
        return super().fit(X, y)

    def predict(self, X):
        check_is_fitted(self)
        how = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        X = check_X(self, X, reset=False, accept_sparse="csr", **how)
        return np.full(X.shape[0], self.mutual_information_.sum())

    def score(self, X, y):
        return float(np.mean(self.predict(X)))


MutualInformationEstimator.__doc__ = public_class(MutualInformationEstimator).__doc__
ADAPTED = {"MutualInformationEstimator": MutualInformationEstimator}
QUICK = {
    "MutualInformationEstimator": [
        {"n_permutations": 20, "random_state": 0},
        {"method": "ksg", "n_permutations": 0, "units": "bits"},
    ],
    "MutualInformationSelector": [
        {"n_permutations": 20, "random_state": 0},
        {"k": 1, "method": "binned", "redundancy": "mrmr"},
    ],
}
