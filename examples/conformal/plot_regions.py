"""
Regions for two targets at once
===============================

The noise of two targets lies on a half circle. A box of intervals and an ellipse must
cover the empty middle too; a polytope follows the outside; points near the residuals of
other rows follow the shape. All four hold 90 % of new rows.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from skdiff.conformal import ConformalRegionDisplay, MultiOutputConformalRegressor

rng = np.random.default_rng(0)
n = 4000
X = rng.normal(size=(n, 3))
angle = rng.uniform(0, np.pi, n)
noise = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.normal(size=(n, 2))
Y = X[:, :2] + noise
train, test = slice(0, 2500), slice(2500, n)

figure, axes = plt.subplots(2, 2, figsize=(8, 5.4), layout="constrained")
for ax, region in zip(
    axes.ravel(), ("box", "ellipsoid", "directional", "neighbors"), strict=True
):
    model = MultiOutputConformalRegressor(
        region=region, scale_estimator=None, random_state=0
    ).fit(X[train], Y[train])
    coverage = model.contains(X[test], Y[test]).mean()
    print(f"{region:12s} covers {coverage:.3f}, area {model.volume_:.2f}")
    row = X[2500:2501]
    _ = ConformalRegionDisplay.from_estimator(model, row).plot(ax)
    points = model.predict(row) + Y[test] - model.predict(X[test])
    ax.scatter(*points[:400].T, s=3, color="0.35", zorder=3)
    ax.set(title=f"{region}: covers {coverage:.3f}, area {model.volume_:.2f}")
    ax.title.set_fontsize(9)
    ax.set_aspect("equal")
