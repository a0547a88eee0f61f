"""The holistic loss of linear models: cone solvers, certificates, plain limits."""

import warnings

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff.linear_model import HolisticRobustClassifier, HolisticRobustRegressor
from skdiff.linear_model._holistic import _solver as solver
from skdiff.linear_model._holistic._bound import Dual, _turned, lower_bound, within
from skdiff.linear_model._holistic._problem import HolisticProblem
from skdiff.linear_model._holistic._solver import fit
from skdiff.metrics import holistic_robust_loss

LOSSES = ("logistic", "hinge", "squared_hinge", "squared", "absolute")


def drawn(seed, loss, n=60, d=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    f = X @ rng.normal(size=d)
    if loss in ("squared", "absolute"):
        return X, f + rng.normal(size=n)
    y = (f + rng.logistic(size=n) > 0).astype(int)
    y[:2] = 0, 1
    return X, y


def model_for(loss, **how):
    regression = loss in ("squared", "absolute")
    cls = HolisticRobustRegressor if regression else HolisticRobustClassifier
    return cls(loss, **how)


def attacked(model, X, y, coef=None, intercept=None):
    """Losses of rows, each moved to its worst place in the ball."""
    coef = np.ravel(model.coef_) if coef is None else coef
    intercept = np.ravel(model.intercept_)[0] if intercept is None else intercept
    dual = 1 if model.norm == np.inf else 2
    reach = model.evasion_radius * np.linalg.norm(coef, dual)
    f = X @ coef + intercept
    if hasattr(model, "classes_"):
        m = np.where(y == model.classes_[1], f, -f) - reach
        return {
            "logistic": lambda: np.logaddexp(0, -m),
            "hinge": lambda: np.maximum(0, 1 - m),
            "squared_hinge": lambda: np.maximum(0, 1 - m) ** 2,
        }[model.loss]()
    off = np.abs(y - f) + reach
    return off**2 if model.loss == "squared" else off


def value_at(model, X, y, coef, intercept):
    radius = model.statistical_radius
    radius = 3 / len(y) if radius == "auto" else radius
    value = holistic_robust_loss(
        attacked(model, X, y, coef, intercept),
        poisoning=model.poisoning,
        statistical_radius=radius,
    ).value
    return value + model.alpha / 2 * np.sum(coef**2)


CASES = [
    {"poisoning": 0.0, "statistical_radius": 0.0},
    {"poisoning": 0.1, "statistical_radius": 0.0},
    {"poisoning": 0.0, "statistical_radius": 0.05},
    {"poisoning": 0.05, "statistical_radius": 0.05},
    {"poisoning": 0.0, "statistical_radius": 0.0, "evasion_radius": 0.1},
    {"poisoning": 0.05, "evasion_radius": 0.1, "norm": np.inf},
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", CASES)
def test_the_statement_has_the_same_value(loss, case):
    pytest.importorskip("cvxpy")
    X, y = drawn(0, loss, n=40)
    ours = model_for(loss, alpha=0.05, **case).fit(X, y)
    peer = model_for(loss, alpha=0.05, solver="cvxpy", **case).fit(X, y)
    size = max(1.0, peer.objective_)
    assert ours.objective_ == pytest.approx(peer.objective_, abs=1e-6 * size)
    assert 0 <= ours.dual_gap_ <= 1e-6 * size
    # a feasible point of the cone solver is not below the bound
    assert peer.objective_ >= ours.objective_ - ours.dual_gap_ - 1e-9 * size


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from(LOSSES),
    poisoning=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
    radius=st.sampled_from([0.0, "auto", 0.1]),
    evasion=st.sampled_from([0.0, 0.05]),
    norm=st.sampled_from([2, np.inf]),
    alpha=st.sampled_from([0.0, 0.01, 1.0]),
)
def test_no_other_coefficients_are_better(
    seed, loss, poisoning, radius, evasion, norm, alpha
):
    X, y = drawn(seed, loss, n=30)
    model = model_for(
        loss,
        poisoning=poisoning,
        statistical_radius=radius,
        evasion_radius=evasion,
        norm=norm,
        alpha=alpha,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    coef, intercept = np.ravel(model.coef_), np.ravel(model.intercept_)[0]
    best = value_at(model, X, y, coef, intercept)
    assert best == pytest.approx(model.objective_, rel=1e-9, abs=1e-12)
    assert model.dual_gap_ >= 0
    weights = model.worst_case_weights_
    rows = attacked(model, X, y)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert weights @ rows == pytest.approx(model.robust_objective_, rel=1e-9)
    assert rows.mean() - 1e-12 <= model.robust_objective_ <= rows.max() + 1e-12
    rng = np.random.default_rng(seed)
    size = max(1.0, np.abs(coef).max())
    for step in (1e-3, 0.1, 1.0):
        other = coef + step * size * rng.normal(size=coef.shape)
        value = value_at(model, X, y, other, intercept + step * rng.normal())
        assert value >= model.objective_ - model.dual_gap_ - 1e-12
    # towards no model, which large radii prefer
    for share in (0.5, 0.9, 0.999):
        value = value_at(model, X, y, share * coef, intercept)
        assert value >= model.objective_ - model.dual_gap_ - 1e-12


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.filterwarnings("ignore:The fitted scores are constant")
def test_stopped_early_the_gap_still_bounds(loss):
    X, y = drawn(1, loss)
    how = {"alpha": 0.05, "poisoning": 0.05, "evasion_radius": 0.05}
    done = model_for(loss, **how).fit(X, y)
    for steps in (1, 3, 6):
        with pytest.warns(ConvergenceWarning, match="gap"):
            early = model_for(loss, max_iter=steps, tol=1e-12, **how).fit(X, y)
        assert early.n_iter_ <= steps
        low = early.objective_ - early.dual_gap_
        assert low <= done.objective_ and early.objective_ >= done.objective_ - 1e-6


@pytest.mark.parametrize(("poisoning", "radius"), [(0.05, 1.0), (0.0, 2.0)])
def test_large_radii_have_the_value_of_the_statement(poisoning, radius):
    pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 10))
    y = X @ rng.normal(size=10) + rng.normal(size=300)
    how = {"poisoning": poisoning, "statistical_radius": radius}
    model = HolisticRobustRegressor("squared", **how).fit(X, y)
    stated = HolisticRobustRegressor("squared", solver="cvxpy", **how).fit(X, y)
    assert model.objective_ == pytest.approx(stated.objective_, rel=1e-6)
    assert model.dual_gap_ < 1e-5


