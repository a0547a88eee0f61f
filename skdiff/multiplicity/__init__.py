"""How far equally good models disagree."""

from skdiff.multiplicity._last_layer import (
    last_layer_features,
    last_layer_multiplicity,
)
from skdiff.multiplicity._leaves import leaf_features, leaf_multiplicity
from skdiff.multiplicity._model_list import ModelListMultiplicity
from skdiff.multiplicity._rashomon._display import (
    CoefficientRangeDisplay,
    RashomonRangeDisplay,
    ToleranceProfileDisplay,
)
from skdiff.multiplicity._rashomon._estimator import RashomonClassifier
from skdiff.multiplicity._rashomon._regressor._estimator import RashomonRegressor
from skdiff.multiplicity._rashomon._report import multiplicity_report

__all__ = [
    "RashomonClassifier",
    "RashomonRegressor",
    "multiplicity_report",
    "RashomonRangeDisplay",
    "ToleranceProfileDisplay",
    "CoefficientRangeDisplay",
    "ModelListMultiplicity",
    "leaf_features",
    "leaf_multiplicity",
    "last_layer_features",
    "last_layer_multiplicity",
]
