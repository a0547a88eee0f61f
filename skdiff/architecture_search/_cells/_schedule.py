"""Learning rates that fall along a power of a cosine."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def cosine_power(
    t: ArrayLike, T: float, *, lr_max: float, lr_min: float, power: float
) -> Any:
    """Compute cosine power annealing, the learning rate of sharpDARTS.

    The rate falls from ``lr_max`` at ``t = 0`` to ``lr_min`` at ``t = T``. With
    ``power=1`` it follows a cosine; a larger power falls earlier and spends more of the
    training at small rates. With ``c = (1 + cos(pi t / T)) / 2``, the fraction of the
    range ``lr_max - lr_min`` that is left is ``(power**c - 1) / (power - 1)``.

    Parameters
    ----------
    t : float or array-like
        Time, from 0 to ``T``, for instance the epoch.
    T : float
        Time at which the rate reaches ``lr_min``.
    lr_max : float
        First learning rate.
    lr_min : float
        Last learning rate.
    power : float
        Base of the power, above 0. The authors take 2 for short trainings and 10 for
        long ones.

    Returns
    -------
    learning_rate : float or ndarray
        The rate at each ``t``.

    References
    ----------
    A. Hundt, V. Jain and G. D. Hager, "sharpDARTS: Faster and More Accurate
    Differentiable Architecture Search", 2019, arXiv 1903.09900.

    Examples
    --------
    >>> from skdiff.architecture_search import cosine_power
    >>> cosine_power([0, 5, 10], 10, lr_max=1.0, lr_min=0.0, power=1).round(3)
    array([1. , 0.5, 0. ])
    >>> cosine_power([0, 5, 10], 10, lr_max=1.0, lr_min=0.0, power=10).round(3)
    array([1.  , 0.24, 0.  ])
    """
    for name, value in (("T", T), ("power", power)):
        if not isinstance(value, Real) or not 0 < value < np.inf:
            raise ValueError(f"{name} must be a positive number, got {value!r}.")
    if not 0 <= lr_min <= lr_max < np.inf:
        raise ValueError(
            "Learning rates must satisfy 0 <= lr_min <= lr_max. Got "
            f"lr_min={lr_min!r} and lr_max={lr_max!r}."
        )
    times = np.asarray(t, dtype=float)
    if not np.all((times >= 0) & (times <= T)):
        raise ValueError(f"t must lie in [0, T] with T={T!r}.")
    c = (1 + np.cos(np.pi * times / T)) / 2
    log_power = np.log(power)
    # expm1 keeps the digits near power = 1, where the fraction is c itself
    left = np.expm1(c * log_power) / np.expm1(log_power) if log_power else c
    rate = lr_min + left * (lr_max - lr_min)
    return float(rate) if rate.ndim == 0 else rate
