"""Ordered classes: other solvers where they agree, and what the order promises."""

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import approx_fprime
from scipy.special import expit
from scipy.stats import chi2
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff.linear_model import (
    PRESTOClassifier,
    PRESTOClassifierCV,
    ProportionalOddsClassifier,
)
from skdiff.linear_model._ordinal import _certificate
from skdiff.linear_model._ordinal._certificate import _inner_conjugate, lower_bound
from skdiff.linear_model._ordinal._likelihood import sort_rows
from skdiff.linear_model._ordinal._solver import Penalty, fit, pose

# coefficients and thresholds of statsmodels 0.15.0 (OrderedModel, logit) on the rows
# of `diabetes`, with its sign of the coefficients
STATSMODELS = {
    "coef": [-0.015721737, -0.064017392, 1.080911516, 0.591208715],
    "thresholds": [-1.003381363, 1.204856609, 4.418443259],
    "llf": -433.0298080005516,
}


def diabetes(columns=4):
    X, target = load_diabetes(return_X_y=True)
    return scale(X[:, :columns]), np.digitize(target, [100, 200, 300])


def drawn(seed, n=300, p=4, K=4, spread=0.5):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, p))
    psi = np.zeros((K - 1, p))
    psi[0] = rng.normal(size=p)
    psi[1:] = spread * rng.normal(size=(K - 2, p)) * (rng.random((K - 2, p)) < 0.4)
    eta = np.linspace(-1, 2.5, K - 1) + X @ np.cumsum(psi, axis=0).T
    u = rng.random(n)[:, None]
    y = (u > 1 / (1 + np.exp(-eta))).sum(axis=1)
    y[:K] = np.arange(K)
    return X, y


def quiet(function, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*arguments, **keywords)


# --- known answers --------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_are_l1_logistic_regression(alpha, weighted):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, [0, 1, 4, 5, 8, 9]])
    weight = np.random.default_rng(0).uniform(0.2, 2, len(y)) if weighted else None
    total = len(y) if weight is None else weight.sum()
    peer = LogisticRegression(
        C=1 / (alpha * total), l1_ratio=1.0, solver="saga", tol=1e-9, max_iter=100_000
    ).fit(X, y, weight)
    ours = PRESTOClassifier(alpha, standardize=False).fit(X, y, weight)
    np.testing.assert_allclose(-ours.coef_, peer.coef_, atol=2e-5)
    np.testing.assert_allclose(-ours.intercept_, peer.intercept_, atol=2e-5)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(
        ours.decision_function(X), peer.decision_function(X), atol=1e-4
    )


def test_proportional_odds_are_those_of_statsmodels():
    X, y = diabetes()
    model = ProportionalOddsClassifier().fit(X, y)
    np.testing.assert_allclose(-model.coef_[0], STATSMODELS["coef"], atol=2e-5)
    np.testing.assert_allclose(model.intercept_, STATSMODELS["thresholds"], atol=2e-5)
    assert -model.objective_ == pytest.approx(STATSMODELS["llf"] / len(y), abs=2e-10)


