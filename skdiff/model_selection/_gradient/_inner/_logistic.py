"""Inner problem of logistic regression."""

from typing import Any

from skdiff._convex._inner._logistic import logistic_kind
from skdiff._convex._inner._problem import InnerProblem


class LogisticProblem(InnerProblem):
    """Chooses between two classes and more when it sees them."""

    parameters = {"C": (None,), "sample_weight": ("sample", "group")}
    per_row = ("sample_weight",)
    weighted = True
    simplest_end = {"C": "low"}

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        penalty = getattr(estimator, "penalty", "deprecated")
        mixed = penalty == "deprecated" and getattr(estimator, "l1_ratio", 0) not in (
            0,
            None,
        )
        if penalty not in ("l2", "deprecated") or mixed:
            raise ValueError(
                "The inner problem of LogisticRegression has an L2 penalty. Got "
                f"penalty={penalty!r} and "
                f"l1_ratio={getattr(estimator, 'l1_ratio', None)!r}."
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
        problem = logistic_kind(classes)(self.estimator)
        if getattr(self.estimator, "solver", None) == "liblinear":
            problem.penalised_intercept = True
            problem.intercept_scale = float(self.estimator.intercept_scaling)
        return problem.bind(
            X, y, sample_weight=sample_weight, X_val=X_val, classes=classes
        )
