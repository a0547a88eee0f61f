"""ScoreCurve: exact curves, equivariance, independent solvers, intervals, bad input."""

import pickle

import numpy as np
import pytest
from scipy.optimize import least_squares
from sklearn.base import clone

from skdiff.model_selection import ScoreCurve, ScoreCurveDisplay
from skdiff.model_selection._score_curve._patterns import (
    Fitting,
    fit_curves,
    predict_curves,
)

SIZES = np.round(16 * np.sqrt(2.0) ** np.arange(10))


def noisy(seed, noise=0.01, columns=None):
    rng = np.random.RandomState(seed)
    shape = (10,) if columns is None else (10, columns)
    clean = 0.85 - 1.5 * SIZES**-0.5
    clean = clean if columns is None else clean[:, None]
    return clean + noise * rng.normal(size=shape)


@pytest.mark.parametrize("rate", [0.0500001, 0.37, 0.5, 1.7, 2.4999])
@pytest.mark.parametrize("recency", [0.0, 1.5])
def test_exact_curves_are_recovered(rate, recency):
    y = 0.9 - 0.7 * SIZES**-rate
    curve = ScoreCurve(recency=recency, random_state=0).fit(SIZES, y)
    found = [curve.asymptote_, curve.amplitude_, curve.rate_]
    np.testing.assert_allclose(found, [0.9, 0.7, rate], rtol=1e-6)
    np.testing.assert_allclose(curve.trace_, 0.9, rtol=1e-5)
    assert curve.thickness_ == pytest.approx(0, abs=1e-6) and curve.converged_
    assert curve.monotone_ and curve.working_level_ == curve.prediction_level_ == 4
    target = float(curve.predict([500.0])[0])
    assert curve.required_size(target) == pytest.approx(500, rel=1e-5)
    assert curve.required_size(0.9) == curve.required_size(0.95) == np.inf
    np.testing.assert_allclose(
        curve.predict_quantiles(SIZES, [0.05, 0.95]).T, [y, y], atol=1e-5
    )


@pytest.mark.parametrize("pattern", ["exp3", "log2", "mmf4", "weibull4", "power2"])
def test_other_patterns_are_recovered(pattern):
    u = SIZES / SIZES[-1]
    basis = {
        "exp3": np.exp(-3.3 * u),
        "log2": -np.log(u),
        "mmf4": 1 / (1 + (u / 0.21) ** 1.3),
        "weibull4": np.exp(-((u / 0.21) ** 1.3)),
        "power2": u**-0.4,
    }[pattern]
    y = 1.0 - 0.3 * basis if pattern == "power2" else 0.8 - 0.3 * basis
    upper = np.inf if pattern == "log2" else 1.0
    curve = ScoreCurve(pattern, upper=upper, random_state=0).fit(SIZES, y)
    np.testing.assert_allclose(curve.predict(SIZES), y, atol=1e-5)
    if pattern == "log2":
        assert curve.asymptote_ == np.inf
        assert curve.required_size(2.0) == pytest.approx(
            SIZES[-1] * np.exp(4), rel=1e-6
        )
    else:
        limit = 1.0 if pattern == "power2" else 0.8
        assert curve.asymptote_ == pytest.approx(limit, abs=1e-4)


@pytest.mark.parametrize(("upper", "seed"), [(np.inf, 0), (1.0, 1), (0.8, 2)])
def test_as_good_as_the_best_of_twenty_starts(upper, seed):
    u = SIZES / SIZES[-1]
    y = np.minimum(noisy(seed, 0.02), upper)
    curve = ScoreCurve(upper=upper, rate_prior=None, recency=1.0, intervals=None).fit(
        SIZES, y
    )
    ours = np.sum(u * (y - curve.predict(SIZES)) ** 2)
    rng, best = np.random.RandomState(seed), np.inf
    for _ in range(20):
        start = rng.uniform(0, 0.7), rng.uniform(0, 1), rng.uniform(0.06, 2.4)
        found = least_squares(
            lambda v: np.sqrt(u) * (y - v[0] + v[1] * u ** -v[2]),
            start,
            bounds=([-np.inf, 0, 0.05], [upper, np.inf, 2.5]),
            xtol=1e-14,
            ftol=1e-14,
        )
        best = min(best, 2 * found.cost)
    assert ours <= best + 1e-8 * max(best, 1.0)


