"""Training on the size of the smoothed sets (RCT, torch).

Yan, Romano and Weng (2024), section 4.2. A batch is cut in two halves: one gives a
quantile of the smoothed scores of the true labels, the other is judged by the labels
that the corrected sets would hold and miss. The quantile has no closed derivative; the
one used here is that of the minimum of the pinball loss, whose kink is smoothed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdiff._base.progress import Progress
from skdiff._base.typing import Array, IntArray
from skdiff._nn._modes import gradients
from skdiff._nn._optim import FlatAdam

N_DRAWS, BATCH, STEPS, STEP_SIZE = 8, 400, 500, 2e-3
TEMPERATURE = 0.5  # of soft membership, in units of Phi^-1
SIZE_WEIGHT = 1.0
EDGE = 1e-3  # smoothed scores are kept this far from zero and one before Phi^-1

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


class Layers(NamedTuple):
    """Weights (inputs, outputs) and biases of a network that ends in logits."""

    weights: list[Array]
    biases: list[Array]
    activation: str = "identity"


class Goal(NamedTuple):
    """What the sets are judged by: their level, the noise, and the radius over it."""

    level: float
    sigma: float
    ratio: float
    score: str = "lac"


def log_proba(Z: Tensor, weights: list[Tensor], biases: list[Tensor], act: Any) -> Any:
    """Log probabilities; a single output is the log odds of the second class."""
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        Z = Z @ W + b
        if k < len(weights) - 1:
            Z = act(Z)
    if Z.shape[-1] == 1:
        Z = torch.cat([torch.zeros_like(Z), Z], dim=-1)
    return torch.log_softmax(Z, dim=-1)


def proba(layers: Layers, Z: Array) -> Array:
    """Probabilities of rows as the last step sees them."""
    weights, biases = (
        [torch.tensor(np.asarray(a, dtype=np.float64)) for a in part]
        for part in layers[:2]
    )
    with torch.no_grad():
        rows = torch.tensor(np.asarray(Z, dtype=np.float64))
        act = ACTIVATIONS[layers.activation]
        found = log_proba(rows, weights, biases, act).exp()
    return np.asarray(found.numpy())


def scores(P: Tensor, score: str) -> Tensor:
    """Scores of all labels, in [0, 1]."""
    if score == "lac":
        return 1 - P
    # mass of the labels at least as likely
    ahead = (P[..., None, :] >= P[..., :, None]).to(P.dtype)
    return (ahead * P[..., None, :]).sum(dim=-1)


def soft_quantile(values: Tensor, level: float) -> Tensor:
    """A quantile whose gradient is shared by the values near it.

    At the minimum ``q`` of a pinball loss smoothed by a kernel the implicit derivative
    is ``dq / ds_i = k(s_i - q) / sum_j k(s_j - q)``.
    """
    fixed = values.detach()
    q = torch.quantile(fixed, level, interpolation="higher")
    width = fixed.std().clamp(min=1e-3) * len(fixed) ** -0.2
    near = torch.softmax(-0.5 * ((fixed - q) / width) ** 2, dim=0)
    return q + (near * (values - fixed)).sum()


def size_loss(S: Tensor, codes: Tensor, goal: Goal) -> Tensor:
    """Logarithm of missed labels plus sizes beyond one; ``S`` is (rows, classes)."""
    u = torch.special.ndtri(S.clamp(EDGE, 1 - EDGE))
    half = len(codes) // 2
    own = u[:half].gather(1, codes[:half, None])[:, 0]
    threshold = soft_quantile(own, goal.level)
    inside = torch.sigmoid((threshold + goal.ratio - u[half:]) / TEMPERATURE)
    missed = 1 - inside.gather(1, codes[half:, None])[:, 0]
    excess = torch.relu(inside.sum(dim=1) - 1)
    return torch.log(missed.mean() + SIZE_WEIGHT * excess.mean() + 1e-6)


def train(
    layers: Layers,
    X: Array,
    codes: IntArray,
    before: Callable[[IntArray, Array], Array],
    goal: Goal,
    rng: np.random.Generator,
    guard: Progress,
) -> Layers:
    """Train a fitted network further on the size of its sets.

    Parameters
    ----------
    layers : Layers
        A fitted network.
    X : ndarray of shape (n_rows, n_features)
        Numbers of the training rows, to which the noise is added.
    codes : ndarray of shape (n_rows,)
        Their classes, as columns of the probabilities.
    before : callable
        ``before(places, numbers)``: what the network is given for rows that are moved
        to other numbers.
    goal : Goal
        What sets are judged by.
    rng : Generator
        It draws batches and noise.
    guard : Progress
        What may end the training, and who hears of it.
    """
    with gradients():
        weights, biases = (
            [torch.tensor(np.asarray(a), dtype=torch.float64) for a in part]
            for part in layers[:2]
        )
        for p in (*weights, *biases):
            p.requires_grad_()
        optimizer = FlatAdam([*weights, *biases], lr=STEP_SIZE)
        act = ACTIVATIONS[layers.activation]
        size = min(BATCH, len(X))
        for _ in guard.iterations(STEPS):
            places = rng.permutation(len(X))[:size]
            copies = np.repeat(places, N_DRAWS)
            noise = rng.standard_normal((len(copies), X.shape[1])) * goal.sigma
            Z = torch.tensor(before(copies, X[copies] + noise), dtype=torch.float64)
            P = log_proba(Z, weights, biases, act).exp()
            S = scores(P, goal.score).reshape(size, N_DRAWS, -1).mean(dim=1)
            loss = size_loss(S, torch.from_numpy(codes[places]), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if guard.step(loss=loss.item() if guard.verbose else None):
                break
    return Layers(
        [W.detach().numpy().copy() for W in weights],
        [b.detach().numpy().copy() for b in biases],
        layers.activation,
    )


def read_layers(model: Any) -> Layers | None:
    """The arrays of a fitted linear or multilayer classifier, where it has them."""
    if hasattr(model, "coefs_") and hasattr(model, "intercepts_"):
        if getattr(model, "activation", None) in ACTIVATIONS:
            return Layers(model.coefs_, model.intercepts_, model.activation)
        return None
    coef, intercept = getattr(model, "coef_", None), getattr(model, "intercept_", None)
    if not isinstance(coef, np.ndarray) or coef.ndim != 2:
        return None
    bias = np.broadcast_to(np.asarray(intercept, dtype=np.float64), len(coef))
    return Layers([coef.T], [bias.copy()])


def write_layers(model: Any, layers: Layers) -> None:
    """Put arrays back where they came from, in the type that they had."""
    if hasattr(model, "coefs_"):
        for old, new in ((model.coefs_, layers[0]), (model.intercepts_, layers[1])):
            old[:] = [b.astype(a.dtype) for a, b in zip(old, new, strict=True)]
        return
    dtype = model.coef_.dtype
    model.coef_ = np.ascontiguousarray(layers.weights[0].T.astype(dtype))
    model.intercept_ = layers.biases[0].astype(dtype)


def agrees(layers: Layers, Z: Array, P: Array) -> bool:
    """Whether the arrays make the model's own probabilities."""
    own = proba(layers, Z)
    return own.shape == P.shape and bool(np.abs(own - P).max(initial=0.0) < 1e-4)
