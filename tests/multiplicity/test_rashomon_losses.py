"""Every loss, penalty and estimator that can be audited, against other solvers."""

import pickle
import warnings

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.sparse import csr_array
from scipy.special import softmax, xlogy
from scipy.stats import chi2
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LassoCV,
    LogisticRegression,
    MultiTaskLasso,
    PoissonRegressor,
    QuantileRegressor,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR

from skdiff.multiplicity import (
    RashomonClassifier,
    RashomonRangeDisplay,
    RashomonRegressor,
)
from skdiff.multiplicity._rashomon import _base
from skdiff.multiplicity._sets import _l1, _scaling
from skdiff.multiplicity._sets._l1 import L1Maximiser
from skdiff.multiplicity._sets._maximiser import Maximiser
from skdiff.multiplicity._sets._multinomial import largest_probabilities
from skdiff.multiplicity._sets._sparse_maximiser import SparseMaximiser
from skdiff.multiplicity._sets._statement import state_objective, state_problem
from tests._versions import logistic_regression, logistic_regression_cv

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SAGA = {"solver": "saga", "max_iter": 20_000, "tol": 1e-10}


def cancer(rows=120, columns=5):
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:rows, :columns], y[:rows]


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X[:120, :6] * 20, y[:120]


def counts(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    mean = np.exp(0.5 + 0.4 * X[:, 0] - 0.3 * X[:, 1])
    y = rng.poisson(mean) if kind == "poisson" else rng.gamma(2.0, mean / 2) + 1e-3
    return X, y.astype(float)


def iris(rows=slice(None)):
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X)[rows], y[rows]


CASES = {
    "squared hinge": (LinearSVC(C=0.1, tol=1e-10, max_iter=100_000), cancer),
    "squared hinge, intercept": (
        LinearSVC(C=0.1, intercept_scaling=3.0, tol=1e-10, max_iter=100_000),
        cancer,
    ),
    "hinge": (LinearSVC(C=0.1, loss="hinge", tol=1e-8, max_iter=100_000), cancer),
    "modified huber": (SGDClassifier("modified_huber", alpha=0.01), cancer),
    "l1 logistic": (logistic_regression(l1_ratio=1.0, C=0.3, **SAGA), cancer),
    "l1 logistic, intercept": (
        logistic_regression(l1_ratio=1.0, C=0.3, solver="liblinear", tol=1e-10),
        cancer,
    ),
    "elastic-net logistic": (logistic_regression(l1_ratio=0.5, C=1.0, **SAGA), cancer),
    "l1 squared hinge": (LinearSVC(C=0.1, penalty="l1", dual=False, tol=1e-10), cancer),
    "poisson": (PoissonRegressor(alpha=0.01, tol=1e-10), lambda: counts("poisson")),
    "gamma": (GammaRegressor(alpha=0.01, tol=1e-10), lambda: counts("gamma")),
    "huber": (HuberRegressor(tol=1e-10, max_iter=1000), diabetes),
    "lasso": (Lasso(2.0, tol=1e-12), diabetes),
    "elastic net": (ElasticNet(0.5, l1_ratio=0.4, tol=1e-12), diabetes),
    "insensitive": (LinearSVR(epsilon=10.0, C=1.0, tol=1e-8, max_iter=10**6), diabetes),
    "squared insensitive": (
        LinearSVR(
            epsilon=10.0, C=1.0, loss="squared_epsilon_insensitive", tol=1e-10,
            max_iter=10**6,
        ),
        diabetes,
    ),
    "quantile": (QuantileRegressor(alpha=0.5, quantile=0.7), diabetes),
    "quantile, free": (QuantileRegressor(alpha=0.0), diabetes),
    "multinomial": (LogisticRegression(tol=1e-10), lambda: iris(slice(20, 140))),
}  # fmt: skip
SMOOTH = ("squared hinge", "poisson", "gamma", "huber", "squared insensitive")


def audit(estimator, table=None, **settings):
    regression = hasattr(estimator, "_estimator_type") or not hasattr(
        estimator, "classes_"
    )
    regression = estimator.__sklearn_tags__().estimator_type == "regressor"
    cls = RashomonRegressor if regression else RashomonClassifier
    return cls(estimator, **settings).fit(*table)


def directions(model, X):
    """Rows as directions; of several classes as margins of two of them."""
    V = model._set.scaling.directions(X)
    if len(getattr(model, "classes_", ())) > 2:
        e = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
        return np.einsum("ik,ip->ikp", e[np.arange(len(V)) % 3], V).reshape(len(V), -1)
    return V


# --- referees -----------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_fifty_rows_agree_with_cvxpy(name):
    estimator, load = CASES[name]
    X, y = load()
    model = audit(estimator, (X, y), epsilon=0.05)
    some = np.random.default_rng(1).choice(len(X), 50, replace=False)
    V = directions(model, X[some])
    fast, level_set = model._range(V), model._set.level_set
    statement, w, v = state_problem(
        level_set.problem, level_set.objective + model._set.budget
    )
    compared = 0
    for k in range(50):
        side = k % 2
        v.value = (2 * side - 1) * V[k]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it often says inaccurate: not compared
            try:
                statement.solve(
                    solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9
                )
            except cp.error.SolverError:
                continue
        if statement.status == "optimal":
            compared += 1
            assert abs(V[k] @ w.value - fast[k, side]) < 1e-6 * np.diff(fast[k])
    assert compared >= 15


