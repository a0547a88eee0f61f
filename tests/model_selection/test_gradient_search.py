"""The search as an estimator: no leak, known optima, the whole surface."""

import os
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.stats import loguniform, norm, uniform
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.metrics import log_loss, make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeRegressor

from skdiff.linear_model import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)
from skdiff.model_selection import (
    Continuous,
    GradientSearchCV,
    GradientSearchDisplay,
    InnerProblem,
    check_hypergradient,
    inner_problem,
)
from tests._nn._mlp import MLPRegressor

EXACT = {"tol": 1e-12, "max_iter": 100_000}
WIDE = loguniform(1e-3, 1e3)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X, y - y.mean()


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


NO_LEAK = {
    "ridge": (Ridge(), {"alpha": WIDE}, "numbers"),
    "lasso": (Lasso(**EXACT), {"alpha": loguniform(1e-2, 1e2)}, "numbers"),
    "kernel ridge": (
        KernelRidge(kernel="rbf"),
        {"alpha": WIDE, "gamma": loguniform(1e-4, 1)},
        "numbers",
    ),
    "linear SVR": (
        LinearSVR(loss="squared_epsilon_insensitive", **EXACT),
        {"C": loguniform(1e-4, 1e1)},
        "numbers",
    ),
    "logistic": (
        LogisticRegression(solver="newton-cholesky", tol=1e-12),
        {"C": loguniform(1e-4, 1e4)},
        "classes",
    ),
    "multinomial": (
        LogisticRegression(solver="newton-cholesky", tol=1e-12),
        {"C": loguniform(1e-3, 1e3)},
        "three",
    ),
    "ridge per feature": (
        WeightedRidge(),
        {"alpha": Continuous(1e-3, 1e3, per="feature")},
        "numbers",
    ),
    "elastic net per feature": (
        WeightedElasticNet(l1_ratio=0.6),
        {"alpha": Continuous(1e-2, 1e1, per="feature")},
        "numbers",
    ),
    "logistic per feature": (
        WeightedLogisticRegression(tol=1e-8),
        {"C": Continuous(1e-3, 1e1, per="feature")},
        "classes",
    ),
}


