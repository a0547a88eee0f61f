"""Tables whose true probabilities are known, after the paper's scenarios."""

import numpy as np
from scipy.special import expit
from scipy.stats import norm

LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
SCENARIOS = {
    "uniform": lambda u: u,
    "skewed": lambda u: expit(25 * (0.4 * u - 0.29)),
    "discrete": lambda u: LEVELS[np.minimum((5 * u).astype(int), 4)],
}


def risk_table(scenario, n, seed):
    """Return 20 normal columns, outcomes, and true probabilities."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 20))
    score = X[:, 0] + 0.8 * X[:, 1] + 0.6 * np.tanh(X[:, 2]) + 0.35 * (X[:, 3] ** 2 - 1)
    p = SCENARIOS[scenario](norm.cdf(score / 1.48))
    return X, (rng.uniform(size=n) < p).astype(int), p
