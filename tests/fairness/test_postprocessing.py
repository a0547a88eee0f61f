"""Fair post-processing: the program, its certificate, and what the rules decide."""

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from skdiff._base.draws import row_hashes, uniforms
from skdiff.fairness import (
    EqualizedOddsPostprocessor,
    FairFrontierDisplay,
    GroupROCDisplay,
    group_roc_hull,
    unprocess,
)
from skdiff.fairness._postprocessing._hull import RocHull, mixture, roc_hull
from skdiff.fairness._postprocessing._problem import (
    FairProblem,
    LinearProgram,
    solve_fair,
    solve_statement,
)
from skdiff.fairness._postprocessing._rules import (
    GroupScores,
    bootstrap_violation,
    group_hulls,
    group_masses,
    rates,
    violation_of,
)

CONSTRAINTS = (
    "equalized_odds",
    "true_positive_rate_parity",
    "false_positive_rate_parity",
    "demographic_parity",
)


def population(n, n_groups, seed=0, digits=3):
    """Scores whose meaning differs between groups, with ties."""
    rng = np.random.default_rng(seed)
    g = rng.integers(n_groups, size=n)
    y = (rng.random(n) < 0.3 + 0.1 * g).astype(int)
    s = rng.normal(size=n) + (0.5 + 0.5 * g) * y - 0.3 * g
    return GroupScores(np.round(s, digits), g, y == 1, np.ones(n))


def problem_of(rows, constraints=("equalized_odds",), norm="inf", costs=(1.0, 1.0)):
    n_groups = int(rows.codes.max()) + 1
    masses = group_masses(rows, n_groups)
    hulls = group_hulls(rows, n_groups)
    return FairProblem(hulls, *masses, *costs, tuple(constraints), norm)


def score_table(n=600, seed=0):
    """A column that is the probability itself, for frozen models; groups by name."""
    rows = population(n, 2, seed)
    X = np.column_stack([rows.scores, np.arange(n)])
    return X, rows.positive.astype(int), np.array(["left", "right"])[rows.codes]