def test_standard_errors_are_those_of_statsmodels():
    reason = "statsmodels is not installed; `pip install statsmodels` runs this test"
    miscmodels = pytest.importorskip(
        "statsmodels.miscmodels.ordinal_model", reason=reason
    )
    X, y = diabetes()
    X = X * [1, 10, 0.1, 1] + [5, 0, 0, -3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = miscmodels.OrderedModel(y, X, distr="logit").fit(
            method="newton", disp=False, maxiter=200
        )
        thresholds = peer.model.transform_threshold_params(peer.params[-3:])[1:-1]
    model = ProportionalOddsClassifier().fit(X, y)
    frame = model.summary_frame()
    assert list(frame.index[:4]) == ["x0", "x1", "x2", "x3"]
    np.testing.assert_allclose(-frame["coef"][:4], peer.params[:4], rtol=1e-5)
    np.testing.assert_allclose(model.intercept_, thresholds, rtol=1e-5)
    np.testing.assert_allclose(frame["std_err"][:4], peer.bse[:4], rtol=1e-4)
    np.testing.assert_allclose(frame["pvalue"][:4], peer.pvalues[:4], atol=1e-4)
    np.testing.assert_allclose(
        -frame["ci_high"][:4], peer.conf_int()[:4, 0], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("parallel", [False, True])
def test_standard_errors_are_the_curvature_of_the_likelihood(parallel):
    X, y = diabetes(2)
    X = X * [2, 0.5] + [1, -4]
    kind = ProportionalOddsClassifier if parallel else PRESTOClassifier
    model = kind(alpha=0.0).fit(X, y)
    frame = model.summary_frame()

    def loss(theta):
        if parallel:
            coef, levels = np.tile(theta[:2], (3, 1)), theta[2:]
        else:
            levels, coef = theta[:3], theta[3:].reshape(3, 2)
        c = 1 / (1 + np.exp(-(X @ coef.T + levels)))
        P = np.diff(np.c_[np.zeros(len(y)), c, np.ones(len(y))], axis=1)
        return -np.log(P[np.arange(len(y)), y]).sum()

    theta = frame["coef"].to_numpy()
    H = approx_fprime(theta, lambda t: approx_fprime(t, loss, 1e-5), 1e-5)
    expected = np.sqrt(np.diag(np.linalg.inv((H + H.T) / 2)))
    np.testing.assert_allclose(frame["std_err"], expected, rtol=1e-2)
    assert loss(theta) / len(y) == pytest.approx(model.objective_, rel=1e-12)


def test_differences_shrunk_to_zero_are_proportional_odds():
    X, y = diabetes()
    plain = ProportionalOddsClassifier().fit(X, y)
    model = PRESTOClassifier(10.0, penalize_base=False).fit(X, y)
    assert not model.coef_diff_[1:].any()
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=2e-5)
    np.testing.assert_allclose(model.intercept_, plain.intercept_, atol=2e-5)


def test_reversed_classes_are_the_same_model_where_the_base_is_free():
    X, y = diabetes()
    one = PRESTOClassifier(0.01, penalize_base=False).fit(X, y)
    other = PRESTOClassifier(0.01, penalize_base=False).fit(X, 3 - y)
    np.testing.assert_allclose(
        one.predict_proba(X), other.predict_proba(X)[:, ::-1], atol=1e-6
    )
    penalised = PRESTOClassifier(0.01).fit(X, y).predict_proba(X)
    turned = PRESTOClassifier(0.01).fit(X, 3 - y).predict_proba(X)[:, ::-1]
    assert np.abs(penalised - turned).max() > 1e-3


@pytest.mark.parametrize(
    "penalty",
    [
        Penalty(1e-3, 1.0),
        Penalty(1e-2, 0.5),
        Penalty(1e-2, 0.0),
        Penalty(1e-2, 1.0, base=False),
        Penalty(1e-3, 1.0, parallel=True),
        Penalty(0.0, 1.0),
    ],
)
def test_derivatives_and_cvxpy(penalty):
    X, y = drawn(0)
    rows = sort_rows(X, y, np.random.default_rng(0).uniform(0.5, 2, len(y)), 4)
    problem = pose(rows, penalty)
    w = 0.05 * np.random.default_rng(1).normal(size=problem.size)
    _, gradient, parts = problem.smooth(w, 2)
    h, unit = 1e-6, np.eye(problem.size)
    slope = [
        (problem.smooth(w + h * e, 0)[0] - problem.smooth(w - h * e, 0)[0]) / (2 * h)
        for e in unit
    ]
    curve = [
        (problem.smooth(w + h * e)[1] - problem.smooth(w - h * e)[1]) / (2 * h)
        for e in unit
    ]
    np.testing.assert_allclose(gradient, slope, atol=1e-9)
    H = problem.hessian(parts, np.arange(problem.size))
    np.testing.assert_allclose(H, curve, atol=2e-9)
    some = np.arange(0, problem.size, 2)
    np.testing.assert_allclose(
        problem.hessian(parts, some), H[np.ix_(some, some)], atol=1e-14
    )
    ours = fit(problem, None, 1e-7, 100)
    from skdiff.linear_model._ordinal._solver import fit_cvxpy

    peer = fit_cvxpy(problem)
    assert ours.converged and -1e-14 <= ours.gap <= 1e-9
    assert abs(ours.objective - peer.objective) <= 3e-9


def test_the_solver_of_the_estimator_is_the_statement():
    X, y = diabetes()
    for model in (
        PRESTOClassifier(0.01, l1_ratio=0.7),
        ProportionalOddsClassifier(0.01),
    ):
        one = model.fit(X, y)
        coef, value = one.coef_, one.objective_
        other = model.set_params(solver="cvxpy").fit(X, y)
        assert abs(value - other.objective_) < 1e-8
        np.testing.assert_allclose(coef, other.coef_, atol=1e-4)


# --- the certificate ------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    alpha=st.sampled_from([0.0, 1e-5, 1e-3, 0.1, 10.0]),
    l1_ratio=st.sampled_from([0.0, 0.5, 1.0]),
    n=st.sampled_from([8, 40, 200]),
    K=st.integers(2, 5),
)
def test_no_point_beats_the_lower_bound_and_wrong_ones_are_told(
    seed, alpha, l1_ratio, n, K
):
    X, y = drawn(seed, n=n, p=3, K=K)
    problem = pose(sort_rows(X, y, np.ones(n), K), Penalty(alpha, l1_ratio))
    found = fit(problem, None, 1e-9, 200)
    assert found.gap >= -1e-12
    wrong = found.x + 0.01 * np.random.default_rng(seed).normal(size=problem.size)
    value = problem.smooth(wrong, 0)[0] + problem.penalty(wrong)
    bound = lower_bound(problem, wrong)
    assert bound <= found.objective + 1e-12
    if np.isfinite(value):
        assert value - bound >= value - found.objective - 1e-12


