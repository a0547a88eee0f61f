"""Newton's method for many classes: factors of earlier steps, single precision."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, StratifiedKFold

from skdiff._convex._inner._logistic import MultinomialLogistic
from skdiff._convex._newton_multinomial import (
    Curvature,
    MultinomialProblem,
    Preconditioner,
    Rows,
    newton_multinomial,
    rough_inverse,
    softmax_loss,
    solve_exactly,
    with_penalty,
)
from skdiff.model_selection import Continuous, GradientSearchCV, check_hypergradient


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:500] / 16, y[:500]


def problem(X, y, **options):
    found = MultinomialLogistic(LogisticRegression(**options))
    return found.bind(X, y, X_val=X, classes=np.unique(y))


def curvature(X, y, lam, free=True, seed=0):
    A = np.column_stack([X, np.ones(len(X))])
    K = y.max() + 1
    rng = np.random.default_rng(seed)
    penalties = np.full((K, A.shape[1]), lam)
    penalties[:, -1] = 0.0 if free else lam
    Z = rng.normal(size=(K, len(y)))
    P = softmax_loss(Z, y)[1]
    return Curvature(Rows(A), rng.uniform(size=len(y)), P, penalties, free)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e2])
def test_the_solution_is_scikit_learns(digits, C):
    X, y = digits
    reference = LogisticRegression(C=C, tol=1e-9, solver="newton-cg", max_iter=1000)
    reference.fit(X, y)
    found = problem(X, y)
    assert found.preconditioner.rough
    w, _ = found.solve({"C": C}, None, 1e-8)
    z = X @ w[:-1] + w[-1]
    expected = reference.decision_function(X)
    np.testing.assert_allclose(
        z - z.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        atol=1e-4 * np.abs(expected).max(),
    )


@pytest.mark.parametrize("C", [1e-12, 1e-6, 1e6, 1e12])
def test_extreme_penalties_stay_finite(digits, C):
    X, y = digits
    found = problem(X, y)
    w, _ = found.solve({"C": C}, None, 1e-6)
    q = found.solve_hessian(w, {"C": C}, np.ones_like(w), 1e-6)
    assert np.isfinite(w).all()
    assert np.isfinite(q).all()


def test_a_start_far_away_changes_nothing(digits):
    X, y = digits
    found = problem(X, y)
    cold, _ = found.solve({"C": 1.0}, None, 1e-8)
    far, _ = found.solve(
        {"C": 1.0}, 5.0 * np.sin(np.arange(cold.size)).reshape(cold.shape), 1e-8
    )
    np.testing.assert_allclose(X @ far[:-1], X @ cold[:-1], atol=1e-5)


def test_the_product_is_that_of_the_matrix(digits):
    X, y = digits
    found = curvature(X, y, 0.1)
    U = np.random.default_rng(1).normal(size=found.lam.shape)
    H = with_penalty(found.loss_matrix(), found.lam)
    np.testing.assert_allclose(
        found.product(U).ravel(), H @ U.ravel(), rtol=1e-9, atol=1e-9
    )
    single = found.single.product(U.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found.product(U), rtol=1e-3, atol=1e-3)


def test_sparse_rows_give_the_products_of_dense_ones(digits):
    X, _ = digits
    dense, thin = Rows(X), Rows(sparse.csr_array(X))
    rng = np.random.default_rng(0)
    W, V = rng.normal(size=(10, X.shape[1])), rng.normal(size=(10, len(X)))
    np.testing.assert_allclose(dense.scores(W), thin.scores(W))
    np.testing.assert_allclose(dense.pull(V), thin.pull(V))


def test_a_system_is_solved_beyond_single_precision(digits):
    X, y = digits
    found = curvature(X, y, 1e-2)
    rough = Preconditioner(found.rows, 10)
    inverse, dtype = rough.inverse(found)
    assert dtype == np.float32
    b = np.random.default_rng(2).normal(size=found.lam.shape)
    x = solve_exactly(found, b, inverse, dtype, 1e-12)
    assert np.linalg.norm(found.product(x) - b) <= 1e-12 * np.linalg.norm(b)


def test_a_matrix_that_rounding_spoils_has_no_rough_inverse():
    assert rough_inverse(np.array([[1.0, 2.0], [2.0, 1.0]], dtype=np.float32)) is None


def test_a_factor_is_kept_until_the_penalties_have_moved(digits):
    X, y = digits
    near, far = curvature(X, y, 0.1), curvature(X, y, 10.0)
    rough = Preconditioner(near.rows, 10)
    first = rough.inverse(near)[0]
    assert rough.inverse(curvature(X, y, 0.12))[0] is first
    assert rough.inverse(far)[0] is not first


def test_another_folds_factor_serves_and_one_of_another_size_does_not(digits):
    X, y = digits
    whole, part = curvature(X, y, 0.1), curvature(X[:, :40], y, 0.1)
    first, second = (Preconditioner(c.rows, 10) for c in (whole, part))
    solve = first.inverse(whole)[0]
    own = second.inverse(part)[0]
    second.adopt(first)
    assert second.inverse(part)[0] is own
    third = Preconditioner(whole.rows, 10)
    third.adopt(first)
    assert third.inverse(whole)[0] is solve


def test_the_decrement_at_the_end_is_as_small_as_asked(digits):
    X, y = digits
    A = np.column_stack([X, np.ones(len(X))])
    rows, s = Rows(A), np.ones(len(y))
    lam = np.full((10, A.shape[1]), 0.3)
    lam[:, -1] = 0.0
    problem = MultinomialProblem(rows, y, s, lam, True)
    solution = newton_multinomial(
        problem, np.zeros(lam.shape), 1e-6, Preconditioner(rows, 10)
    )
    assert solution.converged
    W, found = solution.x, solution.stats
    R = found.P.copy()
    R[y, np.arange(len(y))] -= 1.0
    gradient = rows.pull(R) + lam * W
    H = with_penalty(found.loss_matrix(), lam)
    decrement = np.sqrt(gradient.ravel() @ np.linalg.solve(H, gradient.ravel()))
    value = softmax_loss(rows.scores(W), y)[0].sum() + np.sum(lam * W**2) / 2
    assert solution.objective == pytest.approx(value, rel=1e-12)
    assert decrement <= 1e-6 * np.sqrt(value)


def test_the_hypergradient_of_a_large_system(digits):
    X, y = digits
    cv = PredefinedSplit(np.repeat([-1, 0], [350, 150]))
    search = GradientSearchCV(
        LogisticRegression(), {"C": Continuous(1e-2, 1e2)}, cv=cv, inner_tol=1e-9
    )
    assert check_hypergradient(search, X, y) < 1e-5


def test_threads_change_nothing(digits, monkeypatch):
    X, y = digits
    monkeypatch.setattr(
        "skdiff.model_selection._gradient._evaluate.WORTH_A_THREAD", 0.0
    )
    found = [
        GradientSearchCV(
            LogisticRegression(),
            {"C": Continuous(1e-2, 1e2)},
            cv=StratifiedKFold(3),
            refit=False,
            n_jobs=n_jobs,
        ).fit(X, y)
        for n_jobs in (1, 2)
    ]
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_array_equal(
        found[0].cv_results_["mean_test_score"], found[1].cv_results_["mean_test_score"]
    )
