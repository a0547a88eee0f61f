"""Kernel support vector machines searched by gradient."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_wine,
    make_classification,
    make_moons,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel
from sklearn.model_selection import (
    PredefinedSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.svm import SVC, SVR, NuSVC

from skdiff._convex._inner._problem import Searched
from skdiff.model_selection import (
    Continuous,
    GradientSearchCV,
    check_hypergradient,
    inner_problem,
)
from skdiff.model_selection._gradient._criteria import pair_scores, raw_prediction
from skdiff.model_selection._gradient._inner import _svm as _inner_svm
from skdiff.model_selection._gradient._inner._support_vectors import (
    Machine,
    descend,
    polish,
)
from skdiff.model_selection._gradient._outer._quadratics import quadratics

C, GAMMA = Continuous(1e-2, 1e2), Continuous(1e-2, 1.0)
EACH = Continuous(1e-2, 1.0, per="feature")
TUBE = Continuous(1e-2, 1.0)
HALF = PredefinedSplit(np.repeat([-1, 0], [40, 20]))


def classes(seed, n_classes=2):
    return make_classification(
        60, 6, n_informative=4, n_classes=n_classes, flip_y=0.2, random_state=seed
    )


def three(seed):
    return classes(seed, 3)


def regression(seed):
    X, y = make_regression(60, 6, n_informative=4, noise=20.0, random_state=seed)
    return X, y / 20


def sparse_rows(seed):
    X, y = classes(seed)
    X[np.abs(X) < 0.5] = 0
    return sparse.csr_array(X), y


SHARE = Continuous(0.1, 1, scale="linear", per="sample")
PROBLEMS = {
    "SVC, C": (SVC(), {"C": C}, classes, {}),
    "SVC": (SVC(), {"C": C, "gamma": GAMMA}, classes, {}),
    "SVC, balanced": (
        SVC(class_weight="balanced"),
        {"C": C, "gamma": GAMMA},
        classes,
        {},
    ),
    "SVC, weights": (SVC(class_weight={0: 3.0, 1: 0.5}), {"C": C}, classes, {}),
    "SVC per feature": (SVC(), {"C": C, "gamma": EACH}, classes, {}),
    "SVC, three classes": (SVC(), {"C": C, "gamma": GAMMA}, three, {}),
    "SVC, three classes, per feature": (SVC(), {"C": C, "gamma": EACH}, three, {}),
    "SVC, row weights": (
        SVC(),
        {"sample_weight": SHARE, "C": C},
        classes,
        {"cv": HALF},
    ),
    "sparse SVC": (SVC(), {"C": C, "gamma": GAMMA}, sparse_rows, {}),
    "linear SVC": (SVC(kernel="linear"), {"C": C}, classes, {}),
    "laplacian SVC": (SVC(kernel=laplacian_kernel), {"C": C}, classes, {}),
    "polynomial SVC": (
        SVC(kernel="poly", degree=2),
        {"C": C, "gamma": GAMMA, "coef0": Continuous(0.5, 2)},
        classes,
        {},
    ),
    "sigmoid SVC": (
        SVC(kernel="sigmoid"),
        {"gamma": GAMMA, "coef0": Continuous(-0.5, 0.2, scale="linear")},
        classes,
        {},
    ),
    "SVR": (SVR(), {"C": C, "gamma": GAMMA, "epsilon": TUBE}, regression, {}),
    "SVR, huber": (SVR(), {"C": C}, regression, {"criterion": "huber"}),
    "SVR per feature": (SVR(), {"gamma": EACH, "epsilon": TUBE}, regression, {}),
    "linear SVR": (
        SVR(kernel="linear"),
        {"C": C, "epsilon": Continuous(0, 1, scale="linear")},
        regression,
        {},
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_hypergradient_is_the_derivative(name):
    # the median: a row may become a support vector within the step of one problem
    estimator, intervals, make, options = PROBLEMS[name]
    search = GradientSearchCV(estimator, intervals, **{"cv": 3, **options})
    errors = [check_hypergradient(search, *make(seed), eps=1e-5) for seed in range(10)]
    assert np.median(errors) < 1e-5


def bound(estimator, X, y, X_val, searched=(), weight=None):
    """A problem with its rows, as a fold has it."""
    problem = inner_problem(estimator)
    problem.searched = dict.fromkeys(searched, Searched(0.0, 1.0, False))
    labels = None
    if not isinstance(estimator, SVR):
        labels, y = np.unique(y, return_inverse=True)
    return problem.bind(X, y, sample_weight=weight, X_val=X_val, classes=labels)


SOLVED = {
    "rbf": (SVC(C=2.0), classes),
    "balanced": (SVC(C=2.0, class_weight="balanced"), three),
    "pairs": (SVC(C=2.0, decision_function_shape="ovo"), three),
    "one against rest": (SVC(C=2.0, gamma=0.1), three),
    "poly": (SVC(kernel="poly", degree=3, coef0=1.0, gamma="auto"), classes),
    "sigmoid": (SVC(kernel="sigmoid", gamma=0.05), classes),
    "callable": (SVC(kernel=laplacian_kernel), classes),
    "linear": (SVC(kernel="linear", C=0.1), classes),
    "sparse": (SVC(), sparse_rows),
    "sparse linear": (SVC(kernel="linear"), sparse_rows),
    "regression": (SVR(C=3.0, epsilon=0.3), regression),
    "no tube": (SVR(C=3.0, epsilon=0.0), regression),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SOLVED)
def test_the_solution_is_that_of_libsvm(name, weighted):
    estimator, make = SOLVED[name]
    X, y = make(0)
    train, test = np.arange(40), np.arange(40, 60)
    weight = np.random.default_rng(0).uniform(0.2, 2, size=40) if weighted else None
    problem = bound(estimator, X[train], y[train], X[test], weight=weight)
    w, _ = problem.solve({}, None, 1e-6)
    assert all(s.exact for s in w.solutions)
    model = clone(estimator).set_params(tol=1e-10)
    model.fit(X[train], y[train], sample_weight=weight)
    # libsvm keeps its kernel in single precision
    expected = raw_prediction(model, X[test])
    np.testing.assert_allclose(problem.predict(w, problem.X_val), expected, atol=1e-4)
    other = problem.predict(w, X[test][:5])
    np.testing.assert_allclose(other, expected[:5], atol=1e-4)


def test_a_given_kernel():
    X, y = classes(0)
    K = rbf_kernel(X, gamma=0.2)
    plain = GradientSearchCV(SVC(gamma=0.2), {"C": C}, cv=3).fit(X, y)
    given = GradientSearchCV(SVC(kernel="precomputed"), {"C": C}, cv=3).fit(K, y)
    np.testing.assert_allclose(given.best_params_["C"], plain.best_params_["C"])
    np.testing.assert_array_equal(given.predict(K), plain.predict(X))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_against_a_written_statement(kind):
    cp = pytest.importorskip("cvxpy")
    if kind == "classes":
        X, y = classes(1)
        estimator = SVC(C=3.0, gamma=0.2)
    else:
        X, y = regression(1)
        estimator = SVR(C=3.0, gamma=0.2, epsilon=0.4)
    K = rbf_kernel(X, gamma=0.2)
    root = np.linalg.cholesky(K + 1e-12 * np.eye(len(K)))
    v, b = cp.Variable(len(K)), cp.Variable()  # f = root v + b
    f = root @ v + b
    if kind == "classes":
        losses = cp.pos(1 - cp.multiply(2.0 * y - 1, f))
    else:
        losses = cp.pos(cp.abs(y - f) - 0.4)
    cp.Problem(cp.Minimize(cp.sum_squares(v) / 2 + 3 * cp.sum(losses))).solve(
        solver=cp.CLARABEL
    )
    problem = bound(estimator, X, y, X)
    w, _ = problem.solve({}, None, 1e-6)
    np.testing.assert_allclose(problem.predict(w, X), f.value, atol=1e-5)


def test_all_support_vectors_at_their_ends():
    # two equal classes and a small C: the intercept is the middle of an interval
    X, y = make_classification(40, 4, weights=[0.5], flip_y=0, random_state=0)
    y[:] = np.repeat([0, 1], 20)[np.argsort(np.argsort(X[:, 0]))]
    problem = bound(SVC(C=1e-3, gamma=0.1), X, y, X)
    w, _ = problem.solve({}, None, 1e-6)
    assert not w.solutions[0].free.any() and len(w.solutions[0].anchors) == 2
    model = SVC(C=1e-3, gamma=0.1, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(w.intercepts, model.intercept_, atol=1e-8)
    ends = Continuous(1e-4, 1e-2), Continuous(1e-2, 1.0)
    intervals = dict(zip(["C", "gamma"], ends, strict=True))
    search = GradientSearchCV(SVC(), intervals, cv=StratifiedKFold(4))
    assert check_hypergradient(search, X, y, eps=1e-6) < 1e-6


def conditions(K, machine, solution):
    """Largest violation of the optimality conditions."""
    alpha, upper = solution.alpha, machine.upper
    f = K @ machine.coefficients(alpha, len(K)) + solution.intercept
    margin = machine.sign * (machine.target - f[machine.rows])
    wrong = np.where(alpha <= 0, margin, np.where(alpha >= upper, -margin, abs(margin)))
    box = max(float(-alpha.min()), float((alpha - upper).max()))
    return max(float(wrong.max()), box, abs(float(machine.sign @ alpha)))


def test_a_tube_that_holds_every_row():
    X, y = regression(0)
    problem = bound(SVR(epsilon=20.0), X, y, X)
    w, _ = problem.solve({}, None, 1e-6)
    assert not w.beta.any()
    np.testing.assert_allclose(w.intercepts, (y.min() + y.max()) / 2)
    intervals = {"C": C, "epsilon": Continuous(5, 50)}
    search = GradientSearchCV(SVR(), intervals, cv=3)
    assert check_hypergradient(search, X, y / y.std()) == 0.0


def test_a_machine_that_is_not_solved_says_so(monkeypatch):
    monkeypatch.setattr(_inner_svm, "polish", lambda *args, **options: None)
    monkeypatch.setattr(_inner_svm, "_STRETCHES", 1)
    X, y = classes(0)
    problem = bound(SVC(gamma=0.1, C=0.5), X, y, X)
    with pytest.warns(ConvergenceWarning, match="libsvm's tolerance"):
        w, _ = problem.solve({}, None, 1e-6)
    model = SVC(gamma=0.1, C=0.5, tol=1e-8).fit(X, y)
    expected = model.decision_function(X)
    np.testing.assert_allclose(problem.predict(w, X), expected, atol=1e-2)


def test_repeated_and_contradictory_rows():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(120, 2)).astype(float)
    y = (X[:, 0] + rng.normal(size=120) > 1).astype(int)
    K = rbf_kernel(X, gamma=0.3)
    sign = 2.0 * y - 1
    problem = bound(SVC(C=5.0, gamma=0.3), X, y, X)
    w, _ = problem.solve({}, None, 1e-6)
    machine = Machine(np.arange(120), sign, sign, np.full(120, 5.0))
    assert w.solutions[0].exact and conditions(K, machine, w.solutions[0]) < 1e-7
    model = SVC(C=5.0, gamma=0.3, tol=1e-10).fit(X, y)
    expected = model.decision_function(X)
    np.testing.assert_allclose(problem.predict(w, X), expected, atol=1e-4)


def test_the_descent_goes_on_where_libsvm_is_slow():
    X, y = regression(0)
    K, n = rbf_kernel(X, gamma=0.01), len(y)
    sign = np.repeat([1.0, -1.0], n)
    target = np.concatenate([y - 0.1, y + 0.1])
    machine = Machine(np.tile(np.arange(n), 2), sign, target, np.full(2 * n, 1e4))
    assert polish(K, machine, np.zeros(2 * n), max_rounds=2) is None
    solution, alpha = None, np.zeros(2 * n)
    while solution is None:
        alpha = descend(K, machine, alpha)
        solution = polish(K, machine, alpha)
    assert conditions(K, machine, solution) < 1e-5  # coefficients are of size 1e4


def test_a_start_nearby_changes_no_answer():
    X, y = three(0)
    problem = bound(SVC(), X, y, X, ["gamma"])
    first, _ = problem.solve({"C": 3.0, "gamma": 0.1}, None, 1e-6)
    theta = {"C": 9.0, "gamma": 0.2}
    warm, used = problem.solve(theta, first, 1e-6)
    cold, spent = problem.solve(theta, None, 1e-6)
    np.testing.assert_allclose(warm.beta, cold.beta, atol=1e-8)
    np.testing.assert_allclose(warm.intercepts, cold.intercepts, atol=1e-8)
    assert used < spent


# --- the search -----------------------------------------------------------------------


def test_as_good_as_a_grid():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    low, high = {"C": 1e-2, "gamma": 1e-4}, {"C": 1e3, "gamma": 1e1}
    intervals = {k: Continuous(low[k], high[k]) for k in low}
    search = GradientSearchCV(SVC(), intervals, cv=3).fit(X, y)
    assert search.n_iter_ < 40 and search.converged_
    evaluator = search._prepare(X, y, None).evaluator
    axes = [np.linspace(np.log(low[k]), np.log(high[k]), 15) for k in low]
    grid = [evaluator.row(np.array([a, b])).value for a in axes[0] for b in axes[1]]
    assert -search.best_score_ <= min(grid)
    lowest = np.unravel_index(np.argmin(grid), (15, 15))
    model = SVC(**{k: np.exp(axes[i][lowest[i]]) for i, k in enumerate(low)})
    found = cross_val_score(model, X, y, cv=3, scoring=search.scorer_).mean()
    assert found == pytest.approx(-min(grid), rel=5e-3)  # at the default tol


@pytest.mark.parametrize("kind", ["two", "three", "numbers"])
def test_a_row_is_the_cross_validation_of_its_pipeline(kind):
    tables = {"two": load_breast_cancer, "three": load_wine}
    if kind == "numbers":
        X, y = regression(0)
        X, estimator = pd.DataFrame(X).add_prefix("x"), SVR(tol=1e-6)
    else:
        X, codes = tables[kind](return_X_y=True, as_frame=True)
        X, y = X[:160], np.array(["ash", "beech", "fir"])[codes][:160]
        estimator = SVC(tol=1e-6)
    pipeline = make_pipeline(StandardScaler(), estimator)
    name = type(estimator).__name__.lower()
    intervals = {f"{name}__C": Continuous(0.1, 10), f"{name}__gamma": GAMMA}
    search = GradientSearchCV(pipeline, intervals, cv=3, max_iter=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    results = search.cv_results_
    for params, score in zip(
        results["params"], results["mean_test_score"], strict=True
    ):
        model = clone(pipeline).set_params(**params)
        expected = cross_val_score(model, X, y, cv=3, scoring=search.scorer_).mean()
        np.testing.assert_allclose(score, expected, rtol=1e-4)
    assert search.best_estimator_.feature_names_in_[0] == X.columns[0]
    if kind != "numbers":
        assert set(search.predict(X)) <= set(y)


@pytest.mark.parametrize("broken", [False, True])
def test_labels_of_a_fold_are_those_of_the_estimator(broken):
    X, y = classes(3, 4)
    model = SVC(C=0.5, break_ties=broken, tol=1e-8)
    search = GradientSearchCV(
        model,
        {"gamma": Continuous(0.01, 1)},
        cv=3,
        max_iter=4,
        scoring=["accuracy", "top_k_accuracy"],
        refit="accuracy",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    results = search.cv_results_
    for name in ("accuracy", "top_k_accuracy"):
        for k, params in enumerate(results["params"]):
            fixed = clone(model).set_params(**params)
            expected = cross_val_score(fixed, X, y, cv=3, scoring=name).mean()
            assert results[f"mean_test_{name}"][k] == pytest.approx(expected)


@pytest.mark.parametrize("solver", ["lbfgs", "hoag", "maid"])
def test_other_solvers(solver):
    X, y = classes(0)
    intervals = {"C": C, "gamma": GAMMA}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GradientSearchCV(SVC(), intervals, cv=3, solver=solver, max_iter=15)
        search.fit(X, y)
    criterion = search.cv_results_["criterion"]
    assert criterion.min() < criterion[0]


def test_scores_of_pairs():
    X, y = classes(0, 4)
    model = SVC().fit(X, y)
    pairs = raw_prediction(model, X)
    np.testing.assert_allclose(pairs, -pairs.transpose(0, 2, 1))
    np.testing.assert_allclose(pair_scores(pairs), model.decision_function(X))
    assert model.decision_function_shape == "ovr"
    search = GradientSearchCV(make_pipeline(model), {"svc__C": C}, cv=3).fit(X, y)
    # the score of new rows is that of their pairs, too
    pairs = raw_prediction(search.best_estimator_, X)
    own = pairs[np.arange(len(y)), y]
    own[np.arange(len(y)), y] = 1.0
    loss = (np.maximum(0, 1 - own) ** 2).sum(axis=1).mean()
    assert search.score(X, y) == pytest.approx(-loss)


def test_length_scales_become_a_kernel():
    X, y = classes(0)
    search = GradientSearchCV(SVC(), {"gamma": EACH}, cv=3).fit(X, y)
    gamma = search.best_params_["gamma"]
    assert gamma.shape == (6,)
    kernel = search.best_estimator_.kernel
    assert isinstance(kernel, RBF)
    expected = SVC(kernel="precomputed").fit(rbf_kernel(X * np.sqrt(gamma), gamma=1), y)
    np.testing.assert_array_equal(
        search.predict(X), expected.predict(rbf_kernel(X * np.sqrt(gamma), gamma=1))
    )
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_weights_are_repetitions():
    X, y = classes(0)
    split = PredefinedSplit(np.repeat([-1, 0], [40, 20]))
    weight = np.where(np.arange(60) < 10, 2.0, 1.0)
    options = {"max_iter": 4}
    with (
        warnings.catch_warnings(),
        sklearn.config_context(enable_metadata_routing=True),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SVC().set_fit_request(sample_weight=True)
        weighted = GradientSearchCV(model, {"C": C}, cv=split, **options)
        weighted.fit(X, y, sample_weight=weight)
    twice = np.concatenate([np.arange(10), np.arange(60)])
    split = PredefinedSplit(np.repeat([-1, 0], [50, 20]))
    model = SVC(gamma=1 / (6 * X[:40].var()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        repeated = GradientSearchCV(model, {"C": C}, cv=split, **options)
        repeated.fit(X[twice], y[twice])
    np.testing.assert_allclose(
        weighted.cv_results_["criterion"],
        repeated.cv_results_["criterion"],
        rtol=1e-8,
    )


def test_sparse_rows_are_dense_rows():
    X, y = sparse_rows(0)
    intervals = {"C": C, "gamma": GAMMA}
    found = [
        GradientSearchCV(SVC(), intervals, cv=3).fit(rows, y).best_score_
        for rows in (X, X.toarray())
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "intervals", "message"),
    [
        (SVC(kernel="linear"), {"gamma": GAMMA}, "gamma is differentiable"),
        (SVC(kernel=laplacian_kernel), {"gamma": GAMMA}, "gamma is differentiable"),
        (SVC(), {"coef0": GAMMA}, "coef0 is differentiable"),
        (SVC(kernel="poly"), {"gamma": EACH}, "per feature"),
        (SVC(probability=True), {"C": C}, "CalibratedClassifierCV"),
        (SVC(), {"degree": Continuous(1, 3)}, "has no gradient"),
    ],
)
def test_what_has_no_gradient_is_named(estimator, intervals, message):
    with pytest.raises(ValueError, match=message):
        GradientSearchCV(estimator, intervals).fit(*classes(0))


def test_other_machines_and_rows_are_refused():
    X, y = classes(0)
    with pytest.raises(TypeError, match="NuSVC has no inner problem"):
        GradientSearchCV(NuSVC(), {"nu": Continuous(0.1, 0.5)}).fit(X, y)
    with pytest.raises(TypeError, match="per feature needs dense"):
        GradientSearchCV(SVC(), {"gamma": EACH}).fit(*sparse_rows(0))
    with pytest.raises(ValueError, match="a column a training row"):
        bound(SVC(kernel="precomputed"), np.eye(9)[:5], [0, 1, 0, 1, 0], np.eye(9))
    with pytest.raises(ValueError, match="squared_hinge"):
        GradientSearchCV(SVC(), {"C": C}, criterion="log_loss").fit(*three(0))


# --- the outer solver -----------------------------------------------------------------


def test_quadratics_see_a_valley_through_kinks():
    lower, upper = np.array([-4.0, -9.0]), np.array([7.0, 2.0])
    goal = np.array([1.0, -2.0])
    H = np.array([[1.0, 0.8], [0.8, 1.0]])

    def kinked(theta, size):
        d = theta - goal
        saw = np.abs((4 * d) % 1 - 0.5)
        slope = 4 * np.sign((4 * d) % 1 - 0.5)
        return 1 + d @ H @ d + size * saw.sum(), 2 * H @ d + size * slope

    scan = [lower + (upper - lower) * np.array(u) for u in ([0.5, 0.5], [0.2, 0.8])]
    options = {"tol": 1e-3, "max_iter": 50}
    smooth = quadratics(lambda t: kinked(t, 0.0), scan, lower, upper, **options)
    assert smooth.converged and smooth.n_iter < 15
    np.testing.assert_allclose(smooth.theta, goal, atol=0.02)
    rough = quadratics(lambda t: kinked(t, 0.02), scan, lower, upper, **options)
    assert rough.converged and kinked(rough.theta, 0.02)[0] < 1.1


def test_quadratics_stop_at_ends_and_walls():
    lower, upper = np.zeros(2), np.ones(2)
    scan = [np.full(2, 0.5)]
    options = {"tol": 1e-3, "max_iter": 30}
    slope = np.array([1.0, -2.0])
    found = quadratics(lambda t: (3 + slope @ t, slope), scan, lower, upper, **options)
    np.testing.assert_allclose(found.theta, [0.0, 1.0], atol=1e-8)

    def wall(t):
        value = 3 + slope @ t if t[1] < 0.8 else np.inf
        return value, slope

    found = quadratics(wall, scan, lower, upper, **options)
    assert 0.7 < found.theta[1] < 0.8 and found.theta[0] < 0.5
    lost = quadratics(lambda t: (np.inf, slope), scan, lower, upper, **options)
    assert not lost.converged


def test_starts_that_lead_nowhere_are_given_up(monkeypatch):
    X, y = make_moons(300, noise=0.3, random_state=1)
    tried, itself = [], _inner_svm.polish

    def polish(K, machine, alpha, max_rounds=20):
        found = itself(K, machine, alpha, max_rounds)
        tried.append((max_rounds, found is not None))
        return found

    monkeypatch.setattr(_inner_svm, "polish", polish)
    space = {"C": Continuous(1e-2, 1e3), "gamma": Continuous(1e-4, 1e1)}
    search = GradientSearchCV(SVC(), space, cv=2).fit(X, y)
    nearby = [good for rounds, good in tried if rounds == 8]
    missed = len(nearby) - sum(nearby)
    assert 0 < missed < len(search.cv_results_["params"])  # of two machines a point


def test_the_inner_libsvm_takes_signs_as_svc_takes_labels():
    X, y = make_moons(80, noise=0.3, random_state=0)
    K, sign, C = rbf_kernel(X), 2.0 * y - 1.0, np.linspace(0.5, 2.0, 80)
    mine = _inner_svm._QuietSVC(kernel="precomputed").fit(K, sign, sample_weight=C)
    own = SVC(kernel="precomputed").fit(K, sign, sample_weight=C)
    np.testing.assert_array_equal(mine.dual_coef_, own.dual_coef_)
    np.testing.assert_array_equal(mine.support_, own.support_)
    with pytest.raises(ValueError, match="classes"):
        _inner_svm._QuietSVC(kernel="precomputed").fit(K, np.ones(80))