def test_separated_classes_are_said_to_have_no_solution():
    X, y = np.arange(12.0)[:, None], np.repeat([0, 1, 2], 4)
    model = ProportionalOddsClassifier().fit(X, y)
    assert model.objective_ < 1e-6
    with pytest.raises(ValueError, match="singular"):
        model.summary_frame()
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=60), np.repeat([0, 1, 0], 20)]
    y = np.where(X[:, 1] > 0, 2, rng.integers(0, 2, 60))
    with pytest.warns(ConvergenceWarning, match="gap"):
        PRESTOClassifier(0.0).fit(X, y)
    assert PRESTOClassifier(1e-4).fit(X, y).dual_gap_ < 1e-8


def test_a_free_base_that_ends_at_infinity_is_said_to_be_unproved():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(200, 3)), rng.random(200) < 0.05]
    y = np.digitize(X[:, 0] + rng.normal(size=200), [-0.5, 0.5])
    y[X[:, 3] > 0] = 2
    found = []
    for solver in ("auto", "cvxpy"):
        model = PRESTOClassifier(0.1, penalize_base=False, solver=solver)
        with pytest.warns(ConvergenceWarning, match="gap"):
            found.append(model.fit(X, y))
    ours, cone = found
    assert ours.objective_ == pytest.approx(cone.objective_, abs=1e-8)
    assert ours.dual_gap_ <= ours.objective_
    assert ours.coef_[0, 3] < -10  # on its way to minus infinity
    # the penalised base is proved
    assert PRESTOClassifier(0.1).fit(X, y).dual_gap_ < 1e-8


# --- invariants -----------------------------------------------------------------------


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-3, 0.05]))
def test_weights_are_repeated_rows_and_units_change_nothing(seed, alpha):
    X, y = drawn(seed, n=120)
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 3, len(y))
    weight[:8] = 1
    model = PRESTOClassifier(alpha)
    base = model.fit(X, y, weight)
    coef, levels = base.coef_, base.intercept_
    again = PRESTOClassifier(alpha).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(again.coef_, coef, atol=1e-5)
    np.testing.assert_allclose(again.intercept_, levels, atol=1e-5)
    unit = 10.0 ** rng.integers(-3, 4, X.shape[1])
    other = PRESTOClassifier(alpha).fit(X * unit + unit, y, 7.0 * weight)
    np.testing.assert_allclose(other.coef_ * unit, coef, atol=1e-5)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(["clip", "rearrange"]))
def test_probabilities_are_probabilities_everywhere(seed, monotone):
    X, y = drawn(seed, n=80, spread=2.0)
    model = PRESTOClassifier(1e-4, monotone=monotone).fit(X, y)
    far = 5 * np.random.default_rng(seed).normal(size=(200, 4))
    proba = quiet(model.predict_proba, far)
    cumulative = quiet(model.predict_cumulative_proba, far)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(cumulative, np.cumsum(proba, axis=1), atol=1e-12)
    assert (np.diff(cumulative, axis=1) >= 0).all() and (cumulative[:, -1] == 1).all()
    one = np.vstack([quiet(model.predict_proba, row[None]) for row in far[:20]])
    np.testing.assert_allclose(one, proba[:20], atol=1e-14)


