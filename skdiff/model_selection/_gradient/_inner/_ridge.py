"""Inner problem of ridge regression."""

from typing import Any

import numpy as np
from scipy import sparse

from skdiff._convex._inner._linear import SquaredRows, class_factors
from skdiff._convex._inner._problem import FoldProblem
from skdiff._convex._inner._ridge import SparseOutputRidge, SpectralRidge

# solvers of scikit-learn that do not stop at a tolerance
_DIRECT = ("auto", "svd", "cholesky")


class RidgeProblem(FoldProblem):
    """Chooses the decomposition, the iteration, or rows with moving weights."""

    parameters = {"alpha": (None, "output"), "sample_weight": ("sample", "group")}
    per_row = ("sample_weight",)
    weighted = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        if getattr(estimator, "positive", False):
            raise ValueError(
                f"The inner problem of {type(estimator).__name__} needs positive=False."
            )

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


class RidgeClassifierProblem(RidgeProblem):
    """Ridge on targets of -1 and 1, one column per class for three and more."""

    parameters = {"alpha": (None,), "sample_weight": ("sample", "group")}

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold, and turn codes into targets."""
        weight = self.estimator.class_weight
        if weight is not None:
            if any(name in self.searched for name in self.per_row):
                raise ValueError(
                    "Weights of the rows of a RidgeClassifier are searched with "
                    "class_weight=None only."
                )
            s = class_factors(weight, classes, y, None)
            sample_weight = s if sample_weight is None else s * sample_weight
        if len(classes) == 2:
            target = 2.0 * y - 1.0
        else:
            target = np.where(y[:, None] == np.arange(len(classes)), 1.0, -1.0)
        problem = super().bind(X, target, sample_weight=sample_weight, X_val=X_val)
        problem.classes = classes
        return problem
