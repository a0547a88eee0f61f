"""Classifiers and regressors that are networks."""

from skdiff.neural_network._active_subspace import ActiveSubspaceTransformer
from skdiff.neural_network._anyloss import AnyLossClassifier
from skdiff.neural_network._gbnn import GBNNClassifier, GBNNRegressor
from skdiff.neural_network._grbf import GRBFClassifier, GRBFRegressor
from skdiff.neural_network._lipschitz import (
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
)
from skdiff.neural_network._ssvi_classifier import SparseBayesianMLPClassifier
from skdiff.neural_network._ssvi_regressor import SparseBayesianMLPRegressor

__all__ = [
    "ActiveSubspaceTransformer",
    "AnyLossClassifier",
    "ConfusionMetricLoss",
    "GBNNClassifier",
    "GBNNRegressor",
    "GRBFClassifier",
    "GRBFRegressor",
    "LipschitzMLPClassifier",
    "LipschitzMLPRegressor",
    "SparseBayesianMLPClassifier",
    "SparseBayesianMLPRegressor",
]


def __getattr__(name):
    # a torch module: loading it loads torch, which an estimator does at its first fit
    if name == "ConfusionMetricLoss":
        from skdiff.neural_network._anyloss_module import ConfusionMetricLoss

        return ConfusionMetricLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
