"""Selections, sets and regions with a guarantee in finite samples."""

from skdiff.conformal._cross_fit._estimator import CrossFitConformalSelector
from skdiff.conformal._display import ConformalSelectionDisplay
from skdiff.conformal._optimized._estimator import OptimizedConformalSelector
from skdiff.conformal._p_values import (
    auxiliary_selection_sizes,
    benjamini_hochberg,
    conformal_p_values,
    e_benjamini_hochberg,
)
from skdiff.conformal._regions._display import ConformalRegionDisplay
from skdiff.conformal._regions._estimator import MultiOutputConformalRegressor
from skdiff.conformal._robust._estimator import RobustConformalClassifier
from skdiff.conformal._split._estimator import ConformalSelector

__all__ = [
    "ConformalRegionDisplay",
    "ConformalSelectionDisplay",
    "ConformalSelector",
    "CrossFitConformalSelector",
    "MultiOutputConformalRegressor",
    "OptimizedConformalSelector",
    "RobustConformalClassifier",
    "auxiliary_selection_sizes",
    "benjamini_hochberg",
    "conformal_p_values",
    "e_benjamini_hochberg",
]
