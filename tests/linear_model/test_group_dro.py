"""The worst group: cone solvers, certificates, and what the groups promise."""

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff._convex._linear_rows import (
    LogisticRows,
    SoftmaxRows,
    SquaredHingeRows,
    SquaredRows,
    lower_bound,
)
from skdiff._convex._minimax import simplex_qp
from skdiff.linear_model import GroupDROClassifier, GroupDRORegressor


def drawn(seed, n=200, p=4, G=3, kind="binary"):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    g = rng.choice(G, n, p=np.arange(1, G + 1) / (G * (G + 1) / 2))
    g[:G] = np.arange(G)
    W = rng.normal(size=(G, p))
    f = np.einsum("ij,ij->i", X, W[g])
    if kind == "values":
        return X, f + rng.normal(size=n) * (1 + g), g
    y = (f + rng.logistic(size=n) > 0).astype(int)
    if kind == "multi":
        y = y + (X[:, 0] + rng.normal(size=n) > 1)
    y[:3] = [0, 1, 2 if kind == "multi" else 0]
    return X, y, g


def model_for(kind, alpha, **how):
    cls = GroupDRORegressor if kind == "values" else GroupDROClassifier
    return cls(alpha, **how)


def losses_of(model, X, y):
    if hasattr(model, "classes_"):
        proba = model.predict_log_proba(X)
        return -proba[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return (y - model.predict(X)) ** 2


@pytest.mark.parametrize("kind", ["binary", "multi", "values"])
@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("adjustment", [0.0, 2.0])
def test_the_gap_is_proved(kind, alpha, adjustment):
    X, y, g = drawn(0, kind=kind)
    model = model_for(kind, alpha, group_adjustment=adjustment).fit(X, y, groups=g)
    assert 0 <= model.dual_gap_ <= 1e-7
    rows = losses_of(model, X, y)
    means = np.array([rows[g == k].mean() for k in range(3)])
    np.testing.assert_allclose(model.group_losses_, means, rtol=1e-10)
    adjusted = means + adjustment / np.sqrt(np.bincount(g))
    value = adjusted.max() + alpha / 2 * np.sum(model.coef_**2)
    assert model.objective_ == pytest.approx(value, rel=1e-12)
    assert model.group_weights_.sum() == pytest.approx(1)
    # groups with weight are those with the largest adjusted loss
    used = model.group_weights_ > 1e-8
    np.testing.assert_allclose(adjusted[used], adjusted.max(), rtol=1e-8)


@pytest.mark.parametrize("kind", ["binary", "multi", "values"])
def test_columns_far_from_zero_change_nothing(kind):
    X, y, g = drawn(3, kind=kind)
    near = model_for(kind, 0.1).fit(X, y, groups=g)
    far = model_for(kind, 0.1).fit(X + 1e8, y, groups=g)
    assert 0 <= far.dual_gap_ <= 1e-7
    # eight digits of each number are left
    assert far.objective_ == pytest.approx(near.objective_, abs=1e-6)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-5)


@pytest.mark.parametrize("kind", ["binary", "multi", "values"])
def test_the_statement_has_the_same_solution(kind):
    X, y, g = drawn(1, kind=kind)
    for alpha in (1e-2, 0.5):
        ours = model_for(kind, alpha, group_adjustment=1.0).fit(X, y, groups=g)
        peer = model_for(kind, alpha, group_adjustment=1.0, solver="cvxpy")
        peer.fit(X, y, groups=g)
        assert ours.objective_ <= peer.objective_ + 1e-9
        assert peer.objective_ - ours.objective_ < 1e-6
        assert 0 <= peer.dual_gap_ < 1e-6
        np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-3)
        np.testing.assert_allclose(ours.group_weights_, peer.group_weights_, atol=1e-3)


def test_the_weighted_loss_has_the_same_minimiser():
    X, y, g = drawn(2, kind="values")
    model = GroupDRORegressor(0.1).fit(X, y, groups=g)
    weight = (model.group_weights_ / np.bincount(g))[g]
    peer = Ridge(0.05).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-8)
    X, y, g = drawn(2)
    model = GroupDROClassifier(0.1).fit(X, y, groups=g)
    weight = (model.group_weights_ / np.bincount(g))[g]
    peer = LogisticRegression(C=10.0, tol=1e-10).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-6)


