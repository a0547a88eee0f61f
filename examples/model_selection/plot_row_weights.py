"""
Finding mislabelled rows by their weights
=========================================

A third of the training labels is wrong, and a small clean part is at hand. A weight for
each training row, found by the gradient of the clean part's log loss, tells which rows
to distrust. The simplest rival is to train on the clean part alone, and it does as
well: the weights are worth their while for *finding* the rows. A regression follows.
"""

# %%
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LassoCV, LogisticRegression
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

# %%
# Mirrored targets of a regression
# --------------------------------
# The same with a lasso on the diabetes table, where 30 % of the training targets are
# mirrored at the mean. The rival ranks rows by their residuals from a lasso of the
# clean rows. Here the weights are a little ahead; where errors have both signs they
# are far behind (the user guide has the figures).
X, y = load_diabetes(return_X_y=True)
X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
both = {**weights, "alpha": Continuous(1e-3, 1.0)}
print("seed  AUC: weights  residuals  test R2: weighted  clean part alone")
for seed in range(4):
    rng = np.random.default_rng(seed)
    train, clean, test = np.split(rng.permutation(len(y)), [265, 353])
    wrong = rng.uniform(size=len(train)) < 0.3
    rows = np.concatenate([train, clean])
    targets = np.concatenate([np.where(wrong, -y[train], y[train]), y[clean]])
    cv = PredefinedSplit(np.repeat([-1, 0], [len(train), len(clean)]))
    search = GradientSearchCV(Lasso(), both, cv=cv)
    search.fit(X[rows], targets)
    found = search.best_params_["sample_weight"][: len(train)]
    alone = LassoCV().fit(X[clean], y[clean])
    residual = np.abs(targets[: len(train)] - alone.predict(X[train]))
    r2 = search.best_estimator_.score(X[test], y[test])
    print(
        f"{seed:4}{roc_auc_score(~wrong, found):14.3f}"
        f"{roc_auc_score(~wrong, -residual):11.3f}"
        f"{r2:19.3f}{alone.score(X[test], y[test]):18.3f}"
    )
