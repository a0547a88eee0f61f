"""Constrained models: the certificate, the price, and the three ways of training."""

import joblib
import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale
from sklearn.utils import get_tags

from skdiff._convex._dual_ascent import box_qp
from skdiff.fairness import ConstrainedClassifier, ConstrainedRegressor, Constraint
from skdiff.neural_network import (
    AnyLossClassifier,
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
)

loss, gap = Constraint.loss_at_most, Constraint.rate_gap


def table(n=400, d=5, n_groups=2, seed=0):
    """Columns whose first differs between groups; labels, values and group names."""
    rng = np.random.default_rng(seed)
    g = rng.integers(n_groups, size=n)
    X = rng.normal(size=(n, d))
    X[:, 0] += 0.8 * g
    f = X @ np.linspace(1, -1, d) + 0.5 * g
    y = (f + rng.logistic(size=n) > 0).astype(int)
    values = f + (1 + g) * rng.normal(size=n)
    return X, y, values, np.array(["a", "b", "c", "d"])[g]


# --- against other solvers ----------------------------------------------------------

CASES = {
    "gap": [gap("score", at_most=0.3)],
    "strict gap": [gap("score", at_most=0.0)],
    "loss": [loss(0.52, where="b")],
    "two": [loss(0.6, where="a", name="a"), gap("score", at_most=0.9)],
    "inactive": [loss(50.0), gap("score", at_most=50.0)],
    "four": [
        loss(0.6),
        loss(0.53, where="b", name="b"),
        gap("score", at_most=0.5),
        loss(0.7, where=lambda X: X[:, 1] > 0),
    ],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_groups", [2, 3])
def test_logistic_regression_equals_cvxpy(case, n_groups):
    X, y, _, g = table(n_groups=n_groups)
    found = [
        ConstrainedClassifier(constraints=CASES[case], solver=solver).fit(
            X, y, sensitive_features=g
        )
        for solver in ("auto", "cvxpy")
    ]
    ours, theirs = found
    assert abs(ours.objective_ - theirs.objective_) < 1e-8
    assert ours.feasible_ and 0 <= ours.dual_gap_ < 1e-6
    if not (case == "strict gap" and n_groups > 2):  # multipliers are not unique there
        for entry, value in ours.multipliers_.items():
            assert value == pytest.approx(theirs.multipliers_[entry], abs=1e-5)
    # complementary slackness
    for entry, value in ours.multipliers_.items():
        assert abs(value * ours.violations_[entry]) < 1e-6
        assert ours.price_[entry] == -value


@pytest.mark.parametrize(
    "constraints",
    [
        [loss(4.75, where="b")],
        [Constraint.mean_prediction(0.1), loss(1.3, where="a")],
        [gap("score", at_most=0.2)],
        [loss(100.0)],
    ],
)
def test_ridge_equals_cvxpy(constraints):
    X, _, y, g = table(n=300)
    weight = np.random.default_rng(0).uniform(0.5, 2, 300)
    found = [
        ConstrainedRegressor(Ridge(2.0), constraints, solver=solver).fit(
            X, y, sensitive_features=g, sample_weight=weight
        )
        for solver in ("auto", "cvxpy")
    ]
    assert abs(found[0].objective_ - found[1].objective_) < 1e-7
    for entry, value in found[0].multipliers_.items():
        assert value == pytest.approx(found[1].multipliers_[entry], abs=1e-4)


def test_three_classes_equal_cvxpy():
    X, y = load_iris(return_X_y=True)
    X, g = X[:, :2], np.where(X[:, 2] > 4, "long", "short")
    base = ConstrainedClassifier().fit(X, y)
    free = log_loss(
        y[g == "long"], base.predict_proba(X[g == "long"]), labels=[0, 1, 2]
    )
    limits = [loss(0.95 * free, where="long")]
    found = [
        ConstrainedClassifier(constraints=limits, solver=s).fit(
            X, y, sensitive_features=g
        )
        for s in ("auto", "cvxpy")
    ]
    ours, theirs = found
    assert abs(ours.objective_ - theirs.objective_) < 1e-7
    assert ours.multipliers_["loss[long]"] > 0.01
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3
    )


