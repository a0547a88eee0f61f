"""Distributions for any regressor, from its own residuals."""
