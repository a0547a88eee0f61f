"""R-learners: closed forms, coverage, the final stage that decides, and bad input."""

import warnings

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LassoLars,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor, kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skdiff.causal import GraphRLearner, RLearner


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def confounded(rng, n=600, slope=1.0):
    """A treatment that hangs on X; effect 1 + slope x_1."""
    X = rng.normal(size=(n, 4))
    t = (rng.random(n) < sigmoid(X[:, 0])).astype(int)
    effect = 1 + slope * X[:, 1]
    return X, 2 * X[:, 0] + t * effect + rng.normal(size=n), t, effect


def linear(**how):
    return RLearner(RidgeCV(), LogisticRegression(), random_state=0, **how)


# --- closed forms ---------------------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.booleans())
def test_a_constant_effect_is_partialling_out(seed, weighted):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(80, 3))
    t = X @ [1, 0.5, 0] + rng.normal(size=80)
    y = 2 * t + X[:, 0] + rng.normal(size=80)
    w = rng.uniform(0.5, 2, 80) if weighted else None
    cv = KFold(4, shuffle=True, random_state=0)
    model = RLearner(LinearRegression(), LinearRegression(), DummyRegressor(), cv=cv)
    model.fit(X, y, treatment=t, sample_weight=w)
    how = {"cv": cv, "params": {"sample_weight": w} if weighted else None}
    v = y - cross_val_predict(LinearRegression(), X, y, **how)
    u = t - cross_val_predict(LinearRegression(), X, t, **how)
    np.testing.assert_allclose(model.outcome_residual_, v)
    np.testing.assert_allclose(model.treatment_residual_, u)
    w = np.ones(80) if w is None else w
    expected = (w * u) @ v / ((w * u) @ u)
    # rows below trim_residual weigh a millionth of the mean at most
    np.testing.assert_allclose(model.effect(X), expected, rtol=1e-5)
    assert model.ate_ == pytest.approx(expected, rel=1e-5)
    left = v - expected * u
    std = np.sqrt((w * w * u * u) @ left**2 * 80 / 79) / ((w * u) @ u)
    assert model.ate_std_ == pytest.approx(std, rel=1e-4)


def test_least_squares_minimises_the_r_loss():
    X, y, t, _ = confounded(np.random.default_rng(0))
    model = linear(trim_residual=0.0).fit(X, y, treatment=t)
    u, v = model.treatment_residual_, model.outcome_residual_
    D = np.c_[np.ones(len(X)), X] * u[:, None]
    beta = np.linalg.lstsq(D, v, rcond=None)[0]
    np.testing.assert_allclose(model.final_model_.coef_, beta[1:], rtol=1e-9)
    assert model.r_loss_ == pytest.approx(np.mean((v - D @ beta) ** 2))
    for other in beta + 0.05 * np.random.default_rng(1).normal(size=(50, 5)):
        assert model.r_loss_ < np.mean((v - D @ other) ** 2)


def test_errors_shrink_with_the_root_of_the_rows():
    errors = []
    for n in (400, 6400):
        found = []
        for seed in range(12):
            X, y, t, effect = confounded(np.random.default_rng(seed), n)
            model = linear().fit(X, y, treatment=t)
            found.append(np.mean((model.effect(X) - effect) ** 2))
        errors.append(np.sqrt(np.mean(found)))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)


def test_naive_differences_are_biased_where_residuals_are_not():
    X, y, t, _ = confounded(np.random.default_rng(3), 4000, slope=0.0)
    naive = y[t == 1].mean() - y[t == 0].mean()
    model = linear().fit(X, y, treatment=t)
    assert abs(naive - 1) > 1
    low, high = model.ate_interval_
    assert low < 1 < high and high - low < 0.2


def test_intervals_cover():
    inside, point = np.zeros(2), np.array([[0.0, 1.0, 0.5, 0.0]])
    for seed in range(100):
        X, y, t, _ = confounded(np.random.default_rng(seed), 200)
        model = RLearner(Ridge(), LogisticRegression(), cv=2, random_state=0)
        low, high = model.fit(X, y, treatment=t).ate_interval_
        below, above = model.effect_interval(point)
        inside += low < 1 < high, below[0] < 2 < above[0]
    assert np.all(inside >= 89) and np.all(inside <= 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    "final", [LinearRegression(), DummyRegressor(), Ridge(1e-3)], ids=repr
)
def test_intervals_of_the_average_cover(final):
    inside, repeats = 0, 200
    slope = 0.0 if isinstance(final, DummyRegressor) else 1.0
    for seed in range(repeats):
        X, y, t, _ = confounded(np.random.default_rng(seed), 250, slope)
        model = RLearner(Ridge(), LogisticRegression(), final, cv=3, random_state=0)
        low, high = model.fit(X, y, treatment=t).ate_interval_
        inside += low < 1 < high
    assert 0.90 <= inside / repeats <= 0.985


