"""Offline optimisation: gradients, bounds, and what the proposals are worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skdiff import load, save
from skdiff.neural_network import LipschitzMLPRegressor
from skdiff.optimization import OfflineOptimizer
from skdiff.optimization._offline._ascent import Box, Neighbourhood, ascend
from skdiff.optimization._offline._network import (
    Penalty,
    Surrogate,
    fit_network,
    network_of,
    neural_value_and_gradient,
    sharpness_of,
)

QUADRATIC = make_pipeline(PolynomialFeatures(2), LinearRegression())


def table(n=80, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, d))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * rng.normal(size=n)


def differences(function, X, step=1e-5):
    out = np.empty_like(X)
    for j in range(X.shape[1]):
        moved = np.zeros_like(X)
        moved[:, j] = step
        out[:, j] = (function(X + moved) - function(X - moved)) / (2 * step)
    return out


# --- the surrogate --------------------------------------------------------------------


def test_the_gradient_of_the_penalty_is_that_of_autograd():
    """One difference of gradients against a second backward pass."""
    import torch

    from skdiff._nn._modules import MLP
    from skdiff.optimization._offline._sharpness import norm, penalty_gradient

    module = MLP([3, 8, 8, 1], "tanh", torch.Generator().manual_seed(0)).double()
    X = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    parameters = list(module.parameters())
    rho = 1e-4
    found, sharp = penalty_gradient(module, X, rho)
    g = torch.autograd.grad(module(X).mean(), parameters, create_graph=True)
    length = norm(list(g))
    exact = torch.autograd.grad(rho * length, parameters, allow_unused=True)
    assert sharp == pytest.approx(rho * float(length.detach()), rel=1e-12)
    error = scale = 0.0
    for f, e in zip(found, exact, strict=True):
        e = torch.zeros_like(f) if e is None else e
        error += float((f - e).square().sum())
        scale += float(e.square().sum())
    assert np.sqrt(error / scale) < 1e-3


def test_no_weight_is_the_standard_surrogate():
    X, y = table()
    plain = Surrogate(max_iter=30, random_state=0).fit(X, y)
    penalty = Penalty(0.05, 0.1, 0.0)
    same = fit_network(Surrogate(max_iter=30, random_state=0), X, y, None, penalty)
    np.testing.assert_array_equal(plain.predict(X), same.predict(X))
    # and the path of the penalty tends to it
    tiny = penalty._replace(weight=1e-12)
    near = fit_network(Surrogate(max_iter=30, random_state=0), X, y, None, tiny)
    np.testing.assert_allclose(plain.predict(X), near.predict(X), atol=1e-7)


@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_the_penalty_lowers_the_sharpness(weight):
    X, y = table(200)
    model = OfflineOptimizer(n_steps=0, sharpness_weight=weight, random_state=0)
    before, after = model.fit(X, y).surrogate_sharpness_
    assert after < 0.9 * before
    # the first of the pair is the surrogate without a penalty
    plain = OfflineOptimizer(n_steps=0, random_state=0).fit(X, y)
    assert plain.surrogate_sharpness_ == (before, before)


def test_the_adapted_weight_follows_the_target():
    X, y = table(200)
    loose = OfflineOptimizer(
        n_steps=0, sharpness_weight="auto", target_sharpness=10.0, random_state=0
    ).fit(X, y)
    tight = OfflineOptimizer(
        n_steps=0, sharpness_weight="auto", target_sharpness=0.0, random_state=0
    ).fit(X, y)
    assert tight.surrogate_sharpness_[1] < loose.surrogate_sharpness_[1]


def test_the_arrays_of_the_default_network_predict_as_it_does():
    X, y = table()
    model = Surrogate(max_iter=40, random_state=0).fit(X, y)
    network = network_of(model)
    value, slope = network.value_and_gradient(X)
    np.testing.assert_allclose(value, model.predict(X), rtol=1e-12)
    expected = differences(lambda Z: network.value_and_gradient(Z)[0], X)
    np.testing.assert_allclose(slope, expected, atol=1e-7)
    np.testing.assert_allclose(neural_value_and_gradient(model, X)[1], slope)


def test_a_constant_target_has_no_slope():
    X, _ = table()
    model = OfflineOptimizer(random_state=0).fit(X, np.full(len(X), 3.0))
    np.testing.assert_array_equal(model.predict(X), 3.0)
    assert model.surrogate_sharpness_ == (0.0, 0.0)
    assert np.all(np.isfinite(model.candidates_))


def test_other_networks_have_exact_gradients_and_a_penalty():
    X, y = table()
    surrogate = LipschitzMLPRegressor(
        3.0, hidden_layer_sizes=(8,), activation="tanh", max_iter=40, tol=0
    )
    model = OfflineOptimizer(
        surrogate, n_steps=20, sharpness_weight=0.5, random_state=0
    ).fit(X, y)
    slope = neural_value_and_gradient(model.surrogate_, X)[1]
    expected = differences(model.surrogate_.predict, X)
    np.testing.assert_allclose(slope, expected, atol=1e-6)
    assert model.surrogate_sharpness_[1] != model.surrogate_sharpness_[0]
    assert sharpness_of(model.surrogate_, X, 0.05) == pytest.approx(
        model.surrogate_sharpness_[1]
    )
    assert "_net_class" not in vars(model.surrogate_)


# --- the ascent -----------------------------------------------------------------------


def test_the_top_of_a_quadratic_is_found():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(100, 3))
    top = np.array([0.2, -0.4, 0.6])
    y = 5 - ((X - top) ** 2).sum(axis=1)
    low = y < np.median(y)
    model = OfflineOptimizer(QUADRATIC, n_steps=300).fit(X[low], y[low])
    np.testing.assert_allclose(model.propose(1).to_numpy()[0], top, atol=1e-3)
    assert model.trace_[-1] > model.trace_[0]
    assert len(model.trace_) == 301


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_candidates_stay_inside_and_are_not_worse_than_their_starts(seed, given):
    X, y = table(30, 2, seed)
    bounds = [[-0.5, 0.25], [0.0, 0.0]] if given else "data"
    model = OfflineOptimizer(
        QUADRATIC, bounds=bounds, n_steps=15, n_starts=5, step_size=0.3
    ).fit(X, y)
    low, high = model.bounds_.T
    rows = model.candidates_
    assert np.all(rows >= low) and np.all(rows <= high)
    starts = np.clip(X[np.argsort(-y, kind="stable")[:5]], low, high)
    assert model.objective_[0] >= model.predict(starts).max() - 1e-9
    assert np.all(np.diff(model.objective_) <= 0)


def test_the_distance_to_the_rows_has_its_gradient():
    X, _ = table(40, 3)
    X = X @ np.array([[1.0, 0.5, 0], [0, 2.0, 0], [0, 0, 0.1]])
    near = Neighbourhood(X)
    rng = np.random.default_rng(1)
    Z = 3 * rng.normal(size=(20, 3))
    excess, slope = near(Z)
    assert np.all(excess > 0)
    expected = differences(lambda W: near(W)[0], Z, 1e-6)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(near(X)[0], 0.0)  # rows are where they are


def test_trust_keeps_proposals_near_the_rows():
    X, y = table(60, 2)
    wide = [[-5, 5], [-5, 5]]
    free = OfflineOptimizer(Ridge(), bounds=wide).fit(X, y)
    for trust in ("mahalanobis", "ensemble"):
        kept = OfflineOptimizer(
            Ridge(), bounds=wide, trust=trust, trust_weight=20, random_state=0
        ).fit(X, y)
        lengths = [np.linalg.norm(m.candidates_[0]) for m in (kept, free)]
        assert lengths[0] < lengths[1]
        assert kept.objective_[0] <= kept.predict(kept.candidates_[:1])[0]


def test_whole_numbers_are_rounded_and_categories_held():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.uniform(size=80), rng.integers(1, 9, 80), rng.integers(3, size=80)]
    )
    y = X[:, 0] + 0.3 * X[:, 1] - (X[:, 2] - 1.0) ** 2
    model = OfflineOptimizer(
        QUADRATIC, n_starts=20, n_steps=7, categorical_features=[2]
    ).fit(X, y)
    rows = model.candidates_
    np.testing.assert_array_equal(rows[:, 1], np.round(rows[:, 1]))
    best = np.argsort(-y, kind="stable")[:20]
    assert set(rows[:, 2]) <= set(X[best, 2])


def test_no_steps_return_the_best_rows():
    X, y = table()
    model = OfflineOptimizer(Ridge(), n_steps=0, n_starts=6).fit(X, y)
    best = X[np.argsort(-y, kind="stable")[:6]]
    np.testing.assert_array_equal(
        np.unique(best, axis=0), np.unique(model.candidates_, axis=0)
    )


def test_a_step_of_any_size_climbs():
    start = np.zeros((1, 1))
    found = ascend(
        lambda X: (-((X[:, 0] - 0.3) ** 2), -2 * (X - 0.3)),
        start,
        Box(np.array([-1.0]), np.array([1.0])),
        200,
        50.0,
    )
    assert found.values[0] >= -(0.3**2)


# --- in use ---------------------------------------------------------------------------


def test_frames_keep_their_names_and_reports_their_columns():
    frame, y = load_diabetes(return_X_y=True, as_frame=True)
    model = OfflineOptimizer(Ridge(0.1), n_steps=10).fit(frame, y)
    found = model.propose(3)
    assert list(found.columns) == list(frame.columns)
    report = model.report(found, oracle=lambda X: X[:, 2])
    np.testing.assert_allclose(report["true"], found["bmi"])
    np.testing.assert_allclose(report["believed"], model.predict(found))
    assert list(model.report(found).columns) == ["believed"]


def test_a_surrogate_may_pick_columns_by_name():
    frame, y = load_diabetes(return_X_y=True, as_frame=True)
    pick = ColumnTransformer([("some", StandardScaler(), ["bmi", "bp"])])
    model = OfflineOptimizer(make_pipeline(pick, Ridge()), n_steps=30)
    rows = model.fit(frame, y).propose(1)
    assert rows["bmi"].iloc[0] > frame["bmi"].quantile(0.9)
    np.testing.assert_allclose(model.predict(rows), model.surrogate_.predict(rows))


def test_a_search_chooses_the_surrogate():
    X, y = load_diabetes(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), OfflineOptimizer(Ridge(), n_steps=3)),
        {"offlineoptimizer__surrogate__alpha": [1e-3, 1e5]},
        cv=3,
        n_jobs=2,
    ).fit(X, y)
    assert search.best_params_["offlineoptimizer__surrogate__alpha"] == 1e-3
    assert search.best_score_ > 0.4


def test_seeds_repeat_and_files_keep(tmp_path):
    X, y = table(60)
    a = OfflineOptimizer(trust="ensemble", n_steps=10, random_state=3).fit(X, y)
    b = OfflineOptimizer(trust="ensemble", n_steps=10, random_state=3).fit(X, y)
    np.testing.assert_array_equal(a.candidates_, b.candidates_)
    save(a, tmp_path / "model.npz")
    c = load(tmp_path / "model.npz")
    np.testing.assert_array_equal(a.predict(X), c.predict(X))
    assert c.propose(2).equals(a.propose(2))


def test_weights_reach_the_surrogate():
    X, y = table(60)
    w = np.random.default_rng(0).integers(0, 3, size=60)
    a = OfflineOptimizer(Ridge(), n_steps=4).fit(X, y, sample_weight=w)
    b = OfflineOptimizer(Ridge(), n_steps=4).fit(np.repeat(X, w, 0), np.repeat(y, w))
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bounds": [[0, 1]]}, "bounds must have shape"),
        ({"bounds": [[1, 0], [0, 1], [0, 1]]}, "lower bounds above"),
        ({"surrogate": LogisticRegression()}, "must be a regressor"),
        ({"surrogate": Ridge(), "sharpness_weight": 0.1}, "needs a network"),
        ({"categorical_features": [7]}, "categorical_features"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    X, y = table()
    with pytest.raises(ValueError, match=message):
        OfflineOptimizer(**arguments).fit(X, y)


def test_bad_queries_are_named():
    X, y = table()
    model = OfflineOptimizer(Ridge(), n_steps=2, n_starts=4).fit(X, y)
    for n in (0, 99, 1.5, True):
        with pytest.raises(ValueError, match="n must be an int from 1"):
            model.propose(n)
    with pytest.raises(ValueError, match="one value per row"):
        model.report(X, oracle=lambda Z: 1.0)


def test_trees_stay_where_they_start():
    X, y = table()
    model = OfflineOptimizer(DecisionTreeRegressor(random_state=0), n_steps=5)
    rows = model.fit(X, y).candidates_
    assert all(np.any(np.all(np.isclose(X, row), axis=1)) for row in rows)
    assert np.all(np.isnan(model.surrogate_sharpness_))


def branin(X):
    """Minus the Branin function on the unit square; its maximum is -.397887."""
    a, b = 15 * X[:, 0] - 5, 15 * X[:, 1]
    curve = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return -(curve**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


@pytest.mark.parametrize("trust", [None, "mahalanobis"])
def test_proposals_beat_the_rows_they_were_learned_from(trust):
    """The acceptance task on Branin: the worse half of 1000 rows."""
    better = 0
    for seed in range(3):
        X = np.random.default_rng(seed).uniform(size=(1000, 2))
        y = branin(X)
        known = y < np.median(y)
        model = OfflineOptimizer(trust=trust, random_state=seed)
        model.fit(X[known], y[known])
        rows = model.propose(min(32, len(model.candidates_)))
        better += branin(rows.to_numpy()).max() >= y[known].max()
    assert better == 3


def test_proposals_without_names_go_back_in_without_a_warning():
    X, y = table()
    model = OfflineOptimizer(Ridge(), n_steps=2).fit(X, y)
    rows = model.propose(2)
    assert list(rows.columns) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(model.predict(rows), model.predict(rows.to_numpy()))
