"""Sets at the edges: large tolerances, repeated rows, wrong answers, hostile tables."""

import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, StandardScaler

from skdiff._convex import _batched
from skdiff._convex._solve import SolverFailedError
from skdiff.multiplicity import RashomonClassifier, RashomonRegressor
from skdiff.multiplicity._rashomon import _base
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser, _compact
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


def table(n=200, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] + rng.normal(size=n), rng


def reference_ranges(model, X):
    fitted = model._set
    level = fitted.level_set.objective + fitted.budget
    program = ReferenceProgram(fitted.level_set.problem, level)
    V = model._query(X)
    return np.array([[v @ program.maximise(s * v)[0] for s in (-1, 1)] for v in V])


def test_ridge_classifiers_are_least_squares_on_signs():
    X, f, _ = table()
    y = np.where(f > 0, "yes", "no")
    model = RashomonClassifier(RidgeClassifier(alpha=3.0), epsilon=0.05).fit(X, y)
    same = RashomonRegressor(Ridge(alpha=3.0), epsilon=0.05)
    same.fit(X, np.where(f > 0, 1.0, -1.0))
    np.testing.assert_allclose(model.decision_range(X), same.predict_range(X))
    assert not hasattr(model, "predict_proba")
    assert (model.predict(X) == RidgeClassifier(alpha=3.0).fit(X, y).predict(X)).all()
    # of three classes one set each, with the weights of the row's own class
    y3 = np.digitize(f, [-1, 1])
    inner = RidgeClassifier(class_weight={0: 1.0, 1: 2.0, 2: 5.0})
    many = RashomonClassifier(inner, epsilon=0.05).fit(X, y3)
    np.testing.assert_allclose(many.coef_, inner.fit(X, y3).coef_, rtol=1e-8)
    assert len(many.estimators_) == 3


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_tweedie_ranges_agree_with_cvxpy(power):
    X, f, rng = table(120)
    y = rng.poisson(np.exp(f / 2)) * rng.gamma(2.0, size=120) + (power == 2.0)
    model = RashomonRegressor(TweedieRegressor(power=power, alpha=0.1), epsilon=0.1)
    model.fit(X, y)
    want = reference_ranges(model, X[:3])
    np.testing.assert_allclose(
        model.decision_range(X[:3]) / model._set.scaling.unit, want, rtol=1e-5
    )
    peer = TweedieRegressor(power=power, alpha=0.1, tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.predict(X), peer.predict(X), rtol=1e-4)


def test_liblinear_of_three_classes_is_one_vs_rest():
    X, f, _ = table()
    codes = np.digitize(f, [-1, 1])
    parts = [
        LogisticRegression(solver="liblinear", tol=1e-10).fit(X, codes == k)
        for k in range(3)
    ]
    model = LogisticRegression(solver="liblinear", tol=1e-10)
    model.coef_ = np.concatenate([part.coef_ for part in parts])
    model.intercept_ = np.concatenate([part.intercept_ for part in parts])
    model.classes_, model.n_iter_ = np.arange(3), np.ones(3)
    audit = RashomonClassifier(FrozenEstimator(model)).fit(X, codes)
    for part, k in zip(audit.estimators_, range(3), strict=True):
        alone = RashomonClassifier(parts[k].set_params(tol=1e-10)).fit(X, codes == k)
        np.testing.assert_allclose(part.decision_range(X), alone.decision_range(X))


def test_a_threshold_needs_probabilities_of_two_classes():
    X, f, _ = table()
    with pytest.raises(ValueError, match="no probabilities"):
        RashomonClassifier(RidgeClassifier(), threshold=0.3).fit(X, f > 0)
    with pytest.raises(ValueError, match="three classes"):
        RashomonClassifier(threshold=0.3).fit(X, np.digitize(f, [-1, 1]))
    model = RashomonClassifier(RidgeClassifier()).fit(X, f > 0)
    with pytest.raises(ValueError, match="the model has none"):
        model.conflicts(X, threshold=0.3)


