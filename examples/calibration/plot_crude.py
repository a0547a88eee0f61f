"""
Intervals in the shape of the residuals
=======================================

Noise that is skewed and grows to one side. Intervals of a normal law are symmetric and
as wide everywhere; those made of the residuals are neither.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

from skdiff.calibration import EmpiricalResidualCalibrator

rng = np.random.default_rng(0)
n = 3000
X = np.sort(rng.uniform(-2, 2, size=(n, 1)), axis=0)
noise = (0.15 + 0.5 * (X[:, 0] + 2) / 4) * (rng.exponential(size=n) - 1)
y = np.sin(2 * X[:, 0]) + noise
train = rng.permutation(n)[:2000]
test = np.setdiff1d(np.arange(n), train)

boosting = HistGradientBoostingRegressor(max_iter=60, min_samples_leaf=60)
model = EmpiricalResidualCalibrator(boosting, random_state=0).fit(X[train], y[train])
low, high = model.predict_interval(X[test], 0.9).T

plain = boosting.fit(X[train[:1400]], y[train[:1400]])
spread = (y[train[1400:]] - plain.predict(X[train[1400:]])).std()
middle, half = plain.predict(X[test]), norm.ppf(0.95) * spread

for name, a, b in (
    ("residuals", low, high),
    ("normal law", middle - half, middle + half),
):
    inside = (a <= y[test]) & (y[test] <= b)
    left = inside[X[test, 0] < 0].mean()
    print(
        f"{name:10s} covers {inside.mean():.3f} (left half {left:.3f}, right half "
        f"{inside[X[test, 0] >= 0].mean():.3f}), mean width {(b - a).mean():.3f}"
    )
print(f"mean CRPS {model.crps(X[test], y[test]).mean():.3f}")

# %%
figure, (wide, right) = plt.subplots(
    1, 2, figsize=(9, 4), layout="constrained", width_ratios=(1.6, 1)
)
wide.scatter(X[test], y[test], s=4, color="0.6")
wide.fill_between(X[test, 0], low, high, color="#9cc5d3", alpha=0.6, label="residuals")
wide.plot(X[test, 0], middle - half, color="#d1495b", lw=1, label="normal law")
wide.plot(X[test, 0], middle + half, color="#d1495b", lw=1)
wide.set(xlabel="x", ylabel="y", title="intervals of 90 %")
wide.legend(fontsize=8)
right.hist(model.cdf(X[test], y[test]), bins=10, color="#1f6f8b", rwidth=0.9)
right.axhline(len(test) / 10, color="0.4", lw=1)
right.set(xlabel="predicted probability of less", title="on new rows: flat is right")
