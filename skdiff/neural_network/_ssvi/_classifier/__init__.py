"""The sparse Bayesian classifier."""
