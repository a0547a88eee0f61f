"""What the tests of every estimator share: real tables, and ways to ask a model."""

import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.data_selection import SelectedFit
from tests._discovery import quick_labels

METHODS = (
    "predict",
    "predict_proba",
    "decision_function",
    "transform",
    "score_samples",
)

#: one test a configuration; the fixture ``estimator`` builds it, so collecting is cheap
every_instance = pytest.mark.parametrize("estimator", quick_labels(), indirect=True)


@cache
def _table(task):
    """A real table, standardised, small enough for a slow machine."""
    load = load_breast_cancer if task == "classes" else load_diabetes
    X, y = load(return_X_y=True, as_frame=True)
    X = StandardScaler().set_output(transform="pandas").fit_transform(X)
    X, y = X.iloc[:200, :6], y.iloc[:200]
    if task == "classes":
        y = y.map({0: "malignant", 1: "benign"}).astype(object)
    return X, y


def table_for(estimator):
    """Rows and a target the estimator can learn, as a frame and a series."""
    X, y = _table("classes" if is_classifier(estimator) else "numbers")
    return X.copy(), y.copy()


def quietly(function, *arguments, **keywords):
    """Call with warnings off: what is under test here is not convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **keywords)


def seeded(estimator):
    """A clone that starts from a fixed seed."""
    estimator = clone(estimator)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator


def synthesizes(model):
    """Whether the model makes rows, and knows nothing of those it is given."""
    return hasattr(model, "sample") and hasattr(model, "fit_resample")


def answers(model, X):
    """What the model says by every inference method it has."""
    found = {m: getattr(model, m)(X) for m in METHODS if hasattr(model, m)}
    if synthesizes(model):
        return {"sample": np.asarray(model.sample(random_state=0))}
    if not found:  # a selector of rows speaks of those it was fitted to
        return {"scores_": model.scores_, "support_": model.get_support()}
    return found


def said(model, X):
    """Predictions, or what a transformer makes of the rows."""
    if synthesizes(model):
        return np.asarray(model.sample(random_state=0))
    if hasattr(model, "fit_resample"):
        return model.scores_
    return (model.predict if hasattr(model, "predict") else model.transform)(X)


def as_predictor(steps):
    """A pipeline that predicts: transformers get a linear model behind them."""
    if synthesizes(steps[-1][1]):
        resampling = pytest.importorskip("imblearn.pipeline")
        return resampling.Pipeline([*steps, ("linear", Ridge())])
    if hasattr(steps[-1][1], "fit_resample"):
        name, selector = steps[-1]
        steps = [*steps[:-1], (name, SelectedFit(selector, Ridge()))]
    if not hasattr(steps[-1][1], "predict"):
        steps = [*steps, ("linear", Ridge())]
    return Pipeline(steps)


def assert_same(first, second):
    """The same answers, bit for bit, by every method."""
    assert first.keys() == second.keys() and first
    for method in first:
        np.testing.assert_array_equal(first[method], second[method], err_msg=method)


def fit_and_say(send, estimator, X, y):
    """A job of the child process: fit, and send what the model says."""
    send(np.asarray(said(quietly(estimator.fit, X, y), X)))
