"""
Prediction sets that survive a move of the inputs
=================================================

Handwritten digits whose pixels somebody may change by a Euclidean length of up to a
radius. Ordinary conformal sets lose their coverage; robust ones keep it, by exact
margins of a linear model or by smoothing any classifier.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skdiff.conformal import RobustConformalClassifier

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=400, random_state=0)
base = LogisticRegression(max_iter=300)
row = np.arange(len(y_test))


def attacked(model, radius):
    """Move every row so that its true class falls behind the best other one."""
    F = model.decision_function(X_test)
    F[row, y_test] = -np.inf
    v = model.coef_[F.argmax(axis=1)] - model.coef_[y_test]
    return X_test + radius * v / np.linalg.norm(v, axis=1)[:, None]


radii = (0.0, 0.1, 0.2, 0.3, 0.4)
split = RobustConformalClassifier(base, radius=0.0, random_state=0).fit(X, y)
found = {"split conformal": [], "exact, linear": [], "smoothing, 512 draws": []}
for radius in radii:
    models = {
        "split conformal": split,
        "exact, linear": RobustConformalClassifier(
            base, radius=radius, random_state=0
        ).fit(X, y),
        "smoothing, 512 draws": RobustConformalClassifier(
            base, radius=radius, method="smoothing", n_draws=512, random_state=0
        ).fit(X, y),
    }
    for name, model in models.items():
        sets = model.predict_set(attacked(model.estimator_, radius))
        found[name].append((sets[row, y_test].mean(), sets.sum(axis=1).mean()))
for name, values in found.items():
    print(name, np.round(values, 2).tolist())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
colors = ("#6b6b6b", "#1f6f8b", "#d1495b")
for (name, values), color in zip(found.items(), colors, strict=True):
    for ax, column in zip(axes, np.transpose(values), strict=True):
        ax.plot(radii, column, marker="o", ms=4, color=color, label=name)
axes[0].axhline(0.9, color="0.4", lw=1, ls="--")
axes[0].set(xlabel="radius", ylabel="coverage of attacked rows", ylim=(0, 1.02))
axes[1].set(xlabel="radius", ylabel="mean size of a set")
axes[1].legend(fontsize=8)
