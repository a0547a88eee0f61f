"""
Features or head: where a network loses
=======================================

A network that predicts badly may lack features, or not use those that it has. A linear
probe on its last hidden layer tells these apart.
"""

# %%
# A network on digits, and two that were damaged on purpose.
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from skdiff.inspection import (
    ObjectiveDimension,
    RepresentationDiagnostics,
    RepresentationDisplay,
    SaveInitialWeights,
    feature_complexity,
    objective_intrinsic_dimension,
    representation_report,
)

X, y = load_digits(return_X_y=True)
X = X / 16
net = MLPClassifier((32, 16), max_iter=60, tol=1e-2, random_state=0)
net.fit(X[:900], y[:900])
rng = np.random.default_rng(0)
head, layer = deepcopy(net), deepcopy(net)
head.coefs_[-1] = rng.permutation(head.coefs_[-1].ravel()).reshape(16, 10)
layer.coefs_[0] = rng.permutation(layer.coefs_[0].ravel()).reshape(64, 32)
nets = {"trained": net, "head scrambled": head, "layer scrambled": layer}
rows, labels = X[900:], y[900:]
display = RepresentationDisplay.from_estimator(
    nets, rows, labels, reference=net, n_boot=200, random_state=0
).plot()
print(display.frame()[["effective_dimension", "cka", "utilization_gap"]].round(2))

# %%
# One report alone; a skorch network with the callback has the start as its reference.
report: RepresentationDiagnostics = representation_report(
    net, rows, labels, n_boot=200, random_state=0
)
print(report, SaveInitialWeights.__name__)

# %%
# How late the units of the last hidden layer appear, and how much the head uses them.
frame = feature_complexity(net, rows)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].scatter(frame["complexity"], frame["importance"], color="#1f6f8b")
axes[0].set(xlabel="complexity", ylabel="importance", title="units")

# %%
# In how few random directions the network can be trained.
found: ObjectiveDimension = objective_intrinsic_dimension(
    MLPClassifier(16), X[:600], y[:600], n_repeats=1, max_iter=60, random_state=0
)
axes[1].semilogx(found.dims_, found.scores_.mean(axis=1), "o-", color="#1f6f8b")
axes[1].axhline(found.threshold_, color="#d1495b", lw=1)
axes[1].set(xlabel="random directions", ylabel="accuracy", title="training")
print(f"{found.dimension_} of {found.n_parameters_} directions")
