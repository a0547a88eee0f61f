"""Inputs on which a search once answered wrongly, or in silence."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression, MultiTaskLasso, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    PredefinedSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale

from skdiff.linear_model import WeightedRidge
from skdiff.model_selection import (
    Continuous,
    GradientSearchCV,
    InnerProblem,
    check_hypergradient,
    inner_problem,
)

ALPHA = {"alpha": Continuous(1e-3, 1e4)}


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


class OtherRidge(Ridge):
    """Another model of the same name for its penalty."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(0 * X, y)


class SameRidge(Ridge):
    """Only the name differs."""


class OtherWeighted(WeightedRidge):
    """Predicts something else."""

    def predict(self, X):
        return 0 * super().predict(X)


@pytest.mark.parametrize("model", [MultiTaskLasso(), OtherRidge(), OtherWeighted()])
def test_a_subclass_that_is_another_model_is_refused(model):
    with pytest.raises(TypeError, match=f"{type(model).__name__} is a subclass of"):
        inner_problem(model)


def test_a_subclass_that_is_the_same_model_is_searched(diabetes):
    found = GradientSearchCV(SameRidge(), ALPHA, cv=3).fit(*diabetes)
    same = GradientSearchCV(Ridge(), ALPHA, cv=3).fit(*diabetes)
    assert found.best_params_ == same.best_params_


def test_a_lower_valley_beside_a_bound_is_found(diabetes):
    X, y = diabetes
    cv = PredefinedSplit(np.repeat([-1, 0], [300, len(y) - 300]))
    found = GradientSearchCV(Ridge(), ALPHA, cv=cv).fit(X, y)
    assert found.best_params_["alpha"] == pytest.approx(59.7, rel=2e-3)
    assert found.best_score_ == pytest.approx(-2781.144, abs=1e-2)
    assert found.n_iter_ <= 25


