"""The gradient of a plain network by hand: cross-entropy or squares on an ``MLP``.

Automatic differentiation of a small network costs more than its matrix products. For
the two losses that most networks are trained on the backward pass is written out here
and goes straight into the optimiser's buffer; any other loss, module or activation
takes autograd's way, which the tests hold this one against.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiff._nn._modules import ACTIVATIONS, MLP
from skdiff._nn._net import Net

Pair = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]

# delta times activation'(z), told by the activation's value h alone
BACKWARD: dict[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] = {
    ACTIVATIONS["identity"]: lambda delta, h: delta,
    ACTIVATIONS["relu"]: lambda delta, h: torch.ops.aten.threshold_backward(
        delta, h, 0
    ),
    ACTIVATIONS["tanh"]: torch.ops.aten.tanh_backward,
    ACTIVATIONS["logistic"]: torch.ops.aten.sigmoid_backward,
}


def cross_entropy(
    output: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the mean loss and its gradient in the logits; codes as targets."""
    scale = 1.0 / len(output)
    log_p = F.log_softmax(output, dim=1)
    losses = F.nll_loss(log_p, target, reduction="none")
    delta = log_p.exp()
    one = torch.full((), -1.0, dtype=delta.dtype, device=delta.device)
    delta.scatter_add_(1, target[:, None], one.expand(len(target), 1))
    if weight is None:
        return losses.sum() * scale, delta.mul_(scale)
    return losses.dot(weight) * scale, delta.mul_(weight[:, None] * scale)


def squares(
    output: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return half the mean square and its gradient in the outputs."""
    delta = output - target
    scale = 1.0 / delta.numel()
    if weight is None:
        return delta.square().sum() * (scale / 2), delta.mul_(scale)
    loss = (delta.square() * weight[:, None]).sum() * (scale / 2)
    return loss, delta.mul_(weight[:, None] * scale)


def propagate(
    layers: Sequence[Pair],
    activation: Callable[[Tensor], Tensor],
    batch: Any,
    loss: Loss,
    into: Sequence[Pair],
) -> tuple[Tensor, Tensor]:
    """Return loss and outputs of a batch; write gradients of the layers ``into``."""
    with torch.no_grad():
        X, (target, weight) = batch
        values = [X]
        for W, b in layers[:-1]:
            values.append(activation(torch.addmm(b, values[-1], W.t())))
        W, b = layers[-1]
        output = torch.addmm(b, values[-1], W.t())
        value, delta = loss(output, target, weight)
        backward = BACKWARD[activation]
        for k in range(len(layers) - 1, -1, -1):
            torch.mm(delta.t(), values[k], out=into[k][0])
            torch.sum(delta, dim=0, out=into[k][1])
            if k:
                delta = backward(torch.mm(delta, layers[k][0]), values[k])
        return value, output


class PlainNet(Net):
    """A net whose steps need no autograd."""

    loss: Loss

    def gradient(self, batch: Any, **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Fill the gradients, which are views of the optimiser's buffer."""
        module: MLP = self.module_
        layers = module.layers()
        into = [(W.grad, b.grad) for W, b in layers]
        return propagate(layers, module.activation, batch, type(self).loss, into)


class CrossEntropyNet(PlainNet):
    """Trains a classifier."""

    loss = staticmethod(cross_entropy)


class SquaresNet(PlainNet):
    """Trains a regressor."""

    loss = staticmethod(squares)


def plain_net_class(module: Any, loss: str | None) -> type[Net]:
    """Return the class that trains this module on this loss, by hand if it can.

    ``loss`` is ``"cross_entropy"``, ``"squares"`` or None for any other. The optimiser
    has to be one of ours, whose gradients are there from the start.
    """
    if loss is None or type(module) is not MLP or module.activation not in BACKWARD:
        return Net
    return {"cross_entropy": CrossEntropyNet, "squares": SquaresNet}[loss]