def test_hinge_agrees_with_a_general_nonlinear_solver():
    X, y = cancer(rows=40, columns=2)
    model = RashomonClassifier(LinearSVC(C=0.1, loss="hinge"), epsilon=0.1).fit(X, y)
    problem, level = model._set.level_set.problem, model.objective_ + model.epsilon_
    n, p = problem.X.shape
    bounds = model.decision_range(X[:2])
    for v, bound in zip(model._set.scaling.directions(X[:2]), bounds, strict=True):
        found = minimize(
            lambda z, v=v: -(v @ z[:p]),
            np.concatenate([model._set.baseline, np.full(n, 1.0)]),
            jac=lambda z, v=v: np.concatenate([-v, np.zeros(n)]),
            bounds=[(None, None)] * p + [(0, None)] * n,
            constraints=[
                {
                    "type": "ineq",
                    "fun": lambda z: (
                        level - problem.s @ z[p:] - problem.penalty @ z[:p] ** 2 / 2
                    ),
                },
                {
                    "type": "ineq",
                    "fun": lambda z: z[p:] - 1 + problem.y * (problem.X @ z[:p]),
                },
            ],
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        assert -found.fun == pytest.approx(bound[1], rel=1e-5)


@pytest.mark.parametrize("name", ["poisson", "lasso", "squared hinge", "quantile"])
def test_the_cvxpy_door_gives_the_same_ranges(name):
    estimator, load = CASES[name]
    X, y = load()
    fast = audit(estimator, (X, y), epsilon=0.05)._range
    slow = audit(estimator, (X, y), epsilon=0.05, solver="cvxpy")
    V = slow._set.scaling.directions(X[:3])
    want = slow._range(V)
    np.testing.assert_allclose(fast(V), want, atol=1e-5 * np.diff(want).max())


def test_poisson_profile_ranges_are_profile_likelihood_intervals():
    X, y = counts("poisson")
    model = RashomonRegressor(
        PoissonRegressor(alpha=0.0), epsilon=0.05, epsilon_type="profile"
    ).fit(X, y)
    n, bounds, cut = len(y), model.coef_range(), chi2.isf(0.05, 1) / 2

    def profile(k, value):
        """Log likelihood lost when coefficient k is held at a value."""
        Z = np.column_stack([np.delete(X, k, axis=1), np.ones(n)])
        w, fixed = np.zeros(4), X[:, k] * value
        w[-1] = np.log(y.mean())
        for _ in range(60):
            m = np.exp(Z @ w + fixed)
            w -= np.linalg.solve((Z.T * m) @ Z, Z.T @ (m - y))
        f = Z @ w + fixed
        return np.sum(np.exp(f) - y * f + xlogy(y, y) - y) - n * model.objective_

    for k in range(4):
        centre = model.coef_[k]
        high = brentq(lambda v, k=k: profile(k, v) - cut, centre, centre + 1)
        low = brentq(lambda v, k=k: profile(k, v) - cut, centre - 1, centre)
        np.testing.assert_allclose(bounds[k], [low, high], rtol=1e-7)


def test_gamma_profile_uses_the_estimated_dispersion():
    X, y = counts("gamma")
    model = RashomonRegressor(
        GammaRegressor(alpha=0.0), epsilon=0.05, epsilon_type="profile"
    ).fit(X, y)
    relative = y / model.predict(X) - 1
    dispersion = relative @ relative / (len(y) - 5)
    want = dispersion * chi2.isf(0.05, 1) / (2 * len(y))
    assert model.epsilon_ == pytest.approx(want, rel=1e-6)


# --- what scikit-learn minimised ------------------------------------------------------


@pytest.mark.parametrize(
    "name", [n for n in CASES if n not in ("modified huber", "insensitive", "hinge")]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_baseline_is_the_users_model(name, weighted):
    estimator, load = CASES[name]
    X, y = load()
    weight = np.random.default_rng(0).uniform(0.3, 3.0, len(y)) if weighted else None
    cls = type(audit(estimator, (X[:60], y[:60])))
    with warnings.catch_warnings():
        # in scikit-learn's words, were the conversion of weights wrong
        warnings.filterwarnings("error", message=".*above the best objective")
        model = cls(estimator).fit(X, y, sample_weight=weight)
    their = model.estimator_
    spread = np.abs(their.coef_).max()
    np.testing.assert_allclose(model.coef_, their.coef_, atol=2e-3 * spread)
    np.testing.assert_allclose(
        model.predict(X), their.predict(X), atol=2e-3 * np.abs(y).max()
    )


@pytest.mark.parametrize("loss", ["hinge", "modified_huber", "log_loss"])
def test_sgd_with_class_weights_is_the_batch_objective(loss):
    X, y = cancer()
    n, alpha = len(y), 0.02
    balance = n / (2 * np.bincount(y))
    sgd = RashomonClassifier(
        SGDClassifier(loss, alpha=alpha, class_weight="balanced", random_state=0)
    ).fit(X, y)
    w = cp.Variable(X.shape[1])
    b = cp.Variable()
    margin = cp.multiply(2 * y - 1, X @ w + b)
    row = {
        "hinge": cp.pos(1 - margin),
        "modified_huber": cp.huber(cp.pos(1 - margin), 2),
        "log_loss": cp.logistic(-margin),
    }[loss]
    total = balance[y] @ row / n + alpha * cp.sum_squares(w) / 2
    cp.Problem(cp.Minimize(total)).solve("CLARABEL")
    np.testing.assert_allclose(sgd.coef_[0], w.value, atol=1e-3)
    # class weights average one here, so that dividing by their sum changes nothing
    assert sgd.objective_ == pytest.approx(total.value, rel=1e-6)


def test_sgd_regressors_are_their_batch_twins():
    X, y = diabetes()
    alpha, n = 0.01, len(y)
    sgd = RashomonRegressor(SGDRegressor(alpha=alpha, penalty="l1")).fit(X, y)
    twin = RashomonRegressor(Lasso(alpha)).fit(X, y)
    np.testing.assert_allclose(sgd.predict_range(X), twin.predict_range(X), rtol=1e-6)
    sgd = RashomonRegressor(SGDRegressor(alpha=alpha, penalty="elasticnet")).fit(X, y)
    twin = RashomonRegressor(ElasticNet(alpha, l1_ratio=0.15)).fit(X, y)
    np.testing.assert_allclose(sgd.predict_range(X), twin.predict_range(X), rtol=1e-6)
    width = 20.0
    sgd = RashomonRegressor(SGDRegressor("huber", epsilon=width, alpha=alpha)).fit(X, y)
    r = np.abs(y - sgd.predict(X))
    loss = np.where(r < width, r**2 / 2, width * (r - width / 2))
    want = loss.mean() + alpha * sgd.coef_ @ sgd.coef_ / 2
    assert sgd.objective_ == pytest.approx(want, rel=1e-9)
    assert n == 120


@pytest.mark.parametrize(
    ("searched", "chosen"),
    [
        (RidgeCV([0.1, 10.0]), lambda m: m.alpha_),
        (LassoCV(cv=3, alphas=20, tol=1e-8), lambda m: m.alpha_),
        (ElasticNetCV(cv=3, alphas=20, l1_ratio=0.5, tol=1e-8), lambda m: m.alpha_),
    ],
)
def test_searched_penalties_are_those_chosen(searched, chosen):
    X, y = diabetes()
    model = RashomonRegressor(searched).fit(X, y)
    assert chosen(model.estimator_) > 0
    np.testing.assert_allclose(model.predict(X), model.estimator_.predict(X), rtol=1e-3)


def test_a_searched_multinomial_model():
    X, y = iris()
    searched = logistic_regression_cv(Cs=[0.1, 1.0], cv=3, scoring="accuracy", tol=1e-8)
    model = RashomonClassifier(make_pipeline(StandardScaler(), searched)).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), model.estimator_.predict_proba(X), atol=1e-4
    )


