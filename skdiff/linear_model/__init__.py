"""Linear models."""

from skdiff.linear_model._weighted._estimator import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)

__all__ = ["WeightedElasticNet", "WeightedLogisticRegression", "WeightedRidge"]
