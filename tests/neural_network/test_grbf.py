"""Gaussian radial bases: limits, symmetries, gradients, a ridge, the aims."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from skdiff.neural_network import (
    ActiveSubspaceTransformer,
    GRBFClassifier,
    GRBFRegressor,
)
from skdiff.neural_network._grbf import _base as base
from skdiff.neural_network._grbf import _losses as losses
from skdiff.neural_network._grbf import _refit as refit
from skdiff.neural_network._grbf import _solver as solver

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def one_direction(seed=0, n=400, d=10):
    """Rows, noisy and clean targets, direction: y = sin(2 a'x) on three columns."""
    rng = np.random.default_rng(seed)
    a = np.zeros(d)
    a[:3] = [1, -2, 1.5]
    a /= np.linalg.norm(a)
    X = rng.normal(size=(n, d))
    clean = np.sin(2 * X @ a)
    return X, clean + 0.05 * rng.normal(size=n), clean, a


GIVEN = {"alpha_precision": 1e-2, "alpha_weights": 1e-3}


@pytest.fixture(scope="module")
def smooth():
    X, y = make_friedman1(120, 6, noise=0.3, random_state=0)
    return X, y


# --- 1 limits -----------------------------------------------------------------------


@pytest.mark.parametrize("penalty", ["alpha_precision", "alpha_weights"])
def test_a_huge_penalty_leaves_the_mean(smooth, penalty):
    X, y = smooth
    model = GRBFRegressor(random_state=0, **{penalty: 1e6}).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y.mean(), atol=1e-3 * y.std())
    if penalty == "alpha_precision":
        assert np.abs(model.precision_).max() < 1e-6
    labels = np.where(y > np.quantile(y, 0.7), "high", "low")
    model = GRBFClassifier(random_state=0, **{penalty: 1e6}).fit(X, labels)
    shares = [np.mean(labels == c) for c in model.classes_]
    np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), shares, atol=1e-3)
    assert np.ptp(model.predict_proba(X)[:, 0]) < 1e-3


def test_a_centre_on_every_row_interpolates(smooth):
    X, y = smooth
    model = GRBFRegressor(
        centers_init=X, alpha_precision=1e-8, alpha_weights=1e-8, max_iter=500
    ).fit(X, y)
    assert model.score(X, y) > 0.999


# --- 2 symmetries -------------------------------------------------------------------


@pytest.mark.parametrize("learn_centers", [False, True])
def test_rotated_rows_give_rotated_matrices(smooth, learn_centers):
    X, y = smooth
    Q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    C = X[::12]
    settings_ = {
        **GIVEN,
        "n_init": 1,
        "standardize": False,
        "learn_centers": learn_centers,
        "max_iter": 60,
        "tol": 1e-5,
    }
    plain = GRBFRegressor(centers_init=C, **settings_).fit(X, y)
    turned = GRBFRegressor(centers_init=C @ Q, **settings_).fit(X @ Q, y)
    np.testing.assert_allclose(turned.predict(X @ Q), plain.predict(X), atol=1e-6)
    np.testing.assert_allclose(turned.precision_, Q.T @ plain.precision_ @ Q, atol=1e-6)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), classify=st.booleans())
def test_weights_are_repeated_rows_and_order_is_nothing(seed, classify):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(25, 3))
    y = np.sin(X[:, 0]) + X[:, 1]
    y = (y > 0).astype(int) if classify else y
    weight = rng.integers(0, 4, 25)
    weight[:2] = 1
    cls = GRBFClassifier if classify else GRBFRegressor
    model = cls(n_centers=4, max_iter=15, random_state=0)
    weighted = model.fit(X, y, sample_weight=weight).predict(X)
    order = rng.permutation(weight.sum())
    rows = np.repeat(np.arange(25), weight)[order]
    np.testing.assert_array_equal(model.fit(X[rows], y[rows]).predict(X), weighted)
    again = model.fit(X, y, sample_weight=2.0 * weight).predict(X)
    np.testing.assert_array_equal(again, weighted)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    scale=st.sampled_from([1e-8, 1e-3, 1e4, 1e8]),
    shift=st.sampled_from([0.0, 3.0]),
    target=st.sampled_from([1e-6, 1e6]),
)
def test_units_do_not_matter(scale, shift, target):
    X, y = make_friedman1(60, 5, random_state=1)
    model = GRBFRegressor(n_centers=6, max_iter=30, random_state=0)
    plain = model.fit(X, y)
    expected, importance = plain.predict(X), plain.feature_importances_
    moved = (X + shift) * scale
    model.fit(moved, y * target)
    np.testing.assert_allclose(
        model.predict(moved), expected * target, rtol=1e-4, atol=1e-5 * target
    )
    np.testing.assert_allclose(model.feature_importances_, importance, atol=1e-4)


