"""Effects of what is changed: instruments, treatments and interventions."""

from skdiff.causal._graph_r_learner._estimator import GraphRLearner
from skdiff.causal._intervention._estimator import InterventionExtrapolator
from skdiff.causal._kernel_moment._estimator import KernelMomentRegressor
from skdiff.causal._linear_gmm._estimator import LinearGMMRegressor
from skdiff.causal._r_learner._estimator import RLearner

__all__ = [
    "GraphRLearner",
    "InterventionExtrapolator",
    "KernelMomentRegressor",
    "LinearGMMRegressor",
    "RLearner",
]
