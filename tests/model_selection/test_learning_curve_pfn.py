import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skdiff._base.weights import load_weights
from skdiff.model_selection import CurveForecastDisplay, LearningCurvePFN
from skdiff.model_selection._curve_network import _importance
from skdiff.model_selection._curve_network._mixture import Mixture
from skdiff.model_selection._curve_network._network import context, forecast
from skdiff.model_selection._curve_network._prior import domhan_means, draw_curves
from skdiff.model_selection._curve_network._scale import Scale
from skdiff.model_selection._curve_network._summary import observe, queries, summarise

GRID = np.arange(1.0, 101.0)
PRIORS = ("domhan", "extended")


def predicted(prior, Y, cut, at=None):
    """Mixtures of the network after ``cut`` epochs of 100."""
    arrays = load_weights(f"curves_{prior}").arrays
    seen, rows = observe(Y[:, :cut], 100), np.arange(len(Y))
    summary, reference, last = summarise(seen, rows, np.full(len(Y), cut))
    query = queries(last[:, None], np.arange(cut + 1.0, 101.0) if at is None else at)
    return forecast(arrays, context(arrays, summary), query, reference)


@pytest.fixture(scope="module")
def fresh():
    """Curves of the paper's prior that no network has seen."""
    return draw_curves(2000, GRID, np.random.default_rng(77)).y.astype(float)


def rising(n=3, t=10, rng=None, noise=0.005):
    epochs = np.arange(1, t + 1)
    top = np.linspace(0.5, 0.9, n)[:, None]
    shocks = 0 if rng is None else rng.normal(0, noise, (n, t))
    return np.clip(top - 0.3 / epochs + shocks, 0, 1)


# --- the prior -----------------------------------------------------------------------


def test_the_prior_has_the_quantiles_of_the_paper():
    curves = draw_curves(100_000, np.array([1.0, 100.0]), np.random.default_rng(0))
    found = np.quantile(curves.mean[:, -1], [0.05, 0.25, 0.5, 0.75, 0.95])
    assert_allclose(found, [0.217, 0.439, 0.627, 0.799, 0.950], atol=0.01)


def test_curves_of_the_paper_rise_within_the_unit_interval():
    curves = domhan_means(2000, GRID.astype(np.float32), np.random.default_rng(1))
    assert curves.min() >= 0
    assert curves.max() <= 1
    assert np.all(curves[:, -1] > curves[:, 0])


def test_the_extended_prior_has_constants_declines_and_lattices():
    curves = draw_curves(4000, GRID, np.random.default_rng(2), "extended")
    rise = curves.mean[:, -1] - curves.mean[:, 0]
    assert 0.03 < np.mean(rise == 0) < 0.1
    assert np.mean(curves.mean.max(1) > curves.mean[:, -1] + 0.01) > 0.02
    distinct = np.array([len(np.unique(y)) for y in curves.y])
    assert np.mean(distinct < 50) > 0.2
    assert np.all((curves.mean >= 0) & (curves.mean <= 1))


# --- mixtures and scales -------------------------------------------------------------


def mixtures(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(4), (3, 2))
    return Mixture(
        weights, rng.uniform(0, 1, (3, 2, 4)), rng.uniform(0.01, 0.2, (3, 2, 4))
    )


@given(st.integers(0, 10_000), st.floats(0.001, 0.999))
@settings(max_examples=25)
def test_quantiles_invert_the_distribution(seed, level):
    mixture = mixtures(seed)
    quantile = mixture.quantile(np.full((3, 2), level))
    assert_allclose(mixture.cdf(quantile), level, atol=1e-9)
    assert_allclose(np.exp(mixture.log_survival(quantile)), 1 - level, atol=1e-9)


def test_a_density_integrates_to_one_and_is_the_derivative():
    mixture = mixtures(0)
    y = np.linspace(-2, 3, 20_001)
    density = np.exp([mixture.log_density(np.full((3, 2), v)) for v in y[::10]])
    assert_allclose(np.trapezoid(density, y[::10], axis=0), 1, atol=1e-6)
    at, step = np.full((3, 2), 0.4), 1e-5
    slope = (mixture.cdf(at + step) - mixture.cdf(at - step)) / (2 * step)
    assert_allclose(np.log(slope), mixture.log_density(at), atol=1e-4)