# --- 3 the gradient of the reduced objective ----------------------------------------


def objectives(loss, shape, learn_centers, joint=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    k = {"squares": 2, "binary": 1, "multinomial": 3}[loss]
    if loss == "squares":
        Y = np.c_[np.sin(X[:, 0]), X[:, 1] ** 2]
    else:
        codes = rng.integers(0, max(k, 2), 40)
        Y = np.eye(3)[codes] if k == 3 else codes[:, None].astype(float)
    s = rng.uniform(0.5, 2, 40)
    objective = solver.Objective(
        loss=losses.Squares() if loss == "squares" else losses.CrossEntropy(),
        X=X,
        Y=Y,
        s=s / s.sum(),
        anchors=X[:5] + 0.1,
        rank=2 if shape == "full" else 4,
        shape=shape,
        learn_centers=learn_centers,
        alpha_precision=0.01,
        alpha_weights=0.002,
        alpha_centers=0.05,
        joint=joint,
    )
    U = rng.normal(size=(4, 2)) if shape == "full" else np.diag(rng.uniform(0.3, 1, 4))
    U = 0.6 * np.eye(4) if shape == "spherical" else U
    start = solver.with_weights(objective, U, objective.anchors)
    return objective, start._replace(W=start.W + 0.1 * joint)


@pytest.mark.parametrize("shape", ["full", "diag", "spherical"])
@pytest.mark.parametrize("loss", ["squares", "binary", "multinomial"])
@pytest.mark.parametrize("joint", [False, True])
def test_the_gradient_needs_no_derivative_of_the_solution(loss, shape, joint):
    objective, start = objectives(loss, shape, learn_centers=True, joint=joint)
    theta = objective.pack(start)
    rng = np.random.default_rng(1)
    theta = theta + 0.1 * rng.normal(size=len(theta))
    value, gradient, _ = objective.evaluate(theta, start)
    assert np.isfinite(value)
    for _ in range(3):
        step = rng.normal(size=len(theta))
        step *= 1e-5 / np.linalg.norm(step)
        up = objective.evaluate(theta + step, start)[0]
        down = objective.evaluate(theta - step, start)[0]
        slope = (up - down) / 2e-5
        assert slope == pytest.approx(gradient @ step / 1e-5, rel=1e-5, abs=1e-8)


def test_the_gradient_is_that_through_the_solve():
    torch = pytest.importorskip("torch")
    objective, start = objectives("squares", "full", learn_centers=False)
    _, gradient, _ = objective.evaluate(objective.pack(start), start)
    X, Y, s, C = (
        torch.from_numpy(a)
        for a in (objective.X, objective.Y, objective.s, objective.anchors)
    )
    U = torch.from_numpy(start.U.copy()).requires_grad_()
    D = ((X @ U)[:, None] - (C @ U)[None]).pow(2).sum(2)
    T = torch.cat([torch.exp(-D / 2), torch.ones(40, 1).double()], dim=1)
    ridge = torch.diag(torch.tensor([0.002] * 5 + [0.0]).double())
    W = torch.linalg.solve(T.T @ (s[:, None] * T) + ridge, T.T @ (s[:, None] * Y))
    value = (s[:, None] * (T @ W - Y) ** 2).sum() + 0.002 * W[:-1].pow(2).sum()
    (value + 0.01 * U.pow(2).sum()).backward()
    np.testing.assert_allclose(gradient, U.grad.numpy().ravel(), rtol=1e-8, atol=1e-10)


# --- 4 slopes -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one", "two", "binary", "multiclass"])
def test_slopes_by_finite_differences(smooth, kind):
    X, y = smooth
    X = X * [1, 10, 0.1, 3, 1, 1]
    if kind in ("one", "two"):
        y = y if kind == "one" else np.c_[y, X[:, 0] - y]
        model = GRBFRegressor(n_centers=8, random_state=0).fit(X, y)
        answer = model.predict
    else:
        cuts = [0.5] if kind == "binary" else [0.3, 0.7]
        codes = np.digitize(y, np.quantile(y, cuts))
        model = GRBFClassifier(n_centers=8, random_state=0).fit(X, codes)
        answer = model.decision_function
    gradient = model.gradient(X[:10])
    assert gradient.shape == (*answer(X[:10]).shape, 6)
    for j in range(6):
        step = np.zeros(6)
        step[j] = 1e-5 * X[:, j].std()
        slope = (answer(X[:10] + step) - answer(X[:10] - step)) / (2 * step[j])
        np.testing.assert_allclose(gradient[..., j], slope, rtol=1e-4, atol=1e-6)


def test_slopes_lie_in_the_span_of_the_directions(smooth):
    X, y = smooth
    model = GRBFRegressor(rank=2, random_state=0).fit(X, y)
    V = model.components_[model.eigenvalues_ > 1e-8 * model.eigenvalues_[0]]
    slopes = model.gradient(X) * model.scale_  # by standardised columns
    np.testing.assert_allclose(slopes @ V.T @ V, slopes, atol=1e-8)
    np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-10)


