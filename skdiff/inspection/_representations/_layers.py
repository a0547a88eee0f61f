"""Hidden layers of any fitted network: ours, skorch's, torch's or scikit-learn's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, softmax
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skdiff._base.inner import transform_before
from skdiff._base.typing import Array
from skdiff._base.validation import check_X

ROWS = 4096
_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
}


class Layers(NamedTuple):
    """Values of every layer on some rows.

    ``values`` goes from the input to the last hidden layer; ``head`` are the weights
    (outputs, width) of the layer that reads the last of them.
    """

    values: dict[str, Array]
    head: Array
    outputs: Array


def unwrap(net: Any, X: Any) -> tuple[Any, Any]:
    """Return the network at the end of pipelines, and what it sees of X."""
    while isinstance(net, FrozenEstimator | Pipeline):
        if isinstance(net, FrozenEstimator):
            net = net.estimator
        else:
            check_is_fitted(net)
            X, net = transform_before(net, X), net.steps[-1][1]
    return net, X


def layers_of(net: Any, X: Any) -> Layers:
    """Return the layers of a network on rows."""
    net, X = unwrap(net, X)
    if isinstance(net, MLPClassifier | MLPRegressor):
        return _of_scikit_learn(net, X)
    if hasattr(net, "_module_for_prediction"):
        check_is_fitted(net)
        if net._state is None:
            raise ValueError("The target was constant: there is no network.")
        return _of_module(net._module_for_prediction(), net._checked(X))
    if hasattr(net, "module_"):
        return _of_module(net.module_, _table(X), net)
    if hasattr(net, "named_modules"):
        return _of_module(net, _table(X))
    if hasattr(net, "initialize") and hasattr(net, "module"):
        raise ValueError("The skorch network is not fitted: call fit or initialize.")
    raise TypeError(
        "net must be a fitted network of skdiff, skorch, torch or scikit-learn, or a "
        f"pipeline that ends in one. Got {type(net).__name__}."
    )


def _table(X: Any) -> Any:
    found = np.asarray(X)
    if found.dtype.kind not in "iufb":
        raise ValueError("X must hold numbers.")
    if not np.isfinite(found.astype(np.float64)).all():
        raise ValueError("Input X contains NaN or infinity.")
    return found


def _of_scikit_learn(net: Any, X: Any) -> Layers:
    check_is_fitted(net)
    h = check_X(net, X, dtype=np.float64, reset=False)
    values, activation = {"input": h}, _ACTIVATIONS[net.activation]
    last = len(net.coefs_) - 1
    for k, (weight, bias) in enumerate(zip(net.coefs_, net.intercepts_, strict=True)):
        h = h @ weight + bias
        if k < last:
            h = activation(h)
            values[f"hidden_{k + 1}"] = h
    return Layers(values, net.coefs_[-1].T, h)


@contextmanager
def as_it_was(module: Any) -> Iterator[None]:
    """Evaluate a module, and leave modes, gradients and random states untouched."""
    import torch

    modes = {name: part.training for name, part in module.named_modules()}
    with torch.random.fork_rng(devices=[]):
        try:
            module.eval()
            with torch.no_grad():
                yield
        finally:
            for name, part in module.named_modules():
                part.training = modes[name]


def _of_module(module: Any, X: Any, net: Any = None) -> Layers:
    import torch

    parameter = next(iter(module.parameters()), None)
    if parameter is None:
        raise ValueError("The module has no parameters, and so no layers.")
    found: dict[str, list[Any]] = {}
    with as_it_was(module):
        stacked = _functional(module)
        for start in range(0, len(X), ROWS):
            part = torch.as_tensor(
                np.ascontiguousarray(X[start : start + ROWS]), dtype=parameter.dtype
            ).to(parameter.device)
            run = _through_stack if stacked else _through_hooks
            for name, value in run(module, part, net).items():
                flat = value.detach().cpu().reshape(len(part), -1)
                found.setdefault(name, []).append(flat.numpy().astype(np.float64))
        head = stacked[-1][0] if stacked else _linears(module)[-1][1].weight
        weight = head.detach().cpu().numpy().astype(np.float64)
    values = {name: np.concatenate(parts) for name, parts in found.items()}
    return Layers(values, weight, values.pop("outputs"))


def _functional(module: Any) -> Any:
    """Weights and biases of a module of ours that has no submodules for its layers."""
    if hasattr(module, "layers") and hasattr(module, "activation"):
        return module.layers() if callable(module.layers) else None
    return None


def _through_stack(module: Any, part: Any, net: Any) -> dict[str, Any]:
    values, h, stack = {"input": part}, part, module.layers()
    for k, (weight, bias) in enumerate(stack[:-1]):
        h = module.activation(h @ weight.T + bias)
        values[f"hidden_{k + 1}"] = h
    values["outputs"] = module(part)
    return values


def _linears(module: Any) -> list[tuple[str, Any]]:
    from torch import nn

    found = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear)
    ]
    if not found:
        raise ValueError(
            f"{type(module).__name__} has no linear layers whose input could be read."
        )
    return found


def _through_hooks(module: Any, part: Any, net: Any) -> dict[str, Any]:
    """Read the input of every linear layer; hooks are removed whatever happens."""
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(owner: Any, arguments: Any) -> None:
            seen[name] = arguments[0]

        return hook

    handles = []
    try:
        for k, (_, linear) in enumerate(_linears(module)):
            name = f"hidden_{k}" if k else "input"
            handles.append(linear.register_forward_pre_hook(keep(name)))
        out = module(part) if net is None else net.infer(part)
    finally:
        for handle in handles:
            handle.remove()
    seen["outputs"] = out[0] if isinstance(out, tuple) else out
    return seen


def choose(layers: Layers, layer: str) -> Array:
    """Return the values of a layer; ``"auto"`` is the last hidden one."""
    if layer in ("auto", "penultimate"):
        return list(layers.values.values())[-1]
    if layer not in layers.values:
        raise ValueError(
            f"layer must be one of {', '.join(layers.values)}. Got {layer!r}."
        )
    return layers.values[layer]


def scores_of(net: Any, X: Any, outputs: Array, predict: Any) -> Array:
    """Return what the network says of the rows, as scores of classes or numbers."""
    if predict is not None:
        return np.asarray(predict(X), dtype=np.float64)
    if hasattr(net, "module_"):  # torch takes numbers of one type only
        parameter = next(iter(net.module_.parameters()))
        X = np.asarray(X, dtype=parameter.detach().cpu().numpy().dtype)
    if hasattr(net, "predict_proba") and hasattr(net, "classes_"):
        return np.asarray(net.predict_proba(X), dtype=np.float64)
    if hasattr(net, "predict") and not hasattr(net, "module_"):
        return np.asarray(net.predict(X), dtype=np.float64)
    return outputs


def normalised(scores: Array) -> Array:
    """Turn logits of several classes into probabilities; others stay."""
    if scores.ndim == 2 and scores.shape[1] > 1:
        rows = scores.sum(axis=1)
        if scores.min() < 0 or np.abs(rows - 1).max() > 1e-3:
            found: Array = softmax(scores, axis=1)
            return found
    return scores
