"""Choosing hyperparameters and models."""

from skdiff.model_selection import _inner_kernel as _inner_kernel
from skdiff.model_selection import _inner_network as _inner_network
from skdiff.model_selection import _inner_svm as _inner_svm
from skdiff.model_selection._check_hypergradient import check_hypergradient
from skdiff.model_selection._gradient_display import GradientSearchDisplay
from skdiff.model_selection._gradient_search import GradientSearchCV
from skdiff.model_selection._inner import InnerProblem, inner_problem
from skdiff.model_selection._sampled._hyperband._estimator import HyperbandSearchCV
from skdiff.model_selection._sampled._quantile._estimator import (
    ConformalQuantileSearchCV,
)
from skdiff.model_selection._space import Continuous
from skdiff.model_selection._weighted import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)

__all__ = [
    "ConformalQuantileSearchCV",
    "Continuous",
    "GradientSearchCV",
    "GradientSearchDisplay",
    "HyperbandSearchCV",
    "InnerProblem",
    "WeightedElasticNet",
    "WeightedLogisticRegression",
    "WeightedRidge",
    "check_hypergradient",
    "inner_problem",
]