def test_the_statement_helps_where_the_ascent_fails(monkeypatch):
    from skdiff.fairness._constrained import _base

    X, y, _, g = table(200)
    limits = [gap("score", at_most=0.3)]
    right = ConstrainedClassifier(constraints=limits).fit(X, y, sensitive_features=g)

    def fails(problem, x, multipliers, **how):
        found = real(problem, x, multipliers, **how | {"max_iter": 1})
        return found._replace(converged=False, gap=np.inf)

    real = _base.dual_newton
    monkeypatch.setattr(_base, "dual_newton", fails)
    model = ConstrainedClassifier(constraints=limits).fit(X, y, sensitive_features=g)
    assert model.objective_ == pytest.approx(right.objective_, abs=1e-8)
    assert model.feasible_


def test_without_constraints_it_is_the_model_itself():
    X, y, values, _ = table()
    tight = {"tol": 1e-10, "max_iter": 10_000}
    for C in (0.1, 10.0):
        ours = ConstrainedClassifier(LogisticRegression(C=C)).fit(X, y)
        theirs = LogisticRegression(C=C, **tight).fit(X, y)
        np.testing.assert_allclose(ours.estimator_.coef_, theirs.coef_, atol=1e-5)
    ours = ConstrainedClassifier(LogisticRegression(class_weight="balanced")).fit(X, y)
    theirs = LogisticRegression(class_weight="balanced", **tight).fit(X, y)
    np.testing.assert_allclose(ours.estimator_.coef_, theirs.coef_, atol=1e-5)
    for model in (Ridge(3.0), LinearRegression(), Ridge(1.0, fit_intercept=False)):
        ours = ConstrainedRegressor(model).fit(X, values)
        np.testing.assert_allclose(
            ours.predict(X), model.fit(X, values).predict(X), atol=1e-8
        )


def test_an_inactive_constraint_changes_no_bit():
    X, y, _, g = table()
    free = ConstrainedClassifier().fit(X, y)
    bound = ConstrainedClassifier(constraints=CASES["inactive"])
    bound.fit(X, y, sensitive_features=g)
    np.testing.assert_array_equal(bound.estimator_.coef_, free.estimator_.coef_)
    assert set(bound.multipliers_.values()) == {0.0}
    network = LipschitzMLPClassifier(
        lipschitz_bound=2.0, hidden_layer_sizes=(4,), max_iter=5, random_state=0
    )
    alone = sklearn.base.clone(network).fit(X, y)
    bound = ConstrainedClassifier(network, [loss(50.0)]).fit(X, y)
    np.testing.assert_array_equal(bound.predict_proba(X), alone.predict_proba(X))


def test_the_multiplier_is_the_price_of_the_bound():
    X, y, _, g = table()
    pytest.importorskip("pandas")
    model = ConstrainedClassifier(constraints=[gap("score", at_most=0.3)])
    bounds = np.array([0.2999, 0.3, 0.3001])
    path = model.constraint_path(X, y, {"score_gap": bounds}, sensitive_features=g)
    slope = (path["objective"][2] - path["objective"][0]) / 2e-4
    assert slope == pytest.approx(-path["multiplier"][1], rel=1e-3)
    whole = model.constraint_path(
        X, y, {"score_gap": np.linspace(0, 3, 13)}, sensitive_features=g
    )
    assert np.all(np.diff(whole["objective"]) <= 1e-9)
    assert np.all(np.diff(whole["objective"], 2) >= -1e-9)
    one = ConstrainedClassifier(constraints=[gap("score", at_most=0.25)])
    one.fit(X, y, sensitive_features=g)
    assert whole["objective"][1] == pytest.approx(one.objective_, abs=1e-9)
    with pytest.raises(ValueError, match="no constraint 'other'"):
        model.constraint_path(X, y, {"other": [1]}, sensitive_features=g)


