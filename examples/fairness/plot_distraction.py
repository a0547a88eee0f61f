"""
A dial between accuracy and equal rates
=======================================

A network is trained with a growing weight on the difference between two groups, in
three ways, and never sees the group again. Thresholds for each group, which need it
when the decision is made, are the rival.
"""

# %%
# Two groups whose first column differs; the label depends on it and on others.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skdiff.fairness import DistractionClassifier, EqualizedOddsPostprocessor

warnings.simplefilter("ignore", ConvergenceWarning)  # sixty epochs are enough here
rng = np.random.default_rng(0)
group = rng.integers(2, size=3000)
X = rng.normal(size=(3000, 4))
X[:, 0] += 0.8 * group
signal = X[:, 0] + np.sin(2 * X[:, 1]) + 0.5 * X[:, 2]
y = (signal + rng.logistic(size=3000) / 2 > 0.4).astype(int)
train, test = slice(0, 1500), slice(1500, None)


def measure(p):
    """Accuracy, and difference of the rates of positive decisions, on test rows."""
    rates = [p[group[test] == k].mean() for k in (0, 1)]
    return np.mean(np.where(y[test] == 1, p, 1 - p)), abs(rates[0] - rates[1])


# %%
# The game needs larger weights than the penalty for the same effect.
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
colors = {"distraction": "#1f6f8b", "penalty": "#d1495b", "adversarial": "#6b6b6b"}
for mode, color in colors.items():
    points = []
    for weight in (0.0, 0.1, 0.3, 1.0):
        model = DistractionClassifier(
            (16, 16),
            mode=mode,
            fairness_weight=30 * weight if mode == "distraction" else weight,
            learning_rate_init=0.01,
            max_iter=60,
            random_state=0,
        )
        model.fit(X[train], y[train], sensitive_features=group[train])
        points.append(measure(model.predict(X[test])))
        if weight == 0:
            plain = model
    accuracy, difference = np.transpose(points)
    ax.plot(difference, accuracy, "o-", color=color, label=mode)

points = []
for tolerance in (0.0, 0.1, 0.2):
    thresholds = EqualizedOddsPostprocessor(
        FrozenEstimator(plain), constraint="demographic_parity", tolerance=tolerance
    )
    thresholds.fit(X[train], y[train], sensitive_features=group[train])
    p = thresholds.predict_proba(X[test], sensitive_features=group[test])[:, 1]
    points.append(measure(p))
accuracy, difference = np.transpose(points)
ax.plot(difference, accuracy, "s--", color="#e3a008", label="thresholds by group")
ax.set(xlabel="difference of positive rates, test rows", ylabel="accuracy")
_ = ax.legend()
