"""
Which rule a network computes when it reads a table
===================================================

A network that was trained on random regression tasks predicts a new table in one
forward pass. Its means are compared with those of classical rules: least squares,
ridge regression with the penalty that the noise calls for, and gradient descent. Ridge
regression is what it computes, with the right penalty for each noise, and it needs its
blocks for that.
"""

# %%
# Tasks have 8 standard normal columns, 12 rows and standard normal coefficients. The
# distance is the mean squared difference of predictions, per column. Gradient descent
# starts at zero and takes one step or ten.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression, Ridge

from skdiff.linear_model import InContextLinearRegressor

n, d, n_tasks = 12, 8, 40
noises = np.array([0.1, 0.3, 1.0, 3.0])


def descent(X, y, Z, n_steps):
    """Predictions of so many steps from zero, at the largest stable rate."""
    away, centre = X - X.mean(axis=0), y.mean()
    rate = 1 / np.linalg.norm(away, 2) ** 2
    w = np.zeros(X.shape[1])
    for _ in range(n_steps):
        w += rate * away.T @ (y - centre - away @ w)
    return centre + (Z - X.mean(axis=0)) @ w


def distances(noise, n_blocks):
    """Mean distance of the network's means from each rule's."""
    rng, found = np.random.default_rng(0), []
    for _ in range(n_tasks):
        w = rng.normal(size=d)
        X, Z = rng.normal(size=(n, d)), rng.normal(size=(50, d))
        y = X @ w + noise * rng.normal(size=n)
        ours = InContextLinearRegressor(n_blocks=n_blocks).fit(X, y).predict(Z)
        rules = [
            LinearRegression().fit(X, y).predict(Z),
            Ridge(max(noise, 1e-3) ** 2).fit(X, y).predict(Z),
            descent(X, y, Z, 1),
            descent(X, y, Z, 10),
        ]
        found.append([np.mean((ours - rule) ** 2) / d for rule in rules])
    return np.mean(found, axis=0)


names = (
    "least squares",
    "ridge, Bayes penalty",
    "1 gradient step",
    "10 gradient steps",
)
by_noise = np.array([distances(noise, None) for noise in noises])
by_depth = np.array([distances(1.0, blocks) for blocks in range(4)])
print("noise", *names, sep="  ")
for noise, row in zip(noises, by_noise, strict=True):
    print(noise, row.round(3))
print("blocks, at noise 1")
for blocks, row in enumerate(by_depth):
    print(blocks, row.round(3))

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
colors = ("#d1495b", "#1f6f8b", "#edae49", "#6b6b6b")
for k, (name, color) in enumerate(zip(names, colors, strict=True)):
    axes[0].loglog(noises, by_noise[:, k], "o-", color=color, label=name)
    axes[1].semilogy(range(4), by_depth[:, k], "o-", color=color)
axes[0].set(xlabel="standard deviation of the noise", ylabel="distance of predictions")
axes[1].set(xlabel="attention blocks, at noise 1", xticks=range(4))
_ = axes[0].legend()
