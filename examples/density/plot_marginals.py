"""
Impute and query a census-like table
====================================

A table of people: numbers and categories, with a tenth of the cells missing. We learn
the joint distribution of all columns, once as a mixture of latent classes and once with
networks for marginals. Either model fills the gaps, gives the distribution of any
columns given any others, scores rows that are not complete, and draws new ones.
"""

# %%
# A table with gaps
# -----------------
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer

from skdiff.density import LatentClassModel, MarginalImputer, MarginalizationModel

rng = np.random.default_rng(0)
n = 3000
age = rng.gamma(6, 7, n).clip(17, 90).round()
school = np.digitize(rng.normal(size=n) - 0.01 * (age - 45), [-0.8, 0.3, 1.1])
skill = school + 0.03 * np.minimum(age, 50) + rng.normal(scale=0.7, size=n)
work = np.where(age > 66, "retired", np.where(skill > 2.6, "office", "manual"))
work[rng.uniform(size=n) < 0.07] = "none"
hours = np.select(
    [work == "retired", work == "none"], [0, 0], rng.normal(40, 6, n).round()
).clip(0, 80)
rich = skill + 0.04 * hours + rng.logistic(scale=0.4, size=n) > 4.2
people = pd.DataFrame(
    {
        "age": age,
        "school": np.array(["basic", "high school", "college", "graduate"])[school],
        "work": work,
        "hours": hours,
        "married": np.where(rng.uniform(size=n) < 0.2 + age / 120, "yes", "no"),
        "income": np.where(rich & (hours > 0), "high", "low"),
    }
).astype(dict.fromkeys(("school", "work", "married", "income"), object))
holes = rng.uniform(size=people.shape) < 0.1
broken = people.mask(holes)
train, test = broken[:2000], broken[2000:]

# %%
# Two models of all columns
# -------------------------
# Numbers of more than twelve values are binned, and scores are densities in them: the
# logarithm of a probability per year of age and per hour of work.
classes = LatentClassModel(max_categories=12, random_state=0).fit(train)
networks = MarginalizationModel(
    (64, 64), max_iter=30, marginal_max_iter=30, max_categories=12, random_state=0
).fit(train)
alone = LatentClassModel(1, max_categories=12).fit(train)
for name, model in {
    "independent columns": alone,
    f"{classes.n_components_} latent classes": classes,
    "networks": networks,
}.items():
    print(f"{name:20} log-probability of test rows {model.score(test):.3f}")

# %%
# Fill the gaps
# -------------
truth, hidden = people[2000:], holes[2000:]
categories = ["school", "work", "married", "income"]
for name, imputer in {
    "most frequent": SimpleImputer(strategy="most_frequent").fit(train),
    "latent classes": MarginalImputer(classes, random_state=0).fit(train),
    "networks": MarginalImputer(networks, random_state=0).fit(train),
}.items():
    filled = pd.DataFrame(imputer.transform(test), columns=people.columns)
    found = [
        (filled[c].to_numpy() == truth[c].to_numpy())[
            hidden[:, people.columns.get_loc(c)]
        ]
        for c in categories
    ]
    print(f"{name:15} {np.concatenate(found).mean():.3f} of hidden categories found")

# %%
# Query it
# --------
# The distribution of income by school among people of fifty who are married, summed
# over all other columns; beside it the frequencies in the table, where there are few.
query = {"age": 50.0, "married": "yes"}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
near = people[(people["age"] - 50).abs().lt(4) & (people["married"] == "yes")]
order = ["basic", "high school", "college", "graduate"]
for k, (name, model) in enumerate({"classes": classes, "networks": networks}.items()):
    table = model.query(query, ["school", "income"])
    high = table[:, 0] / table.sum(axis=1)
    place = [list(model.categories_[1]).index(s) for s in order]
    axes[0].bar(np.arange(4) + 0.27 * k, high[place], 0.25, label=name)
share = near.groupby("school")["income"].apply(lambda v: (v == "high").mean())
axes[0].bar(
    np.arange(4) + 0.54, share.reindex(order), 0.25, label="table, age 46 to 54"
)
axes[0].set_xticks(np.arange(4) + 0.27, order)
axes[0].set(ylabel="P(high income)", title="Married, age 50")
axes[0].legend()

# %%
# Any subset has a marginal, in one evaluation: rows with gaps are scored as they are.
# A strange combination stands out although none of its values is rare.
odd = test.copy()
odd["work"], odd["hours"] = "retired", 45.0
ordinary, strange = (
    classes.conditional_log_prob(rows, ["work", "hours"]) for rows in (test, odd)
)
for values, label in ((ordinary, "test rows"), (strange, "retired, 45 hours a week")):
    axes[1].hist(values, bins=30, alpha=0.7, density=True, label=label)
axes[1].set(xlabel="log P(work, hours | rest)", title="Rows that do not fit")
axes[1].legend()

# %%
# New people, given what is known of them.
print(classes.sample(5, given={"work": "office", "income": "low"}, random_state=0))
print(f"one-step error of the networks: {networks.consistency_error_:.3f} nats")
