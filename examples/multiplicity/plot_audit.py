"""
Audit of a credit score
=======================

A lender scores applicants by a logistic regression. Many other logistic regressions fit
its records practically as well, and some applicants would be refused by one of them and
accepted by another. This audit finds whose decisions are arbitrary, how much of that a
single other model could change, whether the conclusion hangs on the tolerance, and what
it would cost to send the arbitrary cases to a person.
"""

# %%
# The records
# -----------
# Generated: income and debts drive default, and a tenth of the applicants, those with a
# short credit history, have noisier records.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdiff.multiplicity import (
    CoefficientRangeDisplay,
    ModelListMultiplicity,
    RashomonClassifier,
    RashomonRangeDisplay,
    ToleranceProfileDisplay,
    last_layer_features,
    last_layer_multiplicity,
    leaf_features,
    leaf_multiplicity,
)

rng = np.random.default_rng(0)
n = 3000
short = rng.uniform(size=n) < 0.1
X = pd.DataFrame(
    {
        "income": rng.lognormal(10.2, 0.5, n),
        "debt_ratio": rng.beta(2, 5, n),
        "late_payments": rng.poisson(np.where(short, 0.6, 1.2)),
        "age": rng.normal(np.where(short, 27, 45), 8).clip(18, 80),
        "employment": rng.choice(
            ["fixed", "temporary", "self"], n, p=[0.6, 0.25, 0.15]
        ),
    }
)
risk = (
    -1.1 * (np.log(X["income"]) - 10.2) / 0.5
    + 4.5 * (X["debt_ratio"] - 0.3)
    + 0.6 * (X["late_payments"] - 1.1)
    + 0.5 * (X["employment"] == "temporary")
    - 1.0
)
noise = rng.logistic(size=n) * np.where(short, 1.5, 0.7)
y = (risk + noise > 0).astype(int).to_numpy()
X["history"] = np.where(short, "short", "long")
X, X_new, y, y_new = train_test_split(X, y, test_size=0.5, random_state=0)
history_new = X_new["history"]

# %%
# The score and its set
# ---------------------
# The tolerance is the likelihood-ratio region of 95 %: models that the records cannot
# tell from the best one. New applicants are audited; the set is that of the records.
columns = make_column_transformer(
    (OneHotEncoder(drop="first"), ["employment", "history"]),
    remainder=StandardScaler(),
)
score = make_pipeline(columns, LogisticRegression())
audit = RashomonClassifier(
    score, epsilon=0.05, epsilon_type="lr", threshold=0.4, random_state=0
).fit(X, y)
print(f"tolerance {audit.epsilon_ / audit.objective_:.2%} of the best objective")
print(f"{audit.ambiguity(X_new):.1%} of the decisions are arbitrary")

# %%
# The band is the range of each applicant's probability of default; red applicants are
# refused by one model of the set and accepted by another.
RashomonRangeDisplay.from_estimator(audit, X_new).plot()

# %%
# No single model changes all of these at once. The bracket is proven: no model of the
# set changes more than the upper share, and one is returned that changes the lower.
lower, upper, other = audit.discrepancy(X_new)
changed = (other.predict_proba(X_new)[:, 1] > 0.4) != audit.predict(X_new)
print(f"one model changes between {lower:.1%} and {upper:.1%}; here it is: ")
print(f"it changes {changed.mean():.1%}")

# %%
# Who bears it
# ------------
table = audit.report(X_new, y_new, groups=history_new, deltas=(0.1,))
shown = ["group", "n", "mean_width", "conflict_ratio", "ambiguity_0.1", "loss"]
print(table[shown].round(3).to_string(index=False))
low, high = table[["conflict_ratio_low", "conflict_ratio_high"]].iloc[2]
print(f"short history: {low:.1%} to {high:.1%} of decisions arbitrary (95 %)")