def test_equal_groups_are_the_usual_model():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, :5])
    both = np.r_[X, X], np.r_[y, y], np.repeat(["a", "b"], len(y))
    model = GroupDROClassifier(0.01).fit(*both[:2], groups=both[2])
    peer = LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["binary", "multi", "values"]),
    alpha=st.sampled_from([0.0, 1e-4, 0.1, 10.0]),
    n=st.sampled_from([12, 60]),
    G=st.integers(2, 6),
)
def test_certificates_hold_and_no_model_is_better(seed, kind, alpha, n, G):
    X, y, g = drawn(seed, n=n, G=G, kind=kind)
    model = model_for(kind, alpha).fit(X, y, groups=g)
    assert model.dual_gap_ >= 0
    if alpha > 0:
        assert model.dual_gap_ <= 1e-7
    rng = np.random.default_rng(seed)
    coef, intercept, best = model.coef_, model.intercept_, model.objective_
    for size in (1e-3, 0.1):
        model.coef_ = coef + size * rng.normal(size=coef.shape)
        model.intercept_ = intercept + size * rng.normal(size=np.shape(intercept))
        rows = losses_of(model, X, y)
        worst = max(rows[g == k].mean() for k in range(G))
        value = worst + alpha / 2 * np.sum(model.coef_**2)
        assert value >= best - model.dual_gap_ - 1e-12


@pytest.mark.parametrize("kind", ["binary", "hinge", "multi", "values"])
def test_bounds_of_wrong_coefficients_stay_below(kind):
    rng = np.random.default_rng(0)
    A = np.c_[rng.normal(size=(50, 3)), np.ones(50)]
    y = rng.integers(0, 3 if kind == "multi" else 2, 50)
    rows = {
        "binary": lambda: LogisticRows(A, y),
        "hinge": lambda: SquaredHingeRows(A, 2.0 * y - 1),
        "multi": lambda: SoftmaxRows(A, y, 3),
        "values": lambda: SquaredRows(A, rng.normal(size=50)),
    }[kind]()
    p = rng.dirichlet(np.ones(50))
    ridge = np.tile([0.1, 0.1, 0.1, 0.0], rows.n_outputs)
    w = np.zeros(rows.size)
    for _ in range(60):
        parts = rows.parts(w)
        H = rows.hessian(parts.second, p) + np.diag(ridge + 1e-12)
        g = rows.pull(p[:, None] * parts.first) + ridge * w
        w = w - 0.5 * np.linalg.solve(H, g)
    best = p @ rows.values(w) + ridge @ w**2 / 2
    assert lower_bound(rows, p, ridge, w) == pytest.approx(best, abs=1e-11)
    for size in (1e-4, 1e-2, 1.0):
        wrong = w + size * rng.normal(size=len(w))
        assert lower_bound(rows, p, ridge, wrong) < best


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 8))
def test_quadratic_programs_on_the_simplex(seed, m, rank):
    rng = np.random.default_rng(seed)
    L, b = rng.normal(size=(m, rank)), rng.normal(size=m)
    q = simplex_qp(b, L @ L.T, np.full(m, 1 / m))
    assert q.min() >= 0 and q.sum() == pytest.approx(1)
    slope = b - L @ (L.T @ q)
    # no vertex of the simplex lies uphill
    assert linprog(-slope, A_eq=np.ones((1, m)), b_eq=1).fun >= -slope @ q - 1e-8


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(["binary", "values"]))
def test_weights_are_repeated_rows(seed, kind):
    X, y, g = drawn(seed, n=60, kind=kind)
    weight = np.random.default_rng(seed).integers(0, 3, 60)
    weight[:3] = 1
    for adjustment in (0.0, 1.0):
        model = model_for(kind, 0.1, group_adjustment=adjustment)
        one = model.fit(X, y, weight, groups=g).coef_
        again = model.fit(
            np.repeat(X, weight, axis=0),
            np.repeat(y, weight),
            groups=np.repeat(g, weight),
        )
        np.testing.assert_allclose(again.coef_, one, atol=1e-6)


def test_units_of_the_target_change_nothing():
    X, y, g = drawn(3, kind="values")
    one = GroupDRORegressor(0.1).fit(X, y, groups=g)
    other = GroupDRORegressor(0.1).fit(X, 1e6 * y + 1e3, groups=g)
    np.testing.assert_allclose(other.coef_, 1e6 * one.coef_, rtol=1e-7)
    assert other.objective_ == pytest.approx(1e12 * one.objective_, rel=1e-9)


