"""Which rows to train on, and which labels to buy."""

from skdiff.data_selection._conditional._estimator import ConditionalLossSelector
from skdiff.data_selection._data_influence._estimator import DataInfluenceSelector
from skdiff.data_selection._datamodel._estimator import Datamodel
from skdiff.data_selection._difficulty._estimator import (
    EL2NSelector,
    GraNdSelector,
    gradient_norms,
)
from skdiff.data_selection._display import RowScoresDisplay, SelectionCurveDisplay
from skdiff.data_selection._influence._estimator import influence_scores
from skdiff.data_selection._label_budget._estimator import label_budget_frontier
from skdiff.data_selection._mixture._display import MixtureDisplay
from skdiff.data_selection._mixture._estimator import MixturePerformanceProjector
from skdiff.data_selection._selected._estimator import SelectedFit
from skdiff.data_selection._subsampling._estimator import SurrogateSubsampler

__all__ = [
    "ConditionalLossSelector",
    "DataInfluenceSelector",
    "Datamodel",
    "EL2NSelector",
    "GraNdSelector",
    "MixtureDisplay",
    "MixturePerformanceProjector",
    "RowScoresDisplay",
    "SelectedFit",
    "SelectionCurveDisplay",
    "SurrogateSubsampler",
    "gradient_norms",
    "influence_scores",
    "label_budget_frontier",
]
