"""Sparse Bayesian networks: criteria, budgets, closed forms, planted sparsity."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

from skdiff.neural_network import (
    SparseBayesianMLPClassifier,
    SparseBayesianMLPRegressor,
)
from skdiff.neural_network._ssvi._module import (
    CRITERIA,
    SSVINet,
    kl_divergence,
    layer_budgets,
    mean_abs,
    random_mask,
)


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def numbers():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


def quick(**keywords):
    return {
        "hidden_layer_sizes": (20,),
        "density": 0.2,
        "max_iter": 30,
        "learning_rate_init": 0.02,
        "update_every": 10,
        "random_state": 0,
        **keywords,
    }


# --- numbers --------------------------------------------------------------------------


def test_the_divergence_is_that_of_torch():
    mu = torch.tensor([0.3, -1.0, 0.0], dtype=torch.float64)
    sigma = torch.tensor([0.1, 2.0, 0.5], dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mu, sigma), normal(torch.zeros_like(mu), 0.7)
    )
    torch.testing.assert_close(kl_divergence(mu, sigma, 0.7), expected)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(mu=st.floats(-3, 3), sigma=st.floats(0.05, 3))
def test_criteria_are_their_integrals(mu, sigma):
    def mean_of(function):
        reach = 12 * sigma
        parts = sorted({mu - reach, 0.0, mu + reach})
        return sum(
            quad(
                lambda w: function(w) * norm.pdf(w, mu, sigma),
                a,
                b,
                epsabs=1e-13,
                epsrel=1e-11,
                points=[mu] if a < mu < b else None,
                limit=200,
            )[0]
            for a, b in pairwise(parts)
        )

    m, s = np.array([mu]), np.array([sigma])
    first, second = mean_of(abs), mean_of(lambda w: w**2)
    np.testing.assert_allclose(mean_abs(m, s), first, rtol=1e-8)
    snr = first / np.sqrt(second - first**2)
    np.testing.assert_allclose(CRITERIA["snr_abs"](m, s), snr, rtol=1e-6)
    one, two = mean_of(lambda w: np.exp(abs(w))), mean_of(lambda w: np.exp(2 * abs(w)))
    np.testing.assert_allclose(CRITERIA["exp_abs"](m, s), np.log(one), rtol=1e-7)
    expected = np.log(one / np.sqrt(two - one**2))
    np.testing.assert_allclose(
        CRITERIA["snr_exp"](m, s), expected, rtol=1e-5, atol=1e-6
    )


def test_criteria_agree_with_draws():
    rng = np.random.default_rng(0)
    draws = np.abs(rng.normal(0.4, 0.7, 10**6))
    m, s = np.array([0.4]), np.array([0.7])
    np.testing.assert_allclose(mean_abs(m, s), draws.mean(), rtol=1e-2)
    snr = draws.mean() / draws.std()
    np.testing.assert_allclose(CRITERIA["snr_abs"](m, s), snr, rtol=1e-2)


def test_budgets():
    assert layer_budgets([10, 20, 2], 0.1, "uniform", False) == [20, 4]
    assert layer_budgets([10, 20, 2], 0.1, "uniform", True) == [200, 4]
    assert layer_budgets([3, 1], 0.01, "uniform", False) == [1]
    assert layer_budgets([7, 5], 1.0, "erdos_renyi", False) == [35]
    sizes = [100, 300, 50, 3]
    budgets = layer_budgets(sizes, 0.1, "erdos_renyi", False)
    total = 100 * 300 + 300 * 50 + 50 * 3
    assert abs(sum(budgets) - 0.1 * total) <= len(budgets)
    assert budgets[2] / 150 > budgets[1] / 15000 > budgets[0] / 30000


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    n_out=st.integers(1, 8),
    n_in=st.integers(1, 8),
    share=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_a_random_mask_has_its_number_spread_over_the_rows(n_out, n_in, share, seed):
    k = max(1, round(share * n_in * n_out))
    mask = random_mask(n_out, n_in, k, torch.Generator().manual_seed(seed))
    per_row = mask.sum(dim=1)
    assert mask.sum() == k and per_row.max() - per_row.min() <= 1


# --- invariants of training -----------------------------------------------------------


def test_the_budget_holds_at_every_step(cancer, monkeypatch):
    steps, moved = [], []
    stock = SSVINet.train_step

    def watched(self, batch, **keywords):
        before = [layer.mask.clone() for layer in self.module_.layers]
        result = stock(self, batch, **keywords)
        for layer, old in zip(self.module_.layers, before, strict=True):
            steps.append(
                int(layer.mask.sum()) == max(1, round(0.2 * layer.mask.numel()))
            )
            steps.append(bool((layer.mu[~layer.mask] == 0).all()))
            moved.append(bool((layer.mask != old).any()))
        return result

    monkeypatch.setattr(SSVINet, "train_step", watched)
    model = SparseBayesianMLPClassifier(**quick()).fit(*cancer)
    assert len(steps) > 200 and all(steps)
    # exchanges come every tenth step of the first three quarters of 150 steps
    assert len(model.mask_overlap_) == 11 and any(moved)
    assert model.n_active_weights_ == sum(m.sum() for m in model.masks_)
    assert [m.shape for m in model.masks_] == [(20, 30), (2, 20)]
    for (mean, std, bias), mask in zip(model.to_sparse(), model.masks_, strict=True):
        assert mean.nnz <= mask.sum() and std.nnz == mask.sum()
        assert (std.data > 0).all() and len(bias) == len(mask)


def test_the_optimiser_forgets_what_was_exchanged(cancer):
    model = SparseBayesianMLPClassifier(**quick(warm_start=True)).fit(*cancer)
    net = model._live["net"]
    start = 0
    for parameter in net.optimizer_.param_groups[0]["params"]:
        for layer in net.module_.layers:
            if parameter is layer.mu:
                for memory in net.optimizer_.memory.values():
                    part = memory[start : start + parameter.numel()]
                    assert (part[~layer.mask.reshape(-1)] == 0).all()
        start += parameter.numel()


def test_no_exchange_keeps_the_mask_and_full_density_has_none(cancer):
    static = SparseBayesianMLPClassifier(**quick(update_fraction=0.0))
    first = static.set_params(max_iter=1).fit(*cancer).masks_
    last = static.set_params(max_iter=10).fit(*cancer).masks_
    for a, b in zip(first, last, strict=True):
        np.testing.assert_array_equal(a, b)
    assert static.mask_overlap_ == []
    dense = SparseBayesianMLPClassifier(**quick(density=1.0)).fit(*cancer)
    assert dense.density_ == 1.0 and set(dense.mask_overlap_) == {1.0}
    same = SparseBayesianMLPClassifier(**quick(density=1.0, update_fraction=0.0))
    assert same.fit(*cancer).score(*cancer) > 0.95 < dense.score(*cancer)


def test_without_noise_it_is_a_deterministic_network(cancer):
    X, y = cancer
    model = SparseBayesianMLPClassifier(
        **quick(kl_weight=0.0, posterior_std_init=1e-9)
    ).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), model.predict_proba(X, use_mean=True), atol=1e-4
    )
    means = [mean.toarray() for mean, _, _ in model.to_sparse()]
    biases = [bias for _, _, bias in model.to_sparse()]
    hidden = np.maximum(X @ means[0].T + biases[0], 0)
    z = hidden @ means[1].T + biases[1]
    np.testing.assert_array_equal(model.predict(X, use_mean=True), z.argmax(axis=1))


def test_a_linear_gaussian_model_has_its_exact_posterior():
    # orthogonal columns, so that the best factorised posterior is the exact one
    rng = np.random.default_rng(0)
    n, d, noise, prior = 200, 3, 0.5, 0.3
    X = np.linalg.qr(scale(rng.normal(size=(n, d))))[0] * np.sqrt(n)
    X -= X.mean(axis=0)
    y = X @ [0.8, -0.4, 0.1] + noise * rng.normal(size=n)
    y = (y - y.mean()) / y.std()
    model = SparseBayesianMLPRegressor(
        (),
        density=1.0,
        kl_weight=1.0,
        prior_std=prior,
        posterior_std_init=0.05,
        noise=noise,
        batch_size=n,
        learning_rate_init=0.002,
        max_iter=2500,
        update_fraction=0.0,
        random_state=0,
    ).fit(X, y)
    precision = X.T @ X / noise**2 + np.eye(d) / prior**2
    mean = np.linalg.solve(precision, X.T @ y / noise**2)
    std = 1 / np.sqrt(np.diag(precision))
    ((got_mean, got_std, _),) = model.to_sparse()
    np.testing.assert_allclose(got_mean.toarray()[0], mean, atol=0.02 * mean.max())
    np.testing.assert_allclose(got_std.toarray()[0], std, rtol=0.02)


def additive(n, d, seed):
    """Three columns of many matter, each by itself."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2 / 2 - X[:, 2] + 0.2 * rng.normal(size=n)
    return X, y