def posed(seed, loss, radii, alpha=0.01, n=40, d=4):
    X, y = drawn(seed, loss, n, d)
    y = (y - y.mean()) / y.std() if loss in ("squared", "absolute") else 2.0 * y - 1
    A, ridge = np.c_[X, np.ones(n)], np.r_[np.full(d, alpha + 1e-9), 0.0]
    return HolisticProblem(A, y, np.full(n, 1 / n), loss, *radii, ridge, d)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_radii_are_proved(loss):
    rng = np.random.default_rng(LOSSES.index(loss))
    grid = [
        (a, r, e, norm)
        for a in (0.0, 0.01, 0.5, 0.95, 1.0)
        for r in (0.0, 1e-3, 0.3, 3.0)
        for e, norm in ((0.0, 2.0), (0.1, np.inf), (1.0, 2.0), (3.0, 2.0))
    ]
    for k in rng.permutation(len(grid))[:20]:
        problem = posed(k, loss, grid[k], alpha=rng.choice([0.0, 0.01]))
        with np.errstate(all="ignore"):
            found = fit(problem, "auto", 1e-7, 500)
        assert found.converged
        assert found.gap <= 1e-6 * max(1.0, found.objective)
        assert found.objective <= problem.objective(np.zeros_like(found.x)) + 1e-7


