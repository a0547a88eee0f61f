"""
A dose beyond those that were tried
===================================

Doses between -1 and 1 were tried; the outcome under twice as much is wanted. The dose
moves a feature linearly, and something hidden moves both the feature and the outcome. A
control function separates the two, so that the noise of the feature, which reached
further than the doses, stands in for larger doses.
"""

# %%
# The feature Z is 1.5 times the dose plus noise, and y depends on Z in a curve. What is
# seen is an affine function of Z.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from skdiff.causal import InterventionExtrapolator

rng = np.random.default_rng(0)
A, V = rng.uniform(-1, 1, size=(1000, 1)), rng.normal(size=(1000, 1))
Z = 1.5 * A + V


def curve(z):
    return 1.5 * np.sin(z) + 0.8 * z


y = curve(Z[:, 0]) + 1.5 * V[:, 0] + 0.3 * rng.normal(size=1000)
X = 3 - 2 * Z
doses = np.linspace(-2, 2, 41)
nodes, weights = np.polynomial.hermite_e.hermegauss(60)
truth = curve(1.5 * doses[:, None] + nodes) @ (weights / weights.sum())

# %%
# The same model without the control function takes the effect of what is hidden for one
# of Z. A regression on the dose alone is right where doses were tried, and only there.
found = {}
for name, control in (("control function", True), ("without", False)):
    model = InterventionExtrapolator(control_function=control).fit(X, y, A=A)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found[name] = model.predict_do(doses[:, None])
    for warning in caught:
        print(f"{name}: {warning.message}")
print(f"p-value of a linear move of the feature: {model.linearity_test_:.2f}")
splines = SplineTransformer(extrapolation="linear")
direct = make_pipeline(splines, Ridge(1e-3)).fit(A, y)
found["regression on the dose"] = direct.predict(doses[:, None])
far = np.abs(doses) > 1
for name, values in found.items():
    error = np.mean((values - truth)[far] ** 2)
    print(f"{name}: mean squared error beyond the doses {error:.3f}")

# %%
figure, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
ax.axvspan(-1, 1, color="0.93", label="doses that were tried")
ax.plot(doses, truth, color="0.2", lw=3, label="truth")
for (name, values), color in zip(
    found.items(), ("#1f6f8b", "#d1495b", "#edae49"), strict=True
):
    ax.plot(doses, values, color=color, label=name)
ax.set(xlabel="dose", ylabel="mean outcome under the dose", ylim=(-9, 9))
_ = ax.legend()
