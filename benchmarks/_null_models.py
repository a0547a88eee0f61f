"""Two equally good models on many simulated tables at once.

Both are ridge classifiers, each on one of two halves of the columns, and the halves are
exchangeable, so neither is better. ``shift`` weakens the second half.
"""

import numpy as np


def tables(n_tables, n=300, n_features=5, signal=0.4, shift=0.0, seed=0):
    """Return columns of shape (2, n_tables, n, n_features) and labels of -1 and 1."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2, n_tables, n, n_features))
    strength = np.array([signal, signal - shift])[:, None, None]
    latent = np.sum(strength * X.sum(axis=3), axis=0) + rng.logistic(size=(n_tables, n))
    return X, np.where(latent > 0, 1.0, -1.0)


def correct(X, y, train, test, alpha=1.0):
    """Which test rows each of (2, n_tables) ridge classifiers predicts correctly."""
    A, b = X[:, :, train], y[:, train]
    centre, level = A.mean(axis=2, keepdims=True), b.mean(axis=1)
    A, b = A - centre, b - level[:, None]
    turned = A.swapaxes(2, 3)
    gram = turned @ A + alpha * np.eye(A.shape[3])
    coef = np.linalg.solve(gram, turned @ b[None, :, :, None])
    margin = ((X[:, :, test] - centre) @ coef)[..., 0] + level[:, None]
    return (margin > 0) == (y[:, test] > 0)


def accuracies(X, y, splits):
    """Accuracies of shape (n_tables, 2, n_splits) on common splits."""
    found = [correct(X, y, train, test).mean(axis=2) for train, test in splits]
    return np.moveaxis(np.array(found), 0, 2).swapaxes(0, 1)
