"""
Intervals from a dozen rows
===========================

With few rows the strength of signal and noise cannot be estimated. Averaging over both
gives intervals that hold; one best pair gives intervals that are too narrow.
"""

# %%
# Training sets of 8 to 200 rows are drawn from the diabetes data; intervals of 90 % are
# checked on the other rows.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.linear_model import BayesianRidge

from skdiff.linear_model import BayesianLinearMixture

X, y = load_diabetes(return_X_y=True)
X = X / X.std(axis=0)
sizes, rng = [8, 12, 20, 50, 200], np.random.default_rng(0)
coverage, density = np.zeros((2, len(sizes))), np.zeros((2, len(sizes)))
repeats = 10
for s, size in enumerate(sizes):
    for _ in range(repeats):
        rows = rng.permutation(len(y))
        train, test = rows[:size], rows[-60:]
        mixture = BayesianLinearMixture().fit(X[train], y[train])
        low, high = mixture.predict_quantiles(X[test], [0.05, 0.95]).T
        mean, std = BayesianRidge().fit(X[train], y[train]).predict(X[test], True)
        coverage[0, s] += np.mean((low < y[test]) & (y[test] < high)) / repeats
        coverage[1, s] += np.mean(np.abs(y[test] - mean) < 1.645 * std) / repeats
        density[0, s] += mixture.log_prob(X[test], y[test]).mean() / repeats
        density[1, s] += norm.logpdf(y[test], mean, std).mean() / repeats
print("coverage, mixture      ", coverage[0].round(2))
print("coverage, BayesianRidge", coverage[1].round(2))

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for k, (name, color) in enumerate(
    (("BayesianLinearMixture", "#1f6f8b"), ("BayesianRidge", "#d1495b"))
):
    axes[0].semilogx(sizes, coverage[k], "o-", color=color, label=name)
    axes[1].semilogx(sizes, np.maximum(density[k], -8), "o-", color=color, label=name)
axes[0].axhline(0.9, color="0.6", lw=1, ls="--")
axes[0].set(xlabel="training rows", ylabel="coverage of 90 % intervals")
axes[1].set(xlabel="training rows", ylabel="mean log density (cut at -8)")
_ = axes[0].legend()
