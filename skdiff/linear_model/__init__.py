"""Linear models."""

from skdiff.linear_model._bayesian_mixture._estimator import BayesianLinearMixture
from skdiff.linear_model._weighted._estimator import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)

__all__ = [
    "BayesianLinearMixture",
    "WeightedElasticNet",
    "WeightedLogisticRegression",
    "WeightedRidge",
]
