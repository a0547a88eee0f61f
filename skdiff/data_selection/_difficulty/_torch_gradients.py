"""Norms of each row's gradient for torch modules made of linear layers."""

from typing import Any

import numpy as np
import torch
from torch import nn

from skdiff._base.typing import Array


def module_gradient_norms(module: nn.Module, X: Any, y: Any) -> Array:
    """See :func:`skdiff.data_selection.gradient_norms`."""
    layers = _linear_layers(module)
    first = layers[0].weight
    rows = torch.as_tensor(X, dtype=first.dtype, device=first.device)
    codes = torch.as_tensor(y, device=first.device)
    inputs: dict[nn.Linear, torch.Tensor] = {}
    outputs: dict[nn.Linear, torch.Tensor] = {}

    def note(layer: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        assert isinstance(layer, nn.Linear)
        if layer in outputs:
            raise ValueError(
                "A linear layer is used twice in one pass, and the norm of its "
                "gradient is then no product of norms."
            )
        if given[0].ndim != 2 or len(given[0]) != len(rows):
            raise ValueError(
                "Linear layers must get one vector per row; one got a tensor of shape "
                f"{tuple(given[0].shape)}."
            )
        inputs[layer], outputs[layer] = given[0].detach(), output

    training = [m for m in module.modules() if m.training]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        module.eval()
        with torch.enable_grad():
            loss = _cross_entropy(module(rows), codes)
        used = [layer for layer in layers if layer in outputs]
        # a row's loss depends on its own outputs only: one pass serves all rows
        deltas = torch.autograd.grad(
            loss, [outputs[layer] for layer in used], allow_unused=True
        )
    finally:
        for hook in hooks:
            hook.remove()
        for m in training:
            m.training = True
    total = torch.zeros(len(rows), dtype=torch.float64, device=first.device)
    for layer, delta in zip(used, deltas, strict=True):
        if delta is not None:
            squares = inputs[layer].double().square().sum(1) + (layer.bias is not None)
            total += delta.double().square().sum(1) * squares
    return np.asarray(total.sqrt().cpu().numpy(), dtype=np.float64)


def _linear_layers(module: nn.Module) -> list[nn.Linear]:
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    inside = {id(p) for layer in layers for p in layer.parameters()}
    if sum(len(list(layer.parameters())) for layer in layers) != len(inside):
        raise ValueError("Two linear layers share parameters.")
    other = [name for name, p in module.named_parameters() if id(p) not in inside]
    if not layers or other:
        raise ValueError(
            "gradient_norms needs a module whose parameters all belong to nn.Linear "
            f"layers. Others are: {other[:3] or 'there is no linear layer'}."
        )
    return layers


def _cross_entropy(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Sum over rows; one output is the log odds of class 1."""
    if output.ndim == 1 or output.shape[1] == 1:
        logit = output.reshape(len(y))
        return nn.functional.binary_cross_entropy_with_logits(
            logit, y.to(logit.dtype), reduction="sum"
        )
    return nn.functional.cross_entropy(output, y.long(), reduction="sum")