def test_what_cannot_hold_is_reported_with_the_smallest_violation():
    X, _, y, g = table()
    model = ConstrainedRegressor(
        Ridge(1e-6), [loss(0.5, where="b"), loss(9.0, where="a", name="a")]
    )
    least = LinearRegression().fit(X[g == "b"], y[g == "b"])
    smallest = np.mean((y - least.predict(X))[g == "b"] ** 2) - 0.5
    with pytest.raises(ValueError, match="cannot all hold") as raised:
        model.fit(X, y, sensitive_features=g)
    reported = float(str(raised.value).split("loss[b]': ")[1].split("}")[0])
    assert reported == pytest.approx(smallest, abs=1e-4)
    model.set_params(on_infeasible="relax").fit(X, y, sensitive_features=g)
    assert not model.feasible_
    assert model.violations_["loss[b]"] == pytest.approx(smallest, abs=1e-4)
    assert model.violations_["a"] <= 1e-6


def test_the_box_program_keeps_its_optimality_conditions():
    rng = np.random.default_rng(0)
    for k in range(60):
        J, r = rng.integers(1, 10), rng.integers(1, 6)
        B = rng.normal(size=(J, r))
        B = np.vstack([B, -B]) if k % 2 else B
        J, M = len(B), B @ B.T
        g, low = rng.normal(size=J), -np.abs(rng.normal(size=J)) * (rng.random(J) < 0.5)
        high = np.full(J, 3.0)
        d = box_qp(M, g, low, high)
        moved = np.clip(d + g - M @ d, low, high) - d
        assert np.abs(moved).max() < 1e-9
        assert np.all((d >= low) & (d <= high))
    assert box_qp(np.zeros((0, 0)), np.zeros(0), np.zeros(0), np.zeros(0)).shape == (0,)


# --- rates --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["positive", "true_positive", "false_positive"])
def test_smooth_rates_are_kept_and_real_ones_reported(kind):
    X, y, _, g = table(1500)
    free = ConstrainedClassifier().fit(X, y)
    counted = np.ones(len(y), bool) if kind == "positive" else y == (kind[0] == "t")

    def rates(model):
        decided = model.predict(X)[counted]
        return [decided[g[counted] == k].mean() for k in "ab"]

    limits = [gap(kind, at_most=0.05)]
    model = ConstrainedClassifier(constraints=limits).fit(X, y, sensitive_features=g)
    assert model.feasible_ and not hasattr(model, "dual_gap_")
    real = np.ptp(rates(model))
    assert model.true_violations_[f"{kind}_gap"] == pytest.approx(real - 0.05)
    assert real < 0.1 and real < np.ptp(rates(free)) - 0.02
    assert model.score(X, y) > free.score(X, y) - 0.08
    assert model.near_optimality_gap_ < 1e-5
    with pytest.raises(ValueError, match="convex"):
        model.set_params(solver="cvxpy").fit(X, y, sensitive_features=g)


def test_a_budget_of_the_mean_probability():
    X, y, _, _ = table()
    model = ConstrainedClassifier(constraints=[Constraint.mean_prediction(0.3)])
    p = model.fit(X, y).predict_proba(X)[:, 1]
    assert p.mean() == pytest.approx(0.3, abs=1e-6)


