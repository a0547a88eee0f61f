"""The a-posteriori bound of ``maid``: from constants of a fold to the search's."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._inner._problem import InnerProblem, Values
from skdiff.model_selection._gradient._folds import Fold
from skdiff.model_selection._gradient._outer._hoag_maid import Constants
from skdiff.model_selection._gradient._space import Space

_CURVATURE = {
    "squared_error": 2.0,
    "huber": 1.0,
    "log_loss": 0.25,
    "squared_hinge": 2.0,
}


def criterion_smoothness(
    criterion: str, problem: InnerProblem, weight: Array | None
) -> float:
    """Lipschitz constant of the criterion's gradient in the parameters."""
    n = problem.X_val.shape[0]
    share = 1 / n if weight is None else np.max(weight) / np.sum(weight)
    curvature = _CURVATURE[criterion]
    if criterion == "log_loss" and len(problem.classes) > 2:
        curvature = 0.5
    return float(curvature * share * problem.prediction_norm() ** 2)


def constants(
    fold: Fold,
    values: Values,
    w: Any,
    eps: float,
    space: Space,
    theta: Array,
) -> Constants:
    """Constants of a fold's problem at w; ``L_g`` is the caller's to fill in."""
    problem = fold.problem
    mu = problem.convexity(w, values, eps)
    norms, changes = [], []
    for variable, part in zip(space.variables, space.slices, strict=True):
        slope = variable.spec.slope(theta[part])
        value = np.asarray(values[variable.name], dtype=float)
        codes = variable.codes
        if codes is None:
            rates = np.broadcast_to(slope[0], value.shape)
        else:
            codes = codes[fold.entries.get(variable.name, slice(None))]
            rates = slope[codes].reshape(value.shape)
        found = problem.cross_norm(w, values, variable.name, rates, codes)
        norms.append(found[0])
        changes.append(found[1])
    J, L_J = float(np.linalg.norm(norms)), float(np.linalg.norm(changes))
    return Constants(mu, np.nan, J, L_J, problem.hessian_lipschitz(values) / mu**2)
