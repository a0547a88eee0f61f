"""Self-tuning networks: responses and penalties that are known exactly."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skdiff.linear_model import WeightedRidge
from skdiff.model_selection import Continuous, GradientSearchCV
from skdiff.neural_network import SelfTuningMLPClassifier, SelfTuningMLPRegressor

torch = pytest.importorskip("torch")

from skdiff._nn._modules import MLP  # noqa: E402
from skdiff.neural_network._self_tuning._plan import make_plan  # noqa: E402
from skdiff.neural_network._self_tuning._tuner import (  # noqa: E402
    Network,
    Rules,
    Tuner,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    tuner, *_ = linear_tuner(X[train], y[train], "structured", np.log(0.05), 0.5, 60)
    rows = torch.tensor(X[train]), (torch.tensor(y[train])[:, None], None)
    valid = torch.tensor(X[held]), (torch.tensor(y[held])[:, None], None)
    kept = []
    tuner.optimizer.param_groups[0]["lr"] = 0.01
    for step in range(900):
        tuner.train_step(rows)
        if step % 2:
            tuner.valid_step(valid)
        if step > 600:
            kept.append(float(tuner.h.detach()[0]))
    return np.mean(kept)


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
        dtype="float32",
        random_state=0,
    )
    model.fit(X, y)
    Z = model._inputs(X)
    held = {row.tobytes() for row in model._curve["held"][0]}
    is_held = np.array([row.tobytes() in held for row in Z])
    parts = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    search = GradientSearchCV(
        LogisticRegression(max_iter=2000), {"C": Continuous(1e-2, 1e2)}, cv=[parts]
    ).fit(Z.astype(float), y)
    exact = 1 / (len(parts[0]) * search.best_params_["C"])
    assert abs(np.log(model.hyperparameters_["weight_decay_0"] / exact)) < 0.5