@pytest.mark.parametrize("pattern", ["power", "exp3", "auto"])
def test_equivariance(pattern):
    y = noisy(3)
    new = np.array([100.0, 2000.0, 1e5])
    curve = ScoreCurve(pattern, random_state=0).fit(SIZES, y)
    scaled = ScoreCurve(pattern, random_state=0).fit(1000 * SIZES, y)
    np.testing.assert_allclose(
        scaled.predict(1000 * new), curve.predict(new), rtol=1e-7
    )
    affine = ScoreCurve(pattern, upper=7.0, random_state=0).fit(SIZES, 5 + 2 * y)
    np.testing.assert_allclose(
        affine.predict(new), 5 + 2 * curve.predict(new), rtol=1e-6
    )
    spread = curve.predict(new, return_std=True)[1]
    np.testing.assert_allclose(
        affine.predict(new, return_std=True)[1], 2 * spread, rtol=1e-4
    )
    order = np.random.RandomState(0).permutation(10)
    moved = ScoreCurve(pattern, random_state=0).fit(SIZES[order, None], y[order])
    np.testing.assert_array_equal(moved.predict(new), curve.predict(new))


def test_weights_are_repetitions_and_zero_is_absent():
    y = noisy(4)
    weight = np.where(np.arange(10) == 3, 2.0, 1.0)
    twice = ScoreCurve(intervals=None).fit(np.r_[SIZES, SIZES[3]], np.r_[y, y[3]])
    weighted = ScoreCurve(intervals=None).fit(SIZES, y, sample_weight=weight)
    for name in ("asymptote_", "rate_", "amplitude_", "trace_"):
        np.testing.assert_allclose(getattr(twice, name), getattr(weighted, name))
    absent = ScoreCurve(random_state=0).fit(
        SIZES, y, sample_weight=np.r_[0, np.ones(9)]
    )
    short = ScoreCurve(random_state=0).fit(SIZES[1:], y[1:])
    np.testing.assert_array_equal(
        absent.predict_quantiles([5000], [0.1, 0.9]),
        short.predict_quantiles([5000], [0.1, 0.9]),
    )


def test_repeats_are_drawn_jointly():
    shift = 0.05 * np.random.RandomState(0).normal(size=8)
    together = noisy(5, 0.002, columns=8) + shift  # test folds differ, sizes do not
    rng = np.random.RandomState(1)
    apart = np.array([row[rng.permutation(8)] for row in together])
    spreads = [
        ScoreCurve(random_state=0, upper=np.inf)
        .fit(SIZES, y)
        .predict([SIZES[-1]], return_std=True)[1][0]
        for y in (together, apart)
    ]
    assert spreads[0] > 1.15 * spreads[1]
    curve = ScoreCurve(random_state=0).fit(SIZES, together)
    np.testing.assert_allclose(curve.scores_, together.mean(axis=1))
    np.testing.assert_allclose(
        curve.score_std_, together.std(axis=1, ddof=1) / np.sqrt(8)
    )


