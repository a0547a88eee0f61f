"""Ranges over the Rashomon set: closed forms, referees, invariants, faults."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, xlogy
from scipy.stats import chi2
from sklearn.compose import make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdiff._convex._losses import Logistic
from skdiff.multiplicity import (
    RashomonClassifier,
    RashomonRangeDisplay,
    RashomonRegressor,
    multiplicity_report,
)
from skdiff.multiplicity._sets._level_set import LevelSet
from skdiff.multiplicity._sets._maximiser import Maximiser
from skdiff.multiplicity._sets._problem import Problem
from skdiff.multiplicity._sets._statement import state_problem
from tests._versions import logistic_regression_cv

NO_PENALTY = {"C": np.inf}


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def audit(cancer):
    return RashomonClassifier().fit(*cancer)


def objective(X, y, coef, intercept, alpha, weight=None):
    """Mean log loss plus penalty, written again."""
    f = X @ coef + intercept
    return (
        np.average(np.logaddexp(0, f) - y * f, weights=weight) + alpha * coef @ coef / 2
    )


# --- known answers ------------------------------------------------------------------


def test_breast_cancer_has_its_known_figures(audit, cancer):
    X, _ = cancer
    assert audit.objective_ == pytest.approx(0.0663602, abs=5e-8)
    assert audit.conflicts(X).sum() == 16
    assert np.diff(audit.predict_proba_range(X)).mean() == pytest.approx(
        0.04059, abs=5e-6
    )
    assert audit.ambiguity(X) == 16 / 569


@pytest.mark.parametrize("solver", ["auto", "cvxpy"])
def test_an_intercept_alone_is_a_divergence_ball(solver):
    # 30 % positives without penalty: the ends solve KL(0.3 || p) = 0.01
    y = np.repeat([1, 0], [30, 70])
    model = RashomonClassifier(
        LogisticRegression(**NO_PENALTY),
        epsilon=0.01,
        epsilon_type="absolute",
        solver=solver,
    ).fit(np.zeros((100, 1)), y)
    low, high = model.predict_proba_range([[0.0]])[0]
    np.testing.assert_allclose([low, high], [0.2381382, 0.3671623], atol=2e-7)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_ranges_are_the_ellipsoid(alpha, weighted):
    X, y = load_diabetes(return_X_y=True)
    X = X * 20 + 3  # far from centred
    weight = np.random.default_rng(0).uniform(0.2, 3, len(y)) if weighted else None
    s = np.ones(len(y)) if weight is None else weight
    model = RashomonRegressor(Ridge(alpha=alpha), epsilon=0.02).fit(
        X, y, sample_weight=weight
    )
    X1 = np.column_stack([X, np.ones(len(X))])
    H = (X1.T * s) @ X1 / s.sum() + alpha / s.sum() * np.diag([1.0] * 10 + [0.0])
    w = np.linalg.solve(H, X1.T @ (s * y) / s.sum())
    best = (s @ (y - X1 @ w) ** 2 + alpha * w[:10] @ w[:10]) / s.sum() / 2
    half = np.sqrt(
        2 * 0.02 * best * np.einsum("ij,ij->i", X1, np.linalg.solve(H, X1.T).T)
    )
    want = np.column_stack([X1 @ w - half, X1 @ w + half])
    np.testing.assert_allclose(model.predict_range(X), want, rtol=1e-9)
    np.testing.assert_allclose(model.hessian_, H, rtol=1e-9, atol=1e-12)
    assert model.objective_ == pytest.approx(best, rel=1e-10)
    half = np.sqrt(2 * 0.02 * best * np.diag(np.linalg.inv(H)))
    want = np.column_stack([w - half, w + half])
    np.testing.assert_allclose(model.coef_range(), want, rtol=1e-8)
    np.testing.assert_allclose(
        model.functional_range(np.eye(11)), model.coef_range(), rtol=1e-10
    )


def test_profile_ranges_are_profile_likelihood_intervals():
    X, y = make_classification(300, 4, n_redundant=0, flip_y=0.2, random_state=0)
    model = RashomonClassifier(
        LogisticRegression(**NO_PENALTY), epsilon=0.05, epsilon_type="profile"
    ).fit(X, y)
    n, bounds = len(y), model.coef_range()
    cut = chi2.isf(0.05, 1) / 2

    def profile(k, value):
        """Log likelihood lost when coefficient k is held at a value."""
        kept = np.delete(X, k, axis=1)
        fixed = X[:, k] * value
        Z = np.column_stack([kept, np.ones(n)])
        w = np.zeros(4)
        for _ in range(50):
            p = expit(Z @ w + fixed)
            w -= np.linalg.solve((Z.T * (p * (1 - p))) @ Z, Z.T @ (p - y))
        f = Z @ w + fixed
        return np.sum(np.logaddexp(0, f) - y * f) - n * model.objective_

    for k in range(4):
        centre = model.coef_[0, k]
        high = brentq(lambda v, k=k: profile(k, v) - cut, centre, centre + 3)
        low = brentq(lambda v, k=k: profile(k, v) - cut, centre - 3, centre)
        np.testing.assert_allclose(bounds[k], [low, high], rtol=1e-7)


# --- referees -----------------------------------------------------------------------


def test_fifty_rows_agree_with_cvxpy(cancer):
    X, y = cancer[0][:250], cancer[1][:250]
    some = np.random.default_rng(0).choice(len(X), 50, replace=False)
    model = RashomonClassifier(epsilon=0.05).fit(X, y)
    fast, V = model.decision_range(X[some]), model._query(X[some])
    level_set = model._set.level_set
    statement, w, v = state_problem(
        level_set.problem, level_set.objective + model._set.budget
    )
    compared = 0
    for k, side in [(k, side) for k in range(50) for side in (0, 1)]:
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
            off = V[k] @ w.value - fast[k, side]
            assert abs(off) < 1e-6 * np.diff(fast[k])
    assert compared >= 50


def test_regressor_agrees_with_cvxpy():
    X, y = load_diabetes(return_X_y=True)
    fast, slow = (
        RashomonRegressor(Ridge(0.1), solver=solver).fit(X, y).predict_range(X[:8])
        for solver in ("auto", "cvxpy")
    )
    np.testing.assert_allclose(fast, slow, atol=1e-6 * np.diff(slow).max())


def test_two_coefficients_agree_with_a_grid():
    X, y = make_classification(
        80, 2, n_informative=2, n_redundant=0, flip_y=0.2, random_state=1
    )
    model = RashomonClassifier(
        LogisticRegression(C=0.5, fit_intercept=False), epsilon=0.1
    ).fit(X, y)
    span = model.coef_range()
    axes = [np.linspace(*end, 401) for end in span]
    W = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    F = W @ X.T
    L = np.mean(np.logaddexp(0, F) - y * F, axis=1) + (W**2).sum(1) / 2 / 0.5 / len(y)
    inside = F[model.objective_ + model.epsilon_ >= L][:, :20]
    want = np.column_stack([inside.min(0), inside.max(0)])
    got = model.decision_range(X[:20])
    assert (got[:, 0] <= want[:, 0] + 1e-9).all() and (
        got[:, 1] >= want[:, 1] - 1e-9
    ).all()
    np.testing.assert_allclose(got, want, atol=0.02 * np.diff(want).max())


# --- what must hold -----------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.01, 0.5])
def test_boundary_models_lie_on_the_boundary_and_attain_the_range(cancer, epsilon):
    X, y = cancer
    model = RashomonClassifier(epsilon=epsilon).fit(X, y)
    coef, intercept = model.boundary_models(X[:60])
    bounds = model.decision_range(X[:60])
    for i in range(60):
        for side in (0, 1):
            w, b = coef[i, side], intercept[i, side]
            excess = objective(X, y, w, b, 1 / 569) - model.objective_
            assert excess == pytest.approx(model.epsilon_, rel=1e-6)
            assert X[i] @ w + b == pytest.approx(bounds[i, side], rel=1e-7, abs=1e-7)
            # the gradient is parallel to the row: the optimality condition itself
            p = expit(X @ w + b)
            slope = np.append(X.T @ (p - y) / 569 + w / 569, np.mean(p - y))
            row = np.append(X[i], 1.0)
            cosine = slope @ row / np.linalg.norm(slope) / np.linalg.norm(row)
            assert abs(cosine) == pytest.approx(1, abs=1e-6)


def test_the_proven_error_is_small_and_covers_the_true_one(cancer):
    X, y = cancer
    rough = RashomonClassifier(tol=5e-3, epsilon=0.05).fit(X, y)
    exact = RashomonClassifier(tol=1e-9, epsilon=0.05).fit(X, y)
    error = rough.range_error(X)
    true = np.abs(rough.decision_range(X) - exact.decision_range(X))
    assert (true <= error + 1e-9).all()
    width = np.diff(exact.decision_range(X))
    assert (
        RashomonClassifier(epsilon=0.05).fit(X, y).range_error(X) < 0.02 * width
    ).all()


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(12, 60),
    d=st.integers(1, 5),
    C=st.sampled_from([1e-2, 1.0, 100.0]),
    epsilon=st.sampled_from([1e-4, 0.01, 0.3, 5.0]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_ranges_hold_the_baseline_grow_with_epsilon_and_are_attained(
    seed, n, d, C, epsilon
):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-3, 3, d)
    y = (X[:, 0] / np.std(X[:, 0]) + rng.normal(size=n) > 0).astype(int)
    y[:2] = [0, 1]
    small, large = (
        RashomonClassifier(
            LogisticRegression(C=C), epsilon=e, epsilon_type="absolute"
        ).fit(X, y)
        for e in (epsilon, 2 * epsilon)
    )
    f = small.decision_function(X)
    inner, outer = small.decision_range(X), large.decision_range(X)
    slack = 1e-7 * (1 + np.abs(outer))
    assert (inner[:, 0] <= f + slack[:, 0]).all() and (
        f <= inner[:, 1] + slack[:, 1]
    ).all()
    assert (outer[:, 0] <= inner[:, 0] + slack[:, 0]).all()
    assert (outer[:, 1] >= inner[:, 1] - slack[:, 1]).all()
    coef, intercept = small.boundary_models(X[:3])
    for i in range(3):
        excess = (
            objective(X, y, coef[i, 1], intercept[i, 1], 1 / C / n) - small.objective_
        )
        assert excess == pytest.approx(epsilon, rel=1e-5)


def test_ranges_shrink_like_the_root_of_epsilon(cancer):
    X, y = cancer
    widths = [
        np.diff(
            RashomonClassifier(epsilon=e, epsilon_type="absolute")
            .fit(X, y)
            .decision_range(X[:20])
        )
        for e in (1e-10, 1e-8)
    ]
    np.testing.assert_allclose(widths[1] / widths[0], 10, rtol=1e-3)


def test_columns_may_be_rescaled_when_nothing_is_penalised():
    X, y = make_classification(200, 5, flip_y=0.2, random_state=2)
    mixed = X @ np.random.default_rng(0).normal(size=(5, 5)) + 7
    plain, other = (
        RashomonClassifier(LogisticRegression(**NO_PENALTY, max_iter=5000))
        .fit(Z, y)
        .decision_range(Z)
        for Z in (X, mixed)
    )
    np.testing.assert_allclose(plain, other, atol=1e-6)


@pytest.mark.parametrize("k", [-8, -4, 4, 8])
def test_units_of_a_penalised_table_do_not_matter(k):
    X, y = make_classification(150, 4, flip_y=0.2, random_state=3)
    unit = 10.0**k
    plain = RashomonClassifier(LogisticRegression(C=1.0)).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scaled = RashomonClassifier(LogisticRegression(C=1.0 / unit**2)).fit(
            X * unit, y
        )
    np.testing.assert_allclose(
        scaled.decision_range(X * unit), plain.decision_range(X), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(
        scaled.coef_range()[:4] * unit, plain.coef_range()[:4], rtol=1e-6
    )


def test_duplicated_rows_and_weights_are_one_thing(cancer):
    X, y = cancer
    twice = np.r_[np.arange(569), np.arange(569)]
    weight = np.random.default_rng(0).integers(0, 3, 569)
    repeated = np.repeat(np.arange(569), weight)
    plain = RashomonClassifier(LogisticRegression(C=2.0)).fit(X, y)
    double = RashomonClassifier(LogisticRegression(C=1.0)).fit(X[twice], y[twice])
    np.testing.assert_allclose(
        plain.decision_range(X), double.decision_range(X), rtol=1e-7
    )
    weighted = RashomonClassifier().fit(X, y, sample_weight=weight)
    rows = RashomonClassifier().fit(X[repeated], y[repeated])
    np.testing.assert_allclose(
        weighted.decision_range(X), rows.decision_range(X), rtol=1e-7
    )


def test_flipped_labels_mirror_the_ranges(cancer, audit):
    X, y = cancer
    flipped = RashomonClassifier().fit(X, 1 - y).decision_range(X)
    np.testing.assert_allclose(flipped[:, ::-1], -audit.decision_range(X), rtol=1e-6)


def test_rows_and_columns_may_be_permuted(cancer, audit):
    X, y = cancer
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(569), rng.permutation(30)
    other = RashomonClassifier().fit(X[rows][:, columns], y[rows])
    np.testing.assert_allclose(
        other.decision_range(X[:, columns]), audit.decision_range(X), rtol=1e-6
    )


@pytest.mark.parametrize("C", [1e2, 1e4])
@pytest.mark.parametrize("epsilon", [0.01, 0.5])
def test_nearly_separable_data_are_solved(cancer, C, epsilon):
    X, y = cancer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = RashomonClassifier(
            LogisticRegression(C=C, max_iter=20_000), epsilon=epsilon
        ).fit(X, y)
    coef, intercept = model.boundary_models(X[:12])
    f = np.einsum("id,isd->is", X[:12], coef) + intercept
    np.testing.assert_allclose(f, model.decision_range(X[:12]), rtol=1e-6)
    for w, b in zip(coef.reshape(-1, 30), intercept.ravel(), strict=True):
        excess = objective(X, y, w, b, 1 / C / 569) - model.objective_
        assert excess == pytest.approx(model.epsilon_, rel=1e-5)


def test_the_slow_ways_give_the_same_answer(cancer, audit):
    X, y = cancer
    s = np.full(569, 1 / 569)
    X1 = np.column_stack([X, np.ones(569)])
    penalty = np.append(np.full(30, 1 / 569), 0.0)
    problem = Problem(X1, y.astype(float), s, penalty, Logistic())
    level_set = LevelSet.at(problem, np.zeros(31))
    U, _ = level_set.whitened_directions(X1[:15])
    tau = np.sqrt(2 * 0.3 * level_set.objective)
    solver = Maximiser(level_set.data, tau, 1e-8, 60)
    fast = solver.both(U)[1].value
    np.testing.assert_allclose(solver.continuation(U).value, fast, rtol=1e-9)
    np.testing.assert_allclose(solver.one_by_one(U).value, fast, rtol=1e-8)


# --- settings -----------------------------------------------------------------------


def test_level_loss_holds_all_models_of_that_loss():
    X, y = make_classification(200, 3, n_redundant=0, flip_y=0.3, random_state=0)
    strong = LogisticRegression(C=0.01)
    model = RashomonClassifier(
        strong, level="loss", epsilon=0.01, epsilon_type="absolute"
    ).fit(X, y)
    w, b = model.coef_[0], model.intercept_[0]
    limit = objective(X, y, w, b, 0.0) + 0.01
    assert model.objective_ + model.epsilon_ == pytest.approx(limit, rel=1e-9)
    assert model.objective_ < objective(X, y, w, b, 0.0)
    bounds = model.decision_range(X)
    f = model.decision_function(X)
    assert ((bounds[:, 0] <= f) & (f <= bounds[:, 1])).all()
    coef, intercept = model.boundary_models(X[:5])
    for i in range(5):
        loss = objective(X, y, coef[i, 0], intercept[i, 0], 0.0)
        assert loss == pytest.approx(limit, rel=1e-6)


def test_epsilon_types_mean_what_they_say(cancer):
    X, y = cancer
    X = X[:, :4]

    def epsilon(kind, value, cls=RashomonClassifier, table=(X, y)):
        return cls(epsilon=value, epsilon_type=kind, random_state=0).fit(*table)

    assert epsilon("absolute", 0.02).epsilon_ == 0.02
    relative = epsilon("relative", 0.02)
    assert relative.epsilon_ == pytest.approx(0.02 * relative.objective_)
    want = chi2.isf(0.05, 5) / 2 / 569
    assert epsilon("lr", 0.05).epsilon_ == pytest.approx(want)
    one, two = (epsilon("cv", k).epsilon_ for k in (1.0, 2.0))
    assert two == pytest.approx(2 * one) and 0.001 < one < 0.1
    table = load_diabetes(return_X_y=True)
    ridge = epsilon("profile", 0.05, RashomonRegressor, table)
    want = ridge.objective_ * np.expm1(chi2.isf(0.05, 1) / 442)
    assert ridge.epsilon_ == pytest.approx(want)


def test_profile_is_the_width_at_each_tolerance(cancer, audit):
    X, y = cancer
    widths = audit.profile(X[:10], [0.01, 0.05])
    for width, epsilon in zip(widths, (0.01, 0.05), strict=True):
        other = RashomonClassifier(epsilon=epsilon).fit(X, y)
        np.testing.assert_allclose(
            width,
            np.diff(other.predict_proba_range(X[:10]))[:, 0],
            rtol=1e-6,
            atol=1e-12,
        )


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=0.1, class_weight="balanced"),
        LogisticRegression(solver="liblinear", intercept_scaling=2.0),
        LogisticRegression(fit_intercept=False),
        logistic_regression_cv(Cs=[0.1, 1.0], cv=3, scoring="accuracy"),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
)  # fmt: skip
def test_the_baseline_is_the_users_model(estimator, cancer):
    X, y = cancer
    X, names = X[:, :6], np.array(["no", "yes"])
    model = RashomonClassifier(estimator).fit(X, names[y])
    np.testing.assert_allclose(
        model.predict_proba(X), model.estimator_.predict_proba(X), atol=2e-3
    )
    assert list(model.classes_) == ["no", "yes"]


@pytest.mark.parametrize("estimator", [RidgeCV(), LinearRegression(), Ridge(2.0)])
def test_the_regression_baseline_is_the_users_model(estimator):
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(estimator).fit(X, y)
    np.testing.assert_allclose(model.predict(X), model.estimator_.predict(X), rtol=1e-8)
    np.testing.assert_allclose(model.coef_, model.estimator_.coef_, rtol=1e-7)
    assert model.intercept_ == pytest.approx(model.estimator_.intercept_)


def test_a_frozen_model_is_audited_as_it_is(cancer):
    X, y = cancer
    fitted = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10)).fit(X, y)
    for frozen in (
        FrozenEstimator(fitted),
        make_pipeline(fitted[0], FrozenEstimator(fitted[1])),
    ):
        model = RashomonClassifier(frozen).fit(X, y)
        np.testing.assert_allclose(model.coef_, fitted[1].coef_, atol=1e-5)
        assert model.conflicts(X).sum() == 16
    rough = LogisticRegression(C=1.0, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        rough.fit(X, y)
    with pytest.warns(ConvergenceWarning, match="above the best objective"):
        RashomonClassifier(FrozenEstimator(rough)).fit(X, y)


def test_a_pipeline_over_mixed_columns_of_a_frame():
    pd = pytest.importorskip("pandas")
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:, :4].assign(
        size=pd.cut(X["mean area"], 3, labels=["s", "m", "l"]).astype(str)
    )
    columns = make_column_transformer(
        (OneHotEncoder(), ["size"]), remainder=StandardScaler()
    )
    model = RashomonClassifier(make_pipeline(columns, LogisticRegression())).fit(X, y)
    assert model.coef_range().shape == (8, 2)
    table = model.report(X, y, groups=X["size"], epsilons=[0.01, 0.05])
    assert list(table["group"]) == ["all", "l", "m", "s"] * 2
    assert table["n"].iloc[1:4].sum() == 569
    row = table.iloc[0]
    assert row["conflict_ratio"] == model.ambiguity(X)
    assert row["ambiguity_0.1"] == model.ambiguity(X, 0.1)
    assert (
        row["conflict_ratio_low"] < row["conflict_ratio"] < row["conflict_ratio_high"]
    )
    assert row["loss"] < model.objective_
    assert (
        table["mean_width"].iloc[4:].to_numpy() > table["mean_width"].iloc[:4]
    ).all()
    with pytest.raises(ValueError, match="groups has 3 entries"):
        model.report(X, groups=["a", "b", "c"])
    again = multiplicity_report(make_pipeline(columns, LogisticRegression()), X, y)
    assert again["conflict_ratio"].iloc[0] == row["conflict_ratio"]


def test_abstention_and_thresholds_follow_predict(audit, cancer):
    X, _ = cancer
    labels = audit.predict(X, abstain=True, abstain_label="unsure")
    conflicts = audit.conflicts(X)
    assert (labels[conflicts] == "unsure").all()
    assert (labels[~conflicts] == audit.predict(X)[~conflicts]).all()
    assert audit.conflicts(X, threshold=0.9).sum() != conflicts.sum()
    coef, intercept = audit.boundary_models(X[conflicts])
    f = np.einsum("id,isd->is", X[conflicts], coef) + intercept
    assert ((f[:, 0] <= 0) & (f[:, 1] > 0)).all()


def test_it_feeds_a_pipeline_under_a_grid_search(cancer):
    X, y = cancer
    pipeline = make_pipeline(
        StandardScaler(), RashomonClassifier(), LogisticRegression()
    ).set_output(transform="default")
    search = GridSearchCV(
        pipeline,
        {"rashomonclassifier__epsilon": [0.01, 0.05]},
        cv=3,
        n_jobs=2,
        error_score="raise",
    ).fit(X, y)
    assert search.best_score_ > 0.95
    names = search.best_estimator_[1].get_feature_names_out()
    assert list(names) == ["prediction", "low", "high", "width"]


def test_unpenalised_directions_without_data_are_unbounded():
    X, y = load_diabetes(return_X_y=True)
    X = np.column_stack([X, X[:, 0]])  # a duplicate: only the sum is determined
    model = RashomonRegressor(LinearRegression()).fit(X, y)
    bounds = model.coef_range()
    assert np.isinf(bounds[[0, 10]]).all() and np.isfinite(bounds[1:10]).all()
    plain = RashomonRegressor(LinearRegression()).fit(X[:, :10], y)
    np.testing.assert_allclose(
        model.predict_range(X[:5]), plain.predict_range(X[:5, :10]), rtol=1e-8
    )
    odd = X[:1].copy()
    odd[0, 10] += 1.0
    assert np.isinf(model.predict_range(odd)).all()


def test_threads_change_nothing(cancer, audit):
    X, y = cancer
    threaded = RashomonClassifier(n_jobs=2).fit(X, y).decision_range(X)
    np.testing.assert_array_equal(threaded, audit.decision_range(X))


# --- refusals -----------------------------------------------------------------------


def separable():
    X = np.linspace(-1, 1, 40)[:, None]
    return X, (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    ("estimator", "arguments", "table", "word"),
    [
        (LogisticRegression(**NO_PENALTY), {}, separable(), "separable"),
        (SGDClassifier("perceptron"), {}, separable(), "supported losses"),
        (None, {"epsilon_type": "lr", "epsilon": 2.0}, separable(), "below 1"),
        (Ridge(), {}, separable(), "one of LogisticRegression, "),
        (None, {"epsilon_type": "cv"}, (np.eye(4), [0, 1, 0, 1]), "at least 10"),
    ],
)
def test_what_cannot_be_audited_is_refused(estimator, arguments, table, word):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=word):
            RashomonClassifier(estimator, **arguments).fit(*table)


def test_quasi_separation_is_found_too():
    X = np.array([[-1.0], [-1], [0], [0], [1], [1]])
    with pytest.raises(ValueError, match="separable"):
        RashomonClassifier(LogisticRegression(**NO_PENALTY)).fit(X, [0, 0, 0, 1, 1, 1])


def test_bad_regressions_are_refused():
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="positive=True"):
        RashomonRegressor(Ridge(positive=True)).fit(X, y)
    with pytest.raises(ValueError, match="must be, or be a Pipeline"):
        RashomonRegressor(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="not defined"):
        RashomonRegressor(LinearRegression()).fit(X[:5], y[:5])
    with pytest.raises(NotFittedError, match="frozen but not fitted"):
        RashomonRegressor(FrozenEstimator(Ridge())).fit(X, y)


def test_bad_questions_are_refused(audit, cancer):
    X, _ = cancer
    for threshold in (0, 1, "a", -1):
        with pytest.raises(ValueError, match="threshold must be"):
            audit.conflicts(X, threshold=threshold)
    with pytest.raises(ValueError, match="delta must be"):
        audit.ambiguity(X, delta=0)
    with pytest.raises(ValueError, match="V has 3 features"):
        audit.functional_range(np.ones((1, 3)))
    with pytest.raises(ValueError, match="epsilons must be positive"):
        audit.profile(X, [0.1, 0.0])
    with pytest.raises(ValueError, match="not seen in fit"):
        audit.report(X, np.full(569, 7))


def test_the_display_shows_the_numbers(audit, cancer):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    X, _ = cancer
    display = RashomonRangeDisplay.from_estimator(audit, X).plot()
    shown = display.frame()
    np.testing.assert_array_equal(
        shown[["low", "high"]].to_numpy(), audit.predict_proba_range(X)
    )
    assert len(display.line_.get_xdata()) == 569
    assert "16 of 569" in display.ax_.get_legend().get_texts()[-1].get_text()
    _, ax = plt.subplots()
    Xr, yr = load_diabetes(return_X_y=True)
    ridge = RashomonRegressor().fit(Xr, yr)
    assert RashomonRangeDisplay.from_estimator(ridge, Xr).plot(ax).ax_ is ax
    plt.close("all")


def test_multiplicity_grows_with_noise_and_in_the_minority():
    widths = {}
    for separation, noise in ((2.0, 0.0), (0.7, 0.0), (2.0, 0.3)):
        X, y = make_classification(
            600, 8, class_sep=separation, flip_y=noise, weights=[0.9], random_state=5
        )
        model = RashomonClassifier(
            make_pipeline(StandardScaler(), LogisticRegression())
        )
        width = np.diff(model.fit(X, y).predict_proba_range(X))[:, 0]
        widths[separation, noise] = width.mean()
        assert width[y == 1].mean() > width[y == 0].mean()
    assert widths[0.7, 0.0] > widths[2.0, 0.0]
    assert widths[2.0, 0.3] > widths[2.0, 0.0]


def test_entropy_of_the_intercept_is_the_objective():
    # a closed form of the best objective: the entropy of the class shares
    y = np.repeat([1, 0], [30, 70])
    model = RashomonClassifier(LogisticRegression(**NO_PENALTY)).fit(
        np.zeros((100, 1)), y
    )
    assert model.objective_ == pytest.approx(-(xlogy(0.3, 0.3) + xlogy(0.7, 0.7)))
