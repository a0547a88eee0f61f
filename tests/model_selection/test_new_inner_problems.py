"""Ridge classifiers and L1-penalised logistic regression: derivatives and scores."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import scale

from skdiff.model_selection import Continuous, GradientSearchCV, check_hypergradient

ALPHA = {"alpha": Continuous(1e-3, 1e4)}
C = {"C": Continuous(1e-2, 1e2)}
MIX = {**C, "l1_ratio": Continuous(0, 1, scale="linear")}


def l1_penalty(ratio=1.0, **options):
    model = LogisticRegression(solver="saga", tol=1e-6, max_iter=5000, **options)
    if "deprecated" in repr(model.get_params()["penalty"]):
        return model.set_params(l1_ratio=ratio)
    return model.set_params(penalty="elasticnet", l1_ratio=ratio)


def two(n=150):
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X)[:n], np.array(["malignant", "benign"])[y[:n]]


def three():
    X, y = load_wine(return_X_y=True)
    return scale(X)[::2], y[::2]


def thin():
    X, y = two()
    return sparse.csr_array(np.where(np.abs(X) > 1, X, 0.0)), y


CASES = {
    "ridge": (RidgeClassifier(), ALPHA, two),
    "ridge, balanced": (RidgeClassifier(class_weight="balanced"), ALPHA, two),
    "ridge, three classes": (RidgeClassifier(), ALPHA, three),
    "ridge, row weights": (
        RidgeClassifier(),
        {"sample_weight": Continuous(0, 1, scale="logit", per="sample")},
        two,
    ),
    "L1": (l1_penalty(), C, two),
    "L1, sparse": (l1_penalty(), C, thin),
    "L1, three classes": (l1_penalty(), C, three),
    "L1, no intercept": (l1_penalty(fit_intercept=False), C, two),
    "elastic net": (l1_penalty(0.5, class_weight="balanced"), MIX, two),
    "elastic net, three classes": (l1_penalty(0.5), MIX, three),
}


@pytest.mark.parametrize("name", CASES)
def test_the_hypergradient_is_the_derivative(name):
    estimator, intervals, make = CASES[name]
    if isinstance(estimator, LogisticRegression):  # own fits are compared, converged
        estimator = clone(estimator).set_params(max_iter=50_000)
    search = GradientSearchCV(estimator, intervals, cv=3)
    assert check_hypergradient(search, *make(), eps=1e-5) < 1e-5


@pytest.mark.parametrize("name", ["ridge, balanced", "ridge, three classes", "L1"])
def test_the_score_is_that_of_the_estimator(name):
    estimator, intervals, make = CASES[name]
    X, y = make()
    search = GradientSearchCV(estimator, intervals, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    again = cross_val_score(
        search.best_estimator_, X, y, cv=3, scoring=search.scorer_
    ).mean()
    assert search.best_score_ == pytest.approx(again, rel=2e-3)
    grid = [
        cross_val_score(
            clone(estimator).set_params(**{key: value}),
            X, y, cv=3, scoring=search.scorer_,
        ).mean()
        for key, interval in intervals.items()
        for value in np.geomspace(interval.low, interval.high, 7)
    ]  # fmt: skip
    assert search.best_score_ >= max(grid) - 1e-3 * abs(max(grid))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (RidgeClassifier(class_weight="balanced"), "class_weight=None"),
        (l1_penalty(), "L2 penalty only"),
    ],
)
def test_row_weights_have_limits(model, match):
    each = {"sample_weight": Continuous(0, 1, scale="logit", per="sample")}
    with pytest.raises(ValueError, match=match):
        GradientSearchCV(model, each, cv=3).fit(*two())
