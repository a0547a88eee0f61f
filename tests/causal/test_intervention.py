"""Extrapolated interventions: closed forms, invariance, encoders, warnings."""

import warnings

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler, scale

from skdiff import load, save
from skdiff.causal import InterventionExtrapolator
from skdiff.causal._intervention._numbers import (
    fit_line,
    gaussian_kernel,
    linear_encoder,
    linearity_test,
    restriction,
)


def quiet(model, A):
    """Predictions where it does not matter whether the support is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.predict_do(A)


def linear_design(n=300, k=2, seed=0):
    rng = np.random.default_rng(seed)
    A, V = rng.uniform(-1, 1, size=(n, k)), rng.normal(size=(n, k))
    Z = A @ (np.eye(k) + 0.3 * rng.normal(size=(k, k))) + V
    y = Z @ np.arange(1.0, k + 1) + 2 * V.sum(axis=1) + 0.1 * rng.normal(size=n)
    return A, Z, y


def curved_design(n, seed):
    """One dose, a curved outcome, and a hidden cause of both sides."""
    rng = np.random.default_rng(seed)
    A, V = rng.uniform(-1, 1, size=(n, 1)), rng.normal(size=(n, 1))
    Z = 1.5 * A + V
    y = outcome(Z[:, 0]) + 1.5 * V[:, 0] + 0.3 * rng.normal(size=n)
    return A, Z, y


def outcome(z):
    return 1.5 * np.sin(z) + 0.8 * z


def truth(doses):
    """Gauss-Hermite means of the outcome under each dose."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    moved = 1.5 * doses[:, None] + nodes
    return outcome(moved) @ (weights / weights.sum())


# --- closed forms ---------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_control_function_is_two_stage_least_squares(k):
    """A linear outcome model has the coefficients of 2SLS with A as instruments."""
    A, Z, y = linear_design(k=k)
    model = InterventionExtrapolator(outcome=LinearRegression()).fit(Z, y, A=A)
    a, z, c = A - A.mean(0), Z - Z.mean(0), y - y.mean()
    two_stage = np.linalg.solve(a.T @ z, a.T @ c)
    np.testing.assert_allclose(model.outcome_.coef_[:k], two_stage, rtol=1e-8)
    # and, as many latents as interventions, doses act as in the reduced form
    slope = np.linalg.lstsq(a, c, rcond=None)[0]
    new = np.random.default_rng(1).uniform(-2, 2, size=(5, k))
    expected = y.mean() + (new - A.mean(0)) @ slope
    np.testing.assert_allclose(quiet(model, new), expected, rtol=1e-8)
    naive = InterventionExtrapolator(
        outcome=LinearRegression(), control_function=False
    ).fit(Z, y, A=A)
    assert np.abs(naive.outcome_.coef_ - two_stage).max() > 0.3


def test_a_linear_outcome_gives_a_straight_line():
    A, Z, y = linear_design(800, 1)
    model = InterventionExtrapolator().fit(Z, y, A=A)
    doses = np.linspace(-2, 2, 9)[:, None]
    found = quiet(model, doses)
    line = np.polyval(np.polyfit(doses[:, 0], found, 1), doses[:, 0])
    assert np.abs(found - line).max() < 0.02 * np.ptp(found)


def test_within_the_doses_it_agrees_with_a_regression_on_the_dose():
    A, Z, y = curved_design(3000, 0)
    doses = np.linspace(-0.8, 0.8, 7)[:, None]
    direct = make_pipeline(PolynomialFeatures(3), LinearRegression()).fit(A, y)
    found = InterventionExtrapolator().fit(Z, y, A=A).predict_do(doses)
    np.testing.assert_allclose(found, direct.predict(doses), atol=0.15)


