"""Weight decay: one number, or one a layer."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_regressor
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from skdiff._nn._decay import read_decay
from skdiff._nn._fit import seeded
from skdiff._nn._modules import MLP
from skdiff._nn._optim import FlatSGD
from skdiff.calibration import CalibratedProbabilityClassifier
from skdiff.multiplicity._last_layer import _last_layer
from skdiff.neural_network import (
    AnyLossClassifier,
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
    SparseBayesianMLPRegressor,
)
from tests._nn._mlp import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.usefixtures("untouched"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    return scale(X)[:150], scale(y)[:150]


@pytest.fixture(scope="module")
def classes(numbers):
    X, y = numbers
    return X, np.where(y > 0, "high", "low")


def weights(model):
    arrays = model._state["arrays"]
    return [a for name, a in arrays.items() if name.startswith("weights")]


def answers(model, X):
    return model.predict(X) if is_regressor(model) else model.decision_function(X)


EQUAL = {
    "regressor": MLPRegressor((4, 3), random_state=0),
    "classifier": MLPClassifier((5,), random_state=0),
    "small batches": MLPClassifier((5,), batch_size=32, random_state=0),
    "gradient descent": MLPClassifier((5,), solver="sgd", random_state=0),
    "any loss": AnyLossClassifier(hidden_layer_sizes=(4,), max_iter=40, random_state=0),
    "linear steps": AnyLossClassifier(max_iter=40, random_state=0),
    "calibrated": CalibratedProbabilityClassifier((4,), max_iter=20, random_state=0),
    "sparse": SparseBayesianMLPRegressor((8,), max_iter=20, random_state=0),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_decays_are_one_decay(name, numbers, classes):
    model = EQUAL[name]
    X, y = numbers if is_regressor(model) else classes
    n_layers = model._n_layers()
    one = clone(model).set_params(alpha=0.25).fit(X, y)
    several = clone(model).set_params(alpha=[0.25] * n_layers).fit(X, y)
    np.testing.assert_array_equal(answers(one, X), answers(several, X))
    np.testing.assert_allclose(one.loss_curve_, several.loss_curve_, rtol=1e-12)
    other = clone(model).set_params(alpha=np.linspace(0, 0.5, n_layers + 1)[1:])
    assert np.abs(answers(other.fit(X, y), X) - answers(one, X)).max() > 1e-4


def test_a_linear_network_knows_the_product_of_its_decays_alone(numbers):
    # min of (a |W1|^2 + b |W2|^2) / 2 over W2 W1 = w' is sqrt(a b) |w|, at which
    # a |W1|^2 = b |W2|^2
    X, y = numbers
    found = []
    for decays in ([0.2, 0.2], [0.8, 0.05], [0.05, 0.8]):
        model = MLPRegressor(
            (2,), activation="identity", alpha=decays, learning_rate_init=0.02,
            max_iter=1500, tol=0, n_iter_no_change=1500, random_state=0,
        ).fit(X, y)  # fmt: skip
        first, second = (np.sum(W**2) for W in weights(model))
        assert min(first, second) > 0.1
        assert decays[0] * first == pytest.approx(decays[1] * second, rel=1e-3)
        found.append(model.predict(X))
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    np.testing.assert_allclose(found[2], found[0], atol=1e-3)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_each_decay_acts_on_its_own_layer(layer, numbers):
    X, y = numbers
    decays = np.zeros(3)
    decays[layer] = 1e3
    model = MLPRegressor(
        (4, 3), activation="tanh", alpha=decays, max_iter=600, tol=0,
        n_iter_no_change=600, random_state=0,
    ).fit(X, y)  # fmt: skip
    sizes = np.array([np.abs(W).max() for W in weights(model)])
    assert sizes[layer] < 1e-3
    assert (np.delete(sizes, layer) > 0.1).all()
    # the bias of the last layer is free: the mean is still predicted
    np.testing.assert_allclose(model.predict(X), y.mean(), atol=0.02)


def test_the_penalty_is_in_the_loss(numbers):
    X, y = numbers
    model = MLPRegressor((3,), alpha=[0.5, 2.0], max_iter=1, random_state=0)
    plain = clone(model).set_params(alpha=0.0).fit(X, y)
    # the loss of an epoch of one batch is told at the weights it starts from
    start = MLPRegressor((3,), learning_rate_init=1e-300, max_iter=1, random_state=0)
    first, second = (np.sum(W**2) for W in weights(start.fit(X, y)))
    want = plain.loss_ + 0.25 * first + 1.0 * second
    assert model.fit(X, y).loss_ == pytest.approx(want, rel=1e-12)


WRONG = {
    "too few": [0.1],
    "too many": [0.1, 0.1, 0.1],
    "negative": [0.1, -0.1],
    "missing": [0.1, np.nan],
    "infinite": [0.1, np.inf],
    "a table": [[0.1, 0.1]],
    "words": ["a", "b"],
    "a dictionary": {"a": 1},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_decays_are_refused_before_any_work(name):
    model = MLPClassifier((3,), alpha=WRONG[name])
    with pytest.raises(ValueError, match=r"alpha must be a number >= 0, or hold 2"):
        model.fit(None, None)  # not even the table is looked at
    assert not hasattr(model, "n_features_in_")


def test_one_negative_number_is_refused_as_ever(numbers):
    with pytest.raises(ValueError, match="'alpha' parameter"):
        MLPRegressor(alpha=-1.0).fit(*numbers)


def test_numbers_of_any_kind():
    for number in (1, 0.5, np.float32(0.5), np.int64(2)):
        assert read_decay(number, 3) is number
    assert read_decay(np.array(0.5), 3) == 0.5
    assert read_decay(np.array([1, 2]), 2) == (1.0, 2.0)


@pytest.mark.parametrize("cls", [LipschitzMLPClassifier, LipschitzMLPRegressor])
def test_a_bounded_network_has_one_decay(cls, numbers):
    X, y = numbers
    with pytest.raises(ValueError, match=f"{cls.__name__} takes one alpha"):
        cls(hidden_layer_sizes=(3,), alpha=[0.1, 0.1]).fit(X, y > 0)


def test_an_optimiser_of_the_users_has_one_decay(numbers):
    model = MLPRegressor(
        (3,), alpha=[0.1, 0.1], net_params={"optimizer": torch.optim.SGD}
    )
    with pytest.raises(ValueError, match="net_params names the optimizer"):
        model.fit(*numbers)


def test_the_optimiser_counts_matrices():
    module = MLP([2, 3, 1], "relu", seeded(0))  # matrices first, then biases
    optimizer = FlatSGD(module.parameters(), weight_decay=(0.5, 2.0))
    assert optimizer.penalised.tolist() == [0.5] * 6 + [2.0] * 3 + [0.0] * 4
    with pytest.raises(ValueError, match="1 numbers, but the module has 2"):
        FlatSGD(module.parameters(), weight_decay=(0.5,))


def test_the_layers_of_a_network_given(classes):
    X, y = classes
    given = MLPClassifier((4, 3), max_iter=5, random_state=0)
    outside = CalibratedProbabilityClassifier(
        (5,), estimator=given, max_iter=5, finetune_iter=2, random_state=0
    )
    outside.set_params(alpha=[0.1, 0.2, 0.3]).fit(X, y)
    with pytest.raises(ValueError, match="hold 3 such numbers"):
        outside.set_params(alpha=[0.1, 0.2]).fit(X, y)
    bounded = LipschitzMLPClassifier(hidden_layer_sizes=(4,), max_iter=5)
    with pytest.raises(ValueError, match="takes one alpha"):
        outside.set_params(estimator=bounded, alpha=[0.1, 0.2]).fit(X, y)


def test_the_last_layers_decay_is_that_of_an_audit(classes):
    model = MLPClassifier((4,), alpha=[0.1, 0.4], random_state=0).fit(*classes)
    assert _last_layer(model, 150)[2] == pytest.approx(0.2)  # of two logits, halved


def test_decays_are_saved_and_training_continues(classes, tmp_path):
    X, y = classes
    keywords = {"alpha": np.array([0.5, 0.01]), "batch_size": 32, "random_state": 0}
    straight = MLPClassifier((4,), **keywords)
    broken = clone(straight)
    for _ in range(6):
        straight.partial_fit(X, y)
        broken = pickle.loads(pickle.dumps(broken)).partial_fit(X, y)
    want = straight.decision_function(X)
    np.testing.assert_array_equal(broken.decision_function(X), want)
    public = AnyLossClassifier(
        hidden_layer_sizes=(4,),
        alpha=np.array([0.5, 0.01]),
        max_iter=20,
        random_state=0,
    ).fit(X, y)
    public.save(tmp_path / "model.npz")
    again = AnyLossClassifier.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.alpha, [0.5, 0.01])
    np.testing.assert_array_equal(
        again.decision_function(X), public.decision_function(X)
    )
