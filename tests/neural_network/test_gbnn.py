"""Boosted networks: their export, their gradients, their stages, their limits."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
)
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.neural_network import MLPRegressor

from skdiff.neural_network import GBNNClassifier, GBNNRegressor
from skdiff.neural_network._gbnn import _solver as solver


@pytest.fixture(scope="module")
def fitted():
    """Fitted models of every kind with their tables."""
    X, y = make_friedman1(150, 6, noise=0.3, random_state=0)
    X = X * [1, 1e3, 1e-3, 1, 1, 1] + [0, 5, 0, 0, -9, 0]
    names = np.array(["low", "middle", "high"])
    codes = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    kinds = {
        "one": (GBNNRegressor, y),
        "two": (GBNNRegressor, np.c_[y, 100 * X[:, 0] - y]),
        "binary": (GBNNClassifier, names[np.minimum(codes, 1)]),
        "multiclass": (GBNNClassifier, names[codes]),
    }
    found = {}
    for kind, (cls, target) in kinds.items():
        model = cls(n_hidden=23, units_per_step=3, learning_rate=0.3, random_state=0)
        found[kind] = model.fit(X, target), X, target
    return found


KINDS = pytest.mark.parametrize("kind", ["one", "two", "binary", "multiclass"])


# --- 1 the export -------------------------------------------------------------------


@KINDS
def test_the_exported_network_is_the_model(fitted, kind):
    model, X, y = fitted[kind]
    mlp = model.to_mlp()
    assert mlp.hidden_layer_sizes == (23,) and mlp.n_layers_ == 3
    rows = np.r_[X, 10 * X]  # also where nobody has been
    if kind in ("one", "two"):
        scale = np.abs(y).max()
        np.testing.assert_allclose(
            mlp.predict(rows), model.predict(rows), atol=1e-8 * scale
        )
    else:
        np.testing.assert_allclose(
            mlp.predict_proba(rows), model.predict_proba(rows), atol=1e-8
        )
        np.testing.assert_array_equal(mlp.predict(rows), model.predict(rows))
        np.testing.assert_array_equal(mlp.classes_, model.classes_)
    assert mlp.score(X, y) == pytest.approx(model.score(X, y), abs=1e-8)


def test_the_export_knows_the_names_of_the_columns():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = GBNNRegressor(n_hidden=3, random_state=0).fit(X, y)
    mlp = model.to_mlp()
    np.testing.assert_allclose(mlp.predict(X), model.predict(X), rtol=1e-10)
    with pytest.raises(ValueError, match="feature names"):
        mlp.predict(X[X.columns[::-1]])


# --- 2 the training loss ------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("units", [1, 4])
def test_small_whole_steps_never_lose(n_classes, units):
    X, y = make_friedman1(150, 6, noise=0.3, random_state=0)
    options = {"learning_rate": 0.05, "subsample": 1.0, "units_per_step": units}
    if n_classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))
        model = GBNNClassifier(n_hidden=40, random_state=0, **options).fit(X, y)
    else:
        model = GBNNRegressor(n_hidden=40, random_state=0, **options).fit(X, y)
    assert (np.diff(model.train_score_) <= 1e-12).all()
    assert model.train_score_[-1] < 0.9 * model.train_score_[0]


@KINDS
def test_the_training_loss_is_the_metric(fitted, kind):
    model, X, y = fitted[kind]
    if kind in ("one", "two"):
        losses = [mean_squared_error(y, F) for F in model.staged_predict(X)]
    else:
        losses = [
            log_loss(y, p, labels=model.classes_) for p in model.staged_predict_proba(X)
        ]
    np.testing.assert_allclose(model.train_score_, losses, rtol=1e-6)


# --- 3 one step ---------------------------------------------------------------------


def test_one_step_is_a_small_network_scaled(monkeypatch):
    monkeypatch.setattr(solver, "SETTLED", 1e-12)
    monkeypatch.setattr(solver, "MEMORY", 20)
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    options = {"n_hidden": 3, "units_per_step": 3, "subsample": 1.0, "alpha": 1e-3}
    options["max_iter"] = 2000
    whole = GBNNRegressor(learning_rate=1.0, random_state=0, **options).fit(X, y)
    tenth = GBNNRegressor(learning_rate=0.1, random_state=0, **options).fit(X, y)
    assert whole.n_iter_ == 1
    np.testing.assert_allclose(
        tenth.predict(X) - y.mean(), (whole.predict(X) - y.mean()) / 10, atol=1e-8
    )
    # a network of scikit-learn with the same objective, started here, stays here
    z = (y - y.mean()) / y.std()
    peer = MLPRegressor(
        hidden_layer_sizes=(3,),
        activation="logistic",
        solver="lbfgs",
        alpha=1e-3 * len(X),  # which it divides by the rows
        warm_start=True,
        max_iter=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(X, z)
        peer.coefs_ = [whole.coefs_[0].copy(), whole.coefs_[1] / y.std()]
        peer.intercepts_ = [
            whole.intercepts_[0].copy(),
            (whole.intercepts_[1] - y.mean()) / y.std(),
        ]
        before = np.mean((peer.predict(X) - z) ** 2) / 2
        before += 1e-3 / 2 * sum(np.sum(W**2) for W in peer.coefs_)
        peer.set_params(max_iter=500, tol=1e-10).fit(X, z)
    assert peer.loss_ == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_gradient_of_a_block_by_finite_differences(units, outputs):
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(30, 4)), np.ones(30)]
    s = rng.uniform(0.5, 2, 30)
    s /= s.sum()
    R = rng.normal(size=(30, outputs))
    R -= s @ R
    theta = rng.normal(size=5 * units)
    _, gradient, _, _ = solver.block_objective(theta, X, R, s, 1e-2)
    for j in range(len(theta)):
        step = np.zeros(len(theta))
        step[j] = 1e-6
        up = solver.block_objective(theta + step, X, R, s, 1e-2)[0]
        down = solver.block_objective(theta - step, X, R, s, 1e-2)[0]
        assert (up - down) / 2e-6 == pytest.approx(gradient[j], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("loss", [solver.TwoClasses(), solver.ManyClasses()])
def test_residuals_are_gradients(loss):
    rng = np.random.default_rng(0)
    k = 1 if isinstance(loss, solver.TwoClasses) else 3
    F = rng.normal(size=(6, k))
    codes = rng.integers(0, 3, 6)
    Y = np.where(codes > 0, 1.0, -1.0)[:, None] if k == 1 else np.eye(3)[codes]
    s = rng.uniform(0.5, 1, 6)
    r = loss.residual(F, Y)
    for i in range(6):
        for j in range(k):
            step = np.zeros_like(F)
            step[i, j] = 1e-6
            slope = loss.loss(F + step, Y, s) - loss.loss(F - step, Y, s)
            assert -slope / 2e-6 / s[i] == pytest.approx(r[i, j], rel=1e-6, abs=1e-9)
    if k == 1:  # the Newton step is the minimum of the quadratic model along h
        h = rng.normal(size=(6, 1))

        def along(t):
            return loss.loss(F + t * h, Y, s)

        slope = (along(1e-4) - along(-1e-4)) / 2e-4
        curve = (along(1e-4) - 2 * along(0) + along(-1e-4)) / 1e-8
        assert loss.step(h, r, F, Y, s) == pytest.approx(-slope / curve, rel=1e-4)


# --- stages and pruning -------------------------------------------------------------


@KINDS
def test_stages_end_in_the_model_and_pruning_takes_one(fitted, kind):
    model, X, _ = fitted[kind]
    method = "predict" if kind in ("one", "two") else "decision_function"
    stages = list(getattr(model, f"staged_{method}")(X))
    assert len(stages) == model.n_iter_ == 8
    np.testing.assert_allclose(stages[-1], getattr(model, method)(X), rtol=1e-9)
    small = model.prune(3)
    assert type(small) is type(model) and small.n_hidden_ == 9 and small.n_iter_ == 3
    np.testing.assert_allclose(getattr(small, method)(X), stages[2], rtol=1e-9)
    assert model.n_iter_ == 8 and small.to_mlp().hidden_layer_sizes == (9,)
    np.testing.assert_array_equal(small.predict(X), small.prune(3).predict(X))
    for k in (0, 9, 1.5):
        with pytest.raises(ValueError, match=f"k={k}"):
            model.prune(k)
    if kind not in ("one", "two"):
        last = list(model.staged_predict(X))[-1]
        np.testing.assert_array_equal(last, model.predict(X))


def test_the_last_step_takes_the_rest(fitted):
    model, _, _ = fitted["one"]
    assert model.n_hidden_ == 23 and model.coefs_[0].shape == (6, 23)
    sizes = np.diff(model._ends)
    np.testing.assert_array_equal(sizes, [3] * 7 + [2])


def test_growth_stops_on_held_out_rows():
    X, y = load_diabetes(return_X_y=True)
    model = GBNNRegressor(
        n_iter_no_change=5, learning_rate=0.3, random_state=0, verbose=False
    ).fit(X, y)
    assert model.stopped_ == "converged" and model.n_iter_ < 200
    assert model.validation_score_.argmin() == model.n_iter_ - 1
    assert len(model.train_score_) == model.n_iter_
    # too few rows to hold any out
    few = GBNNRegressor(n_hidden=5, n_iter_no_change=2, random_state=0)
    few.fit(X[:40], y[:40])
    assert few.validation_score_ is None and few.n_iter_ == 5


# --- what else is promised ----------------------------------------------------------


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), classify=st.booleans())
def test_weights_are_repeated_rows_and_order_is_nothing(seed, classify):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(130, 3))  # enough for the rows to be sampled
    y = np.sin(X[:, 0]) + X[:, 1]
    y = np.digitize(y, [-0.5, 0.5]) if classify else y
    weight = rng.integers(0, 3, 130)
    cls = GBNNClassifier if classify else GBNNRegressor
    model = cls(n_hidden=6, random_state=0, n_iter_no_change=9)
    expected = model.fit(X, y, sample_weight=weight).predict(X)
    rows = np.repeat(np.arange(130), weight)[rng.permutation(weight.sum())]
    np.testing.assert_array_equal(model.fit(X[rows], y[rows]).predict(X), expected)


def test_same_seed_same_bits_and_the_sample_depends_on_it():
    X, y = load_breast_cancer(return_X_y=True)
    proba = [
        GBNNClassifier(n_hidden=8, random_state=seed).fit(X, y).predict_proba(X)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(proba[0], proba[1])
    assert not np.array_equal(proba[0], proba[2])


@settings(max_examples=6, deadline=None, derandomize=True)
@given(scale=st.sampled_from([1e-6, 1e5]), shift=st.sampled_from([0.0, 4.0]))
def test_units_do_not_matter(scale, shift):
    X, y = make_friedman1(60, 5, random_state=1)
    model = GBNNRegressor(n_hidden=5, random_state=0)
    expected = model.fit(X, y).predict(X)
    moved = (X + shift) * scale
    got = model.fit(moved, y * scale).predict(moved)
    np.testing.assert_allclose(got, expected * scale, rtol=1e-4)


def test_whole_steps_on_certain_rows_do_not_explode():
    X, y = load_breast_cancer(return_X_y=True)
    A, B, a, b = train_test_split(X, y, random_state=0)
    model = GBNNClassifier(n_hidden=50, learning_rate=1.0, random_state=0).fit(A, a)
    assert (np.diff(model.train_score_) <= 0).all()
    assert model.score(B, b) >= 0.93


def test_one_class_is_a_constant():
    X, _ = load_wine(return_X_y=True)
    model = GBNNClassifier(random_state=0).fit(X, ["only"] * len(X))
    np.testing.assert_array_equal(model.predict(X[:3]), ["only"] * 3)
    np.testing.assert_array_equal(model.predict_proba(X[:3]), np.ones((3, 1)))
    assert list(model.staged_predict(X)) == []
    with pytest.raises(ValueError, match="constant"):
        model.to_mlp()


def test_a_constant_column_never_matters():
    X, y = load_diabetes(return_X_y=True)
    X = np.c_[X, np.full(len(X), 7.0)]
    model = GBNNRegressor(n_hidden=5, random_state=0).fit(X, y)
    assert not model.coefs_[0][-1].any()


def test_limits_leave_a_model(monkeypatch):
    X, y = load_diabetes(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = GBNNRegressor(time_limit=1e-9, random_state=0).fit(X, y)
    assert model.stopped_ == "time" and model.n_iter_ == 1
    fit_block, calls = solver.fit_block, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return fit_block(*arguments)

    monkeypatch.setattr(solver, "fit_block", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = GBNNRegressor(random_state=0).fit(X, y)
    assert model.stopped_ == "interrupted" and model.n_iter_ == 3
    calls[:] = [1, 1, 1]
    fresh = GBNNRegressor(random_state=0)
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(X, y)
    assert not hasattr(fresh, "n_iter_")


def test_quality():
    X, y = load_diabetes(return_X_y=True)
    folds = KFold(5, shuffle=True, random_state=0)

    def error(model):
        score = cross_val_score(
            model, X, y, cv=folds, scoring="neg_root_mean_squared_error"
        )
        return -score.mean()

    ours = error(GBNNRegressor(n_hidden=50, random_state=0))
    assert ours <= 58
    assert ours < error(GradientBoostingRegressor(random_state=0))
    X, y = load_digits(return_X_y=True)
    A, B, a, b = train_test_split(X, y, test_size=0.3, random_state=0)
    model = GBNNClassifier(n_hidden=100, units_per_step=5, random_state=0).fit(A, a)
    assert model.score(B, b) >= 0.95 > DummyClassifier().fit(A, a).score(B, b)


def test_rare_events_are_no_worse_than_their_rate():
    ratios = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(6000, 10))
        p = 1 / (1 + np.exp(5.2 - X[:, 0] - 0.7 * X[:, 1]))
        y = (rng.random(6000) < p).astype(int)
        model = GBNNClassifier(random_state=0).fit(X[:1000], y[:1000])
        rate = np.full(5000, y[:1000].mean())
        ours = log_loss(y[1000:], model.predict_proba(X[1000:])[:, 1])
        ratios.append(ours / log_loss(y[1000:], rate))
    assert np.mean(ratios) < 1.0 and max(ratios) < 1.1, ratios


def test_three_classes_start_at_their_shares():
    Y = np.eye(3)[[0, 0, 0, 1, 1, 2]]
    start = solver.ManyClasses().start(Y, np.full(6, 1 / 6))
    np.testing.assert_allclose(softmax(start), [3 / 6, 2 / 6, 1 / 6])
