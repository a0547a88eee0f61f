"""Choosing hyperparameters and models."""

from importlib import import_module
from typing import Any

from skdiff._convex._inner._problem import InnerProblem
from skdiff.model_selection._curve_network._display import CurveForecastDisplay
from skdiff.model_selection._curve_network._estimator import LearningCurvePFN
from skdiff.model_selection._gradient._check import check_hypergradient
from skdiff.model_selection._gradient._display import GradientSearchDisplay
from skdiff.model_selection._gradient._estimator import GradientSearchCV
from skdiff.model_selection._gradient._inner import inner_problem
from skdiff.model_selection._gradient._space import Continuous
from skdiff.model_selection._predictive_stopping._callback import (
    Incumbent,
    PredictiveStopping,
)
from skdiff.model_selection._sampled._hyperband._estimator import HyperbandSearchCV
from skdiff.model_selection._sampled._predictive._display import (
    PredictiveStoppingDisplay,
)
from skdiff.model_selection._sampled._predictive._estimator import (
    PredictiveStoppingSearchCV,
)
from skdiff.model_selection._sampled._quantile._estimator import (
    ConformalQuantileSearchCV,
)
from skdiff.model_selection._score_curve._display import ScoreCurveDisplay
from skdiff.model_selection._score_curve._estimator import ScoreCurve
from skdiff.model_selection._training_size._estimator import TrainingSizeEstimator

__all__ = [
    "ConformalQuantileSearchCV",
    "Continuous",
    "CurveForecastDisplay",
    "GradientSearchCV",
    "GradientSearchDisplay",
    "HyperbandSearchCV",
    "Incumbent",
    "InnerProblem",
    "LearningCurvePFN",
    "PredictiveStopping",
    "PredictiveStoppingDisplay",
    "PredictiveStoppingSearchCV",
    "ScoreCurve",
    "ScoreCurveDisplay",
    "TrainingSizeEstimator",
    "check_hypergradient",
    "inner_problem",
]

# their home is linear_model; code that finds them here goes on working
_MOVED = ("WeightedElasticNet", "WeightedLogisticRegression", "WeightedRidge")


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        return getattr(import_module("skdiff.linear_model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
