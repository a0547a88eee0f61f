"""Networks whose architecture, or embedding sizes, are learned with their weights."""

from typing import Any

from skdiff.architecture_search._cells._architecture import Architecture
from skdiff.architecture_search._cells._classifier._estimator import (
    ArchitectureSearchClassifier,
)
from skdiff.architecture_search._cells._display import ArchitectureDisplay
from skdiff.architecture_search._cells._regressor._estimator import (
    ArchitectureSearchRegressor,
)
from skdiff.architecture_search._cells._schedule import cosine_power
from skdiff.architecture_search._embeddings._classifier._estimator import (
    MixedEmbeddingClassifier,
)
from skdiff.architecture_search._embeddings._encoder._estimator import (
    MixedEmbeddingEncoder,
)
from skdiff.architecture_search._embeddings._regressor._estimator import (
    MixedEmbeddingRegressor,
)

__all__ = [
    "Architecture",
    "ArchitectureDisplay",
    "ArchitectureSearchClassifier",
    "ArchitectureSearchRegressor",
    "MixedEmbeddingClassifier",
    "MixedEmbeddingEncoder",
    "MixedEmbeddingRegressor",
    "cosine_power",
    "darts_step",
    "rarts_step",
]


def __getattr__(name: str) -> Any:
    # functions of torch, which is loaded with them
    if name in ("darts_step", "rarts_step"):
        from skdiff.architecture_search._cells import _steps

        return getattr(_steps, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
