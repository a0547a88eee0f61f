"""Weight decay of networks by its gradient: one, or one a layer; and fresh scores."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff._nn._base import BaseNeural
from skdiff.calibration import CalibratedProbabilityClassifier
from skdiff.model_selection import (
    Continuous,
    GradientSearchCV,
    GradientSearchDisplay,
    InnerProblem,
    check_hypergradient,
    inner_problem,
)
from skdiff.neural_network import (
    AnyLossClassifier,
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
    SparseBayesianMLPClassifier,
)
from tests._nn._mlp import MLPClassifier, MLPRegressor

ONE_FOLD = PredefinedSplit([-1, -1, 0] * 20)
# tanh without a kink, trained to a stationary point, at which the implicit function
# theorem holds
TIGHT = {
    "activation": "tanh",
    "solver": "sgd",
    "momentum": 0.9,
    "learning_rate_init": 0.5,
    "tol": 0,
    "max_iter": 600,
    "n_iter_no_change": 600,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    return X, X[:, 0] - X[:, 1] ** 2 + 0.3 * rng.normal(size=60)


def targets(y, kind):
    if kind == "numbers":
        return y
    if kind == "pairs":
        return np.column_stack([y, y**2])
    return np.digitize(y, [0.0] if kind == "two" else [-1.0, 0.0])


PROBLEMS = {
    # of a seed whose basin does not end within the step of the difference
    "regressor": (MLPRegressor((3, 2), **TIGHT | {"random_state": 1}), "numbers", 3),
    "outputs": (MLPRegressor((3,), **TIGHT), "pairs", 2),
    "classifier": (MLPClassifier((3,), class_weight={0: 2, 1: 1}, **TIGHT), "two", 2),
    "three classes": (MLPClassifier((2,), **TIGHT), "three", 2),
    "cross-entropy": (
        AnyLossClassifier(
            hidden_layer_sizes=(3,),
            bce_weight=1.0,
            warmup_iter=0,
            class_weight="balanced",
            spectral_decoupling=0.1,
            **TIGHT,
        ),
        "two",
        2,
    ),
    "F1": (AnyLossClassifier(**TIGHT), "two", 1),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_slope_of_every_layer_is_the_derivative(name, table):
    model, kind, n_layers = PROBLEMS[name]
    X, y = table
    search = GradientSearchCV(
        model, {"alpha": Continuous(0.01, 0.3, per="layer")}, cv=ONE_FOLD
    )
    y = targets(y, kind)
    assert search._prepare(X, y, None).space.size == n_layers
    assert check_hypergradient(search, X, y, eps=1e-3) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("network", [MLPRegressor, MLPClassifier])
def test_on_twenty_problems(network):
    long = {**TIGHT, "max_iter": 4000, "n_iter_no_change": 4000}
    interval = {"alpha": Continuous(0.01, 0.3, per="layer")}
    errors = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 4))
        y = X[:, 0] - X[:, 1] ** 2 + 0.3 * rng.normal(size=60)
        y = y if network is MLPRegressor else y > 0
        search = GradientSearchCV(network((3,), **long), interval, cv=ONE_FOLD)
        errors.append(check_hypergradient(search, X, y))
    # the rest have not come to rest in four thousand steps
    assert np.mean(np.array(errors) < 1e-5) >= 0.9, errors


def test_a_metrics_curvature_counts(table):
    # the loss of a mixture of metric and entropy, through two layers
    X, y = table
    model = AnyLossClassifier(
        "gmean",
        hidden_layer_sizes=(2,),
        bce_weight=0.5,
        amplification=3.0,
        warmup_iter=0,
        **TIGHT,
    )
    search = GradientSearchCV(
        model, {"alpha": Continuous(0.01, 0.1, per="layer")}, cv=ONE_FOLD
    )
    assert check_hypergradient(search, X, targets(y, "two"), eps=1e-3) < 1e-3


def test_the_layers_of_a_homogeneous_network_have_one_slope(table):
    # only the product of the decays counts, so its logarithms' derivatives agree
    X, y = table
    settings = {**TIGHT, "activation": "identity", "learning_rate_init": 0.05}
    settings |= {"max_iter": 4000, "n_iter_no_change": 4000}
    settings["standardize"] = False
    model = MLPRegressor((3, 2), **settings)
    interval = {"alpha": Continuous(0.003, 0.03, per="layer")}
    search = GradientSearchCV(model, interval, cv=ONE_FOLD)
    evaluator = search._prepare(X, y, None).evaluator
    slopes = evaluator.row(np.log([0.003, 0.01, 0.03])).gradient
    assert np.abs(slopes).max() > 1e-3
    np.testing.assert_allclose(slopes, slopes.mean(), rtol=1e-2)


def test_the_terms_of_the_series_may_be_chosen(table):
    X, y = table
    model = AnyLossClassifier(
        hidden_layer_sizes=(3,), bce_weight=1.0, warmup_iter=0, max_iter=30,
        activation="tanh", random_state=0,
    )  # fmt: skip
    network = inner_problem.registry[BaseNeural]
    search = GradientSearchCV(model, {"alpha": Continuous(0.01, 0.1)}, cv=ONE_FOLD)

    def slope():
        evaluator = search._prepare(X, targets(y, "two"), None).evaluator
        return evaluator.row(np.log([0.03])).gradient[0]

    slopes = {}
    try:
        for n_terms in (0, 50):
            few = type("FewTerms", (network,), {"n_terms": n_terms})
            inner_problem.register(AnyLossClassifier, few)
            slopes[n_terms] = slope()
    finally:
        inner_problem.register(AnyLossClassifier, network)
    assert slope() == slopes[50]
    # one term is a short step along the gradient
    assert 0 < abs(slopes[0]) < 0.5 * abs(slopes[50])


def quick(**keywords):
    settings = {"activation": "tanh", "max_iter": 60, "random_state": 0} | keywords
    return MLPRegressor(settings.pop("sizes", (4,)), **settings)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X)[:150], scale(y)[:150]


def searched(model, interval, X, y, **keywords):
    settings = {"cv": 3, "max_iter": 8, "tol": 0.05} | keywords
    return GradientSearchCV(model, {"alpha": interval}, **settings).fit(X, y)


def test_tied_layers_are_one_decay(diabetes):
    one = searched(quick(), Continuous(1e-2, 1.0), *diabetes)
    tied = searched(
        quick(), Continuous(1e-2, 1.0, per="layer"), *diabetes, tie_strength=np.inf
    )
    np.testing.assert_array_equal(
        tied.best_params_["alpha"], np.full(2, one.best_params_["alpha"])
    )
    assert tied.best_score_ == one.best_score_ and tied.n_iter_ == one.n_iter_
    assert tied.refit_score_ == one.refit_score_


def test_a_decay_for_each_layer(diabetes, tmp_path):
    X, y = diabetes
    search = searched(
        quick(sizes=(4, 3)), Continuous(1e-2, 1.0, per="layer"), X, y, tie_strength=0.01
    )
    found = search.best_params_["alpha"]
    assert found.shape == search.hypergradient_["alpha"].shape == (3,)
    assert np.ptp(found) > 1e-3
    np.testing.assert_array_equal(search.best_estimator_.alpha, found)
    # every row is the cross-validation of its decays
    for index in (0, search.best_index_):
        again = cross_val_score(
            clone(search.estimator).set_params(**search.cv_results_["params"][index]),
            X,
            y,
            cv=3,
            scoring="neg_mean_squared_error",
        )
        np.testing.assert_allclose(
            search.cv_results_["mean_test_score"][index], again.mean(), rtol=1e-9
        )
    # the freed stage improves on the best tied point
    results = search.cv_results_
    tied = np.array([np.ptp(p["alpha"]) == 0 for p in results["params"]])
    best_tied = results["criterion"][tied].min()
    assert results["objective"][search.best_index_] < best_tied
    display = GradientSearchDisplay.from_estimator(search).plot_values()
    assert "alpha[2]" in display.frame().columns
    assert all(float(t).is_integer() for t in display.ax_.get_yticks())
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_groups_of_layers(diabetes):
    grouped = Continuous(1e-2, 1.0, per="group", groups=["in", "out", "out"])
    search = searched(quick(sizes=(4, 3)), grouped, *diabetes, tie_strength=0.01)
    first, second, third = search.best_params_["alpha"]
    assert second == third != first
    assert search.hypergradient_["alpha"].shape == (2,)
    short = Continuous(1e-2, 1.0, per="group", groups=["in", "out"])
    with pytest.raises(ValueError, match="must have 3 labels"):
        searched(quick(sizes=(4, 3)), short, *diabetes)


def test_a_pipeline_with_labels_is_searched_and_saved(diabetes, tmp_path):
    X, y = diabetes
    y = np.where(y > 0, "high", "low")
    model = AnyLossClassifier(
        hidden_layer_sizes=(3,), bce_weight=1.0, warmup_iter=0, activation="tanh",
        max_iter=60, random_state=0,
    )  # fmt: skip
    search = GradientSearchCV(
        make_pipeline(StandardScaler(), model),
        {"anylossclassifier__alpha": Continuous(1e-2, 1.0, per="layer")},
        cv=3,
        max_iter=6,
        tol=0.05,
    ).fit(100 * X + 7, y)
    assert search.best_params_["anylossclassifier__alpha"].shape == (2,)
    assert set(search.predict(100 * X + 7)) == {"high", "low"}
    again = cross_val_score(
        clone(search.best_estimator_), 100 * X + 7, y, cv=3, scoring="neg_log_loss"
    )
    np.testing.assert_allclose(search.search_score_, again.mean(), rtol=1e-6)
    search.save(tmp_path / "search.npz")
    loaded = GradientSearchCV.load(tmp_path / "search.npz")
    assert loaded.param_distributions == search.param_distributions
    assert loaded.refit_score_ == search.refit_score_
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))


def test_depth_may_be_searched_as_well(diabetes):
    search = GradientSearchCV(
        quick(),
        {
            "alpha": Continuous(1e-2, 1.0, per="layer"),
            "hidden_layer_sizes": [(4,), (3, 3)],
        },
        cv=2,
        max_iter=4,
        tol=0.3,
    ).fit(*diabetes)
    depth = len(search.best_params_["hidden_layer_sizes"])
    assert search.best_params_["alpha"].shape == (depth + 1,)
    frame = GradientSearchDisplay.from_estimator(search).frame()
    assert frame["alpha[2]"].isna().sum() == sum(
        len(p["alpha"]) == 2 for p in search.cv_results_["params"]
    )
    assert check_hypergradient(search, *diabetes) < np.inf


NONE = {
    "bounded": (LipschitzMLPRegressor(), "independent of the size"),
    "bounded classes": (LipschitzMLPClassifier(), "independent of the size"),
    "sparse": (SparseBayesianMLPClassifier(), "more than the descent of one loss"),
    "stages": (CalibratedProbabilityClassifier(), "more than the descent of one loss"),
    "paper": (AnyLossClassifier(preset="paper"), "without weight decay"),
    "sharpness": (AnyLossClassifier(sam_rho=0.05), "with sam_rho"),
    "groups": (AnyLossClassifier(group_dro=True), "with group_dro"),
}


@pytest.mark.parametrize("name", NONE)
def test_networks_without_a_gradient_say_why(name, table):
    model, reason = NONE[name]
    with pytest.raises(TypeError, match=f"{type(model).__name__} has no.*{reason}"):
        GradientSearchCV(model, {"alpha": Continuous(0.1, 1)}).fit(*table)


def test_a_network_has_no_decay_per_feature(table):
    search = GradientSearchCV(quick(), {"alpha": Continuous(0.1, 1, per="feature")})
    with pytest.raises(ValueError, match=r"possible: None, 'layer', 'group'"):
        search.fit(*table)


def test_without_a_seed_a_search_keeps_one(diabetes):
    X, y = diabetes
    model = quick(random_state=None)
    search = GradientSearchCV(model, {"alpha": Continuous(1e-2, 1.0)}, cv=2)
    evaluator = search._prepare(X, y, None).evaluator
    value = evaluator.row(np.array([-2.0])).value
    # from another seed it would be another network
    assert evaluator.row(np.array([-2.0 + 1e-7])).value == pytest.approx(value, 1e-5)
    other = search._prepare(X, y, None).evaluator.row(np.array([-2.0])).value
    assert other != pytest.approx(value, 1e-5)
    assert model.random_state is None


# --- scores of fresh fits -------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, np.random.RandomState(5)])
def test_the_refit_score_is_that_of_other_seeds(seed, diabetes):
    X, y = diabetes
    model = quick(random_state=seed)
    search = searched(model, Continuous(1e-2, 1.0), X, y)
    assert search.search_score_ == search.best_score_
    rng = np.random.RandomState(3 if seed == 3 else 5)
    scores = []
    for train, test in KFold(3).split(X):
        fresh = clone(model).set_params(
            **search.best_params_, random_state=rng.randint(2**31 - 1)
        )
        residuals = fresh.fit(X[train], y[train]).predict(X[test]) - y[test]
        scores.append(-np.mean(residuals**2))
    np.testing.assert_allclose(search.refit_score_, np.mean(scores), rtol=1e-9)
    assert search.refit_score_ != search.search_score_
    again = searched(model, Continuous(1e-2, 1.0), X, y)
    assert again.refit_score_ == search.refit_score_


def test_unique_fits_have_one_score(diabetes):
    X, y = diabetes
    search = searched(quick(), Continuous(1e-2, 1.0), X, y, max_iter=5)
    assert hasattr(search, "refit_score_")
    search.set_params(estimator=Ridge()).fit(X, y)
    assert not hasattr(search, "refit_score_") and not hasattr(search, "search_score_")


class Lottery(RegressorMixin, BaseEstimator):
    """Right for one seed, off by ``loss`` for all others."""

    def __init__(self, level=0.0, loss=1.0, random_state=0):
        self.level = level
        self.loss = loss
        self.random_state = random_state

    def fit(self, X, y):
        if self.random_state != 0 and self.loss < 0:
            raise ValueError("no luck")
        self.value_ = self.level + self.loss * (self.random_state != 0)
        return self

    def predict(self, X):
        return np.full(len(X), self.value_)


class LotteryProblem(InnerProblem):
    parameters = {"level": (None,)}
    warm = False

    def solve(self, theta, w0, tol):
        model = clone(self.estimator).set_params(**theta).fit(self.X, self.y)
        return np.array([model.value_]), 1

    def predict(self, w, X):
        return np.full(len(X), w[0])

    def solve_hessian(self, w, theta, rhs, tol):
        return rhs

    def cross(self, w, theta, q):
        return {"level": -float(q[0])}


@pytest.fixture
def lottery():
    inner_problem.register(Lottery, LotteryProblem)
    yield np.zeros((40, 1)), np.random.default_rng(0).normal(size=40)
    inner_problem.register(Lottery, inner_problem.registry[object])


def drawn(loss, lottery, **keywords):
    interval = {"level": Continuous(-1, 1, scale="linear")}
    return GradientSearchCV(Lottery(loss=loss), interval, **keywords).fit(*lottery)


def test_luck_is_told(lottery):
    with pytest.warns(UserWarning, match=r"seed-to-seed variance. Report refit_score_"):
        search = drawn(5.0, lottery)
    assert search.refit_score_ < search.search_score_ - 20


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_no_luck_is_not(lottery):
    search = drawn(0.0, lottery)
    assert search.refit_score_ == search.search_score_ == search.best_score_
    small = drawn(0.05, lottery)
    assert 0 < abs(small.refit_score_ - small.search_score_) < 0.02
    # one fold has no standard error
    drawn(5.0, lottery, cv=PredefinedSplit([-1, 0] * 20))
    # not even asked
    for search in (
        drawn(5.0, lottery, refit=False),
        drawn(5.0, lottery, refit=lambda results: 0),
    ):
        assert not hasattr(search, "refit_score_")


def test_a_fresh_fit_that_fails_is_told(lottery):
    with pytest.warns(UserWarning, match="no score from other seeds: a fit failed"):
        search = drawn(-1.0, lottery)
    assert np.isnan(search.refit_score_) and np.isfinite(search.search_score_)


def test_scorers_see_the_fresh_fits(lottery):
    def seeded(model, X, y):
        return float(model.random_state == 0)

    search = drawn(0.0, lottery, scoring=seeded)
    assert (search.search_score_, search.refit_score_) == (1.0, 0.0)
    several = drawn(1.0, lottery, scoring=["r2", "neg_mean_squared_error"], refit="r2")
    assert several.search_score_ == several.best_score_
    scores = [
        r2_score(lottery[1][test], np.full(8, several.best_params_["level"] + 1))
        for _, test in KFold(5).split(lottery[0])
    ]
    assert several.refit_score_ == pytest.approx(np.mean(scores))