# --- 6 an independent ridge ---------------------------------------------------------


def test_weights_are_a_ridge_regression_on_the_features(smooth):
    X, y = smooth
    model = GRBFRegressor(n_centers=9, random_state=0).fit(X, np.c_[y, -(y**2)])
    features = model.kernel_features(X)
    P, Z, C = model.precision_, (X - model.mean_) / model.scale_, model.centers_
    D = Z[:, None] - ((C - model.mean_) / model.scale_)[None]
    direct = np.exp(-0.5 * np.einsum("imj,jk,imk->im", D, P, D))
    np.testing.assert_allclose(features, direct, atol=1e-12)
    ridge = Ridge(alpha=len(X) * model.alpha_weights_).fit(features, np.c_[y, -(y**2)])
    np.testing.assert_allclose(model.center_weights_, ridge.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X), ridge.predict(features), rtol=1e-6)


class KernelRidge25:
    """Kernel ridge regression on 25 rows by its normal equations."""

    def __init__(self, widths):
        rng = np.random.default_rng(0)
        self.X, self.U = rng.normal(size=(25, 3)), rng.normal(size=(3, 2))
        noise = 0.1 * rng.normal(size=25)
        self.Y = np.c_[np.sin(self.X[:, 0]), self.X[:, 1] ** 2 + noise]
        s = rng.uniform(0.5, 2, 25)
        self.s = s / s.sum()
        D = (((self.X[:, None] - self.X[None]) @ self.U) ** 2).sum(axis=2)
        bumps = [np.exp(-f * D / 2) for f in widths]
        self.K = np.average(bumps, axis=0, weights=np.array(widths) ** -0.5)
        self.K += refit.JITTER * np.eye(25)

    def point(self, penalty, widths):
        W, b = np.zeros((25, 2)), np.zeros(2)
        return losses.Point(self.U, self.X, W, b, penalty, widths)

    def solved(self, s, penalty):
        # (S K + penalty) w = S (y - b) and the weighted mean of the errors is zero
        K, Y = self.K, self.Y
        A = np.block([[s[:, None] * K + penalty * np.eye(25), s[:, None]], [s @ K, 1]])
        A[-1, -1] = s.sum()
        return np.linalg.solve(A, np.vstack([s[:, None] * Y, s @ Y]))

    def left_out(self, penalty):
        error = 0.0
        for i in range(25):
            V = self.solved(np.where(np.arange(25) == i, 0.0, self.s), penalty)
            E = self.K[i] @ V[:-1] + V[-1] - self.Y[i]
            error += self.s[i] * (E**2).sum()
        return error


@pytest.mark.parametrize("widths", [(1.0,), refit.WIDTHS])
def test_the_last_step_is_kernel_ridge_regression(widths):
    peer = KernelRidge25(widths)
    found = refit._ridge(peer.X, peer.Y, peer.s, peer.point(1.0, widths))
    penalty = found.point.penalty
    V = peer.solved(peer.s, penalty)
    F = solver.output(peer.X, found.point)
    np.testing.assert_allclose(F, peer.K @ V[:-1] + V[-1], atol=1e-5)
    assert found.error == pytest.approx(peer.left_out(penalty), rel=1e-4)
    assert found.error <= 1.001 * min(peer.left_out(penalty * f) for f in (0.1, 10))


