"""The estimators: evidence, categories, weights, baselines, limits, figures."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skdiff
from skdiff._base.progress import Progress
from skdiff.architecture_search import (
    Architecture,
    ArchitectureDisplay,
    ArchitectureSearchClassifier,
    ArchitectureSearchRegressor,
)
from skdiff.architecture_search._cells._networks import CellNetworks
from skdiff.architecture_search._cells._race import Bench
from skdiff.architecture_search._cells._selection import Projection
from skdiff.architecture_search._cells._supernet import Supernet
from skdiff.architecture_search._parts import halves

FAST = {"width": 8, "search_max_iter": 3, "max_iter": 10, "random_state": 0}
CELL = Architecture((((0, "tanh"),), ((0, "skip"), (1, "glu"))), (8, 8, 8))


def classifier(**how):
    return ArchitectureSearchClassifier(**{**FAST, **how})


def regressor(**how):
    return ArchitectureSearchRegressor(**{**FAST, **how})


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def numbers():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def searched(iris):
    return classifier().fit(*iris)


# --- evidence -------------------------------------------------------------------------


def test_the_evidence_is_there(searched):
    assert searched.alphas_.shape == searched.perturbation_scores_.shape == (6, 6)
    assert len(searched.edges_) == 6 and searched.edges_[0] == "stem to node 1"
    assert all(len(v) == 3 for v in searched.search_history_.values())
    race = searched.race_
    assert race["loss"].shape == (len(race["origin"]), 2)
    assert searched.searched_architecture_ in race["architecture"]
    assert {"magnitude", "perturbation"} <= set(", ".join(race["origin"]).split(", "))
    assert isinstance(searched.searched_score_, float)
    better = searched.searched_score_ >= searched.baseline_score_
    assert (searched.architecture_ == searched.searched_architecture_) == better
    weights = searched.net_.module_.parameters()
    assert searched.n_params_ == sum(p.numel() for p in weights)
    assert searched.stopped_ == "schedule" and searched.n_iter_ <= 10


def test_a_race_is_won_by_the_lowest_loss(searched):
    race = searched.race_
    last = race["loss"][:, -1]
    won = race["architecture"][int(np.nanargmin(last))]
    assert won == searched.searched_architecture_


@pytest.mark.parametrize(
    "form", [lambda a: a, Architecture.to_dict, Architecture.to_json]
)
def test_a_given_architecture_is_the_same_network(searched, iris, form):
    again = classifier(architecture=form(searched.architecture_)).fit(*iris)
    assert again.architecture_ == searched.architecture_
    assert again.alphas_ is None and again.race_ is None
    X = iris[0]
    np.testing.assert_array_equal(again.predict_proba(X), searched.predict_proba(X))


@pytest.mark.parametrize("selection", ["magnitude", "perturbation", "max_w"])
def test_rules_without_a_race(iris, selection):
    model = classifier(selection=selection, compare_baseline=False).fit(*iris)
    assert model.race_ is None and model.baseline_score_ is None
    assert model.architecture_ == model.searched_architecture_
    if selection == "magnitude":
        best = model.alphas_[0, 1:].argmax() + 1
        assert model.architecture_.nodes[0][0][1] == model.operations[best]
    assert np.isfinite(model.perturbation_scores_).all()


def test_the_baseline_takes_the_place_of_a_worse_cell(iris, monkeypatch):
    whole = Bench.train_on

    def pessimistic(self, module, *rest):
        curve = whole(self, module, *rest)
        return curve + 99.0 * isinstance(module, CellNetworks)

    monkeypatch.setattr(Bench, "train_on", pessimistic)
    model = classifier().fit(*iris)
    assert model.architecture_ == Architecture.mlp((8, 8))
    assert model.searched_architecture_ != model.architecture_
    assert model.searched_score_ < -99.0
    assert model.score(*iris) > 0.8
    kept = classifier(compare_baseline=False).fit(*iris)
    assert kept.architecture_ == kept.searched_architecture_


def test_the_trial_decides_how_long_to_train(numbers, monkeypatch):
    whole = Bench.train_on

    def early(self, module, epochs, *rest):
        curve = whole(self, module, epochs, *rest)
        if epochs == 10:
            curve[3] = -1.0
        return curve

    monkeypatch.setattr(Bench, "train_on", early)
    assert regressor().fit(*numbers).n_iter_ == 4
    stopped = regressor(early_stopping=True, n_iter_no_change=3).fit(*numbers)
    assert stopped.validation_scores_ is not None
    assert stopped.n_iter_ == len(stopped.validation_scores_)


# --- rows -----------------------------------------------------------------------------


def test_neither_order_nor_repetition_of_rows_matters(numbers):
    X, y = (a[:60] for a in numbers)
    order = np.random.RandomState(0).permutation(60)
    expected = regressor().fit(X, y, sample_weight=1 + (np.arange(60) < 20)).predict(X)
    found = regressor().fit(X[order], y[order], 1 + (order < 20)).predict(X)
    np.testing.assert_array_equal(found, expected)
    X2, y2 = np.concatenate([X, X[:20]]), np.concatenate([y, y[:20]])
    np.testing.assert_allclose(regressor().fit(X2, y2).predict(X), expected, rtol=1e-9)


def test_few_distinct_rows_are_searched_on():
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 5, 1000)
    share = np.linspace(0.05, 0.95, 5)[kind]
    y = (rng.random(1000) < share).astype(int)
    X = pd.DataFrame({"kind": pd.Categorical(kind)})
    model = classifier(selection="magnitude", max_iter=5).fit(X, y)
    assert np.abs(model.predict_proba(X)[:, 1] - share).mean() < 0.1


def test_a_class_of_one_row_is_refused_unless_nothing_is_searched(iris):
    X, y = iris
    rows = [*range(50), *range(50, 100), 100]
    with pytest.raises(ValueError, match=r"\[2\] have one"):
        classifier().fit(X[rows], y[rows])
    model = classifier(architecture=CELL).fit(X[rows], y[rows])
    assert model.n_iter_ == 10 and model.classes_.tolist() == [0, 1, 2]
    # a row that stands for two is in both parts
    weighted = classifier().fit(X[rows], y[rows], np.r_[np.ones(100), 2])
    repeated = classifier().fit(X[[*rows, 100]], y[[*rows, 100]])
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7
    )


def test_every_class_is_in_both_parts():
    codes = np.repeat([0, 1, 2], [50, 3, 2])
    for seed in range(20):
        rng = np.random.RandomState(seed)
        parts = halves(55, 0.9, codes, rng)
        assert all(set(codes[rows]) == {0, 1, 2} for rows in parts)
        assert sorted(np.concatenate(parts)) == list(range(55))


def mixed_table(n=160):
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c"], size=n)
    effect = pd.Series(kind).map({"a": 0.0, "b": 3.0, "c": -2.0}).to_numpy()
    X = pd.DataFrame({"x": rng.normal(size=n), "kind": pd.Categorical(kind)})
    return X, effect + 0.3 * X["x"].to_numpy() + 0.05 * rng.normal(size=n)


@pytest.mark.parametrize("architecture", [CELL, Architecture.mlp((8,))])
def test_categories_are_read_by_their_dtype(architecture, tmp_path):
    X, y = mixed_table()
    how = {"architecture": architecture, "max_iter": 40, "learning_rate_init": 0.03}
    model = regressor(**how).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.mean_[1] == 0 and model.scale_[1] == 1
    model.save(tmp_path / "model.npz")
    again = skdiff.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    renamed = X.assign(kind=X["kind"].cat.rename_categories(list("pqr")))
    # names in the same order are the same codes
    found = regressor(**how).fit(renamed, y).predict(renamed)
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-8, atol=1e-10)
    by_place = regressor(**how, categorical_features=[1]).fit(X.to_numpy(), y)
    np.testing.assert_allclose(
        by_place.predict(X.to_numpy()), model.predict(X), rtol=1e-8, atol=1e-10
    )


def test_missing_and_unknown_categories():
    X, y = mixed_table()
    X.loc[:20, "kind"] = np.nan
    model = regressor().fit(X, y)
    other = X.iloc[:3].assign(kind=pd.Categorical(["z", None, "a"]))
    assert np.isfinite(model.predict(other)).all()
    assert model.predict(other[["x", "kind"]]).shape == (3,)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(other[["kind", "x"]])


def test_a_searched_table_with_categories(tmp_path):
    X, y = mixed_table(240)
    model = regressor(architecture_learning_rate=0.01).fit(X, y)
    labels = np.where(y > 0, "high", "low")
    found = classifier(class_weight="balanced").fit(X, labels)
    assert found.score(X, labels) > 0.8 and model.score(X, y) > 0.5
    chain = classifier(space="hypercuboid", n_nodes=2).fit(X, labels)
    assert chain.alphas_.shape == (32, 6)
    assert np.isneginf(chain.alphas_[1, 1])  # no identity between widths 2 and 4


@pytest.mark.parametrize(("space", "kind"), [("hypercuboid", "32"), ("cell", "64")])
def test_only_the_supernet_of_a_hypercuboid_is_in_single_precision(
    space, kind, iris, monkeypatch
):
    seen = []
    run = Supernet.run

    def watched(self, rows, held, *others):
        parts = [*self.w, rows.X, held.X]
        seen.extend(str(part.dtype) for part in parts)
        assert not rows.y[0].is_floating_point()  # codes of the classes
        return run(self, rows, held, *others)

    monkeypatch.setattr(Supernet, "run", watched)
    model = classifier(space=space, compare_baseline=False).fit(*iris)
    assert set(seen) == {f"torch.float{kind}"}
    assert model.predict_proba(iris[0]).dtype == np.float64


def test_several_targets(numbers):
    X, y = numbers
    Y = np.column_stack([y, X[:, 0] ** 2, -y])
    model = regressor(max_iter=30).fit(X, Y)
    assert model.predict(X).shape == Y.shape and model.n_outputs_ == 3
    found = model.predict(X)
    assert np.corrcoef(found[:, 0], found[:, 2])[0, 1] < -0.9


# --- training -------------------------------------------------------------------------


def test_a_continued_fit_keeps_the_architecture(iris):
    X, y = iris
    model = classifier(warm_start=True).fit(X, y)
    found, alphas, n_iter = model.architecture_, model.alphas_, model.n_iter_
    model.fit(X, y)
    assert model.architecture_ == found and model.alphas_ is alphas
    assert model.n_iter_ > n_iter
    step = classifier().partial_fit(X, y)
    first, cell = step.predict_proba(X), step.architecture_
    step.partial_fit(X, y)
    assert step.architecture_ == cell and step.n_iter_ == 2
    assert not np.array_equal(step.predict_proba(X), first)


def test_a_time_limit_leaves_time_to_train(numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = regressor(time_limit=1e-6).fit(*numbers)
        assert model.stopped_ == "time"
        assert np.isnan(model.perturbation_scores_[:, 1:]).all()
        assert ArchitectureDisplay.from_estimator(model).frame().shape == (36, 4)
        assert np.isfinite(model.predict(numbers[0])).all()
        model = regressor(time_limit=4.0, search_max_iter=100_000).fit(*numbers)
    assert len(model.search_history_["entropy"]) < 100_000
    assert model.n_iter_ >= 1


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_that_a_callback_ends_in_the_search_has_learned_something(
    iris, method, monkeypatch
):
    step = Progress.step

    def once(progress, **how):
        if progress.n_iter == 1:
            progress.end("callback")
        return step(progress, **how)

    monkeypatch.setattr(Progress, "step", once)
    model = getattr(classifier(learning_rate_init=0.03), method)(*iris)
    assert model.n_iter_ == 1 and model.stopped_ == "callback"
    assert len(model.search_history_["entropy"]) == 2
    assert np.isfinite(model.loss_) and model.score(*iris) > 0.6


@pytest.mark.parametrize(
    ("stage", "name"),
    [(Supernet, "step"), (Projection, "removal"), (Bench, "train_on")],
)
def test_an_interrupted_search_raises_and_keeps_the_last_fit(
    iris, monkeypatch, stage, name
):
    whole, calls = getattr(stage, name), []

    def impatient(self, *rest):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, *rest)

    X, y = iris
    model = classifier()
    with monkeypatch.context() as patch:
        patch.setattr(stage, name, impatient)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert not {"architecture_", "alphas_", "_fitting"} & set(vars(model))
    model.fit(X, y)
    expected, kept = model.predict_proba(X), dict(vars(model))
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(stage, name, impatient)
        with pytest.raises(KeyboardInterrupt):
            model.set_params(random_state=1).fit(X, y)
    changed = {k for k, v in vars(model).items() if v is not kept[k]}
    assert changed <= {"random_state", "n_features_in_"}
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_lines_are_printed_for_the_search_and_the_training(iris, capsys):
    model = classifier(verbose=1).fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + model.n_iter_
    assert "validation score" in lines[0] and "loss" in lines[-1]


@pytest.mark.parametrize("name", ["constant", "cosine_power"])
def test_learning_rates(iris, name):
    X, y = iris
    rates = []

    def note(net, **_):
        rates.append(net.optimizer_.param_groups[0]["lr"])

    from skorch.callbacks import Callback

    callback = type(
        "Note", (Callback,), {"on_epoch_end": lambda self, net, **k: note(net)}
    )
    how = {"learning_rate": name, "architecture": CELL, "early_stopping": False}
    model = classifier(**how, net_params={"callbacks": [callback()]}).fit(X, y)
    assert len(rates) == model.n_iter_ and rates[0] == 0.01
    assert (rates[-1] < 0.01) == (name == "cosine_power" and model.n_iter_ > 1)


def test_one_target_value_needs_no_network(iris):
    X, y = iris
    model = classifier().fit(X[:50], y[:50])
    assert model.architecture_ is None and model.n_params_ == 0
    assert (model.predict(X) == 0).all()
    with pytest.raises(ValueError, match="constant"):
        ArchitectureDisplay.from_estimator(model)


@pytest.mark.slow
def test_a_large_race_finds_a_cell_as_good_as_the_one_that_made_the_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4)).astype(np.float32)
    planted = Architecture((((0, "tanh"),), ((0, "glu"), (1, "tanh"))), (8, 8, 8))
    frozen = regressor(architecture=planted, max_iter=1, alpha=0.0)
    y = frozen.fit(X, rng.normal(size=3000)).predict(X)
    y = (y - y.mean()) / y.std() + 0.5 * rng.normal(size=3000)
    how = {"n_nodes": 2, "search_max_iter": 20, "max_iter": 40}
    errors = []
    for more in ({"architecture": planted}, {"n_candidates": 64}):
        model = regressor(**{**how, **more}).fit(X[:2000], y[:2000])
        errors.append(np.mean((model.predict(X[2000:]) - y[2000:]) ** 2))
    assert errors[1] < 1.1 * errors[0]


# --- tools ----------------------------------------------------------------------------


def test_within_a_grid_search_on_a_real_table():
    X, y = load_wine(return_X_y=True, as_frame=True)
    X["strong"] = np.where(X["alcohol"] > 13, "yes", "no")
    columns = make_column_transformer(
        (OneHotEncoder(), ["strong"]), remainder=StandardScaler()
    )
    model = make_pipeline(columns, classifier(search_max_iter=2, n_candidates=2))
    grid = {"architecturesearchclassifier__width": [4, 8]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.8


def test_a_file_keeps_architecture_and_evidence(searched, iris, tmp_path):
    searched.save(tmp_path / "model.npz")
    again = ArchitectureSearchClassifier.load(tmp_path / "model.npz")
    assert again.architecture_ == searched.architecture_
    assert again.race_["architecture"] == searched.race_["architecture"]
    np.testing.assert_array_equal(again.alphas_, searched.alphas_)
    given = classifier(architecture=CELL)
    skdiff.save(given, tmp_path / "given.npz")
    assert skdiff.load(tmp_path / "given.npz").architecture == CELL


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture.mlp((100, 1, 1, 1, 1)),
        Architecture(
            (((0, "relu"),), ((1, "skip"),), ((2, "glu"),)),
            (90, 1, 1, 2),
            "hypercuboid",
        ),
        Architecture((((0, "skip"),), ((1, "skip"),)), (50, 50, 50)),
        Architecture(CELL.nodes, CELL.widths, n_cells=3),
    ],
)
def test_a_file_is_loaded_where_its_architecture_is_that_of_its_weights(
    architecture, numbers, tmp_path
):
    X, y = numbers[0][:, :1], numbers[1]
    model = regressor(architecture=architecture, max_iter=1).fit(X, y)
    model.save(tmp_path / "model.npz")
    again = skdiff.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    larger = replace(architecture, widths=[101 * w for w in architecture.widths])
    for wrong in (larger, replace(CELL, n_cells=10**9)):
        model.architecture_ = wrong
        model.save(tmp_path / "wrong.npz")
        with pytest.raises(ValueError, match="does not belong to the weights"):
            skdiff.load(tmp_path / "wrong.npz")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"operations": ("relu", "sine")}, r"operations holds \['sine'\]"),
        ({"operations": ("zero", "relu")}, "at least two besides"),
        ({"operations": ("relu", "relu")}, "names one twice"),
        ({"operations": [["relu", "tanh"]]}, "must be a list of names"),
        ({"n_inputs": 4}, "n_inputs=4 is more than the 3"),
        ({"space": "hypercuboid", "n_cells": 2}, "n_cells"),
        ({"strategy": "joint", "selection": "magnitude"}, "nothing to go by"),
        ({"strategy": "rarts", "order": 2}, "order=2 belongs"),
        ({"order": 3}, "'order' parameter"),
        ({"search_split": 1.0}, "'search_split' parameter"),
        ({"n_candidates": 1}, "'n_candidates' parameter"),
        ({"width": 3}, "'width' parameter"),
        ({"architecture": "not json"}, "not JSON"),
        ({"architecture": {"widths": [3]}}, "A description is a dictionary"),
        ({"categorical_features": [7]}, r"in \[0, 3\]"),
        ({"alpha": (0.1,)}, "one alpha"),
    ],
)
def test_bad_parameters_are_named_before_any_work(iris, how, message):
    model = classifier(**how)
    with pytest.raises(ValueError, match=message):
        model.fit(*iris)
    assert not hasattr(model, "architecture_") and not hasattr(model, "_fitting")


def test_figures(searched, iris):
    import matplotlib.pyplot as plt

    display = ArchitectureDisplay.from_estimator(searched).plot()
    words = {text.get_text().split("\n")[0] for text in display.ax_.texts}
    assert {"node 1", "output"} <= words
    assert set(searched.architecture_.operations()) <= words | {"relu"}
    np.testing.assert_allclose(display.weights.sum(axis=1), 1)
    assert display.plot_weights().ax_.images[0].get_array().shape == (6, 6)
    assert display.plot_weights("scores").ax_.images
    assert len(display.plot_race().ax_.lines) == len(searched.race_["origin"])
    frame = display.frame()
    assert len(frame) == 36 and frame["perturbation_score"].notna().all()
    with pytest.raises(ValueError, match="kind must be"):
        display.plot_weights("alphas")
    bare = ArchitectureDisplay(CELL).plot()
    assert "skip" in {text.get_text() for text in bare.ax_.texts}
    for method in (bare.plot_weights, bare.plot_race, bare.frame):
        with pytest.raises(ValueError, match="There was no"):
            method()
    chain = classifier(space="hypercuboid", selection="magnitude").fit(*iris)
    shown = ArchitectureDisplay.from_estimator(chain)
    np.testing.assert_allclose(shown.weights.reshape(3, -1).sum(axis=1), 1)
    shown.plot()
    # what was fitted is shown, whatever the parameters are now
    chain.set_params(space="cell", n_nodes=2, operations=("relu", "tanh"))
    later = ArchitectureDisplay.from_estimator(chain)
    np.testing.assert_array_equal(later.weights, shown.weights)
    assert later.frame()["operation"].tolist() == shown.frame()["operation"].tolist()
    ArchitectureDisplay(Architecture.mlp((4, 2))).plot()
    plt.close("all")
