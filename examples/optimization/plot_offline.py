"""
A better design from measurements of poor ones
==============================================

Five hundred designs were measured, none of them good, and no further measurement is
possible. A surrogate is climbed from the best of them. How far its belief can be
trusted shows against the true function, which the surrogate never saw.
"""

# %%
# The truth is the Branin function with its sign changed. Of 1000 random designs the
# better half is thrown away.
import matplotlib.pyplot as plt
import numpy as np

from skdiff.optimization import OfflineOptimizer


def truth(X):
    a, b = 15 * X[:, 0] - 5, 15 * X[:, 1]
    curve = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return -(curve**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


X = np.random.default_rng(0).uniform(size=(1000, 2))
y = truth(X)
known = y < np.median(y)
X, y = X[known], y[known]
models = {
    "as believed": OfflineOptimizer(random_state=0),
    "near the rows": OfflineOptimizer(trust="mahalanobis", random_state=0),
    "five surrogates": OfflineOptimizer(trust="ensemble", random_state=0),
}
print(f"best measured value {y.max():.1f}, best possible -0.4")
for name, model in models.items():
    rows = model.fit(X, y).propose(3)
    report = model.report(rows, oracle=truth)
    print(name, report.round(1).to_dict("list"))

# %%
# Left: measured designs, the true values as lines, and the candidates. Right: what the
# surrogates believe of their candidates against the truth; below the line is
# disappointment.
grid = np.linspace(0, 1, 80)
Z = truth(np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)).reshape(80, 80)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
axes[0].contour(grid, grid, Z, levels=-np.geomspace(300, 1, 12), cmap="Greys")
axes[0].scatter(*X.T, s=4, color="0.6")
for (name, model), color in zip(
    models.items(), ("#d1495b", "#1f6f8b", "#edae49"), strict=True
):
    rows = model.candidates_
    axes[0].scatter(*rows.T, s=22, color=color, label=name)
    axes[1].scatter(model.predict(rows), truth(rows), s=22, color=color, label=name)
axes[0].set(xlabel="first column", ylabel="second column")
axes[1].axline((-20, -20), slope=1, color="0.5", lw=1)
axes[1].axhline(y.max(), color="0.5", lw=1, ls="--", label="best measured value")
axes[1].set(xlabel="believed value", ylabel="true value")
_ = axes[1].legend()
