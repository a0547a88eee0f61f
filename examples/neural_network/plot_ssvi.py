"""
Knowing what a small network does not know
==========================================

A Bayesian network on a fifth of its weights tells which columns matter and how far its
predictions can be trusted; one on a twentieth is unsure about digits never shown to it.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdiff.neural_network import (
    SparseBayesianMLPClassifier,
    SparseBayesianMLPRegressor,
)

# three of fifteen columns matter
rng = np.random.default_rng(0)
X = rng.normal(size=(800, 15))
y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2 / 2 - X[:, 2] + 0.2 * rng.normal(size=800)
model = SparseBayesianMLPRegressor(
    (40,), density=0.2, max_iter=60, learning_rate_init=0.01, random_state=0
).fit(X[:600], y[:600])
low, high = model.predict_interval(X[600:], 0.9).T
inside = ((low <= y[600:]) & (y[600:] <= high)).mean()
print(
    f"{model.n_active_weights_} weights; 90 % intervals hold {inside:.0%} of new rows"
)
figure, left = plt.subplots(figsize=(6, 4), layout="constrained")
left.bar(np.arange(15) - 0.2, model.feature_relevance_, 0.4, label="relevance")
usage = model.feature_usage_ / model.feature_usage_.sum()
left.bar(np.arange(15) + 0.2, usage, 0.4, label="share of the weights", color="0.7")
left.set(xlabel="column", title="columns 0, 1 and 2 matter")
left.legend()

# %%
# Trained on the digits 0 to 7 only: what it predicts for 8 and 9.
X, t = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
known = t < 8
A, B, tA, tB = train_test_split(X[known], t[known], test_size=0.3, random_state=0)
classifier = SparseBayesianMLPClassifier(
    (100, 100), density=0.05, posterior_std_init=0.1, max_iter=60, random_state=0
).fit(A, tA)
print(
    f"accuracy on known digits {classifier.score(B, tB):.3f} "
    f"with {classifier.n_active_weights_} weights"
)
figure, right = plt.subplots(figsize=(6, 4), layout="constrained")
bins = np.linspace(0, 1.6, 30)
for rows, label, color in (
    (B, "0 to 7, held out", "#1f6f8b"),
    (X[~known], "8 and 9, never seen", "#d1495b"),
):
    total = classifier.predict_distribution(rows)["total"]
    right.hist(total, bins, density=True, alpha=0.6, label=label, color=color)
    print(f"{label:<20} mean entropy {total.mean():.3f} nats")
right.set(xlabel="predictive entropy (nats)", title="digits")
right.legend()
