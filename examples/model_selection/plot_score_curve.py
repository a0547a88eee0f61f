"""
Should I label more data?
=========================

A thousand labelled rows are at hand. Two models are scored on nested parts of them, and
their curves predict what further labels would bring, before anybody pays for them. The
data have more rows, which serve as the check.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import (
    ScoreCurve,
    ScoreCurveDisplay,
    TrainingSizeEstimator,
)

X, y = load_digits(return_X_y=True)
X_more, X_test, y_more, y_test = train_test_split(
    X, y, test_size=500, stratify=y, random_state=0
)
X_now, y_now = X_more[:400], y_more[:400]

# %%
# The estimators
# --------------
# ``target`` tests whether 1 200 training rows would reach an accuracy of .95.

linear = make_pipeline(StandardScaler(), LogisticRegression())
bayes = GaussianNB(var_smoothing=1e-2)
options = {"target": 0.95, "target_size": 1200, "stop": "none", "random_state": 0}
models = {
    "logistic regression": TrainingSizeEstimator(linear, **options).fit(X_now, y_now),
    "naive Bayes": TrainingSizeEstimator(bayes, **options).fit(X_now, y_now),
}
for name, model in models.items():
    low, high = model.predict_score(1200, quantiles=[0.05, 0.95])
    truth = model.estimator.fit(X_more[:1200], y_more[:1200]).score(X_test, y_test)
    print(
        f"{name}: predicted {model.predict_score(1200):.3f} with 1200 rows "
        f"({low:.3f} to {high:.3f}), in truth {truth:.3f}; target {model.decision_}"
    )

# %%
# The figure
# ----------
# Points are means over five folds with standard errors, bands 90 % intervals.

figure, ax = plt.subplots(layout="constrained")
for (name, model), color in zip(models.items(), ("#1f6f8b", "#d1495b"), strict=True):
    display = ScoreCurveDisplay.from_estimator(model, target=0.95, name=name)
    _ = display.plot(ax, color=color)
ax.set_ylim(0.7, 1.0)

# %%
# Who would lead with ten times the rows, and how sure is that?

bayes_curve, linear_curve = models["naive Bayes"], models["logistic regression"]
print(bayes_curve.compare(linear_curve, n_samples=4000))

# %%
# Sizes and scores that are there already need the curve alone.

sizes, scores = linear_curve.train_sizes_, linear_curve.test_scores_
curve = ScoreCurve(random_state=0).fit(sizes, scores)
print(
    f"rows for .96: {curve.required_size(0.96):.0f}, asymptote {curve.asymptote_:.3f}"
)
