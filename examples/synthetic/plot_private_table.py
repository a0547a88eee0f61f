"""
Release a synthetic table with a stated (epsilon, delta)
========================================================

A clinic has a table of patients and wants to publish something that students can train
classifiers on. What is declared of the columns is public; the counts are measured with
noise; the synthetic rows are made from the noisy counts alone.
"""

# %%
# Levels and bounds come from the code book, not from the rows. Three budgets are tried
# here to show the cost; on private rows each of them would be spent, and a shared
# accountant counts them.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from skdiff.synthetic import (
    MarginalsDisplay,
    PrivacyAccountant,
    PrivacyBudgetError,
    PrivateGSDSynthesizer,
    TableSchema,
)

rng = np.random.default_rng(0)
n = 12_000
age = np.clip(rng.gamma(9, 6, n), 18, 95).round()
smoker = rng.choice(["never", "former", "daily"], n, p=[0.55, 0.3, 0.15])
pressure = 95 + 0.5 * age + 8 * (smoker == "daily") + rng.normal(0, 12, n)
risk = (age - 60) / 12 + (pressure - 130) / 15 + 1.2 * (smoker == "daily")
ill = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(1.5 - risk)), "yes", "no")
patients = pd.DataFrame(
    {"age": age.astype(int), "smoker": smoker, "pressure": pressure, "ill": ill}
)
train, test = patients[:9000], patients[9000:]

schema = TableSchema(
    {
        "age": (18, 95),
        "smoker": ["never", "former", "daily"],
        "pressure": (60, 240),
        "ill": ["no", "yes"],
    }
)
budget = PrivacyAccountant(0.3)
released = {}
for epsilon in (0.1, 1.0, 4.0):
    model = PrivateGSDSynthesizer(schema, epsilon, accountant=budget, random_state=0)
    released[epsilon] = model.fit(train)
    print(model.privacy_spent_, model.selection_, f"{len(model.ledger_)} entries")
print(budget)
try:
    model.fit(train)
except PrivacyBudgetError as error:
    print(error)

# %%
# One-way marginals, and what a classifier trained on synthetic rows is worth on real
# patients.


def area(rows):
    """Area under the curve on real patients."""
    codes = schema.encode(rows)
    trees = HistGradientBoostingClassifier(random_state=0)
    trees.fit(codes[:, :3], codes[:, 3])
    found = trees.predict_proba(schema.encode(test)[:, :3])[:, 1]
    return roc_auc_score(test["ill"] == "yes", found)


figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
bins = np.linspace(60, 240, 33)
axes[0].hist(train["pressure"], bins, density=True, color="0.8", label="private rows")
axes[1].hist(train["age"], np.arange(18, 97, 3), density=True, color="0.8")
for (epsilon, model), color in zip(
    released.items(), ("#edae49", "#1f6f8b", "#d1495b"), strict=True
):
    rows = model.sample(random_state=0)
    style = {"density": True, "histtype": "step", "color": color}
    axes[0].hist(rows["pressure"], bins, label=f"epsilon {epsilon:g}", **style)
    axes[1].hist(rows["age"], np.arange(18, 97, 3), **style)
axes[0].set(xlabel="pressure", ylabel="density")
axes[1].set(xlabel="age")
axes[0].legend(fontsize=8)
scores = {"private\nrows": area(train)}
scores |= {
    f"epsilon\n{epsilon:g}": area(model.sample(random_state=0))
    for epsilon, model in released.items()
}
alone = train.apply(lambda column: rng.permutation(column.to_numpy()))
scores["independent\ncolumns"] = area(alone)
axes[2].bar(list(scores), list(scores.values()), color="#1f6f8b")
axes[2].set(ylim=(0.45, 0.9), ylabel="area under the curve, real patients")
axes[2].tick_params(axis="x", labelsize=8)
print({name.replace("\n", " "): round(value, 3) for name, value in scores.items()})

# %%
# The owner, who holds the rows, can compare. This report is not private.
report = released[1.0].error_report(train)
print(report)
print(report.frame().round(4).to_string(index=False))
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for ax, (epsilon, model) in zip(axes, released.items(), strict=True):
    MarginalsDisplay.from_estimator(model, train, n_columns=2).plot(ax)
    ax.set(title=f"epsilon {epsilon:g}")

# %%
# Other statistics than marginals can be measured as well: ranges of nested bins, boxes,
# half-spaces and predicates. Noise is added to each according to its sensitivity.
from skdiff.synthetic import (
    HalfspaceQueries,
    MarginalQueries,
    PredicateQueries,
    PrefixQueries,
    PrivacySpent,
    RangeQueries,
)

queries = [
    MarginalQueries(columns=("smoker", "ill")),
    RangeQueries(2, depths=(3, 5)),
    PrefixQueries(n_boxes=20),
    HalfspaceQueries(n_halfspaces=20),
    PredicateQueries([{"age": (65, 95), "ill": ["yes"]}]),
]
for family in queries:
    family.fit_schema(schema)
    print(type(family).__name__, family.n_queries, family.sensitivity_sq("replace-one"))
model = PrivateGSDSynthesizer(schema, 1.0, queries=queries, random_state=0).fit(train)
assert isinstance(model.privacy_spent_, PrivacySpent)
print(model.error_report(train))