def test_doses_beyond_those_seen_need_the_control_function():
    """The design of the paper in one column: the mean squared error out there."""
    doses = np.r_[np.linspace(-2, -1.1, 6), np.linspace(1.1, 2, 6)]
    errors = {True: [], False: []}
    for seed in range(2):
        A, Z, y = curved_design(2000, seed)
        for control, found in errors.items():
            model = InterventionExtrapolator(control_function=control).fit(Z, y, A=A)
            gap = quiet(model, doses[:, None]) - truth(doses)
            found.append(np.mean(gap**2))
    assert np.mean(errors[True]) < 0.06
    assert np.mean(errors[False]) > 20 * np.mean(errors[True])


def test_the_spread_is_that_of_outcomes_under_the_dose():
    A, Z, y = curved_design(4000, 1)
    model = InterventionExtrapolator().fit(Z, y, A=A)
    mean, std = model.predict_do([[0.5]], return_std=True)
    rng = np.random.default_rng(0)
    V = rng.normal(size=400_000)
    drawn = outcome(0.75 + V) + 1.5 * V + 0.3 * rng.normal(size=len(V))
    assert mean[0] == pytest.approx(drawn.mean(), abs=0.15)
    assert std[0] == pytest.approx(drawn.std(), rel=0.05)


# --- invariance -----------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 2))
def test_affine_maps_of_the_representation_change_nothing(seed, k, q):
    rng = np.random.default_rng(seed)
    A = rng.uniform(-1, 1, size=(150, q))
    V = rng.gamma(2.0, size=(150, k)) @ rng.normal(size=(k, k))
    Z = A @ rng.normal(size=(q, k)) + V
    y = np.sin(Z[:, 0]) + Z[:, -1] + V[:, 0] + 0.1 * rng.normal(size=150)
    turn = np.linalg.qr(rng.normal(size=(k, k)))[0] * rng.uniform(0.2, 5, size=k)
    new = 1.5 * A[:6]
    plain = quiet(InterventionExtrapolator().fit(Z, y, A=A), new)
    moved = quiet(InterventionExtrapolator().fit(Z @ turn + 7.0, y, A=A), new)
    np.testing.assert_allclose(plain, moved, atol=1e-6 * y.std())


def test_rows_in_another_order_and_other_units_of_a_dose():
    A, Z, y = curved_design(300, 2)
    order = np.random.default_rng(0).permutation(300)
    new = np.array([[-1.5], [0.3]])
    plain = quiet(InterventionExtrapolator().fit(Z, y, A=A), new)
    mixed = InterventionExtrapolator(
        outcome=make_pipeline(PolynomialFeatures(2), LinearRegression())
    )
    a = quiet(mixed.fit(Z, y, A=A), new)
    b = quiet(mixed.fit(Z[order], y[order], A=A[order]), new)
    np.testing.assert_allclose(a, b, rtol=1e-9)
    scaled = quiet(InterventionExtrapolator().fit(Z, y, A=10 * A - 3), 10 * new - 3)
    np.testing.assert_allclose(plain, scaled, rtol=1e-8)


# --- encoders -------------------------------------------------------------------------


def test_the_restriction_is_the_double_sum_of_its_definition():
    rng = np.random.default_rng(0)
    A, phi = rng.normal(size=(30, 2)), rng.normal(size=(30, 3))
    r = phi - fit_line(phi, A).at(A)
    K = gaussian_kernel(A)
    total = sum(r[i] @ r[j] * K[i, j] for i in range(30) for j in range(30)) / 900
    found = np.sum(phi * (restriction(A) @ phi))
    assert found == pytest.approx(total, rel=1e-9)


def test_the_linear_encoder_minimises_its_loss():
    rng = np.random.default_rng(1)
    A = rng.normal(size=(80, 1))
    X = rng.normal(size=(80, 4)) + A * [1, 0, 2, 0] + A**2 * [0, 1, 0, 0]
    X -= X.mean(axis=0)
    form, weight = restriction(A), 50.0

    def loss(B):
        code = X @ B
        decoder = np.linalg.lstsq(code, X, rcond=None)[0]
        error = np.sum((X - code @ decoder) ** 2) / len(X)
        return error + weight * np.sum(code * (form @ code))

    found = linear_encoder(X, A, 2, weight)
    np.testing.assert_allclose((X @ found).T @ X @ found / 80, np.eye(2), atol=1e-9)
    values, vectors = np.linalg.eigh(X.T @ X / 80)
    root = vectors / np.sqrt(values)
    for _ in range(50):
        turn = np.linalg.qr(rng.normal(size=(4, 4)))[0][:, :2]
        assert loss(root @ turn) >= loss(found) - 1e-9


