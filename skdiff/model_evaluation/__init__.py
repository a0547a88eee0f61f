"""Whether one model is better than another, and how far to trust the figure."""

from skdiff.model_evaluation._results import TestResult
from skdiff.model_evaluation._rows._mcnemar import mcnemar_test

__all__ = [
    "TestResult",
    "mcnemar_test",
]
