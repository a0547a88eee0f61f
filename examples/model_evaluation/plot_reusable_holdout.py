"""
A validation set that survives hundreds of looks
================================================

Labels are coin flips, yet a classifier whose columns were chosen with the help of a
validation set looks 60 % accurate on that same set. A reusable holdout set shows the
truth, and counts how often it was really needed.
"""

# %%
# As many columns as rows, and nothing to learn: columns whose correlation with the
# label has the same sign on both sets are kept, and the strongest of them vote.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skdiff.model_evaluation import (
    BudgetExhausted,
    ReusableHoldout,
    ReusableHoldoutDisplay,
    make_reusable_scorer,
)

n = 1500
rng = np.random.default_rng(0)
y = rng.choice([-1.0, 1.0], size=(3, n))  # training, validation and fresh rows
X = rng.normal(size=(3, n, n))
train, hold = X[0].T @ y[0] / n, X[1].T @ y[1] / n


def accuracies(query, sizes):
    """What the analyst sees, and the accuracy on fresh rows."""
    seen, bound = query(train, hold), 1 / np.sqrt(n)
    agree = (np.sign(seen) == np.sign(train)) & (np.abs(seen) > bound)
    chosen = agree & (np.abs(train) > bound)
    order = np.argsort(-np.abs(train) * chosen)[: chosen.sum()]
    found = []
    for k in sizes:
        columns = order[:k]
        right = [
            np.mean(np.sign(X[s][:, columns] @ np.sign(train[columns])) == y[s])
            for s in range(3)
        ]
        found.append([query(right[0], right[1]), right[2]])
    return np.array(found)


# %%
# The ordinary validation set returns its mean. The reusable one returns the training
# value as long as both agree within noise, and otherwise its mean with noise, at the
# price of one unit of budget.
sizes = [31, 61, 91, 121, 151, 201, 251, 301]
guard = ReusableHoldout(value_range=(-1, 1), budget=60, random_state=0)
guard.fit(X[0], y[0], X[1], y[1])
ordinary = accuracies(lambda t, h: h, sizes)
reusable = accuracies(guard.query, sizes)
print(f"{guard.n_queries_} queries, {guard.n_overfit_} of them overfitted")

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(sizes, ordinary[:, 0], "o-", color="#d1495b", label="validation set")
ax.plot(sizes, reusable[:, 0], "o-", color="#1f6f8b", label="reusable holdout set")
ax.plot(sizes, ordinary[:, 1], "s--", color="#6b6b6b", label="fresh rows, first choice")
ax.plot(sizes, reusable[:, 1], "^--", color="0.7", label="fresh rows, second choice")
ax.axhline(0.5, color="0.85", zorder=0)
ax.set(xlabel="chosen columns", ylabel="accuracy")
ax.legend()

# %%
# Every query is in the log. The validation values themselves are not, as they would
# undo the protection.
_ = ReusableHoldoutDisplay.from_estimator(guard).plot()

# %%
# A budget that is used up ends the queries. What was within it is not lost.
small = ReusableHoldout(value_range=(-1, 1), budget=5, random_state=0)
small.fit(X[0], y[0], X[1], y[1])
try:
    small.query(train, hold)
except BudgetExhausted as error:
    print(f"{error} {len(error.values)} of {n} values were returned.")

# %%
# A search goes through a scorer, with the training set as its only fold. Four of five
# models of the 50 strongest columns overfit, and their scores are near one half.
chosen = np.argsort(-np.abs(train))[:50]
guard = ReusableHoldout(budget=5, random_state=0)
guard.fit(X[0][:, chosen], y[0], X[1][:, chosen], y[1])
every = np.arange(n)
search = GridSearchCV(
    LogisticRegression(),
    {"C": np.logspace(-4, 0, 5)},
    scoring=make_reusable_scorer(guard),
    cv=[(every, every)],
).fit(X[0][:, chosen], y[0])
print(np.round(search.cv_results_["mean_test_score"], 3))
print(guard.log_[["train", "value", "overfit", "budget_left"]].round(3))