def test_a_custom_loss_is_differentiated():
    X, _, y, _ = table()
    energy = Constraint(lambda f, y: f**2, 0.4, "energy")
    model = ConstrainedRegressor(constraints=[energy]).fit(X, y)
    assert np.mean(model.predict(X) ** 2) == pytest.approx(0.4, abs=1e-6)
    # the same bound as a loss of the target zero
    models = (LinearRegression(), Ridge(100.0))
    bound = np.mean([(y - m.fit(X, y).predict(X)) ** 2 for m in models])
    shifted = Constraint(lambda f, y: (y - f) ** 2, bound, "own")
    own = ConstrainedRegressor(Ridge(100.0), [shifted]).fit(X, y)
    built = ConstrainedRegressor(Ridge(100.0), [loss(bound)]).fit(X, y)
    assert built.multipliers_["loss"] > 0
    assert own.objective_ == pytest.approx(built.objective_, abs=1e-5)
    with pytest.raises(ValueError, match="one loss per row"):
        wrong = Constraint(lambda f, y: f.sum(), 1.0)
        ConstrainedRegressor(constraints=[wrong]).fit(X, y)


# --- networks and other models ------------------------------------------------------


def test_descent_and_ascent_reach_the_exact_solution_of_a_linear_network():
    X, y, _, g = table(500, 4)
    X = scale(X)
    limits = [gap("score", at_most=0.3)]
    exact = ConstrainedClassifier(LogisticRegression(C=np.inf), limits)
    exact.fit(X, y, sensitive_features=g)
    network = AnyLossClassifier(
        hidden_layer_sizes=(),
        bce_weight=1.0,
        warmup_iter=0,
        learning_rate_init=0.05,
        max_iter=400,
        solver="sgd",
        random_state=0,
    )
    model = ConstrainedClassifier(network, limits, max_iter=200)
    model.fit(X, y, sensitive_features=g)
    losses = [log_loss(y, m.predict_proba(X)) for m in (exact, model)]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert model.multipliers_["score_gap"] == pytest.approx(
        exact.multipliers_["score_gap"], rel=0.1
    )
    assert abs(model.violations_["score_gap"]) < 0.02
    assert not hasattr(model.estimator_, "_added_loss")


def test_a_network_regressor_reaches_the_exact_solution_in_the_units_of_y():
    X, _, y, g = table(150, 4)
    unit = 1000.0
    y = unit * y
    limits = [gap("score", at_most=0.4 * unit)]
    exact = ConstrainedRegressor(LinearRegression(), limits)
    exact.fit(X, y, sensitive_features=g)
    network = LipschitzMLPRegressor(
        lipschitz_bound=50.0,
        hidden_layer_sizes=(4,),
        activation="identity",
        alpha=0.0,
        max_iter=200,
        n_iter_no_change=300,
        learning_rate_init=0.03,
        random_state=0,
    )
    model = ConstrainedRegressor(network, limits, max_iter=100, dual_step=1.0)
    model.fit(X, y, sensitive_features=g)
    assert model.objective_ == pytest.approx(exact.objective_, rel=0.01)
    assert model.multipliers_["score_gap"] == pytest.approx(
        exact.multipliers_["score_gap"], rel=0.1
    )
    assert abs(model.violations_["score_gap"]) < 0.02 * unit


@pytest.mark.parametrize("unit", [1e-6, 1e7])
def test_an_exact_fit_is_the_same_in_any_unit_of_y(unit):
    X, _, y, g = table(200)

    def fitted(unit, bound):
        energy = Constraint(lambda f, y: (f / unit) ** 2, 2.5, "energy")
        score = gap("score", at_most=0.2 * unit)
        limits = [score, energy, loss(bound * unit**2, where="b")]
        model = ConstrainedRegressor(Ridge(), limits)
        return model.fit(X, unit * y, sensitive_features=g)

    one, other = fitted(1.0, 9.0), fitted(unit, 9.0)
    assert one.multipliers_["score_gap"] > 0 and one.multipliers_["energy"] > 0
    np.testing.assert_allclose(other.predict(X) / unit, one.predict(X), atol=1e-6)
    assert other.objective_ == pytest.approx(unit**2 * one.objective_)
    for name, power in (("score_gap", 1), ("energy", 2)):
        expected = unit**power * one.multipliers_[name]
        assert other.multipliers_[name] == pytest.approx(expected, rel=1e-4)
    for scale_of_y in (1.0, unit):
        with pytest.raises(ValueError, match="cannot all hold"):
            fitted(scale_of_y, 1.0)


