"""Linear models."""

from skdiff.linear_model._bayesian_mixture._estimator import BayesianLinearMixture
from skdiff.linear_model._group_dro._estimator import (
    GroupDROClassifier,
    GroupDRORegressor,
)
from skdiff.linear_model._holistic._estimator import (
    HolisticRobustClassifier,
    HolisticRobustRegressor,
)
from skdiff.linear_model._in_context._estimator import InContextLinearRegressor
from skdiff.linear_model._ordinal._cv._estimator import PRESTOClassifierCV
from skdiff.linear_model._ordinal._estimator import (
    PRESTOClassifier,
    ProportionalOddsClassifier,
)
from skdiff.linear_model._weighted._estimator import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)

__all__ = [
    "BayesianLinearMixture",
    "GroupDROClassifier",
    "GroupDRORegressor",
    "HolisticRobustClassifier",
    "HolisticRobustRegressor",
    "PRESTOClassifier",
    "PRESTOClassifierCV",
    "ProportionalOddsClassifier",
    "InContextLinearRegressor",
    "WeightedElasticNet",
    "WeightedLogisticRegression",
    "WeightedRidge",
]