@pytest.mark.parametrize("name", NO_LEAK)
def test_every_row_is_the_cross_validation_of_its_pipeline(name, diabetes, cancer):
    estimator, intervals, kind = NO_LEAK[name]
    tables = {
        "numbers": diabetes,
        "classes": cancer,
        "three": load_iris(return_X_y=True),
    }
    X, y = tables[kind]
    X = X * np.linspace(1, 50, X.shape[1])  # the scaler has to matter
    pipeline = Pipeline([("scale", StandardScaler()), ("model", estimator)])
    intervals = {f"model__{k}": v for k, v in intervals.items()}
    search = GradientSearchCV(pipeline, intervals, max_iter=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    results = search.cv_results_
    assert len(results["params"]) == search.n_iter_ <= 25
    for params, score in zip(
        results["params"], results["mean_test_score"], strict=True
    ):
        again = cross_val_score(
            clone(pipeline).set_params(**params), X, y, scoring=search.scorer_
        )
        np.testing.assert_allclose(score, again.mean(), rtol=1e-6)


def refined(function, low, high, n=400):
    """Argmin of a grid, refined by bounded Brent."""
    grid = np.linspace(low, high, n)
    i = int(np.argmin([function(t) for t in grid]))
    ends = grid[max(i - 1, 0)], grid[min(i + 1, n - 1)]
    return minimize_scalar(
        function, bounds=ends, method="bounded", options={"xatol": 1e-8}
    ).x


@pytest.mark.parametrize(
    ("estimator", "name", "kind", "low", "high"),
    [
        (Ridge(), "alpha", "numbers", 1e-3, 1e4),
        (Lasso(), "alpha", "numbers", 1e-2, 1e2),
        (LogisticRegression(), "C", "classes", 1e-3, 1e2),
        (KernelRidge(kernel="rbf", gamma=0.02), "alpha", "numbers", 1e-3, 1e2),
        (LinearSVC(), "C", "classes", 1e-4, 1e1),
    ],
    ids=str,
)
def test_the_best_is_the_argmin_of_a_refined_grid(
    estimator, name, kind, low, high, diabetes, cancer
):
    X, y = diabetes if kind == "numbers" else cancer
    X = StandardScaler().fit_transform(X)
    intervals = {name: loguniform(low, high)}
    search = GradientSearchCV(
        estimator, intervals, cv=KFold(5, shuffle=True, random_state=0)
    )
    task = search._prepare(X, y, None)
    best = refined(
        lambda t: task.evaluator(np.array([t]))[0], np.log(low), np.log(high), 100
    )
    search.fit(X, y)
    assert search.converged_ and search.n_iter_ <= 25
    value = task.evaluator(np.array([best]))[0]
    assert -search.best_score_ <= value * (1 + 1e-6)
    if not isinstance(estimator, LinearSVC):  # whose kinks make several minima
        assert abs(np.log(search.best_params_[name]) - best) < 1e-3


def test_of_points_that_score_alike_the_lowest_criterion_is_best(cancer):
    X, y = cancer
    search = GradientSearchCV(
        LogisticRegression(),
        {"C": loguniform(1e-3, 1e3)},
        scoring=lambda model, X, y: round(model.score(X, y), 1),
    ).fit(StandardScaler().fit_transform(X), y)
    first = search.cv_results_["rank_test_score"] == 1
    assert first.sum() > 1
    criterion = search.cv_results_["criterion"]
    assert criterion[search.best_index_] == criterion[first].min()


def test_the_closed_form_of_an_orthogonal_ridge():
    rng = np.random.default_rng(0)
    A = np.linalg.qr(rng.normal(size=(40, 5)))[0]
    w = rng.normal(size=5)
    y, t = A @ w + 0.3 * rng.normal(size=40), A @ w + 0.3 * rng.normal(size=40)
    X, targets = np.vstack([A, A]), np.concatenate([y, t])
    cv = PredefinedSplit(np.repeat([-1, 0], 40))
    search = GradientSearchCV(
        Ridge(fit_intercept=False), {"alpha": loguniform(1e-3, 1e2)}, cv=cv, tol=1e-9
    ).fit(X, targets)
    exact = np.sum((A.T @ y) ** 2) / (y @ A @ A.T @ t) - 1
    assert exact > 0
    np.testing.assert_allclose(search.best_params_["alpha"], exact, rtol=1e-8)


def test_scaling_a_column_scales_its_free_penalty_by_the_square(diabetes):
    X, y = diabetes
    X = StandardScaler().fit_transform(X)[:, :4]
    scale = np.array([1.0, 3.0, 1.0, 1.0])
    penalties = []
    for factor in (np.ones(4), scale):
        wide = Continuous(1e-4, 1e8, per="feature")
        search = GradientSearchCV(
            WeightedRidge(), {"alpha": wide}, tie_strength=0, tol=1e-6, max_iter=300
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            penalties.append(search.fit(X * factor, y))
    plain, scaled = penalties
    np.testing.assert_allclose(plain.best_score_, scaled.best_score_, rtol=1e-6)
    found = plain.best_params_["alpha"]
    inner = (found > 1) & (found < 1e6)  # elsewhere the criterion is flat
    assert inner.any()
    np.testing.assert_allclose(
        (scaled.best_params_["alpha"] / scale**2)[inner],
        plain.best_params_["alpha"][inner],
        rtol=0.02,
    )


def test_permuted_features_have_permuted_penalties(diabetes):
    X, y = diabetes
    X = StandardScaler().fit_transform(X)
    order = np.random.default_rng(0).permutation(10)
    intervals = {"alpha": Continuous(1e-2, 1e4, per="feature")}
    search = GradientSearchCV(WeightedRidge(), intervals)
    one, two = clone(search).fit(X, y), clone(search).fit(X[:, order], y)
    np.testing.assert_allclose(
        one.best_params_["alpha"][order], two.best_params_["alpha"], rtol=1e-3
    )


@pytest.mark.parametrize("estimator", [Ridge(), Lasso(), KernelRidge(kernel="rbf")])
def test_a_weight_of_two_is_a_row_twice(estimator, diabetes):
    X, y = diabetes
    X, y = X[:120] * 20, y[:120]
    weight = np.random.default_rng(0).integers(1, 3, 120)
    fold = np.arange(120) % 3
    intervals = {"alpha": loguniform(1e-2, 1e2)}
    weighted = GradientSearchCV(estimator, intervals, cv=PredefinedSplit(fold))
    weighted.fit(X, y, sample_weight=weight)
    repeated = GradientSearchCV(
        estimator, intervals, cv=PredefinedSplit(np.repeat(fold, weight))
    ).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(
        weighted.best_params_["alpha"], repeated.best_params_["alpha"], rtol=1e-4
    )
    np.testing.assert_allclose(weighted.best_score_, repeated.best_score_, rtol=1e-6)


def test_a_lasso_without_any_feature_leaves_the_plateau(diabetes):
    X, y = diabetes
    top = np.abs(X.T @ y).max() / len(y)
    search = GradientSearchCV(Lasso(), {"alpha": loguniform(1e-3 * top, 1e4 * top)})
    search.fit(X, y)
    assert search.best_params_["alpha"] < top


def test_stopping_at_a_bound_warns(diabetes):
    X, y = diabetes
    search = GradientSearchCV(Ridge(), {"alpha": loguniform(1e2, 1e4)})
    with pytest.warns(UserWarning, match="'alpha' stopped at its lower bound 100"):
        search.fit(X, y)
    assert search.best_params_["alpha"] == pytest.approx(100)


def test_warm_starts_change_no_answer(cancer):
    X, y = cancer
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    intervals = {"logisticregression__C": loguniform(1e-3, 1e2)}
    found = [
        GradientSearchCV(pipeline, intervals, tol=1e-6, warm_start_inner=warm).fit(X, y)
        for warm in (True, False)
    ]
    np.testing.assert_allclose(found[0].best_score_, found[1].best_score_, rtol=1e-8)
    np.testing.assert_allclose(
        *[s.best_params_["logisticregression__C"] for s in found], rtol=1e-5
    )


@pytest.mark.parametrize("solver", ["lbfgs", "hoag", "maid"])
def test_solvers_agree(solver, cancer):
    X, y = cancer
    X = StandardScaler().fit_transform(X)
    intervals = {"C": Continuous(1e-3, 1e2)}
    root = GradientSearchCV(LogisticRegression(), intervals, cv=3).fit(X, y)
    other = GradientSearchCV(
        LogisticRegression(), intervals, cv=3, solver=solver, max_iter=60
    ).fit(X, y)
    assert other.best_score_ >= root.best_score_ - 1e-4 * abs(root.best_score_)


@pytest.mark.parametrize("solver", ["lbfgs", "hoag", "maid"])
def test_solvers_lower_the_criterion_of_a_vector(solver, diabetes):
    X, y = diabetes
    X = StandardScaler().fit_transform(X)
    intervals = {"alpha": Continuous(1e-2, 1e5, per="feature")}
    search = GradientSearchCV(
        WeightedRidge(), intervals, solver=solver, max_iter=60, cv=3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        free = clone(search).fit(X, y)
        tied = clone(search).set_params(tie_strength=np.inf).fit(X, y)
    assert np.ptp(tied.best_params_["alpha"]) < 1e-9 * tied.best_params_["alpha"][0]
    assert free.best_score_ > tied.best_score_
    # the tie holds back: the weaker, the lower the criterion
    loose = clone(search).set_params(tie_strength=0.01, solver="lbfgs").fit(X, y)
    assert loose.best_score_ >= free.best_score_


def test_lists_are_tried_one_by_one(diabetes):
    X, y = diabetes
    pipeline = Pipeline([("pick", SelectKBest(k=2)), ("model", Ridge())])
    search = GradientSearchCV(
        pipeline, {"pick__k": [2, 5, 8], "model__alpha": WIDE}, n_starts=2
    ).fit(X, y)
    counts = dict.fromkeys((2, 5, 8), 0)
    for params in search.cv_results_["params"]:
        counts[params["pick__k"]] += 1
    assert all(8 <= c <= 25 for c in counts.values())
    assert search.best_params_["pick__k"] == search.best_estimator_["pick"].k
    direct = GridSearchCV(
        pipeline,
        {"pick__k": [2, 5, 8], "model__alpha": np.geomspace(1e-3, 1e3, 7)},
        scoring="neg_mean_squared_error",
    ).fit(X, y)
    assert search.best_score_ >= direct.best_score_ - 1e-9


def test_scoring_reports_and_picks(cancer):
    X, y = cancer
    names = np.array(["malignant", "benign"])[y]
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-10)
    )
    intervals = {"logisticregression__C": loguniform(1e-3, 1e2)}
    search = GradientSearchCV(
        pipeline,
        intervals,
        scoring=["accuracy", "roc_auc", "neg_log_loss"],
        refit="roc_auc",
    ).fit(X, names)
    results = search.cv_results_
    assert search.multimetric_ and set(search.scorer_) == {
        "accuracy",
        "roc_auc",
        "neg_log_loss",
    }
    for metric in search.scorer_:
        again = cross_val_score(
            clone(pipeline).set_params(**search.best_params_), X, names, scoring=metric
        )
        best = results[f"mean_test_{metric}"][search.best_index_]
        np.testing.assert_allclose(best, again.mean(), rtol=1e-6)
    assert results["rank_test_roc_auc"][search.best_index_] == 1
    assert search.score(X, names) > 0.99
    assert list(search.classes_) == ["benign", "malignant"]
    with pytest.raises(ValueError, match="refit must be set"):
        GradientSearchCV(pipeline, intervals, scoring=["accuracy", "roc_auc"]).fit(X, y)


def test_a_scorer_may_look_inside_the_model(diabetes):
    X, y = diabetes

    def sparsity(estimator, X, y):
        return -float(np.count_nonzero(estimator.named_steps["lasso"].coef_))

    pipeline = make_pipeline(StandardScaler(), Lasso())
    search = GradientSearchCV(
        pipeline, {"lasso__alpha": loguniform(1e-1, 1e2)}, scoring=sparsity
    ).fit(X, y)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    weighed = clone(search).fit(X, y, lasso__sample_weight=np.arange(len(y)) + 1.0)
    assert len(weighed.cv_results_["params"]) == weighed.n_iter_
    absolute = make_scorer(mean_absolute_error, greater_is_better=False)
    again = clone(search).set_params(scoring=absolute, refit=lambda r: 3).fit(X, y)
    assert again.best_index_ == 3 and not hasattr(again, "best_score_")


def test_groups_routing_and_refit_off(diabetes):
    X, y = diabetes
    groups = np.arange(len(y)) // 40
    search = GradientSearchCV(Ridge(), {"alpha": WIDE}, cv=GroupKFold(4), refit=False)
    search.fit(X, y, groups=groups)
    expected = cross_val_score(
        Ridge(**search.best_params_),
        X,
        y,
        groups=groups,
        cv=GroupKFold(4),
        scoring="neg_mean_squared_error",
    )
    np.testing.assert_allclose(search.best_score_, expected.mean())
    with pytest.raises(AttributeError):
        search.predict(X)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = GradientSearchCV(make_pipeline(scaler, ridge), {"ridge__alpha": WIDE})
        routed.fit(X, y, sample_weight=weight)
        half = clone(routed).fit(X, y, sample_weight=np.ones(len(y)))
        plain = clone(routed).fit(X, y)
        ridge.set_score_request(sample_weight=True)
        scored = GradientSearchCV(make_pipeline(scaler, ridge), {"ridge__alpha": WIDE})
        scored.fit(X, y, sample_weight=weight)
    assert half.best_params_ == plain.best_params_
    assert routed.best_params_ != plain.best_params_
    assert scored.best_score_ != routed.best_score_
    by_step = clone(routed)
    by_step.estimator = make_pipeline(StandardScaler(), Ridge())
    by_step.fit(X, y, ridge__sample_weight=weight)
    np.testing.assert_allclose(
        by_step.best_params_["ridge__alpha"], routed.best_params_["ridge__alpha"]
    )


def test_nested_and_parallel_use(diabetes):
    X, y = diabetes
    pipeline = make_pipeline(PCA(5), StandardScaler(), Ridge())
    search = GradientSearchCV(pipeline, {"ridge__alpha": WIDE}, cv=3)
    scores = cross_val_score(search, X, y, cv=3, scoring="r2", n_jobs=2)
    assert np.all(scores > 0.2)
    # threads over folds, once folds are slow
    serial = clone(search).fit(X, y)
    from skdiff.model_selection._gradient import _evaluate

    before, _evaluate.WORTH_A_THREAD = _evaluate.WORTH_A_THREAD, 0.0
    try:
        threads = clone(search).set_params(n_jobs=2).fit(X, y)
    finally:
        _evaluate.WORTH_A_THREAD = before
    np.testing.assert_array_equal(
        serial.cv_results_["mean_test_score"], threads.cv_results_["mean_test_score"]
    )
    inside = make_pipeline(StandardScaler(), make_pipeline(PCA(5), Ridge()))
    nested = GradientSearchCV(inside, {"pipeline__ridge__alpha": WIDE}, cv=3).fit(X, y)
    assert np.isfinite(nested.best_score_)


def test_sparse_ridge_is_never_made_dense(monkeypatch):
    rng = np.random.default_rng(0)
    X = sparse.csr_array(rng.normal(size=(80, 1_000)))
    X = X.multiply(rng.uniform(size=X.shape) < 0.002).tocsr()
    y = X[:, :50] @ rng.normal(size=50) + 0.1 * rng.normal(size=X.shape[0])

    def refuse(*args, **kwargs):
        raise AssertionError("made dense")

    dense = Ridge(alpha=3.0, solver="sparse_cg", tol=1e-12)
    expected = cross_val_score(dense, X, y, scoring="neg_mean_squared_error").mean()
    for kind in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix):
        monkeypatch.setattr(kind, "toarray", refuse)
        monkeypatch.setattr(kind, "todense", refuse)
    for estimator in (Ridge(solver="sparse_cg"), WeightedRidge()):
        search = GradientSearchCV(
            estimator, {"alpha": Continuous(1e-2, 1e3)}, inner_tol=1e-8
        )
        task = search._prepare(X, y, None)
        value = task.evaluator(np.array([np.log(3.0)]))[0]
        np.testing.assert_allclose(value, -expected, rtol=1e-6)
        search.fit(X, y)
        assert np.isfinite(search.best_score_)


