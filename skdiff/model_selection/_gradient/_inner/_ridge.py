"""Inner problem of ridge regression."""

from typing import Any

import numpy as np
from scipy import sparse

from skdiff._convex._inner._linear import SquaredRows
from skdiff._convex._inner._problem import InnerProblem
from skdiff._convex._inner._ridge import SparseOutputRidge, SpectralRidge

# solvers of scikit-learn that do not stop at a tolerance
_DIRECT = ("auto", "svd", "cholesky")


class RidgeProblem(InnerProblem):
    """Chooses the decomposition, the iteration, or rows with moving weights."""

    parameters = {"alpha": (None, "output"), "sample_weight": ("sample", "group")}
    per_row = ("sample_weight",)
    weighted = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        if getattr(estimator, "positive", False):
            raise ValueError("The inner problem of Ridge needs positive=False.")

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold."""
        if "sample_weight" in self.searched:
            problem: Any = SquaredRows(self.estimator)
            problem.per_output = True
        elif sparse.issparse(X):
            problem = SparseOutputRidge(self.estimator)
        else:
            problem = SpectralRidge(self.estimator)
            alpha = np.min(np.asarray(self.estimator.alpha, dtype=float))
            problem.smallest_alpha = (
                self.searched["alpha"].low if "alpha" in self.searched else float(alpha)
            )
            problem.exact_fit = self.estimator.solver in _DIRECT
        return problem.bind(X, y, sample_weight=sample_weight, X_val=X_val)
