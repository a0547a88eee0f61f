"""
Regularisation that tunes itself
================================

Digits under noise, on which a network overfits within a few epochs. A self-tuning
network moves its dropout, the noise on its inputs and its weight decay while it trains,
by the loss of a validation set. Beside the network it learns how its weights have to
follow, so that a validation curve of each value comes without a further fit.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from skdiff.neural_network import (
    SelfTuningDisplay,
    SelfTuningMLPClassifier,
    SelfTuningMLPRegressor,
)

X, y = load_digits(return_X_y=True)
X, y = X[:900], y[:900]
X = X + np.random.default_rng(0).normal(scale=4, size=X.shape)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = SelfTuningMLPClassifier(
    max_iter=40, hyper_learning_rate=0.1, dtype="float32", random_state=0
)
model.fit(X_train, y_train)
print(f"accuracy {model.score(X_test, y_test):.3f}")
for name, value in model.hyperparameters_.items():
    print(f"{name:15s} {value:.4f}")

# %%
# The values over training. They stand still for five epochs, then leave their start;
# the vertical line is the epoch that was kept. Beside them the loss at other values of
# the noise, by the response, without a fit.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
display = SelfTuningDisplay.from_estimator(model)
display.plot(axes[0])
_ = display.plot_curve("input_noise", axes[1])

# %%
# A single penalty of a linear model, from one response that is trained over the whole
# range of penalties.
A, b = load_diabetes(return_X_y=True)
ridge = SelfTuningMLPRegressor(
    (),
    tune=["weight_decay"],
    per_layer=False,
    response="global_hypernetwork",
    bounds={"weight_decay": (1e-4, 10.0)},
    learning_rate_init=0.03,
    max_iter=50,
    random_state=0,
).fit(A, b)
_ = SelfTuningDisplay.from_estimator(ridge).plot_curve("weight_decay")
