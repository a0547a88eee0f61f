"""
A training set for a small target sample
========================================

A large pool mixes two laws, and eighty rows of the one that matters are at hand. Which
rows of the pool should train the model? It depends on how the laws differ.
"""

# %%
# Four ways to choose
# -------------------
# In the first pool both laws have the same rows and other labels, in the second one the
# rows differ, too.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from skdiff.data_selection import (
    ConditionalLossSelector,
    DataInfluenceSelector,
    Datamodel,
    influence_scores,
)


def two_laws(shift, seed=0):
    rng = np.random.default_rng(seed)
    other, ours, centre = rng.normal(size=(3, 10))

    def target(n):
        X = rng.normal(size=(n, 10)) + shift * centre
        f = (X - shift * centre) @ ours
        return X, (f + 0.5 * rng.normal(size=n) > 0).astype(int)

    X = rng.normal(size=(2400, 10))
    y = (X @ other + 0.5 * rng.normal(size=2400) > 0).astype(int)
    X_ours, y_ours = target(600)
    return np.r_[X, X_ours], np.r_[y, y_ours], target(80), target(3000)


def accuracy(rows, X, y, test):
    return LogisticRegression().fit(X[rows], y[rows]).score(*test)


results = {}
for place, shift in (("same rows", 0.0), ("other rows", 1.0)):
    X, y, (X_target, y_target), test = two_laws(shift)
    sample = {"X_target": X_target, "y_target": y_target}
    found = {"all rows": accuracy(np.arange(len(y)), X, y, test)}
    for criterion in ("color", "conditional", "domain", "auto"):
        selector = ConditionalLossSelector(
            criterion=criterion, n_select=600, random_state=0
        ).fit(X, y, **sample)
        found[criterion] = accuracy(selector.support_, X, y, test)
    print(f"{place}: auto takes {selector.criterion_}")
    selector = DataInfluenceSelector(n_select=600, random_state=0)
    selector.fit(X, y, **sample)
    found["influence"] = accuracy(selector.support_, X, y, test)
    model = LogisticRegression().fit(X_target, y_target)
    found["target alone"] = model.score(*test)
    results[place] = found
_, ax = plt.subplots(layout="constrained")
height = np.arange(len(found))
for k, (place, found) in enumerate(results.items()):
    ax.barh(height + 0.4 * k, found.values(), 0.38, label=place)
ax.set_yticks(height + 0.2, found)
ax.set(xlabel="Accuracy on the target", xlim=(0.4, 1.0))
ax.legend(frameon=False)

# %%
# A domain classifier is best where rows differ and useless where they do not; losses
# and influence see labels. The target sample alone is hard to beat in this design: the
# selectors pay where it is too small for the model.
#
# What a row does
# ---------------
# For linear models the derivative of the target loss in every row's weight is one
# linear system. The rows of the other law are the harmful ones.
scores = influence_scores(LogisticRegression(), X, y, X_target, y_target)
print(f"harmful: {np.mean(scores[:2400] > 0):.0%} of other, ", end="")
print(f"{np.mean(scores[2400:] > 0):.0%} of our law")

# %%
# A datamodel explains single predictions by the rows they rest on, learned from models
# of random subsets. It predicts what happens without some rows:
few = np.r_[:100, 2400:2500]
model = Datamodel(Ridge(), n_subsets=1000, penalty="l2", random_state=0)
model.fit(X[few], y[few].astype(float), X_target[:5], y_target[:5].astype(float))
without = np.arange(100)  # the rows of the other law
direct = Ridge().fit(X[few[100:]], y[few[100:]]).predict(X_target[:5])
print("held-out correlation", model.correlation_.round(2))
print("without the other law", model.counterfactual(without).round(2))
print("refitted", direct.round(2))
plt.show()
