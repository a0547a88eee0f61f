"""Sparse variational inference for Bayesian networks."""