def test_refits_do_not_depend_on_the_unit_of_y():
    X, _, y, g = table(200)
    found = []
    for unit in (1.0, 1024.0):
        limits = [loss(2.0 * unit**2, where="b")]
        model = ConstrainedRegressor(LinearRegression(positive=True), limits)
        model.fit(X, unit * y, sensitive_features=g)
        found.append((model.n_iter_, model.multipliers_["loss[b]"], model.feasible_))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("select", ["last", "feasible", "mixture"])
def test_a_network_keeps_rates_and_selects_iterates(select):
    X, y, _, g = table(400)
    network = LipschitzMLPClassifier(
        lipschitz_bound=4.0,
        hidden_layer_sizes=(8,),
        max_iter=60,
        learning_rate_init=0.02,
        random_state=0,
    )
    limits = [gap("positive", at_most=0.05), loss(0.8)]
    model = ConstrainedClassifier(
        network, limits, select=select, dual_step=1.0, max_iter=60, temperature=0.5
    )
    model.fit(X, y, sensitive_features=g)
    free = sklearn.base.clone(network).fit(X, y)
    before, after = (
        np.ptp([m.predict(X)[g == k].mean() for k in "ab"]) for m in (free, model)
    )
    assert after < before - 0.05
    if select == "feasible":
        assert model.feasible_ == (max(model.violations_.values()) <= 1e-3)
    if select == "mixture":
        parts = [m.predict_proba(X) for m in model._estimators]
        assert len(parts) > 1
        np.testing.assert_allclose(model.predict_proba(X), np.mean(parts, axis=0))


def test_any_model_with_weights_serves_losses():
    X, y, _, g = table(600)
    free = GaussianNB().fit(X, y)
    own = log_loss(y[g == "a"], free.predict_proba(X[g == "a"]))
    limits = [loss(own - 0.01, where="a")]
    model = ConstrainedClassifier(GaussianNB(), limits, dual_step=1.0)
    model.fit(X, y, sensitive_features=g)
    assert model.violations_["loss[a]"] < 2e-3 and model.multipliers_["loss[a]"] > 0
    assert log_loss(y[g == "a"], model.predict_proba(X[g == "a"])) < own - 0.007
    with pytest.raises(ValueError, match="losses only"):
        ConstrainedClassifier(GaussianNB(), [gap("score", at_most=1)]).fit(
            X, y, sensitive_features=g
        )


def test_dual_ascent_with_refits_reaches_the_exact_solution():
    """A ridge regression that is not known to be one: positive coefficients."""
    X, _, y, g = table(300, 3, seed=2)
    y = 5 * (np.abs(X) @ [1.0, 0.5, 0.2] + y / 4)
    X = np.abs(X)
    exact = ConstrainedRegressor(LinearRegression())
    free = exact.fit(X, y)
    assert np.all(free.estimator_.coef_ > 0)
    own = np.mean((y - free.predict(X))[g == "b"] ** 2)
    limits = [loss(0.97 * own, where="b")]
    exact = ConstrainedRegressor(LinearRegression(), limits)
    exact.fit(X, y, sensitive_features=g)
    refits = ConstrainedRegressor(LinearRegression(positive=True), limits)
    refits.fit(X, y, sensitive_features=g)
    assert exact.multipliers_["loss[b]"] > 0
    assert refits.objective_ == pytest.approx(exact.objective_, abs=2e-3)
    assert refits.multipliers_["loss[b]"] == pytest.approx(
        exact.multipliers_["loss[b]"], rel=0.1
    )


# --- in the hands of scikit-learn ---------------------------------------------------


