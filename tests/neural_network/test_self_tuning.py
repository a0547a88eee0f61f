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
    load_digits,
    load_wine,
    make_moons,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.linear_model import WeightedRidge
from skdiff.model_selection import Continuous, GradientSearchCV
from skdiff.neural_network import SelfTuningMLPClassifier, SelfTuningMLPRegressor

torch = pytest.importorskip("torch")

from skdiff._nn._modules import MLP  # noqa: E402
from skdiff.neural_network._self_tuning._plan import (  # noqa: E402
    make_plan,
    natural,
    unbounded,
)
from skdiff.neural_network._self_tuning._response import (  # noqa: E402
    RESPONSES,
    Plain,
)
from skdiff.neural_network._self_tuning._tuner import (  # noqa: E402
    Network,
    Rules,
    Tuner,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


SPAN = torch.tensor([[-2.0], [3.0]], dtype=torch.float64)


def quiet(model, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*data)


# --- the linear case, whose response is known ---------------------------------------


def ridge_problem(n=60, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ np.diag([1.5, 1.0, 0.7, 0.4][:d])
    y = X @ rng.normal(size=d) + 0.5 * rng.normal(size=n)
    return X, y


def ridge(X, y, h):
    """The minimiser of half the mean squared error and half of e^h |w|^2."""
    n, d = X.shape
    return np.linalg.solve(X.T @ X / n + np.exp(h) * np.eye(d), X.T @ y / n)


def projection(X, y, center, scale):
    """``a, b`` of the best ``w = a + b (h - center)`` under a normal law of ``h``.

    The stationary point of the expected training loss: two linear systems whose
    expectations are sums over Gauss-Hermite nodes.
    """
    n, d = X.shape
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    A, r = np.zeros((2 * d, 2 * d)), np.zeros(2 * d)
    for node, weight in zip(nodes, weights, strict=True):
        u = scale * node
        H = X.T @ X / n + np.exp(center + u) * np.eye(d)
        basis = np.array([1.0, u])
        A += weight * np.kron(np.outer(basis, basis), H)
        r += weight * np.kron(basis, X.T @ y / n)
    solution = np.linalg.solve(A, r)
    return solution[:d], solution[d:]


def linear_tuner(X, y, response, center, scale, steps, *, n_columns=0):
    """Train a response with ``h`` at rest; average the last half of the steps.

    Returned are the tuner, the weights, and their move with each ``h``.
    """
    d = X.shape[1]
    draw = torch.Generator().manual_seed(0)
    module = MLP([d, 1], "identity", draw)
    with torch.no_grad():
        module.biases[0].zero_()
    starts = {"dropout": (), "input_noise": (0.0,), "weight_decay": (np.exp(center),)}
    plan = make_plan(["weight_decay"], starts, False, n_columns=n_columns)

    def row_loss(output, target):
        return ((output - target) ** 2).mean(dim=1) / 2

    network = Network(plan, module.activation, row_loss, draw)
    rules = Rules(response, scale, 1e-3, 2, 1, 0.03, "adam", {"lr": 0.02})
    tuner = Tuner(network, module.layers(), plan.start, rules)
    rows = torch.tensor(np.tile(X, (20, 1)))
    target = torch.tensor(np.tile(y, 20))[:, None]
    batch = (rows, (target, None))
    places = [tuner.start, *(tuner.start + torch.eye(len(plan.start)).double())]
    kept = []
    for step in range(steps):
        tuner.optimizer.param_groups[0]["lr"] = 0.02 / (1 + step / 200)
        tuner.train_step(batch)
        if step >= steps // 2 and step % 4 == 0:
            with torch.no_grad():
                kept.append([tuner.layers(h)[0][0].numpy()[0].copy() for h in places])
    at, *after = np.mean(kept, axis=0)
    return tuner, at, np.array(after) - at


def relative(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("response", ["structured", "hypernetwork"])
def test_a_linear_response_converges_to_the_known_projection(response):
    """second_wave 6: the coefficients to 2 %, the slope of the validation loss to 10 %.

    Intercepts are left out by centring: the bias of the response stays near zero.
    """
    X, y = ridge_problem()
    X, y = X - X.mean(0), y - y.mean()
    center, scale = np.log(0.3), 0.5
    a, b = projection(X, y, center, scale)
    _, at, (slope,) = linear_tuner(X, y, response, center, scale, 1500)
    assert relative(at, a) < 0.02
    assert relative(slope, b) < 0.02
    # the exact ridge solution and its derivative
    exact = ridge(X, y, center)
    derivative = (ridge(X, y, center + 1e-5) - ridge(X, y, center - 1e-5)) / 2e-5
    assert relative(at, exact) < 0.05
    assert np.all(np.sign(slope) == np.sign(derivative))
    assert relative(slope, derivative) < 0.3
    V, v = ridge_problem(seed=1)
    through = (V @ at - v) @ (V @ slope)
    through_projection = (V @ a - v) @ (V @ b)
    assert through == pytest.approx(through_projection, rel=0.1)


def test_each_column_moves_the_weights_as_its_decay_would():
    """Four decays: the derivatives of the ridge solution, to 30 %."""
    X, y = ridge_problem()
    X, y = X - X.mean(0), y - y.mean()
    decay, d = 0.3, X.shape[1]
    found = linear_tuner(X, y, "hypernetwork", np.log(decay), 0.3, 800, n_columns=d)
    _, at, slopes = found
    assert relative(at, ridge(X, y, np.log(decay))) < 0.05
    H = X.T @ X / len(y) + decay * np.eye(d)
    exact = -decay * np.linalg.inv(H) * ridge(X, y, np.log(decay))
    assert relative(slopes, exact.T) < 0.3


def test_the_penalty_found_is_that_of_gradient_search():
    """search 6: within half a unit of the logarithm."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 40))
    y = X @ rng.normal(size=40) + 12 * rng.normal(size=400)
    X, y = X - X.mean(0), y - y.mean()
    train, held = np.arange(200), np.arange(200, 400)
    grid = np.linspace(np.log(1e-3), np.log(30), 400)
    losses = [
        np.mean((y[held] - X[held] @ ridge(X[train], y[train], h)) ** 2) for h in grid
    ]
    best = grid[int(np.argmin(losses))]
    found = tune_ridge(X, y, train, held)
    assert abs(found - best) < 0.5
    search = GradientSearchCV(
        WeightedRidge(), {"alpha": Continuous(1e-1, 1e4)}, cv=[(train, held)]
    )
    # its penalty counts the sum of the rows, ours their mean
    alpha = search.fit(X, y).best_params_["alpha"] / len(train)
    assert abs(found - np.log(alpha)) < 0.5


def standardised_parts(model, X, y):
    """Rows of the training part and of the validation set, as the network saw them."""
    Z, u = (X - model.mean_) / model.scale_, (y - model._y_mean) / model._y_scale
    held, target, _ = model._curve["held"]
    is_held = (np.abs(Z[:, None] - held).sum(2) < 1e-9).any(1)
    return Z[~is_held], u[~is_held], held, target[:, 0]


def test_a_global_hypernetwork_tells_the_whole_curve():
    """second_wave 6: a penalty on [1e-6, 1e3], within 2 % at 20 points."""
    X, y = ridge_problem(800)
    model = SelfTuningMLPRegressor(
        (),
        tune=["weight_decay"],
        response="global_hypernetwork",
        bounds={"weight_decay": (1e-6, 1e3)},
        input_noise=0.0,
        batch_size=640,
        learning_rate_init=0.1,
        max_iter=1500,
        warmup_epochs=1490,
        refit=False,
        random_state=0,
    ).fit(X, y)
    assert model.stopped_ == "completed" and model.perturb_scales_ is None
    A, b, V, v = standardised_parts(model, X, y)
    values = np.geomspace(1e-6, 1e3, 20)
    A, V, center = A - A.mean(0), V - A.mean(0), b.mean()
    exact = [
        np.mean((V @ ridge(A, b - center, h) + center - v) ** 2) for h in np.log(values)
    ]
    told = model.validation_curve("weight_decay_0", values) / model._y_scale[0] ** 2
    np.testing.assert_allclose(told, exact, rtol=0.02)
    # h is where that curve is lowest
    here = model.validation_curve(
        "weight_decay_0", list(model.hyperparameters_.values())
    )
    assert here[0] <= told.min() * model._y_scale[0] ** 2 * (1 + 1e-6)


def tune_ridge(X, y, train, held):
    tuner, *_ = linear_tuner(X[train], y[train], "structured", np.log(0.05), 0.5, 300)
    rows = torch.tensor(X[train]), (torch.tensor(y[train])[:, None], None)
    valid = torch.tensor(X[held]), (torch.tensor(y[held])[:, None], None)
    kept = []
    tuner.optimizer.param_groups[0]["lr"] = 0.01
    for step in range(2500):
        tuner.train_step(rows)
        if step % 2:
            tuner.valid_step(valid)
        if step > 1500:
            kept.append(float(tuner.h.detach()[0]))
    return np.mean(kept)


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


def tuned_dropout(flipped, seed):
    """Mean of the tuned dropout over the second half of a long training."""
    X, y = make_moons(150, noise=0.1, random_state=seed)
    rng = np.random.default_rng(seed)
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
        max_iter=400,
        n_iter_no_change=400,
        validation_fraction=0.5,
        refit=False,
        random_state=seed,
    )
    quiet(model, X, y)
    return np.median(model.hyperparameter_history_["dropout_0"][200:])


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_calls_for_more_regularisation_than_clean_labels(seed):
    """search 6: two moons; noisy labels raise dropout above its start, clean lower it.

    With the sign of the derivative in h turned, clean labels end at .9 and noisy ones
    near .01.
    """
    assert tuned_dropout(0.0, seed) < 0.2 < tuned_dropout(0.3, seed)


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


def test_a_logistic_regression_finds_the_penalty_of_gradient_search():
    """second_wave 6: digits, one penalty, within half a unit of the logarithm."""
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, stratify=y, random_state=0)
    model = SelfTuningMLPClassifier(
        (),
        tune=["weight_decay"],
        input_noise=0.0,
        learning_rate_init=0.01,
        hyper_learning_rate=0.1,
        max_iter=100,
        n_iter_no_change=100,
        refit=False,
        random_state=0,
    )
    quiet(model, X, y)
    Z = (X - model.mean_) / model.scale_
    is_held = (np.abs(Z[:, None] - model._curve["held"][0]).sum(2) < 1e-9).any(1)
    parts = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    search = GradientSearchCV(
        LogisticRegression(max_iter=2000), {"C": Continuous(1e-2, 1e2)}, cv=[parts]
    ).fit(Z, y)
    exact = 1 / (len(parts[0]) * search.best_params_["C"])
    assert abs(np.log(model.hyperparameters_["weight_decay_0"] / exact)) < 0.5


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
