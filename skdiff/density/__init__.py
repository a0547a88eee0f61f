"""Joint distributions of tables: who interacts with whom, conditionals, sampling."""

from skdiff.density._display import InteractionGraphDisplay
from skdiff.density._interaction._estimator import (
    InteractionScreening,
    InteractionScreeningCV,
)
from skdiff.density._neural_interaction._estimator import NeuralInteractionScreening

__all__ = [
    "InteractionScreening",
    "InteractionScreeningCV",
    "NeuralInteractionScreening",
    "InteractionGraphDisplay",
]