def test_frozen_models_and_rough_ones():
    X, y = counts("poisson")
    fine = make_pipeline(StandardScaler(), PoissonRegressor(alpha=0.1, tol=1e-10))
    fresh = RashomonRegressor(fine).fit(X, y)
    frozen = RashomonRegressor(FrozenEstimator(fine.fit(X, y))).fit(X, y)
    np.testing.assert_allclose(
        fresh.predict_range(X), frozen.predict_range(X), rtol=1e-8
    )
    X, y = cancer()
    with pytest.warns(ConvergenceWarning, match="above the best objective"):
        RashomonClassifier(SGDClassifier("log_loss", max_iter=3)).fit(X, y)


# --- what must hold -------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_boundary_models_lie_in_the_set_and_attain_the_range(name):
    estimator, load = CASES[name]
    X, y = load()
    model = audit(estimator, (X, y), epsilon=0.1)
    level_set, V = model._set.level_set, directions(model, X[:8])
    norms, low, high = level_set.maxima(V, model._set.budget, tol=1e-9)
    bounds = model._range(V)
    assert (bounds[:, 0] <= V @ model._set.baseline + 1e-9).all()
    assert (bounds[:, 1] >= V @ model._set.baseline - 1e-9).all()
    for side, end in ((0, low), (1, high)):
        W = level_set.models(end.model)
        np.testing.assert_allclose(
            np.einsum("ij,ij->i", V, W), bounds[:, side], atol=1e-6 * np.ptp(bounds)
        )
        for w in W:
            excess = level_set.problem.value(w) - level_set.objective
            assert excess == pytest.approx(model._set.budget, rel=1e-5)
    assert np.isfinite(norms).all()


