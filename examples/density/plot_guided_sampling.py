"""
Design rows with a guided sampler
=================================

A workshop has made 2000 parts, each by a recipe of eight settings. Recipes are not
arbitrary: some settings go together. We learn which recipes are plausible, and draw
recipes that are both plausible and strong according to a regression model. A second
model, trained on other parts, judges whether the first was merely exploited.
"""

# %%
# Recipes, and the strength of the parts
# --------------------------------------
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skdiff.density import GuidedSampler, LatentClassModel

rng = np.random.default_rng(0)
names = ["alloy", "mould", "heat", "cooling", "pressure", "time", "coating", "finish"]
levels = np.array(["a", "b", "c", "d"], dtype=object)
style = rng.integers(0, 5, 2000)
habits = rng.dirichlet(np.full(4, 0.7), size=(5, 8))
cut = np.cumsum(habits[style], axis=2)[..., :-1]
codes = (rng.uniform(size=(2000, 8, 1)) > cut).sum(axis=2)
effect = rng.normal(size=(8, 4))


def strength(codes):
    """Main effects, and a bonus where neighbouring settings agree."""
    agree = (codes[:, :-1] == codes[:, 1:]).sum(axis=1)
    return effect[np.arange(8), codes].sum(axis=1) + 0.8 * agree


recipes = pd.DataFrame(levels[codes], columns=names)
measured = strength(codes) + rng.normal(scale=0.5, size=2000)
guide, judge = (
    make_pipeline(
        OneHotEncoder(), RandomForestRegressor(20, min_samples_leaf=3, random_state=0)
    ).fit(recipes[part], measured[part])
    for part in (slice(0, 1000), slice(1000, 2000))
)
model = LatentClassModel(random_state=0).fit(recipes)

# %%
# Draw towards the predicted strength
# -----------------------------------
# The temperature is the strength that is worth a factor e of plausibility.
reports = {}
for temperature in (3.0, 1.0, 0.5):
    sampler = GuidedSampler(
        model,
        guide,
        temperature=temperature,
        n_candidates=4,
        n_completions=2,
        independent_reward=judge,
        random_state=0,
    )
    designed = sampler.sample(200)
    reports[temperature] = sampler.report_
    print(f"temperature {temperature}: {sampler.resampling_}")
    print(sampler.report_.round(2).to_string(), "\n")

# %%
# Reward against plausibility
# ---------------------------
# All rivals had as many calls of the reward. The best of a pool is chosen without
# regard to plausibility and has no temperature. On a table as short as this one,
# resampling a large pool of unguided rows does as well as guiding, or better; for weak
# wishes ``resampling="auto"`` takes it.
fig, axis = plt.subplots(figsize=(6, 4), constrained_layout=True)
markers = {"guided": "o", "unguided": "s", "best_of_n": "^", "importance": "v"}
for row, marker in markers.items():
    points = [report.loc[row] for report in reports.values()]
    axis.plot(
        [p["mean_log_prob"] for p in points],
        [p["mean_independent"] for p in points],
        marker,
        label=row,
    )
axis.set(xlabel="mean log-probability of the recipes", ylabel="strength (second model)")
axis.legend()

# %%
# Wishes and rules
# ----------------
# Some settings are fixed, and a rule forbids others: a reward of minus infinity.


def allowed(rows):
    """The guide's prediction, without coating d on alloy a."""
    forbidden = (rows["alloy"] == "a") & (rows["coating"] == "d")
    return np.where(forbidden, -np.inf, guide.predict(rows))


best = GuidedSampler(model, allowed, n_candidates=4, n_completions=2, random_state=0)
rows = best.sample(100, given={"alloy": "a", "heat": "b"})
print(rows.value_counts().head(3))
print(
    "true strength:",
    round(float(strength(rows.map(list("abcd").index).to_numpy()).mean()), 2),
)
print("of all recipes:", round(float(measured.mean()), 2))
