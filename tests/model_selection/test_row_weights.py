"""Weights of rows: derivatives, the estimators' own fits, repeated and absent rows."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from skdiff._convex._inner._linear import Balanced
from skdiff.linear_model import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)
from skdiff.model_selection import Continuous, GradientSearchCV
from skdiff.model_selection._gradient._oracle import FoldOracle
from skdiff.model_selection._gradient._outer._hoag_maid import maid

TRAIN, N = 30, 45
HALF = PredefinedSplit(np.repeat([-1, 0], [TRAIN, N - TRAIN]))
SHARE = Continuous(0, 1, scale="logit", per="sample")
LOG, SMALL = Continuous(1e-2, 1e2), Continuous(1e-2, 1.0)
GAMMA = Continuous(1e-3, 1.0)
MIX = Continuous(0.1, 0.95, scale="logit")
EXACT = {"tol": 1e-12, "max_iter": 100_000}


def regression(seed, n_targets=1):
    X, y = make_regression(
        N, 5, n_informative=3, n_targets=n_targets, noise=20.0, random_state=seed
    )
    return X, y / 20


def several(seed):
    return regression(seed, 3)


def thin(seed):
    X, y = regression(seed)
    X[np.abs(X) < 0.5] = 0
    return sparse.csr_array(X), y


def classes(seed, n_classes=2):
    return make_classification(
        N, 6, n_informative=4, n_classes=n_classes, flip_y=0.2, random_state=seed
    )


def three(seed):
    return classes(seed, 3)


# estimator, what is searched beside the weights, data
PROBLEMS = {
    "lasso": (Lasso(alpha=0.1, **EXACT), {}, regression),
    "lasso, three targets": (Lasso(**EXACT), {"alpha": SMALL}, several),
    "lasso without intercept": (
        Lasso(fit_intercept=False, **EXACT),
        {"alpha": SMALL},
        regression,
    ),
    "sparse lasso": (Lasso(**EXACT), {"alpha": SMALL}, thin),
    "elastic net": (ElasticNet(**EXACT), {"alpha": SMALL, "l1_ratio": MIX}, regression),
    "elastic net per feature": (
        WeightedElasticNet(l1_ratio=0.7),
        {"alpha": Continuous(1e-2, 1.0, per="feature")},
        regression,
    ),
    "kernel ridge": (KernelRidge(kernel="rbf"), {}, regression),
    "kernel ridge, three targets": (
        KernelRidge(kernel="rbf"),
        {"alpha": LOG, "gamma": GAMMA},
        several,
    ),
    "kernel ridge per feature": (
        KernelRidge(kernel="rbf"),
        {"alpha": LOG, "gamma": Continuous(1e-3, 1.0, per="feature")},
        regression,
    ),
    "polynomial kernel ridge": (
        KernelRidge(kernel="polynomial", degree=2),
        {"alpha": LOG},
        regression,
    ),
    "sparse kernel ridge": (
        KernelRidge(kernel="laplacian"),
        {"alpha": LOG, "gamma": GAMMA},
        thin,
    ),
    "ridge per target": (
        Ridge(),
        {"alpha": Continuous(1e-2, 1e2, per="output")},
        several,
    ),
    "ridge per feature": (
        WeightedRidge(),
        {"alpha": Continuous(1e-2, 1e2, per="feature")},
        regression,
    ),
    "logistic, balanced": (
        LogisticRegression(class_weight="balanced", tol=1e-10),
        {"C": LOG},
        classes,
    ),
    "multinomial, balanced": (
        LogisticRegression(
            class_weight="balanced", solver="newton-cholesky", tol=1e-12
        ),
        {"C": LOG},
        three,
    ),
    "logistic per feature": (
        WeightedLogisticRegression(class_weight={0: 1.0, 1: 3.0}),
        {"C": Continuous(1e-2, 1e2, per="feature")},
        classes,
    ),
    "linear SVC, balanced": (
        LinearSVC(class_weight="balanced", **EXACT),
        {"C": LOG},
        three,
    ),
    "linear SVR": (
        LinearSVR(loss="squared_epsilon_insensitive", **EXACT),
        {"C": LOG, "epsilon": Continuous(0, 2, scale="linear")},
        regression,
    ),
}
NEW = [name for name in PROBLEMS if "lasso" in name or "net" in name or "rnel" in name]


def prepared(estimator, intervals, X, y, cv=HALF, **options):
    """Evaluator and space of a search, without searching."""
    search = GradientSearchCV(estimator, intervals, cv=cv, inner_tol=1e-10, **options)
    task = search._prepare(X, y, None)
    return task.evaluator, task.space


def errors(name, seed, step=1e-5):
    """Error of every row's derivative, relative to the largest of a row."""
    estimator, others, make = PROBLEMS[name]
    X, y = make(seed)
    evaluator, space = prepared(estimator, {"sample_weight": SHARE, **others}, X, y)
    theta = space.start()
    theta[:N] = np.random.default_rng(seed).normal(size=N)
    row = evaluator.row(theta)
    assert row.error is None
    found = np.empty(TRAIN)
    for i in range(TRAIN):
        move = np.zeros(space.size)
        move[i] = step
        up, down = evaluator.row(theta + move), evaluator.row(theta - move)
        found[i] = (up.value - down.value) / (2 * step)
    assert np.all(row.gradient[TRAIN:N] == 0)  # they train in no fold
    return np.abs(row.gradient[:TRAIN] - found) / np.abs(found).max()


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_derivative_in_every_row(name):
    # the median: a kink of a lasso or a hinge may lie within the step of one problem
    assert np.median([errors(name, seed).max() for seed in range(3)]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_derivative_on_twenty_problems(name):
    worst = np.array([errors(name, seed).max() for seed in range(20)])
    assert np.mean(worst < 1e-5) >= 0.9 and np.median(worst) < 1e-6


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("given", [False, True])
def test_every_visited_point_is_the_fit_with_its_weights(name, given):
    estimator, others, make = PROBLEMS[name]
    X, y = make(0)
    weight = np.ones(N)
    if given:  # not of validation rows: older releases do not pass them to scorers
        weight[:TRAIN] = np.arange(TRAIN) % 3
    search = GradientSearchCV(
        estimator,
        {"sample_weight": SHARE, **others},
        cv=HALF,
        max_iter=4,
        inner_tol=1e-10,
        refit=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y, **({"sample_weight": weight} if given else {}))
    # the values of a length scale per feature live in the kernel
    settings = search._prepare(X, y, None).translate.to_params
    scorer, results = search.scorer_, search.cv_results_
    for params, score in zip(
        results["params"], results["mean_test_score"], strict=True
    ):
        values = dict(params)
        found = values.pop("sample_weight")[:TRAIN] * weight[:TRAIN]
        model = clone(estimator).set_params(**settings(values))
        model.fit(X[:TRAIN], y[:TRAIN], sample_weight=found)
        expected = scorer(model, X[TRAIN:], y[TRAIN:])
        np.testing.assert_allclose(score, expected, rtol=1e-6)


@pytest.mark.parametrize("name", NEW)
def test_solutions_are_those_of_the_estimator(name):
    estimator, _, make = PROBLEMS[name]
    X, y = make(2)
    weights = np.random.default_rng(0).uniform(size=TRAIN)
    weights[::5] = 0
    search = GradientSearchCV(estimator, {"sample_weight": SHARE}, cv=HALF)
    problem = search._prepare(X, y, None).folds[0].problem
    w, _ = problem.solve({"sample_weight": weights}, None, 1e-10)
    model = clone(estimator).fit(X[:TRAIN], y[:TRAIN], sample_weight=weights)
    if isinstance(estimator, KernelRidge):
        expected = model.dual_coef_.reshape(TRAIN, -1)
    else:
        coef = np.atleast_2d(model.coef_).T
        expected = np.vstack([coef, np.broadcast_to(model.intercept_, coef.shape[1])])
    np.testing.assert_allclose(w, expected, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0}])
