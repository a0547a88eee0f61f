"""ConformalQuantileSearchCV: calibration, encoding, invariance, and the surface."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import loguniform, norm, randint, uniform, wilcoxon
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from skdiff.model_selection import ConformalQuantileSearchCV
from skdiff.model_selection._sampled._sampling import SettingSampler
from skdiff.model_selection._sampled._surrogate import (
    NormalScores,
    QuantileSurrogate,
    SettingEncoder,
    conformal_quantile,
)
from tests.model_selection._curves import Curve, table

ONE_SPLIT = [(np.arange(12), np.arange(12, 24))]


class Branin(Curve):
    """Minus Branin's function of (x1, x2), whose minimum is 0.397887."""

    def __init__(self, x1=0.0, x2=0.0, change=None):
        self.x1 = x1
        self.x2 = x2
        self.change = change

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def score(self, X, y):
        a, b = self.x1, self.x2
        bend = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
        value = -(bend**2) - 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) - 10
        return np.exp(value / 30) if self.change else value


SPACE = {"x1": uniform(-5, 15), "x2": uniform(0, 15)}


def search(estimator=None, space=None, **options):
    options = {"n_iter": 14, "n_initial": 8, "cv": ONE_SPLIT} | options
    return ConformalQuantileSearchCV(
        Branin() if estimator is None else estimator,
        SPACE if space is None else space,
        **({"random_state": 0} | options),
    )


# --- numbers ---------------------------------------------------------------------


def test_the_conformal_place():
    errors = np.array([3.0, 1.0, 2.0, 4.0])
    assert conformal_quantile(errors, 0.2) == 1.0
    assert conformal_quantile(errors, 0.6) == 3.0
    assert conformal_quantile(errors, 2 / 3) == 4.0
    # the level stays at one where there is too little for what is asked
    assert conformal_quantile(errors, 0.99) == 4.0
    assert conformal_quantile(errors[:1], 2 / 3) == 3.0


@given(st.integers(1, 40), st.floats(0.05, 0.95))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_place_is_the_least_that_covers(n, coverage):
    place = conformal_quantile(np.arange(1.0, n + 1), coverage)
    # a new error is at most the k-th of n with probability k / (n + 1)
    assert place / (n + 1) >= coverage - 1e-9 or place == n
    assert (place - 1) / (n + 1) < coverage


