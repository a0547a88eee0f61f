"""Quick configurations, and a subclass that holds out every other row.

It predicts a constant, as the class itself predicts nothing.
"""

import warnings

import numpy as np
from sklearn.utils import indexable
from sklearn.utils.validation import check_is_fitted

from skdiff import model_evaluation
from skdiff._base.compat import safe_indexing
from skdiff._base.inner import check_table
from tests.data_selection._instances_selectors import Adapted, public_class


class ReusableHoldout(Adapted, model_evaluation.ReusableHoldout):
    def __sklearn_tags__(self):
        # the class itself keeps any table for the models that it will score
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = False
        return tags

    def fit(self, X, y):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* are training rows too")
            super().fit(X, y, X, y)  # it checks what came, and knows the whole of it
        if np.asarray(y).dtype.kind in "US":
            raise ValueError("y has strings")  # which the battery takes for a mistake
        X, y = indexable(X, y)
        parts = np.arange(len(y)) % 2
        if len(y) < 2:
            return self
        sets = [
            safe_indexing(part, np.flatnonzero(parts == k))
            for k in (0, 1)
            for part in (X, y)
        ]
        return super().fit(*sets)

    def predict(self, X):
        check_is_fitted(self, "threshold_")
        X = check_table(self, X, [], reset=False)
        return np.full(X.shape[0], self.threshold_)

    def score(self, X, y):
        # that of the class takes a model
        return float(np.mean(self.predict(X)))


ReusableHoldout.__doc__ = public_class(ReusableHoldout).__doc__
ADAPTED = {"ReusableHoldout": ReusableHoldout}

QUICK = {
    "ReusableHoldout": [
        {},
        {"mechanism": "laplace", "budget": 3, "value_range": (-1, 1)},
    ]
}
