"""
Which tolerance, and why samples are too small
==============================================

Two choices come with every audit of equally good models: how good is equally good, and
whether drawing or refitting some models and seeing how far they disagree is enough.
Both are measured on the breast cancer table.
"""

# %%
# Four meanings of equally good
# -----------------------------
# A fraction of the best objective is a convention. A likelihood-ratio region and the
# standard error of a cross-validated loss show how good is indistinguishable. All are
# amounts of the same objective, so they stand on one axis.
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from skdiff.multiplicity import (
    ModelListMultiplicity,
    RashomonClassifier,
    ToleranceProfileDisplay,
)

X, y = load_breast_cancer(return_X_y=True)
X = scale(X)
audit = RashomonClassifier(epsilon=0.01, random_state=0).fit(X, y)
display = ToleranceProfileDisplay.from_estimator(audit, X, np.geomspace(1e-3, 1.5, 20))
ax = display.plot().ax_
for kind, epsilon, name in (
    ("relative", 0.01, "1 %"),
    ("profile", 0.05, "profile, 95 %"),
    ("cv", 1.0, "one standard error"),
    ("lr", 0.05, "likelihood ratio, 95 %"),
):
    other = RashomonClassifier(epsilon=epsilon, epsilon_type=kind, random_state=0)
    other.fit(X, y)
    share = other.epsilon_ / other.objective_
    conflicts = other.conflicts(X).sum()
    print(f"{name}: {share:.1%} of the objective, {conflicts} decisions arbitrary")
    ax.axvline(share, color="0.5", lw=0.8, ls=":")
    ax.text(share, 0.99, f" {name}", rotation=90, va="top", fontsize="small")
ax.set_xlabel("Tolerance, as a share of the best objective")
ax.get_legend().set_loc("center left")

# %%
# Samples see the middle of the set
# ---------------------------------
# Draws that are exactly uniform over the set, as many as one likes, cover about half of
# the range of a row: in 31 dimensions almost no volume is near the model that moves a
# given row most. The ranges that they show grow with the logarithm of their number.
# Bootstrap refits are not even in the set, as another sample of patients is another
# objective; those without a random 2 % of the rows are, and cover less.
low, high = audit.predict_proba_range(X).T
exact = (high - low).mean()
coef, intercept, _ = audit.sample(10_000)
P = expit(coef @ X.T + intercept[:, None])
sizes = np.unique(np.geomspace(3, 10_000, 15).astype(int))
covered = [np.ptp(P[:m], axis=0).mean() / exact for m in sizes]
found = [((P[:m] > 0.5).any(0) & (P[:m] <= 0.5).any(0)).sum() for m in sizes]


def within(models):
    """The fitted models that lie in the set."""
    kept = []
    for model in models:
        f = model.decision_function(X)
        loss = np.mean(np.logaddexp(0, f) - y * f) + np.sum(model.coef_**2) / 2 / len(X)
        if loss <= audit.objective_ + audit.epsilon_:
            kept.append(model)
    return kept


rng = np.random.default_rng(0)
bootstrap, fewer = [], []
for _ in range(200):
    rows = rng.integers(0, len(X), len(X))
    bootstrap.append(LogisticRegression().fit(X[rows], y[rows]))
    rows = rng.uniform(size=len(X)) > 0.02
    fewer.append(LogisticRegression().fit(X[rows], y[rows]))
kept = within(fewer)
seen = ModelListMultiplicity.from_models([LogisticRegression().fit(X, y), *kept], X)
share = np.diff(seen.range()).mean() / exact
print(f"{len(within(bootstrap))} of 200 bootstrap refits are within the tolerance")
print(f"{len(kept)} of 200 refits without 2 % of the rows are; they cover {share:.0%}")
print(f"{sizes[-1]} uniform draws cover {covered[-1]:.0%} and find {found[-1]} of 16")

_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.semilogx(sizes, covered, "o-", label="uniform draws")
left.plot(len(kept), share, "s", color="0.4", label="refits without 2 % of the rows")
left.axhline(1, color="0.5", ls="--", lw=0.8, label="exact")
left.set(xlabel="Models", ylabel="Share of the mean width", ylim=(0, 1.05))
left.legend(frameon=False, fontsize="small")
right.semilogx(sizes, found, "o-")
right.plot(len(kept), seen.conflicts().sum(), "s", color="0.4")
right.axhline(audit.conflicts(X).sum(), color="0.5", ls="--", lw=0.8)
right.set(xlabel="Models", ylabel="Arbitrary decisions found", ylim=(0, None))
plt.show()
