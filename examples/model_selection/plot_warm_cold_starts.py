"""
Warm starts, cold starts, and a weight decay per layer
======================================================

A search solves the same training problem over and over. To start each solve from the
last solution saves time, and where the solution is unique it changes nothing. Where
many parameters fit the rows equally well, as in a network, the start decides which of
them is found: a warm start then carries along what earlier hyperparameters have left
behind. :class:`~skdiff.model_selection.GradientSearchCV` therefore fits networks
afresh.
"""

# %%
# Projections
# -----------
# One row and two weights: every point of a line fits. Gradient descent ends in the
# point of the line nearest to its start. From a fixed start (cold) the solution belongs
# to the hyperparameter. From the last solution (warm), with two values visited in turn,
# the steps zigzag to the point that fits *both* rows, which neither value requires.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, make_gaussian_quantiles
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff.model_selection import Continuous, GradientSearchCV, GradientSearchDisplay
from skdiff.neural_network import AnyLossClassifier


def nearest(Phi, y, start):
    """Where descent on half the squares ends."""
    return start + np.linalg.pinv(Phi) @ (y - Phi @ start)


rows = {"a": np.array([[1.0, 2.0]]), "b": np.array([[2.0, 1.0]])}
target = np.array([2.0])
path = [np.zeros(2)]
for _ in range(6):
    for Phi in rows.values():
        path.append(nearest(Phi, target, path[-1]))
path = np.array(path)
both = np.linalg.solve(np.vstack(list(rows.values())), np.repeat(target, 2))
left = np.linalg.norm(path[1:] - both, axis=1)
print(f"factor of the error by step: {left[-1] / left[-2]:.4f}")
print("cosine between the rows:     0.8")

_, ax = plt.subplots(figsize=(5, 4))
x = np.array([-0.2, 1.4])
for (name, Phi), color in zip(rows.items(), ("C0", "C2"), strict=True):
    ax.plot(x, (target - Phi[0, 0] * x) / Phi[0, 1], color=color, label=f"fits {name}")
    ax.plot(*nearest(Phi, target, np.zeros(2)), "s", color=color, label=f"cold, {name}")
ax.plot(*path.T, "k.-", lw=0.8, label="warm")
ax.set(xlabel="first weight", ylabel="second weight", ylim=(-0.2, 1.5))
ax.legend(frameon=False)

# %%
# What a warm start remembers
# ---------------------------
# Ridgeless regression on four hundred random Fourier features of width ``gamma``,
# fitted to a hundred rows. Along a grid of widths the cold curve is a function of
# ``gamma``; warm curves depend on where they come from, and no refit would repeat them.
rng = np.random.default_rng(0)
X, y = (scale(part) for part in load_diabetes(return_X_y=True))
order = rng.permutation(len(X))
train, test = order[:100], order[100:]
waves, shifts = rng.normal(size=(10, 400)), rng.uniform(0, 2 * np.pi, 400)
grid = np.geomspace(1e-2, 1, 20)


def features(X, gamma):
    return np.cos(np.sqrt(2 * gamma) * X @ waves + shifts) / np.sqrt(200)


def errors(widths, warm):
    found, w = {}, np.zeros(400)
    for gamma in widths:
        w = nearest(features(X[train], gamma), y[train], w if warm else np.zeros(400))
        found[gamma] = np.mean((features(X[test], gamma) @ w - y[test]) ** 2)
    return np.array([found[gamma] for gamma in grid])


curves = {
    "cold": errors(grid, warm=False),
    "warm, from above": errors(grid[::-1], warm=True),
    "warm, from below": errors(grid, warm=True),
}
middle = np.argmin(curves["cold"])
for name, curve in curves.items():
    print(f"{name:17s} {curve[middle]:8.2f} at gamma = {grid[middle]:.2f}")

_, ax = plt.subplots(figsize=(5, 4))
for name, curve in curves.items():
    ax.loglog(grid, curve, ".-", label=name)
ax.set(xlabel="gamma", ylabel="Mean squared error on other rows")
ax.legend(frameon=False)

# %%
# A decay for each layer
# ----------------------
# Inside a ball of three columns or not, among seven of noise: a network with one weight
# decay, or one for each weight matrix, loosely tied to a common value. What either is
# worth is shown by an outer loop that no search has seen. ``refit_score_`` is the inner
# score of the chosen decays by fits from other seeds; a warning would tell if it lay
# more than two standard errors from the search's own. On tables that a nearly linear
# network fits, such as wine, the decays enter by their product alone and one is enough.
warnings.simplefilter("ignore", ConvergenceWarning)  # fits and searches are cut short
X, y = make_gaussian_quantiles(n_samples=300, n_features=3, n_classes=2, random_state=0)
X = np.hstack([X, rng.normal(size=(300, 7))])
network = AnyLossClassifier(
    hidden_layer_sizes=(16,),
    activation="tanh",
    bce_weight=1.0,  # cross-entropy alone
    warmup_iter=0,
    learning_rate_init=0.1,
    max_iter=60,
    random_state=0,
)
searches = {
    kind: GradientSearchCV(
        make_pipeline(StandardScaler(), network),
        {"anylossclassifier__alpha": Continuous(1e-4, 0.3, per=per)},
        cv=2,
        max_iter=8,
        tol=0.05,
        tie_strength=0.03,
    )
    for kind, per in {"one decay": None, "one per layer": "layer"}.items()
}
outer = StratifiedKFold(3, shuffle=True, random_state=0)
for kind, search in searches.items():
    losses = []
    for train, test in outer.split(X, y):
        search.fit(X[train], y[train])
        losses.append(log_loss(y[test], search.predict_proba(X[test])))
    print(
        f"{kind:12s} nested log loss {np.mean(losses):.4f} (folds "
        f"{np.round(losses, 3)}), in the last search {-search.search_score_:.4f}, "
        f"from other seeds {-search.refit_score_:.4f}"
    )
decays = search.best_params_["anylossclassifier__alpha"]
print(f"decays of the last search: {decays.round(4)}")

GradientSearchDisplay.from_estimator(search).plot()
