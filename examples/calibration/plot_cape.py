"""
Train towards frequencies
=========================

A network that goes on training on labels memorises them; one that is stopped early and
then fine-tuned on empirical probabilities does not. The data are simulated, so that the
true risk is known.
"""

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from skdiff.calibration import CalibratedProbabilityClassifier
from skdiff.metrics import (
    BrierDecomposition,
    brier_decomposition,
    expected_calibration_error,
    ks_error,
    maximum_calibration_error,
    mse_p,
    sharpness,
)
from skdiff.neural_network import AnyLossClassifier

warnings.simplefilter("ignore", ConvergenceWarning)


def table(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 10))
    risk = norm.cdf((X[:, 0] + 0.8 * X[:, 1] + 0.6 * np.tanh(X[:, 2])) / 1.4)
    return X, (rng.uniform(size=n) < risk).astype(int), risk


X, y, _ = table(1200, 0)
X_new, y_new, risk_new = table(4000, 1)
shared = {"hidden_layer_sizes": (64, 64), "random_state": 0}
models = {
    "trained on": AnyLossClassifier(
        bce_weight=1.0,
        warmup_iter=0,
        alpha=0,
        tol=0,
        max_iter=200,
        n_iter_no_change=200,
        learning_rate_init=5e-3,
        **shared,
    ),
    "early stopping": CalibratedProbabilityClassifier(finetune_iter=0, **shared),
    "CaPE": CalibratedProbabilityClassifier(**shared),
}
print(f"{'':16s}MSE_p  Brier  ECE    MCE    KS     sharpness")
forecasts = {}
for name, model in models.items():
    p = forecasts[name] = model.fit(X, y).predict_proba(X_new)[:, 1]
    parts: BrierDecomposition = brier_decomposition(y_new, p)
    row = (
        mse_p(risk_new, p),
        parts.brier,
        expected_calibration_error(y_new, p),
        maximum_calibration_error(y_new, p),
        ks_error(y_new, p),
        sharpness(y_new, p),
    )
    print(f"{name:16s}" + "  ".join(f"{v:.3f}" for v in row))
print("epoch of the fine-tuning that was kept:", models["CaPE"].best_epoch_)

# %%
# Left: what happened in bins of forecasts. Right: held-out cross-entropy by epoch; the
# fine-tuning begins at the line.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 4), layout="constrained", width_ratios=(1, 1.2)
)
left.plot([0, 1], [0, 1], color="0.8", lw=1)
for name, color in zip(models, ["#d1495b", "0.4", "#1f6f8b"], strict=True):
    edges = np.quantile(forecasts[name], np.linspace(0, 1, 11))
    bins = np.searchsorted(edges[1:-1], forecasts[name])
    means = [forecasts[name][bins == b].mean() for b in range(10)]
    left.plot(
        means, [y_new[bins == b].mean() for b in range(10)], "o-", color=color, ms=4
    )
    left.plot([], [], color=color, label=name)
true, predicted = models["CaPE"].reliability_curve(X_new, y_new)
assert len(true) == len(predicted) == 10
left.set(xlabel="forecast", ylabel="frequency", title="reliability")
left.legend(fontsize=8)
history = models["CaPE"].stage_history_
right.plot(history["validation_loss"], color="#1f6f8b")
right.axvline(np.sum(history["kind"] == "early") - 0.5, color="0.6", lw=1)
right.set(xlabel="epoch", ylabel="held-out cross-entropy", title="two stages")
