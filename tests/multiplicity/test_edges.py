"""Sets at the edges: large tolerances, repeated rows, wrong answers, hostile tables."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from skdiff._convex._solve import SolverFailedError
from skdiff.multiplicity import RashomonClassifier
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser
from skdiff.multiplicity._sets._statement import ReferenceProgram
from tests._versions import logistic_regression


@pytest.mark.parametrize("d", [2, 4])
def test_cross_validation_counts_repeated_rows(d):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(5000, d)).astype(float)
    y = X[:, 0] + rng.logistic(size=5000) > 0.5
    settings = {"epsilon": 1.0, "epsilon_type": "cv", "random_state": 0}
    found = RashomonClassifier(**settings).fit(X, y).epsilon_
    p = cross_val_predict(LogisticRegression(), X, y, cv=5, method="predict_proba")
    losses = -np.log(np.where(y, p[:, 1], p[:, 0]))
    assert found == pytest.approx(losses.std() / np.sqrt(5000), rel=0.02)
    # a weight of two is the row twice, to the bit
    twice = RashomonClassifier(**settings).fit(np.tile(X, (2, 1)), np.tile(y, 2))
    weight = RashomonClassifier(**settings).fit(X, y, sample_weight=np.full(5000, 2.0))
    assert weight.epsilon_ == pytest.approx(twice.epsilon_, rel=1e-10)


@pytest.mark.parametrize(("C", "epsilon"), [(0.003, 0.1), (0.003, 2.0), (0.1, 0.5)])
def test_lasso_sets_at_large_tolerances_agree_with_cvxpy(C, epsilon):
    # beyond some multiplier the tilted problem is unbounded: F grows linearly only
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    estimator = logistic_regression(C=C, l1_ratio=1.0, solver="liblinear", tol=1e-8)
    estimator.set_params(fit_intercept=C != 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = RashomonClassifier(estimator, epsilon=epsilon).fit(X, y)
        bounds = model.decision_range(X)
    assert (bounds[:, 0] < bounds[:, 1]).all() and np.isfinite(bounds).all()
    fitted = model._set
    program = ReferenceProgram(
        fitted.level_set.problem, fitted.level_set.objective + fitted.budget
    )
    for k in (3, 200):
        V = model._query(X[k : k + 1])[0]
        want = [V @ program.maximise(sign * V)[0] for sign in (-1, 1)]
        np.testing.assert_allclose(bounds[k], want, rtol=1e-5)
    assert model.range_error(X[3:6]).max() < 1e-4 * np.ptp(bounds[3:6], axis=1).max()


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_the_certificate_fails_on_wrong_bounds(penalty):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :6]
    estimator = logistic_regression(
        C=0.1, l1_ratio=float(penalty == "l1"), solver="liblinear"
    )
    model = RashomonClassifier(estimator, epsilon=0.1).fit(X, y)
    level_set, budget = model._set.level_set, model._set.budget
    V = model._query(X[:4])
    U, _ = level_set.whitened_directions(V)
    _, _, high = level_set.maxima(V, budget)
    radius = level_set.radius(budget)
    right = level_set.error_bound(U, high, budget, radius)
    assert right.max() < 1e-3 * high.value.min()
    for wrong in (
        replace(high, value=0.9 * high.value),
        replace(high, value=-1e10 * high.value),
        replace(high, model=1.5 * high.model),
        replace(high, multiplier=-high.multiplier),
        replace(high, model=np.nan * high.model),
    ):
        error = level_set.error_bound(U, wrong, budget, radius)
        assert (error >= np.abs(wrong.value - high.value) * (1 - 1e-6)).all()
        assert (error > 0.05 * high.value).all()


def test_what_newton_leaves_is_solved_by_the_reference_solver(monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :6]
    model = RashomonClassifier(epsilon=0.1).fit(X, y)
    want = model.decision_range(X[:3])

    def give_up(self, V, U, mu):
        found = Extremes.empty(*V.shape)
        found.residual[:] = np.inf
        return found

    monkeypatch.setattr(Maximiser, "solve", give_up)
    np.testing.assert_allclose(model.decision_range(X[:3]), want, rtol=1e-5)


def test_a_bound_that_no_solver_finds_is_infinite_with_a_warning(monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :6]
    model = RashomonClassifier(epsilon=0.1).fit(X, y)

    def give_up(self, V, U, mu):
        found = Extremes.empty(*V.shape)
        found.residual[:] = np.inf
        return found

    def fail(self, direction):
        raise SolverFailedError("no solver")

    monkeypatch.setattr(Maximiser, "solve", give_up)
    monkeypatch.setattr(ReferenceProgram, "maximise", fail)
    with pytest.warns(ConvergenceWarning, match="reported as infinite"):
        bounds = model.decision_range(X[:3])
    assert np.isinf(bounds).all() and (bounds[:, 0] < bounds[:, 1]).all()
