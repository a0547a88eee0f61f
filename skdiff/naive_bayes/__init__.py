"""Naive Bayes, and when it beats logistic regression."""

from skdiff.naive_bayes._tied_gaussian._estimator import TiedGaussianNB
from skdiff.naive_bayes._two_regimes._curves import two_regimes
from skdiff.naive_bayes._two_regimes._estimator import TwoRegimeClassifier

__all__ = ["TiedGaussianNB", "TwoRegimeClassifier", "two_regimes"]