def test_a_frozen_model_of_other_rows_is_refused():
    X, f, _ = table(400)
    y = (f > 1).astype(int)
    kept = np.r_[np.flatnonzero(y), np.flatnonzero(y == 0)[: y.sum()]]
    balanced = LogisticRegression().fit(X[kept], y[kept])
    with pytest.raises(ValueError, match="fitted to other rows or weights"):
        RashomonClassifier(FrozenEstimator(balanced)).fit(X, y)
    changed = LogisticRegression().fit(X, y)
    changed.coef_ = changed.coef_ * 2
    with pytest.raises(ValueError, match="coefficients were changed"):
        RashomonClassifier(FrozenEstimator(changed)).fit(X, y)

    class Own(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            return super().fit(X, y, sample_weight=1 + 5 * np.asarray(y))

    with pytest.raises(ValueError, match="its fit has another objective"):
        RashomonClassifier(Own()).fit(X, y)
    with pytest.raises(ValueError, match=r"classes \[0, 1\]"):
        three = LogisticRegression().fit(X, np.digitize(f, [-1, 1]))
        RashomonClassifier(FrozenEstimator(three)).fit(X, y)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_fit_that_stopped_early_names_max_iter(frozen):
    X, f, _ = table()
    model = LogisticRegression(max_iter=1)
    if frozen:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = FrozenEstimator(model.fit(10 * X, f > 0))
    with pytest.warns(ConvergenceWarning, match="Raise its max_iter"):
        audit = RashomonClassifier(model).fit(10 * X, f > 0)
    full = RashomonClassifier().fit(10 * X, f > 0)
    np.testing.assert_allclose(audit.coef_, full.coef_, rtol=1e-8)


def test_weights_pass_with_metadata_routing_on():
    X, f, rng = table()
    w = rng.uniform(0.5, 2, len(X))
    want = RashomonRegressor(make_pipeline(MinMaxScaler(), Ridge()))
    want = want.fit(X, f, sample_weight=w).coef_
    with sklearn.config_context(enable_metadata_routing=True):
        for inner in (Ridge(), Ridge().set_fit_request(sample_weight=True)):
            audit = RashomonRegressor(make_pipeline(MinMaxScaler(), inner))
            audit.fit(X, f, sample_weight=w)
            np.testing.assert_allclose(audit.coef_, want)


def test_rows_of_weight_zero_reach_the_scaler_as_in_a_pipeline():
    X, f, rng = table()
    w = rng.integers(0, 2, len(X)).astype(float)
    X[w == 0] *= 7
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10))
    audit = RashomonClassifier(pipeline).fit(X, f > 0, sample_weight=w)
    pipeline.fit(X, f > 0, logisticregression__sample_weight=w)
    np.testing.assert_allclose(
        audit.predict_proba(X), pipeline.predict_proba(X), atol=1e-6
    )
    # a class without weight is as if its rows were absent
    y = np.digitize(f, [-1, 1])
    two = RashomonClassifier().fit(X, y, sample_weight=(y < 2).astype(float))
    assert two.classes_.tolist() == [0, 1]


def test_a_failed_fit_leaves_nothing_fitted():
    X, f, _ = table()
    inner = make_pipeline(PowerTransformer("box-cox"), Ridge())
    audit = RashomonRegressor(inner).fit(np.exp(X), f)
    with pytest.raises(ValueError, match="strictly positive"):
        audit.fit(X, f)
    with pytest.raises(NotFittedError):
        audit.predict(X)


def test_sampler_steps_run_as_their_pipeline_runs_them():
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    pipeline = pytest.importorskip("imblearn.pipeline")
    X, f, _ = table(400)
    y = (f > 1.5).astype(int)
    inner = pipeline.make_pipeline(
        over_sampling.RandomOverSampler(random_state=0),
        StandardScaler(),
        LogisticRegression(),
    )
    audit = RashomonClassifier(inner).fit(X, y)
    p = inner.fit(X, y).predict_proba(X)[:, 1]
    low, high = audit.predict_proba_range(X).T
    assert ((low <= p) & (p <= high)).all()
    assert list(audit.estimator_.named_steps) == list(inner.named_steps)
    with pytest.raises(ValueError, match="resamples rows"):
        audit.fit(X, y, sample_weight=np.ones(len(X)))