def test_a_pipeline_with_sparse_columns_is_solved_exactly():
    pd = pytest.importorskip("pandas")
    data = load_breast_cancer(as_frame=True)
    size = pd.cut(data.data["mean area"], 4).astype(str).to_frame()
    g = (data.data["mean texture"] > 19).to_numpy()
    model = ConstrainedClassifier(
        make_pipeline(OneHotEncoder(), LogisticRegression()),
        [gap("score", at_most=0.2)],
    )
    model.fit(size, data.target, sensitive_features=g)
    f = model.estimator_.decision_function(size)
    assert abs(f[g].mean() - f[~g].mean()) == pytest.approx(0.2, abs=1e-6)
    assert model.feature_names_in_.tolist() == ["mean area"]


@pytest.mark.parametrize("limits", [[loss(0.62, where="a")], [loss(0.55)]])
def test_sparse_rows_give_the_model_of_dense_ones(limits):
    X, y, values, g = table(200)
    X[np.abs(X) < 0.8] = 0.0
    for given, target in ((None, y), (GaussianNB(), y), (None, values)):
        kind = ConstrainedRegressor if target is values else ConstrainedClassifier
        bounds = [loss(2.5)] if target is values else limits
        model = kind(given, bounds, max_iter=5, on_infeasible="relax")
        if given is not None:  # its model takes no sparse rows
            with pytest.raises(TypeError, match=r"[Ss]parse"):
                model.fit(csr_array(X), target, sensitive_features=g)
            continue
        dense = model.fit(X, target, sensitive_features=g).predict(X)
        model.fit(csr_array(X), target, sensitive_features=g)
        assert get_tags(model).input_tags.sparse
        np.testing.assert_allclose(model.predict(csr_array(X)), dense, atol=1e-8)


def test_weights_of_classes_go_by_labels_and_by_the_weights_of_rows():
    X, y, _, g = table(200)
    labels = np.array(["no", "yes"])[y]
    weight = np.random.default_rng(0).integers(1, 4, size=200)
    twice = np.repeat(np.arange(200), weight)
    for class_weight in ("balanced", {"yes": 3.0, "no": 1.0}):
        inner = LogisticRegression(class_weight=class_weight, tol=1e-10)
        free = ConstrainedClassifier(inner).fit(X, labels, sample_weight=weight)
        inner.fit(X[twice], labels[twice])
        np.testing.assert_allclose(
            free.predict_proba(X), inner.predict_proba(X), atol=1e-6
        )
        model = ConstrainedClassifier(inner, [gap("score", at_most=0.1)])
        model.fit(X, labels, sensitive_features=g, sample_weight=weight)
        p = model.predict_proba(X)
        model.fit(X[twice], labels[twice], sensitive_features=g[twice])
        np.testing.assert_allclose(model.predict_proba(X), p, atol=1e-7)


def test_a_pipeline_of_one_step_is_its_model():
    X, y, _, g = table(100)
    limits = [gap("score", at_most=0.1)]
    alone = ConstrainedClassifier(LogisticRegression(), limits)
    alone.fit(X, y, sensitive_features=g)
    piped = ConstrainedClassifier(make_pipeline(LogisticRegression()), limits)
    piped.fit(X, y, sensitive_features=g)
    np.testing.assert_array_equal(piped.predict_proba(X), alone.predict_proba(X))
    assert list(piped.estimator_.named_steps) == ["logisticregression"]


