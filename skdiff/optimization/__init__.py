"""Search for better rows with a model of past ones, without new measurements."""

from skdiff.optimization._offline._estimator import OfflineOptimizer

__all__ = ["OfflineOptimizer"]