def coverage_of(seed, n=60, fresh=40):
    """Share of new scores within the outer and inner pair, on skewed scores."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n + fresh, 2))
    scores = X[:, 0] + X[:, 1] * rng.exponential(size=n + fresh)
    model = QuantileSurrogate(5, 32, seed).fit(X[:n], scores[:n])
    z, q = model.scale.forward(scores[n:]), model.predict(X[n:])
    return [np.mean((z >= q[:, k]) & (z <= q[:, 4 - k])) for k in (0, 1)]


def check_coverage(repeats):
    found = np.array([coverage_of(seed) for seed in range(repeats)])
    for covered, nominal in zip(found.T, (2 / 3, 1 / 3), strict=True):
        error = covered.std(ddof=1) / np.sqrt(repeats)
        assert covered.mean() >= nominal - 3 * error
    return found.mean(axis=0)


def test_corrected_intervals_cover():
    check_coverage(16)


@pytest.mark.slow
def test_corrected_intervals_cover_in_five_hundred_repeats():
    outer, inner = check_coverage(500)
    assert outer < 0.95 and inner < 0.8  # and do not by being everything


def test_few_results_are_not_split():
    rng = np.random.default_rng(0)
    X, scores = rng.uniform(size=(40, 1)), rng.normal(size=40)
    assert QuantileSurrogate(5, 40, 0).fit(X, scores).n_held_out == 0
    model = QuantileSurrogate(5, 39, 0).fit(X, scores)
    assert model.n_held_out == 4
    assert model.corrections[2] == 0  # the median is left alone
    assert (np.diff(model.predict(X), axis=1) >= 0).all()
    assert QuantileSurrogate(5, 1, 0).fit(X[:2], scores[:2]).n_held_out == 1


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=30))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_normal_scores_and_back(values):
    scores = np.array(values, dtype=float)
    scale = NormalScores(scores)
    np.testing.assert_allclose(scale.back(scale.forward(scores)), scores, atol=1e-9)
    between = np.sort(np.append(scores, scores + 0.5))
    heights = scale.forward(between)
    assert (np.diff(heights) >= 0).all() and np.isfinite(heights).all()
    changed = NormalScores(np.exp(scores / 5))
    np.testing.assert_array_equal(changed.forward(np.exp(between / 5)), heights)
    # nine tenths of a unit interval stay within it, by symmetry
    assert NormalScores(np.arange(9.0)).forward(np.array([4.0]))[0] == norm.ppf(0.5)


def test_encoding_of_mixed_spaces():
    spaces = [
        {"C": loguniform(1e-3, 1e3), "kernel": ["rbf", "linear"], "degree": [2, 3, 4]},
        {"C": loguniform(1e-3, 1e3), "depth": [None, 1, 100], "flag": [True, False]},
    ]
    encoder = SettingEncoder(spaces)
    assert encoder.names == ["C", "degree", "depth", "flag", "kernel"]
    X = encoder.encode(
        [
            {"C": 1.0, "kernel": "rbf", "degree": 3},
            {"C": np.e, "depth": None, "flag": False},
            {"C": 1.0, "depth": 100, "flag": True},
        ]
    )
    nan = np.nan
    np.testing.assert_allclose(
        X,
        [
            # C, degree, absent, depth (log), None, absent, True, False, absent, kernels
            [0, 3, 0, nan, 0, 1, 0, 0, 1, 1, 0, 0],
            [1, nan, 1, nan, 1, 0, 0, 1, 0, 0, 0, 1],
            [0, nan, 1, np.log(100), 0, 0, 1, 0, 0, 0, 0, 1],
        ],
    )


def test_samplers_draw_without_repeats_and_end():
    rng = np.random.RandomState(0)
    sampler = SettingSampler([{"a": [1, 2, 3], "b": ["x", "y"]}, {"a": [1, 7]}], rng)
    assert sampler.total == 8
    first = sampler.draw(5)
    sampler.take(first)
    rest = sampler.draw(50)
    assert len(rest) == 3 and not sampler.draw(0)
    assert len({str(s) for s in first + rest}) == 8
    discrete = SettingSampler({"n": randint(0, 6)}, rng)
    assert discrete.total is None and len(discrete.draw(50)) <= 6

    class Own:
        def rvs(self, random_state):
            return float(random_state.uniform())

    assert len(SettingSampler({"v": Own()}, rng).draw(7)) == 7
    big = SettingSampler({c: list(range(100)) for c in "abc"}, rng)
    assert big.total == 10**6 and len(big.draw(500)) == 500


# --- the search ------------------------------------------------------------------


def test_the_surrogate_exists_without_a_proposal():
    found = search(n_iter=8).fit(*table())
    assert not found.cv_results_["proposed"].any()
    assert found.surrogate_.n_held_out == 0
    params = found.cv_results_["params"]
    scores = found.cv_results_["mean_test_score"]
    predicted = found.predict_score(params, 0.5)
    assert predicted.shape == (8,)
    assert scores.min() <= predicted.min() and predicted.max() <= scores.max()


def test_predictions_are_in_score_units_and_ordered():
    found = search(n_iter=60, n_initial=60).fit(*table())
    settings_ = [{"x1": a, "x2": b} for a in (-4.0, 3.0, 9.0) for b in (1.0, 7.0, 14.0)]
    low, middle, high = found.predict_score(settings_, [0.2, 0.5, 0.8]).T
    assert (low <= middle).all() and (middle <= high).all()
    truth = [Branin(**s).score(None, None) for s in settings_]
    assert np.corrcoef(truth, middle)[0, 1] > 0.5
    assert found.predict_score(settings_[0]).shape == (1,)
    np.testing.assert_array_equal(found.predict_score(settings_), middle)
    for level in (0, 1.0, "a"):
        with pytest.raises(ValueError, match="quantile"):
            found.predict_score(settings_, level)
    with pytest.raises(ValueError, match="not searched over"):
        found.predict_score([{"x3": 1}])
    with pytest.raises(NotFittedError):
        search().predict_score(settings_)


def test_an_increasing_change_of_the_score_changes_no_proposal():
    plain = search(n_iter=16, n_initial=8).fit(*table())
    changed = search(Branin(change=1), n_iter=16, n_initial=8).fit(*table())
    assert plain.cv_results_["proposed"].sum() == 8
    assert plain.cv_results_["params"] == changed.cv_results_["params"]
    assert plain.best_index_ == changed.best_index_


def test_proposals_are_better_than_random_draws():
    # whether the *best* of fifty is better takes the twenty seeds of the slow test
    for seed in range(2):
        found = search(n_iter=24, random_state=seed).fit(*table())
        scores = found.cv_results_["mean_test_score"]
        proposed = found.cv_results_["proposed"]
        rng = np.random.default_rng(seed)
        draws = rng.uniform([-5, 0], [10, 15], size=(4000, 2))
        random = [Branin(a, b).score(None, None) for a, b in draws]
        assert scores[proposed].mean() > np.mean(random)
        assert np.median(scores[proposed]) > np.quantile(random, 0.6)


@pytest.mark.slow
def test_it_beats_random_search_over_twenty_seeds():
    ours, random = [], []
    for seed in range(20):
        found = search(n_iter=50, n_initial=10, random_state=seed).fit(*table())
        ours.append(found.best_score_)
        plain = search(n_iter=50, n_initial=50, random_state=1000 + seed)
        random.append(plain.fit(*table()).best_score_)
    assert wilcoxon(ours, random, alternative="greater").pvalue < 0.01


def test_settings_are_never_repeated_and_a_grid_ends():
    grid = {"x1": [0.0, 1.0, 2.0], "x2": [0.0, 5.0, 10.0]}
    found = search(space=grid, n_iter=50, n_initial=4, batch_size=2).fit(*table())
    assert found.n_candidates_ == 9
    assert len({tuple(p.items()) for p in found.cv_results_["params"]}) == 9


def test_the_best_is_the_best_row_and_agrees_with_a_grid():
    X, y = load_iris(return_X_y=True)
    grid = {"C": [0.01, 1.0, 100.0], "kernel": ["rbf", "linear"]}
    ours = search(SVC(), grid, n_iter=6, n_initial=3, cv=3).fit(X, y)
    theirs = GridSearchCV(SVC(), grid, cv=3).fit(X, y)
    assert ours.best_score_ == theirs.best_score_
    assert ours.cv_results_["rank_test_score"][ours.best_index_] == 1
    lookup = {
        (p["C"], p["kernel"]): score
        for p, score in zip(
            theirs.cv_results_["params"],
            theirs.cv_results_["mean_test_score"],
            strict=True,
        )
    }
    for params, score in zip(
        ours.cv_results_["params"], ours.cv_results_["mean_test_score"], strict=True
    ):
        assert score == lookup[params["C"], params["kernel"]]
    np.testing.assert_array_equal(
        ours.predict(X), SVC(**ours.best_params_).fit(X, y).predict(X)
    )


def test_steps_may_be_searched_over():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    space = {
        "standardscaler": [StandardScaler(), MinMaxScaler(), "passthrough"],
        "logisticregression__C": loguniform(1e-3, 1e3),
    }
    found = search(pipeline, space, n_iter=6, n_initial=4, cv=3).fit(X, y)
    assert found.best_score_ > 0.9
    assert len(found.predict_score(found.cv_results_["params"])) == 6


def test_failures_teach_nothing_and_are_never_best():
    mixed = [SPACE, {"x1": ["wrong"]}]
    with pytest.warns(FitFailedWarning), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One or more of the test scores")

        class Strict(Branin):
            def fit(self, X, y):
                if isinstance(self.x1, str):
                    raise TypeError("x1 is a word")
                return super().fit(X, y)

        found = search(Strict(), mixed, n_iter=9, n_initial=8).fit(*table())
    broken = np.array([p["x1"] == "wrong" for p in found.cv_results_["params"]])
    assert broken.sum() == 1 and np.isfinite(found.best_score_)
    assert np.isfinite(found.predict_score([{"x1": 1.0, "x2": 1.0}])).all()
    with pytest.raises(ValueError, match="x1 is a word"):
        search(Strict(), {"x1": ["wrong", "words"]}).fit(*table())


def test_a_column_of_equal_scores_is_answered():
    found = search(Branin(), {"x1": [0.0], "x2": [1.0]}, n_iter=3).fit(*table())
    assert found.n_candidates_ == 1 and found.surrogate_ is None
    with pytest.raises(ValueError, match="no model"):
        found.predict_score([{"x1": 0.0}])


def test_metrics_groups_weights_and_nesting():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:150, :5]
    y = y[:150]
    space = {"C": loguniform(1e-3, 1e3)}
    options = {"n_iter": 4, "n_initial": 3, "cv": GroupKFold(3)}
    found = search(
        LogisticRegression(), space, scoring=["accuracy", "roc_auc"], refit="roc_auc",
        return_train_score=True, **options,
    )  # fmt: skip
    found.fit(X, y, groups=np.arange(150) % 5)
    assert found.multimetric_ and "mean_train_accuracy" in found.cv_results_
    assert found.best_score_ == found.cv_results_["mean_test_roc_auc"].max()
    with pytest.raises(ValueError, match="refit must name"):
        search(LogisticRegression(), space, scoring=["accuracy"], refit=False).fit(X, y)
    plain = search(LogisticRegression(), space, n_iter=3, n_initial=2, cv=2)
    plain.fit(X, y, sample_weight=np.where(y == 1, 1.0, 1e-9))
    assert (plain.predict(X) == 1).mean() > 0.95
    assert cross_val_score(plain, X, y, cv=2).mean() > 0.8


def test_processes_batches_and_copies_agree(tmp_path):
    X, y = load_iris(return_X_y=True)
    space = {"C": np.logspace(-3, 3, 30).tolist()}
    options = {"n_iter": 8, "n_initial": 4, "cv": 2, "batch_size": 2}
    one, two = (
        search(LogisticRegression(), space, n_jobs=n, **options).fit(X, y)
        for n in (1, 2)
    )
    assert one.cv_results_["params"] == two.cv_results_["params"]
    assert list(one.cv_results_["proposed"]) == [False] * 4 + [True] * 4
    expected = one.predict_score([{"C": 0.5}], [0.3, 0.7])
    one.save(tmp_path / "search.npz")
    for again in (
        pickle.loads(pickle.dumps(one)),
        ConformalQuantileSearchCV.load(tmp_path / "search.npz"),
    ):
        np.testing.assert_array_equal(
            again.predict_score([{"C": 0.5}], [0.3, 0.7]), expected
        )
        assert again.score(X, y) == one.score(X, y)
        np.testing.assert_array_equal(
            again.cv_results_["param_C"], one.cv_results_["param_C"]
        )


def test_callbacks_stop_between_proposals(capsys):
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")
    from tests.test_common import Recorder

    found = search(verbose=1).set_callbacks(Recorder(stop=True)).fit(*table())
    assert found.n_candidates_ == 8
    assert "settings 1 to 8: 8 settings on 1 folds" in capsys.readouterr().out


def test_a_dask_cluster_gives_the_serial_answer():
    distributed = pytest.importorskip(
        "distributed", reason="a dask cluster needs skdiff[dask]"
    )
    X, y = load_iris(return_X_y=True)
    made = [
        search(Ridge(), {"alpha": loguniform(1e-3, 1e3)}, n_iter=4, n_initial=3, cv=2)
        for _ in range(2)
    ]
    serial = made[0].fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a cluster says when it starts and ends
        with (
            distributed.LocalCluster(
                n_workers=1,
                threads_per_worker=2,
                processes=False,
                dashboard_address=None,
            ) as cluster,
            distributed.Client(cluster),
            joblib.parallel_config(backend="dask"),
        ):
            spread = made[1].fit(X, y)
    assert serial.cv_results_["params"] == spread.cv_results_["params"]
