"""Choosing hyperparameters and models."""

from skdiff.model_selection._gradient_search import GradientSearchCV
from skdiff.model_selection._inner import InnerProblem, inner_problem
from skdiff.model_selection import (
    _inner_kernel,
    _inner_lasso,
    _inner_linear,
    _inner_network,
    _inner_squared,
)
from skdiff.model_selection._space import Continuous

__all__ = ["Continuous", "GradientSearchCV", "InnerProblem", "inner_problem"]