def test_a_centre_on_every_row_is_solved_for_exactly():
    peer = KernelRidge25(refit.WIDTHS)
    start = peer.point(0.1, refit.WIDTHS)
    rng = np.random.RandomState(0)
    found = refit._on_all_rows(peer.X, peer.Y, peer.s, start, rng)
    path = 0.1 * 10.0 ** (-np.arange(refit.SMALLER + 1) / 2)
    errors = [peer.left_out(penalty) for penalty in path]
    grows = np.flatnonzero(np.diff(errors) >= 0)
    assert found.penalty == pytest.approx(path[grows[0] if len(grows) else -1])
    V = peer.solved(peer.s, found.penalty)
    np.testing.assert_allclose(found.W, V[:-1], atol=1e-6)
    np.testing.assert_allclose(found.b, V[-1], atol=1e-6)


def test_many_rows_are_solved_for_in_single_precision(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 2))
    Y = (np.floor(2 * X[:, :1]) + X[:, 1:] + 0.1 * rng.normal(size=(900, 1))) / 3
    s = rng.uniform(0.5, 2, 900) / 1000
    W, b = np.zeros((1, 1)), np.zeros(1)
    point = losses.Point(np.eye(2) / 2**0.5, X, W, b, 1e-4, refit.WIDTHS)
    monkeypatch.setattr(refit, "SMALLER", 0)
    found = []
    for most in (2000, 100):
        monkeypatch.setattr(refit, "DOUBLE_UP_TO", most)
        found.append(refit._on_all_rows(X, Y, s, point, np.random.RandomState(0)))
    T = rng.normal(size=(500, 2))
    one, other = (solver.output(T, point) for point in found)
    assert np.sqrt(np.mean((one - other) ** 2)) < 0.005


def test_the_size_of_a_default_fit_is_bounded(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(900, 2))
    y = np.floor(2 * X[:, 0]) + X[:, 1]
    seen = []
    evaluate = solver.Objective.evaluate
    monkeypatch.setattr(base, "METRIC_ROWS", 300)
    monkeypatch.setattr(base, "SLOPE_ROWS", 200)
    monkeypatch.setattr(base, "CHUNK", 10_000)
    monkeypatch.setattr(refit, "MIDDLE_ROWS", 650)
    monkeypatch.setattr(refit, "MOST_ROWS", 700)

    def watched(self, theta, last):
        seen.append(len(self.X))
        return evaluate(self, theta, last)

    monkeypatch.setattr(solver.Objective, "evaluate", watched)
    model = GRBFRegressor(random_state=0, max_iter=40).fit(X, y)
    assert max(seen[-20:]) == 300
    assert len(model.widths_) > 1
    assert len(model.centers_) == 700
    assert model.score(X, y) > 0.95
    # with no time left the fit to fewer rows stands
    Y, weight, where = y[:, None] / y.std(), np.full(900, 1 / 900), np.zeros((1, 1))
    start = losses.Point(np.eye(2), X[:1], where, np.zeros(1), 1e-3)
    rng = np.random.RandomState(0)
    few = refit.refit(X, Y, weight, start, np.ones(2), rng, lambda: True)
    assert len(few.C) == 650
    # values in parts are the values
    whole = model.kernel_features(X) @ model.center_weights_ + model.intercept_
    np.testing.assert_allclose(model.predict(X), whole, rtol=1e-10)
    slopes = np.abs(model.gradient(X)).mean(axis=0) * model.scale_
    np.testing.assert_allclose(
        model.feature_importances_, slopes / slopes.sum(), atol=0.05
    )


def test_the_plain_metric_keeps_the_order_of_the_directions():
    U = np.diag([2.0, 0.0, 1.0, 0.0])
    point = losses.Point(U, np.zeros((1, 4)), np.zeros((1, 1)), np.zeros(1), 1.0)
    plain = refit._starts(point, np.ones(4))[0]
    found = solver.spectrum(plain.U)
    assert found.values.max() < 1.2 * found.values.min()
    np.testing.assert_allclose(np.abs(found.vectors[:2, [0, 2]]), np.eye(2), atol=1e-9)


def test_a_floor_brings_in_every_column_that_varies():
    U = np.diag([2.0, 0.0, 1.0, 0.0])
    point = losses.Point(U, np.zeros((1, 4)), np.zeros((1, 1)), np.zeros(1), 1.0)
    alive = np.array([1.0, 1.0, 1.0, 0.0])  # the last column is constant
    found = [start.U @ start.U.T for start in refit._starts(point, alive)]
    for floor, P in zip(refit.FLOORS, found, strict=True):
        expected = U @ U.T + floor * 5 / 3 * np.diag(alive)
        np.testing.assert_allclose(P, expected, atol=1e-12)
    assert len(refit._starts(point, None)) == 1


