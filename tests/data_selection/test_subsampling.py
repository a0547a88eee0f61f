"""Sampling by a surrogate."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from skdiff.data_selection import SelectedFit, SurrogateSubsampler
from skdiff.data_selection._choice import inclusion_probabilities, systematic_sample
from skdiff.data_selection._subsampling._numbers import (
    inverse_hessian_norms,
    uncertainty,
)


def design(seed, n=6000, d=30):
    """A logistic pool, a surrogate from 300 other rows, and the true excess loss."""
    rng = np.random.RandomState(seed)
    theta = rng.normal(size=d)
    theta *= 3.5 / np.linalg.norm(theta)

    def draw(m):
        X = rng.normal(size=(m, d))
        return X, (rng.uniform(size=m) < expit(X @ theta)).astype(int)

    X, y = draw(n)
    surrogate = LogisticRegression().fit(*draw(300))
    X_test, _ = draw(5000)
    truth = np.clip(expit(X_test @ theta), 1e-12, 1 - 1e-12)

    def excess(model):
        p = np.clip(model.predict_proba(X_test)[:, 1], 1e-12, 1 - 1e-12)
        lost = truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p))
        return lost.mean()

    return X, y, surrogate, excess, rng


@pytest.mark.slow
def test_the_order_of_the_schemes():
    found = {}
    for seed in range(100):
        X, y, surrogate, excess, rng = design(seed)

        def note(name, rows, weight=None, X=X, y=y, excess=excess):
            model = LogisticRegression(max_iter=500)
            model.fit(X[rows], y[rows], sample_weight=weight)
            found.setdefault(name, []).append(excess(model))

        options = {"n_select": 600, "random_state": seed}
        for name, more in {
            "random": {"alpha": 0.0},
            "biased": {},
            "unbiased": {"alpha": 0.5, "reweight": True},
            "leverage": {"leverage": True},
            "hardest": {"strategy": "top"},
        }.items():
            sampler = SurrogateSubsampler(FrozenEstimator(surrogate), **options, **more)
            sampler.fit(X, y)
            note(name, sampler.sample_indices_, sampler.sample_weight_)
        h = uncertainty(surrogate.predict_proba(X))
        influence = np.sqrt(h) * inverse_hessian_norms(X, h)
        q = inclusion_probabilities(influence, 600)
        rows = systematic_sample(q, rng)
        note("influence biased", rows)
        note("influence", rows, 1 / q[rows] / np.mean(1 / q[rows]))
    loss = {name: np.mean(values) for name, values in found.items()}
    order = ["biased", "influence biased", "unbiased", "random", "hardest"]
    assert sorted(order, key=loss.get) == order
    for better, worse in zip(order[:-2], order[2:], strict=True):
        gain = np.subtract(found[worse], found[better])
        assert np.mean(gain) > 2 * np.std(gain) / np.sqrt(len(gain)), (better, loss)
    assert loss["unbiased"] == pytest.approx(loss["influence"], rel=0.1)
    assert loss["influence"] < loss["random"]
    assert loss["leverage"] < loss["influence biased"]
    assert loss["hardest"] > 3 * loss["random"]


def test_scores_probabilities_and_weights():
    X, y = load_iris(return_X_y=True)
    surrogate = LogisticRegression(max_iter=1000).fit(X, y)
    sampler = SurrogateSubsampler(
        surrogate, alpha=0.5, reweight=True, n_select=20, random_state=0
    ).fit(X)
    P = surrogate.predict_proba(X)
    np.testing.assert_allclose(sampler.scores_, 1 - (P**2).sum(axis=1))
    expected = np.sqrt(sampler.scores_)
    np.testing.assert_allclose(sampler.probabilities_, expected / expected.sum())
    assert sampler.surrogate_ is surrogate and sampler.alpha_ == 0.5
    assert sampler.sample_weight_.mean() == pytest.approx(1)
    free = 20 * sampler.probabilities_[sampler.sample_indices_] < 0.5
    product = sampler.sample_weight_ * sampler.probabilities_[sampler.sample_indices_]
    np.testing.assert_allclose(product[free], product[free][0])
    plain = (
        clone(sampler)
        .set_params(surrogate=FrozenEstimator(surrogate), reweight=False)
        .fit(X)
    )
    np.testing.assert_array_equal(plain.sample_weight_, np.ones(20))


def test_weighted_samples_estimate_the_mean_of_all_rows():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(600, 3))
    y = (X[:, 0] + rng.normal(size=600) > 0.5).astype(int)
    surrogate = FrozenEstimator(LogisticRegression().fit(X, y))
    means, biased = [], []
    for seed in range(300):
        sampler = SurrogateSubsampler(
            surrogate, alpha=0.5, reweight=True, n_select=150, random_state=seed
        ).fit(X)
        values = X[sampler.sample_indices_, 0]
        means.append(np.average(values, weights=sampler.sample_weight_))
        biased.append(values.mean())
    error = np.std(means) / np.sqrt(300)
    assert abs(np.mean(means) - X[:, 0].mean()) < 4 * error
    assert abs(np.mean(biased) - X[:, 0].mean()) > 8 * error


def test_leverage_is_the_norm_in_the_inverse_hessian():
    X, y = load_iris(return_X_y=True)
    surrogate = FrozenEstimator(LogisticRegression(max_iter=1000).fit(X, y))
    plain = SurrogateSubsampler(surrogate).fit(X)
    sampler = SurrogateSubsampler(surrogate, leverage=True).fit(X)
    Z = np.c_[X, np.ones(150)]
    H = (Z.T * plain.scores_) @ Z / 150
    norms = np.sqrt(np.sum(Z @ np.linalg.inv(H) * Z, axis=1))
    np.testing.assert_allclose(sampler.scores_, plain.scores_ * norms, rtol=1e-6)


def test_alpha_by_cross_validation_prefers_uncertain_rows_where_they_help():
    chosen = []
    for seed in range(3):
        X, y, surrogate, _, _ = design(seed)
        sampler = SurrogateSubsampler(
            FrozenEstimator(surrogate), alpha="cv", n_select=600, random_state=seed
        )
        sampler.fit(X[1000:], y[1000:], X_val=X[:1000], y_val=y[:1000])
        assert sampler.alpha_ in (0.0, 0.5, 1.0, 2.0)
        chosen.append(sampler.alpha_)
    assert np.mean(chosen) > 0
    with pytest.raises(ValueError, match="requires X_val and"):
        sampler.fit(X)


def test_alpha_by_cross_validation_needs_two_classes_in_its_samples():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2))
    y = np.arange(60) % 2
    sampler = SurrogateSubsampler(alpha="cv", n_select=2, cv=2, random_state=0)
    with pytest.raises(ValueError, match="samples of one class"):
        sampler.fit(X, y, X_val=X, y_val=np.zeros(60, dtype=int))
    assert sampler.set_params(n_select=0.9).fit(X, y, X_val=X, y_val=y).alpha_ >= 0


def test_weights_reach_the_estimator_or_are_refused():
    X, y = load_iris(return_X_y=True)
    weighting = SurrogateSubsampler(reweight=True, n_select=60, random_state=0)
    model = SelectedFit(weighting, LogisticRegression(max_iter=1000)).fit(X, y)
    rows, weight = model.selector_.sample_indices_, model.selector_.sample_weight_
    direct = LogisticRegression(max_iter=1000).fit(X[rows], y[rows], weight)
    np.testing.assert_allclose(model.estimator_.coef_, direct.coef_)
    from sklearn.neighbors import KNeighborsClassifier

    with pytest.raises(ValueError, match="takes no sample_weight"):
        SelectedFit(weighting, KNeighborsClassifier()).fit(X, y)


def test_bad_input():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="the surrogate is not fitted"):
        SurrogateSubsampler(LogisticRegression()).fit(X)
    with pytest.raises(ValueError, match="Unknown label type"):
        SurrogateSubsampler().fit(X, X[:, 0] + 0.5)
    with pytest.raises(ValueError, match="no predict_proba"):
        SurrogateSubsampler(LinearSVC()).fit(X, y)
    with pytest.raises(ValueError, match="no predict_proba"):
        SurrogateSubsampler(FrozenEstimator(Ridge().fit(X, y))).fit(X)
    with pytest.raises(ValueError, match="needs the labels"):
        SurrogateSubsampler(
            FrozenEstimator(LogisticRegression(max_iter=999).fit(X, y)), balance="class"
        ).fit(X)
    X_chosen, nothing = SurrogateSubsampler(
        FrozenEstimator(LogisticRegression(max_iter=999).fit(X, y))
    ).fit_resample(X)
    assert X_chosen.shape == (75, 4) and nothing is None