def test_groups_of_any_kind():
    X, y, g = drawn(4)
    expected = GroupDROClassifier(0.1).fit(X, y, groups=g)
    names = np.array(["c", "a", "b"])
    for labels in (names[g], pd.Series(names[g], index=g), names[g].astype(object)):
        model = GroupDROClassifier(0.1).fit(X, y, groups=labels)
        assert list(model.groups_) == ["a", "b", "c"]
        np.testing.assert_allclose(
            model.group_weights_, expected.group_weights_[[1, 2, 0]], atol=1e-7
        )
    mixed = np.array([("x", 1, 2.5)[k] for k in g], dtype=object)
    model = GroupDROClassifier(0.1).fit(X, y, groups=mixed)
    assert set(model.groups_.tolist()) == {"x", 1, 2.5}


def test_bad_groups_are_refused():
    X, y, g = drawn(5)
    with pytest.raises(ValueError, match="requires groups"):
        GroupDROClassifier().fit(X, y)
    with pytest.raises(ValueError, match="one group, 'all'"):
        GroupDROClassifier().fit(X, y, groups=["all"] * len(y))
    with pytest.raises(ValueError, match="inconsistent"):
        GroupDRORegressor().fit(X, y, groups=g[:-1])
    missing = g.astype(float)
    missing[7] = np.nan
    with pytest.raises(ValueError, match=r"NaN or None in 1 rows.* 7\."):
        GroupDRORegressor().fit(X, y, groups=missing)
    with pytest.raises(ValueError, match="one group"):
        GroupDRORegressor().fit(X, y, (g == 0).astype(float), groups=g)
    with pytest.raises(ValueError, match="groups should be a 1d array"):
        GroupDRORegressor().fit(X, y, groups=np.column_stack([g, g]))


def test_one_weight_for_all_rows_is_none():
    X, y, g = drawn(5)
    one = GroupDRORegressor().fit(X, y, groups=g)
    other = GroupDRORegressor().fit(X, y, 2.0, groups=g)
    np.testing.assert_allclose(other.coef_, one.coef_)


def test_a_small_group_gains_and_the_mean_pays():
    rng, gains = np.random.default_rng(0), []
    for _ in range(5):
        X = rng.normal(size=(2000, 5))
        g = (rng.random(2000) < 0.1).astype(int)
        w = np.where(g[:, None], [1, -2, 0, 0, 1.0], [1, 1, 1, 0, 0])
        y = (np.einsum("ij,ij->i", X, w) + rng.logistic(size=2000) > 0).astype(int)
        half = np.arange(2000) < 1000
        plain = LogisticRegression(C=1.0).fit(X[half], y[half])
        ours = GroupDROClassifier().fit(X[half], y[half], groups=g[half])
        found = []
        for model in (plain, ours):
            rows = -model.predict_log_proba(X[~half])[np.arange(1000), y[~half]]
            found.append([rows[g[~half] == 1].mean(), rows.mean()])
        gains.append(np.subtract(*found))
    small, mean = np.mean(gains, axis=0)
    assert small > 0.1 and mean < 0


def test_groups_are_routed_through_a_search():
    X, y = load_wine(return_X_y=True)
    g = (X[:, 0] > 13).astype(int)
    with sklearn.config_context(enable_metadata_routing=True):
        model = GroupDROClassifier().set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), model)
        grid = {"groupdroclassifier__alpha": [1e-2, 10.0]}
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2)
        with joblib.parallel_config(backend="threading"):
            search.fit(X, y, groups=g)
    assert search.best_score_ > 0.9
    assert search.best_params_["groupdroclassifier__alpha"] == 1e-2


def test_more_columns_than_rows_leave_nothing_to_trade():
    X, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    wide = np.c_[X[:40], rng.normal(size=(40, 60))]
    g = np.arange(40) % 2
    free = GroupDRORegressor(1e-8).fit(wide, y[:40], groups=g)
    assert free.group_losses_.max() < 1e-3


def test_sparse_rows_are_refused_by_name():
    X = sparse.csr_array(np.eye(6))
    y, groups = np.arange(6) % 2, np.arange(6) // 3
    for model in (GroupDROClassifier(), GroupDRORegressor()):
        with pytest.raises(TypeError, match=r"Sparse data was passed for X"):
            model.fit(X, y, groups=groups)