@pytest.mark.slow
def test_intervals_of_effects_cover():
    point, inside, boot = np.array([[0.0, 1.0, 0.5, 0.0]]), 0, 0
    repeats = 200
    for seed in range(repeats):
        X, y, t, _ = confounded(np.random.default_rng(1000 + seed), 250)
        model = RLearner(Ridge(), LogisticRegression(), cv=3, random_state=0)
        low, high = model.fit(X, y, treatment=t).effect_interval(point)
        inside += low[0] < 2 < high[0]
        if seed < 60:
            model.set_params(n_bootstrap=30).refit_final(Ridge(1e-3))
            low, high = model.effect_interval(point)
            boot += low[0] < 2 < high[0]
    assert 0.91 <= inside / repeats <= 0.985
    assert 0.87 <= boot / 60 <= 1.0


def test_the_bootstrap_agrees_with_the_sandwich():
    X, y, t, _ = confounded(np.random.default_rng(5), 2000)
    model = linear(n_bootstrap=200).fit(X, y, treatment=t)
    widths = np.subtract(*model.effect_interval(X[:20])[::-1])
    # a scaled penalty of nothing is least squares that is not known as such
    model.refit_final(Ridge(1e-9))
    assert model._linear is None
    again = np.subtract(*model.effect_interval(X[:20])[::-1])
    np.testing.assert_allclose(again, widths, rtol=0.25)
    wide = np.subtract(*model.effect_interval(X[:20], level=0.99)[::-1])
    np.testing.assert_allclose(wide / again, 2.576 / 1.96, rtol=1e-3)


def test_groups_widen_errors_where_rows_repeat():
    X, y, t, _ = confounded(np.random.default_rng(6), 300)
    groups = np.repeat(np.arange(300), 4)
    rows = [np.repeat(a, 4, axis=0) for a in (X, y, t)]
    alone = linear().fit(rows[0], rows[1], treatment=rows[2])
    model = linear().fit(rows[0], rows[1], treatment=rows[2], groups=groups)
    once = linear().fit(X, y, treatment=t)
    assert model.ate_std_ == pytest.approx(once.ate_std_, rel=0.1)
    assert alone.ate_std_ < 0.6 * model.ate_std_


# --- the final stage ------------------------------------------------------------------


class Counting(RegressorMixin, BaseEstimator):
    """Ridge regression that counts its fits."""

    fits = 0

    def fit(self, X, y):
        Counting.fits += 1
        self.model_ = Ridge().fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)


def test_another_final_stage_needs_no_nuisance_model():
    X, y, t, _ = confounded(np.random.default_rng(0))
    Counting.fits = 0
    model = RLearner(Counting(), LogisticRegression(), DummyRegressor(), random_state=0)
    model.fit(X, y, treatment=t)
    assert Counting.fits == 5
    assert model.refit_final(LinearRegression()) is model
    direct = RLearner(Counting(), LogisticRegression(), random_state=0)
    expected = direct.fit(X, y, treatment=t).effect(X)
    np.testing.assert_allclose(model.effect(X), expected)
    assert model.ate_ == pytest.approx(direct.ate_)
    before = Counting.fits
    finals = {
        "constant": DummyRegressor(),
        "linear": LinearRegression(),
        "tree": DecisionTreeRegressor(random_state=0),
    }
    report = model.final_stage_report(finals)
    assert Counting.fits == before
    assert list(report.index) == list(finals)
    assert report["r_loss"].idxmin() == "linear"
    assert report["r_loss"].idxmax() == "tree"
    assert abs(report.loc["constant", "r_score"]) < 0.02 < report.loc["linear"].r_score


