"""Inner problem of logistic regression."""

from typing import Any

from skdiff._convex._inner._l1_logistic import L1Logistic
from skdiff._convex._inner._logistic import logistic_kind
from skdiff._convex._inner._problem import FoldProblem


class LogisticProblem(FoldProblem):
    """Chooses between two classes and more when it sees them."""

    parameters = {
        "C": (None,),
        "l1_ratio": (None,),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    simplest_end = {"C": "low"}

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        penalty = getattr(estimator, "penalty", "deprecated")
        self.l1_ratio = _l1_ratio(penalty, getattr(estimator, "l1_ratio", 0.0))

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
        mixed = self.l1_ratio > 0 or "l1_ratio" in self.searched
        if mixed and any(name in self.searched for name in self.per_row):
            raise ValueError(
                "Weights of the rows of a LogisticRegression are searched with an L2 "
                "penalty only."
            )
        problem: Any
        if mixed:
            problem = L1Logistic(self.estimator)
            problem.fixed_ratio = self.l1_ratio
        else:
            problem = logistic_kind(classes)(self.estimator)
        if getattr(self.estimator, "solver", None) == "liblinear":
            problem.penalised_intercept = True
            problem.intercept_scale = float(self.estimator.intercept_scaling)
        return problem.bind(
            X, y, sample_weight=sample_weight, X_val=X_val, classes=classes
        )


def _l1_ratio(penalty: Any, l1_ratio: Any) -> float:
    """Fraction of the L1 penalty, however the version of scikit-learn names it."""
    ratio = 0.0 if l1_ratio is None else float(l1_ratio)
    by_name = {"l1": 1.0, "l2": 0.0, "elasticnet": ratio, "deprecated": ratio}
    if penalty not in by_name:
        raise ValueError(
            "The inner problem of LogisticRegression has an L2, L1 or elastic-net "
            f"penalty. Got penalty={penalty!r}."
        )
    return by_name[penalty]
