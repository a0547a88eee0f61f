"""
Fair thresholds for any score
=============================

Tumours are to be called malignant from two measurements, and the error rates should be
alike for small and large cells, two groups for which the score does not mean the same.
Thresholds for each group bound the difference of the rates, at the least cost.
"""

# %%
# Half of the rows train the model and choose the thresholds, by scores of
# cross-validation; the other half shows what they are worth.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.fairness import (
    EqualizedOddsPostprocessor,
    FairFrontierDisplay,
    GroupROCDisplay,
    group_roc_hull,
    unprocess,
)

data = load_breast_cancer()
names = list(data.feature_names)
X = data.data[:, [names.index("mean texture"), names.index("mean smoothness")]]
y = np.where(data.target == 0, "malignant", "benign")
radius = data.data[:, names.index("mean radius")]
group = np.where(radius > 14, "large", "small")
train, test = train_test_split(
    np.arange(len(y)), test_size=0.5, stratify=group, random_state=0
)

score = make_pipeline(StandardScaler(), LogisticRegression())
model = EqualizedOddsPostprocessor(score, tolerance=0.1, random_state=0)
model.fit(X[train], y[train], sensitive_features=group[train])
for name, pairs in model.thresholds_.items():
    print(name, [(round(t, 3), round(w, 3)) for t, w in pairs])
print(f"violation {model.violation_:.3f} at a cost of {model.cost_:.3f} per row")

# %%
# Left: the hull of each group, and the points that differ by at most .1 in both rates.
# Right: what a tolerance costs on the rows that were not fitted, with 95 % bars. The
# violation there is not that of the fitting rows: 280 rows are few.
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
_ = GroupROCDisplay.from_estimator(model, ax=axes[0])
_ = FairFrontierDisplay.from_estimator(
    model, X[test], y[test], sensitive_features=group[test], ax=axes[1]
)

# %%
# An interval of the violation on new rows, and the same row decided twice.
low, high = model.violation_interval(
    X[test], y[test], sensitive_features=group[test], random_state=0
)
print(f"violation on new rows, 95 % interval: {low:.2f} to {high:.2f}")
once = model.predict(X[test], sensitive_features=group[test])
again = model.predict(X[test][:3], sensitive_features=group[test][:3])
print("same decisions in another batch:", np.array_equal(once[:3], again))

# %%
# Without any bound each group has its most accurate threshold: what is left when the
# constraint is taken away.
p = model.estimator_.predict_proba(X[test])[:, 1]
result = unprocess(y[test], p, sensitive_features=group[test])
print(f"unprocessed: accuracy {result.accuracy:.3f}, violation {result.violation:.2f}")
hulls = group_roc_hull(y[test], p, sensitive_features=group[test])
print({name: len(fpr) for name, (fpr, _, _) in hulls.items()}, "vertices")