def test_it_is_searched_over_bounds_with_routing():
    X, y = load_diabetes(return_X_y=True)
    g = np.where(X[:, 1] > 0, "f", "m")
    with sklearn.config_context(enable_metadata_routing=True):
        model = ConstrainedRegressor(make_pipeline(StandardScaler(), Ridge()))
        model.set_fit_request(sensitive_features=True)
        grid = {"constraints": [[gap("score", at_most=b)] for b in (0.0, 1e3)]}
        search = GridSearchCV(model, grid, cv=3, n_jobs=2)
        with joblib.parallel_config("threading"):
            search.fit(X, y, sensitive_features=g)
    assert search.best_params_["constraints"][0].bound in (0.0, 1e3)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_any_scale_of_the_weights_and_repeated_rows_are_one_problem():
    X, y, _, g = table(200)
    limits = [gap("score", at_most=0.3), loss(0.62, where="a")]
    model = ConstrainedClassifier(LogisticRegression(C=np.inf), limits)
    weight = np.random.default_rng(0).integers(0, 3, 200)
    rows = np.repeat(np.arange(200), weight)
    first = model.fit(X, y, sensitive_features=g, sample_weight=weight)
    first = first.predict_proba(X), first.multipliers_
    model.fit(X, y, sensitive_features=g, sample_weight=7.0 * weight)
    np.testing.assert_allclose(model.predict_proba(X), first[0], atol=1e-7)
    model.fit(X[rows], y[rows], sensitive_features=g[rows])
    np.testing.assert_allclose(model.predict_proba(X), first[0], atol=1e-6)
    assert model.multipliers_ == pytest.approx(first[1], abs=1e-6)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ([loss(0.1, where="nobody")], "'nobody'"),
        ([gap("score", at_most=0.1, groups=["a"])], "at least two groups"),
        ([loss(0.1), loss(0.2)], "same name 'loss'"),
        ([loss(0.1, where=lambda X: X[:, 0])], "one bool per row"),
        ([loss(0.1, where=lambda X: X[:, 0] > 1e9)], "no rows"),
        ([gap("true_positive", at_most=0.1)], "'b' has no row of the label"),
    ],
)
def test_bad_constraints_are_named(constraints, message):
    X, y, _, g = table(60)
    y = np.where(g == "b", 0, y)
    with pytest.raises(ValueError, match=message):
        ConstrainedClassifier(constraints=constraints).fit(X, y, sensitive_features=g)


def test_bad_input_is_named():
    X, y, values, g = table(60)
    with pytest.raises(ValueError, match="requires sensitive_features"):
        ConstrainedClassifier(constraints=[gap("score", at_most=1)]).fit(X, y)
    with pytest.raises(ValueError, match="two classes; y has 3"):
        three = np.arange(60) % 3
        model = ConstrainedClassifier(constraints=[gap("score", at_most=1)])
        model.fit(X, three, sensitive_features=g)
    with pytest.raises(ValueError, match="regressor does not make"):
        model = ConstrainedRegressor(constraints=[gap("positive", at_most=1)])
        model.fit(X, values, sensitive_features=g)
    with pytest.raises(ValueError, match="needs a classifier"):
        ConstrainedClassifier(Ridge()).fit(X, y)
    with pytest.raises(ValueError, match="frozen"):
        fitted = LogisticRegression().fit(X, y)
        ConstrainedClassifier(FrozenEstimator(fitted)).fit(X, y)
    with pytest.raises(ValueError, match="needs a linear model"):
        ConstrainedRegressor(RandomForestRegressor(2), solver="cvxpy").fit(X, values)
    with pytest.raises(TypeError, match="Constraint objects"):
        ConstrainedClassifier(constraints=[0.1]).fit(X, y)
    for make in (
        lambda: gap("score", at_most=-0.1),
        lambda: gap("nothing", at_most=0.1),
        lambda: loss(np.nan),
        lambda: Constraint(None, 0.1),
    ):
        with pytest.raises(ValueError):
            make()


def test_sparse_rows_give_the_dense_model():
    rng = np.random.default_rng(0)
    X, g = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    gap = Constraint.rate_gap("score", at_most=0.1)
    models = [
        ConstrainedClassifier(constraints=[gap]).fit(Z, y, sensitive_features=g)
        for Z in (X, csr_array(X))
    ]
    dense, sparsely = (m.predict_proba(X) for m in models)
    np.testing.assert_allclose(sparsely, dense, atol=1e-6)
