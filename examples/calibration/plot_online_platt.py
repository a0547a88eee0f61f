"""
Calibrate a stream that drifts
==============================

A classifier is fitted once and stays in service while the world turns. Platt scaling
fitted at the start grows wrong with it; online Platt scaling follows.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit, logit
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from skdiff.calibration import OnlinePlattCalibrator
from skdiff.metrics import expected_calibration_error, sharpness

rng = np.random.default_rng(0)
n = 6000
x, time = rng.normal(size=(n, 1)), np.linspace(0, 1, n)
truth = expit((2 - 3 * time) * x[:, 0] + 2 * np.sin(3 * time))
y = (rng.uniform(size=n) < truth).astype(int)

model = LogisticRegression().fit(x[:1000], y[:1000])
X, y, truth = x[1000:], y[1000:], truth[1000:]
base = model.predict_proba(X)[:, 1]

# %%
# ``predict_then_update`` forecasts every row before it learns its outcome.
z = logit(base)[:, None]
fixed = LogisticRegression().fit(z[:500], y[:500])
ways = {"base": base, "Platt, fixed": fixed.predict_proba(z)[:, 1]}
for name, calibeating in (("online Platt", None), ("with tracking", "tracking")):
    online = OnlinePlattCalibrator(
        calibeating=calibeating, estimator=FrozenEstimator(model)
    )
    ways[name] = online.predict_then_update(X, y)[:, 1]
for name, p in ways.items():
    error = expected_calibration_error(y, p, n_bins=10, strategy="uniform")
    print(
        f"{name:14s} Brier {brier_score_loss(y, p):.3f}, calibration error "
        f"{error:.3f}, sharpness {sharpness(y, p):.3f}"
    )

# %%
# The squared error to the true probability, averaged over 250 rows.
figure, ax = plt.subplots(layout="constrained", figsize=(6.5, 4))
colors = ["0.6", "#d1495b", "#1f6f8b", "#edae49"]
for (name, p), color in zip(ways.items(), colors, strict=True):
    error = ((p - truth) ** 2).reshape(-1, 250).mean(axis=1)
    ax.plot(np.arange(len(error)) * 250 + 125, error, color=color, label=name)
ax.set(xlabel="row", ylabel="squared error to the truth", ylim=(0, None))
ax.legend()
