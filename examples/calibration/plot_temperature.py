"""
When one temperature is not enough
==================================

Six classes that overlap, because half of the labels are drawn at random. A network
learns its training labels by heart; one temperature then makes it right on average, and
wrong row by row. Mixup helps, and stopping early helps more.
"""

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax

from skdiff.calibration import TemperatureScaler, temperature_scaling_study
from skdiff.neural_network import AnyLossClassifier

warnings.filterwarnings("ignore", "Maximum iterations")  # as intended here
rng = np.random.default_rng(0)
centres = rng.normal(size=(6, 10))


def overlapping(n):
    clean = rng.integers(6, size=n)
    X = centres[clean] + rng.normal(size=(n, 10))
    posterior = softmax(-((X[:, None] - centres) ** 2).sum(axis=2) / 2, axis=1)
    y = np.where(rng.random(n) < 0.5, rng.integers(6, size=n), clean)
    return X, y, 0.5 * posterior + 0.5 / 6


(X, y, _), (X_cal, y_cal, _), (X_test, y_test, truth) = map(
    overlapping, (600, 400, 3000)
)
settings = {"bce_weight": 1, "warmup_iter": 0, "alpha": 0.0, "random_state": 0}
settings |= {"hidden_layer_sizes": (128,), "learning_rate_init": 0.01, "tol": 0}
table = temperature_scaling_study(
    AnyLossClassifier(**settings, max_iter=300, n_iter_no_change=300),
    X,
    y,
    X_cal=X_cal,
    y_cal=y_cal,
    X_test=X_test,
    y_test=y_test,
    proba=truth,
)
print(table.round(3).T.to_string())

# %%
# The true probability of the predicted class, beside the scaled forecast of it.
ways = {"standard": (0.0, 300), "mixup": (1.0, 300), "20 epochs": (0.0, 20)}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharey=True, layout="constrained")
for ax, (name, (mixup, max_iter)) in zip(axes, ways.items(), strict=True):
    network = AnyLossClassifier(
        **settings, mixup=mixup, max_iter=max_iter, n_iter_no_change=300
    ).fit(X, y)
    logits = [np.log(network.predict_proba(rows)) for rows in (X_cal, X_test)]
    scaler = TemperatureScaler().fit(logits[0], y_cal)
    forecast = scaler.predict_proba(logits[1])
    top = forecast.argmax(axis=1)
    row = np.arange(len(top))
    error = ((forecast - truth) ** 2).sum(axis=1).mean()
    ax.scatter(forecast[row, top], truth[row, top], s=3, alpha=0.3, color="#1f6f8b")
    ax.plot([0, 1], [0, 1], color="#d1495b", lw=1)
    ax.set(title=f"{name}: T = {scaler.temperature_:.1f}, squared error {error:.3f}")
    ax.title.set_fontsize(9)
    ax.set_xlabel("forecast after scaling")
axes[0].set_ylabel("true probability")
