"""Whether one model is better than another, and how far to trust the figure."""

from skdiff.model_evaluation._holdout._display import ReusableHoldoutDisplay
from skdiff.model_evaluation._holdout._estimator import (
    BudgetExhausted,
    ReusableHoldout,
    make_reusable_scorer,
)
from skdiff.model_evaluation._leakage._estimator import PreprocessingLeakageAudit
from skdiff.model_evaluation._results import TestResult
from skdiff.model_evaluation._rows._mcnemar import mcnemar_test

__all__ = [
    "BudgetExhausted",
    "PreprocessingLeakageAudit",
    "ReusableHoldout",
    "ReusableHoldoutDisplay",
    "TestResult",
    "make_reusable_scorer",
    "mcnemar_test",
]