def test_rows_become_centres():
    X = np.random.default_rng(0).normal(size=(200, 2))
    model = GRBFRegressor(random_state=0, max_iter=60).fit(X, np.sin(X[:, 0]))
    assert model.widths_.tolist() == [1.0]
    assert len(model.centers_) == 200
    few = GRBFRegressor(50, random_state=0, max_iter=60).fit(X, np.sin(X[:, 0]))
    assert few.widths_.tolist() == [1.0]
    assert len(few.centers_) == 50


def patches(seed):
    """Rows, their heights and held-out ones: a plane with jumps at random places."""
    rng = np.random.default_rng(seed)
    edges, heights = rng.uniform(-2, 2, size=(2, 6)), rng.normal(size=(7, 7))

    def height(X):
        i, j = (np.searchsorted(np.sort(e), x) for e, x in zip(edges, X.T, strict=True))
        return heights[i, j]

    X, T = rng.uniform(-2, 2, size=(300, 2)), rng.uniform(-2, 2, size=(1000, 2))
    return X, height(X), T, height(T)


def test_several_widths_serve_fine_detail(monkeypatch):
    found = [
        GRBFRegressor(random_state=0, max_iter=60).fit(*patches(seed)[:2])
        for seed in range(3)
    ]
    several = [k for k, model in enumerate(found) if len(model.widths_) > 1]
    assert len(several) >= 2
    monkeypatch.setattr(refit, "WIDTHS", (1.0,))
    for seed in several:
        X, y, T, truth = patches(seed)
        one = GRBFRegressor(random_state=0, max_iter=60).fit(X, y)
        assert one.widths_.tolist() == [1.0]
        errors = [np.mean((m.predict(T) - truth) ** 2) for m in (found[seed], one)]
        assert errors[0] < errors[1], (seed, errors)
    # slopes are those of the mean of the bumps
    model = found[several[0]]
    step = np.array([1e-6, 0.0])
    slope = (model.predict(T[:20] + step) - model.predict(T[:20] - step)) / 2e-6
    np.testing.assert_allclose(
        model.gradient(T[:20])[:, 0], slope, rtol=1e-4, atol=1e-4
    )
    features = model.kernel_features(T) @ model.center_weights_ + model.intercept_
    np.testing.assert_allclose(model.predict(T), features, atol=1e-9)


@pytest.mark.parametrize("k", [2, 3])
def test_weights_are_a_logistic_regression_on_the_features(smooth, k):
    X, y = smooth
    codes = np.digitize(y, np.quantile(y, np.arange(1, k) / k))
    model = GRBFClassifier(n_centers=9, random_state=0).fit(X, codes)
    features = model.kernel_features(X)
    # scikit-learn penalises half the squares of the weights, against the summed loss
    peer = LogisticRegression(
        C=1 / (2 * len(X) * model.alpha_weights_), tol=1e-10, max_iter=10_000
    ).fit(features, codes)
    np.testing.assert_allclose(
        model.predict_proba(X), peer.predict_proba(features), atol=1e-5
    )


def test_stepped_weights_reach_the_solved_ones(monkeypatch):
    X, y = load_wine(return_X_y=True)
    options = {"n_centers": 6, "max_iter": 2000, "tol": 1e-9, "centers_init": X[::30]}
    solved = GRBFClassifier(**options).fit(X, y)
    monkeypatch.setattr(solver, "NEWTON_UP_TO", 0)
    stepped = GRBFClassifier(**options).fit(X, y)
    assert stepped.objective_ == pytest.approx(solved.objective_, rel=2e-3)


# --- 7 and 8 the aims ---------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"alpha_precision": 3e-3, "alpha_weights": 1e-3},
        {"alpha_precision": 1e-3, "alpha_weights": 1e-3, "learn_centers": True},
        GIVEN,
        {},
    ],
)
def test_one_direction_is_found(options):
    errors = []
    for seed in range(4 if options else 3):  # choosing penalties takes time
        X, y, _, a = one_direction(seed)
        T, _, clean, _ = one_direction(seed + 100, n=2000)
        model = GRBFRegressor(random_state=0, **options).fit(X, y)
        assert abs(model.components_[0] @ a) >= 0.999
        assert model.explained_precision_ratio_[0] >= 0.9
        assert set(model.feature_importances_.argsort()[-3:]) == {0, 1, 2}
        errors.append(np.sqrt(np.mean((model.predict(T) - clean) ** 2)))
    # rows in the tails, of which a table of 400 has few, make most of the error
    assert np.mean(errors) <= (0.08 if options is GIVEN else 0.06), errors