@pytest.mark.parametrize(
    "scale",
    [
        Scale(0, 1, None, flip=False),
        Scale(-2, 5, None, flip=True),
        Scale(0, np.inf, (0.1, 2.0), flip=True),
        Scale(-np.inf, np.inf, (-3.0, 4.0), flip=False),
        Scale(-1, 1, (-0.5, 0.6), flip=False),
    ],
)
def test_scales_go_back_and_know_their_slope(scale):
    y = np.linspace(0.01, 0.99, 37)
    assert_allclose(scale.backward(scale.forward(y)), y, atol=1e-10)
    step = 1e-6
    slope = np.abs(scale.forward(y + step) - scale.forward(y - step)) / (2 * step)
    assert_allclose(np.log(slope), scale.log_slope(y), atol=1e-5)
    ends = scale.forward(np.array([scale.low, scale.high]))
    assert_allclose(sorted(ends), [0, 1], atol=1e-12)


# --- the networks --------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
def test_numpy_and_torch_agree(prior):
    torch = pytest.importorskip("torch")
    from skdiff.model_selection._curve_network._module import CurveNetwork

    arrays = load_weights(f"curves_{prior}").arrays
    module = CurveNetwork()
    linear = [m for m in module.context if isinstance(m, torch.nn.Linear)]
    pairs = [(m, f"context_W{k}", f"context_b{k}") for k, m in enumerate(linear)]
    pairs += [(module.head, "head_W", "head_b"), (module.out, "out_W", "out_b")]
    with torch.no_grad():
        for layer, weight, bias in pairs:
            layer.weight.copy_(torch.from_numpy(arrays[weight].T.copy()))
            layer.bias.copy_(torch.from_numpy(arrays[bias].copy()))
        module.query.weight.copy_(torch.from_numpy(arrays["query_W"].T.copy()))
    assert module.to_arrays().keys() == arrays.keys()
    Y = rising(5, 20, np.random.default_rng(0))
    seen = observe(Y, 100)
    summary, reference, last = summarise(seen, np.arange(5), np.full(5, 20))
    query = queries(last[:, None], np.array([30.0, 100.0]))
    ours = forecast(arrays, context(arrays, summary), query, reference)
    theirs = module(
        *(torch.from_numpy(a.astype("f")) for a in (summary, query, reference))
    )
    weights, means, log_std = (t.detach().numpy() for t in theirs)
    assert_allclose(ours.weights, np.exp(weights), atol=1e-5)
    assert_allclose(ours.means, means, atol=1e-5)
    assert_allclose(np.log(ours.stds), log_std, atol=1e-4)


@pytest.mark.parametrize(
    ("cut", "least"), [(10, 1.60), (20, 1.99), (40, 2.30), (80, 2.47)]
)
def test_log_density_and_coverage_on_fresh_curves(fresh, cut, least):
    mixture, later = predicted("domhan", fresh, cut), fresh[:, cut:]
    assert mixture.log_density(later).mean() > least
    below = mixture.cdf(later)
    for width in (0.5, 0.8, 0.9):
        inside = (below > 0.5 - width / 2) & (below < 0.5 + width / 2)
        assert inside.mean() == pytest.approx(width, abs=0.02)


def test_nearly_as_good_as_the_exact_posterior(fresh):
    some, at = fresh[:160], np.array([15, 30, 60, 100])
    draws = _importance.prior_draws(60_000, 100, 5)
    exact = _importance.weigh(draws, some[:, :10], np.tile(at, (160, 1)))
    rows = np.flatnonzero(exact.ess > 50)
    assert len(rows) > 40
    later = some[rows][:, at - 1]
    best = [exact.mixtures[i].log_density(later[k]) for k, i in enumerate(rows)]
    ours = predicted("domhan", some[rows], 10, at.astype(float)).log_density(later)
    assert np.mean(best) - ours.mean() < 0.05


def test_a_constant_curve_goes_on():
    for value in (0.1, 0.5, 0.9):
        model = LearningCurvePFN("domhan").fit(np.full((1, 20), value))
        found = model.predict(np.full((1, 20), value), [30, 60, 100])
        assert_allclose(found, value, atol=0.02)


def test_no_certainty_after_a_constant_prefix():
    model = LearningCurvePFN().fit(np.full((1, 10), 0.5))
    low, high = model.predict_quantiles(np.full((1, 10), 0.5), [0.05, 0.95])[0]
    assert 0.005 < high - low < 0.7


def test_a_very_short_training_learns():
    pytest.importorskip("torch")
    from skdiff.model_selection._curve_network._module import train

    heard = []
    _, losses = train("domhan", 60, 0, report=lambda step, loss: heard.append(step))
    assert heard == list(range(1, 61))
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.15


