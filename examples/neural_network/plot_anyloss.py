"""
Train on the metric you are judged by
=====================================

A linear model trained on F1 itself, beside logistic regression cut at 0.5 and with a
tuned threshold, on a table with 7 % positives. The figure shows where the three place
the threshold.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split

from skdiff.neural_network import AnyLossClassifier, ConfusionMetricLoss

X, y = make_classification(
    4000,
    2,
    n_informative=2,
    n_redundant=0,
    n_clusters_per_class=2,
    weights=[0.93],
    class_sep=0.9,
    flip_y=0.02,
    random_state=3,
)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

models = {
    "logistic, cut at 0.5": LogisticRegression(),
    "logistic, tuned cut": TunedThresholdClassifierCV(
        LogisticRegression(), scoring="f1"
    ),
    "AnyLoss, linear": AnyLossClassifier("f1", max_iter=3000, random_state=0),
    "AnyLoss, 16 hidden units": AnyLossClassifier(
        "f1", hidden_layer_sizes=(16,), max_iter=3000, random_state=0
    ),
}
for name, model in models.items():
    model.fit(X_train, y_train)
    print(f"{name:<26} F1 = {f1_score(y_test, model.predict(X_test)):.3f}")

# %%
# A tuned threshold is the simple baseline and often does as well. What it cannot do is
# turn the line, or follow a metric that is no function of one cut.
grid = np.stack(np.meshgrid(*[np.linspace(-4, 4, 200)] * 2), axis=-1).reshape(-1, 2)
figure, ax = plt.subplots(layout="constrained", figsize=(6, 5))
ax.scatter(*X_test[y_test == 0].T, s=4, color="0.75", label="negative")
ax.scatter(*X_test[y_test == 1].T, s=8, color="#d1495b", label="positive")
for (name, model), color in zip(
    models.items(), ["0.3", "#edae49", "#1f6f8b", "#66a182"], strict=True
):
    says = model.predict(grid).reshape(200, 200)
    ax.contour(*grid.T.reshape(2, 200, 200), says, levels=[0.5], colors=color)
    ax.plot([], [], color=color, label=name)
ax.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="feature 0", ylabel="feature 1")
ax.legend(loc="lower left", fontsize=8)

# %%
# The loss alone serves any torch loop.
net = torch.nn.Linear(2, 1, dtype=torch.float64)
loss = ConfusionMetricLoss("gmean")
logits = net(torch.from_numpy(X_train))
print(f"1 - soft G-mean at the start: {loss(logits, torch.from_numpy(y_train)):.3f}")
