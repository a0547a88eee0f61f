"""Online Platt scaling: the plain recursion, blocks, projection, adversaries, drift."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import cross_val_score

from skdiff.calibration import OnlinePlattCalibrator
from skdiff.calibration._online_platt import _steps as steps
from skdiff.metrics import expected_calibration_error

WAYS = [
    {"method": method, "calibeating": calibeating, "random_state": 0}
    for method in ("platt", "beta")
    for calibeating in (None, "tracking", "hedging")
]


def stream(n=400, seed=0):
    rng = np.random.default_rng(seed)
    f = rng.uniform(size=n)
    return f, (rng.uniform(size=n) < expit(0.5 * logit(f) - 0.7)).astype(int)


# --- the recursion ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["platt", "beta"])
def test_steps_equal_the_plain_recursion(method):
    f, y = stream(300)
    Z = steps.features(f[:, None], method, 0.01)
    theta, A = steps.identity_map(1, method), 100.0 * np.eye(Z.shape[1])
    plain = []
    for z, outcome in zip(Z, y, strict=True):
        plain.append(expit(theta @ z))
        g = (plain[-1] - outcome) * z
        A += np.outer(g, g)
        theta = theta - np.linalg.solve(A, g) / 0.1
    model = OnlinePlattCalibrator(method=method)
    says = model.predict_then_update(f, y)[:, 1]
    np.testing.assert_allclose(says, plain, atol=1e-10)
    np.testing.assert_allclose(np.r_[model.coef_, model.intercept_], theta, rtol=1e-9)


def test_sherman_and_morrison_hold_over_a_long_stream():
    f, y = stream(20_000)
    Z = steps.features(f[:, None], "beta", 0.01)
    start = np.eye(3) / 100
    found = steps.newton_steps(
        steps.identity_map(1, "beta"), start, Z, y * 1.0, 0.1, 1e6
    )
    G = (found.forecasts - y)[:, None] * Z
    direct = np.linalg.inv(100 * np.eye(3) + G.T @ G)
    np.testing.assert_allclose(found.inverse, direct, rtol=1e-6)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_projection_is_the_nearest_point(seed, radius):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 3))
    A = root @ root.T + 0.1 * np.eye(3)
    theta = rng.normal(size=3) * 4
    x = steps.project(theta, np.linalg.inv(A), radius)
    assert np.linalg.norm(x) <= radius * (1 + 1e-9)

    def distance(v):
        return (v - theta) @ A @ (v - theta)

    best = minimize(
        distance,
        np.zeros(3),
        constraints={"type": "ineq", "fun": lambda v: radius**2 - v @ v},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert distance(x) <= best.fun * (1 + 1e-5) + 1e-9


def test_a_small_ball_holds_the_coefficients():
    f, y = stream()
    model = OnlinePlattCalibrator(radius=0.5).fit(f, y)
    assert np.hypot(*model.coef_, model.intercept_) <= 0.5 * (1 + 1e-9)


@pytest.mark.parametrize("way", WAYS, ids=str)
@settings(derandomize=True, max_examples=5, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_block_equals_its_single_steps(way, sizes):
    f, y = stream(sum(sizes))
    whole = OnlinePlattCalibrator(**way)
    expected = whole.predict_then_update(f, y)
    model, says, start = OnlinePlattCalibrator(**way), [], 0
    for size in sizes:
        rows = slice(start, start + size)
        ahead = model.predict_proba(f[rows][:1]) if start else None
        says.append(model.predict_then_update(f[rows], y[rows]))
        if ahead is not None:  # what is forecast is what is then played
            np.testing.assert_allclose(ahead[0], says[-1][0], rtol=1e-12)
        start += size
    np.testing.assert_array_equal(np.vstack(says), expected)
    np.testing.assert_array_equal(model.coef_, whole.coef_)
    np.testing.assert_array_equal(model.predict_proba(f), whole.predict_proba(f))
    assert model.n_seen_ == whole.n_seen_ == sum(sizes)


# --- what it learns -----------------------------------------------------------------


def test_it_starts_from_the_identity_and_finds_the_fixed_map():
    f, y = stream(8000)
    start = OnlinePlattCalibrator().partial_fit(f[:1], y[:1])
    f_mid = np.linspace(0.05, 0.95, 30)
    np.testing.assert_allclose(start.predict_proba(f_mid)[:, 1], f_mid, atol=0.05)
    model = OnlinePlattCalibrator().fit(f, y)
    batch = LogisticRegression(C=1e6).fit(logit(f.clip(0.01, 0.99))[:, None], y)
    batch_p = batch.predict_proba(logit(f_mid)[:, None])[:, 1]
    np.testing.assert_allclose(model.predict_proba(f_mid)[:, 1], batch_p, atol=0.03)


def test_regret_against_the_best_fixed_map_is_small():
    f, y = stream(5000)
    says = OnlinePlattCalibrator().predict_then_update(f, y)[:, 1]
    z = logit(f.clip(0.01, 0.99))[:, None]
    best = LogisticRegression(C=1e6).fit(z, y).predict_proba(z)[:, 1]

    def loss(p):
        return -np.log(np.where(y == 1, p, 1 - p)).sum()

    assert loss(says) - loss(best) < 25  # of about 3100


def test_beta_scaling_bends_where_platt_cannot():
    rng = np.random.default_rng(0)
    f = rng.uniform(size=20_000)
    truth = expit(2 * np.log(f) - 0.2 * np.log1p(-f) + 0.5)
    y = (rng.uniform(size=f.size) < truth).astype(int)
    errors = {
        method: np.mean(
            (
                OnlinePlattCalibrator(method=method).fit(f, y).predict_proba(f)[:, 1]
                - truth
            )[1000:]
            ** 2
        )
        for method in ("platt", "beta")
    }
    assert errors["beta"] < errors["platt"] / 3


def test_tracking_mends_a_wrong_form():
    rng = np.random.default_rng(0)
    f = rng.uniform(size=10_000)
    y = (rng.uniform(size=f.size) < 0.5 + 0.4 * np.sin(12 * f)).astype(int)
    error = {
        way: expected_calibration_error(
            y,
            OnlinePlattCalibrator(calibeating=way).predict_then_update(f, y)[:, 1],
            n_bins=10,
            strategy="uniform",
        )
        for way in (None, "tracking")
    }
    assert error["tracking"] < 0.04 < error[None]


def test_hedging_withstands_an_adversary():
    # outcomes that contradict the likelier play, which the adversary knows
    n, rng = 4000, np.random.default_rng(0)
    f, u = rng.uniform(0.3, 0.7, n), rng.uniform(size=n)
    error = {}
    for way in ("tracking", "hedging"):
        shape = (10,) if way == "tracking" else (10, 10)
        counts, sums = np.zeros(shape), np.zeros(shape)
        says, y = np.empty(n), np.empty(n)
        for t in range(n):
            p = f[t : t + 1]
            if way == "tracking":
                guess = steps.tracked(p, counts, sums)
            else:
                guess = steps.hedged(p, 0.5, counts, sums)
            y[t] = guess[0] < 0.5
            now = y[t : t + 1]
            if way == "tracking":
                says[t] = steps.track_steps(p, now, counts, sums)[0]
            else:
                says[t] = steps.hedge_steps(p, u[t : t + 1], now, counts, sums)[0]
        error[way] = expected_calibration_error(y, says, 10, "uniform")
    # half a bin, and what is left of the noise
    assert error["hedging"] < 0.08 < 0.3 < error["tracking"]


def test_hedging_plays_points_and_is_calibrated():
    f, y = stream(4000)
    model = OnlinePlattCalibrator(calibeating="hedging", random_state=3)
    says = model.predict_then_update(f, y)[:, 1]
    np.testing.assert_allclose(says * 10 % 1, 0.5, atol=1e-9)
    assert expected_calibration_error(y, says, 10, "uniform") < 0.06
    assert model.bin_counts_.sum() == 4000
    again = OnlinePlattCalibrator(calibeating="hedging", random_state=3)
    np.testing.assert_array_equal(again.predict_then_update(f, y)[:, 1], says)


# --- the drift table ----------------------------------------------------------------


def drift(n=6000, seed=0):
    """A logistic truth that turns and shifts away from the model's first 1000 rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    time = np.linspace(0, 1, n)
    truth = expit((2 - 3 * time) * x + 2.0 * np.sin(3 * time))
    y = (rng.uniform(size=n) < truth).astype(int)
    base = LogisticRegression().fit(x[:1000, None], y[:1000])
    return base.predict_proba(x[:, None])[:, 1][1000:], y[1000:]


