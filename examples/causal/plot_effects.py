"""
Effect of a programme by group
==============================

A programme went to those who needed it most, so a difference of means suggests harm. An
R-learner compares residuals of outcome and programme instead, finds whom it helps, and
states intervals. On a graph of contacts the effect depends on a person's
neighbours: there the features of the final stage decide whether it is found.
"""

# %%
# Patients and outcomes are real (the diabetes table, standardised, resampled to 2 000
# rows with noise); the programme is simulated, so that its effect is known. It lowers
# the progression by 60 for the heaviest third and by 10 for others, and was given the
# more often the heavier a patient.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV
from sklearn.neighbors import kneighbors_graph
from sklearn.tree import DecisionTreeRegressor

from skdiff.causal import GraphRLearner, RLearner

rng = np.random.default_rng(0)
X, y = load_diabetes(return_X_y=True, as_frame=True)
X /= X.std()
rows = rng.integers(len(X), size=2000)
X, y = X.iloc[rows].reset_index(drop=True), y.to_numpy()[rows]
X = X + 0.1 * rng.normal(size=X.shape)
heavy = X["bmi"] > X["bmi"].quantile(2 / 3)
effect = np.where(heavy, -60.0, -10.0)
joined = rng.random(2000) < 1 / (1 + np.exp(-1.2 * X["bmi"]))
y = y + effect * joined
print(f"difference of means {y[joined].mean() - y[~joined].mean():.1f}", end=", ")
print(f"true average {effect.mean():.1f}")

# %%
# The effect may depend on body mass and age; the other columns only control.
group, controls = X[["bmi", "age"]], X.drop(columns=["bmi", "age"])
model = RLearner(RidgeCV(), LogisticRegression(), random_state=0)
model.fit(group, y, treatment=np.where(joined, "programme", "none"), W=controls)
low, high = model.ate_interval_
print(f"R-learner {model.ate_:.1f}, 95 % interval {low:.1f} to {high:.1f}")

# %%
# Which final stage? The cross-validated R-loss compares them on the same residuals.
# The tree sees the step that least squares smooths.
finals = {
    "least squares": LinearRegression(),
    "tree of 4 leaves": DecisionTreeRegressor(max_leaf_nodes=4, min_samples_leaf=100),
    "deep tree": DecisionTreeRegressor(random_state=0),
}
print(model.final_stage_report(finals).round(3))
linear = model.effect(group)
model.refit_final(finals["tree of 4 leaves"])  # no nuisance model is fitted again
thirds = pd.qcut(X["bmi"], 3, labels=["light", "middle", "heavy"])
groups = pd.DataFrame({"true": effect, "linear": linear, "tree": model.effect(group)})
by_third = groups.groupby(thirds, observed=True).mean()

# %%
# A programme on a graph: the effect is 1 plus 4.9 times the neighbours' mean of the
# first column. The nuisance models see the neighbourhood in both fits, the final stage
# in one.
n = 1500
graph = kneighbors_graph(rng.uniform(size=(n, 2)), 6)
Z = rng.normal(size=(n, 6))
around = graph @ Z / 6
chance = 1 / (1 + np.exp(-0.7 * (Z[:, 0] + 2 * around[:, 1])))
treated = rng.random(n) < chance
truth = 1 + 4.9 * around[:, 0]
outcome = Z[:, 1] + 2 * around[:, 2] + treated * truth + rng.normal(size=n)
on_graph = GraphRLearner(RidgeCV(), LogisticRegression(), random_state=0)
on_graph.fit(Z, outcome, treatment=treated, adjacency=graph)
wide = on_graph.effect(Z)
report = on_graph.final_stage_report({"least squares": LinearRegression()})
print(report[["r_loss_graph", "r_loss_own"]].round(2))
on_graph.set_params(final_features="own").refit_final(LinearRegression())

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.7), layout="constrained")
colors = ["0.6", "#1f6f8b", "#d1495b"]
by_third.plot.bar(ax=axes[0], color=colors, rot=0, xlabel="patients")
axes[0].set(ylabel="effect of the programme", title="by third of body mass")
for name, found, color in (
    ("own columns", on_graph.effect(Z), "#d1495b"),
    ("neighbourhood", wide, "#1f6f8b"),
):
    error = np.mean((found - truth) ** 2)
    label = f"{name}: squared error {error:.2f}"
    axes[1].plot(truth, found, ".", ms=3, color=color, label=label)
axes[1].axline((1, 1), slope=1, color="0.7", zorder=0)
axes[1].set(xlabel="true effect", ylabel="estimated effect", title="on a graph")
_ = axes[1].legend(title="final stage")
