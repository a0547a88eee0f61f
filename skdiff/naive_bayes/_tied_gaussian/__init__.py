"""Gaussian naive Bayes with one variance per column."""