def test_crossing_rows_are_counted_in_the_warning():
    X, y = drawn(3, n=150, spread=3.0)
    model = PRESTOClassifier(1e-4).fit(X, y)
    far = 10 * np.random.default_rng(0).normal(size=(300, 4))
    eta = far @ model.coef_.T + model.intercept_
    count = int(np.any(np.diff(eta, axis=1) < 0, axis=1).sum())
    assert 0 < count < 300
    with pytest.warns(UserWarning, match=f"of {count} of 300 rows cross"):
        model.predict_proba(far)
    calm = far[np.all(np.diff(eta, axis=1) >= 0, axis=1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict_cumulative_proba(calm)
    plain = ProportionalOddsClassifier().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain.predict_proba(far)


def test_the_median_is_the_first_class_with_half_of_the_probability():
    X, y = diabetes()
    model = ProportionalOddsClassifier(decision="median").fit(X, y)
    cumulative = model.predict_cumulative_proba(X)
    expected = [int(np.flatnonzero(row >= 0.5)[0]) for row in cumulative]
    np.testing.assert_array_equal(model.predict(X), expected)


# --- labels ---------------------------------------------------------------------------


def test_the_order_comes_from_categories_or_an_ordered_categorical():
    X, y = diabetes()
    names = np.array(["low", "mid", "high", "top"])
    expected = PRESTOClassifier(0.01).fit(X, y)
    order = ["never", "low", "mid", "high", "top"]
    listed = PRESTOClassifier(0.01, categories=order).fit(X, names[y])
    kinds = pd.Categorical(names[y], categories=order, ordered=True)
    for model in (
        listed,
        PRESTOClassifier(0.01).fit(X, kinds),
        PRESTOClassifier(0.01).fit(X, pd.Series(kinds, index=np.arange(len(y))[::-1])),
    ):
        assert list(model.classes_) == list(names)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        np.testing.assert_array_equal(model.predict(X), names[expected.predict(X)])
    unordered = PRESTOClassifier(0.01).fit(X, pd.Categorical(names[y]))
    assert list(unordered.classes_) == sorted(names)


def test_bad_categories_are_refused():
    X, y = diabetes()
    with pytest.raises(ValueError, match=r"not in categories: \['3'\]"):
        PRESTOClassifier(categories=[0, 1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="repeats"):
        ProportionalOddsClassifier(categories=[0, 1, 1, 2, 3]).fit(X, y)
    with pytest.raises(ValueError, match="at least two labels"):
        PRESTOClassifier(categories=[0]).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        PRESTOClassifier(categories=[0, 1]).fit(X, np.zeros(len(y), int))
    with pytest.raises(ValueError, match="fit_intercept=False"):
        PRESTOClassifier(fit_intercept=False).fit(X, y)


def test_two_classes_through_the_origin():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, :5])
    ours = PRESTOClassifier(
        0.01, l1_ratio=0.0, fit_intercept=False, standardize=False
    ).fit(X, y)
    peer = LogisticRegression(
        C=1 / (0.01 * len(y)), fit_intercept=False, tol=1e-10
    ).fit(X, y)
    np.testing.assert_allclose(-ours.coef_, peer.coef_, atol=1e-5)
    assert ours.intercept_.tolist() == [0.0]


def test_sparse_rows_give_the_dense_model():
    X, y = drawn(1)
    X = np.where(np.abs(X) > 0.4, X, 0.0)
    for model in (
        PRESTOClassifier(0.005),
        ProportionalOddsClassifier(),
        PRESTOClassifierCV(5, cv=3),
    ):
        dense = model.fit(X, y)
        coef, levels = dense.coef_, dense.intercept_
        thin = model.fit(sparse.csr_matrix(X), y)
        np.testing.assert_allclose(thin.coef_, coef, atol=1e-5)
        np.testing.assert_allclose(thin.intercept_, levels, atol=1e-5)


def test_warm_starts_end_where_cold_ones_do():
    X, y = drawn(2)
    warm = PRESTOClassifier(0.02, warm_start=True).fit(X, y)
    warm.set_params(alpha=0.015).fit(X, y)
    cold = PRESTOClassifier(0.015).fit(X, y)
    np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-7)
    assert warm.fit(X, y).n_iter_ <= cold.n_iter_
    warm.fit(X[:, :2], y)  # another shape starts afresh
    assert warm.coef_.shape == (3, 2)


# --- inference ------------------------------------------------------------------------


