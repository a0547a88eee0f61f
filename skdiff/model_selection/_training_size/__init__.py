"""Scores of an estimator on growing training sets, extrapolated."""
