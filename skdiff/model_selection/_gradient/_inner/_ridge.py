"""Inner problem of ridge regression."""

import numpy as np
from scipy import sparse

from skdiff._convex._inner._linear import SquaredRows
from skdiff._convex._inner._problem import InnerProblem
from skdiff._convex._inner._ridge import SparseOutputRidge, SpectralRidge


class RidgeProblem(InnerProblem):
    """Chooses the decomposition, the iteration, or rows with moving weights."""

    parameters = {"alpha": (None, "output"), "sample_weight": ("sample", "group")}
    #: values that the search will visit, by name: low ends and whether searched
    lowest: dict = {}

    def __init__(self, estimator):
        super().__init__(estimator)
        if getattr(estimator, "positive", False):
            raise ValueError("The inner problem of Ridge needs positive=False.")

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold."""
        if "sample_weight" in self.lowest:
            problem = SquaredRows(self.estimator)
            problem.per_output = True
        elif sparse.issparse(X):
            problem = SparseOutputRidge(self.estimator)
        else:
            problem = SpectralRidge(self.estimator)
            alpha = np.min(np.asarray(self.estimator.alpha, dtype=float))
            problem.smallest_alpha = self.lowest.get("alpha", float(alpha))
        return problem.bind(X, y, sample_weight=sample_weight, X_val=X_val)
