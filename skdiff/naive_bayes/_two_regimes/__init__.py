"""Naive Bayes and logistic regression: which, or both."""
