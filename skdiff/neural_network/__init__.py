"""Classifiers and regressors that are networks."""

from typing import Any

from skdiff.neural_network._active_subspace._estimator import ActiveSubspaceTransformer
from skdiff.neural_network._anyloss._estimator import AnyLossClassifier
from skdiff.neural_network._gbnn._estimator import GBNNClassifier, GBNNRegressor
from skdiff.neural_network._grbf._estimator import GRBFClassifier, GRBFRegressor
from skdiff.neural_network._lipschitz._estimator import (
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
)
from skdiff.neural_network._self_tuning._classifier._estimator import (
    SelfTuningMLPClassifier,
)
from skdiff.neural_network._self_tuning._display import SelfTuningDisplay
from skdiff.neural_network._self_tuning._regressor._estimator import (
    SelfTuningMLPRegressor,
)
from skdiff.neural_network._ssvi._classifier._estimator import (
    SparseBayesianMLPClassifier,
)
from skdiff.neural_network._ssvi._regressor._estimator import SparseBayesianMLPRegressor

__all__ = [
    "ActiveSubspaceTransformer",
    "AnyLossClassifier",
    "ConfusionMetricLoss",
    "GBNNClassifier",
    "GBNNRegressor",
    "GRBFClassifier",
    "GRBFRegressor",
    "HolisticRobustLoss",
    "LipschitzMLPClassifier",
    "LipschitzMLPRegressor",
    "SelfTuningDisplay",
    "SelfTuningMLPClassifier",
    "SelfTuningMLPRegressor",
    "SparseBayesianMLPClassifier",
    "SparseBayesianMLPRegressor",
]


def __getattr__(name: str) -> Any:
    # torch modules: loading one loads torch, which an estimator does at its first fit
    if name == "ConfusionMetricLoss":
        from skdiff.neural_network._anyloss._module import ConfusionMetricLoss

        return ConfusionMetricLoss
    if name == "HolisticRobustLoss":
        from skdiff.neural_network._holistic._module import HolisticRobustLoss

        return HolisticRobustLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