def test_the_script_rebuilds_the_scores_of_the_card(tmp_path):
    pytest.importorskip("torch")
    tools = Path(__file__).parents[2] / "tools"
    sys.path.insert(0, str(tools))
    try:
        from train_learning_curves import scores
    finally:
        sys.path.remove(str(tools))
    weights = load_weights("curves_domhan")
    told = weights.card["scores"]
    for cut, found in scores(weights.arrays, "domhan").items():
        for name, value in found.items():
            assert value == pytest.approx(told[cut][name], abs=1e-3)


# --- the estimator -------------------------------------------------------------------


def test_the_order_of_curves_and_trailing_gaps_change_nothing():
    X = rising(6, 15, np.random.default_rng(0))
    model = LearningCurvePFN().fit(X)
    found = model.predict_quantiles(X, [0.1, 0.9])
    assert_allclose(model.predict_quantiles(X[::-1], [0.1, 0.9]), found[::-1])
    padded = np.pad(X, ((0, 0), (0, 7)), constant_values=np.nan)
    assert_allclose(model.predict_quantiles(padded, [0.1, 0.9]), found)
    assert_allclose(model.predict(X[:1]), model.predict(X)[:1], rtol=1e-5)


def test_losses_mirror_scores():
    X = rising()
    q = np.array([0.1, 0.5, 0.9])
    up = LearningCurvePFN().fit(X).predict_quantiles(X, q)
    down = LearningCurvePFN(direction="minimize").fit(1 - X)
    assert_allclose(down.predict_quantiles(1 - X, 1 - q), 1 - up, atol=1e-9)
    assert_allclose(
        down.predict_proba_exceed(1 - X, 0.3),
        LearningCurvePFN().fit(X).predict_proba_exceed(X, 0.7),
    )


def test_percentages_are_scores_times_hundred():
    X = rising()
    base, percent = LearningCurvePFN().fit(X), LearningCurvePFN(bounds=(0, 100))
    percent.fit(100 * X)
    assert_allclose(percent.predict(100 * X), 100 * base.predict(X))
    later = np.full((3, 2), 0.6)
    assert_allclose(
        percent.log_prob(100 * X, 100 * later), base.log_prob(X, later) - np.log(100)
    )
    assert base.score(X, later) == pytest.approx(base.log_prob(X, later).mean())


@pytest.mark.parametrize("horizon", [25, 50, 300])
def test_any_horizon(horizon):
    t = horizon // 5
    X = rising(3, t, np.random.default_rng(0))
    model = LearningCurvePFN(horizon=horizon).fit(X)
    found = model.predict(X)
    assert_allclose(found, [0.5, 0.7, 0.9], atol=0.06)
    spread = np.diff(model.predict_quantiles(X, [0.05, 0.95]))
    assert np.all((spread > 0.001) & (spread < 0.4))


@pytest.mark.parametrize("bounds", [(0, np.inf), (-np.inf, np.inf)])
def test_losses_without_an_upper_bound(bounds):
    epochs = np.arange(1, 16)
    X = np.array([2.0, 1.2])[:, None] + np.array([3.0, 0.5])[:, None] / epochs
    model = LearningCurvePFN(direction="minimize", bounds=bounds, horizon=60).fit(X)
    q = model.predict_quantiles(X, [0.05, 0.25, 0.5, 0.75, 0.95], [20, 40, 60])
    assert q.shape == (2, 5, 3)
    assert np.all(np.diff(q, axis=1) > 0)
    assert np.all(q[:, 1] < X[:, -1:])
    mean = model.predict(X)
    draws = model.sample(X, 20_000, random_state=0)
    assert_allclose(draws.mean(1), mean, rtol=0.02)
    # density and quantiles are those of one distribution
    levels = np.linspace(0.001, 0.999, 1999)
    for curve in X:
        grid = model.predict_quantiles(curve[None], levels, 16)[0]
        density = np.exp(model.log_prob(np.tile(curve, (1999, 1)), grid[:, None])[:, 0])
        assert np.trapezoid(density, grid) == pytest.approx(0.998, abs=0.002)


