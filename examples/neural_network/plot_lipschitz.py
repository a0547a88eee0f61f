"""
Decisions that small changes cannot flip
========================================

A network with a proven bound on its sensitivity beside one without. For every row the
bounded network tells how far its inputs may move before another class can win.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from skdiff.neural_network import LipschitzMLPClassifier, LipschitzMLPRegressor

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

radii = np.linspace(0, 1, 60)
figure, left = plt.subplots(figsize=(6, 4), layout="constrained")
for bound, color in ((1.0, "#1f6f8b"), (5.0, "#edae49"), (20.0, "#d1495b")):
    model = LipschitzMLPClassifier(
        bound, max_iter=500, tol=1e-3, n_iter_no_change=20, random_state=0
    ).fit(X_train, y_train)
    correct = model.predict(X_test) == y_test
    radius = model.certified_radius(X_test)
    certified = [(correct & (radius > r)).mean() for r in radii]
    left.plot(radii, certified, color=color, label=f"bound {bound:g}")
    print(
        f"bound {bound:>4g}: accuracy {correct.mean():.3f}, "
        f"certified within 0.3 standard deviations {certified[18]:.3f}"
    )
left.set(
    xlabel="length of the move (standard deviations)",
    ylabel="share right whatever the move",
    title="breast cancer, held-out rows",
    ylim=(0, 1.02),
)
left.legend()

# %%
# A regressor with a small bound cannot chase noise.
rng = np.random.default_rng(0)
t = np.sort(rng.uniform(-3, 3, 60))[:, None]
v = np.sign(t[:, 0]) + 0.3 * rng.normal(size=60)
grid = np.linspace(-3, 3, 400)[:, None]
figure, right = plt.subplots(figsize=(6, 4), layout="constrained")
right.scatter(t, v, s=10, color="0.6")
for bound, color in ((0.8, "#1f6f8b"), (3.0, "#edae49"), (30.0, "#d1495b")):
    model = LipschitzMLPRegressor(
        bound, max_iter=1000, tol=1e-3, n_iter_no_change=50, random_state=0
    ).fit(t, v)
    right.plot(grid, model.predict(grid), color=color, label=f"bound {bound:g}")
right.set(title="a step with noise", xlabel="x", ylabel="y")
right.legend()
