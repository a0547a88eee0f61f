"""
Support vector machines without a grid
======================================

``C`` and ``gamma`` of a kernel machine are the two hyperparameters that are searched
over a grid most often. The solution is piecewise smooth in both: free support vectors
solve a linear system, bounded ones move with ``C``.
:class:`~skdiff.model_selection.GradientSearchCV` differentiates that system, and
follows the cross-validated squared hinge loss to the bottom of its valley.
"""

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from skdiff.model_selection import Continuous, GradientSearchCV, GradientSearchDisplay

X, y = make_moons(200, noise=0.3, random_state=0)
intervals = {"C": Continuous(1e-2, 1e3), "gamma": Continuous(1e-2, 1e2)}
search = GradientSearchCV(SVC(), intervals, cv=5).fit(X, y)

# the whole landscape, which the search did not need
axes = {"C": np.geomspace(1e-2, 1e3, 15), "gamma": np.geomspace(1e-2, 1e2, 15)}
grid = GridSearchCV(SVC(), axes, cv=5, scoring=search.scorer_).fit(X, y)
landscape = -grid.cv_results_["mean_test_score"].reshape(15, 15)
visited = {k: search.cv_results_[f"param_{k}"].data for k in axes}

fig, ax = plt.subplots()
filled = ax.contourf(axes["gamma"], axes["C"], np.log10(landscape), levels=20)
fig.colorbar(filled, label="log10 of the cross-validated squared hinge loss")
ax.plot(visited["gamma"], visited["C"], "w.-", linewidth=0.5, label="visited")
ax.plot(*[search.best_params_[k] for k in ("gamma", "C")], "r*", label="found")
ax.plot(*[grid.best_params_[k] for k in ("gamma", "C")], "kx", label="best of 225")
ax.set(xscale="log", yscale="log", xlabel="gamma", ylabel="C")
ax.legend()
print(f"search: {-search.best_score_:.4f} after {search.n_iter_} points")
print(f"grid:   {-grid.best_score_:.4f} after 225")

# %%
# Five folds of a few dozen points take the place of five folds of 225. The boundary and
# its margins at the point that was found:
display = DecisionBoundaryDisplay.from_estimator(
    search.best_estimator_,
    X,
    plot_method="contour",
    response_method="decision_function",
    levels=[-1, 0, 1],
)
display.ax_.scatter(*X.T, c=y, cmap="coolwarm", s=12)
display.ax_.set_title(f"accuracy in folds {cross_val_score(search, X, y).mean():.3f}")

# %%
# A length scale for each feature
# -------------------------------
# No grid has room for a ``gamma`` per feature. Of the ten features of this regression
# three have curved effects, two linear ones, and five none; ``epsilon`` is searched
# along. Vectors are tied to their best common value, see
# :ref:`sphx_glr_auto_examples_model_selection_plot_penalty_per_feature.py`.
warnings.simplefilter("ignore", ConvergenceWarning)  # C may be as large as it likes
X, y = make_friedman1(1300, noise=1.0, random_state=0)
y = (y - y.mean()) / y.std()
X, X_test, y, y_test = X[:300], X[300:], y[:300], y[300:]
shared = {"svr__C": Continuous(1e-1, 1e3), "svr__epsilon": Continuous(1e-2, 1)}
pipeline = make_pipeline(StandardScaler(), SVR())
for per in (None, "feature"):
    gamma = {"svr__gamma": Continuous(1e-3, 1, per=per)}
    search = GradientSearchCV(pipeline, {**shared, **gamma}, cv=5).fit(X, y)
    print(
        f"gamma per {per}: test R2 {search.best_estimator_.score(X_test, y_test):.3f}"
    )
GradientSearchDisplay.from_estimator(search).plot_values()

# %%
# The curved effects, the first three, get the largest entries, and the rows that no
# fold has seen gain from it. A linear effect wants a small entry, like none at all.
