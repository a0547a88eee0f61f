"""
A model for the worst group
===========================

The mean loss hides a small group. Minimising the largest loss of a group levels them,
at the price of the mean; a regularised model makes the trade visible.
"""

# %%
# A tenth of the rows belongs to a group whose second column works the other way.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from skdiff.linear_model import GroupDROClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 5))
groups = np.where(rng.random(4000) < 0.1, "small", "large")
w = np.where(groups[:, None] == "small", [1, -2, 0, 0, 1.0], [1, 1, 1, 0, 0])
y = (np.einsum("ij,ij->i", X, w) + rng.logistic(size=4000) > 0).astype(int)
train, test = np.arange(2000), np.arange(2000, 4000)


def group_losses(model):
    """Log loss of the test rows of each group, and of all."""
    loss = -model.predict_log_proba(X[test])[np.arange(2000), y[test]]
    return [loss[groups[test] == g].mean() for g in ("large", "small")] + [loss.mean()]


# %%
# The dual gap proves the solution; the weights of the groups are those under which
# the usual weighted regression has the same coefficients.
model = GroupDROClassifier().fit(X[train], y[train], groups=groups[train])
print(
    "weights",
    dict(zip(model.groups_.tolist(), model.group_weights_.round(3), strict=True)),
)
print("gap", model.dual_gap_)
usual = LogisticRegression(C=1.0).fit(X[train], y[train])

# %%
# Every weighting of the groups is one point; group DRO finds the one where both are
# level. GroupDRORegressor does the same for values.
path = []
for share in np.linspace(0.02, 0.98, 25):
    counts = {g: np.mean(groups[train] == g) for g in ("large", "small")}
    weight = np.where(groups[train] == "small", share, 1 - share)
    weight = weight / np.array([counts[g] for g in groups[train]])
    other = LogisticRegression(C=1.0).fit(X[train], y[train], weight)
    path.append(group_losses(other))
path = np.array(path)
figure, axis = plt.subplots(figsize=(5.2, 4), layout="constrained")
axis.plot(path[:, 0], path[:, 1], "-", color="0.7", label="weights of the groups")
for name, one, color in (
    ("logistic regression", usual, "#d1495b"),
    ("group DRO", model, "#1f6f8b"),
):
    large, small, _ = group_losses(one)
    axis.plot(large, small, "o", color=color, label=name)
low, high = path.min(), path.max()
axis.plot([low, high], [low, high], ":", color="0.5", lw=1)
axis.set(xlabel="test loss, large group", ylabel="test loss, small group")
_ = axis.legend()