def test_calibration_finds_a_stretch():
    rng = np.random.default_rng(0)
    X = draw_curves(200, GRID, rng).y.astype(float)
    X = X[(X.min(1) >= 0) & (X.max(1) <= 1)]
    model = LearningCurvePFN("domhan", calibrate=True).fit(X)
    assert model.scale_ == pytest.approx(1, abs=0.15)
    narrow = LearningCurvePFN("domhan").fit(X)
    assert narrow.scale_ == 1.0
    wide = np.diff(model.predict_quantiles(X[:, :20], [0.1, 0.9]))
    base = np.diff(narrow.predict_quantiles(X[:, :20], [0.1, 0.9]))
    assert_allclose(wide / base, model.scale_, rtol=1e-6)


def test_importance_and_network_agree(fresh):
    X = np.clip(fresh[:60, :5], 0, 1)
    exact = LearningCurvePFN("domhan", "importance", random_state=0).fit(X)
    draws = _importance.prior_draws(40_000, 100, 5)
    at = np.full((60, 1), 100)
    sure = _importance.weigh(draws, X, at).ess > 200
    assert sure.sum() > 5
    network = LearningCurvePFN("domhan").fit(X)
    gap = exact.predict(X[sure]) - network.predict(X[sure])
    assert np.sqrt(np.mean(gap**2)) < 0.03


def test_importance_warns_of_few_draws():
    X = rising(1, 60, np.random.default_rng(3))
    model = LearningCurvePFN("domhan", "importance", n_draws=500, random_state=0)
    with pytest.warns(UserWarning, match="effective sample size of 1 curves"):
        model.fit(X).predict(X)


def test_probabilities_to_exceed():
    X = rising(3, 12, np.random.default_rng(0))
    model = LearningCurvePFN().fit(X)
    every = model.predict_proba_exceed(X, 0.7, np.arange(13, 101))
    assert_allclose(model.predict_proba_exceed(X, 0.7), every.max(1))
    assert np.all(np.diff(model.predict_proba_exceed(X, 0.7)) > 0)
    assert_allclose(
        model.predict_proba_exceed(X, [0.4, 0.7, 0.95], 50),
        [model.predict_proba_exceed(X[i : i + 1], t, 50)[0] for i, t in
         enumerate([0.4, 0.7, 0.95])],
        rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("params", "X", "message"),
    [
        ({}, [[np.nan, np.nan], [0.1, 0.2]], "Curve 0 of X has no observed value"),
        ({}, [[0.1, 0.2], [0.1, 1.2]], "Curve 1 of X has values outside bounds"),
        ({"horizon": 3}, [[0.1] * 4], "more than horizon=3"),
        ({"bounds": (1, 0)}, [[0.1]], "bounds must be two numbers"),
        ({"soft_bounds": (-1, 0.5)}, [[0.1]], "soft_bounds must be finite and within"),
        ({"method": "importance"}, [[0.1]], "draws from the prior of the paper only"),
        ({"calibrate": True}, [[0.1, 0.2]] * 3, "needs at least two complete curves"),
        ({"prior": "flat"}, [[0.1]], "The 'prior' parameter"),
    ],
)
def test_bad_input_of_fit(params, X, message):
    with pytest.raises(ValueError, match=message):
        LearningCurvePFN(**params).fit(X)


def test_bad_input_of_predictions():
    X = rising(2, 10)
    model = LearningCurvePFN(horizon=20).fit(X)
    with pytest.raises(ValueError, match="Curve 0 is observed up to epoch 10"):
        model.predict(X, 10)
    with pytest.raises(ValueError, match="beyond horizon=20"):
        model.predict(X, 21)
    with pytest.raises(ValueError, match="must be an epoch"):
        model.predict(X, 12.5)
    with pytest.raises(ValueError, match="Curve 1 is complete"):
        whole = np.vstack([np.r_[X[0], np.full(10, np.nan)], np.full(20, 0.5)])
        model.predict_proba_exceed(whole, 0.5)
    with pytest.raises(ValueError, match="together have 21 epochs"):
        model.log_prob(X, np.full((2, 11), 0.5))
    with pytest.raises(ValueError, match="at must be epochs or 'any'"):
        model.predict_proba_exceed(X, 0.5, "all")
    with pytest.raises(ValueError, match="threshold must be a number"):
        model.predict_proba_exceed(X, [0.5] * 3)


def test_display():
    pytest.importorskip("matplotlib").use("Agg")
    X = rising(2, 10)
    model = LearningCurvePFN(horizon=30).fit(X)
    display = CurveForecastDisplay.from_estimator(model, X, truth=rising(2, 30)).plot()
    assert len(display.lines_) == 2
    frame = display.frame()
    assert len(frame) == 2 * 20
    assert np.all(frame["q0.05"] < frame["q0.95"])
