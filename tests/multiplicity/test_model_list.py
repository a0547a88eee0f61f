"""Ranges over lists of models."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skdiff.multiplicity import ModelListMultiplicity, RashomonClassifier


def trees(X, y, n=8, **arguments):
    return [
        DecisionTreeClassifier(
            max_depth=3, max_features=4, random_state=k, **arguments
        ).fit(X, y)
        for k in range(n)
    ]


def test_figures_are_those_of_the_predictions():
    X, y = load_breast_cancer(return_X_y=True)
    models = trees(X, y)
    seen = ModelListMultiplicity.from_models(models, X, baseline=2)
    P = np.array([model.predict_proba(X)[:, 1] for model in models])
    np.testing.assert_array_equal(seen.range(), np.column_stack([P.min(0), P.max(0)]))
    labels = P > 0.5
    np.testing.assert_array_equal(seen.conflicts(), labels.any(0) != labels.all(0))
    assert seen.ambiguity() == (labels != labels[2]).any(0).mean()
    assert seen.ambiguity(0.2) == (np.abs(P - P[2]) >= 0.2).any(0).mean()
    share, place = seen.discrepancy(0.2)
    moved = (np.abs(P - P[2]) >= 0.2).mean(1)
    assert share == moved.max() == moved[place] <= seen.ambiguity(0.2)
    assert seen.discrepancy()[0] <= seen.ambiguity()


def test_only_models_within_the_tolerance_are_kept():
    X, y = load_breast_cancer(return_X_y=True)
    models = trees(X[::2], y[::2], 12)
    X, y = X[1::2], y[1::2]
    scores = np.array([model.score(X, y) for model in models])
    seen = ModelListMultiplicity.from_models(models, X, y, tolerance=0.01)
    np.testing.assert_array_equal(
        seen.kept_, np.flatnonzero(scores >= scores.max() - 0.01)
    )
    assert seen.kept_[seen.baseline_] == scores.argmax()
    worst = int(scores.argmin())
    other = ModelListMultiplicity.from_models(
        models, X, y, tolerance=0.01, baseline=worst
    )
    assert other.kept_[other.baseline_] == worst  # whatever its score
    assert seen.discrepancy()[1] in seen.kept_
    by_loss = ModelListMultiplicity.from_models(
        models, X, y, scoring="neg_log_loss", tolerance=0.0
    )
    assert len(by_loss.kept_) == 1 and by_loss.ambiguity() == 0


def test_several_classes_and_numbers():
    X, y = load_iris(return_X_y=True)
    models = trees(X, np.array(["a", "b", "c"])[y], 5)
    seen = ModelListMultiplicity.from_models(models, X)
    assert seen.range().shape == (150, 3, 2)
    labels = np.array([model.predict(X) for model in models])
    np.testing.assert_array_equal(seen.conflicts(), (labels != labels[0]).any(0))
    table = pytest.importorskip("pandas") and seen.frame()
    assert {"low_a", "high_c", "prediction_b", "conflict"} <= set(table.columns)
    D, t = load_diabetes(return_X_y=True)
    ridges = [Ridge(alpha).fit(D, t) for alpha in (0.01, 0.1, 1.0)]
    seen = ModelListMultiplicity.from_models(ridges, D, t)
    assert seen.baseline_ == 0 and seen.classes_ is None
    assert seen.ambiguity(30.0) > 0
    assert list(seen.frame().columns) == ["prediction", "low", "high"]
    with pytest.raises(ValueError, match="delta is needed"):
        seen.ambiguity()


def test_a_list_of_linear_models_sees_less_than_the_set():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    audit = RashomonClassifier(epsilon=0.05).fit(X, y)
    coef, intercept, _ = audit.sample(30, random_state=0)
    models = []
    for w, b in zip(coef, intercept, strict=True):
        model = clone(LogisticRegression()).fit(X, y)
        model.coef_, model.intercept_ = w[None], np.array([b])
        models.append(model)
    seen = ModelListMultiplicity.from_models(models, X).range()
    exact = audit.predict_proba_range(X)
    assert (exact[:, 0] <= seen[:, 0] + 1e-9).all()
    assert (exact[:, 1] >= seen[:, 1] - 1e-9).all()
    assert np.diff(seen).mean() < 0.6 * np.diff(exact).mean()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"models": []}, "models is empty"),
        ({"tolerance": 0.1}, "need y"),
        ({"baseline": 9}, "baseline=9 of 2"),
        ({"threshold": 1.0}, "threshold must be"),
        ({"y": "given", "tolerance": -1.0}, "tolerance must be"),
    ],
)
def test_bad_lists_are_refused(change, word):
    X, y = load_breast_cancer(return_X_y=True)
    arguments = {"models": trees(X, y, 2), "X": X} | change
    if "y" in arguments:
        arguments["y"] = y
    with pytest.raises(ValueError, match=word):
        ModelListMultiplicity.from_models(**arguments)


def test_models_that_do_not_go_together_are_refused():
    X, y = load_breast_cancer(return_X_y=True)
    tree = trees(X, y, 1)[0]
    with pytest.raises(ValueError, match="all classifiers or all regressors"):
        ModelListMultiplicity.from_models([tree, Ridge().fit(X, y)], X)
    with pytest.raises(ValueError, match="same classes_"):
        ModelListMultiplicity.from_models([tree, trees(X, y + 1, 1)[0]], X)
    with pytest.raises(ValueError, match="no predict_proba"):
        ModelListMultiplicity.from_models([LinearSVC().fit(X / 1e3, y)], X)
    with pytest.raises(ValueError, match="delta must be"):
        ModelListMultiplicity.from_models([tree], X).ambiguity(-1)
    with pytest.raises(ValueError, match="baseline=3 of 2"):
        ModelListMultiplicity(np.zeros((2, 5)), baseline=3)
