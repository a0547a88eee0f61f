"""Attributes of a product of binary sets, one per class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: parameters that the audits of the classes take over
SHARED = (
    "epsilon",
    "epsilon_type",
    "level",
    "solver",
    "tol",
    "max_iter",
    "n_jobs",
    "random_state",
)


def product_of(parts: Sequence[Any]) -> dict[str, Any]:
    """What a one-vs-rest audit states of the audits of its classes."""
    hessians = [part.hessian_ for part in parts]
    return {
        "_parts": parts,
        "_probable": parts[0]._probable,
        "_packed": None,
        "_live": {},
        "coef_": np.concatenate([part.coef_ for part in parts]),
        "intercept_": np.concatenate([part.intercept_ for part in parts]),
        "objective_": np.array([part.objective_ for part in parts]),
        "epsilon_": np.array([part.epsilon_ for part in parts]),
        "hessian_": None if hessians[0] is None else np.stack(hessians),
        "n_iter_": max(part.n_iter_ for part in parts),
    }
