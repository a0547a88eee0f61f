"""
Train on the metric you are judged by
=====================================

Is this digit a two? One in ten is. Two principal components of the digits of
scikit-learn, and five models judged by F1: logistic regression with the default and a
tuned threshold, a network with a tuned threshold, and two models trained on F1 itself.
The figure shows where they place the decision.
"""

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

from skdiff.neural_network import AnyLossClassifier, ConfusionMetricLoss

warnings.simplefilter("ignore", ConvergenceWarning)
images, digits = load_digits(return_X_y=True)
X, y = scale(PCA(2, random_state=0).fit_transform(images)), (digits == 2).astype(int)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, stratify=y, random_state=0
)

models = {
    "logistic, threshold 0.5": LogisticRegression(),
    "logistic, tuned threshold": TunedThresholdClassifierCV(
        LogisticRegression(), scoring="f1"
    ),
    "network, tuned threshold": TunedThresholdClassifierCV(
        MLPClassifier((16,), max_iter=300, random_state=0), scoring="f1", cv=3
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
# A tuned threshold is the simple baseline and does as well on the same kind of model.
# What it cannot do is follow a metric that is no function of one threshold.
grid = np.stack(np.meshgrid(*[np.linspace(-2.5, 2.5, 200)] * 2), axis=-1).reshape(-1, 2)
figure, ax = plt.subplots(layout="constrained", figsize=(6, 5))
ax.scatter(*X_test[y_test == 0].T, s=4, color="0.75", label="other digits")
ax.scatter(*X_test[y_test == 1].T, s=8, color="#d1495b", label="two")
colors = ["0.6", "0.3", "#edae49", "#66a182", "#1f6f8b"]
for (name, model), color in zip(models.items(), colors, strict=True):
    labels = model.predict(grid).reshape(200, 200)
    if labels.any():
        ax.contour(*grid.T.reshape(2, 200, 200), labels, levels=[0.5], colors=color)
    ax.plot([], [], color=color, label=name)
ax.set(xlabel="first component", ylabel="second component")
ax.legend(loc="upper left", fontsize=7)

# %%
# The loss alone serves any torch loop.
net = torch.nn.Linear(2, 1, dtype=torch.float64)
loss = ConfusionMetricLoss("gmean")
logits = net(torch.from_numpy(X_train))
print(f"1 - soft G-mean at the start: {loss(logits, torch.from_numpy(y_train)):.3f}")