def interaction(n, seed, d=20):
    """The sign of the product of the first two of ``d`` columns."""
    X = np.random.default_rng(seed).normal(size=(n, d))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def test_an_interaction_among_noise_is_found():
    scores = []
    for seed in range(3):
        X, y = interaction(1000, seed)
        model = GRBFClassifier(random_state=0).fit(X, y)
        assert set(model.feature_importances_.argsort()[-2:]) == {0, 1}
        scores.append(model.score(*interaction(2000, seed + 100)))
    assert np.mean(scores) >= 0.94, scores


def test_the_columns_that_matter_come_first():
    # two of the five are linear: their slope counts, the precision hardly sees them
    for seed in range(3):
        X, y = make_friedman1(600, 10, noise=1.0, random_state=seed)
        model = GRBFRegressor(random_state=0).fit(X, y)
        assert set(model.feature_importances_.argsort()[-5:]) == set(range(5)), seed


def test_a_rare_column_moves_nothing_far():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(400, 3)), np.zeros((400, 2))]
    X[:3, 3] = X[200, 4] = 1.0
    y = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.2 * rng.normal(size=400)
    model = GRBFRegressor(random_state=0).fit(X, y)
    asked = X[10:110]
    moved = asked.copy()
    moved[:, 3:] = 1.0
    # at dozens of standard deviations, where such a category would stand, it is 35
    change = np.abs(model.predict(moved) - model.predict(asked)) / y.std()
    assert change.mean() < 0.5, change.mean()
    assert change.max() < 1.0, change.max()


@pytest.mark.parametrize("shape", ["full", "diag"])
def test_a_start_shows_what_has_no_slope(shape):
    X, y = interaction(4000, 0, d=6)
    objective = solver.Objective(
        loss=losses.CrossEntropy(),
        X=X,
        Y=y[:, None] - 0.0,
        s=np.full(4000, 1 / 4000),
        anchors=X[:5],
        rank=6,
        shape=shape,
        learn_centers=False,
        alpha_precision=0.01,
        alpha_weights=0.001,
        alpha_centers=0.0,
    )
    asked = 0.3, np.ones(6, bool), np.eye(6)
    U = solver.informed_factor(objective, *asked)
    share = np.diag(U @ U.T)
    assert share.sum() == pytest.approx(0.3**2 * 6)
    assert share[:2].sum() > 0.95 * share.sum()
    objective.Y = np.ones((4000, 1))
    np.testing.assert_array_equal(solver.informed_factor(objective, *asked), np.eye(6))


def test_far_rows_are_no_denormal_numbers():
    X = np.array([[0.0], [3.0], [30.0], [1e5]])
    Phi = solver.kernel_features(X, np.eye(1), np.zeros((1, 1)))[0]
    np.testing.assert_allclose(Phi[:2, 0], np.exp([0.0, -4.5]))
    # products of a few of them stay normal, and count for nothing
    assert (Phi**6 > np.finfo(float).tiny).all() and (Phi[2:] < 1e-30).all()