def test_row_weights_find_flipped_labels(cancer):
    X, y = cancer
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, clean = order[:340], order[340:455]
    flipped = rng.uniform(size=340) < 0.3
    labels = np.concatenate([np.where(flipped, 1 - y[train], y[train]), y[clean]])
    rows = np.concatenate([train, clean])
    cv = PredefinedSplit(np.repeat([-1, 0], [340, 115]))
    intervals = {"sample_weight": Continuous(0, 1, scale="logit", per="sample")}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GradientSearchCV(pipeline, intervals, cv=cv, tie_strength=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X[rows], labels)
    weight = search.best_params_["sample_weight"]
    assert weight.shape == (455,) and np.all(weight[340:] == 1)
    assert weight[:340][~flipped].mean() > weight[:340][flipped].mean() + 0.2
    order = np.argsort(np.argsort(weight[:340]))
    n1, n0 = (~flipped).sum(), flipped.sum()
    auc = (order[~flipped].sum() - n1 * (n1 - 1) / 2) / (n1 * n0)
    assert auc > 0.9
    test = np.setdiff1d(np.arange(len(y)), rows)
    assert search.best_estimator_.score(X[test], y[test]) > 0.93


def test_a_penalty_per_coefficient():
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    interval = {"C": Continuous(1e-2, 1e2, per="coefficient")}
    search = GradientSearchCV(WeightedLogisticRegression(), interval, tie_strength=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        tied = clone(search).set_params(tie_strength=np.inf).fit(X, names)
        search.fit(X, names)
    C = search.best_params_["C"]
    assert C.shape == search.hypergradient_["C"].shape == (3, 4)
    assert np.ptp(tied.best_params_["C"]) == 0.0
    assert search.best_score_ > tied.best_score_
    again = WeightedLogisticRegression(C)
    index = search.best_index_
    pasted = cross_val_score(again, X, names, scoring="neg_log_loss")
    seen = [search.cv_results_[f"split{k}_test_score"][index] for k in range(5)]
    np.testing.assert_allclose(pasted, seen, rtol=1e-4)


def test_rows_of_equal_penalties_are_a_penalty_per_feature():
    X, y = load_iris(return_X_y=True)
    C = np.array([0.1, 1.0, 10.0, np.inf])
    vector = WeightedLogisticRegression(C, tol=1e-9).fit(X, y)
    matrix = WeightedLogisticRegression(np.tile(C, (3, 1)), tol=1e-9).fit(X, y)
    np.testing.assert_allclose(matrix.coef_, vector.coef_, atol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(3, 4\), one per coefficient"):
        WeightedLogisticRegression(np.ones((2, 4))).fit(X, y)
    with pytest.raises(ValueError, match=r"have shape \(4,\), one entry per feature\."):
        WeightedLogisticRegression(np.ones((2, 4))).fit(X[:100], y[:100])


@pytest.mark.slow
@pytest.mark.parametrize(("per", "tie"), [("feature", 0.3), ("coefficient", 1.0)])
def test_a_penalty_per_pixel_lowers_both_losses(per, tie):
    folder = os.environ.get("SKDIFF_DATA")
    if folder is None:
        pytest.skip("SKDIFF_DATA does not name the folder of real tables")
    import pandas as pd

    table = pd.read_csv(f"{folder}/mnist_5k.csv.gz")
    y = table.pop("digit").to_numpy()
    # mean of two by two pixels, 1000 digits to train, 1000 to validate, 3000 to test
    X = table.to_numpy(float).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) / 255
    X = X.reshape(len(y), -1)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:1000], order[2000:]
    X = X[:, X[train].std(axis=0) > 0.05]
    cv = PredefinedSplit(np.repeat([-1, 0], 1000))
    losses = []
    for strength in (np.inf, tie):
        search = GradientSearchCV(
            WeightedLogisticRegression(),
            {"C": Continuous(1e-4, 1e2, per=per)},
            cv=cv,
            tie_strength=strength,
            max_iter=15,
            tol=1e-2,
            refit=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            search.fit(X[order[:2000]], y[order[:2000]])
        model = WeightedLogisticRegression(search.best_params_["C"])
        proba = model.fit(X[train], y[train]).predict_proba(X[test])
        losses.append((-search.best_score_, log_loss(y[test], proba)))
    (tied, tied_test), (loose, loose_test) = losses
    assert loose < tied - 0.02 and loose_test < tied_test


def test_length_scales_become_a_kernel(diabetes):
    X, y = diabetes
    X = StandardScaler().fit_transform(X)[:150]
    y = y[:150]
    intervals = {
        "alpha": Continuous(1e-2, 1e2),
        "gamma": Continuous(1e-4, 1, per="feature"),
    }
    search = GradientSearchCV(KernelRidge(kernel="rbf"), intervals, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    assert search.best_params_["gamma"].shape == (10,)
    again = cross_val_score(
        clone(search.best_estimator_), X, y, cv=3, scoring="neg_mean_squared_error"
    )
    np.testing.assert_allclose(search.best_score_, again.mean(), rtol=1e-6)


def test_a_network_is_searched_afresh_at_every_point(diabetes):
    X, y = diabetes
    X = StandardScaler().fit_transform(X)[:150]
    model = MLPRegressor((4,), activation="tanh", max_iter=150, random_state=0)
    search = GradientSearchCV(
        model, {"alpha": Continuous(1e-3, 3.0)}, cv=2, max_iter=8, tol=0.1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y[:150])
        again = cross_val_score(
            clone(model).set_params(**search.best_params_),
            X,
            y[:150],
            cv=2,
            scoring="neg_mean_squared_error",
        )
    np.testing.assert_allclose(search.best_score_, again.mean(), rtol=1e-6)


class Shrunk(RegressorMixin, BaseEstimator):
    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y):
        self.mean_ = self.factor * np.mean(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


class ShrunkProblem(InnerProblem):
    parameters = {"factor": (None,)}

    def solve(self, theta, w0, tol):
        return np.array([theta["factor"] * self.y.mean()]), 1

    def solve_hessian(self, w, theta, rhs, tol):
        return rhs

    def cross(self, w, theta, q):
        return {"factor": float(-self.y.mean() * q[0])}

    def predict(self, w, X):
        return np.full(len(X), w[0])


def test_anyone_may_register_an_inner_problem():
    rng = np.random.default_rng(0)
    X, y = np.zeros((60, 1)), 5 + rng.normal(size=60)
    intervals = {"factor": uniform(0.5, 1.0)}
    with pytest.raises(TypeError, match=r"no inner problem.*HyperbandSearchCV"):
        GradientSearchCV(Shrunk(), intervals).fit(X, y)
    inner_problem.register(Shrunk, ShrunkProblem)
    try:
        search = GradientSearchCV(Shrunk(), intervals).fit(X, y)
        assert abs(search.best_params_["factor"] - 1) < 0.02
        assert check_hypergradient(search, X, y) < 1e-3
        assert check_hypergradient(GradientSearchCV(Shrunk(), intervals), X, y) < 1e-6
    finally:
        inner_problem.register(Shrunk, inner_problem.registry[object])


def test_criteria(diabetes, cancer):
    X, y = diabetes
    huber = GradientSearchCV(Ridge(), {"alpha": WIDE}, criterion="huber").fit(X, y)
    best = clone(huber.best_estimator_)
    again = cross_val_score(best, X, y, scoring=huber.scorer_).mean()
    np.testing.assert_allclose(huber.best_score_, again, rtol=1e-9)

    def quartic(y, raw):
        r = (raw - y) / 100
        return np.mean(r**4), 4 * r**3 / 100 / len(r)

    own = GradientSearchCV(Ridge(), {"alpha": WIDE}, criterion=quartic)
    assert check_hypergradient(own, X, y) < 1e-6
    assert own.fit(X, y).best_score_ == -own.cv_results_["criterion"].min()
    assert own.score(X, y) < 0

    def broken(y, raw):
        return np.nan, np.zeros_like(raw)

    with pytest.raises(ValueError, match="criterion was not finite"):
        GradientSearchCV(Ridge(), {"alpha": WIDE}, criterion=broken).fit(X, y)
    with pytest.raises(ValueError, match="not for a regressor"):
        GradientSearchCV(Ridge(), {"alpha": WIDE}, criterion="log_loss").fit(X, y)

    def half_broken(y, raw):
        value, slope = np.mean((raw - y) ** 2), 2 * (raw - y) / len(y)
        return (np.nan if np.std(raw) < 1 else value), slope

    search = GradientSearchCV(
        Ridge(), {"alpha": loguniform(1e-3, 1e6)}, criterion=half_broken
    ).fit(X, y)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.any() and search.cv_results_["rank_test_score"][failed].min() > 1
    assert np.isfinite(search.best_score_)
    with pytest.raises(ValueError, match="criterion or its gradient"):
        search.set_params(error_score="raise").fit(X, y)


BAD = {
    "no inner problem": (DecisionTreeRegressor(), {"ccp_alpha": WIDE}, {}, "Hyperband"),
    "unknown": (Ridge(), {"beta": WIDE}, {}, "Invalid parameter 'beta'"),
    "no gradient": (Ridge(), {"max_iter": WIDE}, {}, "has no gradient"),
    "empty": (Ridge(), {}, {}, "empty"),
    "lists only": (Ridge(), {"alpha": [1, 2]}, {}, "no interval"),
    "normal": (Ridge(), {"alpha": norm(0, 1)}, {}, "norm distribution"),
    "a number": (Ridge(), {"alpha": 3.0}, {}, "must be a Continuous"),
    "empty list": (Ridge(), {"alpha": WIDE, "solver": []}, {}, "empty list"),
    "per feature": (
        Ridge(),
        {"alpha": Continuous(1, 2, per="feature")},
        {},
        "cannot be searched per='feature'",
    ),
    "groups": (
        WeightedRidge(),
        {"alpha": Continuous(1, 2, per="group", groups=[0, 1])},
        {},
        "must have 10 labels",
    ),
    "root of many": (
        WeightedRidge(),
        {"alpha": Continuous(1, 2, per="feature")},
        {"solver": "root"},
        'solver="root" searches one',
    ),
    "hinge": (LinearSVR(), {"C": WIDE}, {}, "squared_epsilon_insensitive"),
    "kernel": (KernelRidge(), {"gamma": WIDE}, {}, "gamma is differentiable"),
    "positive": (Lasso(positive=True), {"alpha": WIDE}, {}, "positive=False"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case, diabetes):
    estimator, intervals, options, words = BAD[case]
    with pytest.raises((ValueError, TypeError), match=words):
        GradientSearchCV(estimator, intervals, **options).fit(*diabetes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"low": 0, "high": 1}, "low > 0"),
        ({"low": 2, "high": 1}, "smaller than high"),
        ({"low": 1, "high": np.inf}, "finite"),
        ({"low": "a", "high": 1}, "must be numbers"),
        ({"low": 1, "high": 2, "scale": "cubic"}, "scale must be"),
        ({"low": 1, "high": 2, "per": "row"}, "per must be"),
        ({"low": 1, "high": 2, "per": "group"}, "groups must be given"),
        ({"low": 1, "high": 2, "init": 3}, "init must lie"),
    ],
)
def test_bad_intervals_are_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Continuous(**arguments)