def test_intervals_cover_and_widen():
    covered = []
    for seed in range(60):
        curve = ScoreCurve(random_state=seed).fit(SIZES, noisy(seed))
        low, high = curve.predict_quantiles([4 * SIZES[-1]], [0.05, 0.95])[0]
        covered.append(low <= 0.85 - 1.5 * (4 * SIZES[-1]) ** -0.5 <= high)
    assert np.mean(covered) >= 0.9
    at = np.geomspace(SIZES[-1], 1e6, 20)
    assert np.all(np.diff(curve.predict(at, return_std=True)[1]) > 0)
    p = curve.probability_above(at, 0.8)
    assert np.all((p >= 0) & (p <= 1)) and curve.probability_above([10], 1.01)[0] == 0
    q = curve.predict_quantiles(at, [0.05, 0.5, 0.95])
    assert np.all(np.diff(q, axis=1) >= 0) and q.max() <= 1
    np.testing.assert_allclose(q[:, 1], curve.predict(at))


def test_falling_scores_give_a_constant_and_say_so():
    curve = ScoreCurve(random_state=0).fit(SIZES, np.linspace(0.9, 0.6, 10))
    assert curve.amplitude_ == 0 and not curve.monotone_
    assert np.ptp(curve.predict([10, 1e6])) == 0 and 0.6 < curve.asymptote_ < 0.75
    assert curve.required_size(0.99) == np.inf and curve.required_size(0.5) < 1


def test_losses_recency_and_auto():
    loss = 0.4 + 3 * SIZES**-0.6
    curve = ScoreCurve(upper=0.0).fit(SIZES, -loss)
    assert curve.asymptote_ == pytest.approx(-0.4, rel=1e-5)
    precise = ScoreCurve(weights="auto").fit(SIZES, noisy(0, 1e-4, columns=5))
    rough = ScoreCurve(weights="auto").fit(SIZES, noisy(0, 0.2, columns=5) - 0.5)
    assert precise.recency_ == 2.0 and rough.recency_ == 1.5
    assert ScoreCurve(weights="uniform").fit(SIZES, noisy(0)).recency_ == 0.0
    mixed = ScoreCurve("auto", random_state=0).fit(SIZES, noisy(0))
    assert sum(mixed.pattern_weights_.values()) == pytest.approx(1)
    assert len(mixed.pattern_weights_) == 5 and np.isnan(mixed.rate_)
    target = float(mixed.predict([3000])[0])
    assert mixed.required_size(target) == pytest.approx(3000, rel=1e-6)


def test_the_covariance_is_that_of_refits():
    found = np.array(
        [
            [c.asymptote_, c.amplitude_, c.rate_]
            for c in (
                ScoreCurve(
                    upper=np.inf, rate_prior=None, weights="uniform", intervals=None
                ).fit(np.tile(SIZES, 20), np.tile(noisy(0, 0), 20) + e)
                for e in 0.01 * np.random.RandomState(0).normal(size=(300, 200))
            )
        ]
    )
    curve = ScoreCurve(upper=np.inf, rate_prior=None, weights="uniform")
    e = 0.01 * np.random.RandomState(1).normal(size=200)
    curve.fit(np.tile(SIZES, 20), np.tile(noisy(0, 0), 20) + e)
    ratio = np.sqrt(np.diag(curve.params_cov_)) / found.std(axis=0)
    assert np.all((ratio > 0.7) & (ratio < 1.4))


def test_bounds_of_the_batched_search():
    rng = np.random.RandomState(0)
    scores = np.array([noisy(k) for k in range(5)])
    how = Fitting(1.0)
    for pattern in ("power", "mmf4"):
        both = fit_curves(pattern, SIZES, scores, np.ones_like(scores), how)
        for k in range(5):
            one = fit_curves(pattern, SIZES, scores[[k]], np.ones((1, 10)), how)
            np.testing.assert_allclose(
                predict_curves(one, SIZES)[0], predict_curves(both, SIZES)[k], atol=1e-9
            )
            near = one.shape * np.exp(0.01 * rng.normal(size=(200, one.shape.shape[1])))
            assert np.all(one.error[0] <= _errors(pattern, near, scores[k]) + 1e-9)