def test_diabetes():
    X, y = load_diabetes(return_X_y=True)
    grid = {"alpha_precision": [0.03, 0.1], "alpha_weights": [1e-3, 1e-2]}
    search = GridSearchCV(
        GRBFRegressor(random_state=0), grid, scoring="neg_mean_squared_error", cv=3
    )
    folds = KFold(5, shuffle=True, random_state=0)
    score = cross_val_score(search, X, y, cv=folds, scoring="neg_mean_squared_error")
    assert np.sqrt(-score.mean()) <= 55


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_breast_cancer_and_wine(load):
    X, y = load(return_X_y=True)
    model = GRBFClassifier(n_centers=12, alpha_precision=0.1, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert cross_val_score(model, X, y, cv=folds).mean() >= 0.97


def test_four_centres_tell_a_three_from_an_eight():
    X, y = load_digits(return_X_y=True)
    X, y = X[(y == 3) | (y == 8)], y[(y == 3) | (y == 8)]
    scores = []
    for seed in range(3):
        A, B, a, b = train_test_split(X, y, test_size=0.3, random_state=seed)
        scores.append(GRBFClassifier(4, random_state=0).fit(A, a).score(B, b))
    assert np.mean(scores) >= 0.985


# --- what else is promised ----------------------------------------------------------


def test_attributes_agree_with_each_other(smooth):
    X, y = smooth
    for importance in ("spectral", "diag", "gradient"):
        model = GRBFRegressor(8, importance=importance, random_state=0, **GIVEN)
        model.fit(X, y)
        assert model.feature_importances_.sum() == pytest.approx(1)
        assert set(model.feature_importances_.argsort()[-3:]) <= {0, 1, 2, 3, 4}
    V, gamma = model.components_, model.eigenvalues_
    np.testing.assert_allclose(model.precision_, (V.T * gamma) @ V, atol=1e-10)
    factor = model.precision_factor_
    np.testing.assert_allclose(model.precision_, factor @ factor.T, atol=1e-10)
    assert (np.diff(gamma) <= 0).all()
    assert (V[np.arange(6), np.abs(V).argmax(axis=1)] > 0).all()
    assert model.centers_.shape == (8, 6) and model.center_weights_.shape == (8,)
    spectral = GRBFRegressor(8, importance="spectral", random_state=0, **GIVEN)
    spectral = spectral.fit(X, y).feature_importances_
    raw = gamma @ np.abs(V)
    np.testing.assert_allclose(spectral, raw / raw.sum(), atol=1e-10)
    assert model.transform(X, n_components=2).shape == (120, 2)
    with pytest.raises(ValueError, match="n_components=7"):
        model.transform(X, n_components=7)
    selector = SelectFromModel(model, importance_getter="feature_importances_")
    chosen = make_pipeline(selector).fit(X, y)[0].get_support()
    assert 0 < chosen.sum() < 6 and not chosen[5]  # which friedman1 does not use


def test_clusters_are_those_of_kmeans():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 0.1, size=(20, 2)) for c in (0, 3, 6)])
    C = solver.choose_centers(
        X, np.full(60, 1 / 60), 3, "kmeans", np.random.RandomState(0)
    )
    peer = KMeans(3, n_init=1, random_state=0).fit(X).cluster_centers_
    np.testing.assert_allclose(np.sort(C, axis=0), np.sort(peer, axis=0), atol=1e-8)


def test_more_starts_are_no_worse(smooth):
    X, y = smooth
    one = GRBFRegressor(n_centers=6, n_init=1, random_state=0).fit(X, y)
    three = GRBFRegressor(n_centers=6, n_init=3, random_state=0).fit(X, y)
    assert three.objective_ <= one.objective_


@pytest.mark.parametrize("shape", ["full", "diag", "spherical"])
def test_adam_comes_close(shape):
    X, y, _, _ = one_direction(n=1500, d=4)
    options = {**GIVEN, "covariance_type": shape, "centers_init": X[:20]}
    exact = GRBFRegressor(**options).fit(X, y)
    steps = GRBFRegressor(solver="adam", max_iter=60, random_state=0, **options)
    steps.fit(X, y)
    assert steps.objective_ <= 1.1 * exact.objective_ + 1e-3
    assert steps.objective_ == pytest.approx(min(steps.loss_curve_), rel=1e-12)


def test_large_tables_go_to_adam(monkeypatch):
    from skdiff.neural_network._grbf import _base as base

    X, y, _, _ = one_direction(n=300, d=4)
    monkeypatch.setattr(base, "ADAM_BEYOND", 100)
    auto = GRBFRegressor(max_iter=3, random_state=0).fit(X, y)
    adam = GRBFRegressor(max_iter=3, random_state=0, solver="adam").fit(X, y)
    np.testing.assert_array_equal(auto.predict(X), adam.predict(X))


def test_balanced_classes_are_weights():
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:200], y[:200]
    factors = len(y) / (2 * np.bincount(y))
    balanced = GRBFClassifier(6, class_weight="balanced", max_iter=20, random_state=0)
    given_ = GRBFClassifier(
        6, class_weight=dict(enumerate(factors)), max_iter=20, random_state=0
    )
    np.testing.assert_allclose(
        balanced.fit(X, y).predict_proba(X), given_.fit(X, y).predict_proba(X)
    )
    # a class of weight zero is absent
    absent = GRBFClassifier(6, class_weight={0: 0, 1: 1}, random_state=0).fit(X, y)
    np.testing.assert_array_equal(absent.classes_, [1])
    np.testing.assert_array_equal(absent.predict_proba(X), np.ones((200, 1)))


