"""Fitting the models in the three places of an R-learner."""

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import (
    fit_inner,
    is_frozen,
    seeded,
    takes_weights,
    transform_before,
)
from skdiff.causal._r_learner._residuals import final_data, resample


def given_or_default(model, kind, random_state):
    """Return the model to fit: a seeded clone, or the default of its place."""
    if is_frozen(model):
        raise ValueError(
            "A frozen model cannot be cross-fitted: its residuals would not be those "
            "of held-out rows."
        )
    if model is None:
        model = {
            "regressor": HistGradientBoostingRegressor(),
            "classifier": HistGradientBoostingClassifier(),
            "final": LinearRegression(),
        }[kind]
    return seeded(model, random_state)


def expected(model, X, low, high):
    """Conditional mean of a fitted model: that of two values where it classifies."""
    if not is_classifier(model):
        found = np.asarray(model.predict(X), dtype=np.float64)
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{type(model).__name__} has no predict_proba, which a classifier needs "
            "here."
        )
    proba = np.asarray(model.predict_proba(X), dtype=np.float64)
    return low + (high - low) * proba[:, 1]


def fit_fold(models, X, y, t, weight, train):
    """Fit both nuisance models on the training rows of a fold."""
    rows = safe_indexing(X, train)
    w = None if weight is None else weight[train]
    return [
        fit_inner(model, rows, target[train], weight=w)
        for model, target in zip(models, (y, t), strict=True)
    ]


def fit_final(model, X, found, trim, seed, *, rows=None):
    """Fit a final model on residuals; resample where it takes no weights."""
    data = final_data(found, trim)
    if rows is not None:
        chosen = np.isin(data.rows, rows)
        data = data._replace(
            rows=data.rows[chosen],
            target=data.target[chosen],
            weight=data.weight[chosen],
        )
    if not len(data.rows):
        raise ValueError(
            "No row is left for the final stage: the treatment model predicts the "
            "treatment of every row exactly, so its effect is not identified."
        )
    if takes_weights(model):
        # in all they weigh what the rows weigh, whatever the unit of the treatment
        weight = data.weight * (found.weight[data.rows].sum() / data.weight.sum())
        chosen = safe_indexing(X, data.rows)
        return fit_inner(model, chosen, data.target, weight=weight)
    start = np.random.RandomState(seed).uniform()
    drawn = resample(data.weight, len(data.rows), start)
    return clone(model).fit(safe_indexing(X, data.rows[drawn]), data.target[drawn])


def linear_design(model, X):
    """Columns d of a fitted final model with effect d'beta, or None for other models.

    Least squares, a constant, and pipelines that end in one of them.
    """
    if isinstance(model, Pipeline):
        last = model.steps[-1][1]
        if type(last) in (LinearRegression, DummyRegressor):
            return linear_design(last, transform_before(model, X))
        return None
    n = X.shape[0]
    if type(model) is DummyRegressor:
        return np.ones((n, 1)) if model.strategy == "mean" else None
    if type(model) is not LinearRegression or model.positive:
        return None
    D = np.asarray(X.todense() if hasattr(X, "todense") else X, dtype=np.float64)
    return np.hstack([np.ones((n, 1)), D]) if model.fit_intercept else D


def beside_columns(X, W):
    """X and W side by side, as a frame where both are frames."""
    if W is None:
        return X
    if hasattr(X, "iloc") and hasattr(W, "iloc"):
        import pandas as pd

        if both := sorted(set(map(str, X.columns)) & set(map(str, W.columns))):
            raise ValueError(f"X and W share the columns {both}.")
        return pd.concat([X, W.set_axis(X.index)], axis=1)
    return np.column_stack([np.asarray(X), np.asarray(W)])
