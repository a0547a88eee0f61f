"""Selection with a guarantee on the share of false discoveries."""

from skdiff.conformal._cross_fit import CrossFitConformalSelector
from skdiff.conformal._displays import ConformalSelectionDisplay
from skdiff.conformal._p_values import (
    auxiliary_selection_sizes,
    benjamini_hochberg,
    conformal_p_values,
    e_benjamini_hochberg,
)
from skdiff.conformal._split import ConformalSelector, OptimizedConformalSelector

__all__ = [
    "ConformalSelectionDisplay",
    "ConformalSelector",
    "CrossFitConformalSelector",
    "OptimizedConformalSelector",
    "auxiliary_selection_sizes",
    "benjamini_hochberg",
    "conformal_p_values",
    "e_benjamini_hochberg",
]
