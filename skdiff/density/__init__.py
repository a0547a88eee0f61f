"""Joint distributions of tables: who interacts with whom, marginals, sampling."""

from skdiff.density._display import InteractionGraphDisplay
from skdiff.density._guided._estimator import GuidedSampler
from skdiff.density._imputer._estimator import MarginalImputer
from skdiff.density._interaction._estimator import (
    InteractionScreening,
    InteractionScreeningCV,
)
from skdiff.density._latent_class._estimator import LatentClassModel
from skdiff.density._marginalization._estimator import MarginalizationModel
from skdiff.density._neural_interaction._estimator import NeuralInteractionScreening

__all__ = [
    "InteractionScreening",
    "InteractionScreeningCV",
    "NeuralInteractionScreening",
    "LatentClassModel",
    "MarginalizationModel",
    "MarginalImputer",
    "GuidedSampler",
    "InteractionGraphDisplay",
]