def windowed(f, y, width=500):
    """Platt scaling refitted on the last rows after every 50."""
    z, says = logit(f.clip(0.01, 0.99))[:, None], f.copy()
    for t in range(100, len(f), 50):
        past = slice(max(0, t - width), t)
        model = LogisticRegression(C=1e6).fit(z[past], y[past])
        says[t : t + 50] = model.predict_proba(z[t : t + 50])[:, 1]
    return says


def drift_table(seed):
    f, y = drift(seed=seed)
    z = logit(f.clip(0.01, 0.99))[:, None]
    fixed = LogisticRegression(C=1e6).fit(z[:500], y[:500]).predict_proba(z)[:, 1]
    ways = {"base": f, "fixed Platt": fixed, "windowed Platt": windowed(f, y)}
    for name, way in (("OPS", None), ("TOPS", "tracking"), ("HOPS", "hedging")):
        model = OnlinePlattCalibrator(calibeating=way, random_state=seed)
        ways[name] = model.predict_then_update(f, y)[:, 1]
    return {
        name: (
            brier_score_loss(y, p),
            expected_calibration_error(y, p, n_bins=10, strategy="uniform"),
        )
        for name, p in ways.items()
    }


def test_it_follows_drift_like_a_window_without_choosing_one():
    table = drift_table(0)
    brier = {name: value[0] for name, value in table.items()}
    error = {name: value[1] for name, value in table.items()}
    assert brier["OPS"] < brier["fixed Platt"] - 0.02
    assert abs(brier["OPS"] - brier["windowed Platt"]) < 0.01
    assert brier["TOPS"] < brier["fixed Platt"] - 0.01
    assert error["OPS"] < 0.04 < error["fixed Platt"]


