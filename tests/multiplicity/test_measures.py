"""Discrepancy, samples, volumes and sweeps against brute force and closed forms."""

import warnings
from itertools import combinations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from scipy.special import expit, gammaln, logit
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.multiplicity import RashomonClassifier, RashomonRegressor
from skdiff.multiplicity._sets import _discrepancy as numbers
from skdiff.multiplicity._sets import _sampling as sampling
from skdiff.multiplicity._sets._feasible import NO, YES, Feasibility
from skdiff.multiplicity._sets._statement import state_problem
from tests._versions import logistic_regression


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def audit(cancer):
    return RashomonClassifier(random_state=0).fit(*cancer)


def tiny(seed, n=12, epsilon=0.15):
    """Twelve rows, two coefficients, many of them ambiguous."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    y = (X @ [1.0, -0.5] + rng.normal(size=n) > 0).astype(int)
    y[:2] = [0, 1]
    estimator = LogisticRegression(C=1.0, fit_intercept=False)
    model = RashomonClassifier(estimator, epsilon=epsilon, random_state=0)
    return model.fit(X, y), X, y


def largest_subset(model, X, y, delta):
    """Try every subset of the ways to change a row, by another solver."""
    w0, n = model.coef_[0], len(y)
    f0 = X @ w0
    p0 = expit(f0)
    ways = []
    for i in range(n):
        if delta is None:
            sign = -1 if f0[i] > 0 else 1
            ways.append((i, sign * X[i], 0.0))
            continue
        if p0[i] + delta < 1:
            ways.append((i, X[i], logit(p0[i] + delta)))
        if p0[i] - delta > 0:
            ways.append((i, -X[i], -logit(p0[i] - delta)))

    def loss(w):
        f = X @ w
        value = np.mean(np.logaddexp(0, f) - y * f) + w @ w / 2 / n
        return value, X.T @ (expit(f) - y) / n + w / n

    def feasible(subset):
        A = np.array([ways[k][1] for k in subset])
        c = np.array([ways[k][2] for k in subset])
        found = minimize(
            loss,
            w0,
            jac=True,
            method="SLSQP",
            constraints=LinearConstraint(A, c, np.inf),
            options={"ftol": 1e-12, "maxiter": 200},
        )
        if not np.all(A @ found.x >= c - 1e-7):
            return False
        return found.fun <= model.objective_ + model.epsilon_ + 1e-9

    fine = [(k,) for k in range(len(ways)) if feasible((k,))]
    size = 0
    while fine:
        size += 1
        known, longer = set(fine), set()
        for first, second in combinations(fine, 2):
            union = tuple(sorted({*first, *second}))
            rows = [ways[k][0] for k in union]
            if len(union) == size + 1 and len(set(rows)) == len(rows):
                parts = combinations(union, size)
                if all(part in known for part in parts):
                    longer.add(union)
        fine = [subset for subset in sorted(longer) if feasible(subset)]
    return size


# --- discrepancy --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("delta", "epsilon"), [(None, 0.05), (0.15, 0.15)])
def test_exact_discrepancy_is_that_of_all_subsets(seed, delta, epsilon):
    model, X, y = tiny(seed, epsilon=epsilon)
    lower, upper, _ = model.discrepancy(X, delta, method="exact")
    assert lower == upper
    assert round(12 * lower) == largest_subset(model, X, y, delta)


@given(
    seed=st.integers(0, 1000),
    epsilon=st.sampled_from([0.01, 0.1, 1.0]),
    delta=st.sampled_from([None, 0.02, 0.2]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_bracket_is_in_order_and_attained(seed, epsilon, delta):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    model = RashomonClassifier(epsilon=epsilon, random_state=0).fit(X, y)
    lower, upper, best = model.discrepancy(X, delta)
    assert 0 <= lower <= upper <= model.ambiguity(X, delta)
    f = X @ best.coef_[0] + best.intercept_[0]
    loss = np.mean(np.logaddexp(0, f) - y * f) + best.coef_[0] @ best.coef_[0] / 120
    assert loss <= (model.objective_ + model.epsilon_) * (1 + 1e-9)
    if delta is None:
        changed = best.predict(X) != model.predict(X)
    else:
        changed = np.abs(best.predict_proba(X) - model.predict_proba(X))[:, 1] >= delta
    assert changed.mean() == lower


def test_breast_cancer_changes_six_of_its_sixteen_arbitrary_labels(audit, cancer):
    X, _ = cancer
    lower, upper, model = audit.discrepancy(X, method="exact")
    assert round(569 * lower) == round(569 * upper) == 6
    assert (model.predict(X) != audit.predict(X)).sum() == 6
    rough = audit.discrepancy(X)
    assert rough[0] <= lower <= rough[1] <= audit.ambiguity(X)


def test_repeated_query_rows_count_as_often_as_they_come():
    model, X, _ = tiny(1)
    once = model.discrepancy(X, method="exact")
    twice = model.discrepancy(np.vstack([X, X]), method="exact")
    assert once[:2] == twice[:2]
    # a row that counts nine times outweighs the others
    changes = model.conflicts(X)
    heavy = np.flatnonzero(changes)[0]
    many = np.vstack([X, np.repeat(X[[heavy]], 20, axis=0)])
    lower, upper, best = model.discrepancy(many, method="exact")
    assert lower == upper >= 21 / 32
    assert best.predict(X)[heavy] != model.predict(X)[heavy]


def test_a_threshold_of_ones_own_and_pipelines_and_frozen_models():
    X, y = load_breast_cancer(return_X_y=True)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    for estimator in (fitted, FrozenEstimator(fitted)):
        model = RashomonClassifier(estimator, threshold=0.3).fit(X, y)
        lower, upper, best = model.discrepancy(X)
        share = (best.predict_proba(X)[:, 1] > 0.3) != model.predict(X)
        assert share.mean() == lower <= upper <= model.ambiguity(X)
        assert best is not fitted and np.any(best[-1].coef_ != fitted[-1].coef_)


def test_nothing_to_change_is_zero():
    X = np.r_[np.full((20, 1), -3.0), np.full((20, 1), 3.0)]
    y = np.repeat([0, 1], 20)
    model = RashomonClassifier(epsilon=1e-4).fit(X, y)
    lower, upper, best = model.discrepancy(X, method="exact")
    assert lower == upper == 0
    np.testing.assert_allclose(best.coef_, model.coef_)


def test_regressions_are_bracketed_by_a_spectral_bound():
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(epsilon=0.05, random_state=0).fit(X, y)
    lower, upper, best = model.discrepancy(X, 20.0)
    assert (np.abs(best.predict(X) - model.predict(X)) >= 20).mean() == lower
    assert 0.15 < lower < upper < 0.6 < model.ambiguity(X, 20.0)
    # the ball itself, searched at random, stays below the upper bound
    level_set = model._set.level_set
    rays = sampling.draw_rays(
        level_set, model._set.budget, 4000, np.random.RandomState(1)
    )
    W = level_set.models(rays.radius[:, None] * rays.direction)
    moved = (
        np.abs((W - level_set.center) @ model._query(X).T * model._set.scaling.unit)
        >= 20
    )
    assert moved.mean(axis=1).max() <= upper


def test_rows_the_data_do_not_bound_are_changed_along_the_null_space():
    X, y = make_classification(200, 3, n_redundant=0, flip_y=0.2, random_state=0)
    X = np.column_stack([X, X[:, 0]])
    model = RashomonClassifier(LogisticRegression(C=np.inf), epsilon=0.01).fit(X, y)
    odd = X[:1] + np.eye(4)[[3]]
    assert model.conflicts(odd)[0]
    lower, upper, other = model.discrepancy(odd)
    assert lower == upper == 1.0
    assert other.predict(odd) != model.predict(odd)


def test_the_lower_bound_is_what_its_model_changes():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 2))
    X, y = np.column_stack([Z, Z.sum(axis=1)]), Z[:, 0] + rng.logistic(size=60) > 0
    estimator = LogisticRegression(C=np.inf)
    model = RashomonClassifier(estimator, epsilon=0.05, random_state=0).fit(X, y)
    odd = rng.normal(size=(10, 3))  # rows off the plane of the training rows
    rows = np.concatenate([X[:20], X[:20], X[:5], odd, odd, odd])
    lower, upper, other = model.discrepancy(rows)
    assert lower == np.mean(other.predict(rows) != model.predict(rows))
    assert 0.5 < lower <= upper <= 1


def test_repeated_rows_count_as_often_as_they_stand():
    # SciPy's non-negative least squares aborts on a matrix without columns
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 2))
    y = X[:, 1] + 1.5 * rng.logistic(size=50) > 0
    model = RashomonClassifier(epsilon=0.06, random_state=0).fit(X, y)
    on = X[model.conflicts(X)][:5]
    rows = np.concatenate([on, on[:1], on[:1]])
    lower, upper, other = model.discrepancy(rows)
    assert lower == np.mean(other.predict(rows) != model.predict(rows))
    assert lower <= upper <= 1
    single = model.discrepancy(on)[:2]
    np.testing.assert_allclose(model.discrepancy(np.tile(on, (3, 1)))[:2], single)


def test_verdicts_agree_with_cvxpy(audit, cancer):
    X, _ = cancer
    level_set, V = audit._set.level_set, audit._query(X)
    rows = np.flatnonzero(audit.conflicts(X))[:8]
    signs = np.where(V[rows] @ level_set.center > 0, -1.0, 1.0)
    U, norms = level_set.whitened_directions(V[rows])
    A = signs[:, None] * U
    c = -signs * (V[rows] @ level_set.center) / norms
    asked = Feasibility.of(level_set, audit._set.budget)
    first, second = np.triu_indices(len(rows), 1)
    pairs = asked.pairs(A, c, first, second)
    statement, w, v = state_problem(level_set.problem, 1.0)
    objective = statement.constraints[0].args[0]  # of the loss plus its penalty
    v.value = np.zeros(V.shape[1])
    seen = set()
    for i, j, verdict in zip(first, second, pairs, strict=True):
        demands = [signs[k] * (V[rows[k]] @ w) >= 0 for k in (i, j)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it often says inaccurate: to six digits
            least = cp.Problem(cp.Minimize(objective), demands).solve("CLARABEL")
        over = least - level_set.objective - audit._set.budget
        assert abs(over) > 1e-3 * audit._set.budget  # no close call among these
        fits = over < 0
        assert verdict == (YES if fits else NO)
        assert asked.together(A[[i, j]], c[[i, j]]).verdict == verdict
        seen.add(verdict)
    assert seen == {YES, NO}


def test_an_unfinished_search_says_so(audit, cancer, monkeypatch):
    X, _ = cancer
    monkeypatch.setattr(numbers, "MOST_CHECKS", 1)
    with pytest.warns(ConvergenceWarning, match="left the discrepancy between 6 and 7"):
        lower, upper, _ = audit.discrepancy(X, method="exact")
    assert lower < upper


def test_colours_bound_every_clique():
    rng = np.random.default_rng(0)
    for _ in range(10):
        linked = np.triu(rng.uniform(size=(8, 8)) < 0.5, 1)
        linked = linked | linked.T | np.eye(8, dtype=bool)
        weight = rng.integers(1, 4, 8).astype(float)
        vertices, bounds = numbers.colour(linked, weight, np.arange(8))
        for size in range(1, 9):
            for subset in combinations(range(8), size):
                if linked[np.ix_(subset, subset)].all():
                    last = max(np.flatnonzero(np.isin(vertices, subset)))
                    assert weight[list(subset)].sum() <= bounds[last]


# --- samples and volume -------------------------------------------------------------


@pytest.fixture(scope="module")
def plane():
    """A two-dimensional set and a grid over it, far from an ellipse."""
    X, y = make_classification(
        60, 2, n_informative=2, n_redundant=0, flip_y=0.1, class_sep=1.5, random_state=1
    )
    model = RashomonClassifier(
        LogisticRegression(C=3.0, fit_intercept=False), epsilon=0.5, random_state=0
    ).fit(X, y)
    span = model.coef_range()
    axes = [np.linspace(*end, 801) for end in span]
    W = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    inside = np.zeros(len(W), dtype=bool)
    for start in range(0, len(W), 100_000):
        part = W[start : start + 100_000]
        F = part @ X.T
        L = np.mean(np.logaddexp(0, F) - y * F, axis=1)
        L += (part**2).sum(1) / 2 / 3.0 / len(y)
        inside[start : start + 100_000] = model.objective_ + model.epsilon_ >= L
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    return model, W[inside], cell, X, y


def test_samples_are_uniform_over_a_grid(plane):
    model, grid, _, X, y = plane
    coef, intercept, weight = model.sample(20_000)
    assert (intercept == 0).all() and weight.sum() == pytest.approx(1)
    F = coef @ X.T
    L = np.mean(np.logaddexp(0, F) - y * F, axis=1) + (coef**2).sum(1) / 6 / len(y)
    assert (model.objective_ + model.epsilon_ >= L - 1e-10).all()
    size = 1 / (weight**2).sum()
    assert size > 4000
    error = 5 * grid.std(axis=0) / np.sqrt(size)
    assert (np.abs(weight @ coef - grid.mean(axis=0)) < error).all()
    spread = weight @ (coef - weight @ coef) ** 2
    np.testing.assert_allclose(spread, grid.var(axis=0), rtol=0.05)


def test_volumes_and_ratios_are_those_of_the_grid(plane):
    model, grid, cell, _, _ = plane
    want = np.log(len(grid) * cell)
    value, error = model.log_volume(20_000, return_std=True)
    assert abs(value - want) < 5 * error + 1e-3
    assert model.log_volume(20_000) == value
    radius = np.linalg.norm(model.coef_)  # cuts the set
    share = (np.linalg.norm(grid, axis=1) <= radius).sum() * cell / np.pi / radius**2
    value, error = model.log_volume_ratio(radius, 20_000, return_std=True)
    assert abs(value - np.log(share)) < 5 * error + 1e-3
    box = np.array([[-1.0, 5.0], [-2.0, 3.0]])
    within = ((box[:, 0] <= grid) & (grid <= box[:, 1])).all(axis=1).sum()
    value, error = model.log_volume_ratio(box, 20_000, return_std=True)
    assert abs(value - np.log(within * cell / 30)) < 5 * error + 1e-3
    assert model.log_volume_ratio(box + 1000) == -np.inf


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_the_volume_of_an_ellipsoid_has_no_error(scale):
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(Ridge(0.1), epsilon=0.02).fit(X * scale, y)
    value, error = model.log_volume(50, return_std=True)
    want = 11 / 2 * np.log(np.pi) - gammaln(11 / 2 + 1)
    want += 11 / 2 * np.log(2 * model.epsilon_)
    want -= np.linalg.slogdet(model.hessian_)[1] / 2
    assert value == pytest.approx(want, abs=1e-8) and error < 1e-12
    coef, intercept, weight = model.sample(200, random_state=1)
    np.testing.assert_allclose(weight, 1 / 200)
    Z = np.column_stack([coef, intercept]) - np.append(model.coef_, model.intercept_)
    reach = np.einsum("ij,jk,ik->i", Z, model.hessian_, Z) / 2 / model.epsilon_
    assert (reach <= 1).all()
    # the radius of a uniform draw, to the power of the dimension, is uniform
    assert np.mean(reach**5.5) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("epsilon", "share", "ratio", "error"),
    [(0.01, 1835, 1.008, 0.007), (0.05, 1208, 1.053, 0.019)],
)
def test_breast_cancer_volumes_have_their_known_figures(
    cancer, epsilon, share, ratio, error
):
    model = RashomonClassifier(epsilon=epsilon, random_state=0).fit(*cancer)
    _, _, weight = model.sample(2000)
    assert 1 / (weight**2).sum() == pytest.approx(share, rel=0.05)
    value, std = model.log_volume(8000, return_std=True)
    ellipsoid = 31 / 2 * np.log(2 * np.pi * model.epsilon_) - gammaln(31 / 2 + 1)
    ellipsoid -= np.linalg.slogdet(model.hessian_)[1] / 2
    assert std < error
    assert np.exp(value - ellipsoid) == pytest.approx(ratio, abs=4 * error)


def test_few_effective_draws_are_mixed_by_hit_and_run(cancer):
    model = RashomonClassifier(epsilon=0.5, random_state=0).fit(*cancer)
    with pytest.warns(ConvergenceWarning, match="mixed by hit-and-run"):
        coef, intercept, weight = model.sample(400)
    np.testing.assert_allclose(weight, 1 / 400)
    X, y = cancer
    F = coef @ X.T + intercept[:, None]
    L = np.mean(np.logaddexp(0, F) - y * F, axis=1) + (coef**2).sum(1) / 2 / 569
    assert (model.objective_ + model.epsilon_ >= L - 1e-9).all()
    assert len(np.unique(coef[:, 0])) == 400


def test_hit_and_run_draws_are_uniform_over_the_grid(plane):
    model, grid, _, _, _ = plane
    level_set = model._set.level_set
    rng = np.random.RandomState(0)
    U = np.zeros((3000, 2))
    U = sampling.hit_and_run(level_set, U, model._set.budget, 12, rng)
    coef, _ = model._set.scaling.features(level_set.models(U))
    error = 5 * grid.std(axis=0) / np.sqrt(3000)
    assert (np.abs(coef.mean(axis=0) - grid.mean(axis=0)) < error).all()
    np.testing.assert_allclose(coef.std(axis=0), grid.std(axis=0), rtol=0.08)


def test_the_same_seed_draws_the_same(audit):
    for first, second in zip(audit.sample(20), audit.sample(20), strict=True):
        np.testing.assert_array_equal(first, second)
    other = audit.sample(20, random_state=1)[0]
    assert not np.array_equal(audit.sample(20)[0], other)


# --- many tolerances ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["relative", "lr"])
def test_a_sweep_is_what_single_fits_say(cancer, kind):
    X, y = cancer
    epsilons = [0.3, 0.001, 0.05, 0.9, 0.001]  # in no order, one twice
    model = RashomonClassifier(epsilon=0.01, epsilon_type=kind).fit(X, y)
    widths = model.profile(X[:25], epsilons)
    assert widths.shape == (5, 25)
    for epsilon, width in zip(epsilons, widths, strict=True):
        single = RashomonClassifier(epsilon=epsilon, epsilon_type=kind).fit(X, y)
        want = np.diff(single.predict_proba_range(X[:25]))[:, 0]
        np.testing.assert_allclose(width, want, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(widths[1], widths[4])


def test_a_sweep_of_regressions_is_the_root_of_the_tolerance():
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(epsilon=0.01).fit(X, y)
    widths = model.profile(X[:9], [0.01, 0.04])
    np.testing.assert_allclose(widths[1], 2 * widths[0], rtol=1e-12)
    np.testing.assert_allclose(widths[0], np.diff(model.predict_range(X[:9]))[:, 0])


@pytest.mark.parametrize("epsilons", [np.geomspace(1e-4, 0.8, 9), [1e-8, 1e-3, 5.0]])
def test_levels_between_solved_ones_are_solved_too(cancer, epsilons):
    X, y = cancer
    model = RashomonClassifier(epsilon=0.01).fit(X, y)
    for epsilon, width in zip(epsilons, model.profile(X[:9], epsilons), strict=True):
        single = RashomonClassifier(epsilon=epsilon).fit(X, y)
        want = np.diff(single.predict_proba_range(X[:9]))[:, 0]
        np.testing.assert_allclose(width, want, rtol=1e-6, atol=1e-12)


def test_one_path_under_an_l1_penalty_passes_all_tolerances():
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(Lasso(0.5)).fit(X, y)
    epsilons = [0.2, 1e-4, 0.01, 0.01]
    for epsilon, width in zip(epsilons, model.profile(X[:9], epsilons), strict=True):
        single = RashomonRegressor(Lasso(0.5), epsilon=epsilon).fit(X, y)
        want = np.diff(single.predict_range(X[:9]))[:, 0]
        np.testing.assert_allclose(width, want, rtol=1e-9)


def test_rows_without_a_direction_and_the_referee_sweep_too():
    X, y = make_classification(60, 2, n_redundant=0, flip_y=0.2, random_state=0)
    plain = LogisticRegression(fit_intercept=False)
    fast = RashomonClassifier(plain).fit(X, y)
    slow = RashomonClassifier(plain, solver="cvxpy").fit(X, y)
    rows = np.vstack([X[:2], np.zeros((1, 2))])
    widths = fast.profile(rows, [0.01, 0.1])
    assert (widths[:, 2] == 0).all()
    np.testing.assert_allclose(widths, slow.profile(rows, [0.01, 0.1]), rtol=1e-5)


# --- abstention and reports ---------------------------------------------------------


def test_abstention_costs_coverage_and_keeps_the_right_rows(audit, cancer):
    pytest.importorskip("pandas")
    X, y = cancer
    table = audit.abstention_curve(X, y, [0.3, 0.01])
    row = table.iloc[1]
    labels = audit.predict(X, abstain=True, abstain_label=-1)
    kept = labels != -1
    assert row["coverage"] == kept.mean()
    assert row["accuracy"] == (labels[kept] == y[kept]).mean()
    wrong = audit.predict(X)[~kept] == y[~kept]
    assert row["accuracy_withheld"] == wrong.mean()
    f = np.abs(audit.decision_function(X))
    far = f > np.sort(f)[(~kept).sum() - 1]
    assert row["accuracy_by_margin"] == (audit.predict(X)[far] == y[far]).mean()
    assert table["coverage"].iloc[0] < row["coverage"]
    none = audit.abstention_curve(X, y, [1e-9])
    assert none["coverage"][0] == 1 and np.isnan(none["accuracy_withheld"][0])
    with pytest.raises(ValueError, match="y has 3 entries"):
        audit.abstention_curve(X, y[:3])


def test_reports_have_a_line_for_missing_groups_and_bounds_of_the_loss(audit, cancer):
    pytest.importorskip("pandas")
    X, y = cancer
    groups = np.where(X[:, 0] > 0, "large", None)
    table = audit.report(X, y, groups=groups, deltas=(0.1,), epsilons=[0.01, 0.1])
    assert table["n"].tolist() == [569, 232, 337] * 2 or table["n"].iloc[0] == 569
    assert table["group"].isna().sum() == 2
    low, loss, high = (table[c].iloc[0] for c in ("loss_low", "loss", "loss_high"))
    assert low < loss < high and loss == pytest.approx(0.0534, abs=1e-4)
    single = RashomonClassifier(epsilon=0.1).fit(X, y).report(X, deltas=(0.1,))
    for name in ("mean_width", "conflict_ratio", "ambiguity_0.1_high"):
        assert table[name].iloc[3] == pytest.approx(single[name].iloc[0], rel=1e-6)
    with pytest.raises(ValueError, match="deltas must be"):
        audit.report(X, deltas=(0.1, -1))


# --- refusals -----------------------------------------------------------------------


def test_bad_questions_are_refused(audit, cancer):
    X, _ = cancer
    with pytest.raises(ValueError, match="method must be"):
        audit.discrepancy(X, method="milp")
    with pytest.raises(ValueError, match="delta must be"):
        audit.discrepancy(X, 1.5)
    with pytest.raises(ValueError, match="n_samples must be"):
        audit.sample(0)
    with pytest.raises(ValueError, match="radius > 0"):
        audit.log_volume_ratio(-1.0)
    with pytest.raises(ValueError, match=r"box of shape \(31, 2\)"):
        audit.log_volume_ratio([[0, 1]])
    with pytest.raises(ValueError, match="epsilons must be positive"):
        audit.profile(X, [-1])
    with pytest.raises(ValueError, match="features"):
        audit.discrepancy(X[:, :5])
    for ask in (RashomonClassifier().sample, RashomonClassifier().log_volume):
        with pytest.raises(NotFittedError):
            ask()
    D, t = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="delta must be > 0"):
        RashomonRegressor().fit(D, t).discrepancy(D)


def test_a_set_without_end_is_not_sampled():
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(LinearRegression()).fit(np.column_stack([X, X[:, 0]]), y)
    for ask in (model.sample, model.log_volume):
        with pytest.raises(ValueError, match="collinear"):
            ask()


def test_measures_of_other_sets_are_refused_or_asked_one_by_one(cancer):
    X, y = cancer
    lasso = logistic_regression(l1_ratio=1.0, C=0.1, solver="saga", max_iter=5000)
    sparse = RashomonClassifier(lasso, random_state=0).fit(X, y)
    for question in (sparse.sample, sparse.log_volume, lambda: sparse.discrepancy(X)):
        with pytest.raises(ValueError, match="smooth losses"):
            question()
    widths = sparse.profile(X[:5], [0.01, 0.05])
    assert widths.shape == (2, 5) and (widths[1] > widths[0]).all()
    low, high = sparse.predict_proba_range(X[:5]).T
    np.testing.assert_allclose(widths[0], high - low)
    three = RashomonClassifier(random_state=0).fit(X, np.digitize(X[:, 0], [-0.5, 0.5]))
    with pytest.raises(ValueError, match="for two classes"):
        three.sample(5)
