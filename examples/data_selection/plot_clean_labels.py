"""
Clean a table with wrong labels
===============================

A fifth of the labels of the digits are wrong. Short training out of fold leaves wrong
labels with the largest errors: here the hardest rows are listed for a second look, or
dropped, and the gain is compared with what random rows give.
"""

# %%
# Find them
# ---------
# Every row is scored by networks that have not seen it, after ten passes.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.data_selection import (
    EL2NSelector,
    GraNdSelector,
    RowScoresDisplay,
    SelectedFit,
    SelectionCurveDisplay,
    gradient_norms,
)

X, truth = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
wrong = rng.uniform(size=len(truth)) < 0.2
y = np.where(wrong, (truth + rng.integers(1, 10, len(truth))) % 10, truth)
train = np.arange(len(y)) < 1200
options = {"n_models": 1, "cv": 3, "n_select": 0.8, "keep": "easy", "random_state": 0}
for selector in (EL2NSelector(**options), GraNdSelector(**options)):
    selector.fit(X[train], y[train])
    auc = roc_auc_score(wrong[train], selector.scores_)
    print(f"{type(selector).__name__}: wrong labels found with an AUC of {auc:.3f}")

# %%
# The first rows of the list are the ones to look at. Nine in ten are wrong:
selector = EL2NSelector(**options).fit(X[train], y[train])
display = RowScoresDisplay.from_estimator(selector, X[train], y[train])
worst = display.frame(10)
print(worst[["row", "score", "target"]].assign(truth=truth[worst["row"]]))
display.plot()

# %%
# For a network of torch the gradient norms of all rows cost one forward and one
# backward pass:
import torch
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
norms = gradient_norms(network, X[train] / 16, y[train])
print(f"at initialisation: an AUC of {roc_auc_score(wrong[train], norms):.3f}")

# %%
# Train without them
# ------------------
# A pipeline cannot drop rows; :class:`~skdiff.data_selection.SelectedFit` selects, then
# fits. Test labels are right.
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
noisy = model.fit(X[train], y[train]).score(X[~train], truth[~train])
cleaned = SelectedFit(selector, model).fit(X[train], y[train])
score = cleaned.score(X[~train], truth[~train])
print(f"accuracy with all rows {noisy:.3f}, without the hardest fifth {score:.3f}")

# %%
# Against random rows
# -------------------
# The gain is that of clean labels, not of fewer rows:
SelectionCurveDisplay.from_estimator(
    selector.set_params(balance="class"),
    model,
    X[train],
    y[train],
    X_test=X[~train],
    y_test=truth[~train],
    n_select=[0.1, 0.4, 0.8],
    n_repeats=2,
    random_state=0,
).plot()
plt.show()