# --- input --------------------------------------------------------------------------


def test_one_dimension_a_column_a_pair_and_a_frame_are_one_input():
    f, y = stream()
    expected = OnlinePlattCalibrator().fit(f, y).predict_proba(f)
    for X in (
        f[:, None],
        np.column_stack([1 - f, f]),
        pd.Series(f, index=np.arange(400)[::-1]),
        f.tolist(),
        pd.DataFrame({"p": f}),
    ):
        model = OnlinePlattCalibrator().fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)
        assert model.input_ == "probability"
    scores = OnlinePlattCalibrator(input="decision").fit(logit(f)[:, None], y)
    np.testing.assert_allclose(scores.predict_proba(logit(f)[:, None]), expected)
    assert OnlinePlattCalibrator().fit(logit(f)[:, None], y).input_ == "decision"


def test_several_forecasters_are_combined():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4000))
    y = (rng.uniform(size=4000) < expit(a + b)).astype(int)
    F = expit(np.column_stack([a, b]))
    both = OnlinePlattCalibrator().predict_then_update(F, y)[:, 1]
    alone = OnlinePlattCalibrator().predict_then_update(F[:, 0], y)[:, 1]
    assert brier_score_loss(y, both) < brier_score_loss(y, alone) - 0.02


def test_labels_and_classes():
    f, y = stream()
    names = np.array(["no", "yes"])[y]
    words = OnlinePlattCalibrator().fit(f, names)
    assert list(words.classes_) == ["no", "yes"]
    np.testing.assert_array_equal(
        words.predict(f) == "yes", words.predict_proba(f)[:, 1] > 0.5
    )
    first = OnlinePlattCalibrator().partial_fit(f[:1], [1])
    assert list(first.classes_) == [0, 1]
    late = OnlinePlattCalibrator().partial_fit(f[:1], ["yes"], classes=["no", "yes"])
    assert list(late.classes_) == ["no", "yes"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, f, y: m.fit(f + 1, y), "between 0 and 1"),
        (lambda m, f, y: m.fit(f, np.ones_like(y)), "one class"),
        (lambda m, f, y: m.fit(f, np.arange(len(y)) % 3), "binary"),
        (lambda m, f, y: m.partial_fit(f[:1], ["yes"]), "classes"),
        (lambda m, f, y: m.partial_fit(f, y, classes=[0, 1, 2]), "two labels"),
        (lambda m, f, y: m.partial_fit(f, y).partial_fit(f, y + 1), "labels"),
        (lambda m, f, y: m.partial_fit(f, y).partial_fit(f, y, [0, 2]), "last call"),
        (lambda m, f, y: m.fit(f[:, None], y).predict(f[:, None] + 1), "between 0"),
        (
            lambda m, f, y: m.fit(np.c_[1 - f, f], y).predict(np.c_[f, f]),
            "sum to one",
        ),
    ],
)
def test_what_is_refused(call, words):
    f, y = stream()
    with pytest.raises(ValueError, match=words):
        call(OnlinePlattCalibrator(), f, y)


def test_a_failed_block_leaves_the_state():
    f, y = stream()
    model = OnlinePlattCalibrator(calibeating="tracking").partial_fit(f, y)
    before = model.predict_proba(f)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.r_[f[:5], np.nan], y[:6])
    np.testing.assert_array_equal(model.predict_proba(f), before)


def test_around_a_classifier_in_service(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    y = (X[:, 0] + rng.normal(size=600) > 0).astype(int)
    base = LogisticRegression().fit(X[:100], 1 - y[:100])  # it has it backwards
    model = OnlinePlattCalibrator(estimator=FrozenEstimator(base))
    says = model.predict_then_update(X, y)[:, 1]
    direct = OnlinePlattCalibrator().predict_then_update(base.predict_proba(X)[:, 1], y)
    np.testing.assert_array_equal(says, direct[:, 1])
    assert model.n_features_in_ == 3 and model.score(X, y) > 0.7
    assert np.isfinite(cross_val_score(model, X, y, cv=2, error_score="raise")).all()
    model.save(tmp_path / "model.npz")
    again = OnlinePlattCalibrator.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(
        again.partial_fit(X, y).predict_proba(X),
        model.partial_fit(X, y).predict_proba(X),
    )
    with pytest.raises(NotFittedError):
        OnlinePlattCalibrator(estimator=LogisticRegression()).fit(X, y)
    three = LogisticRegression().fit(X, np.arange(600) % 3)
    with pytest.raises(ValueError, match="binary"):
        OnlinePlattCalibrator(estimator=three).fit(X, y)
