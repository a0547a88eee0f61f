"""Datamodels: their training, their fits, and what the paper's claims come to."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.dummy import DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.linear_model import lasso_path as peer_path
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from skdiff.data_selection import Datamodel, SelectedFit
from skdiff.data_selection._base import read_target
from skdiff.data_selection._datamodel._lasso import (
    added,
    centred,
    largest_penalty,
    lasso,
    lasso_path,
    moments,
    sums,
)
from skdiff.data_selection._datamodel._linear import ridge_path
from skdiff.data_selection._datamodel._subsets import draw_masks
from skdiff.data_selection._datamodel._training._base import (
    Reading,
    _fitted_output,
    fast_outputs,
)


@pytest.fixture
def digits():
    X, y = load_digits(return_X_y=True)
    rows = np.random.RandomState(0).permutation(np.flatnonzero((y == 1) | (y == 7)))
    X, y = X[rows] / 16, 2.0 * (y[rows] == 7) - 1
    return X[:200], y[:200], X[200:240], y[200:240]


FAST = [
    Ridge(0.5),
    Ridge(0.5, fit_intercept=False),
    LinearRegression(),
    RidgeClassifier(),
    KernelRidge(alpha=0.5, kernel="rbf", gamma=0.3),
    KernelRidge(alpha=0.5, kernel="polynomial", degree=2, coef0=1),
    KNeighborsClassifier(3),
    KNeighborsRegressor(4),
    GaussianNB(),
    GaussianNB(priors=[0.3, 0.7]),
]


@pytest.mark.parametrize("size", [8, 40])
@pytest.mark.parametrize("estimator", FAST, ids=repr)
def test_training_in_one_pass_equals_training_one_by_one(estimator, size):
    rng = np.random.RandomState(0)
    X, X_target = rng.normal(size=(60, 12)), rng.normal(size=(9, 12))
    f, f_target = X[:, 0], X_target[:, 0]
    numbers = isinstance(estimator, Ridge | LinearRegression | KernelRidge)
    numbers |= isinstance(estimator, KNeighborsRegressor)
    target = read_target(f if numbers else (f > 0) * 1, estimator)
    goal = read_target(f_target if numbers else (f_target > 0) * 1, estimator)
    masks = draw_masks(60, size, 20, None if numbers else target.values, rng)
    reading = Reading("margin", X_target, goal)
    fast = fast_outputs(estimator, X, target, masks, reading)
    slow = [_fitted_output(estimator, X, target, m, reading, 0) for m in masks]
    np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=1e-7)


def test_the_l1_solver_reaches_scikit_learns_solution():
    rng = np.random.RandomState(0)
    masks = draw_masks(40, 20, 200, None, rng)
    F = masks @ (rng.normal(size=(40, 3)) * (rng.uniform(size=(40, 3)) < 0.2))
    F += 0.1 * rng.normal(size=F.shape)
    data = moments(masks, F)
    penalty = np.array([0.01, 0.05, 10.0])
    found = lasso(data, penalty, tol=1e-10)
    for j in range(3):
        peer = Lasso(penalty[j], tol=1e-12, max_iter=100_000)
        peer.fit(masks.astype(float), F[:, j])
        np.testing.assert_allclose(found.coef[:, j], peer.coef_, atol=1e-6)
    assert np.all(found.gap <= 1e-10) and np.all(found.coef[:, 2] == 0)
    stopped = lasso(moments(masks, F[:, :2]), penalty[:2], tol=1e-12, max_iter=1)
    assert np.all(stopped.gap > 1e-12)  # and says so


@pytest.mark.parametrize(("n", "m"), [(40, 300), (60, 40)])
@pytest.mark.parametrize("tol", [1e-4, 1e-10])
def test_paths_equal_those_of_scikit_learn(n, m, tol):
    rng = np.random.RandomState(1)
    masks = draw_masks(n, n // 2, m, None, rng)
    F = masks @ (rng.normal(size=(n, 6)) * (rng.uniform(size=(n, 6)) < 0.2))
    F = (F + rng.normal(size=F.shape)) * np.geomspace(1e-6, 1e6, 6) + 3.0
    data = moments(masks, F)
    path = np.geomspace(1.0, 1e-2, 12)[:, None] * largest_penalty(data)
    fits = lasso_path(data, path, tol=tol)
    Z = np.asfortranarray(masks - masks.mean(axis=0))
    for j in range(6):
        y = F[:, j] - F[:, j].mean()
        _, coef, _ = peer_path(Z, y, alphas=path[:, j], tol=1e-12, max_iter=100_000)
        ours = np.array([fit.coef[:, j] for fit in fits]).T

        def objective(b, y=y, j=j):
            fitted = np.sum((y[:, None] - Z @ b) ** 2, axis=0) / (2 * m)
            return fitted + path[:, j] * np.abs(b).sum(axis=0)

        excess = objective(ours) - objective(coef)
        assert np.all(excess <= tol * y.var() / 2 + 1e-12 * y.var())
        gaps = [fit.gap[j] for fit in fits]
        assert np.all(np.array(gaps) <= tol)
        if tol < 1e-8 and m > n:
            np.testing.assert_allclose(ours, coef, atol=1e-4 * np.abs(coef).max())


def test_sums_of_two_sets_of_subsets_are_those_of_their_union():
    rng = np.random.RandomState(0)
    masks, F = rng.uniform(size=(50, 9)) < 0.4, rng.normal(size=(50, 2))
    both = centred(added(sums(masks[:20], F[:20]), sums(masks[20:], F[20:])))
    for found, expected in zip(both, moments(masks, F), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_constant_output_has_no_coefficients():
    rng = np.random.RandomState(0)
    masks = rng.uniform(size=(50, 9)) < 0.4
    F = np.c_[np.full(50, 1e8), rng.normal(size=50)]
    data = moments(masks, F)
    path = np.geomspace(1.0, 1e-3, 5)[:, None] * largest_penalty(data)
    for fit in lasso_path(data, path):
        assert np.all(fit.coef[:, 0] == 0) and np.all(fit.gap <= 1e-4)


@pytest.mark.parametrize("m", [200, 25])
def test_the_ridge_path_equals_ridge(m):
    rng = np.random.RandomState(0)
    masks = draw_masks(40, 20, m, None, rng)
    F = rng.normal(size=(m, 3))
    for penalty, coef in zip(
        [0.1, 10.0], ridge_path(masks, F, np.array([0.1, 10.0])), strict=True
    ):
        np.testing.assert_allclose(
            coef, Ridge(penalty).fit(masks.astype(float), F).coef_.T, atol=1e-8
        )


def test_the_mean_predictor():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    model = Datamodel(DummyRegressor(), penalty="l2", random_state=0)
    model.fit(X, y, X_target=X[:1], y_target=y[:1])
    expected = (y - y.mean()) / (0.5 * 50)
    assert np.corrcoef(model.coef_[0], expected)[0, 1] > 0.999
    slope = np.polyfit(expected, model.coef_[0], 1)[0]
    assert slope == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_coefficients_follow_leaving_one_row_out(penalty, digits):
    X, y, X_target, y_target = digits
    model = Datamodel(
        Ridge(1.0), n_subsets=1500, alpha=0.3, penalty=penalty, random_state=0
    ).fit(X, y, X_target=X_target, y_target=y_target)
    full = Ridge(1.0).fit(X, y).predict(X_target)
    effect = np.array(
        [
            full - Ridge(1.0).fit(np.delete(X, i, 0), np.delete(y, i)).predict(X_target)
            for i in range(200)
        ]
    ).T
    ranks = [spearmanr(model.coef_[j], effect[j])[0] for j in range(len(y_target))]
    assert np.mean(ranks) >= 0.7


@pytest.mark.slow
def test_margins_of_logistic_regression_are_predicted(digits):
    X, y, X_target, y_target = digits
    model = Datamodel(
        LogisticRegression(), n_subsets=1500, alpha=0.3, penalty="l2", random_state=0
    ).fit(X, y, X_target=X_target, y_target=y_target)
    assert model.correlation_.mean() >= 0.95


def test_duplicates_share_their_weight(digits):
    X, y, X_target, y_target = digits
    X, y = np.r_[X[:40], X[:1]], np.r_[y[:40], y[:1]]
    model = Datamodel(Ridge(10.0), n_subsets=4000, penalty="l2", random_state=0).fit(
        X, y, X_target=X_target, y_target=y_target
    )
    spread = np.abs(model.coef_).mean()
    assert np.abs(model.coef_[:, 0] - model.coef_[:, 40]).mean() < 0.3 * spread


def test_attributes_and_methods(digits):
    X, y, X_target, y_target = digits
    model = Datamodel(
        Ridge(), n_subsets=600, penalty="l2", n_select=20, random_state=0
    ).fit(X[:60], y[:60], X_target=X_target[:5], y_target=y_target[:5])
    assert model.masks_.shape == (600, 60) and model.outputs_.shape == (600, 5)
    assert np.all(model.masks_.sum(axis=1) == 30)
    np.testing.assert_allclose(
        model.predict(model.masks_), model.masks_ @ model.coef_.T + model.intercept_
    )
    top = model.influential_samples(2, 7)
    assert np.all(np.diff(model.coef_[2, top]) <= 0)
    assert model.coef_[2, top[0]] == model.coef_[2].max()
    without = model.counterfactual([3, -1])
    mask = np.ones((1, 60))
    mask[0, [3, 59]] = 0
    np.testing.assert_allclose(without, model.predict(mask)[0])
    np.testing.assert_array_equal(
        model.counterfactual([]), model.predict(mask * 0 + 1)[0]
    )
    assert model.embed() is not model.coef_
    np.testing.assert_allclose(model.scores_, model.coef_.mean(axis=0))
    best = np.sort(np.argsort(-model.scores_, kind="stable")[:20])
    np.testing.assert_array_equal(model.sample_indices_, best)
    for call, message in (
        (lambda: model.predict(np.ones((1, 59))), "59 columns"),
        (lambda: model.predict(np.full((1, 60), 0.5)), "zeros and ones"),
        (lambda: model.counterfactual([60]), "below 60"),
        (lambda: model.influential_samples(5), "no row 5"),
        (lambda: model.influential_samples(0, 61), "from 1 to 60"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_outputs_and_aggregates(digits):
    X, y, X_target, y_target = digits
    sample = {"X_target": X_target[:4], "y_target": y_target[:4]}
    options = {"n_subsets": 60, "penalty": "l2", "random_state": 0}
    margin = Datamodel(LogisticRegression(), **options).fit(X, y, **sample)
    model = LogisticRegression().fit(X[margin.masks_[0]], y[margin.masks_[0]])
    np.testing.assert_allclose(
        margin.outputs_[0], y_target[:4] * model.decision_function(X_target[:4])
    )
    logit = Datamodel(LogisticRegression(), output="logit", **options).fit(
        X, y, **sample
    )
    np.testing.assert_allclose(logit.outputs_, margin.outputs_, rtol=1e-6)
    lost = Datamodel(LogisticRegression(), output="loss", **options).fit(X, y, **sample)
    np.testing.assert_allclose(lost.outputs_, np.logaddexp(0, -margin.outputs_))
    assert lost.scores_[lost.support_].max() <= lost.scores_[~lost.support_].min()
    own = Datamodel(
        LogisticRegression(),
        output=lambda m, A, b: m.decision_function(A) * b,
        aggregate=lambda coef: coef[0],
        **options,
    ).fit(X, y, **sample)
    np.testing.assert_allclose(own.outputs_, margin.outputs_)
    np.testing.assert_array_equal(own.scores_, own.coef_[0])
    two = Datamodel(LogisticRegression(), n_jobs=2, **options).fit(X, y, **sample)
    np.testing.assert_array_equal(two.outputs_, margin.outputs_)
    kept = SelectedFit(Datamodel(LogisticRegression(), **options), LogisticRegression())
    assert kept.fit(X, y, **sample).score(X_target, y_target) > 0.9


def test_bad_input(digits):
    X, y, X_target, y_target = digits
    sample = {"X_target": X_target, "y_target": y_target}
    with pytest.raises(ValueError, match="requires X_target"):
        Datamodel(Ridge()).fit(X, y)
    with pytest.raises(ValueError, match="frozen"):
        Datamodel(FrozenEstimator(Ridge().fit(X, y))).fit(X, y, **sample)
    with pytest.raises(ValueError, match="tell nothing apart"):
        Datamodel(Ridge(), alpha=0.001).fit(X, y, **sample)
    with pytest.raises(ValueError, match="GB"):
        Datamodel(Ridge(), n_subsets=10**8).fit(X, y, **sample)
    with pytest.raises(ValueError, match="a class that y has not"):
        Datamodel(LogisticRegression()).fit(
            X, y, X_target=X_target[:2], y_target=[1.0, 5.0]
        )
    rare = np.where(np.arange(200) == 0, 1.0, -1.0)
    with pytest.raises(ValueError, match="lose a class"):
        Datamodel(LogisticRegression(), alpha=0.01).fit(X, rare, **sample)
    with pytest.raises(ValueError, match="must return 40 numbers"):
        Datamodel(LogisticRegression(), output=lambda m, A, b: 1.0, n_subsets=20).fit(
            X, y, **sample
        )