def test_never_worse_than_a_grid_on_small_subsets(diabetes):
    X, y = diabetes
    grid = {"alpha": np.geomspace(1e-3, 1e4, 30)}
    for seed in range(6):
        for n in (15, 20, 30, 50, 80):
            rows = np.random.default_rng(seed).permutation(len(y))[: 2 * n]
            cv = PredefinedSplit(np.repeat([-1, 0], n))
            ours = GradientSearchCV(Ridge(), ALPHA, cv=cv, refit=False)
            theirs = GridSearchCV(
                Ridge(), grid, cv=cv, scoring="neg_mean_squared_error", refit=False
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                ours.fit(X[rows], y[rows])
            theirs.fit(X[rows], y[rows])
            worse = theirs.best_score_ - ours.best_score_
            assert worse <= 1e-4 * abs(theirs.best_score_), (seed, n)
            assert ours.n_iter_ <= 25


def loose_table():
    """Classes that a line separates: a loose tolerance stops far from the minimum."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 40))
    return X, (X[:, 0] + 0.1 * rng.normal(size=120) > 0).astype(int)


def test_what_is_reported_is_what_is_refitted():
    X, y = loose_table()
    search = GradientSearchCV(
        LogisticRegression(tol=0.5), {"C": Continuous(1e2, 1e5)}, cv=KFold(3)
    )
    with pytest.warns(ConvergenceWarning, match=r"stops at tol=0\.5"):
        search.fit(X, y)
    again = cross_val_score(
        search.best_estimator_, X, y, cv=KFold(3), scoring="neg_log_loss"
    )
    assert search.best_score_ == pytest.approx(again.mean(), rel=1e-9)
    results = search.cv_results_
    assert results["mean_test_score"][search.best_index_] == search.best_score_


def test_columns_of_folds_are_matched_by_name():
    rng = np.random.default_rng(0)
    levels, share = list("abcdef"), [0.4, 0.3, 0.2, 0.08, 0.01, 0.01]
    X = pd.DataFrame({"c": rng.choice(levels, 200, p=share), "z": rng.normal(size=200)})
    X.loc[0, "c"], X.loc[1, "c"] = "e", "f"  # in one fold's validation rows only
    X.loc[2:, "c"] = X.loc[2:, "c"].replace({"e": "a", "f": "a"})
    y = 2.0 * (X["c"] == "a") + X["z"] + rng.normal(size=200)
    encode = ColumnTransformer(
        [
            ("c", OneHotEncoder(handle_unknown="ignore"), ["c"]),
            ("z", "passthrough", ["z"]),
        ]
    )
    search = GradientSearchCV(
        make_pipeline(encode, WeightedRidge()),
        {"weightedridge__alpha": Continuous(1e-2, 1e3, per="feature")},
        cv=KFold(4),
    )
    assert check_hypergradient(search, X, y) < 1e-5
    search.fit(X, y)
    alpha = search.best_params_["weightedridge__alpha"]
    assert alpha.shape == (len(search.best_estimator_[0].get_feature_names_out()),)
    # the same penalty, written by hand, has the score of that row
    again = cross_val_score(
        make_pipeline(
            ColumnTransformer(
                [("c", OneHotEncoder(categories=[levels]), ["c"]),
                 ("z", "passthrough", ["z"])]
            ),
            WeightedRidge(alpha),
        ),
        X, y, cv=KFold(4), scoring="neg_mean_squared_error",
    )  # fmt: skip
    assert search.best_score_ == pytest.approx(again.mean(), rel=1e-6)


def test_transformed_targets(diabetes):
    X, y = diabetes
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), Ridge()), func=np.log1p, inverse_func=np.expm1
    )
    interval = {"regressor__ridge__alpha": Continuous(1e-1, 1e5)}
    search = GradientSearchCV(model, interval, cv=4)
    assert check_hypergradient(search, X, y) < 1e-6
    search.fit(X, y)
    again = cross_val_score(
        search.best_estimator_, X, y, cv=4, scoring="neg_mean_squared_error"
    )
    assert search.best_score_ == pytest.approx(again.mean(), rel=1e-9)
    inside = make_pipeline(
        StandardScaler(),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    )
    interval = {"transformedtargetregressor__regressor__alpha": Continuous(1e-1, 1e4)}
    found = GradientSearchCV(inside, interval, cv=4).fit(X, y)
    plain = GradientSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": Continuous(1e-1, 1e4)},
        cv=4,
    ).fit(X, y)
    # a ridge does not depend on the unit of its target
    assert found.best_score_ == pytest.approx(plain.best_score_, rel=1e-6)


def test_weights_of_a_transformed_target_reach_the_last_step(diabetes):
    X, y = diabetes
    weight = np.repeat([1.0, 2.0], [200, len(y) - 200])
    model = TransformedTargetRegressor(make_pipeline(Ridge()), func=None)
    search = GradientSearchCV(model, {"regressor__ridge__alpha": Continuous(1e-1, 1e4)})
    search.fit(X, y, ridge__sample_weight=weight)
    plain = GradientSearchCV(
        make_pipeline(Ridge()), {"ridge__alpha": Continuous(1e-1, 1e4)}
    )
    plain.fit(X, y, ridge__sample_weight=weight)
    assert search.best_score_ == pytest.approx(plain.best_score_, rel=1e-9)


class Mean(Ridge):
    """A ridge of its own."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


class MeanProblem(InnerProblem):
    """It knows no weights; and a method named gradient of its own."""

    parameters = {"alpha": (None,)}

    def _hessian(self, theta):
        return self.X.T @ self.X + theta["alpha"] * np.eye(self.X.shape[1])

    def solve(self, theta, w0, tol):
        return np.linalg.solve(self._hessian(theta), self.X.T @ self.y), 1

    def solve_hessian(self, w, theta, rhs, tol):
        return np.linalg.solve(self._hessian(theta), rhs)

    def cross(self, w, theta, q):
        return {"alpha": w @ q}

    def predict(self, w, X):
        return X @ w

    def gradient(self, w, theta):
        return self._hessian(theta) @ w - self.X.T @ self.y


inner_problem.register(Mean, MeanProblem)


@pytest.mark.parametrize("solver", ["auto", "maid", "hoag"])
def test_a_custom_problem_without_certificates_takes_every_solver(diabetes, solver):
    X, y = diabetes
    found = GradientSearchCV(
        Mean(fit_intercept=False), ALPHA, cv=3, solver=solver, max_iter=15
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(X, y - y.mean())
    assert np.isfinite(found.best_score_)


class WrongProblem(MeanProblem):
    """Differentiates well what is not the model."""

    def predict(self, w, X):
        return 2 * (X @ w)


class Wrong(Ridge):
    """A ridge of its own."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


inner_problem.register(Wrong, WrongProblem)


def test_the_check_compares_with_own_fits(diabetes):
    X, y = diabetes
    for model, right in ((Mean, True), (Wrong, False)):
        search = GradientSearchCV(model(fit_intercept=False), ALPHA, cv=3)
        assert (check_hypergradient(search, X, y - y.mean()) < 1e-2) is right


def test_weights_are_never_ignored(diabetes):
    X, y = diabetes
    search = GradientSearchCV(Mean(fit_intercept=False), ALPHA, cv=3)
    with pytest.raises(ValueError, match="does not take sample_weight into account"):
        search.fit(X, y, sample_weight=np.ones(len(y)))


def test_a_score_that_is_never_a_number_raises(diabetes):
    search = GradientSearchCV(Ridge(), ALPHA, cv=3, scoring=lambda e, X, y: np.nan)
    with pytest.raises(ValueError, match="NaN"):
        search.fit(*diabetes)


def test_a_pair_of_numbers_is_no_list(diabetes):
    search = GradientSearchCV(Ridge(), {"alpha": (1e-3, 1e3)})
    with pytest.raises(ValueError, match=r"Continuous\(0\.001, 1000\.0\)"):
        search.fit(*diabetes)


def test_a_time_limit_keeps_the_best_so_far(diabetes):
    search = GradientSearchCV(Ridge(), ALPHA, cv=3, time_limit=1e-9)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        search.fit(*diabetes)
    assert search.stopped_ == "time" and search.n_iter_ == 1
    assert search.best_estimator_.predict(diabetes[0]).shape == (442,)
    full = GradientSearchCV(Ridge(), ALPHA, cv=3, time_limit=1e6).fit(*diabetes)
    assert full.stopped_ == "converged" and full.converged_


def test_an_interrupt_keeps_the_best_so_far(diabetes):
    count = []

    def loss(y, raw):
        count.append(time.monotonic())
        if len(count) == 10:
            raise KeyboardInterrupt
        r = raw - y
        return float(np.mean(r**2)), 2 * r / len(r)

    search = GradientSearchCV(Ridge(), ALPHA, cv=3, criterion=loss)
    with pytest.warns(UserWarning, match="interrupted"):
        search.fit(*diabetes)
    assert search.stopped_ == "interrupted" and search.n_iter_ == 3


@pytest.mark.parametrize("read_only", [False, True])
def test_a_callers_sparse_rows_are_left_alone(read_only):
    X, y = make_regression(60, 5, random_state=0)
    C = sparse.csr_matrix(np.where(np.abs(X) > 0.7, X, 0.0))
    parts = np.repeat(C.data / 2, 2), np.repeat(C.indices, 2), C.indptr * 2
    twice = sparse.csr_matrix(parts, shape=C.shape)
    if read_only:
        for part in (twice.data, twice.indices, twice.indptr):
            part.setflags(write=False)
    found = WeightedRidge().fit(twice, y)
    assert twice.nnz == 2 * C.nnz
    np.testing.assert_allclose(found.coef_, WeightedRidge().fit(C, y).coef_)
    search = GradientSearchCV(Ridge(), ALPHA, cv=3).fit(twice, y)
    assert twice.nnz == 2 * C.nnz and search.n_iter_ > 3


def test_a_lasso_with_two_valleys_is_no_worse_than_a_grid():
    X, y = load_diabetes(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), Lasso())
    found = GradientSearchCV(pipeline, {"lasso__alpha": Continuous(1e-3, 100)}, cv=5)
    found.fit(X, y)
    # the criterion rises by 2 in 3000 between the valleys at .75 and at .08
    grid = {"lasso__alpha": np.geomspace(1e-3, 100, 31)}
    peer = GridSearchCV(pipeline, grid, cv=5, scoring="neg_mean_squared_error").fit(
        X, y
    )
    assert found.best_score_ >= peer.best_score_
    assert found.best_params_["lasso__alpha"] < 0.3


def test_a_scan_ends_before_the_expensive_end():
    # half of the rows support the model at the low end, where a solve costs most
    X, y = make_regression(120, 240, n_informative=10, noise=40.0, random_state=0)
    search = GradientSearchCV(Lasso(), {"alpha": Continuous(1e-4, 100)}, cv=3)
    search.fit(X, y / y.std())
    visited = search.cv_results_["param_alpha"].astype(float)
    assert visited.min() > 2e-4 and search.n_iter_ <= 25
    lower = np.array([visited[visited < search.best_params_["alpha"]].min()])
    scores = search.cv_results_["mean_test_score"]
    assert scores[visited == lower][0] < search.best_score_


def test_an_inner_problem_names_what_it_has_not_got():
    class Half(InnerProblem):
        parameters = {"alpha": (None,)}

        def solve(self, theta, w0, tol):
            return np.zeros(1), 1

    with pytest.raises(TypeError, match=r"abstract method.* predict"):
        Half(Mean())

    class Whole(Half):
        def predict(self, w, X):
            return np.zeros(len(X))

    with pytest.raises(TypeError, match="Whole gives no solve_hessian, which its hyp"):
        Whole(Mean()).solve_hessian(np.zeros(1), {}, np.zeros(1), 1e-8)
    with pytest.raises(TypeError, match="Whole gives no cross, which its hyper"):
        Whole(Mean()).cross(np.zeros(1), {}, np.zeros(1))
    with pytest.raises(TypeError, match="MeanProblem gives no convexity"):
        MeanProblem(Mean()).convexity(np.zeros(1), {"alpha": 1.0}, 0.0)