def test_a_linear_mixture_is_unmixed():
    A, Z, y = linear_design(600, 2, seed=3)
    rng = np.random.default_rng(3)
    X = Z @ rng.normal(size=(2, 6)) + 0.02 * rng.normal(size=(600, 6))
    model = InterventionExtrapolator(encoder="linear").fit(X, y, A=A)
    code = model.transform(X)
    assert code.shape == (600, 2)
    assert LinearRegression().fit(code, Z).score(code, Z) > 0.999
    new = 1.5 * A[:5]
    direct = InterventionExtrapolator().fit(Z, y, A=A)
    np.testing.assert_allclose(quiet(model, new), quiet(direct, new), atol=0.15)


def test_a_network_straightens_what_is_curved():
    rng = np.random.default_rng(4)
    A, V = rng.uniform(-1.5, 1.5, size=(1000, 1)), rng.normal(size=(1000, 1))
    Z = 1.5 * A + V
    X = np.column_stack([np.exp(Z[:, 0] / 1.5), np.tanh(Z[:, 0])])
    found = {}
    for weight in (0.0, 1e3):
        model = InterventionExtrapolator(
            encoder="mlp", mmr_weight=weight, random_state=0
        ).fit(X, Z[:, 0], A=A)
        code = model.transform(X)
        assert code.shape == (1000, 1)
        found[weight] = np.corrcoef(code[:, 0], Z[:, 0])[0, 1] ** 2
    assert found[1e3] > max(found[0.0], 0.92)
    assert 0 < model.mmr_weight_ <= 1e3


def test_networks_repeat_with_their_seed():
    A, Z, y = curved_design(100, 4)
    a, b = (
        InterventionExtrapolator(encoder="mlp", encoder_iter=6, random_state=0)
        .fit(np.hstack([Z, Z**2]), y, A=A)
        .transform(np.hstack([Z, Z**2]))
        for _ in range(2)
    )
    np.testing.assert_array_equal(a, b)


# --- tests and warnings ---------------------------------------------------------------


def test_a_curved_answer_to_the_dose_is_detected():
    A, Z, y = curved_design(400, 5)
    straight = InterventionExtrapolator(random_state=0).fit(Z, y, A=A)
    bent = InterventionExtrapolator(random_state=0).fit(Z + 1.5 * A**2, y, A=A)
    assert straight.linearity_test_ > 0.05
    assert bent.linearity_test_ < 0.01


def test_the_linearity_test_holds_its_level():
    rng, p = np.random.default_rng(0), []
    for seed in range(200):
        A = rng.uniform(-1, 1, size=(60, 1))
        phi = A + rng.standard_t(5, size=(60, 1))
        p.append(linearity_test(phi, A, 99, seed))
    assert 0.02 <= np.mean(np.array(p) <= 0.1) <= 0.18


def test_leaving_the_support_warns():
    A, Z, y = curved_design(300, 6)
    model = InterventionExtrapolator().fit(Z, y, A=A)
    assert model.support_warning_ is False
    model.predict_do([[0.2]])
    assert model.support_warning_ is False
    with pytest.warns(UserWarning, match="leave the range"):
        model.predict_do([[0.2], [30.0]])
    assert model.support_warning_ is True


# --- in use ---------------------------------------------------------------------------


def test_files_keep_it(tmp_path):
    A, Z, y = curved_design(200, 7)
    model = InterventionExtrapolator(encoder="mlp", encoder_iter=5, random_state=0)
    model.fit(np.hstack([Z, Z**2]), y, A=A[:, 0])
    save(model, tmp_path / "model.npz")
    other = load(tmp_path / "model.npz")
    new = np.array([[0.1], [0.4]])
    np.testing.assert_array_equal(quiet(model, new), quiet(other, new))