def test_summaries_need_no_penalty_and_name_their_rows():
    X, y = diabetes()
    frame = pd.DataFrame(X, columns=list("abcd"))
    table = ProportionalOddsClassifier().fit(frame, y).summary_frame()
    assert list(table.index[:4]) == list("abcd") and len(table) == 7
    assert list(table) == ["coef", "std_err", "z", "pvalue", "ci_low", "ci_high"]
    general = PRESTOClassifier(0.0).fit(frame, y).summary_frame()
    assert len(general) == 3 + 12
    for model in (PRESTOClassifier(), ProportionalOddsClassifier(0.1)):
        with pytest.raises(ValueError, match="alpha=0"):
            model.fit(X, y).summary_frame()


def test_the_test_of_parallel_lines_is_twice_the_gain():
    X, y = diabetes()
    plain = ProportionalOddsClassifier().fit(X, y)
    found = plain.lr_test_parallel(X, y)
    general = PRESTOClassifier(0.0).fit(X, y)
    gain = 2 * len(y) * (plain.objective_ - general.objective_)
    assert found.statistic == pytest.approx(gain, rel=1e-6) and found.df == 8
    assert found.pvalue == pytest.approx(chi2.sf(gain, 8))
    with pytest.raises(ValueError, match="three classes"):
        two = ProportionalOddsClassifier().fit(X, y > 1)
        two.lr_test_parallel(X, y > 1)


def test_the_test_of_parallel_lines_keeps_its_level():
    rng, rejected, found = np.random.default_rng(0), 0, 0
    for seed in range(150):
        X, y = drawn(seed, n=300, p=2, K=3, spread=0.0)
        test = ProportionalOddsClassifier().fit(X, y).lr_test_parallel(X, y)
        rejected += test.pvalue < 0.1
    assert 4 <= rejected <= 26  # 15 +- 3 standard deviations
    for _ in range(10):
        X = rng.uniform(-1, 1, (600, 2))
        eta = np.c_[X[:, 0] - 1, X[:, 1] + 2]
        y = (rng.random(600)[:, None] > 1 / (1 + np.exp(-eta))).sum(axis=1)
        test = ProportionalOddsClassifier().fit(X, y).lr_test_parallel(X, y)
        found += test.pvalue < 0.05
    assert found >= 8


# --- cross-validation -----------------------------------------------------------------


def test_the_path_starts_where_everything_is_zero():
    X, y = drawn(4)
    model = PRESTOClassifierCV(6, cv=3).fit(X, y)
    assert model.alphas_[-1] == pytest.approx(model.alphas_[0] / 100)
    edge = model.alphas_[0]
    assert not PRESTOClassifier(edge * 1.0001).fit(X, y).coef_.any()
    assert PRESTOClassifier(edge * 0.999).fit(X, y).coef_.any()
    free = PRESTOClassifierCV(3, cv=3, penalize_base=False).fit(X, y).alphas_[0]
    kept = PRESTOClassifier(free * 1.0001, penalize_base=False).fit(X, y)
    assert not kept.coef_diff_[1:].any()
    less = PRESTOClassifier(free * 0.99, penalize_base=False).fit(X, y)
    assert less.coef_diff_[1:].any()


@pytest.mark.parametrize("scoring", ["brier", "log_loss", "rare_brier"])
def test_scores_of_the_path_are_those_of_single_fits(scoring):
    X, y = drawn(5)
    splits = list(KFold(3).split(X))
    model = PRESTOClassifierCV([0.05, 0.001, 0.01], scoring=scoring, cv=splits)
    quiet(model.fit, X, y)
    np.testing.assert_array_equal(model.alphas_, [0.05, 0.01, 0.001])
    for j, (train, test) in enumerate(splits):
        one = PRESTOClassifier(0.01).fit(X[train], y[train])
        proba = quiet(one.predict_proba, X[test])
        if scoring == "brier":
            value = np.mean(np.sum((proba - np.eye(4)[y[test]]) ** 2, axis=1))
        elif scoring == "log_loss":
            value = -np.mean(np.log(proba[np.arange(len(test)), y[test]]))
        else:
            value = np.mean((proba[:, 3] - (y[test] == 3)) ** 2)
        assert model.cv_scores_[1, j] == pytest.approx(value, rel=1e-5)
    best = model.alphas_[np.argmin(model.cv_scores_ @ [len(t) for _, t in splits])]
    assert model.alpha_ == best
    np.testing.assert_allclose(
        model.coef_, PRESTOClassifier(model.alpha_).fit(X, y).coef_, atol=1e-7
    )