@pytest.mark.parametrize("name", SMOOTH)
def test_ranges_grow_like_the_root_of_epsilon(name):
    estimator, load = CASES[name]
    X, y = load()
    model = audit(estimator, (X, y))
    V = model._set.scaling.directions(X[:20])
    small, large, huge = (np.diff(model._range(V, e)) for e in (1e-10, 1e-8, 1e-2))
    np.testing.assert_allclose(large / small, 10, rtol=2e-2)
    assert (huge > large).all()


@pytest.mark.parametrize("name", ["lasso", "l1 logistic", "quantile", "hinge"])
def test_ranges_grow_with_epsilon(name):
    estimator, load = CASES[name]
    X, y = load()
    model = audit(estimator, (X, y))
    V = model._set.scaling.directions(X[:4])
    inner, outer = (
        model._range(V),
        model._range(V, 2 * model._set.budget),
    )
    assert (outer[:, 0] < inner[:, 0]).all() and (outer[:, 1] > inner[:, 1]).all()


def test_weights_are_repeated_rows():
    rng = np.random.default_rng(0)
    for name in ("poisson", "lasso", "squared hinge", "multinomial"):
        estimator, load = CASES[name]
        X, y = load()
        weight = rng.integers(0, 3, len(y))
        rows = np.repeat(np.arange(len(y)), weight)
        cls = type(audit(estimator, (X, y)))
        weighted = cls(estimator).fit(X, y, sample_weight=weight)
        repeated = cls(estimator).fit(X[rows], y[rows])
        V = directions(weighted, X[:10])
        W = directions(repeated, X[:10])
        np.testing.assert_allclose(
            weighted._range(V),
            repeated._range(W),
            rtol=1e-6,
            atol=1e-8,
        )


@pytest.mark.parametrize("unit", [1e-6, 1e4])
def test_units_of_target_and_columns_do_not_matter(unit):
    X, y = diabetes()
    pairs = [
        (Lasso(2.0), Lasso(2.0 * unit / unit**2 * unit**2)),
        (QuantileRegressor(alpha=0.5), QuantileRegressor(alpha=0.5)),
    ]
    for plain, scaled in pairs:
        want = RashomonRegressor(plain).fit(X, y).predict_range(X[:10])
        # y in another unit: the L1 penalty of squared loss is in units of y
        got = RashomonRegressor(scaled).fit(X, y * unit).predict_range(X[:10])
        np.testing.assert_allclose(got / unit, want, rtol=1e-6)
    X, y = counts("poisson")
    free = PoissonRegressor(alpha=0.0)
    want = RashomonRegressor(free).fit(X, y).predict_range(X)
    mixed = X @ np.random.default_rng(0).normal(size=(4, 4)) * unit
    got = RashomonRegressor(free).fit(mixed, y).predict_range(mixed)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_slow_way_under_an_l1_penalty_gives_the_same_answer():
    for name in ("lasso", "l1 logistic", "l1 squared hinge"):
        estimator, load = CASES[name]
        X, y = load()
        model = audit(estimator, (X, y), epsilon=0.05)
        level_set = model._set.level_set
        U, _ = level_set.whitened_directions(model._set.scaling.directions(X[:6]))
        solver = L1Maximiser(level_set.data, np.sqrt(2 * model._set.budget), 1e-9, 60)
        np.testing.assert_allclose(
            solver.one_by_one(U).value, solver.continuation(U).value, rtol=1e-7
        )


@pytest.mark.parametrize("alpha", [0.03, 1e-3])
@pytest.mark.parametrize("kind", [Lasso, ElasticNet])
def test_all_but_interpolating_models_agree_with_cvxpy(alpha, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 40))
    y = X[:, :5].sum(axis=1) + 0.5 * rng.normal(size=20)
    estimator = kind(alpha=alpha, max_iter=100_000, tol=1e-8)
    model = RashomonRegressor(estimator, epsilon=0.05).fit(X, y)
    rows = np.vstack([X[:2], rng.normal(size=(2, 40))])
    bounds = model.decision_range(rows)
    referee = RashomonRegressor(estimator, epsilon=0.05, solver="cvxpy").fit(X, y)
    width = np.diff(bounds).min()
    np.testing.assert_allclose(
        bounds, referee.decision_range(rows), rtol=0, atol=1e-5 * width
    )
    # the two models of a row attain its ends within the set
    coef, intercept = model.boundary_models(rows)
    ends = np.einsum("mkj,mj->mk", coef, rows) + intercept
    np.testing.assert_allclose(ends, bounds, rtol=0, atol=1e-6 * width)


def test_lost_paths_under_an_l1_penalty_are_looked_for(monkeypatch):
    X, y = diabetes()
    model = RashomonRegressor(Lasso(2.0), epsilon=0.05).fit(X, y)
    bounds = model.decision_range(X[:6])
    follow = _l1.follow

    def lose(*arguments):
        U, mu = follow(*arguments)
        U[:, ::2] = np.nan
        return U, mu

    monkeypatch.setattr(_l1, "follow", lose)
    np.testing.assert_allclose(model.decision_range(X[:6]), bounds, rtol=1e-9)


