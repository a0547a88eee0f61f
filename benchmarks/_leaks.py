"""The three examples of Moscovich and Rosset (2022), as steps of a pipeline."""

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin

RARE = -1.0


class LargestColumns(TransformerMixin, BaseEstimator):
    """Keep the columns with the largest sum of squares, or the largest variance."""

    def __init__(self, n_columns=1, centred=False):
        self.n_columns = n_columns
        self.centred = centred

    def fit(self, X, y=None):
        size = X.var(axis=0) if self.centred else (X**2).sum(axis=0)
        self.columns_ = np.argpartition(-size, self.n_columns - 1)[: self.n_columns]
        return self

    def transform(self, X):
        return X[:, self.columns_]


class LeastSquares(RegressorMixin, BaseEstimator):
    """Linear regression without intercept."""

    def fit(self, X, y):
        self.coef_ = np.linalg.lstsq(X, y, rcond=None)[0]
        return self

    def predict(self, X):
        return X @ self.coef_


class PoolRare(TransformerMixin, BaseEstimator):
    """Give categories with few rows one code."""

    def __init__(self, least=4):
        self.least = least

    def fit(self, X, y=None):
        values, counts = np.unique(X[:, 0], return_counts=True)
        self.kept_ = values[counts >= self.least]
        return self

    def transform(self, X):
        return np.where(np.isin(X, self.kept_), X, RARE)


class CategoryMeans(RegressorMixin, BaseEstimator):
    """Mean of each category; zero for pooled and unseen ones."""

    def fit(self, X, y):
        codes = X[:, 0].astype(int)
        codes, y = codes[codes >= 0], y[codes >= 0]
        self.sums_ = np.bincount(codes, y, minlength=100)
        self.counts_ = np.bincount(codes, minlength=100)
        return self

    def predict(self, X):
        codes = X[:, 0].astype(int)
        means = self.sums_ / np.maximum(self.counts_, 1)
        return np.where(codes >= 0, means[np.maximum(codes, 0)], 0.0)


def _columns(rng, n, p, tails):
    return rng.normal(size=(n, p)) if tails == "normal" else rng.standard_t(4, (n, p))


def norm_selection(rng, tails):
    """One of 50 columns, no noise: a sampler of rows, and the steps."""
    beta = rng.normal(size=50)

    def sample(n):
        X = _columns(rng, n, 50, tails)
        return X, X @ beta

    return sample, (LargestColumns(1), LeastSquares())


def variance_selection(rng, tails):
    """Ten of 100 columns, of which five are five times as large.

    The noise has the variance of the signal of normal columns.
    """
    beta = rng.normal(size=100)
    scale = np.r_[np.full(5, 5.0), np.ones(95)]
    noise = np.sqrt(np.sum(beta**2 * scale**2))

    def sample(n):
        X = scale * _columns(rng, n, 100, tails)
        return X, X @ beta + noise * rng.normal(size=n)

    return sample, (LargestColumns(10, centred=True), LeastSquares())


def rare_categories(rng, tails=None):
    """Twenty categories; those with fewer than four rows are pooled."""
    mean = rng.normal(size=20)

    def sample(n):
        X = rng.integers(20, size=(n, 1)).astype(float)
        return X, mean[X[:, 0].astype(int)] + rng.normal(size=n)

    return sample, (PoolRare(4), CategoryMeans())


def errors(example, n, m, tails, repeats, n_fresh=200, seed=0):
    """Squared errors, one row per repetition.

    Of the test rows with the step outside, of fresh rows by the same model, and of the
    test rows with the step inside.
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(repeats):
        sample, (step, model) = example(rng, tails)
        (X, y), (X_new, y_new) = sample(n + m), sample(n_fresh)
        line = []
        step.fit(X)
        for outside in (True, False):
            if not outside:
                step.fit(X[:n])
            model.fit(step.transform(X[:n]), y[:n])
            line.append(np.mean((model.predict(step.transform(X[n:])) - y[n:]) ** 2))
            if outside:
                fresh = model.predict(step.transform(X_new))
                line.append(np.mean((fresh - y_new) ** 2))
        found.append(line)
    return np.array(found)
