"""
Stop early, continue, resume
============================

Dozens of settings of a linear classifier on digits, trained by epochs. One bracket of
Hyperband stops most of them early, all brackets hedge against stopping too early, and a
finished search is resumed with a larger budget without training anything twice.
"""

# %%
# The plan
# --------
# Nine settings start with one epoch; the best third goes on to three, and so on.
# Bracket 0 stops nothing early.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from skdiff.model_selection import HyperbandSearchCV

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, train_size=400, random_state=0, stratify=y
)
search = HyperbandSearchCV(
    SGDClassifier(learning_rate="constant", eta0=0.01, random_state=0),
    {"alpha": loguniform(1e-6, 1), "eta0": loguniform(1e-5, 1)},
    resource="partial_fit",
    max_resource=9,
    cv=3,
    warm_start=True,
    random_state=0,
)
for bracket, rung, n, epochs in search.get_schedule():
    print(f"bracket {bracket}, rung {rung}: {n} settings trained up to {epochs} epochs")

# %%
# The search
# ----------
# ``resource_used_`` counts epochs on a fold. As many settings trained in full would
# have taken more than twice as many.
search.fit(X_train, y_train)
full = search.n_candidates_ * 9
print(f"{search.resource_used_} epochs for {search.n_candidates_} settings, not {full}")
print(f"best: {search.best_params_}")
print(f"accuracy on unseen rows: {search.score(X_test, y_test):.3f}")

# %%
# Deeper
# ------
# Three times the epochs. What has been trained is continued: the cost is the difference
# of the two schedules.
before = search.resource_used_
search.set_params(max_resource=27).fit(X_train, y_train)
print(f"{search.resource_used_ - before} more epochs, {search.resource_used_} in all")
print(f"accuracy on unseen rows: {search.score(X_test, y_test):.3f}")

# %%
# The figure
# ----------
# Each line is a setting of the most explorative bracket on its way up.
results = search.cv_results_
figure, ax = plt.subplots(layout="constrained")
first = results["bracket"] == results["bracket"].max()
for eta0, alpha in {
    (p["eta0"], p["alpha"])
    for p, mine in zip(results["params"], first, strict=True)
    if mine
}:
    same = first & (results["param_eta0"] == eta0) & (results["param_alpha"] == alpha)
    last = np.asarray(results["resource"])[same].max()
    ax.plot(
        results["resource"][same],
        results["mean_test_score"][same],
        marker="o",
        color="#1f6f8b" if last == 27 else "#9cc5d3",
        zorder=last,
    )
ax.set(xscale="log", xlabel="Epochs", ylabel="Accuracy over the folds")
ax.set_xticks([1, 3, 9, 27], labels=["1", "3", "9", "27"])
plt.show()
