"""
Which classifier for few labels
===============================

Naive Bayes needs few rows, logistic regression has the better limit. On whitened
principal components of digits the learning curves show on which side of the crossing a
number of labels lies, and a combination follows the better of the two.
"""

# %%
# Whitened components are nearly independent columns, where naive Bayes is at its best.
# The logistic regression has no penalty, as in the theory; with one it starts better.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skdiff.naive_bayes import TiedGaussianNB, TwoRegimeClassifier, two_regimes

X, y = load_digits(return_X_y=True)
Z = PCA(30, whiten=True, random_state=0).fit_transform(X)
sizes = [20, 40, 80, 160, 320, 640, 1280]
bare = LogisticRegression(C=np.inf, max_iter=200)
penalised = LogisticRegression(max_iter=200)
found = two_regimes(Z, y, sizes, n_repeats=4, lr=bare, random_state=0)
ridge = two_regimes(Z, y, sizes, n_repeats=4, lr=penalised, random_state=0)
print(f"crossing at {found.crossing_size:.0f} rows, 90 % interval", end=" ")
print(np.round(found.crossing_interval))
print(f"with an L2 penalty at {ridge.crossing_size:.0f} rows")

# %%
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for name, scores, color in (
    ("naive Bayes, one variance per column", found.nb_scores, "#1f6f8b"),
    ("logistic regression", found.lr_scores, "#d1495b"),
    ("logistic regression, L2 penalty", ridge.lr_scores, "#6b6b6b"),
):
    mean, spread = scores.mean(axis=1), scores.std(axis=1)
    ax.semilogx(found.train_sizes, mean, "o-", color=color, label=name)
    ax.fill_between(
        found.train_sizes, mean - spread, mean + spread, color=color, alpha=0.15
    )
ax.axvspan(*found.crossing_interval, color="0.9", label="crossing, 90 % interval")
ax.set(xlabel="training rows", ylabel="accuracy on test rows")
ax.legend()

# %%
# A combination needs no decision: the exponents of both probabilities are found by
# cross-validation.
for size in (40, 640):
    train, test = train_test_split(
        np.arange(len(y)), train_size=size, stratify=y, random_state=0
    )
    model = TwoRegimeClassifier(lr=penalised, random_state=0).fit(Z[train], y[train])
    print(f"{size} rows, log loss: combination", end=" ")
    print(f"{log_loss(y[test], model.predict_proba(Z[test])):.3f},", end=" ")
    for name, single in (("naive Bayes", TiedGaussianNB()), ("logistic", penalised)):
        loss = log_loss(y[test], single.fit(Z[train], y[train]).predict_proba(Z[test]))
        print(f"{name} {loss:.3f}", end=" ")
    print({name: round(a, 2) for name, a in model.weights_.items()})
