"""Diagnostics of data, of spaces of models and of trained networks."""

from skdiff.inspection._geometry._difficulty import (
    GeneralizationDifficulty,
    generalization_difficulty,
)
from skdiff.inspection._geometry._dimension import intrinsic_dimension
from skdiff.inspection._geometry._sharpness import label_sharpness
from skdiff.inspection._inductive_bias._display import InductiveBiasDisplay
from skdiff.inspection._inductive_bias._estimator import InductiveBiasEstimator
from skdiff.inspection._mutual_information._display import MutualInformationDisplay
from skdiff.inspection._mutual_information._estimator import MutualInformationEstimator
from skdiff.inspection._mutual_information._functions import mutual_information
from skdiff.inspection._mutual_information._selection._estimator import (
    MutualInformationSelector,
    learned_mutual_info,
)
from skdiff.inspection._representations._complexity import feature_complexity
from skdiff.inspection._representations._report import (
    RepresentationDiagnostics,
    RepresentationDisplay,
    SaveInitialWeights,
    representation_report,
)
from skdiff.inspection._representations._subspace import (
    ObjectiveDimension,
    objective_intrinsic_dimension,
)

__all__ = [
    "GeneralizationDifficulty",
    "InductiveBiasDisplay",
    "InductiveBiasEstimator",
    "MutualInformationDisplay",
    "MutualInformationEstimator",
    "MutualInformationSelector",
    "ObjectiveDimension",
    "RepresentationDiagnostics",
    "RepresentationDisplay",
    "SaveInitialWeights",
    "feature_complexity",
    "generalization_difficulty",
    "intrinsic_dimension",
    "label_sharpness",
    "learned_mutual_info",
    "mutual_information",
    "objective_intrinsic_dimension",
    "representation_report",
]
