"""The sparse Bayesian regressor."""
