"""The networks that turn statistics into an estimate with quantiles.

A perceptron with two hidden layers reads standardised statistics. It returns one
correction of a reference estimate (the first statistic named in the card) for the mean,
one for the median, and positive steps between the quantiles, in units of 1 / sqrt(n):
the quantiles are increasing by construction. Arithmetic is in float64, so that the
order of a sum changes an estimate by less than 1e-12.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, FloatArray

#: levels of the quantiles that the networks return
LEVELS = np.array(
    [
        0.005,
        0.025,
        0.05,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        0.95,
        0.975,
        0.995,
    ]
)
MIDDLE = 7
CLIP = 6.0  # standardised statistics beyond are outside of what was trained


class Estimates(NamedTuple):
    """Estimates of several pairs, in nats, not yet clipped at 0."""

    mean: Array  # (pairs,)
    quantiles: Array  # (pairs, levels)


def silu(h: Array) -> Array:
    """Return ``h sigmoid(h)``."""
    found: Array = h / (1 + np.exp(-np.clip(h, -500, None)))
    return found


def softplus(h: Array) -> Array:
    """Return ``log(1 + exp(h))``."""
    found: Array = np.logaddexp(0.0, h)
    return found


def forward(
    statistics: Array, n: Array, arrays: Mapping[str, FloatArray], reference: int
) -> Estimates:
    """Return the estimates of pairs.

    Parameters
    ----------
    statistics : array of shape (pairs, n_statistics)
        Statistics of the pairs.
    n : array of shape (pairs,)
        Numbers of rows.
    arrays : mapping
        Parameters.
    reference : int
        Position of the estimate that is corrected.
    """
    h = np.clip((statistics - arrays["centre"]) / arrays["scale"], -CLIP, CLIP)
    skip = h @ arrays["skip"].T.astype(np.float64)
    for layer in ("first", "second"):
        weight = arrays[f"{layer}.weight"].astype(np.float64)
        h = silu(h @ weight.T + arrays[f"{layer}.bias"])
    out = skip + h @ arrays["out.weight"].T.astype(np.float64) + arrays["out.bias"]
    unit, base = 1 / np.sqrt(n), statistics[:, reference]
    middle = base + unit * out[:, 1]
    steps = unit[:, None] * softplus(out[:, 2:])
    below = np.cumsum(steps[:, :MIDDLE][:, ::-1], axis=1)[:, ::-1]
    above = np.cumsum(steps[:, MIDDLE:], axis=1)
    quantiles = np.concatenate(
        [middle[:, None] - below, middle[:, None], middle[:, None] + above], axis=1
    )
    return Estimates(base + unit * out[:, 0], quantiles)


def at_levels(quantiles: Array, levels: Array) -> Array:
    """Interpolate the quantiles (pairs, levels of the network) at other levels."""
    return np.stack([np.interp(levels, LEVELS, row) for row in quantiles])
