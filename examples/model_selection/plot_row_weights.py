"""
Finding mislabelled rows by their weights
=========================================

A third of the training labels is wrong, and a small clean part is at hand. A weight for
each training row, found by the gradient of the clean part's log loss, tells which rows
to distrust. The simplest rival is to train on the clean part alone, and it does as
well: the weights are worth their while for *finding* the rows.
"""

# %%
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import Continuous, GradientSearchCV

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_breast_cancer(return_X_y=True)
weights = {"sample_weight": Continuous(0, 1, scale="logit", per="sample")}
pipeline = make_pipeline(StandardScaler(), LogisticRegression())

# %%
# Four draws of the noise: 60 % of the rows train with 30 % of their labels flipped,
# 20 % are clean, 20 % test.
print("seed  AUC of the weights  accuracy: all rows  weighted  clean part alone")
for seed in range(4):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    train, clean, test = np.split(order, [341, 455])
    flipped = rng.uniform(size=len(train)) < 0.3
    labels = np.where(flipped, 1 - y[train], y[train])
    rows = np.concatenate([train, clean])
    targets = np.concatenate([labels, y[clean]])
    cv = PredefinedSplit(np.repeat([-1, 0], [len(train), len(clean)]))
    search = GradientSearchCV(pipeline, weights, cv=cv, tie_strength=0.1)
    search.fit(X[rows], targets)
    found = search.best_params_["sample_weight"][: len(train)]
    naive = pipeline.fit(X[rows], targets).score(X[test], y[test])
    alone = pipeline.fit(X[clean], y[clean]).score(X[test], y[test])
    weighted = search.best_estimator_.score(X[test], y[test])
    auc = roc_auc_score(~flipped, found)
    print(f"{seed:4}{auc:14.3f}{naive:24.3f}{weighted:10.3f}{alone:12.3f}")

# %%
# The weights of the last draw
# ----------------------------
# Most flipped rows have a small weight; those that keep a large one lie where the
# classes meet.
import matplotlib.pyplot as plt

bins = np.linspace(0, 1, 21)
figure, ax = plt.subplots(layout="constrained")
ax.hist(found[~flipped], bins, color="#1f6f8b", alpha=0.7, label="right label")
ax.hist(found[flipped], bins, color="#d1495b", alpha=0.7, label="flipped label")
ax.set(xlabel="Weight found", ylabel="Training rows")
ax.legend(frameon=False)
