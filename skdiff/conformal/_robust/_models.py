"""What a fitted classifier offers: linear outputs, a Lipschitz bound, or scores."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from skdiff._base.inner import unfrozen
from skdiff._base.typing import Array, IntArray

_DIVIDED = (StandardScaler, MaxAbsScaler, RobustScaler)


class Route(NamedTuple):
    """How sets are made: ``coef`` for a linear model, ``bound`` for a Lipschitz one."""

    method: str
    coef: Array | None = None
    bound: float | None = None


def affine(model: Any, n_features: int) -> tuple[Any, Array] | None:
    """The last step of a pipeline and the matrix of the scaling before it.

    ``None`` where a step before it is not known to be affine.
    """
    A = np.eye(n_features)
    model = unfrozen(model)
    while isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            if step in (None, "passthrough"):
                continue
            matrix = _matrix(step)
            if matrix is None:
                return None
            A = matrix[:, None] * A if matrix.ndim == 1 else matrix @ A
        model = unfrozen(model.steps[-1][1])
    return model, A


def _matrix(step: Any) -> Array | None:
    """Slope of a known transformer: of each column, or (outputs, inputs)."""
    if type(step) is MinMaxScaler and not step.clip:
        scale: Array = np.asarray(step.scale_, dtype=np.float64)
        return scale
    if type(step) in _DIVIDED and not getattr(step, "clip", False):
        given = getattr(step, "scale_", None)
        if given is None:
            return np.ones(step.n_features_in_)
        return 1.0 / np.asarray(given, dtype=np.float64)
    if type(step) is PCA:
        slope: Array = np.asarray(step.components_, dtype=np.float64)
        if step.whiten:
            slope = slope / np.sqrt(step.explained_variance_)[:, None]
        return slope
    return None


def find_route(model: Any, X: Array, decide: Any, norm: float) -> Route | None:
    """The exact route that a fitted classifier offers, if any.

    Parameters
    ----------
    model : classifier
        Fitted.
    X : ndarray of shape (n_rows, n_features)
        Some rows, on which a linear model has to be linear.
    decide : callable
        Outputs of the model for rows, (rows, classes).
    norm : float
        Norm of a move, 2 or infinity.
    """
    n_features = X.shape[1]
    if n_features > 5000 and isinstance(unfrozen(model), Pipeline):
        return None  # a matrix of that many columns squared is not worth it
    found = affine(model, n_features)
    if found is None:
        return None
    last, A = found
    if hasattr(last, "lipschitz_bound_") and hasattr(last, "input_lipschitz_bound_"):
        return Route("lipschitz", bound=_input_bound(last, A, norm))
    coef = _coefficients(last)
    if coef is None:
        return None
    coef = coef @ A
    rows = X[:20]
    F = decide(rows)
    if F.shape[1] != len(coef):
        return None
    slope = rows @ (coef - coef[:1]).T
    left = F - F[:, :1] - slope
    size = float(np.abs(slope).max(initial=0.0)) + float(np.abs(F).max(initial=0.0))
    if np.abs(left - left[:1]).max(initial=0.0) > 1e-6 * max(size, 1e-300):
        return None
    return Route("linear", coef=coef)


def _input_bound(last: Any, A: Array, norm: float) -> float:
    """Lipschitz bound of a network's outputs by the length of a move of X."""
    if norm == 2:
        return float(last.input_lipschitz_bound_ * np.linalg.norm(A, 2))
    slope = A / np.asarray(last.scale_, dtype=np.float64)[:, None]
    # the longest image of a box lies between these two
    longest = min(
        np.linalg.norm(slope, axis=0).sum(),
        np.sqrt(A.shape[1]) * np.linalg.norm(slope, 2),
    )
    if (np.count_nonzero(slope, axis=0) <= 1).all():  # columns stay apart
        longest = np.sqrt((np.abs(slope).sum(axis=1) ** 2).sum())
    return float(last.lipschitz_bound_ * longest)


def _coefficients(last: Any) -> Array | None:
    """One row per class, of a model that has them."""
    try:
        coef = last.coef_
    except AttributeError:
        return None
    coef = coef.toarray() if hasattr(coef, "toarray") else np.asarray(coef)
    coef = np.atleast_2d(coef)
    if coef.dtype.kind != "f" or coef.ndim != 2:
        return None
    both: Array = np.vstack([-coef / 2, coef / 2]) if len(coef) == 1 else coef
    return both.astype(np.float64)


def steps_and_last(model: Any) -> tuple[list[Any], Any]:
    """The transformers of a pipeline, and of pipelines at its end, and the model."""
    steps: list[Any] = []
    while isinstance(model, Pipeline):
        steps += [s for _, s in model.steps[:-1] if s not in (None, "passthrough")]
        model = model.steps[-1][1]
    return [s for s in steps if not hasattr(s, "fit_resample")], model


def seen_by_last(steps: list[Any], table: Any) -> Array:
    """What the model behind some transformers is given."""
    for step in steps:
        table = step.transform(table)
    found: Array = table.toarray() if hasattr(table, "toarray") else np.asarray(table)
    return found


def outputs(decision: Array) -> Array:
    """One column per class; two classes share their log odds."""
    if decision.ndim == 1:
        decision = np.column_stack([-decision / 2, decision / 2])
    return decision.astype(np.float64)


def widened(values: Array, columns: IntArray, n_classes: int, missing: float) -> Array:
    """Columns of the model's classes among all; a class that it lacks is filled."""
    if len(columns) == n_classes:
        return values
    found = np.full((len(values), n_classes), missing)
    found[:, columns] = values
    return found
