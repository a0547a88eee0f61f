"""Guided sampling: the exact target, weights, values, resampling, the report."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skdiff.density import GuidedSampler, InteractionScreening, LatentClassModel
from skdiff.density._coding import MISSING
from skdiff.density._guided._steps import Guide, fill
from skdiff.density._guided._weights import (
    effective_size,
    normalised,
    soft_value,
    systematic,
)
from skdiff.density._latent_class._em import Mixture
from tests.density._models import all_states

SIZES = [3, 2, 3, 2, 3]
STATES = all_states(SIZES)


def total(rows):
    """A reward that is no sum over columns."""
    rows = np.asarray(rows, dtype=float)
    pairs = rows[:, 0] * rows[:, 2] + (rows[:, 1] == rows[:, 3]) * rows[:, 4]
    return 0.7 * pairs


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 3000)
    theta = [rng.dirichlet(np.ones(k), 3) for k in SIZES]
    X = np.column_stack(
        [
            (rng.uniform(size=(3000, 1)) > np.cumsum(t[group], axis=1)[:, :-1]).sum(1)
            for t in theta
        ]
    )
    return LatentClassModel(3, random_state=0).fit(X)


def target(model, reward, temperature):
    """Exact probabilities of all states."""
    return normalised(model.score_samples(STATES) + reward(STATES) / temperature)


def frequencies(rows):
    place = np.ravel_multi_index(np.asarray(rows).astype(int).T, SIZES)
    return np.bincount(place, minlength=len(STATES)) / len(rows)


def variation(p, q):
    return np.abs(p - q).sum() / 2


# --- weights -------------------------------------------------------------------------


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=20), st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_systematic_draws_are_the_weights_within_one(logs, n):
    log = np.array(logs)
    p = normalised(log)
    assert p.sum() == pytest.approx(1)
    assert 1 - 1e-9 <= effective_size(log) <= len(log) + 1e-9
    counts = np.bincount(systematic(log, n, np.random.RandomState(0)), minlength=len(p))
    assert np.abs(counts - n * p).max() <= 1 + 1e-6


def test_soft_values_lie_between_the_mean_and_the_largest_and_do_not_overflow():
    r = np.array([[1.0, 2.0, 4000.0], [0.0, 0.0, 0.0]])
    assert soft_value(r, 0)[0] == 4000
    np.testing.assert_allclose(soft_value(r, 1.0), [4000 - np.log(3), 0])
    np.testing.assert_allclose(soft_value(r, 1e9), r.mean(axis=1), rtol=1e-2)
    assert np.isfinite(soft_value(r - 8000, 0.01)).all()


def test_weights_that_are_all_minus_infinity_are_alike():
    nothing = np.full(4, -np.inf)
    np.testing.assert_allclose(normalised(nothing), 0.25)
    assert effective_size(nothing) == 0  # and no sample to rest on


# --- the target ----------------------------------------------------------------------


@pytest.mark.parametrize("n_candidates", [3, 64])
def test_exact_soft_values_give_the_exact_target(model, n_candidates):
    joint, temperature = model._joint(), 0.5
    weight = np.exp(model.score_samples(STATES) + total(STATES) / temperature)
    prior = np.exp(model.score_samples(STATES))

    def exact(codes, rng, times):
        fits = ((codes[:, None] == STATES) | (codes[:, None] == MISSING)).all(axis=2)
        return temperature * np.log((fits @ weight) / (fits @ prior))

    n, rng = 6000, np.random.RandomState(0)
    guide = Guide(joint, exact, temperature, n_candidates)
    orders = np.argsort(rng.uniform(size=(n, 5)), axis=1)
    found = fill(guide, np.full((n, 5), MISSING), orders, rng, particles=False)
    p = target(model, total, temperature)
    expected, counts = p * n, frequencies(found.codes) * n
    rare = expected < 5
    test = chisquare(
        np.r_[counts[~rare], counts[rare].sum()],
        np.r_[expected[~rare], expected[rare].sum()],
    )
    assert test.pvalue > 1e-4
    # nothing is left to correct
    log = found.log_weight + total(found.codes) / temperature
    assert effective_size(log) == pytest.approx(n)


@pytest.mark.parametrize("resampling", ["cell", "particles", "importance"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_are_close_to_the_target(model, resampling, temperature):
    sampler = GuidedSampler(
        model, total, temperature=temperature, resampling=resampling, random_state=0
    )
    rows, p = sampler.sample(3000), target(model, total, temperature)
    # 108 states from 3000 rows leave about .06 by chance; resampled ones more
    assert variation(frequencies(rows), p) < 0.15
    assert total(rows).mean() == pytest.approx(p @ total(STATES), rel=0.1)


@pytest.mark.parametrize("value", ["regressor", "mode"])
def test_other_values_are_corrected_by_their_weights(model, value):
    forest = RandomForestRegressor(20, min_samples_leaf=5)
    sampler = GuidedSampler(
        model,
        total,
        value=value,
        value_estimator=forest,
        n_value_rows=1000,
        resampling="cell",
        random_state=0,
    ).fit()
    rows = sampler.sample(3000)
    assert sampler.corrected_
    exact = target(model, total, 1.0) @ total(STATES)
    assert total(rows).mean() == pytest.approx(exact, rel=0.1)
    if value == "regressor":  # one reward a row, to correct it
        assert sampler.report_.loc["guided", "reward_calls"] == 3000


def test_a_regressor_finds_rewards_that_rows_of_the_model_hardly_hold():
    # eight columns in which the reward follows runs that are rare under the model
    joint = LatentClassModel(1, smoothing=0.0).fit(
        np.repeat([[0] * 8, [1] * 8, [2] * 8], [45, 45, 10], axis=0)
    )

    def runs(rows):
        high = np.asarray(rows) == 2
        return high.sum(axis=1) + 1.5 * (high[:, :-1] & high[:, 1:]).sum(axis=1)

    states = all_states([3] * 8)
    p = normalised(joint.score_samples(states) + runs(states) / 0.5)
    for seed in range(2):
        sampler = GuidedSampler(
            joint,
            runs,
            temperature=0.5,
            value="regressor",
            resampling="cell",
            random_state=seed,
        ).fit()
        rows = sampler.sample(500)
        assert runs(rows).mean() == pytest.approx(p @ runs(states), rel=0.1)


def test_a_regressor_learns_what_is_forbidden(model):
    def rule(rows):
        return np.where(np.asarray(rows)[:, 0] == 2, -np.inf, total(rows))

    sampler = GuidedSampler(
        model, rule, value="regressor", n_value_rows=200, random_state=0
    )
    assert (sampler.fit().sample(200)[:, 0] != 2).all()
    with pytest.raises(ValueError, match="No row"):
        sampler.set_params(reward=lambda rows: np.full(len(rows), -np.inf)).fit()
    # neither the regressor of the fit before is left, nor rows of it
    with pytest.raises(NotFittedError, match="needs fit"):
        sampler.sample(5)
    with pytest.raises(NotFittedError, match="call sample"):
        sampler.report_


def test_a_constant_reward_leaves_the_model(model):
    for resampling in ("cell", "particles", "importance", "auto"):
        sampler = GuidedSampler(
            model,
            lambda rows: np.zeros(len(rows)),
            n_completions=1,
            resampling=resampling,
            random_state=0,
        )
        p = np.exp(model.score_samples(STATES))
        assert variation(frequencies(sampler.sample(4000)), p) < 0.1
    assert sampler.resampling_ == "importance"
    assert sampler.pilot_size_ == pytest.approx(1)


def test_additive_rewards_of_independent_columns_are_exact():
    X = np.random.default_rng(0).integers(0, 3, (1000, 5))
    model = LatentClassModel(1).fit(X)
    sampler = GuidedSampler(
        model, lambda rows: rows.sum(axis=1), resampling="cell", random_state=0
    )
    share = np.bincount(sampler.sample(4000)[:, 0], minlength=3) / 4000
    wanted = normalised(np.log(model.marginals_[0]) + np.arange(3))
    np.testing.assert_allclose(share, wanted, atol=0.05)


def test_the_mean_reward_rises_as_the_temperature_falls(model):
    means = [
        total(
            GuidedSampler(model, total, temperature=t, random_state=0).sample(800)
        ).mean()
        for t in (100.0, 1.0, 0.3, 0.0)
    ]
    assert means[0] < means[1] < means[2] and means[1] < means[3]


def test_given_cells_are_kept(model):
    for resampling in ("cell", "particles", "importance"):
        sampler = GuidedSampler(model, total, resampling=resampling, random_state=0)
        rows = sampler.sample(500, given={0: 1, 3: 0})
        assert (rows[:, 0] == 1).all() and (rows[:, 3] == 0).all()
        fits = (STATES[:, 0] == 1) & (STATES[:, 3] == 0)
        p = target(model, total, 1.0) * fits
        exact = (p / p.sum()) @ total(STATES)
        assert total(rows).mean() == pytest.approx(exact, rel=0.1)


def test_given_numbers_are_kept_in_rows_and_rewards():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=300), rng.integers(0, 3, 300)])
    seen = []

    def reward(rows):
        seen.append(rows[:, 0])
        return rows[:, 1] - rows[:, 0]

    sampler = GuidedSampler(
        LatentClassModel(2, random_state=0).fit(X), reward, independent_reward=reward
    )
    for resampling in ("cell", "particles", "importance", "auto"):
        rows = sampler.set_params(resampling=resampling).sample(60, given={0: 0.1234})
        assert (rows[:, 0] == 0.1234).all()
        found = sampler.report_.loc["guided"]
        assert found["mean_reward"] == pytest.approx(reward(rows).mean())
        assert found["mean_independent"] == pytest.approx(found["mean_reward"])
    assert (np.concatenate(seen) == 0.1234).all()


@pytest.mark.parametrize("order", ["random", "given", [4, 3, 2, 1, 0]])
def test_any_order_will_do(model, order):
    sampler = GuidedSampler(model, total, order=order, random_state=0)
    p = target(model, total, 1.0)
    assert variation(frequencies(sampler.sample(2000)), p) < 0.2


def test_interaction_models_are_guided_too():
    X = np.random.default_rng(0).integers(0, 2, (500, 3))
    model = InteractionScreening().fit(X)
    sampler = GuidedSampler(model, lambda rows: 3.0 * rows[:, 0], random_state=0)
    assert sampler.sample(200)[:, 0].mean() > 0.85


# --- the report, rewards, errors -----------------------------------------------------


def test_the_report_compares_at_equal_reward_calls(model):
    sampler = GuidedSampler(
        model, total, resampling="cell", independent_reward=total, random_state=0
    )
    with pytest.raises(NotFittedError, match="call sample"):
        sampler.report_
    rows = sampler.sample(300)
    report = sampler.report_
    assert list(report.index) == ["guided", "unguided", "best_of_n", "importance"]
    assert report["reward_calls"].nunique() == 1
    assert report.loc["guided", "mean_reward"] == pytest.approx(total(rows).mean())
    assert report.loc["guided", "mean_independent"] == pytest.approx(total(rows).mean())
    log = model.score_samples(rows).mean()
    assert report.loc["guided", "mean_log_prob"] == pytest.approx(log)
    prior = np.exp(model.score_samples(STATES)) @ total(STATES)
    assert report.loc["unguided", "mean_reward"] == pytest.approx(prior, abs=0.05)
    assert (report["distinct"] > 0).all() and (report["distinct"] <= 1).all()
    pd.testing.assert_frame_equal(report, sampler.report_)


def test_a_classifier_is_a_reward_for_frames():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "colour": rng.choice(["red", "blue"], 400),
            "size": rng.choice(["s", "m", "l"], 400),
        }
    ).astype(object)
    y = np.where(table["size"] == "l", "good", "bad")
    judge = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table[["size"]], y)
    model = LatentClassModel(2, random_state=0).fit(table)
    for response, wanted in (("good", "l"), (None, "l")):
        sampler = GuidedSampler(
            model, judge, response=response, temperature=0.1, random_state=0
        )
        rows = sampler.sample(100)
        assert list(rows.columns) == ["colour", "size"]
        assert (rows["size"] == wanted).mean() > 0.9
    with pytest.raises(ValueError, match="response must be one of"):
        GuidedSampler(model, judge, response="fair").sample(3)


def test_parameters_set_after_a_sample_count_in_the_next(model):
    rows = [[0, 0, 1, 1, 0], [1, 1, 0, 0, 1]] * 20
    other = LatentClassModel(1, random_state=0).fit(rows)
    sampler = GuidedSampler(model, total, random_state=0)
    assert sampler.sample(200).max() == 2
    assert sampler.set_params(model=other).sample(200).max() == 1
    with pytest.raises(ValueError, match="temperature"):
        sampler.set_params(temperature=-1.0).sample(5)
    with pytest.raises(NotFittedError, match="needs fit"):
        sampler.set_params(temperature=1.0, value="regressor").sample(5)
    # after a fit its model stays until the next one
    sampler.set_params(value="rollout", model=model).fit().set_params(model=other)
    assert sampler.sample(200).max() == 2 and sampler.fit().sample(200).max() == 1


def test_fit_takes_rows_for_a_model_that_is_not_fitted():
    X = np.random.default_rng(0).integers(0, 2, (200, 3))
    inner = LatentClassModel(2)
    sampler = GuidedSampler(inner, lambda rows: rows[:, 0], random_state=0)
    with pytest.raises(NotFittedError):
        sampler.sample(3)
    rows = sampler.fit(X).sample(50)
    assert rows.shape == (50, 3) and not hasattr(inner, "categories_")
    np.testing.assert_array_equal(rows, sampler.fit(X).sample(50))
    sampler.fit(pd.DataFrame(X, columns=list("abc")))
    assert list(sampler.feature_names_in_) == list("abc")
    assert not hasattr(sampler.fit(X), "feature_names_in_")
    frozen = GuidedSampler(FrozenEstimator(inner.fit(X)), lambda rows: rows[:, 0])
    assert frozen.fit().sample(3).shape == (3, 3)


@pytest.mark.parametrize(
    ("reward", "match"),
    [
        (lambda rows: np.zeros(2), "one number per row"),
        (lambda rows: np.full(len(rows), np.nan), "NaN"),
    ],
)
def test_bad_rewards_are_refused(model, reward, match):
    with pytest.raises(ValueError, match=match):
        GuidedSampler(model, reward).sample(5)


def test_rows_that_are_forbidden_are_never_drawn(model):
    def rule(rows):
        return np.where(np.asarray(rows)[:, 0] == 2, -np.inf, 0.0)

    for resampling in ("cell", "particles", "importance"):
        sampler = GuidedSampler(model, rule, resampling=resampling, random_state=0)
        assert (sampler.sample(300)[:, 0] != 2).all()


@pytest.mark.parametrize("resampling", ["cell", "particles"])
def test_rows_that_end_in_a_dead_end_give_way_to_others(model, resampling):
    def rule(rows):
        rows = np.asarray(rows)
        return np.where(rows[:, 0] + rows[:, 2] == 0, 0.0, -np.inf)

    sampler = GuidedSampler(
        model, rule, n_candidates=2, n_completions=1, resampling=resampling
    )
    rows = sampler.sample(200, random_state=0)
    assert (rows[:, 0] + rows[:, 2] == 0).all()
    with pytest.raises(ValueError, match="No row"):
        sampler.set_params(reward=lambda rows: np.full(len(rows), -np.inf)).sample(5)


@pytest.mark.parametrize("resampling", ["cell", "particles", "importance", "auto"])
@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_rows_are_allowed_where_hardly_any_completion_is(resampling, temperature):
    X = np.random.default_rng(0).integers(0, 3, (2000, 6))
    model = LatentClassModel(1).fit(X)

    def allowed(rows):
        return (np.asarray(rows)[:, :5] == 0).all(axis=1)

    options = {"n_candidates": 2, "n_completions": 1, "temperature": temperature}
    if resampling == "importance" or not temperature:
        options |= {"n_candidates": 5, "n_completions": 4}
    # one row of 243: of a pilot of 200 there may be none, and no value is finite
    for seed in range(3):
        sampler = GuidedSampler(
            model,
            lambda rows: np.where(allowed(rows), 0.0, -np.inf),
            resampling=resampling,
            random_state=seed,
            **options,
        )
        assert allowed(sampler.sample(300)).all()
        if resampling == "auto":
            assert sampler.resampling_ != "importance"


def test_long_tables_are_guided_farther_than_pools_of_equal_size_reach():
    X = np.random.default_rng(0).integers(0, 2, (3000, 30))
    model = LatentClassModel(1).fit(X)
    sampler = GuidedSampler(
        model,
        lambda rows: rows.sum(axis=1),
        temperature=0.25,
        n_candidates=4,
        n_completions=2,
        random_state=0,
    )
    sampler.sample(200)
    tilted = [normalised(np.log(m) + np.arange(2) / 0.25)[1] for m in model.marginals_]
    report = sampler.report_["mean_reward"]
    assert report["guided"] == pytest.approx(sum(tilted), abs=1.0)
    assert report[["best_of_n", "importance"]].max() < report["guided"] - 2


def test_what_cannot_be_is_refused(model):
    with pytest.raises(NotFittedError, match="fit"):
        GuidedSampler(model, total, value="regressor").sample(2)
    with pytest.raises(TypeError, match="density model"):
        GuidedSampler(LogisticRegression().fit([[0], [1]], [0, 1]), total).sample(2)
    with pytest.raises(ValueError, match="one of its categories"):
        GuidedSampler(model, total).sample(2, given={0: 9})
    with pytest.raises(ValueError, match="temperature"):
        GuidedSampler(model, total, temperature=-1).sample(2)
    sampler = GuidedSampler(model, total).fit()
    with pytest.raises(ValueError, match="complete rows"):
        sampler.score_samples(np.full((1, 5), np.nan))


def test_many_categories_are_compared_by_candidates():
    X = np.random.default_rng(0).integers(0, 30, (3000, 2))
    model = LatentClassModel(1, max_categories=40).fit(X)
    mixture = model._joint()
    assert isinstance(mixture, Mixture)
    sampler = GuidedSampler(
        model,
        lambda rows: rows[:, 0] / 10,
        n_candidates=5,
        resampling="particles",
        random_state=0,
    )
    rows = sampler.sample(4000)
    p = normalised(np.log(model.marginals_[0]) + np.arange(30) / 10)
    assert rows[:, 0].mean() == pytest.approx(p @ np.arange(30), abs=0.8)
