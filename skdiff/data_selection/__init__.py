"""Which rows to train on, and which to have labelled."""

from skdiff.data_selection._difficulty._estimator import (
    EL2NSelector,
    GraNdSelector,
    gradient_norms,
)
from skdiff.data_selection._selected._estimator import SelectedFit

__all__ = [
    "EL2NSelector",
    "GraNdSelector",
    "SelectedFit",
    "gradient_norms",
]
