"""Self-tuning networks: known responses, equalities, what is tuned, refusals."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_wine,
    make_moons,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.neural_network import SelfTuningMLPClassifier, SelfTuningMLPRegressor

torch = pytest.importorskip("torch")

from skdiff._nn._modules import MLP  # noqa: E402
from skdiff.neural_network._self_tuning._plan import (  # noqa: E402
    natural,
    unbounded,
)
from skdiff.neural_network._self_tuning._response import (  # noqa: E402
    RESPONSES,
    Plain,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


SPAN = torch.tensor([[-2.0], [3.0]], dtype=torch.float64)


def quiet(model, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*data)


# --- equalities ---------------------------------------------------------------------


@pytest.mark.parametrize("response", sorted(RESPONSES))
def test_without_a_move_the_response_is_the_network(response):
    """search 6: at sigma -> 0 it is a standard network, exactly."""
    draw = torch.Generator().manual_seed(0)
    module = MLP([5, 7, 3], "relu", draw)
    made = RESPONSES[response](module.layers(), SPAN.expand(2, 4), draw)
    X = torch.randn(11, 5, generator=draw, dtype=torch.float64)
    still = torch.zeros(11, 4, dtype=torch.float64)
    output = made(X, still, lambda k, Z: torch.relu(Z))
    assert torch.allclose(output, module(X), atol=1e-14)
    for (W, b), (V, c) in zip(module.layers(), made.layers(still[0]), strict=True):
        assert torch.equal(W, V)
        assert torch.equal(b, c)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_rows_under_one_h_are_the_folded_network(seed, q, hidden):
    draw = torch.Generator().manual_seed(seed)
    sizes = [4, *[3] * hidden, 2]
    module = MLP(sizes, "tanh", draw)
    X = torch.randn(6, 4, generator=draw, dtype=torch.float64)
    move = torch.randn(q, generator=draw, dtype=torch.float64)
    for kind in RESPONSES.values():
        made = kind(module.layers(), SPAN.expand(2, q), draw).double()
        with torch.no_grad():
            for p in made.parameters():
                p.add_(0.3 * torch.randn(p.shape, generator=draw, dtype=p.dtype))
        each = move.expand(6, q)
        folded = made.layers(move)

        def between(k, Z):
            return torch.tanh(Z)

        one = made(X, each, between)
        assert torch.allclose(one, Plain(folded)(X, each, between), atol=1e-12)
        norms = made.squared_norms(each)
        for norm, (W, _) in zip(norms, folded, strict=True):
            assert torch.allclose(norm, W.square().sum(), atol=1e-10)
        columns = folded[0][0].square().sum(0)
        assert torch.allclose(made.column_norms(each), columns, atol=1e-10)


@given(st.floats(0.01, 0.99))
def test_values_survive_the_way_to_h_and_back(value):
    for name in ("dropout_3", "input_noise", "weight_decay"):
        assert natural(name, unbounded(name, value)) == pytest.approx(value)


def test_the_tuned_network_is_the_one_that_predicts():
    X, y = load_diabetes(return_X_y=True)
    model = quiet(
        SelfTuningMLPRegressor(8, max_iter=12, refit=False, random_state=0), X, y
    )
    curve = model.validation_curve(
        "input_noise", [model.hyperparameters_["input_noise"]]
    )
    half = -2 * model.search_score_ * model._y_scale[0] ** 2
    assert curve[0] == pytest.approx(half, rel=1e-6)
    again = pickle.loads(pickle.dumps(model))
    values = [0.05, 0.2, 0.5]
    np.testing.assert_array_equal(
        again.validation_curve("dropout_0", values),
        model.validation_curve("dropout_0", values),
    )


# --- what is tuned ------------------------------------------------------------------


def tuned_dropout(flipped):
    """Median of the tuned dropout over the second half of a long training."""
    X, y = make_moons(150, noise=0.1, random_state=0)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < flipped, 1 - y, y)
    model = SelfTuningMLPClassifier(
        (30,),
        tune=["dropout"],
        dropout=0.2,
        alpha=0.0,
        input_noise=0.0,
        entropy_weight=1e-2,
        batch_size=150,
        learning_rate_init=0.03,
        max_iter=200,
        n_iter_no_change=200,
        validation_fraction=0.5,
        refit=False,
        dtype="float32",
        random_state=0,
    )
    quiet(model, X, y)
    return np.median(model.hyperparameter_history_["dropout_0"][100:])


def test_noise_calls_for_more_regularisation_than_clean_labels():
    """search 6: two moons; noisy labels raise dropout above its start, clean lower it.

    With the sign of the derivative in h turned, clean labels end at .9 and noisy ones
    near .01.
    """
    assert tuned_dropout(0.0) < 0.12 < 0.2 < 0.35 < tuned_dropout(0.3)


def test_names_say_what_is_tuned():
    X, y = load_wine(return_X_y=True)
    model = SelfTuningMLPClassifier((8, 4), max_iter=8, random_state=0)
    quiet(model, X, y)
    assert list(model.hyperparameters_) == [
        "dropout_0",
        "dropout_1",
        "input_noise",
        "weight_decay_0",
        "weight_decay_1",
        "weight_decay_2",
    ]
    for name, values in model.hyperparameter_history_.items():
        assert values.shape == (model.n_iter_ + 1,)
        assert values[model.n_tuned_iter_] == pytest.approx(
            model.hyperparameters_[name]
        )
        assert np.ptp(values[: model.warmup_epochs + 1]) < 1e-12
    quiet(model.set_params(per_layer=False, tune=["dropout"]), X, y)
    assert list(model.hyperparameters_) == ["dropout"]
    quiet(model.set_params(tune=["weight_decay"], alpha=[1e-2, 1e-3, 1e-4]), X, y)
    start = model.hyperparameter_history_["weight_decay"][0]
    assert start == pytest.approx(1e-3)


def test_a_fresh_fit_is_scored_and_kept():
    X, y = load_breast_cancer(return_X_y=True)
    A, B, a, b = train_test_split(X, y, stratify=y, random_state=0)
    model = SelfTuningMLPClassifier((16,), max_iter=12, random_state=0)
    quiet(model, A, a)
    assert model.refit_score_ is not None
    assert model.score(B, b) > 0.92
    quiet(model.set_params(refit=False), A, a)
    assert model.refit_score_ is None
    assert model.score(B, b) > 0.92


def test_weights_are_repetitions_of_rows():
    """A row of weight zero is absent."""
    X, y = load_diabetes(return_X_y=True)
    weight = np.ones(len(y))
    weight[300:] = 0
    model = SelfTuningMLPRegressor((8,), max_iter=8, random_state=0)
    short = quiet(model, X[:300], y[:300]).predict(X)
    with_zeros = quiet(model, X, y, weight).predict(X)
    np.testing.assert_allclose(short, with_zeros)


def test_warm_starts_and_partial_fits_go_on():
    X, y = load_wine(return_X_y=True)
    model = SelfTuningMLPClassifier((8,), max_iter=8, warm_start=True, random_state=0)
    quiet(model, X, y)
    last = dict(model.hyperparameters_)
    quiet(model, X, y)
    for name, value in last.items():
        assert model.hyperparameter_history_[name][0] == pytest.approx(value)
    values = dict(model.hyperparameters_)
    model.partial_fit(X, y)
    assert model.hyperparameters_ == pytest.approx(values)
    fresh = SelfTuningMLPClassifier((8,), random_state=0).partial_fit(X, y)
    assert fresh.hyperparameters_["input_noise"] == pytest.approx(0.1)


def test_time_ends_a_fit_with_the_tuned_network():
    X, y = load_breast_cancer(return_X_y=True)
    model = SelfTuningMLPClassifier(
        time_limit=0.3, max_iter=10_000, n_iter_no_change=10_000
    )
    with pytest.warns(ConvergenceWarning, match="Time limit"):
        model.fit(X, y)
    assert model.stopped_ == "time"
    assert model.refit_score_ is None
    assert model.score(X, y) > 0.5


def test_few_rows_are_trained_and_not_tuned():
    X, y = load_wine(return_X_y=True)
    model = SelfTuningMLPClassifier((4,), max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning, match="too few"):
        model.fit(X[::6], y[::6])
    assert model.search_score_ is None
    assert model.hyperparameters_["input_noise"] == 0
    with pytest.raises(ValueError, match="Nothing was tuned"):
        model.validation_curve("input_noise", [0.1])


def test_a_grid_of_pipelines_in_two_processes():
    X, y = load_wine(return_X_y=True)
    pipe = make_pipeline(
        StandardScaler(),
        SelfTuningMLPClassifier(
            (8,), learning_rate_init=0.02, max_iter=15, random_state=0
        ),
    )
    grid = {"selftuningmlpclassifier__per_layer": [True, False]}
    search = quiet(GridSearchCV(pipe, grid, cv=2, n_jobs=2), X, y)
    assert search.best_score_ > 0.8


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tune": ["dropout", "width"]}, "known names"),
        ({"tune": ["dropout"], "hidden_layer_sizes": ()}, "nothing to tune"),
        ({"tune": []}, "nothing to tune"),
        ({"dropout": 0.0}, "dropout must be > 0"),
        ({"alpha": 0.0}, "alpha must be > 0"),
        ({"alpha": [1e-3, 1e-3]}, "alpha must be a number"),
        ({"input_noise": 0.0}, "input_noise must be > 0"),
        (
            {"response": "hypernetwork", "hidden_layer_sizes": (500, 500)},
            "structured",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(arguments, message):
    X, y = load_wine(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        SelfTuningMLPClassifier(**arguments).fit(X, y)


def test_curves_refuse_what_is_no_value():
    X, y = load_wine(return_X_y=True)
    model = quiet(SelfTuningMLPClassifier((4,), max_iter=7, random_state=0), X, y)
    with pytest.raises(ValueError, match="name must be one of"):
        model.validation_curve("dropout", [0.1])
    for values in ([0.0], [1.0], [[0.1]], [np.nan]):
        with pytest.raises(ValueError, match="values of dropout_0"):
            model.validation_curve("dropout_0", values)
    assert model.validation_curve("weight_decay_0", [2.0, 1e-3]).shape == (2,)
