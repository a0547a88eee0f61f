"""Networks of a kept response at other values of one hyperparameter."""

from typing import Any

import numpy as np
import torch

from skdiff._nn import _fit
from skdiff._nn._data import as_tensor
from skdiff._nn._modules import MLP
from skdiff.neural_network._self_tuning._response import RESPONSES, Plain


def outputs_along(
    kept: dict[str, Any], kind: str, module: MLP, column: int, values: np.ndarray
) -> list[np.ndarray]:
    """Outputs of the validation set where one ``h`` takes each of the values.

    ``kept`` holds the numbers of the response, its span and start, the final ``h``, and
    the rows; ``module`` is a network of the same layers.
    """
    arrays = kept["arrays"]
    dtype = torch.from_numpy(next(iter(arrays.values()))).dtype
    span = torch.tensor(kept["span"]).to(dtype)
    layers = module.to(dtype).layers()
    response = RESPONSES[kind](layers, span, _fit.seeded(0)).to(dtype)
    _fit.load_arrays(response, arrays)
    rows = as_tensor(kept["held"][0]).to(dtype)
    outputs = []
    with torch.no_grad():
        for value in values:
            h = kept["h"].copy()
            h[column] = value
            move = torch.tensor(h - kept["start"]).to(dtype)
            net = Plain(response.layers(move))
            output = net(rows, move[None], lambda k, Z: module.activation(Z))
            outputs.append(output.numpy())
    return outputs
