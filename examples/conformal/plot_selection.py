"""
Which patients are at high risk?
================================

A model ranks patients by the expected progress of their diabetes. Whom do we call, if
at most a fifth of the calls may be in vain? Here rows are selected at a level of false
discovery, and the nominal level is compared with what came over repeated splits.
"""

# %%
# Select, and see why
# -------------------
# A patient is a *discovery* if the disease progresses beyond 200. The selector trains
# on half of the labelled patients, calibrates on the other half, and selects from a
# batch of new ones.
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import ShuffleSplit, train_test_split

from skdiff.conformal import (
    ConformalSelectionDisplay,
    ConformalSelector,
    CrossFitConformalSelector,
    OptimizedConformalSelector,
    auxiliary_selection_sizes,
    benjamini_hochberg,
    conformal_p_values,
    e_benjamini_hochberg,
)

X, y = load_diabetes(return_X_y=True)
X_labelled, X_new, y_labelled, y_new = train_test_split(X, y, random_state=0)

selector = ConformalSelector(
    Ridge(0.01), threshold=200, fdr_level=0.2, random_state=0
).fit(X_labelled, y_labelled)
selected = selector.select(X_new)
print(f"{selected.sum()} of {len(X_new)} selected")
print(f"{(y_new[selected] <= 200).sum()} of them in vain")

# %%
# Every new patient has a p-value against "no discovery". Those under the line of
# Benjamini and Hochberg are selected.
ConformalSelectionDisplay.from_estimator(selector, X_new).plot()

# %%
# Nominal and realised
# --------------------
# One batch proves nothing: the guarantee is about the average over labelled rows and
# batches. So we draw 100 splits of the table, and compare three selectors and the usual
# way, which calls all patients whose prediction is above 200.
levels = np.arange(1, 11) / 20
options = {"threshold": 200, "random_state": 0}
selectors = {
    "one model": ConformalSelector(Ridge(0.01), **options),
    "two models": OptimizedConformalSelector([Ridge(0.01), Ridge(10.0)], **options),
    "cross-fit": CrossFitConformalSelector(Ridge(0.01), cv=5, **options),
}
shares = {name: [] for name in [*selectors, "prediction > 200"]}
splits = ShuffleSplit(100, train_size=0.5, test_size=0.5, random_state=0)
for labelled, new in splits.split(X):
    discovery = y[new] > 200
    answers = {
        name: s.fit(X[labelled], y[labelled]).select(X[new], fdr_level=levels)
        for name, s in selectors.items()
    }
    usual = Ridge(0.01).fit(X[labelled], y[labelled]).predict(X[new]) > 200
    answers["prediction > 200"] = np.tile(usual, (len(levels), 1))
    for name, answer in answers.items():
        wrong = (answer & ~discovery).sum(axis=1) / np.maximum(answer.sum(axis=1), 1)
        found = (answer & discovery).sum(axis=1) / discovery.sum()
        shares[name].append((wrong, found))
at = list(levels).index(0.2)
for name, values in shares.items():
    wrong, found = np.mean(values, axis=0)[:, at]
    print(f"{name:17s} in vain {wrong:.2f}, found {found:.2f}")

# %%
# The selectors keep the level of 0.2; the usual way does not know one. Over levels, the
# realised rate of false discoveries follows the level:
wrong, found = np.mean(shares["one model"], axis=0)
ConformalSelectionDisplay(
    selector.p_values_, selected, 0.2, levels=levels, fdp=wrong, power=found
).plot(kind="levels")

# %%
# The parts by hand
# -----------------
# Scores of any model will do. A labelled discovery never competes: it has an
# infinite score; the others compete with what the model thinks of them.
forest = RandomForestRegressor(50, min_samples_leaf=5, random_state=0)
train, calibration = np.arange(0, len(y_labelled), 2), np.arange(1, len(y_labelled), 2)
forest.fit(X_labelled[train], y_labelled[train])
known = np.where(
    y_labelled[calibration] > 200, np.inf, -forest.predict(X_labelled[calibration])
)
asked = -forest.predict(X_new)
p = conformal_p_values(known, asked, randomized=False)
plain = benjamini_hochberg(p, 0.3)
print(f"{plain.sum()} selected by p-values")

# %%
# OptCS chooses between models by the auxiliary sizes R. With one model its e-values
# select what the p-values did.
R = auxiliary_selection_sizes(known, asked, 0.3)
first = p <= 0.3 * R / len(p)
e = np.where(first, len(p) / (0.3 * R), 0.0)
print(f"{e_benjamini_hochberg(e, 0.3).sum()} selected by e-values")
