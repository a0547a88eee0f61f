"""CRUDE: coverage, the normal limit, exact scores, scales, refusals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import BayesianRidge, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer

from skdiff.calibration import EmpiricalResidualCalibrator
from skdiff.calibration._crude import _residuals as residuals


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


class Column(RegressorMixin, BaseEstimator):
    """Predict one column of X."""

    def __init__(self, column=0):
        self.column = column

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return X[:, self.column]


def location_scale(n, seed, noise):
    rng = np.random.default_rng(seed)
    mean, size = rng.normal(size=n), rng.uniform(0.5, 3, n)
    X = np.column_stack([mean, size])
    return X, mean + size * noise(rng, n)


def known(**settings):
    """Mean and scale known exactly: only the law of the residual is learnt."""
    ready = [FrozenEstimator(Column(k).fit(np.zeros((1, 2)), [0])) for k in (0, 1)]
    return EmpiricalResidualCalibrator(ready[0], scale_estimator=ready[1], **settings)


SKEWED = [
    lambda rng, n: rng.exponential(size=n) - 1,
    lambda rng, n: rng.standard_t(2, n),
]


# --- verification: coverage ---------------------------------------------------------


@pytest.mark.parametrize("noise", SKEWED)
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_coverage_within_binomial_error(noise, coverage):
    X, y = location_scale(40_000, 0, noise)
    model = known().fit(X[:20_000], y[:20_000])
    low, high = model.predict_interval(X[20_000:], coverage).T
    inside = int(((low <= y[20_000:]) & (y[20_000:] <= high)).sum())
    # calibration rows err as well, by as much
    spread = 4 * np.sqrt(2) * np.sqrt(20_000 * coverage * (1 - coverage))
    assert abs(inside - 20_000 * coverage) < spread


def test_finite_sample_coverage_over_many_small_calibrations():
    # 19 rows: the nominal .9 is exact, ranks 1 and 19 of 20
    inside, rng = 0, np.random.default_rng(0)
    for _ in range(4000):
        z = np.sort(rng.exponential(size=20)[:-1])
        low, high = residuals.interval(z, 0.9, True)
        inside += low <= rng.exponential() <= high
    low, high = binom.ppf([1e-4, 1 - 1e-4], 4000, 0.9)
    assert low <= inside <= high


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_ranks_promise_at_least_the_level(n, level):
    z = np.arange(1, n + 1, dtype=float)
    (rank,) = residuals.quantiles(z, np.array([level]), True)
    if level >= 0.5 and rank < n:
        assert rank / (n + 1) >= level - 1e-9
    if level < 0.5 and rank > 1:
        assert rank / (n + 1) <= level + 1e-9
    low, high = residuals.interval(z, level, True)
    assert low <= high
    if n >= residuals.rows_needed(level):
        assert (high - low) / (n + 1) >= level - 1e-9


# --- verification: normal residuals change nothing ----------------------------------


def test_normal_residuals_give_the_normal_answers():
    # residuals that are exactly normal quantiles
    n = 4999
    z = norm.ppf(np.arange(1, n + 1) / (n + 1))
    X = np.column_stack([np.linspace(-3, 3, n), np.linspace(0.5, 2, n)])
    model = known().fit(X, X[:, 0] + X[:, 1] * z)
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    expected = X[:, :1] + X[:, 1:] * norm.ppf(levels)
    np.testing.assert_allclose(model.predict_quantiles(X, levels), expected, atol=1e-9)
    y = X[:, 0] + 0.7 * X[:, 1]
    np.testing.assert_allclose(model.cdf(X, y), norm.cdf(0.7), atol=1e-3)
    closed = 0.7 * (2 * norm.cdf(0.7) - 1) + 2 * norm.pdf(0.7) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(model.crps(X, y), X[:, 1] * closed, rtol=5e-3)
    draws = model.sample(X, 20)
    assert draws.shape == (n, 20)
    standard = (draws - X[:, :1]) / X[:, 1:]
    assert abs(standard.mean()) < 0.02 and abs(standard.std() - 1) < 0.02
    np.testing.assert_array_equal(draws, model.sample(X, 20))


# --- exact scores -------------------------------------------------------------------


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_crps_equals_its_double_sum(n, seed):
    rng = np.random.default_rng(seed)
    z = np.sort(np.round(rng.normal(size=n), 1))
    at = np.r_[rng.normal(size=5) * 3, z[:2]]
    brute = [np.abs(z - x).mean() - 0.5 * np.abs(z[:, None] - z).mean() for x in at]
    np.testing.assert_allclose(residuals.crps(z, at), brute, atol=1e-12)


def test_quantiles_and_cdf_agree():
    X, y = location_scale(600, 0, SKEWED[0])
    model = EmpiricalResidualCalibrator(Ridge(), random_state=0).fit(X, y)
    levels = np.linspace(0.05, 0.95, 13)
    for level, q in zip(levels, model.predict_quantiles(X, levels).T, strict=True):
        np.testing.assert_allclose(
            model.cdf(X, q + 1e-9), level, atol=2 / len(model.residuals_)
        )
    plain = EmpiricalResidualCalibrator(
        Ridge(), finite_sample=False, scale_estimator="constant", random_state=0
    ).fit(X, y)
    z = plain.residuals_
    np.testing.assert_allclose(
        plain.predict_quantiles(X, 0.3), plain.predict(X) + np.quantile(z, 0.3)
    )


# --- scales -------------------------------------------------------------------------


def test_a_learnt_scale_beats_a_constant_one_where_noise_varies():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(4000, 1))
    y = X[:, 0] + (0.1 + X[:, 0] ** 2) * (rng.exponential(size=4000) - 1)
    train, test = slice(0, 3000), slice(3000, None)
    score, widths = {}, {}
    for scale in ("constant", HistGradientBoostingRegressor(max_iter=50)):
        model = EmpiricalResidualCalibrator(
            LinearRegression(), scale_estimator=scale, random_state=0
        ).fit(X[train], y[train])
        name = scale if isinstance(scale, str) else "learnt"
        score[name] = model.crps(X[test], y[test]).mean()
        low, high = model.predict_interval(X[test], 0.9).T
        widths[name] = (high - low).mean()
        covered = ((low <= y[test]) & (y[test] <= high)).mean()
        assert abs(covered - 0.9) < 0.04
    assert score["learnt"] < 0.9 * score["constant"]
    assert widths["learnt"] < widths["constant"]


def test_the_regressors_own_deviation_is_used():
    X, y = location_scale(300, 0, SKEWED[0])
    model = EmpiricalResidualCalibrator(BayesianRidge(), random_state=0).fit(X, y)
    assert model.scale_estimator_ is None
    mean, std = model.estimator_.predict(X, return_std=True)
    q = model.predict_quantiles(X, 0.5)
    middle = residuals.quantiles(model.residuals_, np.array([0.5]), True)
    np.testing.assert_allclose(q, mean + std * middle)


def test_scales_are_positive_and_perfect_fits_survive():
    X = np.linspace(-1, 1, 200)[:, None]
    y = 3 * X[:, 0]
    model = EmpiricalResidualCalibrator(LinearRegression(), random_state=0).fit(X, y)
    low, high = model.predict_interval(X, 0.8).T
    np.testing.assert_allclose(low, y, atol=1e-9)
    np.testing.assert_allclose(high, y, atol=1e-9)
    steep = X[:, 0] * (1 + X[:, 0]) * np.sign(np.sin(99 * X[:, 0]))
    model = EmpiricalResidualCalibrator(LinearRegression(), random_state=0)
    ends = model.fit(X, steep).predict_interval(X * 10, 0.5)
    assert (ends[:, 0] < ends[:, 1]).all()


# --- use ----------------------------------------------------------------------------


def test_frozen_regressors_calibrate_on_all_rows():
    X, y = location_scale(300, 0, SKEWED[0])
    base = FrozenEstimator(LinearRegression().fit(X[:100], y[:100]))
    fixed = EmpiricalResidualCalibrator(base, scale_estimator="constant")
    fixed.fit(X[100:], y[100:])
    z = np.sort(y[100:] - base.predict(X[100:]))
    np.testing.assert_allclose(fixed.residuals_, z)
    learnt = EmpiricalResidualCalibrator(base, random_state=0).fit(X[100:], y[100:])
    assert len(learnt.residuals_) == 60 and learnt.scale_estimator_ is not None
    np.testing.assert_array_equal(learnt.predict(X), base.predict(X))


def test_a_pipeline_over_words_and_a_search(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"colour": rng.choice(["red", "blue"], 200)})
    y = (table["colour"] == "red") * 2.0 + rng.normal(size=200)
    pipeline = make_pipeline(OneHotEncoder(sparse_output=False), Ridge())
    model = EmpiricalResidualCalibrator(pipeline, random_state=0).fit(table, y)
    assert model.predict_interval(table, 0.8).shape == (200, 2)
    grid = {"estimator__ridge__alpha": [0.1, 10.0], "scale_estimator": ["constant"]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=1, error_score="raise")
    assert np.isfinite(search.fit(table, y).best_score_)
    model.save(tmp_path / "model.npz")
    again = EmpiricalResidualCalibrator.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.sample(table, 3), model.sample(table, 3))


def test_too_few_rows_for_a_coverage_are_told():
    X, y = location_scale(40, 0, SKEWED[0])
    model = EmpiricalResidualCalibrator(Ridge(), random_state=0).fit(X, y)
    assert residuals.rows_needed(0.9) == 19
    with pytest.warns(UserWarning, match="19 calibration rows"):
        model.predict_interval(X, 0.9)
    assert model.predict_interval(X, 0.5).shape == (40, 2)


@pytest.mark.parametrize(
    ("settings", "call", "words"),
    [
        ({}, lambda m, X, y: m.fit(X[:3], y[:3]), "too few"),
        ({"calibration_size": 59}, lambda m, X, y: m.fit(X, y), "leaves 1 of 60"),
        ({}, lambda m, X, y: m.fit(X, y).predict_quantiles(X, 1.0), "levels"),
        ({}, lambda m, X, y: m.fit(X, y).predict_interval(X, 1.5), "coverage"),
        ({}, lambda m, X, y: m.fit(X, y).predict_interval(X, [0.5]), "one number"),
        ({}, lambda m, X, y: m.fit(X, y).cdf(X, y[:-1]), "inconsistent"),
        ({}, lambda m, X, y: m.fit(X, y).crps(X, y * np.nan), "NaN"),
        ({}, lambda m, X, y: m.fit(X, y).sample(X, 0), "positive integer"),
    ],
)
def test_what_is_refused(settings, call, words):
    X, y = location_scale(60, 0, SKEWED[0])
    with pytest.raises(ValueError, match=words):
        call(EmpiricalResidualCalibrator(Ridge(), **settings), X, y)


# --- the estimators inside ------------------------------------------------------------


def test_a_constant_size_is_constant_for_models_with_deviations_too(diabetes):
    X, y = diabetes
    model = EmpiricalResidualCalibrator(
        BayesianRidge(), scale_estimator="constant", random_state=0
    ).fit(X, y)
    width = np.ptp(model.predict_interval(X, 0.8), axis=1)
    np.testing.assert_allclose(width, width[0], rtol=1e-12)
    assert np.ptp(BayesianRidge().fit(X, y).predict(X, return_std=True)[1]) > 0


def test_unseeded_models_inside_are_seeded(diabetes):
    X, y = diabetes
    forest = RandomForestRegressor(5)
    models = [
        EmpiricalResidualCalibrator(forest, random_state=0).fit(X, y) for _ in range(2)
    ]
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))
    np.testing.assert_array_equal(models[0].residuals_, models[1].residuals_)
    assert forest.random_state is None


def test_a_failed_fit_leaves_nothing_fitted(diabetes):
    X, y = diabetes
    inner = make_pipeline(PowerTransformer("box-cox"), Ridge())  # refuses X <= 0
    model = EmpiricalResidualCalibrator(inner)
    with pytest.raises(ValueError, match="positive"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert not hasattr(model, "n_features_in_")


def frames(X):
    kind = np.where(X[:, 1] > 0, "u", "v")
    frame = pd.DataFrame(X[:, 2:5], columns=list("abc"))
    yield frame.assign(kind=pd.Categorical(kind, categories=["u", "v", "w"]))
    polars = pytest.importorskip("polars")
    yield polars.DataFrame(dict(zip("abc", X[:, 2:5].T, strict=True))).with_columns(
        kind=polars.Series(kind.tolist())
    )


def test_frames_reach_the_models_as_they_came(diabetes):
    X, y = diabetes
    encode = make_column_transformer(
        (OneHotEncoder(), ["kind"]), remainder="passthrough"
    )
    pipeline = make_pipeline(encode, Ridge())
    for frame in frames(X):
        inner = [pipeline, VotingRegressor([("a", pipeline)])]
        if hasattr(frame, "iloc"):
            inner.append(HistGradientBoostingRegressor(max_iter=5))
        for estimator in inner:
            model = EmpiricalResidualCalibrator(estimator, random_state=0)
            low, high = model.fit(frame, y).predict_interval(frame, 0.8).T
            assert 0.7 < ((low <= y) & (y <= high)).mean() < 0.95
            assert list(model.feature_names_in_) == ["a", "b", "c", "kind"]


def test_a_frozen_model_of_a_frame_refuses_other_columns(diabetes):
    X, y = diabetes
    frame = pd.DataFrame(X[:, :3], columns=list("abc"))
    frozen = FrozenEstimator(Ridge().fit(frame, y))
    with pytest.raises(ValueError, match="feature names"):
        EmpiricalResidualCalibrator(frozen, scale_estimator="constant").fit(
            frame[["c", "b", "a"]], y
        )


def test_samplers_inside_run_as_their_pipeline_runs_them(diabetes):
    pytest.importorskip("imblearn")
    from imblearn import FunctionSampler
    from imblearn.pipeline import make_pipeline as with_samplers

    X, y = diabetes
    half = FunctionSampler(func=lambda X, y: (X[::2], y[::2]), validate=False)
    model = EmpiricalResidualCalibrator(
        with_samplers(half, Ridge()), scale_estimator="constant", random_state=0
    ).fit(X, y)
    assert len(model.residuals_) == round(0.3 * len(y))
    low, high = model.predict_interval(X, 0.9).T
    assert ((low <= y) & (y <= high)).mean() > 0.85
