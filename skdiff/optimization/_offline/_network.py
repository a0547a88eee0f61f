"""The default surrogate: our network, which adds a gradient penalty if asked."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralRegressorMixin


class Penalty(NamedTuple):
    """What the penalty on the sharpness is made of; ``weight=None`` adapts it."""

    rho: float
    target: float
    weight: float | None


class Network(NamedTuple):
    """A trained network as arrays: tanh layers on standardised columns."""

    weights: list[Array]
    biases: list[Array]
    mean: Array
    scale: Array
    y_mean: float
    y_scale: float

    def value_and_gradient(self, X: Array) -> tuple[Array, Array]:
        """Predictions (rows,) and their gradients (rows, columns)."""
        hidden = [(X - self.mean) / self.scale]
        for W, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden.append(np.tanh(hidden[-1] @ W.T + b))
        output = hidden[-1] @ self.weights[-1].T + self.biases[-1]
        slope = np.broadcast_to(self.weights[-1], (len(X), self.weights[-1].shape[1]))
        for W, h in zip(self.weights[-2::-1], hidden[:0:-1], strict=True):
            slope = (slope * (1 - h * h)) @ W
        value = output[:, 0] * self.y_scale + self.y_mean
        return value, slope * (self.y_scale / self.scale)


class Surrogate(NeuralRegressorMixin, BaseNeural):
    """Trains the default surrogate; only its arrays are kept."""

    # what a user who wants other values sets on a surrogate of the neural family
    activation, solver, alpha, batch_size = "tanh", "adam", 1e-4, "auto"
    learning_rate_init, momentum, tol, n_iter_no_change = 1e-2, 0.9, 1e-4, 20
    early_stopping, validation_fraction, time_limit = False, 0.1, None
    warm_start, standardize, dtype, device = False, True, "float64", "cpu"
    net_params, verbose, hidden_layer_sizes = None, False, (64, 64)

    def __init__(self, max_iter: int = 300, random_state: Any = None) -> None:
        self.max_iter = max_iter
        self.random_state = random_state


def network_of(surrogate: Any) -> Network:
    """Return what a fitted surrogate has learned; a constant target has no layers."""
    if surrogate._state is None:
        zero = np.zeros((1, surrogate.n_features_in_))
        weights, biases = [zero], [np.zeros(1)]
    else:
        arrays = surrogate._state["arrays"]
        n = len(arrays) // 2
        weights = [np.asarray(arrays[f"weights.{k}"]) for k in range(n)]
        biases = [np.asarray(arrays[f"biases.{k}"]) for k in range(n)]
    y_mean, y_scale = surrogate._y_mean, surrogate._y_scale
    return Network(
        weights,
        biases,
        surrogate.mean_,
        surrogate.scale_,
        float(y_mean[0]),
        float(y_scale[0]),
    )


def fit_network(surrogate: Any, X: Any, y: Any, weight: Any, penalty: Penalty) -> Any:
    """Fit a neural estimator, with the penalty where its weight is not zero."""
    if penalty.weight != 0:
        from skdiff.optimization._offline._sharpness import penalised

        stepper = penalised(surrogate._net_class(), *penalty)
        surrogate._net_class = lambda: stepper
    try:
        return surrogate.fit(X, y, sample_weight=weight)
    finally:
        vars(surrogate).pop("_net_class", None)


def sharpness_of(surrogate: Any, X: Any, rho: float) -> float:
    """Return the sharpness of a fitted neural estimator on rows of the user."""
    if surrogate._state is None:
        return 0.0
    from skdiff._nn._modes import gradients
    from skdiff.optimization._offline._sharpness import sharpness

    with gradients():
        module = surrogate._module_for_prediction()
        return sharpness(module, surrogate._checked(X), rho)


def neural_value_and_gradient(surrogate: Any, X: Array) -> tuple[Array, Array]:
    """Predictions and gradients of a neural estimator by automatic differentiation."""
    if surrogate._state is None:
        value = np.asarray(surrogate.predict(X), dtype=np.float64)
        return value, np.zeros_like(X)
    from skdiff._nn._modes import gradients
    from skdiff.optimization._offline._sharpness import input_gradient

    with gradients():
        module = surrogate._module_for_prediction()
        value, slope = input_gradient(module, surrogate._checked(X))
    y_mean, y_scale = float(surrogate._y_mean[0]), float(surrogate._y_scale[0])
    return value * y_scale + y_mean, slope * (y_scale / surrogate.scale_)