def test_a_class_missing_from_a_fold_is_named():
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.repeat(["a", "b", "c"], 10)
    search = GradientSearchCV(LogisticRegression(), {"C": WIDE}, cv=KFold(3))
    with pytest.raises(ValueError, match=r"class 'a' is missing .* fold 0"):
        search.fit(X, y)


def test_unfitted_and_intervals_through_state(diabetes, tmp_path):
    search = GradientSearchCV(
        Ridge(), {"alpha": loguniform(1e-3, 1e3), "solver": ["auto", "svd"]}
    )
    with pytest.raises(NotFittedError):
        search.predict(diabetes[0])
    assert not hasattr(search, "scorer_")
    search.fit(*diabetes)
    search.save(tmp_path / "search.npz")
    again = GradientSearchCV.load(tmp_path / "search.npz")
    assert again.param_distributions["alpha"].support() == (1e-3, 1e3)
    assert again.best_params_ == search.best_params_
    interval = Continuous(1, 2, per="group", groups=np.array([0, 1]))
    assert interval == Continuous(1, 2, per="group", groups=[0, 1])
    assert hash(interval) == hash(Continuous(1, 2, per="group", groups=[0, 1]))
    assert interval != Continuous(1, 2) and interval != 3


def test_the_display(diabetes):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    X, y = load_diabetes(return_X_y=True, as_frame=True)
    one = GradientSearchCV(Ridge(), {"alpha": WIDE}).fit(X, y)
    display = GradientSearchDisplay.from_estimator(one).plot()
    assert display.ax_.get_xscale() == "log"
    assert len(display.line_.get_xdata()) == one.n_iter_
    assert display.frame()["best"].sum() == 1
    with pytest.raises(ValueError, match="vectors here: none"):
        display.plot_values()
    many = GradientSearchCV(
        WeightedRidge(), {"alpha": Continuous(1e-3, 1e3, per="feature")}, max_iter=20
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        display = GradientSearchDisplay.from_estimator(many.fit(X, y)).plot()
    assert display.ax_.get_xlabel() == "Visited point"
    display.plot_values()
    labels = [t.get_text() for t in display.ax_.get_yticklabels()]
    assert labels == list(X.columns)
    assert "alpha[9]" in display.frame().columns
    matrix = GradientSearchCV(
        WeightedLogisticRegression(),
        {"C": Continuous(1e-2, 1e2, per="coefficient")},
        max_iter=5,
    )
    X_iris, y_iris = load_iris(return_X_y=True, as_frame=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        picture = GradientSearchDisplay.from_estimator(matrix.fit(X_iris, y_iris))
    picture.plot_values()
    assert picture.line_.get_array().shape == (3, 4)
    labels = [t.get_text() for t in picture.ax_.get_xticklabels()]
    assert labels == list(X_iris.columns)
    assert "C[2, 3]" in picture.frame().columns
    with pytest.raises(ValueError, match="no vector"):
        display.plot_values("gamma")
    plt.close("all")
