"""
What a step outside of the folds does to a score
================================================

Was it harmless to impute, scale or choose columns before cross-validation? The audit
fits each step once to the training rows and once to all rows, on the same folds.
"""

# %%
# Sixty patients, 100 columns of noise beside the ten that were measured, and one value
# of ten missing. The choice of columns uses the target; the audit flags it.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_evaluation import PreprocessingLeakageAudit

rng = np.random.default_rng(0)
X, y = load_diabetes(return_X_y=True)
rows = rng.choice(len(y), 60, replace=False)
X = np.hstack([X[rows], rng.normal(size=(60, 100))])
X[rng.uniform(size=X.shape) < 0.1] = np.nan
y = y[rows]
pipeline = Pipeline(
    [
        ("impute", SimpleImputer()),
        ("scale", StandardScaler()),
        ("select", SelectKBest(f_regression, k=20)),
        ("components", PCA(8)),
        ("model", Ridge()),
    ]
)
audit = PreprocessingLeakageAudit(pipeline, n_repeats=10, random_state=0).fit(X, y)
print("uses y:", audit.supervised_steps_, " moved outside:", audit.steps_)
print(f"R2 of the pipeline {audit.inside_scores_.mean():.3f}")
print(f"bias of the steps without y {audit.bias_:+.3f}, p = {audit.pvalue_:.2f}")

# %%
# The intervals of steps that do not use the target hold zero. The choice of columns
# makes a useless model look useful.
biases = {**audit.per_step_bias_, **audit.supervised_bias_}
names = [name for name, _ in pipeline.steps[:-1]]
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for k, name in enumerate(names):
    low, high = audit.per_step_interval_[name]
    color = "#d1495b" if name in audit.supervised_steps_ else "#1f6f8b"
    ax.plot([low, high], [k, k], color=color, lw=2)
    ax.plot(biases[name], k, "o", color=color)
ax.axvline(0, color="0.8", zorder=0)
ax.set(
    yticks=range(len(names)),
    yticklabels=[n + " (uses y)" * (n in audit.supervised_steps_) for n in names],
    xlabel="bias of R2 when the step is fitted to all rows, 95 % interval",
)
ax.invert_yaxis()