@pytest.mark.slow
def test_planted_columns_are_found():
    hits = 0
    for seed in range(5):
        X, y = additive(1500, 50, seed)
        model = SparseBayesianMLPRegressor(
            (100,),
            density=0.1,
            kl_weight=1.0,  # below it, columns of noise keep their weights
            max_iter=60,
            learning_rate_init=0.01,
            random_state=seed,
        ).fit(X, y)
        hits += set(np.argsort(model.feature_relevance_)[-3:]) == {0, 1, 2}
    assert hits >= 4


def test_a_planted_column_is_found():
    X, y = additive(600, 15, 0)
    model = SparseBayesianMLPRegressor(
        (40,),
        density=0.2,
        kl_weight=1.0,  # below it, columns of noise keep their weights
        max_iter=60,
        learning_rate_init=0.01,
        random_state=0,
    ).fit(X, y)
    assert set(np.argsort(model.feature_relevance_)[-3:]) == {0, 1, 2}
    assert model.feature_relevance_.sum() == pytest.approx(1)
    np.testing.assert_array_equal(model.feature_usage_, model.masks_[0].sum(axis=0))


@pytest.mark.slow
def test_digits_on_a_twentieth_and_a_fiftieth_of_the_weights():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0)
    X, X_test = X.astype(np.float32), X_test.astype(np.float32)
    scores = {
        (density, fraction): SparseBayesianMLPClassifier(
            density=density, update_fraction=fraction, max_iter=60, random_state=0
        )
        .fit(X, y)
        .score(X_test, y_test)
        for density in (0.05, 0.02)
        for fraction in (0.3, 0.0)
    }
    assert scores[0.05, 0.3] >= max(0.95, scores[0.05, 0.0] + 0.02)
    assert scores[0.02, 0.3] >= scores[0.02, 0.0] + 0.15


