"""
The price of a constraint
=========================

The mean score of two groups may differ by a bounded amount only, and the group is not
used at prediction. Each bound costs some log loss; its multiplier is the price of the
next unit, and it is the slope of the curve.
"""

# %%
# Breast cancer: small and large cells, and the log odds of a malignant tumour from
# texture, smoothness and symmetry.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.fairness import ConstrainedClassifier, ConstrainedRegressor, Constraint

data = load_breast_cancer()
names = list(data.feature_names)
columns = ["mean texture", "mean smoothness", "mean symmetry"]
X, y = data.data[:, [names.index(c) for c in columns]], 1 - data.target
group = np.where(data.data[:, names.index("mean radius")] > 13, "large", "small")

gap = Constraint.rate_gap("score", at_most=0.2)
logistic = make_pipeline(StandardScaler(), LogisticRegression())
model = ConstrainedClassifier(logistic, [gap]).fit(X, y, sensitive_features=group)
print(f"violation {model.violations_['score_gap']:.1e}")
print(f"at most {model.dual_gap_:.1e} from the optimum after {model.n_iter_} steps")

# %%
# The whole frontier, each bound started from the one before.
bounds = np.linspace(0, 0.8, 17)
path = model.constraint_path(X, y, {"score_gap": bounds}, sensitive_features=group)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].plot(path["bound"], path["objective"], "o-", color="#1f6f8b", markersize=4)
axes[0].set(xlabel="bound of the difference of mean scores", ylabel="mean log loss")
axes[1].plot(path["bound"], path["multiplier"], "o-", color="#d1495b", markersize=4)
axes[1].set(xlabel="bound of the difference of mean scores", ylabel="multiplier: price")

# %%
# Other demands, together: a loss on critical rows, and rates of decisions, for which a
# smooth rate stands in training.
free = ConstrainedClassifier(logistic).fit(X, y)
small = group == "small"
own = -np.log(free.predict_proba(X)[np.arange(len(y)), y])[small].mean()
demands = [
    Constraint.loss_at_most(0.97 * own, where="small"),
    Constraint.rate_gap("positive", at_most=0.05),
]
model = ConstrainedClassifier(logistic, demands)
model.fit(X, y, sensitive_features=group)
for entry, multiplier in model.multipliers_.items():
    print(f"{entry}: multiplier {multiplier:.3f}, value - bound", end=" ")
    print(f"{model.violations_[entry]:.1e}")
print("real rates:", {k: round(v, 3) for k, v in model.true_violations_.items()})

# %%
# A regressor with a budget.
values = data.data[:, names.index("mean area")]
budget = ConstrainedRegressor(constraints=[Constraint.mean_prediction(600.0)])
print(f"mean prediction {budget.fit(X, values).predict(X).mean():.3f}")
