"""Mixtures: exact transport, forms, sizes, limits, and a real table."""

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.data_selection._mixture._display import MixtureDisplay
from skdiff.data_selection._mixture._estimator import MixturePerformanceProjector
from skdiff.data_selection._mixture._forms import (
    FORMS,
    Sizes,
    fit_form,
    form_weights,
    shared_rate,
)
from skdiff.data_selection._mixture._simplex import counts_of, design, grid
from skdiff.data_selection._mixture._transport import (
    Cloud,
    Cuts,
    costs,
    exact_plan,
    extended,
    label_costs,
    smooth_plan,
    squared_distances,
)


def clouds(seed=0, n=60):
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + 0.5


def test_transport_is_exact_with_feasible_potentials():
    A, B = clouds()
    C = squared_distances(A, B)
    plan = exact_plan(C)
    assert np.all(plan.f[:, None] + plan.g <= C + 1e-12)
    assert plan.f.mean() + plan.g.mean() == pytest.approx(plan.distance, abs=1e-9)
    n = 12
    small = C[:n, :n]
    marginals = np.vstack(
        [np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))]
    )
    peer = linprog(small.ravel(), A_eq=marginals, b_eq=np.full(2 * n, 1 / n))
    assert exact_plan(small).distance == pytest.approx(peer.fun, abs=1e-9)
    assert exact_plan(squared_distances(A, A)).distance == pytest.approx(0, abs=1e-12)
    shift = np.array([1.0, -2.0, 2.0])
    moved = exact_plan(squared_distances(A, A + shift))
    assert moved.distance == pytest.approx(9.0)
    smooth = smooth_plan(C)
    assert np.all(smooth.f[:, None] + smooth.g <= C + 1e-9)
    assert 0.9 * plan.distance <= smooth.distance <= plan.distance + 1e-9


def test_label_costs():
    rng = np.random.RandomState(0)
    a = Cloud(rng.normal(size=(400, 2)), np.repeat([0, 1], 200))
    b = Cloud(a.X + np.array([3.0, 0.0]), a.codes)
    mean = label_costs(a, b, 2, "mean")
    expected = [
        [
            np.sum((a.X[a.codes == j].mean(0) - b.X[b.codes == k].mean(0)) ** 2)
            for k in range(2)
        ]
        for j in range(2)
    ]
    np.testing.assert_allclose(mean, expected)
    np.testing.assert_allclose(np.diag(label_costs(a, b, 2, "gaussian")), 9.0)
    wide = Cloud(2 * (a.X - a.X.mean(0)), np.zeros(400, dtype=int))
    unit = Cloud(a.X - a.X.mean(0), np.zeros(400, dtype=int))
    found = label_costs(unit, wide, 1, "gaussian")[0, 0]  # (2s - s)^2 per direction
    assert found == pytest.approx(np.trace(np.cov(unit.X.T, bias=True)), rel=1e-6)
    assert label_costs(a, b, 2, "none") is None
    np.testing.assert_allclose(
        costs(a, b, mean), squared_distances(a.X, b.X) + mean[a.codes][:, b.codes]
    )
    lacking = label_costs(a, b._replace(codes=np.zeros(400, dtype=int)), 2, "mean")
    assert np.all(np.isfinite(lacking)) and lacking[0, 1] == lacking[:, 0].max()


