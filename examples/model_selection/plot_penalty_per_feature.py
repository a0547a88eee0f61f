"""
A penalty for each feature, and the tie that makes it safe
==========================================================

Fifty penalties can fit the noise of a cross-validation score as well as fifty
coefficients fit that of a target. :class:`~skdiff.model_selection.GradientSearchCV`
finds the best common penalty first and ties the fifty to it; how strongly is
``tie_strength``. Here we free them, tie them and keep them equal, and look at rows that
no fold has seen.
"""

# %%
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.linear_model import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)
from skdiff.model_selection import Continuous, GradientSearchCV, GradientSearchDisplay

warnings.simplefilter("ignore", ConvergenceWarning)
interval = Continuous(1e-2, 1e5, per="feature")
strengths = {"equal": np.inf, "tie 1": 1, "tie 0.3": 0.3, "tie 0.1": 0.1, "free": 0}


def mean_scores(relevant, n_rows, n_features):
    """Test R2, a mean over three tables."""
    scores = {name: [] for name in [*strengths, "LassoCV"]}
    for seed in range(3):
        X, y = make_regression(
            n_rows + 2000, n_features, n_informative=relevant, random_state=seed
        )
        y = y + y.std() * np.random.default_rng(seed).normal(size=len(y)) * 0.8
        X, X_test, y, y_test = train_test_split(
            X, y, train_size=n_rows, random_state=seed
        )
        for name, strength in strengths.items():
            search = GradientSearchCV(
                WeightedRidge(), {"alpha": interval}, tie_strength=strength, max_iter=30
            ).fit(X, y)
            scores[name].append(search.best_estimator_.score(X_test, y_test))
        scores["LassoCV"].append(LassoCV(alphas=30).fit(X, y).score(X_test, y_test))
    return {name: np.mean(found) for name, found in scores.items()}


for relevant, n_rows, n_features in [(5, 200, 50), (50, 200, 50)]:
    found = mean_scores(relevant, n_rows, n_features)
    print(f"{relevant} of {n_features} features matter, {n_rows} rows")
    print("   " + "  ".join(f"{k} {v:.3f}" for k, v in found.items()))

# %%
# With few relevant features free penalties help, with many they hurt, and a tie keeps
# most of the first without the second. Where few features matter ``LassoCV`` is better
# still: sparsity is its assumption, not a discovery.
#
# What was found
# --------------
# Penalties of a logistic regression on the breast cancer table: an entry at the right
# end is a feature that is allowed a large coefficient.
X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X[:] = StandardScaler().fit_transform(X)
search = GradientSearchCV(
    WeightedLogisticRegression(),
    {"C": Continuous(1e-3, 1e2, per="feature")},
    max_iter=30,
).fit(X, y)
GradientSearchDisplay.from_estimator(search).plot_values()

# %%
# The same for an elastic net, with a value per group of features.
groups = [name.split()[0] if "worst" in name else "other" for name in X.columns]
net = GradientSearchCV(
    make_pipeline(WeightedElasticNet(l1_ratio=0.5)),
    {"weightedelasticnet__alpha": Continuous(1e-4, 1, per="group", groups=groups)},
    max_iter=30,
).fit(X, y.astype(float))
print(f"mean squared error {-net.best_score_:.4f} at ", end="")
print(np.unique(net.best_params_["weightedelasticnet__alpha"]).round(4))
