"""What an edge of a cell may do with its input.

An operation gets its input ``h`` and as many linear maps of it as it has ``pieces``.
Whatever it returns is normalised by whoever calls it (see ``normalised``): without that
identities carry most of the signal of a mixture, and selection keeps little else.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Operation(NamedTuple):
    """One operation of an edge.

    ``square`` ones need as many outputs as inputs. With ``second`` the output passes
    one more linear map, and the input is added to it.
    """

    pieces: int
    function: Callable[[Tensor, Sequence[Tensor]], Tensor]
    square: bool = False
    second: bool = False


OPERATIONS: dict[str, Operation] = {
    "zero": Operation(0, lambda h, z: torch.zeros_like(h)),
    "skip": Operation(0, lambda h, z: h, square=True),
    "relu": Operation(1, lambda h, z: torch.relu(z[0])),
    "tanh": Operation(1, lambda h, z: torch.tanh(z[0])),
    "silu": Operation(1, lambda h, z: F.silu(z[0])),
    "glu": Operation(2, lambda h, z: z[0] * torch.sigmoid(z[1])),
    "residual_relu": Operation(
        1, lambda h, z: torch.relu(z[0]), square=True, second=True
    ),
}


EPSILON = 1e-5  # of the variance, in a normalisation


def normalised(x: Tensor) -> Tensor:
    """Centre and scale the last axis, without parameters; zeros stay zeros."""
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON)


def linear(h: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """Linear maps of several networks at once.

    ``W`` has the shape (networks, n_in, n_out) and ``b`` is flat, since the decay of
    the optimisers acts on everything that is not. ``h`` holds rows that all networks
    share, of shape (rows, n_in), or rows of each.
    """
    if len(W) == 1:
        return torch.matmul(h, W[0]).add_(b)[(None,) * (h.ndim == 2)]
    b = b.view(len(W), 1, -1)
    if h.ndim == 2:
        h = h.expand(len(W), *h.shape)
    return torch.baddbmm(b, h, W)
