"""Classifiers and regressors that are networks."""

__all__: list[str] = []