def _errors(pattern, shapes, y):
    u = SIZES / SIZES[-1]
    basis = {
        "power": lambda s: u ** -np.clip(s[0], 0.05, 2.5),
        "mmf4": lambda s: (
            1 / (1 + (u / np.clip(s[0], 1e-3, 10)) ** np.clip(s[1], 0.3, 4))
        ),
    }[pattern]
    found = []
    for s in shapes:
        A = np.c_[np.ones(10), -basis(s)]
        coef = np.linalg.lstsq(A, y, rcond=None)[0]
        if coef[1] < 0 or coef[0] > 1:
            continue
        found.append(np.sum((y - A @ coef) ** 2))
    return np.array(found)


def test_the_display():
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    curve = ScoreCurve(random_state=0).fit(SIZES, noisy(0))
    display = ScoreCurveDisplay.from_estimator(curve, target=0.84, name="a").plot()
    frame = display.frame()
    assert list(frame.columns) == ["size", "predicted", "low", "high"]
    np.testing.assert_allclose(frame["predicted"], curve.predict(frame["size"]))
    assert (frame["low"] <= frame["predicted"]).all()
    x, y = display.line_.get_data()
    np.testing.assert_allclose(y, curve.predict(x))
    bare = ScoreCurve(intervals=None).fit(SIZES, noisy(0))
    assert ScoreCurveDisplay.from_estimator(bare).plot().frame()["low"].isna().all()


def test_bad_input():
    y = noisy(0)
    for call, message in (
        (lambda: ScoreCurve().fit(SIZES[:2], y[:2]), "3 different sizes"),
        (lambda: ScoreCurve().fit(np.repeat(SIZES[:2], 5), y), "3 different sizes"),
        (lambda: ScoreCurve().fit(SIZES, y + 1), "above upper"),
        (lambda: ScoreCurve(lower=0).fit(SIZES, y - 1), "below lower"),
        (lambda: ScoreCurve().fit(SIZES - 16, y), "positive"),
        (lambda: ScoreCurve().fit(np.c_[SIZES, SIZES], y), "one column"),
        (lambda: ScoreCurve().fit(SIZES, np.r_[np.nan, y[1:]]), "NaN"),
        (lambda: ScoreCurve().fit(SIZES, y[1:]), "inconsistent"),
        (lambda: ScoreCurve(upper=0.5, lower=0.6).fit(SIZES, y), "must be below"),
        (lambda: ScoreCurve("power2", upper=np.inf).fit(SIZES, y), "finite"),
        (lambda: ScoreCurve("mmf4").fit(SIZES[:3], y[:3]), "4 parameters"),
        (lambda: ScoreCurve(rate_prior=(1.0,)).fit(SIZES, y), "two positive"),
        (lambda: ScoreCurve(rate_prior=(1.0, -1.0)).fit(SIZES, y), "two positive"),
        (lambda: ScoreCurve("linear").fit(SIZES, y), "pattern"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    curve = clone(ScoreCurve(intervals=None)).fit(SIZES, y)
    with pytest.raises(ValueError, match="no intervals"):
        curve.predict([10], return_std=True)
    with pytest.raises(ValueError, match="open interval"):
        ScoreCurve().fit(SIZES, y).predict_quantiles([10], [0.0, 0.5])


def test_the_trace_is_made_when_read_and_anew_after_a_fit():
    sizes = np.array([100.0, 200, 400, 800, 1600])
    curve = ScoreCurve(intervals=None)
    assert not hasattr(curve, "trace_")
    curve.fit(sizes, 0.95 - 2.0 * sizes**-0.5)
    first = curve.trace_
    curve.fit(sizes[:4], 0.85 - 2.0 * sizes[:4] ** -0.5)
    again = pickle.loads(pickle.dumps(curve))
    assert len(first) == 3 and len(curve.trace_) == 2 == len(again.trace_)
    np.testing.assert_array_equal(curve.trace_, again.trace_)
    curve.set_params(tol=0.0)
    assert curve.thickness_ == curve.trace_thickness_[-1]
