"""
Old models when regimes come back
=================================

A model is trained anew every month on the last four months. When the way the target
depends on the columns returns to what it was, an old model knows it already; stacking
uses old models with the weights that fit the newest month.
"""

# %%
# Three regimes of three months each take turns.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from skdiff.model_evaluation import TemporalModelSelector, TemporalReuseDisplay

n_months, n = 24, 150
rng = np.random.default_rng(0)
directions = rng.normal(size=(3, 10))
month = np.repeat(np.arange(n_months), n)
X = rng.normal(size=(n_months * n, 10))
signal = np.sum(X * directions[month // 3 % 3], axis=1)
y = (signal + rng.logistic(size=len(signal)) > 0).astype(int)

# %%
# Every month is predicted before it is learned. The oracle is the best single model of
# the pool, chosen after the fact.
selector = TemporalModelSelector(LogisticRegression(), scoring="roc_auc")
names = ["latest", "temporal_cv", "stacking", "average"]
table = selector.score_mechanisms(X, y, month, mechanisms=names)
print(table.iloc[8:].mean().round(3))

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for name, color in (
    ("latest", "#d1495b"),
    ("stacking", "#1f6f8b"),
    ("oracle", "#6b6b6b"),
):
    style = "--" if name == "oracle" else "o-"
    ax.plot(table.index, table[name], style, color=color, label=name, ms=4)
ax.set(xlabel="month", ylabel="area under the ROC curve")
ax.legend()

# %%
# Which models were used: the best one by folds of the newest month.
chosen = selector.set_params(mechanism="temporal_cv").fit(X, y, periods=month)
_ = TemporalReuseDisplay.from_estimator(chosen).plot()