# --- predictions ----------------------------------------------------------------------


def test_uncertainty_of_classes_adds_up_and_grows_away_from_the_data(cancer):
    X, y = cancer
    model = SparseBayesianMLPClassifier(
        **quick(posterior_std_init=0.2, kl_weight=1.0)
    ).fit(X, y)
    parts = model.predict_distribution(X)
    np.testing.assert_allclose(parts["mean"], model.predict_proba(X))
    np.testing.assert_allclose(
        parts["total"], parts["aleatoric"] + parts["epistemic"], atol=1e-12
    )
    assert (parts["epistemic"] >= 0).all() and parts["epistemic"].max() > 1e-4
    draws = model.sample_predictions(X, 7)
    assert draws.shape == (7, len(X), 2)
    np.testing.assert_array_equal(draws, model.sample_predictions(X, 7))
    assert np.abs(draws - model.sample_predictions(X, 7, random_state=1)).max() > 0
    with pytest.raises(ValueError, match="n_samples"):
        model.sample_predictions(X, 0)


@pytest.mark.parametrize("noise", ["homoscedastic", "heteroscedastic", 60.0])
def test_intervals_cover(noise):
    X, y = numbers()
    X_test, y_test, X, y = X[:150], y[:150], X[150:], y[150:]
    model = SparseBayesianMLPRegressor(**quick(noise=noise)).fit(X, y)
    mean, std = model.predict(X_test, return_std=True)
    parts = model.predict_distribution(X_test)
    np.testing.assert_allclose(parts["mean"], mean)
    np.testing.assert_allclose(np.sqrt(parts["total"]), std)
    bounds = model.predict_interval(X_test, 0.8)
    inside = (bounds[:, 0] <= y_test) & (y_test <= bounds[:, 1])
    assert 0.65 < inside.mean() < 0.92
    wide = model.predict_interval(X_test, 0.95)
    assert (wide[:, 0] < bounds[:, 0]).all() and (wide[:, 1] > bounds[:, 1]).all()
    assert model.sample_predictions(X_test, 4).shape == (4, 150)
    if noise == "heteroscedastic":
        assert model.noise_ is None and np.ptp(parts["aleatoric"]) > 0
    else:
        np.testing.assert_allclose(parts["aleatoric"], model.noise_[0] ** 2)
        assert 40 < model.noise_[0] < 75
    for bad in (0.0, 1.0, "a"):
        with pytest.raises((ValueError, TypeError), match="coverage"):
            model.predict_interval(X_test, bad)


