"""Decisions and models whose groups differ by a bounded amount."""

from skdiff.fairness._constrained._constraint import Constraint
from skdiff.fairness._constrained._estimator import (
    ConstrainedClassifier,
    ConstrainedRegressor,
)
from skdiff.fairness._distraction._estimator import DistractionClassifier
from skdiff.fairness._postprocessing._display import (
    FairFrontierDisplay,
    GroupROCDisplay,
)
from skdiff.fairness._postprocessing._estimator import EqualizedOddsPostprocessor
from skdiff.fairness._postprocessing._functions import group_roc_hull, unprocess

__all__ = [
    "ConstrainedClassifier",
    "ConstrainedRegressor",
    "Constraint",
    "DistractionClassifier",
    "EqualizedOddsPostprocessor",
    "FairFrontierDisplay",
    "GroupROCDisplay",
    "group_roc_hull",
    "unprocess",
]
