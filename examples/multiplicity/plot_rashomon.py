"""
Which predictions are arbitrary?
================================

Many logistic models fit a table practically as well as the best one. Here we compute,
for each patient of the breast cancer table, how far the probability can move among all
models whose objective is within 1 % of the best, and compare the exact range with what
refits on fewer rows would have shown.
"""

# %%
# Fit and query
# -------------
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.multiplicity import (
    RashomonClassifier,
    RashomonRangeDisplay,
    RashomonRegressor,
    multiplicity_report,
)

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
pipeline = make_pipeline(StandardScaler(), LogisticRegression())
model = RashomonClassifier(pipeline, epsilon=0.01).fit(X, y)
print(f"{model.conflicts(X).sum()} of {len(X)} rows change side")

# %%
# The band is the exact range of each row; red rows are predicted benign by one nearly
# optimal model and malignant by another.
RashomonRangeDisplay.from_estimator(model, X).plot()

# %%
# Refits see less
# ---------------
# Refits without a random 2 % of the rows that lie within the same tolerance cover only
# a part of the exact range: samples are inner bounds.
Z = model.estimator_[0].transform(X)
low, high = model.predict_proba_range(X).T
inside = []
for seed in range(100):
    kept = np.random.default_rng(seed).uniform(size=len(X)) > 0.02
    refit = clone(pipeline[-1]).fit(Z[kept], y[kept])
    f = Z @ refit.coef_[0] + refit.intercept_[0]
    loss = np.mean(np.logaddexp(0, f) - y * f) + np.sum(refit.coef_**2) / 2 / len(X)
    if loss <= model.objective_ + model.epsilon_:
        inside.append(1 / (1 + np.exp(-f)))
print(f"{len(inside)} of 100 refits are within 1 % of the best objective")
seen = np.ptp(inside, axis=0)
print(f"they cover {np.mean(seen) / np.mean(high - low):.0%} of the exact width")

# %%
# Who bears it
# ------------
# The report tells the burden by group, with Wilson intervals; here by tumour size.
groups = np.where(X["mean radius"] > X["mean radius"].median(), "large", "small")
table = multiplicity_report(pipeline, X, y, groups=groups)
print(table[["group", "n", "mean_width", "conflict_ratio"]].round(3))

# %%
# The same for regression, where the ranges have a closed form.
D, t = load_diabetes(return_X_y=True, as_frame=True)
ridge = RashomonRegressor(epsilon=0.01).fit(D, t)
print(ridge.predict_range(D.iloc[:3]).round(1))
