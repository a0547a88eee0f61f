"""Gaussian classes with uniform label noise, whose posterior is known."""

import numpy as np
from scipy.special import softmax


def overlapping(n, rng, *, noise=0.5, n_classes=6, n_features=10):
    """Rows, labels, and the true probabilities of the labels."""
    centres = np.random.default_rng(7).normal(size=(n_classes, n_features))
    clean = rng.integers(n_classes, size=n)
    X = centres[clean] + rng.normal(size=(n, n_features))
    distance = ((X[:, None] - centres) ** 2).sum(axis=2)
    proba = (1 - noise) * softmax(-distance / 2, axis=1) + noise / n_classes
    flipped = rng.random(n) < noise
    y = np.where(flipped, rng.integers(n_classes, size=n), clean)
    return X, y, proba
