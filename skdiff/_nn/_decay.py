"""Weight decay: one for the whole network, or one for each weight matrix."""

from numbers import Real
from typing import Any

import numpy as np


def read_decay(alpha: Any, n_layers: int) -> float | tuple[float, ...]:
    """Return the decay as a number, or as a tuple, one a layer, the input's first.

    Parameters
    ----------
    alpha : float or array-like of shape (n_layers,)
        As the user gave it.
    n_layers : int
        Weight matrices of the network.

    Returns
    -------
    decay : float or tuple of float
        The number itself, so that one decay for all changes no bit.
    """
    if isinstance(alpha, Real):
        return alpha  # type: ignore[return-value]
    problem = f"alpha must be a number >= 0, or hold {n_layers} such numbers, one for "
    problem += f"each weight matrix of the network; got {alpha!r}."
    try:
        values = np.asarray(alpha, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(problem) from error
    fine = values.shape in ((), (n_layers,)) and np.isfinite(values).all()
    if not (fine and (values >= 0).all()):
        raise ValueError(problem)
    return float(values) if values.ndim == 0 else tuple(values.tolist())