def test_the_others_stand_in_where_the_first_solver_stops(monkeypatch):
    pytest.importorskip("cvxpy")
    problem = posed(0, "hinge", (0.05, 0.1, 0.1, 2.0))
    best = fit(problem, "auto", 1e-7, 500)

    def stopped(how):
        return lambda problem, tol, most: how(problem, tol, min(most, 3))

    short = stopped(solver.fit_interior)
    monkeypatch.setattr(solver, "fit_interior", short)
    by_path = fit(problem, "auto", 1e-7, 500)
    monkeypatch.setattr(solver, "fit_path", stopped(solver.fit_path))
    stated = fit(problem, "auto", 1e-7, 500)
    for found in (by_path, stated):
        assert found.converged
        assert found.objective == pytest.approx(best.objective, abs=1e-6)
    # max_iter is the user's: nothing follows it
    early = fit(problem, "auto", 1e-7, 3)
    assert not early.converged and early.n_iter == 3


def test_the_bound_holds_at_wrong_weights_and_slopes():
    for loss in LOSSES:
        problem = posed(1, loss, (0.05, 0.1, 0.1, 2.0))
        best = fit(problem, "auto", 1e-9, 500)
        rng = np.random.default_rng(0)
        for _ in range(5):
            w = best.x + 0.1 * rng.normal(size=len(best.x))
            p = problem.weights(w)
            slope = rng.normal(size=len(p))
            dual = Dual(p, slope, np.abs(slope), np.ones(len(p)))
            assert lower_bound(problem, dual, w) <= best.objective + 1e-9


@pytest.mark.parametrize("norm", [2.0, np.inf])
def test_what_cancels_a_pull_stays_in_the_ball(norm):
    problem = posed(1, "hinge", (0.0, 0.0, 0.5, norm))
    pull = np.array([4.0, -3.0, 0.1, 9.0, 9.0])
    turned = _turned(problem, pull, 0.8)
    # the ball of the attack, times evasion and reach
    assert np.linalg.norm(turned[:4], norm) == pytest.approx(0.4)
    assert turned[4] == 0.0  # the intercept
    np.testing.assert_allclose(_turned(problem, pull / 100, 0.8)[:4], -pull[:4] / 100)


def test_weights_are_brought_within_the_radius_and_no_further():
    Q, p = np.full(4, 0.25), np.array([0.7, 0.1, 0.15, 0.05])
    near = within(Q, p, 0.05)
    assert np.sum(Q * np.log(Q / near)) == pytest.approx(0.05, rel=1e-6)
    np.testing.assert_array_equal(within(Q, p, 10.0), p)


def test_without_radii_it_is_the_plain_model():
    none = {"poisoning": 0.0, "statistical_radius": 0.0, "alpha": 0.1, "tol": 1e-10}
    X, y = drawn(2, "squared")
    ours = HolisticRobustRegressor(**none).fit(X, y)
    peer = Ridge(0.1 * len(y) / 2).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-6)
    assert ours.intercept_ == pytest.approx(peer.intercept_, abs=1e-6)
    X, y = drawn(2, "logistic")
    ours = HolisticRobustClassifier(**none).fit(X, y)
    peer = LogisticRegression(C=1 / (0.1 * len(y)), tol=1e-10).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-5)


def test_each_radius_raises_the_value():
    X, y = drawn(3, "logistic")
    values = [
        HolisticRobustClassifier(
            alpha=0.01, poisoning=a, statistical_radius=r, evasion_radius=e
        )
        .fit(X, y)
        .objective_
        for a, r, e in [(0, 0, 0), (0.02, 0, 0), (0.02, 0.02, 0), (0.02, 0.02, 0.05)]
    ]
    assert np.all(np.diff(values) > 1e-4)


@pytest.mark.parametrize("loss", ["logistic", "absolute"])
def test_weights_are_repeated_rows(loss):
    X, y = drawn(4, loss)
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    weight[:2] = 1
    model = model_for(loss, alpha=0.1, poisoning=0.05, evasion_radius=0.05)
    one = model.fit(X, y, weight)
    shares = one.worst_case_weights_
    assert shares.shape == y.shape and np.all(shares[weight == 0] == 0)
    value = one.objective_
    again = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert again.objective_ == pytest.approx(value, abs=2e-7)


