"""Influence in closed form against refitting."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.data_selection import influence_scores

EXACT = {"tol": 1e-12, "max_iter": 10_000, "solver": "newton-cholesky"}
REGRESSIONS = [
    Ridge(2.0),
    Ridge(1e-6),
    Ridge(1e6),
    Ridge(2.0, fit_intercept=False),
    LinearRegression(),
]
CLASSIFIERS = [
    LogisticRegression(**EXACT),
    LogisticRegression(C=1e-3, **EXACT),
    LogisticRegression(C=1e3, **EXACT),
    LogisticRegression(fit_intercept=False, **EXACT),
    LogisticRegression(class_weight="balanced", **EXACT),
    LogisticRegression(class_weight={0: 1.0, 1: 3.0}, **EXACT),
]


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(70, 4)) + 1
    f = X @ rng.normal(size=4)
    X_target = rng.normal(size=(25, 4)) + 1
    return X, f + rng.normal(size=70), X_target, X_target @ rng.normal(size=4)


def loss(model, X, y):
    if hasattr(model, "predict_proba"):
        return log_loss(y, model.predict_proba(X), labels=model.classes_)
    return np.mean((model.predict(X) - y) ** 2)


def assert_derivative(model, X, y, X_target, y_target):
    """Central differences in the weight of a few rows."""
    weight = np.random.RandomState(1).uniform(0.5, 2, len(y))
    scores = influence_scores(model, X, y, X_target, y_target, sample_weight=weight)
    step = 1e-4
    for i in (0, 11, 42):
        ends = []
        for sign in (1, -1):
            moved = weight.copy()
            moved[i] += sign * step
            fitted = clone(model).fit(X, y, sample_weight=moved)
            ends.append(loss(fitted, X_target, y_target))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(scores[i], abs=1e-6 * np.abs(scores).max() + 1e-9)


@pytest.mark.parametrize("model", REGRESSIONS, ids=repr)
def test_regression(model, data):
    assert_derivative(model, *data)


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: repr(m)[:80])
def test_two_classes(model, data):
    X, y, X_target, y_target = data
    assert_derivative(model, X, (y > 1).astype(int), X_target, (y_target > 0) * 1)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(**EXACT),
        LogisticRegression(C=np.inf, **EXACT),
        LogisticRegression(class_weight="balanced", fit_intercept=False, **EXACT),
    ],
    ids=lambda m: repr(m)[:80],
)
def test_three_classes(model, data):
    X, y, X_target, y_target = data
    codes = [np.digitize(v, [-1, 1.5]) for v in (y, y_target)]
    assert_derivative(model, X, codes[0], X_target, codes[1])


def test_several_outputs(data):
    X, y, X_target, y_target = data
    Y, Y_target = np.c_[y, y**2], np.c_[y_target, -y_target]
    model = Ridge(alpha=[1.0, 5.0])
    assert_derivative(model, X, Y, X_target, Y_target)


def test_liblinear_penalises_its_intercept(data):
    X, y, X_target, y_target = data
    model = LogisticRegression(
        solver="liblinear", intercept_scaling=2.0, tol=1e-10, max_iter=10_000
    ).fit(X, y > 1)
    scores = influence_scores(model, X, y > 1, X_target, y_target > 0)
    moved = np.ones(len(y))
    moved[3] = 1.01
    other = clone(model).fit(X, y > 1, sample_weight=moved)
    change = loss(other, X_target, y_target > 0) - loss(model, X_target, y_target > 0)
    assert change == pytest.approx(0.01 * scores[3], rel=0.05)


def test_removal_to_first_order(data):
    X, y, X_target, y_target = data
    model = Ridge(1.0).fit(X, y)
    scores = influence_scores(model, X, y, X_target, y_target)
    before = loss(model, X_target, y_target)
    change = [
        loss(Ridge(1.0).fit(np.delete(X, i, 0), np.delete(y, i)), X_target, y_target)
        - before
        for i in range(len(y))
    ]
    assert np.corrcoef(change, -scores)[0, 1] > 0.99


def test_duplicates_share_their_weight_and_rows_may_move(data):
    X, y, X_target, y_target = data
    once = influence_scores(
        Ridge(), X, y, X_target, y_target, sample_weight=np.r_[2.0, np.ones(69)]
    )
    twice = influence_scores(
        Ridge(), np.r_[X[:1], X], np.r_[y[:1], y], X_target, y_target
    )
    np.testing.assert_allclose(twice[1:], once, rtol=1e-8)
    assert twice[0] == pytest.approx(twice[1])
    order = np.random.RandomState(0).permutation(70)
    moved = influence_scores(Ridge(), X[order], y[order], X_target, y_target)
    plain = influence_scores(Ridge(), X, y, X_target, y_target)
    np.testing.assert_allclose(moved, plain[order], rtol=1e-8)


def test_sparse_equals_dense_and_pipelines_are_held_fixed(data):
    X, y, X_target, y_target = data
    dense = influence_scores(
        LogisticRegression(**EXACT), X, y > 1, X_target, y_target > 0
    )
    thin = influence_scores(
        LogisticRegression(**EXACT),
        sparse.csr_array(X),
        y > 1,
        sparse.coo_array(X_target),
        y_target > 0,
    )
    np.testing.assert_allclose(thin, dense, rtol=1e-6)
    scaler = StandardScaler().fit(X)
    inner = influence_scores(
        Ridge(), scaler.transform(X), y, scaler.transform(X_target), y_target
    )
    piped = influence_scores(
        make_pipeline(StandardScaler(), Ridge()), X, y, X_target, y_target
    )
    np.testing.assert_allclose(piped, inner)


def test_collinear_columns_and_more_columns_than_rows(data):
    X, y, X_target, y_target = data
    double, double_target = np.c_[X, X], np.c_[X_target, X_target]
    plain = influence_scores(LinearRegression(), X, y, X_target, y_target)
    found = influence_scores(LinearRegression(), double, y, double_target, y_target)
    np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-9)
    few = influence_scores(
        LinearRegression(), double[:5], y[:5], double_target, y_target
    )
    np.testing.assert_allclose(few, 0, atol=1e-8)  # it interpolates


def test_a_model_of_other_rows_warns(data):
    X, y, X_target, y_target = data
    with pytest.warns(ConvergenceWarning, match="not at the optimum"):
        influence_scores(Ridge().fit(X, -y), X, y, X_target, y_target)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ElasticNet(), "knows Ridge, LinearRegression and LogisticRegression"),
        (Ridge(positive=True), "no closed form"),
        (LogisticRegression(l1_ratio=1.0, solver="saga"), "L1 penalty"),
    ],
)
def test_what_has_no_closed_form_is_refused(model, message, data):
    with pytest.raises(ValueError, match=message):
        influence_scores(model, *data)


def test_bad_input(data):
    X, y, X_target, y_target = data
    with pytest.raises(ValueError, match="inconsistent numbers"):
        influence_scores(Ridge(), X, y[:-1], X_target, y_target)
    with pytest.raises(ValueError, match="features"):
        influence_scores(Ridge(), X, y, X_target[:, :2], y_target)
    with pytest.raises(ValueError, match="y_target must hold classes"):
        influence_scores(
            LogisticRegression(), X, y > 1, X_target, np.full(len(y_target), 7)
        )
    with pytest.raises(ValueError, match="NaN"):
        influence_scores(Ridge(), X, y, X_target, np.full(len(y_target), np.nan))
