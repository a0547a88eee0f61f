"""
Buying from three sources
=========================

Three vendors sell rows. Pilot samples of each are at hand, and a validation set of what
the model is for. Which mixture of 500 rows is best, and which one within a budget? The
first vendor sells all digits, the second small ones only, and half of the labels of the
third are wrong.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skdiff.data_selection import MixtureDisplay, MixturePerformanceProjector

X, y = load_digits(return_X_y=True)
rng = np.random.RandomState(0)
order = rng.permutation(len(y))
val, rest = order[:400], order[400:]
source = rng.choice(np.array(["all digits", "small digits", "wrong labels"]), len(rest))
source[(source == "small digits") & (y[rest] > 4)] = "all digits"
labels = y[rest].copy()
wrong = (source == "wrong labels") & (rng.uniform(size=len(rest)) < 0.5)
labels[wrong] = rng.randint(10, size=wrong.sum())

# %%
# The projector trains on twelve small mixtures at two sizes.

model = MixturePerformanceProjector(
    LogisticRegression(max_iter=200), link="log", n_repeats=2, random_state=0
).fit(X[rest] / 16, labels, groups=source, X_val=X[val] / 16, y_val=y[val])
gradient = model.source_gradient_.round(2).tolist()
print(dict(zip(model.sources_.tolist(), gradient, strict=True)))
print({name: round(weight, 2) for name, weight in model.form_.items()})

# %%
# The best mixture, free and with a budget.

free = model.optimize(500)
print("free:", free.mixture.round(2), f"score {free.predicted_score:.3f}")
price = {"all digits": 3.0, "small digits": 1.0, "wrong labels": 0.2}
cheap = model.optimize(500, costs=price, budget=800.0)
print("800 to spend:", cheap.mixture.round(2), f"score {cheap.predicted_score:.3f}")

# %%
# Predicted and observed scores of the pilots.

_ = MixtureDisplay.from_estimator(model).plot()