def test_folds_without_a_class_are_left_out_with_a_message():
    X, y = drawn(6, n=90)
    y = np.where(y == 3, 2, y)
    y[40] = 3
    with pytest.warns(UserWarning, match="1 of 5 folds were left out"):
        model = PRESTOClassifierCV(4).fit(X, y)
    assert model.cv_scores_.shape == (4, 4) and len(model.classes_) == 4
    bad = [(np.arange(40), np.arange(40, 90))]
    with pytest.raises(ValueError, match="class 3 has 1 samples"):
        PRESTOClassifierCV(4, cv=bad).fit(X, y)


def test_in_a_pipeline_under_a_grid_search():
    X, y = load_wine(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), PRESTOClassifier())
    grid = {"prestoclassifier__alpha": [1e-3, 1e-1]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2)
    with joblib.parallel_config(backend="threading"):
        quiet(search.fit, X, y)
    assert search.best_score_ > 0.9
    assert search.best_params_["prestoclassifier__alpha"] == 1e-3


def test_a_rare_last_class_is_learned_from_those_below():
    """Two designs of the paper, four tables each; the benchmark has all of them."""
    rng = np.random.default_rng(0)
    for keep, levels in [(0.5, (0, 3, 5)), (1 / 3, (0, 3.5, 5.5))]:
        errors = []
        while len(errors) < 4:
            psi = 0.5 * rng.choice([-1, 1], (3, 10)) * (rng.random((3, 10)) < keep)
            psi[0] = np.abs(psi[0])
            X = rng.uniform(-1, 1, (2500, 10))
            c = 1 / (1 + np.exp(-(np.array(levels) + X @ np.cumsum(psi, axis=0).T)))
            y = (rng.random(2500)[:, None] > c).sum(axis=1)
            counts = np.bincount(y, minlength=4)
            if np.diff(c, axis=1).min() < 0 or counts.min() < 5:
                continue
            models = (
                PRESTOClassifierCV(10, cv=3),
                LogisticRegression(C=np.inf),
                ProportionalOddsClassifier(),
            )
            targets = (y, y == 3, y)
            found = [
                quiet(m.fit(X, t).predict_proba, X)[:, -1]
                for m, t in zip(models, targets, strict=True)
            ]
            errors.append([np.mean((p - 1 + c[:, 2]) ** 2) for p in found])
        ours, logistic, parallel = np.mean(errors, axis=0)
        assert ours < logistic and ours < parallel


@pytest.mark.parametrize("alpha", [1e-8, 1e-10, 1e-12])
def test_penalties_below_the_tolerance_are_proved(alpha):
    # the gradient misses such a penalty by more than it is worth
    X, y = diabetes()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = PRESTOClassifier(alpha).fit(X, y)
    free = PRESTOClassifier(0.0).fit(X, y)
    assert 0 < model.dual_gap_ < 1e-6
    assert free.objective_ - 1e-9 < model.objective_ < free.objective_ + 1e-6


def test_the_bound_of_a_support_stays_below_at_wrong_coefficients():
    X, y = drawn(0)
    rows = sort_rows(X, y, np.ones(len(y)), 4)
    problem = pose(rows, Penalty(1e-3, 1.0))
    best = fit(problem, None, 1e-10, 100)
    rng = np.random.default_rng(0)
    for size in (1e-4, 1e-2, 0.1):
        wrong = best.x * (1 + size * rng.normal(size=len(best.x)))
        bound = lower_bound(problem, wrong, support=True)
        assert bound <= best.objective + 1e-12
        assert bound < problem.smooth(wrong, 0)[0] + problem.penalty(wrong)


def test_a_correction_that_fails_leaves_no_bound(monkeypatch):
    X, y = drawn(0)
    problem = pose(sort_rows(X, y, np.ones(len(y)), 4), Penalty(0.0, 1.0))
    near = fit(problem, None, 1e-9, 200).x
    near = near + np.random.default_rng(0).normal(size=problem.size) / 30
    assert lower_bound(problem, near) > 0
    monkeypatch.setattr(_certificate, "spd_solve", lambda H, g: np.zeros_like(g))
    assert lower_bound(problem, near) == 0  # free coefficients still have a slope


