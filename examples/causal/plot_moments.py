"""
Errors that grow with the instrument
====================================

Where the spread of the errors grows with the regressor, least squares is ruled by a few
noisy rows. The kernel method of moments wants no smooth function of the instrument to
predict the error and weighs moments by their precision; with a network it learns a
curve from an instrument.
"""

# %%
# The slope is 1.7 and the noise the square of t. Fixed moments (splines of t) come
# near, and so does the kernel method, without a choice of moments but for its penalty.
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import SplineTransformer

from skdiff.causal import KernelMomentRegressor, LinearGMMRegressor

splines = SplineTransformer(10, knots="quantile")
names = ["least squares", "two-step GMM", "kernel, 1e-1", "kernel, 1e-4"]
slopes = []
for seed in range(12):
    rng = np.random.default_rng(seed)
    t = np.exp(rng.uniform(-1.5, 1.5, 100))[:, None]
    y = 1.7 * t[:, 0] + t[:, 0] ** 2 * rng.normal(size=100)
    models = [LinearGMMRegressor(fit_intercept=False)] + [
        KernelMomentRegressor(instrument_penalty=p, fit_intercept=False, random_state=0)
        for p in (1e-1, 1e-4)
    ]
    row = [LinearRegression(fit_intercept=False).fit(t, y).coef_[0]]
    for model, tools in zip(models, (splines.fit_transform(t), t, t), strict=True):
        row.append(model.fit(t, y, instruments=tools).coef_[0])
    slopes.append(row)
errors = np.median((np.array(slopes) - 1.7) ** 2, axis=0)
print(dict(zip(names, errors.round(4), strict=True)))

# %%
# A hidden cause moves x and y; z moves x only. A network fitted to x and y learns the
# wrong curve, by moments on z the right one, in each of three draws. A penalty on its
# parameters keeps the curve from oscillating, as the problem is ill-posed.
with torch.random.fork_rng():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    )
how = {"instrument_penalty": 1e-2, "max_iter": 400, "random_state": 0}
grid, curves = np.linspace(-1.9, 1.9, 60)[:, None], []
for seed in range(3):
    rng = np.random.default_rng(seed)
    z, hidden = rng.uniform(-2, 2, 500), rng.normal(size=500)
    x = (z + 0.5 * hidden)[:, None]
    y = np.abs(x[:, 0]) + 2 * hidden + 0.2 * rng.normal(size=500)
    fits = [
        KernelMomentRegressor(network, **how).fit(x, y, instruments=i) for i in (x, z)
    ]
    curves.append([fit.predict(grid) for fit in fits])

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.7), layout="constrained")
axes[0].boxplot(np.array(slopes), tick_labels=[n.replace(" ", "\n") for n in names])
axes[0].axhline(1.7, color="0.6", ls=":")
axes[0].set(ylabel="estimated slope", title="noise that grows with t")
axes[1].plot(x[:, 0], y, ".", color="0.8", ms=3)
axes[1].plot(grid, np.abs(grid), color="0.2", ls="--", label="effect of x")
for k, (by_x, by_z) in enumerate(curves):
    labels = ("moments on x", "moments on z") if k == 0 else (None, None)
    axes[1].plot(grid, by_x, color="#d1495b", label=labels[0])
    axes[1].plot(grid, by_z, color="#1f6f8b", label=labels[1])
axes[1].set(xlabel="x", ylabel="y", xlim=(-2, 2), ylim=(-4, 6), title="a network")
_ = axes[1].legend()
