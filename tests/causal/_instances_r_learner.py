"""Quick configurations, and subclasses that let the checks call ``fit(X, y)``.

A function of y that is far from linear serves as the treatment, so that equal rows have
equal treatments. The graph has no edges: a node is then its own neighbour.
"""

import numpy as np
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff import causal
from tests.data_selection._instances_selectors import Adapted


def treatment_of(y, discrete):
    """A treatment that hangs on the value of y alone."""
    if np.iscomplexobj(np.asarray(y)):
        return np.zeros(len(y))
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        return np.zeros(len(y))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if not np.all(np.isfinite(values)):
        return np.zeros(len(values))
    if discrete:
        return np.where(np.floor(7 * values) % 3 == 1, "treated", "not")
    return np.cos(37.0 * values)


class RLearner(Adapted, causal.RLearner):
    def fit(self, X, y, sample_weight=None):
        t = None if y is None else treatment_of(y, self.discrete_treatment is True)
        return super().fit(X, y, treatment=t, sample_weight=sample_weight)

    def score(self, X, y, sample_weight=None):
        t = treatment_of(y, self.discrete_treatment is True)
        return super().score(X, y, treatment=t, sample_weight=sample_weight)


def no_edges(X):
    n = X.shape[0] if hasattr(X, "shape") and X.shape else len(X)
    return sparse.csr_array((n, n))


class GraphRLearner(Adapted, causal.GraphRLearner):
    def fit(self, X, y):
        t = None if y is None else treatment_of(y, self.discrete_treatment is True)
        edges = None if X is None or not np.ndim(X) else no_edges(X)
        return super().fit(X, y, treatment=t, adjacency=edges)

    def score(self, X, y):
        t = treatment_of(y, self.discrete_treatment is True)
        return super().score(X, y, treatment=t, adjacency=no_edges(X))

    def predict(self, X):
        return super().predict(X, None if X is None else no_edges(X))


ADAPTED = {"GraphRLearner": GraphRLearner, "RLearner": RLearner}
RLearner.__doc__ = causal.RLearner.__doc__
GraphRLearner.__doc__ = causal.GraphRLearner.__doc__

LINEAR = {"outcome_model": Ridge(), "treatment_model": Ridge(), "cv": 2}
CLASSES = {
    "outcome_model": Ridge(),
    "treatment_model": LogisticRegression(),
    "discrete_treatment": True,
    "cv": 2,
}
QUICK = {
    "RLearner": [
        {**LINEAR, "final_model": Ridge()},
        {**CLASSES, "final_model": make_pipeline(StandardScaler(), LinearRegression())},
    ],
    "GraphRLearner": [
        {**LINEAR, "final_model": Ridge()},
        {**CLASSES, "final_features": "own", "nuisance_features": "own"},
    ],
}