def test_a_mixture_of_one_normal_has_its_quantiles():
    X, y = numbers()
    model = SparseBayesianMLPRegressor(**quick(n_predict_samples=1)).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(
        model.predict_interval(X, 0.9),
        mean[:, None] + std[:, None] * norm.ppf([0.05, 0.95]),
        rtol=1e-9,
    )


def test_several_targets():
    X, y = numbers()
    Y = np.column_stack([y, -2 * y])
    for noise in ("homoscedastic", "heteroscedastic", 60.0):
        model = SparseBayesianMLPRegressor(**quick(noise=noise, max_iter=10)).fit(X, Y)
        assert model.predict(X).shape == (442, 2)
        assert model.predict(X, use_mean=True).shape == (442, 2)
        assert model.predict_interval(X).shape == (442, 2, 2)
        assert model.sample_predictions(X, 3).shape == (3, 442, 2)


def test_only_active_weights_are_pickled(cancer):
    X, y = cancer
    sparse = SparseBayesianMLPClassifier(density=0.05, max_iter=2, random_state=0)
    dense = SparseBayesianMLPClassifier(density=1.0, max_iter=2, random_state=0)
    size = {}
    for name, model in (("sparse", sparse), ("dense", dense)):
        model.fit(X, y)
        # masks are kept as bits of a byte; the weights are what shrinks
        size[name] = len(pickle.dumps(model._state))
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert size["sparse"] < size["dense"] / 10


def test_a_fit_goes_on(cancer):
    X, y = cancer
    model = SparseBayesianMLPClassifier(**quick(warm_start=True, max_iter=4)).fit(X, y)
    model.fit(X, y)
    assert model.n_iter_ == len(model.elbo_curve_) == 8
    model = SparseBayesianMLPClassifier(**quick())
    for _ in range(5):
        model.partial_fit(X, y)
    assert model.n_iter_ == 5 and model.score(X, y) > 0.9


def test_bad_options_are_named(cancer):
    for keywords in ({"density": 0.0}, {"density": 1.5}, {"criterion": "size"}):
        (name,) = keywords
        with pytest.raises(ValueError, match=name):
            SparseBayesianMLPClassifier(**keywords).fit(*cancer)
    model = SparseBayesianMLPClassifier(net_params={"optimizer": torch.optim.SGD})
    with pytest.raises(ValueError, match="cannot set the optimizer"):
        model.fit(*cancer)
    with pytest.raises(ValueError, match="noise"):
        SparseBayesianMLPRegressor(noise=0.0).fit(*numbers())