def test_the_gradient_is_a_finite_difference_of_the_distance():
    rng = np.random.RandomState(0)
    sources = [rng.normal(size=(40, 2)) + c for c in ([0, 0], [2, 0], [0, 3])]
    goal = rng.normal(size=(60, 2)) + 0.4

    def distance(p):
        """Weighted transport of all rows, as a linear program."""
        X = np.vstack(sources)
        w = np.repeat(np.asarray(p) / 40, 40)
        C = squared_distances(X, goal)
        n, m = C.shape
        marginals = np.vstack(
            [np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
        )
        b = np.r_[w, np.full(m, 1 / m)]
        return linprog(C.ravel(), A_eq=marginals, b_eq=b)

    p = np.array([0.5, 0.3, 0.2])
    solved = distance(p)
    g = solved.eqlin.marginals[120:]
    slopes = [extended(squared_distances(S, goal), g).mean() for S in sources]
    cuts = Cuts(np.array([slopes]), np.array([g.mean()]))
    assert cuts.distance(p[None])[0] == pytest.approx(solved.fun, rel=1e-6)
    gradient = cuts.gradient(p)
    for direction in ([1, -1, 0], [0, 1, -1]):
        step = 0.001 * np.array(direction)
        difference = (distance(p + step).fun - distance(p - step).fun) / 0.002
        assert gradient @ direction == pytest.approx(difference, rel=0.05)
    for other in ([0.2, 0.4, 0.4], [1.0, 0.0, 0.0]):
        assert cuts.distance(np.array([other]))[0] <= distance(other).fun + 1e-9


@pytest.mark.parametrize("name", FORMS)
def test_leave_one_out_errors_and_order_of_sources(name):
    rng = np.random.RandomState(0)
    P, o = rng.dirichlet(np.ones(3), size=14), rng.uniform(1, 2, size=14)
    y = 0.8 - 0.1 * o + 0.1 * P[:, 0] ** 2 + 0.01 * rng.normal(size=14)
    form = fit_form(name, P, o, y)
    left = []
    for i in range(14):
        keep = np.arange(14) != i
        other = fit_form(name, P[keep], o[keep], y[keep])
        left.append(other.predict(P[[i]], o[[i]])[0] - y[i])
    assert form.error == pytest.approx(np.sqrt(np.mean(np.square(left))), rel=0.35)
    order = [2, 0, 1]
    moved = fit_form(name, P[:, order], o, y)
    np.testing.assert_allclose(moved.predict(P[:, order], o), form.predict(P, o))


def test_stages_over_sizes():
    two = Sizes(np.array([100.0, 200.0]), 0.0)
    np.testing.assert_allclose(two.weights(100), [1, 0], atol=1e-12)
    np.testing.assert_allclose(two.weights(200), [0, 1], atol=1e-12)
    values = 0.5 + 0.1 * np.log([100.0, 200.0, 5000.0])
    assert two.weights(5000) @ values[:2] == pytest.approx(values[2])
    close = Sizes(np.array([100.0, 150.0]), 0.0)
    np.testing.assert_allclose(close.weights(1000), [-4.68, 5.68], atol=0.01)
    assert close.amplification(1000) == pytest.approx(7.4, abs=0.05)
    pilots = np.array([100.0, 200.0, 400.0])
    curves = 0.9 - np.outer(pilots**-0.5, [1.0, 2.0])
    rate = shared_rate(pilots, curves)
    assert rate == pytest.approx(0.5, rel=0.05)
    power = Sizes(pilots, rate)
    assert power.weights(10_000) @ curves[:, 0] == pytest.approx(0.89, abs=0.002)
    weights = form_weights(np.array([0.1, 0.2]))
    assert weights[0] / weights[1] == pytest.approx(16.0)


def test_designs_and_counts():
    rng = np.random.RandomState(0)
    P = design(3, 12, np.ones(3), rng)
    np.testing.assert_array_equal(P[:3], np.eye(3))
    np.testing.assert_allclose(P.sum(axis=1), 1)
    limited = design(3, 8, np.array([0.5, 0.4, 1.0]), rng)
    assert np.all(limited <= [0.5 + 1e-9, 0.4 + 1e-9, 1]) and len(limited) == 8
    np.testing.assert_allclose(limited.sum(axis=1), 1)
    assert counts_of(np.full(3, 1 / 3), 100).tolist() == [34, 33, 33]
    assert len(grid(3, 10)) == 66 and np.allclose(grid(4, 5).sum(axis=1), 1)


@pytest.fixture(scope="module")
def sources():
    """Digits in three sources of which the last has wrong labels."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.RandomState(0)
    order = rng.permutation(len(y))
    val, rest = order[:400], order[400:]
    groups = rng.choice(np.array(["good", "skewed", "wrong"]), len(rest))
    groups[(groups == "skewed") & (y[rest] > 4)] = "good"
    labels = y[rest].copy()
    bad = (groups == "wrong") & (rng.uniform(size=len(rest)) < 0.5)
    labels[bad] = rng.randint(10, size=bad.sum())
    return X[rest] / 16, labels, groups, X[val] / 16, y[val]


@pytest.fixture(scope="module")
def fitted(sources):
    X, y, groups, X_val, y_val = sources
    model = MixturePerformanceProjector(
        LogisticRegression(max_iter=200), n_repeats=2, random_state=0
    )
    return model.fit(X, y, groups=groups, X_val=X_val, y_val=y_val)


def test_the_best_source_is_found_and_unseen_mixtures_predicted(sources, fitted):
    X, y, groups, X_val, y_val = sources
    assert fitted.sources_.tolist() == ["good", "skewed", "wrong"]
    assert sum(fitted.form_.values()) == pytest.approx(1)
    choice = fitted.optimize(int(fitted.pilot_sizes_[-1]))
    assert choice.mixture[0] > 0.5 and choice.mixture[2] < 0.2
    assert choice.counts.sum() == fitted.pilot_sizes_[-1]
    n = int(fitted.pilot_sizes_[0])
    errors, spread = [], []
    for p in ([0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.4, 0.2, 0.4], [0.8, 0.1, 0.1]):
        got = []
        for seed in range(3):
            fitted.set_params(random_state=seed)
            chosen = fitted.fit_selected(X, y, groups, mixture=p, n_samples=n)
            got.append(chosen.score(X_val, y_val))
        errors.append(abs(np.mean(got) - fitted.predict([p], n)[0]))
        spread.append(np.mean(got))
    fitted.set_params(random_state=0)
    assert np.mean(errors) < 0.04
    assert fitted.source_gradient_[0] < fitted.source_gradient_[1:].max()
    high = fitted.predict_quantiles(fitted.mixtures_, [0.1, 0.5, 0.9])
    assert np.all(np.diff(high, axis=1) >= 0) and high.max() <= 1


def test_costs_and_limits(fitted):
    n = int(fitted.pilot_sizes_[-1])
    prices = {"good": 5.0, "skewed": 1.0, "wrong": 0.1}
    choice = fitted.optimize(n, costs=prices, budget=1.5 * n)
    assert choice.mixture @ [5, 1, 0.1] <= 1.5 + 1e-6
    free = fitted.optimize(n)
    assert choice.predicted_score <= free.predicted_score + 1e-9
    limited = fitted.optimize(
        n, max_per_source={"good": n // 4}, min_per_source={"wrong": n // 10}
    )
    assert limited.mixture[0] <= 0.26 and limited.mixture[2] >= 0.09
    for options, message in (
        ({"max_per_source": n // 10}, "within the limits"),
        ({"min_per_source": n // 2}, "within the limits"),
        ({"costs": [1, 1, 1]}, "belong together"),
        ({"costs": [1, 1, 1], "budget": 0.5 * n}, "within the limits"),
        ({"max_per_source": {"other": 3}}, "no source"),
        ({"max_per_source": [1, 2]}, "one number for each"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.optimize(n, **options)


def test_links_solvers_and_numbers():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 3))
    groups = np.repeat([0, 1], 100)
    y = np.where(groups == 0, X[:, 0], X[:, 1]) + 0.1 * rng.normal(size=200)
    val = {"X_val": X[:40], "y_val": X[:40, 0]}
    for options in (
        {},
        {"ot_solver": "sinkhorn", "link": "log"},
        {
            "scoring": "neg_mean_squared_error",
            "link": "log",
            "form": "transport_linear",
        },
        {"pilot_sizes": [20, 40, 80], "size_model": "power"},
    ):
        model = MixturePerformanceProjector(
            Ridge(), n_mixtures=6, n_repeats=1, random_state=0, **options
        ).fit(X, y, groups=groups, **val)
        assert model.optimize(80).mixture[0] > 0.8
    one = MixturePerformanceProjector(Ridge(), n_mixtures=4, random_state=0)
    one.fit(X[:100], y[:100], groups=groups[:100])
    np.testing.assert_allclose(one.optimize(200).mixture, [1.0])
    held = MixturePerformanceProjector(Ridge(), val_group=1, random_state=0)
    assert held.fit(X, y, groups=groups).sources_.tolist() == [0]


def test_pot():
    pytest.importorskip("ot")  # codespell:ignore
    X = np.random.RandomState(0).normal(size=(200, 3))
    groups = np.repeat([0, 1], 100)
    y = np.where(groups == 0, X[:, 0], X[:, 1])
    val = {"X_val": X[:40], "y_val": X[:40, 0]}
    pot = MixturePerformanceProjector(Ridge(), ot_solver="pot", random_state=0)
    assert pot.fit(X, y, groups=groups, **val).optimize(80).mixture[0] > 0.8


def test_the_display(fitted):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    display = MixtureDisplay.from_estimator(fitted).plot()
    frame = display.frame()
    assert list(frame.columns[:3]) == ["good", "skewed", "wrong"]
    np.testing.assert_allclose(frame["predicted"], fitted.predict(fitted.mixtures_))


def test_bad_input(sources, fitted):
    X, y, groups, X_val, y_val = sources
    model = MixturePerformanceProjector(Ridge(), n_repeats=1)
    for call, message in (
        (lambda: model.fit(X, y), "requires groups"),
        (lambda: model.fit(X, y, groups[1:]), "inconsistent"),
        (lambda: model.fit(X, y, groups, X_val=X_val), "both of X_val"),
        (lambda: model.fit(X, y, np.arange(len(y))), "2 rows"),
        (lambda: fitted.predict([[0.5, 0.5]]), "2 columns for 3"),
        (lambda: fitted.predict([[0.5, 0.6, 0.1]]), "sum to one"),
        (lambda: fitted.predict([[1.2, -0.2, 0.0]]), "non-negative"),
        (lambda: fitted.predict([[1, 0, 0]], 0), "1 or larger"),
        (lambda: fitted.sample(groups, [0, 1, 0], 5000), "has .* rows"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="exceed the"):
        MixturePerformanceProjector(Ridge(), [10, 10**6]).fit(X, y, groups)
    with pytest.warns(UserWarning, match="times the noise"):
        MixturePerformanceProjector(
            Ridge(), [40, 60], n_mixtures=4, n_repeats=1, random_state=0
        ).fit(X, y, groups, X_val=X_val, y_val=y_val)


def test_a_pipeline_inside(sources):
    X, y, groups, X_val, y_val = sources
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    model = MixturePerformanceProjector(
        pipe, [60, 120], n_mixtures=5, n_repeats=1, n_jobs=2, random_state=0
    ).fit(X, y, groups, X_val=X_val, y_val=y_val)
    rows = model.sample(groups, [0.5, 0.3, 0.2], 150)
    assert cross_val_score(pipe, X[rows], y[rows], cv=3).mean() > 0.5
