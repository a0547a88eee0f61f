"""Everyday objects of scikit-learn, SciPy and NumPy in a file without pickle."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse, stats
from sklearn import model_selection
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import VotingClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.gaussian_process import kernels
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, get_scorer, get_scorer_names, make_scorer
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import Bunch

import skdiff
from skdiff._base.persistence import _objects
from skdiff.conformal import CrossFitConformalSelector
from skdiff.inspection import InductiveBiasEstimator
from skdiff.metrics import ks_error
from skdiff.model_selection import Continuous, HyperbandSearchCV
from skdiff.neural_network import AnyLossClassifier
from tests._base.test_persistence import edit, through_file

ROWS = np.arange(24.0).reshape(12, 2)
CODES = np.tile([0, 1], 6)
GROUPS = np.repeat(np.arange(6), 2)
SPLITTERS = {
    "GroupKFold": {"n_splits": 3},
    "GroupShuffleSplit": {"n_splits": 2, "random_state": 0},
    "KFold": {"n_splits": 4, "shuffle": True, "random_state": 3},
    "LeavePGroupsOut": {"n_groups": 2},
    "LeavePOut": {"p": 2},
    "PredefinedSplit": {"test_fold": np.tile([-1, 0, 1], 4)},
    "RepeatedKFold": {"n_splits": 2, "n_repeats": 3, "random_state": 0},
    "RepeatedStratifiedKFold": {"n_splits": 2, "n_repeats": 2, "random_state": 1},
    "ShuffleSplit": {"n_splits": 2, "test_size": 3, "random_state": 0},
    "StratifiedShuffleSplit": {"n_splits": 2, "random_state": 0},
    "TimeSeriesSplit": {"n_splits": 3, "gap": 1},
}


@pytest.mark.parametrize("name", _objects.SPLITTERS)
def test_splitters_split_alike(name, tmp_path):
    splitter = getattr(model_selection, name)(**SPLITTERS.get(name, {}))
    again = through_file({"cv": splitter}, tmp_path / "m.npz")["cv"]
    assert type(again) is type(splitter) and repr(again) == repr(splitter)
    groups = GROUPS if "Group" in name else None
    both = [list(s.split(ROWS, CODES, groups)) for s in (splitter, again)]
    assert len(both[0]) == len(both[1]) > 1
    for (a, b), (c, d) in zip(*both, strict=True):
        np.testing.assert_array_equal(np.r_[a, -1, b], np.r_[c, -1, d])


def test_a_repeated_splitter_of_a_seeded_generator_goes_on_where_it_was(tmp_path):
    state = np.random.RandomState(5)
    state.normal(size=7)
    generator = np.random.default_rng(5)
    generator.normal(size=7)
    generators = [
        np.random.Generator(getattr(np.random, name)(1))
        for name in _objects.BIT_GENERATORS
    ]
    values = {"a": state, "b": generator, "more": generators}
    again = through_file(values, tmp_path / "m.npz")
    for old, new in zip(
        [state, generator, *generators],
        [again["a"], again["b"], *again["more"]],
        strict=True,
    ):
        np.testing.assert_array_equal(old.normal(size=9), new.normal(size=9))


#: around functions that scikit-learn does not make public
PRIVATE = {"neg_negative_likelihood_ratio", "positive_likelihood_ratio"}


@pytest.mark.parametrize("name", sorted({*get_scorer_names()} - PRIVATE))
def test_every_named_scorer_is_held(name, tmp_path):
    scorer = get_scorer(name)
    again = through_file({"s": scorer}, tmp_path / "m.npz")["s"]
    assert repr(again) == repr(scorer)


def test_scorers_keep_arguments_and_requests(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(f1_score, pos_label=0).set_score_request(sample_weight="w")
        own = make_scorer(
            ks_error, response_method="predict_proba", greater_is_better=False
        )
        values = through_file({"s": scorer, "own": own}, tmp_path / "m.npz")
        again = values["s"]
        assert again.get_metadata_routing().score.requests == {"sample_weight": "w"}
    assert again(model, X, y) == scorer(model, X, y) != f1_score(y, model.predict(X))
    assert values["own"](model, X, y) == own(model, X, y) < 0


DISTRIBUTIONS = [
    stats.loguniform(1e-3, 1e3),
    stats.uniform(loc=-1, scale=3),
    stats.randint(1, 9),
    stats.norm(),
    stats.poisson(mu=np.float64(3)),
]


@pytest.mark.parametrize("frozen", DISTRIBUTIONS, ids=lambda d: d.dist.name)
def test_frozen_distributions_draw_alike(frozen, tmp_path):
    again = through_file({"d": frozen}, tmp_path / "m.npz")["d"]
    for seed in range(3):
        drawn = [d.rvs(5, random_state=seed) for d in (frozen, again)]
        np.testing.assert_array_equal(*drawn)


def test_a_seeded_distribution_goes_on_where_it_was(tmp_path):
    frozen = stats.norm(1, 2)
    frozen.random_state = np.random.RandomState(0)
    again = through_file({"d": frozen}, tmp_path / "m.npz")["d"]
    assert frozen.rvs() == again.rvs()


def test_values_of_everyday(tmp_path):
    table = sparse.random_array((5, 4), density=0.5, rng=np.random.default_rng(0))
    values = {
        "range": range(1, 9, 2),
        "bunch": Bunch(a=1, b=[np.float32(2)]),
        "interval": Continuous(1e-3, 1.0, per="feature"),
        "types": [object, bool, int, float, str, np.number, np.float32, np.int64],
        "functions": [f1_score, f_classif, np.log1p, ks_error],
        "rows": table.tocsr(),
        "columns": sparse.csc_matrix(table),
    }
    again = through_file(values, tmp_path / "m.npz")
    assert list(again) == list(values)
    for name in ("range", "bunch", "interval", "types", "functions"):
        assert again[name] == values[name] and type(again[name]) is type(values[name])
    assert again["bunch"].a == 1
    for name in ("rows", "columns"):
        assert type(again[name]) is type(values[name])
        assert (again[name] != values[name]).nnz == 0


@pytest.fixture(scope="module")
def frame():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:, :4].assign(
        size=pd.cut(X.iloc[:, 0], 3, labels=["s", "m", "l"]).astype(str).astype(object)
    )
    return X, y.map({0: "malignant", 1: "benign"}).to_numpy()


def table_pipeline():
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include=np.number)),
        (
            OneHotEncoder(handle_unknown="ignore", dtype=np.float64),
            make_column_selector(pattern="^size$", dtype_include=object),
        ),
    )
    return make_pipeline(columns, SelectKBest(f_classif, k=5), LogisticRegression())


SEARCHES = {
    "grid": lambda: GridSearchCV(
        table_pipeline(),
        {"logisticregression__C": [0.1, 1.0]},
        cv=KFold(3, shuffle=True, random_state=0),
    ),
    "grid by two scores": lambda: GridSearchCV(
        table_pipeline(),
        {"selectkbest__k": range(3, 5)},
        scoring={"f1": make_scorer(f1_score, pos_label="benign"), "acc": "accuracy"},
        refit="acc",
        cv=2,
    ),
    "random": lambda: RandomizedSearchCV(
        table_pipeline(),
        {"logisticregression__C": stats.loguniform(1e-2, 1e2)},
        n_iter=2,
        cv=2,
        random_state=np.random.RandomState(0),
        scoring="roc_auc",
    ),
    "Hyperband": lambda: HyperbandSearchCV(
        table_pipeline(),
        {"logisticregression__C": stats.loguniform(1e-2, 1e2)},
        cv=KFold(2),
        brackets=1,
        max_resource=200,
        random_state=0,
    ),
    "vote": lambda: VotingClassifier(
        [("a", table_pipeline()), ("b", table_pipeline())], voting="soft"
    ),
    "ufunc": lambda: make_pipeline(
        make_column_transformer(
            (FunctionTransformer(np.log1p), make_column_selector("mean"))
        ),
        LogisticRegression(max_iter=1000),
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_whole_table_models_answer_alike(name, frame, tmp_path):
    X, y = frame
    model = SEARCHES[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    skdiff.save(model, tmp_path / "m.npz")
    again = skdiff.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.score(X, y) == model.score(X, y)
    assert set(vars(again)) == set(vars(model))


def test_a_selector_with_a_splitter_and_a_search_inside(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = X[:, 0] + 0.3 * rng.normal(size=80)
    inner = GridSearchCV(Ridge(), {"alpha": stats.uniform(0, 1).ppf([0.1, 0.9])}, cv=2)
    model = CrossFitConformalSelector(
        estimators=[inner], cv=KFold(3, shuffle=True, random_state=0), threshold=0.5,
        random_state=np.random.RandomState(0),
    ).fit(X, y)  # fmt: skip
    model.save(tmp_path / "m.npz")
    again = CrossFitConformalSelector.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.select(X[:20]), model.select(X[:20]))


def test_the_guide_prints_the_list():
    page = Path(__file__).parents[2] / "docs" / "getting_started.rst"
    text = " ".join(page.read_text().split())
    for kind in _objects.describe():
        assert f"- {kind} " in text


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.RBF([1.0, 2.0], "fixed"),
        2.0 * kernels.Matern(0.7, nu=2.5) + kernels.WhiteKernel(0.1),
        kernels.Exponentiation(kernels.DotProduct(0.5), 2),
        kernels.CompoundKernel([kernels.RBF(1.0), kernels.ExpSineSquared(1.0, 3.0)]),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_kernels_are_alike(kernel, tmp_path):
    again = through_file({"kernel": kernel}, tmp_path / "m.npz")["kernel"]
    assert again == kernel and repr(again) == repr(kernel)
    np.testing.assert_array_equal(again(ROWS), kernel(ROWS))


def test_a_model_of_a_kernel_is_saved_and_one_of_a_function_refused(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    model = InductiveBiasEstimator(1.5 * kernels.RBF(0.5), 0.5, noise=0.1)
    model.fit(X, X[:, 0]).save(tmp_path / "m.npz")
    again = InductiveBiasEstimator.load(tmp_path / "m.npz")
    assert again.hypotheses == model.hypotheses
    assert again.curve(0.3) == model.curve(0.3)
    model.set_params(hypotheses=lambda A, B: A @ B.T).fit(X, X[:, 0])
    with pytest.raises(TypeError, match="hypotheses"):
        model.save(tmp_path / "n.npz")


# --- what is not held, and what a file may not say ----------------------------------


class Homemade(KFold):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Homemade(3),
        make_scorer(lambda y, p: 0.0),
        sklearn.datasets.clear_data_home,
        stats.rv_histogram(np.histogram([1.0, 2.0])),
        np.memmap,
        Exception,
        type("float64", (), {}),
    ],
    ids=lambda thing: re.sub(r" at 0x\w+", "", repr(thing)),
)
def test_others_are_named_and_refused(value, tmp_path):
    with pytest.raises(TypeError, match=r"kw_args\['x'\]"):
        through_file({"x": value}, tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


def node(kind, name, **parts):
    return {"t": kind, "name": name, "v": parts}


MERSENNE = {
    "t": "dict",
    "v": [
        ["bit_generator", "MT19937"],
        [
            "state",
            {"t": "dict", "v": [["key", {"t": "array", "v": "a0"}], ["pos", -1]]},
        ],
        ["has_gauss", 0],
        ["gauss", 0.0],
    ],
}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (node("splitter", "check_cv"), "not listed"),
        (node("splitter", "KFold", parameters=3, requests=None), "cannot be built"),
        (node("splitter", "KFold"), "cannot be built"),
        (
            node(
                "splitter",
                "KFold",
                parameters={"t": "dict", "v": [["n_splits", -1]]},
                requests={"t": "dict", "v": []},
            ),
            "cannot be built",
        ),
        (node("function", "os.system"), "not listed"),
        (node("function", "numpy.load"), "not listed"),
        (node("function", "sklearn.datasets.clear_data_home"), "not listed"),
        (node("function", "numpy.exp", x=1), "cannot be built"),
        (node("distribution", "rv_histogram", args=None), "not listed"),
        (node("distribution", "norm", args=[]), "no known form"),
        (node("distribution", "norm", args=None, kwds=None, random_state=None),
         "cannot be built"),
        (node("random state", "RandomState", state=MERSENNE), "cannot be built"),
        (node("generator", "MT19937", state=MERSENNE), "cannot be built"),
        (node("generator", "Evil", state=MERSENNE), "not listed"),
        (node("type", "numpy.memmap"), "not listed"),
        (node("type", "eval"), "not listed"),
        (node("record", "model_selection.GridSearchCV"), "not listed"),
        (node("record", "model_selection.Continuous", low=1.0), "cannot be built"),
        (node("range", "range", start=0, stop=1, step=0), "cannot be built"),
        (node("bunch", "Bunch", a=node("type", "eval")), "not listed"),
        (node("scorer", "scorer", function=None), "cannot be built"),
        (node("own score", "own score", estimator=3), "cannot be built"),
        (node("column selector", "make_column_selector", pattern=3,
              dtype_include=None, dtype_exclude=None), "cannot be built"),
        (node("sparse", "csr_array", data={"t": "array", "v": "a0"},
              indices={"t": "array", "v": "a0"}, indptr={"t": "array", "v": "a0"},
              shape={"t": "tuple", "v": [9, 9]}), "cannot be built"),
        ({"t": "splitter", "v": {}}, "malformed splitter"),
        ({"t": "splitter", "name": ["KFold"], "v": {}}, "not listed"),
        ({"t": "type", "name": "int", "v": []}, "malformed type"),
    ],
)  # fmt: skip
def test_hostile_objects_are_refused(value, words, tmp_path):
    path = tmp_path / "m.npz"
    key = np.zeros(624, dtype=np.uint32)
    skdiff.save(FunctionTransformer(kw_args={"key": key}), path)
    edit(path, lambda header: header["root"]["state"].update(kw_args={
        "t": "dict", "v": [["x", value]]
    }))  # fmt: skip
    with pytest.raises(ValueError, match=words):
        skdiff.load(path)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"alpha": "evil"}, "'alpha' parameter of Ridge must be"),
        ({"solver": 3}, "'solver' parameter of Ridge must be"),
        ({"_validate_params": 1}, "no attribute '_validate_params'"),
        ({"_parameter_constraints": {"t": "dict", "v": []}}, "no attribute"),
        ({"__sklearn_tags__": 1}, "no attribute"),
        ({"_more": 1, "predict": 2}, "no attribute 'predict'"),
        ({"_get_tags_": 1, "_repr_html_": 2}, "no attribute '_repr_html_'"),
    ],
)
def test_impossible_parameters_and_names_of_the_class_are_refused(
    state, words, tmp_path
):
    path = tmp_path / "m.npz"
    skdiff.save(Ridge(), path)
    edit(path, lambda header: header["root"]["state"].update(state))
    with pytest.raises(ValueError, match=words):
        skdiff.load(path)


def test_an_impossible_parameter_is_not_saved_either(tmp_path):
    with pytest.raises(ValueError, match="'alpha' parameter"):
        skdiff.save(Ridge(alpha=-1), tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sizes", [[10**9], [10**5, 10**5]])
def test_layers_that_the_file_does_not_hold_are_refused_before_they_are_built(
    sizes, tmp_path
):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    path = tmp_path / "m.npz"
    network = AnyLossClassifier(hidden_layer_sizes=(4,), max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.fit(X, X[:, 0] > 0).save(path)
    assert (AnyLossClassifier.load(path).predict(X) == network.predict(X)).all()
    forged = {"t": "list", "v": sizes}

    def forge(header):
        state = header["root"]["state"]
        state["hidden_layer_sizes"] = forged
        dict(state["_state"]["v"])["parameters"]["v"].append(
            ["hidden_layer_sizes", forged]
        )

    edit(path, forge)
    with pytest.raises(ValueError, match="does not belong to the weights"):
        AnyLossClassifier.load(path)
