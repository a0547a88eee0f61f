"""
Estimates of a score that are not too good
==========================================

Two ways to overstate a score: the .632 bootstrap of a model that learns its rows by
heart, and the best score of a search. The .632+ bootstrap and nested cross-validation
repair them.
"""

# %%
# Sixty rows of noise, where the truth is one half, and a nearest neighbour.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import ExtraTreeClassifier

from skdiff.model_evaluation import BootstrapScore, NestedCV, bootstrap_632_score

methods = ("632+", "632", "oob", "bc")
scores = {method: [] for method in methods}
for seed in range(6):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    for method in methods:
        found: BootstrapScore = bootstrap_632_score(
            KNeighborsClassifier(1),
            X,
            y,
            method=method,
            n_bootstrap=20,
            random_state=seed,
        )
        scores[method].append(found.score)

# %%
# A search over the seed of a random tree, on noise: best score and outer folds.
optimism = {"best score": [], "outer folds": []}
for seed in range(8):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    search = GridSearchCV(
        ExtraTreeClassifier(max_depth=2), {"random_state": list(range(15))}, cv=3
    )
    nested = NestedCV(search, 4, refit=False).fit(X, y)
    optimism["best score"].append(nested.inner_scores_.mean())
    optimism["outer folds"].append(nested.score_)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.boxplot(list(scores.values()), tick_labels=list(scores))
left.axhline(0.5, color="#d1495b", ls="--", label="truth")
left.set(title="One neighbour on noise", ylabel="Estimated accuracy")
left.legend()
right.boxplot(list(optimism.values()), tick_labels=list(optimism))
right.axhline(0.5, color="#d1495b", ls="--", label="truth")
right.set(title="Search on noise", ylabel="Accuracy")
right.legend()