def test_an_attack_within_the_ball_does_no_more_than_promised():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, :8])
    rng = np.random.default_rng(0)
    for norm in (2, np.inf):
        model = HolisticRobustClassifier(
            poisoning=0.0,
            statistical_radius=0.0,
            evasion_radius=0.1,
            norm=norm,
            alpha=0.01,
        ).fit(X, y)
        w, sign = model.coef_[0], np.where(y == 1, 1, -1)[:, None]
        worst = np.sign(w) if norm == np.inf else w / np.linalg.norm(w)
        loss = []
        for move in (worst, rng.normal(size=8)):
            size = np.abs(move).max() if norm == np.inf else np.linalg.norm(move)
            m = sign[:, 0] * model.decision_function(X - 0.1 * sign * move / size)
            loss.append(np.logaddexp(0, -m).mean())
        assert loss[0] == pytest.approx(model.robust_objective_, rel=1e-10)
        assert loss[1] < loss[0]


def test_the_value_bounds_the_clean_loss():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, :10])
    held, plain = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(y))
        train, test = rows[:300], rows[300:]
        noisy = np.where(rng.random(300) < 0.1, 1 - y[train], y[train])
        model = HolisticRobustClassifier(alpha=1e-3).fit(X[train], noisy)
        usual = LogisticRegression(C=1 / 0.3).fit(X[train], noisy)
        loss = [
            -m.predict_log_proba(X[test])[np.arange(len(test)), y[test]].mean()
            for m in (model, usual)
        ]
        held.append(loss[0] <= model.robust_objective_)
        plain.append(loss[0] - loss[1])
    assert np.mean(held) >= 0.9
    assert np.mean(plain) > 0  # the price


def test_units_of_the_target_change_nothing():
    for loss, power in (("squared", 2), ("absolute", 1)):
        X, y = drawn(5, loss)
        one = model_for(loss, evasion_radius=0.05).fit(X, y)
        other = model_for(loss, evasion_radius=0.05).fit(X, 1e6 * y + 1e3)
        np.testing.assert_allclose(other.coef_, 1e6 * one.coef_, rtol=1e-4, atol=1)
        size = 10.0 ** (6 * power)
        assert other.objective_ == pytest.approx(size * one.objective_, rel=1e-6)


@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared"])
def test_columns_far_from_zero_change_nothing(loss):
    X, y = drawn(6, loss)
    how = {"alpha": 0.01, "evasion_radius": 0.05}
    near, far = model_for(loss, **how).fit(X, y), model_for(loss, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far.fit(X + 1e8, y)  # times of the day in seconds, for instance
    assert far.objective_ == pytest.approx(near.objective_, abs=1e-6)
    # eight digits of each number are left
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-5)


def test_constant_scores_warn():
    X, y = drawn(6, "logistic")
    with pytest.warns(UserWarning, match="constant"):
        model = HolisticRobustClassifier(poisoning=0.6, evasion_radius=1.0).fit(X, y)
    assert np.abs(model.coef_).max() < 1e-5
    assert model.robust_objective_ == pytest.approx(np.log(2), abs=1e-5)


def test_bad_input_is_refused():
    X, y = drawn(7, "logistic")
    three = np.arange(len(y)) % 3
    with pytest.raises(ValueError, match="Only binary"):
        HolisticRobustClassifier().fit(X, three)
    with pytest.raises(ValueError, match="one class"):
        HolisticRobustClassifier().fit(X, np.zeros(len(y)))
    for bad in ({"poisoning": 1.5}, {"evasion_radius": -1}, {"norm": 1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            HolisticRobustRegressor(**bad).fit(X, y)
    assert not hasattr(HolisticRobustClassifier("hinge"), "predict_proba")


def test_a_search_over_the_evasion_radius():
    X, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), HolisticRobustRegressor(alpha=0.01))
    grid = {"holisticrobustregressor__evasion_radius": [0.0, 1.0]}
    search = GridSearchCV(model, grid, cv=3, n_jobs=2)
    with joblib.parallel_config(backend="threading"):
        search.fit(X[:200], y[:200])
    assert search.best_params_["holisticrobustregressor__evasion_radius"] == 0.0
    assert search.best_score_ > 0.3
