"""Effects of what is changed: instruments, treatments and interventions."""

from skdiff.causal._linear_gmm._estimator import LinearGMMRegressor

__all__ = ["LinearGMMRegressor"]
