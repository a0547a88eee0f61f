"""Clustering by networks that can be read."""

from skdiff.cluster._tell import TELLClustering

__all__ = ["TELLClustering"]