def test_proven_errors_under_an_l1_penalty():
    X, y = diabetes()
    model = RashomonRegressor(Lasso(2.0), epsilon=0.05).fit(X, y)
    error = model.range_error(X[:20])
    assert (error >= 0).all()
    assert (error < 1e-3 * np.diff(model.decision_range(X[:20]))).all()
    with pytest.raises(ValueError, match="piecewise linear"):
        RashomonRegressor(QuantileRegressor(alpha=0.1)).fit(X, y).range_error(X)


def test_logarithmic_links_are_undone():
    X, y = counts("gamma")
    model = RashomonRegressor(GammaRegressor(alpha=0.01)).fit(X, y)
    np.testing.assert_allclose(
        model.predict_range(X), np.exp(model.decision_range(X)), rtol=1e-12
    )
    table = model.report(X, y)
    mean = model.predict(X)
    half = np.mean(y / mean - np.log(y / mean) - 1)
    assert table["loss"].iloc[0] == pytest.approx(half)
    assert (model.transform(X)[:, 1] < mean).all()


@pytest.mark.parametrize("estimator", [PoissonRegressor(), LinearSVC(), Lasso(1.0)])
def test_standard_errors_of_cross_validation(estimator):
    tables = {"LinearSVC": cancer, "Lasso": diabetes}
    load = tables.get(type(estimator).__name__, lambda: counts("poisson"))
    model = audit(estimator, load(), epsilon=1.0, epsilon_type="cv", random_state=0)
    assert 0 < model.epsilon_ < model.objective_


# --- three classes or more ------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers():
    X, y = iris()
    return RashomonClassifier(epsilon=0.05).fit(X[:, :2], y), X[:, :2], y


