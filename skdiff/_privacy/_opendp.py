"""Noise of OpenDP, where that library is installed."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from skdiff._base.typing import IntArray


def require_opendp() -> Any:
    """Import OpenDP, or state which extra brings it."""
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise ImportError(
            'noise="opendp" needs OpenDP. '
            "Install it with `pip install skdiff[privacy]`."
        ) from error
    dp.enable_features("contrib")
    return dp


def measurement(sigma_sq: Fraction) -> Any:
    """Discrete Gaussian noise of at least a variance on vectors of integers."""
    dp = require_opendp()
    space = (
        dp.vector_domain(dp.atom_domain(T=dp.i64)),
        dp.l2_distance(T=float),
    )
    # rounded up, so that the noise is never smaller than what was charged
    scale = math.nextafter(math.sqrt(sigma_sq), math.inf)
    return dp.m.make_gaussian(*space, scale=scale)


def noisy_counts(counts: IntArray, sigma_sq: Fraction) -> IntArray:
    """Add discrete Gaussian noise of at least a variance."""
    return np.array(measurement(sigma_sq)(counts.tolist()), dtype=np.int64)
