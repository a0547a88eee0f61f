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

from skdiff.neural_network import SelfTuningMLPClassifier, SelfTuningMLPRegressor

X, y = load_digits(return_X_y=True)
X = X + np.random.default_rng(0).normal(scale=4, size=X.shape)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = SelfTuningMLPClassifier(
    max_iter=60, hyper_learning_rate=0.1, dtype="float32", random_state=0
)
model.fit(X_train, y_train)
print(f"accuracy {model.score(X_test, y_test):.3f}")
for name, value in model.hyperparameters_.items():
    print(f"{name:15s} {value:.4f}")

# %%
# The values over training. They stand still for five epochs, then leave their start.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
colors = ["#1f6f8b", "#9cc5d3", "#d1495b", "#edae49", "#6b6b6b", "#4b3f72"]
for (name, values), color in zip(
    model.hyperparameter_history_.items(), colors, strict=True
):
    axes[0].plot(values, color=color, label=name)
axes[0].axvline(model.n_tuned_iter_, color="0.7", linestyle=":")
axes[0].set(yscale="log", xlabel="epoch", ylabel="value", title="over training")
axes[0].legend(fontsize="small")

# The loss at other values of the noise, by the response, without a fit.
values = np.geomspace(0.3, 3, 30) * model.hyperparameters_["input_noise"]
axes[1].plot(values, model.validation_curve("input_noise", values), color="#1f6f8b")
axes[1].axvline(model.hyperparameters_["input_noise"], color="0.7", linestyle=":")
_ = axes[1].set(
    xscale="log", xlabel="input_noise", ylabel="log loss", title="validation curve"
)

# %%
# A regressor has the same parameters.
A, b = load_diabetes(return_X_y=True)
regressor = SelfTuningMLPRegressor((16,), max_iter=40, random_state=0).fit(A, b)
print(f"validation score {regressor.search_score_:.3f}")