def test_largest_probabilities_agree_with_cvxpy(flowers):
    model, X, _ = flowers
    bounds, inner = model.predict_proba_range(X, return_inner=True)
    level_set = model._set.level_set
    objective, w, _ = state_objective(level_set.problem)
    V, compared = model._set.scaling.directions(X), 0
    for i in range(0, 150, 12):
        k = i % 3
        F = cp.reshape(w, (3, 3), order="F").T @ V[i]
        statement = cp.Problem(
            cp.Maximize(F[k] - cp.log_sum_exp(F)),
            [objective <= level_set.objective + model._set.budget],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                statement.solve("CLARABEL")
            except cp.error.SolverError:
                continue
        if statement.status == "optimal":
            compared += 1
            assert np.exp(statement.value) == pytest.approx(bounds[i, k, 1], abs=1e-6)
    assert compared >= 4
    p = model.predict_proba(X)
    assert (bounds[..., 0] <= inner + 1e-12).all() and (inner <= p + 1e-12).all()
    assert (p <= bounds[..., 1] + 1e-12).all()
    assert (inner - bounds[..., 0]).max() < 0.1


def test_models_of_the_set_stay_within_the_ranges(flowers):
    model, X, _ = flowers
    level_set, rng = model._set.level_set, np.random.default_rng(0)
    U = rng.normal(size=(400, level_set.whiten.shape[1]))
    U *= np.sqrt(2 * model._set.budget) / np.linalg.norm(U, axis=1)[:, None]
    gap = level_set.data.evaluate(U)[0]
    U *= np.minimum(1.0, model._set.budget / gap)[:, None]  # convex along the ray
    W = level_set.models(U).reshape(400, 3, 3)
    F = np.einsum("mkp,ip->mik", W, model._set.scaling.directions(X))
    P, bounds = softmax(F, axis=2), model.predict_proba_range(X)
    assert (bounds[..., 0] <= P.min(axis=0) + 1e-12).all()
    assert (P.max(axis=0) <= bounds[..., 1] + 1e-12).all()
    margins = F[..., :, None] - F[..., None, :]
    found = model.decision_range(X)
    assert found.shape == (150, 3, 3, 2)
    assert (found[..., 0] <= margins.min(axis=0) + 1e-12).all()
    assert (margins.max(axis=0) <= found[..., 1] + 1e-12).all()
    winners = F.argmax(axis=2)
    moved = (winners != model.predict(X)).any(axis=0)
    conflicts = model.conflicts(X)
    assert conflicts.sum() > 20 and (conflicts | ~moved).all()
    assert model.ambiguity(X) == conflicts.mean() < model.ambiguity(X, 0.01)


def test_conflicts_are_won_by_a_model_of_the_set(flowers):
    model, X, _ = flowers
    found = model.decision_range(X)
    winner = model.decision_function(X).argmax(axis=1)
    over = found[np.arange(150), :, winner, 1]
    over[np.arange(150), winner] = -np.inf
    np.testing.assert_array_equal(over.max(axis=1) >= 0, model.conflicts(X))
    labels = model.predict(X, abstain=True, abstain_label=-1)
    np.testing.assert_array_equal(labels == -1, model.conflicts(X))


def test_the_slow_ways_of_a_multinomial_set(flowers):
    model, X, _ = flowers
    level_set, V = model._set.level_set, model._set.scaling.directions(X[::10])
    fast = largest_probabilities(level_set, V, model._set.budget, tol=1e-6, max_iter=60)
    slow = largest_probabilities(level_set, V, model._set.budget, tol=1e-6, max_iter=1)
    np.testing.assert_allclose(fast, slow, rtol=1e-7)


def test_names_of_the_classes_permute_the_answers(flowers):
    model, X, y = flowers
    order = np.array([2, 0, 1])
    names = np.array(["c", "a", "b"])  # class k is called names[k], sorted elsewhere
    other = RashomonClassifier(epsilon=0.05).fit(X, names[y])
    np.testing.assert_allclose(
        other.predict_proba_range(X)[:, order], model.predict_proba_range(X), atol=1e-6
    )
    assert list(other.get_feature_names_out()[:2]) == ["prediction_a", "low_a"]
    columns = other.transform(X).reshape(150, 3, 4)
    np.testing.assert_allclose(columns[..., 0], other.predict_proba(X))
    np.testing.assert_allclose(columns[..., 1:3], other.predict_proba_range(X))


def test_coefficients_of_classes_are_told_around_their_mean(flowers):
    model, X, _ = flowers
    bounds = model.coef_range()
    assert bounds.shape == (3, 3, 2)
    centred = np.column_stack([model.coef_, model.intercept_])
    centred = centred - centred.mean(axis=0)
    assert (bounds[..., 0] < centred).all() and (centred < bounds[..., 1]).all()
    row = np.zeros((1, 3, 3))
    row[0, 0], row[0, 2] = np.append(X[0], 1), -np.append(X[0], 1)
    np.testing.assert_allclose(
        model.functional_range(row.reshape(1, -1))[0],
        model.decision_range(X[:1])[0, 0, 2],
    )
    with pytest.raises(ValueError, match="3 classes have 6"):
        model.functional_range(np.ones((1, 4)))


def test_a_hundred_rows_of_multinomial_probabilities_without_a_penalty():
    X, y = iris()
    some = np.random.default_rng(0).random(150) < 0.3
    X, y = X[:, :2], np.where(some, (y + 1) % 3, y)
    free = LogisticRegression(C=np.inf, max_iter=5000, tol=1e-8)
    model = RashomonClassifier(free).fit(X, y)
    moved = RashomonClassifier(free).fit(X * [10, 0.1] + 3, y)
    np.testing.assert_allclose(
        model.predict_proba_range(X), moved.predict_proba_range(X * [10, 0.1] + 3),
        atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    "estimator",
    [
        OneVsRestClassifier(LogisticRegression(class_weight="balanced", tol=1e-10)),
        LinearSVC(C=0.1, class_weight="balanced", tol=1e-10, max_iter=10**5),
        LinearSVC(C=0.1, intercept_scaling=2.0, tol=1e-10, max_iter=10**5),
    ],
)
def test_one_vs_rest_is_a_product_of_binary_sets(estimator):
    X, y = iris()
    model = RashomonClassifier(estimator).fit(X, y)
    their = model.estimator_.decision_function(X)
    np.testing.assert_allclose(model.decision_function(X), their, atol=1e-2)
    assert len(model.estimators_) == 3 and model.objective_.shape == (3,)
    single = np.stack([p.decision_range(X) for p in model.estimators_], axis=1)
    margins = model.decision_range(X)
    np.testing.assert_allclose(margins[:, 0, 1, 1], single[:, 0, 1] - single[:, 1, 0])
    np.testing.assert_allclose(margins[:, 0, 1, 0], single[:, 0, 0] - single[:, 1, 1])
    assert model.coef_range().shape == (3, 5, 2)
    np.testing.assert_allclose(
        model.functional_range(np.eye(15)).reshape(3, 5, 2), model.coef_range()
    )
    if hasattr(model, "predict_proba"):
        bounds, p = model.predict_proba_range(X), model.predict_proba(X)
        np.testing.assert_allclose(p, model.estimator_.predict_proba(X), atol=1e-3)
        assert (bounds[..., 0] < p).all() and (p < bounds[..., 1]).all()
        corner = 1 / (1 + np.exp(-single))
        best = corner[:, 0, 1] / (corner[:, 0, 1] + corner[:, 1:, 0].sum(axis=1))
        np.testing.assert_allclose(bounds[:, 0, 1], best, rtol=1e-10)
    else:
        assert not hasattr(model, "predict_proba_range")
        np.testing.assert_allclose(model.transform(X)[:, 1:3], single[:, 0])


def test_one_vs_rest_of_two_classes_and_of_weights():
    X, y = cancer()
    plain = RashomonClassifier(LogisticRegression()).fit(X, y)
    wrapped = RashomonClassifier(OneVsRestClassifier(LogisticRegression())).fit(X, y)
    np.testing.assert_allclose(plain.decision_range(X), wrapped.decision_range(X))
    X, y = iris()
    weight = np.random.default_rng(0).integers(1, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    estimator = OneVsRestClassifier(LogisticRegression(tol=1e-10))
    np.testing.assert_allclose(
        RashomonClassifier(estimator).fit(X, y, sample_weight=weight).coef_range(),
        RashomonClassifier(estimator).fit(X[rows], y[rows]).coef_range(),
        rtol=1e-6,
    )


# --- wide sparse tables ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["logistic", "poisson", "squared hinge", "ridge"])
def test_wide_sparse_tables_agree_with_dense_ones(name, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 20)) * (rng.random((90, 20)) < 0.3)
    f = X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=90)
    estimator, y = {
        "logistic": (LogisticRegression(), f > 0),
        "poisson": (PoissonRegressor(alpha=0.1), rng.poisson(np.exp(f / 2))),
        "squared hinge": (LinearSVC(C=0.3), f > 0),
        "ridge": (RidgeCV([0.5]), f),
    }[name]
    dense = audit(estimator, (X, y), epsilon=0.1)
    monkeypatch.setattr(_base, "LARGEST_DENSE", 10)
    wide = audit(estimator, (csr_array(X), y), epsilon=0.1)
    assert wide.hessian_ is None and dense.hessian_.shape == (21, 21)
    assert callable(wide._set.level_set.metric)
    np.testing.assert_allclose(
        wide.decision_range(csr_array(X)), dense.decision_range(X), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(wide.coef_range(), dense.coef_range(), atol=1e-6)
    coef, intercept = wide.boundary_models(csr_array(X[:5]))
    f = np.einsum("id,isd->is", X[:5], coef) + intercept
    np.testing.assert_allclose(f, dense.decision_range(X[:5]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="range_error"):
        wide.range_error(csr_array(X))
    if name == "logistic":
        level_set = wide._set.level_set
        V = wide._set.scaling.directions(csr_array(X[:3])).toarray()
        norms, _, high = level_set.maxima(V, wide._set.budget)
        tau = np.sqrt(2 * wide._set.budget)
        unit = V / level_set.scale / norms[:, None]
        solver = SparseMaximiser(level_set, tau, 1e-4, 60)
        for way in (solver.continuation, solver.one_by_one):
            np.testing.assert_allclose(way(unit).value, high.value, rtol=1e-7)


def test_short_rows_of_long_sparse_tables_need_no_search_one_by_one(monkeypatch):
    # all of the tolerance falls on the few rows with an entry in the same columns, and
    # their losses are far from quadratic there: the joint Newton method alone stalls
    rng = np.random.default_rng(0)
    X = csr_array(rng.random((4000, 60)) * (rng.random((4000, 60)) < 0.01))
    y = X @ rng.normal(size=60) + rng.logistic(size=4000) > 0
    audit = RashomonClassifier(LogisticRegression(C=1e3), epsilon=0.03)
    dense = audit.fit(X.toarray(), y).decision_range(X[:40].toarray())
    monkeypatch.setattr(_base, "LARGEST_CELLS", 0)
    monkeypatch.delattr(SparseMaximiser, "one_by_one")
    monkeypatch.delattr(Maximiser, "one_by_one")
    followed, path = [], SparseMaximiser.continuation
    monkeypatch.setattr(
        SparseMaximiser,
        "continuation",
        lambda self, V: followed.append(len(V)) or path(self, V),
    )
    bounds = audit.fit(X, y).decision_range(X[:40])
    assert followed and audit.hessian_ is None
    audit._set.level_set.__dict__["metric"] = None  # as with too many columns
    np.testing.assert_allclose(audit.decision_range(X[:5]), bounds[:5], rtol=1e-6)
    np.testing.assert_allclose(bounds, dense, atol=1e-6 * np.ptp(dense))


def test_a_table_of_three_thousand_columns_is_never_made_dense():
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(np.arange(200), 12), rng.integers(0, 3000, 2400)
    X = csr_array((rng.random(2400) + 0.1, (rows, columns)), shape=(200, 3000))
    y = np.asarray(X[:, :1500].sum(axis=1) > X[:, 1500:].sum(axis=1)).ravel()
    model = RashomonClassifier(LogisticRegression(C=1.0), epsilon=0.05).fit(X, y)
    bounds = model.predict_proba_range(X[:20])
    p = model.predict_proba(X[:20])[:, 1]
    assert (bounds[:, 0] < p).all() and (p < bounds[:, 1]).all()
    coef, intercept = model.boundary_models(X[:1])
    f = X @ coef[0, 1] + intercept[0, 1]
    total = np.mean(np.logaddexp(0, f) - y * f) + coef[0, 1] @ coef[0, 1] / 400
    assert total - model.objective_ == pytest.approx(model.epsilon_, rel=1e-3)


# --- files and refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["huber", "lasso", "quantile", "multinomial", "sparse"]
)
def test_a_saved_audit_answers_the_same(name, tmp_path, monkeypatch):
    if name == "sparse":
        monkeypatch.setattr(_base, "LARGEST_DENSE", 2)
        X, y = cancer(columns=4)
        model, X = RashomonClassifier().fit(csr_array(X), y), csr_array(X)
    else:
        estimator, load = CASES[name]
        X, y = load()
        model = audit(estimator, (X, y))
    want = model.decision_range(X[:6])
    model.save(tmp_path / "audit")
    for again in (
        type(model).load(tmp_path / "audit"),
        pickle.loads(pickle.dumps(model)),
    ):
        np.testing.assert_array_equal(again.decision_range(X[:6]), want)


@pytest.mark.parametrize(
    ("estimator", "word"),
    [
        (SVC(), "one of LogisticRegression.*no coefficients"),
        (SGDClassifier("perceptron"), "supported losses are"),
        (LinearSVC(multi_class="crammer_singer"), "crammer_singer"),
        (OneVsRestClassifier(SVC()), "one of LogisticRegression"),
        (logistic_regression(l1_ratio=1.0, solver="saga"), "OneVsRestClassifier"),
    ],
)
def test_what_cannot_be_audited_is_named(estimator, word):
    X, y = iris()
    with pytest.raises(ValueError, match=word):
        RashomonClassifier(estimator).fit(X, y)


def test_regressions_that_cannot_be_audited():
    X, y = diabetes()
    cases = [(TweedieRegressor(power=3), "not convex")]
    cases += [(TweedieRegressor(power=0, link="log"), "not convex")]
    cases += [(MultiTaskLasso(), r"one of Ridge.*QuantileRegressor")]
    for estimator, match in cases:
        with pytest.raises(ValueError, match=match):
            RashomonRegressor(estimator).fit(X, y)
    with pytest.raises(ValueError, match="positive=True"):
        RashomonRegressor(Lasso(positive=True)).fit(X, y)
    with pytest.raises(ValueError, match="needs a likelihood"):
        RashomonRegressor(HuberRegressor(max_iter=1000), epsilon_type="profile").fit(
            X, y
        )
    fitted = PoissonRegressor().fit(X, y)
    with pytest.raises(ValueError, match="y must be non-negative"):
        RashomonRegressor(FrozenEstimator(fitted)).fit(X, -y)
    fitted = GammaRegressor().fit(X, y)
    with pytest.raises(ValueError, match="y must be positive"):
        RashomonRegressor(FrozenEstimator(fitted)).fit(X, -y)


def test_separable_data_without_a_penalty_are_named():
    X, y = iris()
    free = LogisticRegression(C=np.inf, max_iter=50)
    with pytest.raises(ValueError, match=r"classes are separable.*no penalty"):
        RashomonClassifier(free).fit(X[:, :3] + 3 * y[:, None], y)
    X, y = cancer()
    X[:, 0] = y
    with pytest.raises(ValueError, match="separable"):
        RashomonClassifier(LinearSVC(), level="loss").fit(X, y)
    X, y = counts("poisson")
    X[:, 0] = y == 0
    with pytest.raises(ValueError, match="zero counts are separable"):
        RashomonRegressor(PoissonRegressor(alpha=0.0)).fit(X, y)


def test_questions_for_two_classes_are_named(flowers):
    model, X, _ = flowers
    for question in (
        model.boundary_models,
        model.range_error,
        lambda X: model.profile(X, [0.1]),
    ):
        with pytest.raises(ValueError, match="for two classes"):
            question(X)
    with pytest.raises(ValueError, match="threshold is for two classes"):
        model.conflicts(X, threshold=0.3)


def test_a_refit_forgets_the_classes():
    model = RashomonClassifier(LinearSVC(C=0.1)).fit(*iris())
    with pytest.raises(ValueError, match="audits in estimators_"):
        model._set.level_set
    X, y = cancer()
    model.fit(X, y)
    assert model.estimators_ is None
    np.testing.assert_array_equal(
        model.decision_range(X),
        RashomonClassifier(LinearSVC(C=0.1)).fit(X, y).decision_range(X),
    )
    model.fit(*iris())
    assert model.decision_range(iris()[0]).shape == (150, 3, 3, 2)


def test_the_display_of_models_without_probabilities():
    pytest.importorskip("matplotlib")
    X, y = cancer()
    model = RashomonClassifier(LinearSVC(C=0.1)).fit(X, y)
    display = RashomonRangeDisplay.from_estimator(model, X)
    assert display.threshold == 0 and display.name == "Linear predictor of 1"
    np.testing.assert_array_equal(display.low, model.decision_range(X)[:, 0])
    with pytest.raises(ValueError, match="two classes"):
        RashomonRangeDisplay.from_estimator(
            RashomonClassifier().fit(*iris()), iris()[0]
        )


def test_other_columns_than_at_fit():
    pd = pytest.importorskip("pandas")
    X, y = counts("poisson")
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = RashomonRegressor(PoissonRegressor()).fit(frame, y)
    for wrong in (frame[["a", "b", "c"]], frame[["b", "a", "c", "d"]]):
        with pytest.raises(ValueError, match="feature names"):
            model.predict_range(wrong)


def test_wide_sparse_tables_have_limits(monkeypatch):
    for module in (_base, _scaling):
        monkeypatch.setattr(module, "LARGEST_DENSE", 2)
    X, y = cancer(columns=4)
    sparse = logistic_regression(l1_ratio=1.0, solver="liblinear")
    with pytest.raises(ValueError, match="smooth losses"):
        RashomonClassifier(sparse).fit(csr_array(X), y)
