"""Joint distributions of tables: who interacts with whom, conditionals, sampling."""

from skdiff.density._displays import InteractionGraphDisplay
from skdiff.density._interaction import InteractionScreening, InteractionScreeningCV
from skdiff.density._neural_interaction import NeuralInteractionScreening

__all__ = [
    "InteractionScreening",
    "InteractionScreeningCV",
    "NeuralInteractionScreening",
    "InteractionGraphDisplay",
]
