"""Clustering by networks that can be read."""

from skdiff.cluster._tell._estimator import TELLClustering

__all__ = ["TELLClustering"]