def test_an_enum_of_polars_brings_its_order():
    pl = pytest.importorskip("polars")
    X, y = diabetes(2)
    labels = np.array(["low", "mid", "high", "top"])
    kind = pl.Enum(labels.tolist())
    series = pl.Series("y", labels[y]).cast(kind)
    for given_y in (series, series.to_frame()):
        model = quiet(PRESTOClassifier(0.01).fit, X, given_y)
        assert model.classes_.tolist() == labels.tolist()


def test_integers_as_many_as_rows_warn_as_other_labels_do():
    X, y = np.arange(24.0)[:, None], np.arange(24) // 2
    model = PRESTOClassifier(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)  # half as many classes as rows
    with pytest.warns(UserWarning, match="unique classes"):
        model.fit(X, 2 * np.arange(24))


def test_small_problems_of_all_shapes_are_proved():
    rng = np.random.default_rng(5)
    for _ in range(40):
        n, p, K = rng.integers(30, 120), rng.integers(1, 25), rng.integers(2, 6)
        X = rng.standard_t(3, (n, p))
        X[:, -1] = X[:, 0]
        f = X[:, 0] + rng.logistic(size=n)
        y = np.digitize(f, np.quantile(f, np.linspace(0, 0.9, K)[1:]))
        alpha, mix = 10 ** rng.uniform(-4, 0), rng.choice([1.0, 0.5])
        model = PRESTOClassifier(alpha, mix).fit(X, y)
        assert model.dual_gap_ <= 1e-6 * max(model.objective_, 1e-2)
        assert model.n_iter_ <= 25


@pytest.mark.parametrize("standardize", [True, False])
def test_two_classes_through_the_origin_are_those_predicted(standardize):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, :3]) + np.array([3.0, -2.0, 0.0])
    ours = PRESTOClassifier(
        0.01, l1_ratio=0.0, fit_intercept=False, standardize=standardize
    ).fit(X, y)
    peer = LogisticRegression(
        C=1 / (0.01 * len(y)), fit_intercept=False, tol=1e-10
    ).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("cls", [PRESTOClassifier, ProportionalOddsClassifier])
def test_columns_far_from_zero_need_no_standardisation(cls):
    X, y = drawn(2)
    near = cls(0.01, standardize=False).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        far = cls(0.01, standardize=False).fit(X + 1e7, y)
    assert far.objective_ == pytest.approx(near.objective_, abs=1e-7)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-5)


def test_small_penalties_of_nearly_separated_classes_are_proved():
    # there the gradient reaches the size of the penalty long after the loss is flat
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, p, K = rng.choice([8, 20, 60]), rng.integers(1, 12), rng.integers(2, 5)
        X = rng.standard_normal((n, p))
        f = X @ rng.standard_normal(p) + rng.choice([0.0, 0.3]) * rng.normal(size=n)
        y = np.digitize(f, np.quantile(f, np.sort(rng.uniform(0.1, 0.9, K - 1))))
        model = quiet(PRESTOClassifier(10 ** rng.uniform(-9, -4)).fit, X, y)
        assert 0 < model.dual_gap_ <= 1e-6 * max(model.objective_, 1e-2)


def test_derivatives_that_vanish_leave_a_proof():
    # outliers are so far inside their interval that their derivatives underflow
    rng = np.random.default_rng(0)
    for _ in range(20):
        X = rng.standard_t(1.2, (30, 1))
        f = X[:, 0] + 0.1 * rng.logistic(size=30)
        y = np.digitize(f, np.quantile(f, [0.3, 0.8]))
        model = PRESTOClassifier(10 ** rng.uniform(-9, -3), standardize=False)
        quiet(model.fit, X, y)
        assert 0 < model.dual_gap_ <= 1e-6 * max(model.objective_, 1e-2)


def test_the_conjugate_of_a_row_has_all_digits():
    for u in (-30.0, -1.0, -1e-6, 1e-9, 1e-5, 0.3, 3.0):
        for down in (1e-3, 0.5, 5.0, 60.0):
            v = u - down
            P = expit(u) * expit(-v) * -np.expm1(v - u)
            a, b = expit(u) * expit(-u) / P, expit(v) * expit(-v) / P
            with np.errstate(all="ignore"):
                value = _inner_conjugate(np.array([a]), np.array([b]))[0]
            exact = -a * u + b * v + np.log(P)
            assert value == pytest.approx(exact, abs=1e-13 * (a + b) * (1 + abs(u)))
