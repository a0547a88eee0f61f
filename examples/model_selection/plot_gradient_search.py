"""
A lasso penalty without a leak
==============================

``LassoCV`` at the end of a pipeline chooses its penalty on folds that the earlier steps
have already seen: a selection of features fitted on all rows tells each fold about its
own validation rows. :class:`~skdiff.model_selection.GradientSearchCV` fits earlier
steps within each fold, and finds the optimum of the honest criterion by its gradient.
"""

# %%
# Noise that looks like signal
# ----------------------------
# A target that nothing predicts, and two thousand columns of which the twenty most
# correlated are kept. The honest result is an error the size of the target's variance.
import time
import warnings

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import Lasso, LassoCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import (
    GradientSearchCV,
    GradientSearchDisplay,
    InnerProblem,
    check_hypergradient,
    inner_problem,
)

rng = np.random.default_rng(0)
X, y = rng.normal(size=(200, 2000)), rng.normal(size=200)
select = SelectKBest(f_regression, k=20)
alphas = np.geomspace(1e-3, 1, 50)

leaky = make_pipeline(select, StandardScaler(), LassoCV(alphas=alphas)).fit(X, y)
pipeline = make_pipeline(select, StandardScaler(), Lasso())
search = GradientSearchCV(pipeline, {"lasso__alpha": loguniform(1e-3, 1)}).fit(X, y)

print(f"variance of the target           {y.var():.3f}")
print(f"LassoCV in a pipeline promises   {leaky[-1].mse_path_.mean(axis=1).min():.3f}")
print(f"the gradient search promises     {-search.best_score_:.3f}")
print(f"LassoCV keeps {np.count_nonzero(leaky[-1].coef_)} features, ", end="")
print(f"the search {np.count_nonzero(search.best_estimator_[-1].coef_)}")

# %%
# The cost of a handful of fits
# -----------------------------
# On a table with signal the same search takes some twenty points; a grid fine enough to
# come as close takes many more. Each dot below is a row of ``cv_results_``, and its
# score is that of ``cross_val_score`` on the whole pipeline.
X, y = load_diabetes(return_X_y=True)
pipeline = make_pipeline(StandardScaler(), Lasso(tol=1e-8, max_iter=10_000))
interval = {"lasso__alpha": loguniform(1e-3, 1e2)}
search = GradientSearchCV(pipeline, interval, n_starts=2)
start = time.process_time()
search.fit(X, y)
print(f"{search.n_iter_} points in {time.process_time() - start:.2f} s: ", end="")
print(f"alpha={search.best_params_['lasso__alpha']:.5f}, {-search.best_score_:.4f}")
again = cross_val_score(
    search.best_estimator_, X, y, scoring="neg_mean_squared_error"
).mean()
print(f"cross_val_score of that pipeline: {-again:.4f}")

grid = GridSearchCV(
    pipeline,
    {"lasso__alpha": np.geomspace(1e-2, 1e2, 100)},
    scoring="neg_mean_squared_error",
)
start = time.process_time()
grid.fit(X, y)
print(f"100 points of a grid in {time.process_time() - start:.2f} s: ", end="")
print(f"{-grid.best_score_:.4f}")

GradientSearchDisplay.from_estimator(search).plot()

# %%
# The lowest criterion of a search was chosen for being low. What to expect of the
# chosen model comes from an outer loop that the search does not see. (In some outer
# folds the lasso wants no penalty, and the search warns that it stopped at a bound.)
warnings.simplefilter("ignore", ConvergenceWarning)
print(f"nested R2: {cross_val_score(search, X, y, scoring='r2').mean():.3f}")

# %%
# A custom inner problem
# ----------------------
# Any estimator joins once its training problem is described by a solve, a linear solve
# with the Hessian and a mixed derivative, and a check compares the gradient with
# differences.
print(f"relative error of a slope: {check_hypergradient(search, X, y):.1e}")
print(issubclass(type(inner_problem(Lasso())), InnerProblem))
