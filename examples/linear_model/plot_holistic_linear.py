"""
A linear model with a certified loss
====================================

A classifier is trained on rows of which a tenth has a wrong label. The holistic loss of
training is a bound of the loss on clean rows; the price is the mean.
"""

# %%
# Growing radii: the value stays above the clean test loss, and both rise.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from skdiff.linear_model import HolisticRobustClassifier

X, y = load_breast_cancer(return_X_y=True)
X = scale(X[:, :10])
rng = np.random.default_rng(0)
rows = rng.permutation(len(y))
train, test = rows[:300], rows[300:]
noisy = np.where(rng.random(300) < 0.1, 1 - y[train], y[train])

shares = np.array([0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
values, losses = [], []
for share in shares:
    model = HolisticRobustClassifier(poisoning=share, alpha=1e-3)
    model.fit(X[train], noisy)
    proba = model.predict_log_proba(X[test])
    values.append(model.robust_objective_)
    losses.append(-proba[np.arange(len(test)), y[test]].mean())
print("gap", model.dual_gap_)

# %%
# The worst-case weights single out the rows that cost most, here wrong labels.
# HolisticRobustRegressor does the same for values.
model = HolisticRobustClassifier(alpha=1e-3).fit(X[train], noisy)
wrong = noisy != y[train]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(shares, values, "o-", color="#d1495b", label="value in training")
left.plot(shares, losses, "o-", color="#1f6f8b", label="loss of clean test rows")
left.set(xlabel="poisoning", ylabel="log loss")
left.legend()
order = np.argsort(model.worst_case_weights_)
color = np.where(wrong[order], "#d1495b", "0.6")
right.scatter(np.arange(300), 300 * model.worst_case_weights_[order], s=9, c=color)
right.set(xlabel="row", ylabel="weight times rows", title="red: wrong label")
_ = right.set_yscale("symlog")
