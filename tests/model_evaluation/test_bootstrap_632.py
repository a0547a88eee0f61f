"""The .632+ bootstrap: closed forms, the published behaviour, standard errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from skdiff.model_evaluation import bootstrap_632_score
from skdiff.model_evaluation._bootstrap._numbers import (
    combine,
    no_information_absolute,
    no_information_squared,
    no_information_zero_one,
)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_no_information_is_the_mean_over_all_pairs(seed, n):
    rng = np.random.default_rng(seed)
    y, p = np.round(rng.normal(size=(2, n)), 1)
    gap = y[:, None] - p
    np.testing.assert_allclose(no_information_squared(y, p), np.mean(gap**2))
    np.testing.assert_allclose(no_information_absolute(y, p), np.mean(np.abs(gap)))
    np.testing.assert_allclose(no_information_zero_one(y, p), np.mean(gap != 0))


@settings(max_examples=100, deadline=None)
@given(*[st.floats(0, 1)] * 3)
def test_the_weight_stays_between_its_bounds(out, train, gamma):
    found = combine("632+", out, train, gamma)
    assert 0.632 <= found.weight <= 1 + 1e-12 and 0 <= found.overfitting <= 1
    if train < gamma:
        assert (
            min(train, out) - 1e-12
            <= found.error
            <= max(train, min(out, gamma)) + 1e-12
        )
    fixed = combine("632", out, train, gamma)
    assert fixed.error == pytest.approx(0.368 * train + 0.632 * out)


def test_the_combination_by_hand():
    found = combine("632+", 0.4, 0.1, 0.5)
    R = (0.4 - 0.1) / (0.5 - 0.1)
    w = 0.632 / (1 - 0.368 * R)
    assert found == pytest.approx(((1 - w) * 0.1 + w * 0.4, w, R))


def test_pure_noise_and_one_neighbour():
    # .632 is far too optimistic here, .632+ is not (Efron and Tibshirani, 1997)
    plus, fixed = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
        how = {"n_bootstrap": 40, "random_state": seed}
        model = KNeighborsClassifier(1)
        plus.append(1 - bootstrap_632_score(model, X, y, **how).score)
        fixed.append(1 - bootstrap_632_score(model, X, y, method="632", **how).score)
    assert np.mean(plus) == pytest.approx(0.47, abs=0.04)
    assert np.mean(fixed) == pytest.approx(0.32, abs=0.04)


def test_the_error_outside_the_samples_by_hand():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:40, :3], y[:40]
    found = bootstrap_632_score(
        LinearRegression(), X, y, method="oob", n_bootstrap=30, random_state=3
    )
    rng = np.random.RandomState(3)
    sums, times = np.zeros(40), np.zeros(40)
    for _ in range(30):
        rows = rng.randint(40, size=40)
        out = np.setdiff1d(np.arange(40), rows)
        model = LinearRegression().fit(X[np.sort(rows)], y[np.sort(rows)])
        sums[out] += (model.predict(X[out]) - y[out]) ** 2
        times[out] += 1
    assert found.score == pytest.approx(-np.mean(sums / times))
    np.testing.assert_allclose(found.details["row_scores"], -sums / times)
    low, high = found.ci
    assert high - low == pytest.approx(2 * 1.959964 * found.standard_error)


def test_standard_errors_are_of_the_size_of_theory():
    # the mean of n squared normal errors has the standard error sqrt(2 / n) times it
    scores, errors = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(40, 3))
        y = X.sum(axis=1) + rng.normal(size=40)
        found = bootstrap_632_score(
            LinearRegression(), X, y, n_bootstrap=80, random_state=seed
        )
        scores.append(found.score)
        errors.append(found.standard_error)
    theory = -np.mean(scores) * np.sqrt(2 / 40)
    assert np.mean(errors) == pytest.approx(theory, rel=0.3)


@pytest.mark.parametrize("method", ["632+", "632", "oob", "bc"])
def test_methods_scorers_and_jobs(method):
    X, y = load_iris(return_X_y=True)
    X, y = X[::3], np.array(["a", "b", "c"])[y[::3]]
    how = {"method": method, "n_bootstrap": 12, "random_state": 0}
    one = bootstrap_632_score(GaussianNB(), X, y, **how)
    assert 0.8 < one.score <= 1 and one.n_bootstrap == 12
    two = bootstrap_632_score(GaussianNB(), X, y, n_jobs=2, **how)
    assert one.score == two.score
    other = bootstrap_632_score(GaussianNB(), X, y, scoring="neg_log_loss", **how)
    assert other.score < 0 and np.isnan(other.standard_error)
    errors = bootstrap_632_score(GaussianNB(), X, y, scoring="accuracy", **how)
    assert errors.score == one.score


def test_groups_strata_weights_and_frames():
    X, y = load_iris(return_X_y=True, as_frame=True)
    keep = np.r_[0:50, 50:58]  # a rare second class
    X, y = X.iloc[keep], y.iloc[keep]
    how = {"n_bootstrap": 15, "random_state": 0}
    assert bootstrap_632_score(GaussianNB(), X, y, stratify=True, **how).score > 0.9
    groups = np.repeat(np.arange(29), 2)
    grouped = bootstrap_632_score(GaussianNB(), X, y, groups=groups, **how)
    assert grouped.score > 0.9 and grouped.standard_error >= 0
    weight = np.where(y == 1, 100.0, 1.0)
    model = LogisticRegression(C=1e-3)
    plain = bootstrap_632_score(model, X, y, **how)
    heavy = bootstrap_632_score(model, X, y, params={"sample_weight": weight}, **how)
    assert heavy.score != plain.score


def test_a_constant_model_has_no_overfitting():
    X, y = load_iris(return_X_y=True)
    found = bootstrap_632_score(
        DummyClassifier(strategy="constant", constant=0),
        X,
        y,
        random_state=0,
        n_bootstrap=20,
    )
    assert found.overfitting == 0 and found.weight == 0.632
    # constant predictions carry no information: a third of the rows is right
    assert found.no_information_score == pytest.approx(1 / 3)
    assert found.train_score == pytest.approx(1 / 3)
    found = bootstrap_632_score(DummyRegressor(), X, y * 0, n_bootstrap=5)
    assert found.score == 0 and found.standard_error == 0


def test_fixed_strata_leave_no_uncertainty_of_their_shares():
    # the model errs on one class whatever it sees: its share alone decides
    X, y = load_iris(return_X_y=True)
    how = {"n_bootstrap": 300, "random_state": 0, "method": "oob"}
    model = DummyClassifier(strategy="constant", constant=0)
    drawn = bootstrap_632_score(model, X[:100], y[:100], **how)
    fixed = bootstrap_632_score(model, X[:100], y[:100], stratify=True, **how)
    assert drawn.standard_error == pytest.approx(0.05, rel=0.3)  # of a half in 100
    assert fixed.standard_error < 0.5 * drawn.standard_error


def test_the_corrected_training_score_is_the_lower():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), rng.integers(2, size=60)
    how = {"n_bootstrap": 30, "random_state": 0}
    found = bootstrap_632_score(KNeighborsClassifier(1), X, y, method="bc", **how)
    # a bootstrap model of noise is right on the 63 % it holds and on half of the rest
    assert found.train_score == 1.0
    assert found.score == pytest.approx(1 - 0.368 / 2, abs=0.06)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["632+", "632", "oob", "bc"]))
def test_units_and_place_of_the_outcome(seed, method):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(25, 2))
    y = X[:, 0] + rng.normal(size=25)
    how = {"n_bootstrap": 10, "random_state": 0, "method": method}

    def outcome(y, scoring):
        found = bootstrap_632_score(LinearRegression(), X, y, scoring=scoring, **how)
        low, high = found.ci
        assert not high < found.score and not low > found.score
        return np.array(
            [
                found.score,
                found.standard_error,
                found.oob_score,
                found.train_score,
                found.no_information_score,
            ]
        )

    for scoring, power in (
        ("neg_mean_squared_error", 2),
        ("neg_mean_absolute_error", 1),
    ):
        plain = outcome(y, scoring)
        assert plain[0] < 0 and plain[2] < plain[3]
        np.testing.assert_allclose(outcome(4 * y + 3, scoring), 4**power * plain)
        np.testing.assert_allclose(outcome(-y, scoring), plain)


def test_limits_and_lines(capsys):
    X, y = load_iris(return_X_y=True)
    found = bootstrap_632_score(
        GaussianNB(), X, y, n_bootstrap=500, time_limit=1e-9, random_state=0
    )
    assert found.n_bootstrap == 2
    bootstrap_632_score(GaussianNB(), X, y, n_bootstrap=3, verbose=1, random_state=0)
    assert capsys.readouterr().out.count("Sample") == 3


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"method": "0.632"}, "method"),
        ({"n_bootstrap": 1}, "n_bootstrap"),
        ({"confidence_level": 0}, "confidence_level"),
        ({"stratify": True}, "for classifiers"),
        ({"groups": [0] * 10 + [1] * 10}, "3 rows or groups"),
        ({"groups": [0] * 10}, "inconsistent"),
    ],
)
def test_bad_input(how, message):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        bootstrap_632_score(Ridge(), X[:20], y[:20], **how)


def test_more_bad_input():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="one class"):
        bootstrap_632_score(GaussianNB(), X[:20], y[:20])
    with pytest.raises(TypeError, match="estimator instance"):
        bootstrap_632_score(GaussianNB, X, y)
    with pytest.raises(ValueError, match="numbers"):
        bootstrap_632_score(
            GaussianNB(), X, y.astype(str), scoring="neg_mean_squared_error"
        )