@pytest.mark.parametrize(
    "final", [KNeighborsRegressor(100), LassoLars(0.01)], ids=lambda m: type(m).__name__
)
def test_models_without_weights_are_fitted_on_drawn_rows(final):
    X, y, t, effect = confounded(np.random.default_rng(0), 3000)
    model = linear(final_model=final).fit(X, y, treatment=t)
    errors = [np.mean((model.effect(X) - effect) ** 2)]
    errors.append(np.mean((1 - effect) ** 2))
    assert errors[0] < 0.5 * errors[1]


def test_any_models_serve():
    X, y, t, effect = confounded(np.random.default_rng(1), 800)
    forest = RandomForestRegressor(20, min_samples_leaf=10)
    model = RLearner(forest, forest, forest, random_state=0)
    first = model.fit(X, y, treatment=t).effect(X)
    assert model.treatment_classes_ is None  # by a regressor
    np.testing.assert_array_equal(model.fit(X, y, treatment=t).effect(X), first)
    assert np.corrcoef(first, effect)[0, 1] > 0.7
    default = RLearner(random_state=0).fit(X, y, treatment=t)
    assert np.corrcoef(default.effect(X), effect)[0, 1] > 0.7
    binary = RLearner(LogisticRegression(), LogisticRegression(), random_state=0)
    binary.fit(X, (y > 0) * 2 + 1, treatment=t)
    assert np.abs(binary.outcome_residual_).max() <= 2


def test_names_of_classes_controls_and_frames():
    pd = pytest.importorskip("pandas")
    X, y, t, _ = confounded(np.random.default_rng(2))
    names = np.where(t == 1, "job", "control")
    plain = linear().fit(X, y, treatment=1 - t)
    model = linear().fit(X, y, treatment=names)
    assert list(model.treatment_classes_) == ["control", "job"]
    np.testing.assert_allclose(model.effect(X), -plain.effect(X), atol=0.2)
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(len(X))[::-1])
    split = linear().fit(frame[["b"]], y, treatment=t, W=frame[["a", "c", "d"]])
    assert split.effect(frame[["b"]].iloc[:3]).shape == (3,)
    same = linear().fit(X[:, [1]], y, treatment=t, W=X[:, [0, 2, 3]])
    np.testing.assert_allclose(split.effect(frame[["b"]]), same.effect(X[:, [1]]))
    assert np.isfinite(same.score(X[:, [1]], y, treatment=t, W=X[:, [0, 2, 3]]))
    with pytest.raises(ValueError, match="share the columns"):
        linear().fit(frame, y, treatment=t, W=frame[["a"]])
    with pytest.raises(ValueError, match="W has None columns"):
        same.score(X[:, [1]], y, treatment=t)


def test_the_score_ranks_effects():
    rng = np.random.default_rng(4)
    X, y, t, _ = confounded(rng, 2000)
    new = confounded(rng, 2000)
    good = linear().fit(X, y, treatment=t)
    flat = linear(final_model=DummyRegressor()).fit(X, y, treatment=t)
    scores = [m.score(new[0], new[1], treatment=new[2]) for m in (good, flat)]
    assert scores[0] > 0.1 and abs(scores[1]) < 0.01


def test_a_saved_model_holds_no_training_rows(tmp_path):
    X, y, t, _ = confounded(np.random.default_rng(0))
    model = linear().fit(X, y, treatment=t)
    model.save(tmp_path / "model.npz")
    again = RLearner.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.effect(X), model.effect(X))
    np.testing.assert_array_equal(again.effect_interval(X), model.effect_interval(X))
    with pytest.raises(ValueError, match="not kept in files"):
        again.refit_final(Ridge())