def test_liblinear_weighs_a_class_in_its_own_margin_alone(class_weight):
    X, y = three(0)
    model = LinearSVC(class_weight=class_weight, **EXACT)
    search = GradientSearchCV(model, {"C": LOG}, cv=HALF, max_iter=3, inner_tol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    results = search.cv_results_
    for params, score in zip(
        results["params"], results["mean_test_score"], strict=True
    ):
        model.set_params(**params).fit(X[:TRAIN], y[:TRAIN])
        expected = search.scorer_(model, X[TRAIN:], y[TRAIN:])
        np.testing.assert_allclose(score, expected, rtol=1e-6)


COUNTS = Continuous(0, 2, scale="linear", per="sample")


def at_weights(name, X, y, weights):
    """Criterion and its derivatives in the weights themselves; the rest as given."""
    estimator, _, _ = PROBLEMS[name]
    cv = PredefinedSplit(np.repeat([-1, 0], [len(weights), len(y) - len(weights)]))
    evaluator, space = prepared(estimator, {"sample_weight": COUNTS}, X, y, cv)
    theta = np.concatenate([weights / 2, np.ones(space.size - len(weights))])
    row = evaluator.row(theta)
    assert row.error is None
    return row.value, row.gradient[: len(weights)] / 2


# older releases of scikit-learn balance the numbers of rows, whatever their weights


@pytest.mark.parametrize("name", PROBLEMS)
def test_weights_count_rows(name):
    X, y = PROBLEMS[name][2](1)
    counts = np.random.default_rng(0).integers(0, 3, TRAIN)
    if is_classifier(PROBLEMS[name][0]):
        counts[:6] = 1 + np.arange(6) % 2  # some of every class stay
    value, slopes = at_weights(name, X, y, counts * 1.0)
    rows = np.concatenate([np.repeat(np.arange(TRAIN), counts), np.arange(TRAIN, N)])
    again, repeated = at_weights(name, X[rows], y[rows], np.ones(counts.sum()))
    np.testing.assert_allclose(value, again, rtol=1e-7)
    kept = np.repeat(slopes, counts)
    scale = np.abs(kept).max()
    np.testing.assert_allclose(kept, repeated, rtol=1e-4, atol=1e-5 * scale)
    # rows of weight zero have the derivative of rows that begin to count
    begun, near = at_weights(name, X, y, np.maximum(counts, 1e-9))
    np.testing.assert_allclose(begun, value, rtol=1e-6)
    np.testing.assert_allclose(slopes, near, rtol=1e-4, atol=1e-5 * scale)
    gone = np.flatnonzero(counts == 0)
    assert np.abs(slopes[gone]).max() > 1e-3 * scale


@pytest.mark.parametrize("name", ["lasso", "elastic net", "sparse lasso"])
def test_only_ratios_count_for_the_elastic_net(name):
    X, y = PROBLEMS[name][2](0)
    weights = np.random.default_rng(0).uniform(0.1, 1, TRAIN)
    value, slopes = at_weights(name, X, y, weights)
    twice, half = at_weights(name, X, y, 2 * weights)
    np.testing.assert_allclose(twice, value, rtol=1e-9)
    np.testing.assert_allclose(half, slopes / 2, atol=1e-9 * np.abs(slopes).max())
    assert abs(slopes @ weights) < 1e-9 * np.abs(slopes * weights).max()


@pytest.mark.parametrize("name", ["lasso", "kernel ridge"])
def test_a_row_alone_in_its_fold_and_many_folds(name):
    # folds that share rows: derivatives add up in the order of the table
    estimator, others, make = PROBLEMS[name]
    X, y = make(3)
    evaluator, space = prepared(estimator, {"sample_weight": SHARE, **others}, X, y, 3)
    theta = np.random.default_rng(0).normal(size=space.size)
    row = evaluator.row(theta)
    for i in (0, 20, N - 1):
        move = np.zeros(space.size)
        move[i] = 1e-5
        up, down = evaluator.row(theta + move), evaluator.row(theta - move)
        slope = (up.value - down.value) / 2e-5
        np.testing.assert_allclose(
            row.gradient[i], slope, atol=1e-6 * np.abs(row.gradient).max()
        )


@pytest.mark.parametrize("estimator", [Lasso(), KernelRidge(kernel="rbf")])
def test_a_group_shares_its_weight(estimator):
    X, y = regression(0)
    groups = np.arange(N) % 4
    interval = Continuous(0, 1, scale="logit", per="group", groups=groups)
    evaluator, space = prepared(estimator, {"sample_weight": interval}, X, y)
    each, rows = prepared(estimator, {"sample_weight": SHARE}, X, y)
    assert space.size == 4 and rows.size == N
    theta = np.array([-1.0, 0.0, 0.5, 1.0])
    one, all_rows = evaluator.row(theta), each.row(theta[groups])
    assert one.value == all_rows.value
    np.testing.assert_allclose(
        one.gradient, np.bincount(groups, all_rows.gradient), rtol=1e-9
    )


def spoiled(seed=0, n=300):
    """A regression with 30 % of the training targets mirrored at the mean.

    100 trusted rows follow, and 100 to test.
    """
    X, y = make_regression(n + 200, 20, n_informative=8, noise=30.0, random_state=seed)
    y = (y - y.mean()) / y.std()
    bad = np.random.default_rng(seed).uniform(size=n) < 0.3
    y[:n][bad] *= -1
    cv = PredefinedSplit(np.repeat([-1, 0], [n, 100]))
    return X[:-100], y[:-100], X[-100:], y[-100:], bad, cv


@pytest.mark.parametrize(
    ("estimator", "others"),
    [
        (Lasso(), {"lasso__alpha": Continuous(1e-4, 1.0)}),
        (
            KernelRidge(kernel="rbf"),
            {"kernelridge__alpha": LOG, "kernelridge__gamma": GAMMA},
        ),
    ],
    ids=["lasso", "kernel ridge"],
)
def test_right_rows_rank_above_wrong_ones(estimator, others):
    pipeline = make_pipeline(StandardScaler(), estimator)
    auc, gain = [], []
    for seed in range(3):
        X, y, X_test, y_test, bad, cv = spoiled(seed)
        search = GradientSearchCV(pipeline, {"sample_weight": SHARE, **others}, cv=cv)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            search.fit(X, y)
        best = dict(search.best_params_)
        weights = best.pop("sample_weight")
        assert np.all(weights[len(bad) :] == 1)  # trained in no fold
        # the refit is the pipeline's own with those weights
        again, plain = clone(pipeline).set_params(**best), clone(pipeline)
        again.fit(X, y, **{f"{pipeline.steps[-1][0]}__sample_weight": weights})
        np.testing.assert_allclose(search.predict(X), again.predict(X), rtol=1e-10)
        plain.set_params(**best).fit(X, y)
        auc.append(roc_auc_score(~bad, weights[: len(bad)]))
        gain.append(again.score(X_test, y_test) - plain.score(X_test, y_test))
    assert np.mean(auc) > 0.85
    assert np.mean(gain) > 0.1


def test_an_infinite_tie_keeps_the_weights_where_they_start():
    X, y = regression(0)
    start = Continuous(0, 1, scale="logit", per="sample", init=0.7)
    search = GradientSearchCV(
        Lasso(alpha=0.1), {"sample_weight": start}, cv=HALF, tie_strength=np.inf
    ).fit(X, y)
    assert search.n_iter_ == 1
    np.testing.assert_allclose(search.best_params_["sample_weight"][:TRAIN], 0.7)


def test_balanced_classes_weigh_alike():
    rng = np.random.default_rng(0)
    u, codes = rng.uniform(0.1, 2, 30), np.arange(30) % 7 % 3
    balanced = Balanced(u, codes, 3)
    np.testing.assert_allclose(np.bincount(codes, balanced.s), u.sum() / 3)
    J = np.array([balanced.pull(row) for row in np.eye(30)])
    step = 1e-6
    for k in range(30):
        move = step * np.eye(30)[k]
        up, down = Balanced(u + move, codes, 3).s, Balanced(u - move, codes, 3).s
        np.testing.assert_allclose(J[:, k], (up - down) / (2 * step), atol=1e-8)
    assert np.linalg.norm(J, 2) <= balanced.rate() <= 4 * np.linalg.norm(J, 2)


@pytest.mark.parametrize("name", ["ridge per target", "logistic, balanced"])
def test_the_bound_of_maid_holds(name):
    estimator, others, make = PROBLEMS[name]
    X, y = make(0)
    evaluator, space = prepared(estimator, {"sample_weight": SHARE, **others}, X, y)
    oracle = FoldOracle(evaluator, lambda theta: None, True)
    steps = []
    maid(oracle, space.start(), space.lower, space.upper, max_iter=4, history=steps)
    assert steps
    for step in steps:
        exact = evaluator.row(step.theta).gradient
        assert np.linalg.norm(step.z - exact) <= step.omega + 1e-9
    values = [evaluator.row(step.theta).value for step in steps]
    assert np.all(np.diff(values) <= 0) and values[-1] < values[0]


BAD = {
    "per feature": (
        Lasso(),
        Continuous(0, 1, scale="logit", per="feature"),
        "'sample_weight' of Lasso cannot be searched per='feature'",
    ),
    "per output": (
        KernelRidge(),
        Continuous(0, 1, scale="logit", per="output"),
        "cannot be searched per='output'; possible: 'sample', 'group'",
    ),
    "one for all": (
        ElasticNet(),
        Continuous(0, 1, scale="logit"),
        "cannot be searched per=None",
    ),
    "groups of another length": (
        Lasso(),
        Continuous(0, 1, scale="logit", per="group", groups=[0, 1, 1]),
        f"groups of 'sample_weight' must have {N} labels",
    ),
    "negative": (
        Lasso(),
        Continuous(-1, 1, scale="linear", per="sample"),
        "'sample_weight' must not be negative",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_intervals_are_named(case):
    estimator, interval, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        GradientSearchCV(estimator, {"sample_weight": interval}).fit(*regression(0))


def test_an_alpha_per_target_of_a_kernel_ridge_is_refused():
    model = KernelRidge(alpha=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="one alpha for all targets"):
        GradientSearchCV(model, {"sample_weight": SHARE}).fit(*several(0))


def test_one_group_alone_changes_nothing_for_the_elastic_net():
    X, y = regression(0)
    same = Continuous(0.1, 1, scale="linear", per="group", groups=np.zeros(N))
    search = GradientSearchCV(Lasso(alpha=0.1), {"sample_weight": same}, cv=HALF)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    values = search.cv_results_["criterion"]
    np.testing.assert_allclose(values, values[0], rtol=1e-9)


def test_weights_that_are_all_zero_are_named():
    nothing = Continuous(0, 1, scale="linear", per="sample", init=0.0)
    search = GradientSearchCV(Lasso(), {"sample_weight": nothing}, cv=HALF)
    with pytest.raises(ValueError, match="train in a fold have weight zero"):
        search.fit(*regression(0))