# %%
# The shares depend on the tolerance; the order of the groups should not. Read the
# profile as a whole instead of defending a single number.
wide = RashomonClassifier(score, epsilon=0.01, threshold=0.4).fit(X, y)
ToleranceProfileDisplay.from_estimator(wide, X_new, groups=history_new).plot()

# %%
# Which reasons are certain
# -------------------------
# A coefficient of either sign is no reason to give to an applicant.
CoefficientRangeDisplay.from_estimator(audit).plot()

# %%
# What abstention costs and brings
# --------------------------------
# Arbitrary decisions can be withheld and sent to a person: ``predict(abstain=True)``.
# The curve shows the accuracy of the decisions that remain, that of those withheld, and
# of the simple alternative: withhold as many applicants nearest to the threshold.
decisions = audit.predict(X_new, abstain=True, abstain_label="person")
print(pd.Series(decisions).value_counts().to_dict())
curve = wide.abstention_curve(X_new, y_new, np.geomspace(1e-4, 0.1, 12))
_, ax = plt.subplots(layout="constrained")
ax.plot(curve["coverage"], curve["accuracy"], "o-", label="decided: the set agrees")
ax.plot(
    curve["coverage"],
    curve["accuracy_by_margin"],
    "s--",
    color="0.5",
    label="decided: far from the threshold",
)
ax.plot(curve["coverage"], curve["accuracy_withheld"], "o:", label="withheld")
ax.set(xlabel="Share of applicants decided", ylabel="Accuracy")
ax.legend(frameon=False)
print(curve.round(3).to_string(index=False))

# %%
# Refits see too little
# ---------------------
# Fifty bootstrap refits are the usual way to look for multiplicity. They show something
# else (what another sample of records would have given), and as an estimate of the set
# they are an inner bound: refits within the tolerance cover a part of the ranges.
refits = []
for seed in range(50):
    rows = np.random.default_rng(seed).integers(0, len(X), len(X))
    refits.append(
        make_pipeline(columns, LogisticRegression()).fit(X.iloc[rows], y[rows])
    )
seen = ModelListMultiplicity.from_models(
    [audit.estimator_, *refits],
    X,
    y,
    baseline=0,
    scoring="neg_log_loss",
    tolerance=audit.epsilon_,
)
exact = np.diff(audit.predict_proba_range(X)).mean()
print(f"{len(seen.kept_) - 1} of 50 refits are within the tolerance; they cover")
print(f"{np.diff(seen.range()).mean() / exact:.0%} of the mean width")

# %%
# A network instead
# -----------------
# The last layer of a network is a logistic regression on its hidden units, so the same
# audit holds for it, given what the hidden units have learned (experimental).
network = make_pipeline(columns, MLPClassifier(8, alpha=1.0, solver="lbfgs"))
network.set_params(mlpclassifier__random_state=0, mlpclassifier__max_iter=2000)
network.fit(X, y)
layer = last_layer_multiplicity(network, X, y, epsilon=0.05, epsilon_type="lr")
print(f"{last_layer_features(network, X_new).shape[1]} hidden units;")
print(f"{layer.ambiguity(X_new):.1%} of the labels depend on the last layer alone")

# %%
# A forest instead
# ----------------
# A forest is a linear model on its leaves. All nearly optimal values of the leaves,
# given the trees, are audited in the same way. Groups are compared over all of them.
forest = RandomForestClassifier(10, max_depth=2, random_state=0)
forest.fit(columns.fit_transform(X), y)
leaves = leaf_multiplicity(forest, columns.transform(X), y, epsilon=0.02)
X_forest = columns.transform(X_new)
print(f"{leaf_features(forest, X_forest).shape[1]} leaves;")
print(f"{leaves.ambiguity(X_forest):.1%} of the labels depend on their values alone")
found = leaves.fairness_range(X_forest, groups=X_new["age"] > 40)
print(f"selection rates differ by {found.low:.3f} to {found.high:.3f}")
plt.show()