def test_metadata_are_routed_through_a_search(child):
    X, _ = load_diabetes(return_X_y=True, as_frame=True)
    rng = np.random.default_rng(0)
    t = (rng.random(len(X)) < sigmoid(20 * X["bmi"])).astype(int)
    y = 30 * X["bp"] + t * (1 + 20 * X["bmi"]) + 0.3 * rng.normal(size=len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        model = RLearner(RidgeCV(), LogisticRegression(C=100.0), cv=3, random_state=0)
        model.set_fit_request(treatment=True, sample_weight=True)
        model.set_score_request(treatment=True, sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        grid = {"rlearner__final_model": [DummyRegressor(), LinearRegression()]}
        search = GridSearchCV(
            make_pipeline(scaler, model), grid, cv=2, n_jobs=2, error_score="raise"
        )
        w = rng.uniform(0.5, 2, len(X))
        with joblib.parallel_config(backend="child"):
            search.fit(X, y, treatment=t, sample_weight=w)
    assert isinstance(search.best_params_["rlearner__final_model"], LinearRegression)
    effect = search.predict(X)
    assert np.corrcoef(effect, 1 + 20 * X["bmi"])[0, 1] > 0.9


def test_bad_input_is_named():
    X, y, t, _ = confounded(np.random.default_rng(0), 100)
    model = linear()
    with pytest.raises(ValueError, match="needs `treatment`"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="treatment never varies"):
        model.fit(X, y, treatment=np.ones(100))
    with pytest.raises(ValueError, match="treatment never varies"):
        model.fit(X, y, treatment=np.full(100, "a"))
    with pytest.raises(ValueError, match="treatment contains NaN"):
        model.fit(X, y, treatment=np.where(t, np.nan, 1.0))
    with pytest.raises(ValueError, match="missing values"):
        model.fit(X, y, treatment=np.where(t, "a", None))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(X, y, treatment=t[:-1])
    with pytest.raises(ValueError, match="Give numbers and a regressor"):
        model.fit(X, y, treatment=X[:, 0])
    with pytest.raises(ValueError, match="Only binary"):
        linear(discrete_treatment=True).fit(X, y, treatment=np.arange(100) % 3)
    with pytest.raises(ValueError, match="Cross-fitting needs two rows"):
        model.fit(X, y, treatment=(np.arange(100) == 3).astype(int))
    with pytest.raises(ValueError, match="cv must hold out every row"):
        linear(cv=[(np.arange(50), np.arange(50, 99))]).fit(X, y, treatment=t)
    with pytest.raises(ValueError, match="training rows of fold 0"):
        order = np.argsort(t)
        folds = [(order[:20], order[20:]), (order[20:], order[:20])]
        linear(cv=folds).fit(X, y, treatment=t)
    with pytest.raises(ValueError, match="predicts the treatment of every row"):
        exact = RLearner(Ridge(), DecisionTreeRegressor(), Ridge(), cv=2)
        rule = np.sign(X[:, :1])
        exact.fit(rule, y, treatment=rule[:, 0])
    frozen = FrozenEstimator(Ridge().fit(X, y))
    with pytest.raises(ValueError, match="frozen model cannot be cross-fitted"):
        RLearner(frozen, LogisticRegression()).fit(X, y, treatment=t)
    assert not hasattr(model, "ate_")


# --- graphs ---------------------------------------------------------------------------


def bottleneck(seed, n=1500):
    """Design of the specification: the effect hangs on the neighbours."""
    rng = np.random.default_rng(seed)
    graph = kneighbors_graph(rng.uniform(size=(n, 2)), 6)
    X = rng.normal(size=(n, 6))
    N = graph @ X / 6
    t = (rng.random(n) < sigmoid(0.7 * (X[:, 0] + 2 * N[:, 1]))).astype(int)
    effect = 1 + 4.9 * N[:, 0]
    return X, X[:, 1] + 2 * N[:, 2] + t * effect + rng.normal(size=n), t, graph, effect


def on_graph(**how):
    def quadratic(last):
        return make_pipeline(PolynomialFeatures(2, include_bias=False), last)

    outcome = quadratic(RidgeCV(np.logspace(-1, 4, 6)))
    treated = quadratic(LogisticRegression(C=0.01, max_iter=300))
    return GraphRLearner(outcome, treated, random_state=0, **how)


@pytest.mark.parametrize("nuisance", ["own", "graph"])
def test_the_final_stage_decides(nuisance):
    errors, losses = [], []
    for seed in range(3):
        X, y, t, graph, effect = bottleneck(seed)
        model = on_graph(nuisance_features=nuisance)
        model.fit(X, y, treatment=t, adjacency=graph)
        found = [np.mean((model.effect(X) - effect) ** 2)]
        report = model.final_stage_report({"linear": LinearRegression()})
        model.set_params(final_features="own").refit_final(LinearRegression())
        errors.append([np.mean((model.effect(X) - effect) ** 2), *found])
        losses.append(report.loc["linear", ["r_loss_own", "r_loss_graph"]].to_numpy())
    own, whole = np.mean(errors, axis=0)
    assert own >= 5 * whole
    assert own == pytest.approx(4.2, abs=0.6) and whole < 0.3
    assert np.all(np.array(losses)[:, 0] > np.array(losses)[:, 1])


def test_features_and_clusters_of_a_graph():
    X, y, t, graph, _ = bottleneck(0, n=300)
    model = on_graph(n_hops=1).fit(X, y, treatment=t, adjacency=graph)
    np.testing.assert_allclose(model._training_rows, np.c_[X, graph @ X / 6])
    assert len(np.unique(model.clusters_)) == 50
    same = model.clusters_[:, None] == model.clusters_
    shuffled = np.random.default_rng(0).permutation(model.clusters_)
    by_chance = shuffled[:, None] == shuffled
    assert graph.multiply(same).sum() > 5 * graph.multiply(by_chance).sum()
    # folds are made of clusters
    assert len(np.unique(np.c_[model.clusters_, model._fold], axis=0)) == 50
    # the scale of the edges and their format change nothing
    scaled = on_graph(n_hops=1)
    scaled.fit(X, y, treatment=t, adjacency=1e200 * graph.toarray())
    np.testing.assert_allclose(scaled.effect(X), model.effect(X), rtol=1e-8)
    low, high = model.effect_interval(X)
    assert np.all(low < model.effect(X)) and np.all(model.effect(X) < high)


def test_a_new_graph_needs_its_adjacency():
    X, y, t, graph, _ = bottleneck(0, n=400)
    model = on_graph().fit(X, y, treatment=t, adjacency=graph)
    np.testing.assert_allclose(model.effect(X), model.effect(X, graph))
    order = np.random.default_rng(0).permutation(400)
    moved = model.effect(X[order], graph[order][:, order])
    np.testing.assert_allclose(moved, model.effect(X)[order])
    with pytest.raises(ValueError, match="need their adjacency"):
        model.effect(X[:10])
    model.set_params(final_features="own").refit_final(LinearRegression())
    assert model.effect(X[:10]).shape == (10,)


def test_nodes_without_neighbours_are_their_own():
    X, y, t, _, _ = bottleneck(0, n=200)
    lonely = sparse.csr_array((200, 200))
    model = on_graph(n_hops=1, final_model=Ridge())
    model.fit(X, y, treatment=t, adjacency=lonely)
    np.testing.assert_array_equal(model._training_rows, np.c_[X, X])
    assert np.isfinite(model.effect(X)).all()


def test_bad_graphs_are_named():
    X, y, t, graph, _ = bottleneck(0, n=60)
    model = on_graph()
    with pytest.raises(ValueError, match="needs `adjacency`"):
        model.fit(X, y, treatment=t)
    with pytest.raises(ValueError, match=r"expected shape \(60, 60\), got \(59, 60\)"):
        model.fit(X, y, treatment=t, adjacency=graph[:-1])
    with pytest.raises(ValueError, match="negative weights"):
        model.fit(X, y, treatment=t, adjacency=-graph)
    broken = graph.toarray()
    broken[0, 1] = np.nan
    with pytest.raises(ValueError, match="adjacency contains NaN"):
        model.fit(X, y, treatment=t, adjacency=broken)
    with pytest.raises(ValueError, match="treatment never varies"):
        model.fit(X, y, treatment=np.zeros(60), adjacency=graph)
    model.fit(X, y, treatment=t, adjacency=graph)
    with pytest.raises(ValueError, match="expected shape"):
        model.effect(X[:10], graph)


def test_the_adjacency_is_no_metadata():
    with sklearn.config_context(enable_metadata_routing=True):
        model = GraphRLearner().set_fit_request(treatment=True)
        with pytest.raises(TypeError, match="adjacency"):
            model.set_fit_request(adjacency=True)


def test_nothing_is_nan():
    X, y, t, _ = confounded(np.random.default_rng(0), 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows in (0 * X, np.c_[X, X], X * 1e-200, X * 1e100):
            model = linear().fit(rows, y, treatment=t)
            assert np.isfinite(model.effect(rows)).all()
            assert np.isfinite(
                [*model.ate_interval_, *model.effect_interval(rows)[0]]
            ).all()
        flat = linear().fit(X, np.full(60, 3.0), treatment=t)
        np.testing.assert_allclose(flat.effect(X), 0, atol=1e-10)
