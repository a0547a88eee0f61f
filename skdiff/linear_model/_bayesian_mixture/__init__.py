"""Exact Bayesian linear regression over a grid of scales."""