def test_a_pipeline_passes_the_interventions_on():
    A, Z, y = curved_design(300, 8)
    pipe = make_pipeline(StandardScaler(), InterventionExtrapolator())
    pipe.fit(Z, y, interventionextrapolator__A=A)
    direct = InterventionExtrapolator().fit(Z, y, A=A)
    new = np.array([[0.5]])
    np.testing.assert_allclose(pipe[-1].predict_do(new), direct.predict_do(new))


def test_it_is_searched_with_routing():
    """On a real table: a dose that moves three of the columns of diabetes."""
    data = load_diabetes()
    dose = np.random.default_rng(0).uniform(-1, 1, size=len(data.target))
    X = scale(data.data[:, 2:5]) + 1.5 * dose[:, None] * [1.0, 0.5, -0.5]
    y = data.target + 40.0 * dose
    with sklearn.config_context(enable_metadata_routing=True):
        model = InterventionExtrapolator(encoder="linear", random_state=0)
        model.set_fit_request(A=True).set_score_request(A=True)
        grid = {
            "interventionextrapolator__n_latents": [1, 3],
            "interventionextrapolator__control_function": [False, True],
        }
        search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=3)
        search.set_params(n_jobs=2)
        with joblib.parallel_config("threading"):
            search.fit(X, y, A=dose)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    # the residual holds what the dose has not moved, which tells of y
    assert search.best_params_["interventionextrapolator__control_function"]
    assert search.best_score_ == scores.max() > 0.25
    assert quiet(search.best_estimator_[-1], [[0.5]]).shape == (1,)


def test_the_score_is_that_of_two_stage_least_squares():
    A, X, y = linear_design()
    model = InterventionExtrapolator(outcome=LinearRegression()).fit(X, y, A=A)
    residual = X - LinearRegression().fit(A, X).predict(A)
    inner = LinearRegression().fit(np.hstack([X, residual]), y)
    expected = inner.score(np.hstack([X, residual]), y)
    assert model.score(X, y, A=A) == pytest.approx(expected, abs=1e-10)
    weight = np.arange(len(y)) % 3
    twice = np.repeat(np.arange(len(y)), weight)
    assert model.score(X, y, A=A, sample_weight=weight) == pytest.approx(
        model.score(X[twice], y[twice], A=A[twice])
    )
    with pytest.raises(ValueError, match=r"needs `A`: pass A=... to score"):
        model.score(X, y)
    with pytest.raises(ValueError, match="columns, as in fit"):
        model.score(X, y, A=np.hstack([A, A]))


@pytest.mark.parametrize(
    ("arguments", "A", "message"),
    [
        ({}, None, "needs `A`"),
        ({}, np.ones(50), "never varies"),
        ({}, np.ones(49), "inconsistent"),
        ({"n_latents": 1}, "fine", "keeps all 2 columns"),
        ({"encoder": "linear", "n_latents": 3}, "fine", "n_latents=3"),
        ({"outcome": LogisticRegression()}, "fine", "outcome must be a regressor"),
    ],
)
def test_bad_input_is_named(arguments, A, message):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    A = rng.normal(size=50) if isinstance(A, str) else A
    with pytest.raises(ValueError, match=message):
        InterventionExtrapolator(**arguments).fit(X, y, A=A)


def test_singular_designs_give_finite_numbers():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(60, 1))
    for X in (
        np.hstack([A, A]),  # nothing beside the dose
        np.hstack([rng.normal(size=(60, 1))] * 2),  # a column twice
        np.hstack([np.ones((60, 1)), A]),
    ):
        model = InterventionExtrapolator().fit(X, X.sum(axis=1), A=np.hstack([A, A]))
        assert np.all(np.isfinite(quiet(model, [[0.0, 1.0], [3.0, 3.0]])))
    model = InterventionExtrapolator().fit(A, A[:, 0], A=A)
    with pytest.raises(ValueError, match="A_new must have 1 columns"):
        model.predict_do([[0.0, 1.0]])