def test_a_constant_column_never_matters(smooth):
    X, y = smooth
    X = np.c_[X, np.full(len(X), 7.0)]
    model = GRBFRegressor(8, random_state=0).fit(X, y)
    moved = X.copy()
    moved[:, -1] = 1e6
    np.testing.assert_array_equal(model.predict(moved), model.predict(X))
    assert model.feature_importances_[-1] == 0


def test_wide_tables_need_a_rank():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 500))
    y = X[:, 0] + X[:, 1]
    model = GRBFRegressor(rank=1, random_state=0).fit(X, y)
    assert set(model.feature_importances_.argsort()[-2:]) == {0, 1}
    with pytest.raises(ValueError, match="Set rank"):
        GRBFRegressor().fit(rng.normal(size=(10, 4000)), y[:10])


def test_what_is_wrong_is_named(smooth):
    X, y = smooth
    for options, word in [
        ({"rank": 7}, "rank=7"),
        ({"centers_init": X[:5, :3]}, "centers_init has 3 columns"),
        ({"centers_init": X[:5], "n_centers": 4}, "n_centers=4"),
        ({"centers_init": X[:5] * np.nan}, "centers_init"),
    ]:
        with pytest.raises(ValueError, match=word):
            GRBFRegressor(**options).fit(X, y)


def test_limits_warn_and_leave_a_model(smooth, monkeypatch):
    X, y = smooth
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match="max_iter"):
            GRBFRegressor(max_iter=3, random_state=0).fit(X, y)
    model = GRBFRegressor(time_limit=1e-9, random_state=0).fit(X, y)
    assert model.stopped_ == "time" and np.isfinite(model.predict(X)).all()
    evaluate, calls = solver.Objective.evaluate, []

    def interrupted(self, theta, last):
        calls.append(time.monotonic())
        if len(calls) == 12:
            raise KeyboardInterrupt
        return evaluate(self, theta, last)

    monkeypatch.setattr(solver.Objective, "evaluate", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = GRBFRegressor(random_state=0, **GIVEN).fit(X, y)
    assert model.stopped_ == "interrupted" and np.isfinite(model.predict(X)).all()


# --- the projection -----------------------------------------------------------------


def test_the_projection_finds_the_direction():
    X, y, _, a = one_direction()
    share = ActiveSubspaceTransformer(n_components=0.9, random_state=0).fit(X, y)
    assert share.n_components_ == 1 and abs(share.components_[0] @ a) >= 0.999
    assert set(share.feature_importances_.argsort()[-3:]) == {0, 1, 2}
    all_ = ActiveSubspaceTransformer(n_components=1.0, random_state=0).fit(X, y)
    assert all_.explained_precision_ratio_.sum() == pytest.approx(1)
    chosen = SelectFromModel(share, max_features=3, threshold=-np.inf).fit(X, y)
    np.testing.assert_array_equal(chosen.get_support(indices=True), [0, 1, 2])


def test_the_projection_is_the_networks(smooth):
    X, y = smooth
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    network = GRBFClassifier(6, max_iter=30)
    plain = ActiveSubspaceTransformer(network, n_components=3, random_state=3)
    Z = plain.fit_transform(X, labels)
    assert list(plain.get_feature_names_out()) == [
        f"activesubspace{i}" for i in range(3)
    ]
    np.testing.assert_array_equal(Z, plain.estimator_.transform(X, n_components=3))
    assert not hasattr(network, "precision_")
    white = ActiveSubspaceTransformer(network, n_components=6, whiten=True)
    white.set_params(random_state=3)
    Z = white.fit_transform(X, labels)
    C = white.estimator_.centers_
    D = ((Z[:, None] - white.transform(C)[None]) ** 2).sum(axis=2)
    features = white.estimator_.kernel_features(X)
    np.testing.assert_allclose(np.exp(-D / 2), features, atol=1e-10)
    with pytest.raises(TypeError, match="GRBFClassifier"):
        ActiveSubspaceTransformer(Ridge()).fit(X, y)


def test_the_projection_in_a_searched_pipeline():
    X, y, _, _ = one_direction()
    pipeline = make_pipeline(
        ActiveSubspaceTransformer(random_state=0), KNeighborsRegressor(8)
    )
    grid = {"activesubspacetransformer__n_components": [1, 3]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3, error_score="raise")
    search.fit(X, y)
    assert search.best_params_ == {"activesubspacetransformer__n_components": 1}
    assert search.best_score_ > 0.9
    frame = pipeline[:-1].set_output(transform="pandas").fit_transform(X, y)
    assert list(frame.columns) == ["activesubspace0", "activesubspace1"]