def test_hostile_tables_are_refused_or_answered_soon():
    X, f, rng = table(60)
    with pytest.raises(ValueError, match="Rescale y"):
        RashomonRegressor().fit(X, 1e200 * f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of so many classes
        many = RashomonClassifier().fit(X, np.arange(60))
    with pytest.raises(ValueError, match="60 classes"):
        many.decision_range(X)
    huge = rng.integers(2**53, 2**60, size=(60, 3))
    bounds = RashomonClassifier().fit(huge, f > 0).decision_range(huge)
    assert np.isfinite(bounds).all() and (bounds[:, 0] <= bounds[:, 1]).all()


def test_long_sparse_tables_stay_sparse(monkeypatch):
    X, f, _ = table(300, 6)
    X[np.abs(X) < 1] = 0
    dense = RashomonClassifier(epsilon=0.05).fit(X, f > 0)
    monkeypatch.setattr(_base, "LARGEST_CELLS", 100)
    kept = RashomonClassifier(epsilon=0.05).fit(csr_array(X), f > 0)
    assert kept._set.scaling.sparse and kept.hessian_ is None
    want = dense.decision_range(X)
    np.testing.assert_allclose(kept.decision_range(csr_array(X)), want, atol=1e-5)
    # what the sparse solver does not know is solved on a dense copy
    lasso = logistic_regression(C=0.3, l1_ratio=1.0, solver="liblinear", tol=1e-8)
    both = [
        RashomonClassifier(lasso, epsilon=0.05).fit(Z, f > 0).decision_range(X[:5])
        for Z in (X, csr_array(X))
    ]
    np.testing.assert_allclose(*both, rtol=1e-6)


def test_blocks_of_rows_give_the_same_gram_matrices(monkeypatch):
    rng = np.random.default_rng(0)
    X, s, D = rng.normal(size=(700, 5)), rng.uniform(size=700), rng.random((9, 700))
    kept = _batched.Hessians(X, s)(D)
    monkeypatch.setattr(_batched, "KEPT_CELLS", 0)
    monkeypatch.setattr(_batched, "BLOCK_CELLS", 1000)
    np.testing.assert_allclose(_batched.Hessians(X, s)(D), kept, rtol=1e-10)
    np.testing.assert_allclose(_batched.Hessians(X, s)(D[:2]), kept[:2], rtol=1e-10)
    np.testing.assert_allclose(_batched.gram(X, s), X.T @ (s[:, None] * X), rtol=1e-10)
    y = rng.integers(0, 2, 700)
    model = RashomonClassifier(epsilon=0.1).fit(X, y)
    small = model.decision_range(X[:30])
    monkeypatch.undo()
    np.testing.assert_allclose(
        RashomonClassifier(epsilon=0.1).fit(X, y).decision_range(X[:30]), small
    )


def test_tall_tables_need_no_table_beside_the_two_that_are_held():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120_000, 20))
    y = X @ rng.normal(size=20) / 4 + rng.logistic(size=len(X)) > 0
    model = RashomonClassifier(LogisticRegression(), epsilon=0.01).fit(X, y)
    whole = model.decision_range(X[:8])
    tracemalloc.start()
    held = tracemalloc.get_traced_memory()[0]
    some = model.decision_range(X[:16])
    peak = tracemalloc.get_traced_memory()[1] - held
    tracemalloc.stop()
    # second derivatives at 16 models are 0.8 of the table, blocks of rows the rest
    assert peak < 2.3 * X.nbytes
    np.testing.assert_allclose(some[:8], whole, rtol=1e-9)


def test_rows_are_moved_up_within_a_large_table(monkeypatch):
    table = np.arange(12.0).reshape(4, 3)
    rows = np.array([False, True, False, True])
    expected = table[rows]
    np.testing.assert_array_equal(_compact(table.copy(), rows), expected)
    monkeypatch.setattr("skdiff.multiplicity._sets._maximiser.CHUNK_CELLS", 1)
    large = table.copy()
    kept = _compact(large, rows)
    np.testing.assert_array_equal(kept, expected)
    assert np.shares_memory(kept, large)
    fixed = np.broadcast_to(np.ones(3), (4, 3))
    np.testing.assert_array_equal(_compact(fixed, rows), np.ones((2, 3)))
