"""
Choose 500 rows to label
========================

A pool of 4 000 rows has no labels, and a model from 300 others exists. Which 500 rows
should be labelled? And if labels can be had from experts or from a cheap labeller, how
should a budget be divided?
"""

# %%
# By the uncertainty of a surrogate
# ---------------------------------
# Rows are drawn in proportion to the chance that the surrogate is wrong. Neither random
# rows nor the hardest ones are the best choice here.
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skdiff.data_selection import SurrogateSubsampler, label_budget_frontier

rng = np.random.default_rng(0)
theta = rng.normal(size=30) * 0.6


def draw(n):
    X = rng.normal(size=(n, 30))
    return X, (rng.uniform(size=n) < expit(X @ theta)).astype(int)


X_pool, y_pool = draw(4000)
X_test, y_test = draw(10_000)
surrogate = FrozenEstimator(LogisticRegression().fit(*draw(300)))
schemes = {
    "random": {"alpha": 0.0},
    "uncertain": {"alpha": 1.0},
    "uncertain, weighted": {"alpha": 1.0, "reweight": True},
    "with leverage": {"alpha": 1.0, "leverage": True},
    "most uncertain": {"strategy": "top"},
}
losses = {name: [] for name in schemes}
for seed in range(8):
    for name, how in schemes.items():
        sampler = SurrogateSubsampler(
            surrogate, n_select=500, random_state=seed, **how
        ).fit(X_pool)
        rows = sampler.sample_indices_  # only these are labelled
        model = LogisticRegression().fit(
            X_pool[rows], y_pool[rows], sample_weight=sampler.sample_weight_
        )
        losses[name].append(log_loss(y_test, model.predict_proba(X_test)))
everything = LogisticRegression().fit(X_pool, y_pool)
bound = log_loss(y_test, everything.predict_proba(X_test))
_, ax = plt.subplots(layout="constrained")
ax.boxplot(losses.values(), orientation="horizontal")
ax.set_yticks(range(1, len(losses) + 1), losses)
ax.axvline(bound, ls="--", color="grey")
ax.set(xlabel="Test log loss (dashed: all 4 000 labels)")

# %%
# Many cheap labels or a few expensive ones
# -----------------------------------------
# The cheap labeller sees half of the columns and is right in about three quarters of
# the cases; an expert costs ten times as much. A pilot shows where the money should go.
X, y = draw(1500)
cheap = (X[:, :15] @ theta[:15] > 0).astype(int)
study = label_budget_frontier(
    LogisticRegression(),
    X,
    cheap,
    y,
    budgets=[200, 500, 1000, 2500],
    n_repeats=3,
    cv=3,
    random_state=0,
)
print(study.regime_)
table = study.frame().pivot(index="budget", columns="fraction", values="score")
print(table.round(3))
ax = table.T.plot(marker="o")
ax.set(xlabel="Fraction of the budget for experts", ylabel="Accuracy")

# %%
# The same curves, continued to a budget that was not tried:
print(study.extrapolate(10_000).round(3))
plt.show()