class FirstColumn(sklearn.base.ClassifierMixin, sklearn.base.BaseEstimator):
    """The first column, as log odds."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-np.asarray(X, float)[:, 0]))
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return self.classes_[(np.asarray(X, float)[:, 0] > 0).astype(int)]


def frozen(y):
    return FrozenEstimator(FirstColumn().fit(None, y))


# --- hulls --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200), st.integers(0, 10**6), st.integers(0, 2), st.integers(1, 4))
def test_a_hull_lies_above_every_threshold_and_touches_some(n, seed, digits, spread):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    y[:2] = [True, False]
    scores, weight = np.round(rng.normal(size=n) + y / spread, digits), rng.random(n)
    hull = roc_hull(scores, y, weight)
    fpr, tpr, _ = roc_curve(y, scores, sample_weight=weight, drop_intermediate=False)
    assert np.all(np.interp(fpr, hull.fpr, hull.tpr) >= tpr - 1e-12)
    for F, T, t in zip(*hull, strict=True):
        decided = scores >= t
        np.testing.assert_allclose(F, np.average(decided[~y], weights=weight[~y]))
        np.testing.assert_allclose(T, np.average(decided[y], weights=weight[y]))
    slopes = np.diff(hull.tpr) / np.maximum(np.diff(hull.fpr), 1e-300)
    assert np.all(np.diff(slopes) < 0)


def test_many_rows_take_the_passes_and_give_the_same_hull():
    rows = population(30_000, 1, digits=12)
    hull = roc_hull(rows.scores, rows.positive, rows.weight)
    fpr, tpr, _ = roc_curve(rows.positive, rows.scores, drop_intermediate=False)
    assert np.all(np.interp(fpr, hull.fpr, hull.tpr) >= tpr - 1e-12)
    assert len(hull.fpr) < 200 and np.isin(hull.fpr, fpr).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_point_is_a_mixture_of_at_most_three_vertices(n, seed, a, b):
    rng = np.random.default_rng(seed)
    x = np.r_[0, np.sort(rng.random(n - 2)), 1] if n > 2 else np.array([0.0, 1.0])
    hull = RocHull(x, np.sqrt(x), np.linspace(1, 0, n))
    F = float(a)
    T = F + b * (np.interp(F, hull.fpr, hull.tpr) - F)  # between diagonal and hull
    vertices, weights = mixture(hull, np.array([F, T]))
    assert len(vertices) <= 3 and np.all(weights > 0)
    np.testing.assert_allclose(weights.sum(), 1)
    got = weights @ hull.fpr[vertices], weights @ hull.tpr[vertices]
    np.testing.assert_allclose(got, (F, T), atol=1e-9)


# --- the program --------------------------------------------------------------------


@pytest.mark.parametrize("n_groups", [2, 4])
@pytest.mark.parametrize("norm", ["inf", 1, 2])
def test_the_program_equals_the_statement_in_cvxpy(n_groups, norm):
    rows = population(1500, n_groups, seed=n_groups)
    for constraints in (("equalized_odds",), ("equalized_odds", "demographic_parity")):
        problem = problem_of(rows, constraints, norm, (1.0, 2.0))
        for tolerance in (0.0, 0.05, 0.3):
            ours = LinearProgram(problem).solve(tolerance)
            theirs = solve_statement(problem, tolerance)
            assert ours.converged and 0 <= ours.gap < 1e-8
            assert abs(ours.objective - theirs.objective) < 1e-7
            assert problem.violation(ours.x) <= tolerance + 1e-8


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_cost_falls_with_the_tolerance_and_is_convex(constraint):
    problem = problem_of(population(2000, 3), (constraint,))
    grid = np.linspace(0, 0.6, 31)
    costs = np.array([s.objective for s in solve_fair(problem, grid)])
    assert np.all(np.diff(costs) <= 1e-9)
    assert np.all(np.diff(costs, 2) >= -1e-9)


def test_a_certificate_does_not_trust_the_solver(monkeypatch):
    """Dual variables that are wrong give a lower bound all the same, and a gap."""
    import skdiff.fairness._postprocessing._problem as module

    problem, real = problem_of(population(500, 2)), module.linprog
    optimum = LinearProgram(problem).solve(0.05).objective

    def wrong(*arguments, **keywords):
        found = real(*arguments, **keywords)
        found.eqlin.marginals = found.eqlin.marginals + 0.05
        found.ineqlin.marginals = 0.5 * found.ineqlin.marginals
        return found

    monkeypatch.setattr(module, "linprog", wrong)
    claimed = LinearProgram(problem).solve(0.05)
    assert not claimed.converged
    assert claimed.objective - claimed.gap <= optimum
    # and the estimator's way falls back to cvxpy
    (found,) = solve_fair(problem, [0.05])
    assert abs(found.objective - optimum) < 1e-6


def test_strict_equality_shares_one_point_and_a_loose_bound_is_the_optimum():
    X, y, group = score_table()
    strict = EqualizedOddsPostprocessor(frozen(y)).fit(X, y, sensitive_features=group)
    points = np.array(list(strict.roc_points_.values()))
    np.testing.assert_allclose(points[0], points[1], atol=1e-9)
    loose = EqualizedOddsPostprocessor(frozen(y), tolerance=1.0)
    loose.fit(X, y, sensitive_features=group)
    best = unprocess(y, X[:, 0], sensitive_features=group)
    np.testing.assert_allclose(loose.cost_, 1 - best.accuracy, atol=1e-9)
    brute = 0.0
    for g in np.unique(group):
        m = group == g
        hits = [np.mean((X[m, 0] >= t) == y[m]) for t in (*X[m, 0], np.inf)]
        brute += max(hits) * m.mean()
    np.testing.assert_allclose(best.accuracy, brute)


def test_strict_solution_equals_that_of_fairlearn():
    postprocessing = pytest.importorskip("fairlearn.postprocessing")
    X, y, group = score_table(1500)
    ours = EqualizedOddsPostprocessor(frozen(y)).fit(X, y, sensitive_features=group)
    theirs = postprocessing.ThresholdOptimizer(
        estimator=FirstColumn().fit(None, y),
        constraints="equalized_odds",
        prefit=True,
        grid_size=5000,
        predict_method="predict_proba",
    )
    theirs.fit(X, y, sensitive_features=group)
    p = theirs._pmf_predict(X, sensitive_features=group)[:, 1]
    cost = np.mean(np.where(y == 1, 1 - p, p))
    assert ours.cost_ <= cost + 1e-9
    assert cost - ours.cost_ < 1e-3


def test_a_perfect_score_costs_nothing():
    rng = np.random.default_rng(0)
    y, group = rng.integers(2, size=200), rng.integers(3, size=200)
    model = EqualizedOddsPostprocessor(frozen(y))
    model.fit(np.column_stack([2.0 * y - 1, y]), y, sensitive_features=group)
    assert model.cost_ == pytest.approx(0, abs=1e-12)
    assert model.violation_ == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("solver", ["auto", "cvxpy"])
@pytest.mark.parametrize("norm", ["inf", 1, 2])
def test_expected_decisions_give_the_points(norm, solver):
    X, y, group = score_table()
    model = EqualizedOddsPostprocessor(
        frozen(y), tolerance=0.1, norm=norm, false_positive_cost=2.0, solver=solver
    ).fit(X, y, sensitive_features=group)
    p = model.predict_proba(X, sensitive_features=group)[:, 1]
    for g, point in model.roc_points_.items():
        for label, rate in enumerate(point):
            m = (group == g) & (y == label)
            np.testing.assert_allclose(p[m].mean(), rate, atol=1e-6)
        assert 1 <= len(model.thresholds_[g]) <= 3
    assert model.cost_ == pytest.approx(np.mean(np.where(y == 1, 1 - p, 2 * p)))
    expected = np.mean(np.where(y == 1, p, 1 - p))
    assert model.score(X, y, sensitive_features=group) == pytest.approx(expected)


# --- draws --------------------------------------------------------------------------


def test_draws_belong_to_rows_and_not_to_batches():
    X, y, group = score_table()
    model = EqualizedOddsPostprocessor(frozen(y), random_state=3)
    model.fit(X, y, sensitive_features=group)
    whole = model.predict(X, sensitive_features=group)
    assert len(np.unique(whole)) == 2
    order = np.random.default_rng(0).permutation(len(X))
    shuffled = model.predict(X[order], sensitive_features=group[order])
    np.testing.assert_array_equal(shuffled, whole[order])
    alone = [model.predict(X[[i]], sensitive_features=group[[i]])[0] for i in range(20)]
    np.testing.assert_array_equal(alone, whole[:20])
    rows = np.arange(40).repeat(3)
    twins = model.predict(X[rows], sensitive_features=group[rows])
    np.testing.assert_array_equal(twins, whole[rows])


def test_draws_have_the_probabilities_they_should():
    X, y, group = score_table(20_000)
    model = EqualizedOddsPostprocessor(frozen(y), random_state=0)
    model.fit(X, y, sensitive_features=group)
    p = model.predict_proba(X, sensitive_features=group)[:, 1]
    drawn = model.predict(X, sensitive_features=group)
    z = (drawn - p).sum() / np.sqrt((p * (1 - p)).sum())
    assert abs(z) < 4 and ((p > 0.01) & (p < 0.99)).sum() > 1000
    codes = (group == "right").astype(int)
    u = uniforms(X, codes, 0)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    # rows that differ in one bit, and neighbouring seeds, are independent
    steps = np.arange(5000.0)[:, None]
    first, second = uniforms(steps, codes[:5000], 1), uniforms(steps, codes[:5000], 2)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_hashes_see_the_row_and_not_its_container():
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    X = np.where(rng.random((50, 4)) < 0.5, 0.0, rng.integers(-3, 4, (50, 4)))
    hashes = row_hashes(X)
    np.testing.assert_array_equal(row_hashes(sparse.csr_matrix(X)), hashes)
    np.testing.assert_array_equal(row_hashes(X.astype(np.float32)), hashes)
    np.testing.assert_array_equal(row_hashes(pd.DataFrame(X)), hashes)
    np.testing.assert_array_equal(row_hashes(-X * -1), hashes)
    assert len(np.unique(hashes)) == len(np.unique(X, axis=0))
    assert not np.array_equal(row_hashes(X[:, ::-1]), hashes)
    mixed = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"]})
    assert len(np.unique(row_hashes(mixed))) == 3


# --- rows, weights, folds -----------------------------------------------------------


def test_weight_two_is_the_row_twice_and_weight_zero_is_absence():
    X, y, group = score_table(200)
    weight = np.random.default_rng(1).integers(0, 3, 200)
    rows = np.repeat(np.arange(200), weight)
    weighted = EqualizedOddsPostprocessor(frozen(y), tolerance=0.05)
    weighted.fit(X, y, sensitive_features=group, sample_weight=weight)
    repeated = EqualizedOddsPostprocessor(frozen(y), tolerance=0.05)
    repeated.fit(X[rows], y[rows], sensitive_features=group[rows])
    assert weighted.cost_ == pytest.approx(repeated.cost_, abs=1e-9)
    np.testing.assert_allclose(
        weighted.predict_proba(X, sensitive_features=group),
        repeated.predict_proba(X, sensitive_features=group),
        atol=1e-8,
    )


def test_scores_are_cross_fitted_and_a_splitter_is_taken_as_it_is():
    X, y = load_breast_cancer(return_X_y=True)
    X, group = X[:, :5], X[:, 5] > np.median(X[:, 5])
    splits = [
        (np.arange(200, 569), np.arange(200)),
        (np.arange(300), np.arange(300, 569)),
    ]
    base = LogisticRegression(max_iter=5000)
    model = EqualizedOddsPostprocessor(base, cv=splits).fit(
        X, y, sensitive_features=group
    )
    p = np.concatenate(
        [base.fit(X[a], y[a]).predict_proba(X[b])[:, 1] for a, b in splits]
    )
    rows = np.concatenate([b for _, b in splits])
    hulls = group_roc_hull(y[rows], p, sensitive_features=group[rows])
    for g, hull in zip(hulls, model._problem["hulls"], strict=True):
        np.testing.assert_allclose(hulls[g][0], hull[0])
        np.testing.assert_allclose(hulls[g][2], hull[2])


def test_cross_fitted_thresholds_keep_the_bound_where_training_scores_do_not():
    rng = np.random.default_rng(0)
    X, group = rng.normal(size=(1200, 20)), rng.integers(2, size=1200)
    y = (X[:, 0] + group * X[:, 1] + rng.normal(size=1200) > 0.5 * group).astype(int)
    train, test = slice(0, 400), slice(400, None)
    overfitting = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    honest = EqualizedOddsPostprocessor(overfitting, random_state=0)
    fitted = overfitting.fit(X[train], y[train])
    naive = EqualizedOddsPostprocessor(FrozenEstimator(fitted), random_state=0)
    gaps = []
    for model in (honest, naive):
        model.fit(X[train], y[train], sensitive_features=group[train])
        points = rates(
            model.predict_proba(X[test], sensitive_features=group[test])[:, 1],
            GroupScores(None, group[test], y[test] == 1, np.ones(800)),
            2,
        )
        gaps.append(np.abs(points[0] - points[1]).max())
    assert gaps[0] < gaps[1]


def test_a_decision_function_serves_as_a_score():
    X, y = load_breast_cancer(return_X_y=True)
    X, group = StandardScaler().fit_transform(X[:, :4]), X[:, 5] > 0.1
    model = EqualizedOddsPostprocessor(LinearSVC(), tolerance=0.1, random_state=0)
    assert model.fit(X, y, sensitive_features=group).violation_ <= 0.1 + 1e-9
    model.set_params(response_method="predict_proba")
    with pytest.raises(ValueError, match="no method predict_proba"):
        model.fit(X, y, sensitive_features=group)


# --- scikit-learn -------------------------------------------------------------------


def test_it_is_searched_by_its_own_score_with_routing():
    pd = pytest.importorskip("pandas")
    data = load_breast_cancer(as_frame=True)
    X = data.data.iloc[:, :4].assign(size=pd.cut(data.data["mean area"], 3).astype(str))
    y, group = data.target, (data.data["mean texture"] > 19).to_numpy()
    with sklearn.config_context(enable_metadata_routing=True):
        columns = make_column_transformer(
            (StandardScaler(), list(X.columns[:4])),
            (OneHotEncoder(handle_unknown="ignore"), ["size"]),
        )
        model = EqualizedOddsPostprocessor(
            make_pipeline(columns, LogisticRegression()), cv=3, random_state=0
        )
        model.set_fit_request(sensitive_features=True)
        model.set_score_request(sensitive_features=True)
        search = GridSearchCV(
            model,
            {
                "tolerance": [0.0, 0.2],
                "estimator__logisticregression__C": [0.01, 1.0],
            },
            cv=3,
            n_jobs=2,
        )
        with joblib.parallel_config("threading"):
            search.fit(X, y, sensitive_features=group)
        predicted = search.best_estimator_.predict(X, sensitive_features=group)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["tolerance"] == 0.2
    assert np.mean(predicted == y) > 0.8


def test_groups_are_any_hashable_labels():
    X, y, group = score_table(300)
    expected = EqualizedOddsPostprocessor(frozen(y), random_state=0)
    expected.fit(X, y, sensitive_features=group)
    named = {"left": ("f", 1), "right": ("m", 2)}
    tuples = [named[g] for g in group]
    model = EqualizedOddsPostprocessor(frozen(y), random_state=0)
    model.fit(X, y, sensitive_features=tuples)
    assert list(model.groups_) == [("f", 1), ("m", 2)]
    np.testing.assert_array_equal(
        model.predict(X, sensitive_features=tuples),
        expected.predict(X, sensitive_features=group),
    )
    pd = pytest.importorskip("pandas")
    series = pd.Series(group, dtype="category")
    model.fit(X, y, sensitive_features=series)
    assert list(model.groups_) == ["left", "right"]
    mixed = [1 if g == "left" else "two" for g in group]
    assert model.fit(X, y, sensitive_features=mixed).groups_.tolist() == [1, "two"]


def test_unknown_groups_are_refused_or_decided_as_a_random_known_one():
    X, y, group = score_table(400)
    model = EqualizedOddsPostprocessor(frozen(y), tolerance=0.3)
    model.fit(X, y, sensitive_features=group)
    new = group.astype(object)
    new[0] = "elsewhere"
    with pytest.raises(ValueError, match=r"\['elsewhere'\]"):
        model.predict(X, sensitive_features=new)
    model.set_params(unknown="pool")
    p = model.predict_proba(X[:1], sensitive_features=new[:1])[0, 1]
    each = [
        model.predict_proba(X[:1], sensitive_features=[g])[0, 1] for g in model.groups_
    ]
    shares = [np.mean(group == g) for g in model.groups_]
    assert p == pytest.approx(np.dot(shares, each))
    new[0] = None
    np.testing.assert_allclose(
        model.predict_proba(X[:1], sensitive_features=new[:1])[0, 1], p
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sensitive_features": None}, "requires sensitive_features"),
        ({"sensitive_features": ["a"] * 60}, "one group only, 'a'"),
        ({"sensitive_features": ["a"] * 59}, "59 entries for 60 rows"),
        ({"sensitive_features": ["a"] * 59 + [None]}, "1 missing values"),
        ({"sensitive_features": np.ones((60, 2))}, "one-dimensional"),
        ({"y": np.r_[np.zeros(30), np.ones(30)]}, "Group 'b' .* label 0.0"),
        ({"y": np.arange(60) % 3}, "Only binary"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"norm": 3}, "norm"),
        ({"constraint": ["parity"]}, "constraint must hold"),
        ({"constraint": []}, "constraint must hold"),
        ({"false_positive_cost": 0, "false_negative_cost": 0}, "both 0"),
        ({"sample_weight": np.r_[np.ones(30), np.zeros(30)]}, "one group only"),
    ],
)
def test_bad_input_is_named(changes, message):
    X, y = np.arange(120.0).reshape(60, 2), np.arange(60) % 2
    fit = {"sensitive_features": np.repeat(["a", "b"], 30)}
    parameters = {}
    for name, value in changes.items():
        if name == "y":
            y = value
        else:
            fits = name in ("sensitive_features", "sample_weight")
            (fit if fits else parameters)[name] = value
    model = EqualizedOddsPostprocessor(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **fit)
    with pytest.raises(NotFittedError):
        model.pareto_frontier()


def test_functions_refuse_bad_input():
    with pytest.raises(ValueError, match="no row with the label 1"):
        unprocess([0, 1, 0], [0.1, 0.2, 0.3], sensitive_features=["a", "a", "b"])
    with pytest.raises(ValueError, match="one class only"):
        group_roc_hull([1, 1], [0.1, 0.2], sensitive_features=["a", "b"])
    with pytest.raises(ValueError, match="NaN"):
        group_roc_hull([1, 0], [0.1, np.nan], sensitive_features=["a", "a"])


# --- on other rows ------------------------------------------------------------------


def test_the_bootstrap_of_cells_is_that_of_rows():
    rng = np.random.default_rng(0)
    rows = population(300, 3)
    p = rng.choice([0.0, 0.4, 1.0], 300)
    bounded = (("equalized_odds",), "inf")
    fast = bootstrap_violation(p, rows, bounded, 4000, np.random.default_rng(1))
    slow = np.empty(1000)
    for b in range(1000):
        drawn = rng.integers(300, size=300)
        sample = GroupScores(
            None, rows.codes[drawn], rows.positive[drawn], np.ones(300)
        )
        slow[b] = violation_of(rates(p[drawn], sample, 3), sample, *bounded)
    assert stats.ks_2samp(fast, slow).pvalue > 1e-3


def test_the_interval_of_the_violation_covers():
    """A known violation of 0.3 between two fixed rules, in samples of 400 rows."""
    X, y, group = score_table(20_000, seed=5)
    model = EqualizedOddsPostprocessor(frozen(y), tolerance=0.3, random_state=0)
    model.fit(X, y, sensitive_features=group)
    assert model.violation_ == pytest.approx(0.3)
    rng, hits = np.random.default_rng(0), 0
    for repeat in range(100):
        rows = rng.choice(len(X), 400)
        low, high = model.violation_interval(
            X[rows],
            y[rows],
            sensitive_features=group[rows],
            n_resamples=200,
            random_state=repeat,
        )
        hits += low <= 0.3 <= high
    assert hits >= 88


def test_the_frontier_and_the_displays():
    pytest.importorskip("pandas")
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y, group = score_table(800)
    model = EqualizedOddsPostprocessor(frozen(y), tolerance=0.1)
    model.fit(X[::2], y[::2], sensitive_features=group[::2])
    frontier = model.pareto_frontier([0.0, 0.1, 0.5])
    assert frontier.columns.tolist() == ["tolerance", "cost", "violation"]
    assert frontier["cost"][1] == pytest.approx(model.cost_)
    assert np.all(np.diff(model.pareto_frontier()["cost"]) <= 1e-9)
    with pytest.raises(ValueError, match="tolerances"):
        model.pareto_frontier([-1.0])
    display = FairFrontierDisplay.from_estimator(
        model,
        X[1::2],
        y[1::2],
        sensitive_features=group[1::2],
        tolerances=[0.1, 0.5],
    )
    frame = display.frame()
    p = model.predict_proba(X[1::2], sensitive_features=group[1::2])[:, 1]
    wrong = np.where(y[1::2] == 1, 1 - p, p).mean()
    assert frame["cost"][0] == pytest.approx(wrong)
    assert (frame["cost_low"] < frame["cost"]).all()
    assert display.ax_.figure is display.figure_
    roc = GroupROCDisplay.from_estimator(model)
    assert len(roc.lines_) == len(roc.points_) == 2
    assert roc.frame()["group"].nunique() == 2
    plt.close("all")
