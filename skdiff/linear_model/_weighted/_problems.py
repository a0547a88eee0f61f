"""Training problems of linear models with a penalty per feature."""

from typing import Any

from scipy import sparse

from skdiff._convex._inner._lasso import ElasticNetProblem
from skdiff._convex._inner._linear import SquaredRows
from skdiff._convex._inner._logistic import logistic_kind
from skdiff._convex._inner._problem import FoldProblem
from skdiff._convex._inner._ridge import GramRidge, SparseRidge


class WeightedRidgeProblem(FoldProblem):
    """A penalty a feature."""

    parameters = {
        "alpha": (None, "feature", "group"),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    exact_fit = True

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
        elif sparse.issparse(X):
            problem = SparseRidge(self.estimator)
        else:
            problem = GramRidge(self.estimator)
        return problem.bind(X, y, sample_weight=sample_weight, X_val=X_val)


class WeightedElasticNetProblem(ElasticNetProblem):
    """A penalty a feature."""

    parameters = {
        "alpha": (None, "feature", "group"),
        "l1_ratio": (None,),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    exact_fit = True


class WeightedLogisticProblem(FoldProblem):
    """A penalty a feature, or a coefficient."""

    parameters = {
        "C": (None, "feature", "group", "coefficient"),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    exact_fit = True
    simplest_end = {"C": "low"}

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
        return logistic_kind(classes)(self.estimator).bind(
            X, y, sample_weight=sample_weight, X_val=X_val, classes=classes
        )
