"""
The probability of a rare last class
====================================

Bottles of wine are graded; few are excellent. Logistic regression on "excellent or not"
sees only those few, proportional odds sees all grades through one direction.
:class:`~skdiff.linear_model.PRESTOClassifierCV` lets each threshold have its own
direction and shrinks neighbours towards each other.
"""

# %%
# Data drawn as in the paper: four ordered classes, the last one rare, thresholds whose
# coefficients differ in some columns. The true probability of the last class is known.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from skdiff.linear_model import (
    PRESTOClassifier,
    PRESTOClassifierCV,
    ProportionalOddsClassifier,
)

rng = np.random.default_rng(1)
n, p = 2500, 10
psi = np.zeros((3, p))
psi[0, ::2] = 0.5
psi[1:] = 0.5 * rng.choice([-1, 1], (2, p)) * (rng.random((2, p)) < 1 / 3)
X = rng.uniform(-1, 1, (n, p))
cumulative = 1 / (1 + np.exp(-(np.array([0, 3.5, 5.5]) + X @ np.cumsum(psi, axis=0).T)))
y = (rng.random(n)[:, None] > cumulative).sum(axis=1)
truth = 1 - cumulative[:, 2]
print("rows of each class", np.bincount(y))

# %%
# All three are fitted to the same rows. The likelihood-ratio test rejects one
# direction for all thresholds.
models = {
    "logistic, last class or not": LogisticRegression(C=np.inf).fit(X, y == 3),
    "proportional odds": ProportionalOddsClassifier().fit(X, y),
    "PRESTO": PRESTOClassifierCV().fit(X, y),
}
print(models["proportional odds"].lr_test_parallel(X, y))
found = {name: model.predict_proba(X)[:, -1] for name, model in models.items()}
for name, q in found.items():
    print(f"{name:28s} mean squared error x 1e5: {1e5 * np.mean((q - truth) ** 2):.2f}")

# %%
# Left: estimates against the truth. Right: the coefficients along the path of
# penalties; those of neighbouring thresholds part only where the data demand it.
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
colors = {"PRESTO": "#1f6f8b", "proportional odds": "#edae49"}
for name, q in found.items():
    color = colors.get(name, "#d1495b")
    axes[0].loglog(truth, q, ".", ms=2.5, color=color, label=name, alpha=0.5)
low, high = truth.min(), truth.max()
axes[0].plot([low, high], [low, high], color="0.3", lw=1)
axes[0].set(xlabel="true probability of the last class", ylabel="estimate")
axes[0].set_ylim(low / 10, high * 10)
axes[0].legend(markerscale=4, fontsize=8)

best = models["PRESTO"]
path = np.array([PRESTOClassifier(a).fit(X, y).coef_ for a in best.alphas_])
styles = ("-", "--", ":")
for k, style in enumerate(styles):
    axes[1].semilogx(best.alphas_, path[:, k, :4], style, lw=1.2)
    axes[1].set_prop_cycle(None)
axes[1].axvline(best.alpha_, color="0.6", lw=1)
axes[1].invert_xaxis()
axes[1].set(xlabel="alpha", ylabel="coefficients of four columns (line: threshold)")
