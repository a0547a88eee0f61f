"""Valid constants of inner problems, for the a-posteriori bound of ``maid``."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import svds

from skdiff.model_selection._gradient._outer._hoag_maid import Constants

Array = np.ndarray
# Third derivatives of the losses are at most these times the second (self-concordance)
# and at most these times a norm (Lipschitz constant of the curvature).
_CONCORDANCE = {"binary": 1.0, "multinomial": np.sqrt(2.0), "squared": 0.0}
_BEND = {"binary": 1 / (6 * np.sqrt(3)), "multinomial": np.sqrt(2.0) / 2, "squared": 0}
_CURVATURE = {
    "squared_error": 2.0,
    "huber": 1.0,
    "log_loss": 0.25,
    "squared_hinge": 2.0,
}
_FULL = 2000


def spectral_norm(A: Any) -> float:
    """Largest singular value, never below the true one for small matrices."""
    if min(A.shape) == 0:
        return 0.0
    if not sparse.issparse(A) and min(A.shape) <= _FULL:
        G = A.T @ A if A.shape[0] >= A.shape[1] else A @ A.T
        return float(np.sqrt(max(eigvalsh(G)[-1], 0.0)))
    if min(A.shape) > 2:
        start = np.ones(min(A.shape))
        # a Lanczos value lies below the true one by far less than a tenth
        return 1.1 * float(svds(A, k=1, v0=start, return_singular_vectors=False)[0])
    return float(np.sqrt((A.multiply(A) if sparse.issparse(A) else A**2).sum()))


def criterion_smoothness(criterion: str, fold: Any) -> float:
    """Lipschitz constant of the criterion's gradient in the parameters."""
    problem = fold.problem
    B = getattr(problem, "A_val", problem.X_val)
    mean = getattr(problem, "x_mean", None)
    size = spectral_norm(B)
    if mean is not None:
        size += float(np.linalg.norm(mean)) * np.sqrt(B.shape[0])
    weight = fold.score_params.get("sample_weight")
    n = B.shape[0]
    share = 1 / n if weight is None else np.max(weight) / np.sum(weight)
    curvature = _CURVATURE[criterion]
    if criterion == "log_loss" and len(problem.classes) > 2:
        curvature = 0.5
    return float(curvature * share * size**2)


def constants(
    problem: Any,
    values: dict[str, Any],
    w: Array,
    eps: float,
    space: Any = None,
    theta: Any = None,
) -> Constants:
    """Constants of an inner problem at w; ``L_g`` is the caller's to fill in.

    ``mu`` holds within ``eps`` of w: the smallest penalty where everything is
    penalised, otherwise the smallest eigenvalue of the Hessian at w, discounted by
    self-concordance.
    """
    kind = problem.kind
    A, s, lam = problem.rows_for_bounds(values)
    size = _cached(problem, "_norm", lambda: spectral_norm(A))
    longest = _cached(problem, "_longest", lambda: _longest_row(A))
    norm = size * np.sqrt(float(np.max(s, initial=0.0)))
    mu = float(np.min(lam))
    if mu <= 0:
        mu = problem.smallest_curvature(w, values)
        mu *= np.exp(-_CONCORDANCE[kind] * longest * eps)
    mu = max(mu, 1e-300)
    bend = _BEND[kind] * longest * norm**2
    J = L_J = 0.0
    if space is not None:
        J, L_J = _jacobian(problem, values, w, space, theta, size)
    return Constants(mu, np.nan, J, L_J, bend / mu**2)


def _cached(problem: Any, name: str, compute: Any) -> float:
    if name not in vars(problem):
        setattr(problem, name, compute())
    return float(getattr(problem, name))


def _longest_row(A: Any) -> float:
    squares = A.power(2) if sparse.issparse(A) else A**2
    return float(np.sqrt(np.max(squares.sum(axis=1), initial=0.0)))


def _jacobian(
    problem: Any, values: Any, w: Array, space: Any, theta: Any, size: float
) -> tuple[float, float]:
    """Norm of ``d2h/dw dtheta`` and its Lipschitz constant in w."""
    J = L = 0.0
    for variable, part in zip(space.variables, space.slices, strict=True):
        slope = variable.spec.slope(theta[part])
        if variable.name == "sample_weight":
            first = np.abs(problem._first(w, values)).max(initial=0.0)
            top = float(np.max(slope, initial=0.0)) * problem.weight_rate(values)
            curvature = {"binary": 0.25, "multinomial": 0.5, "squared": 1.0}
            J += (size * top * float(first)) ** 2
            L += (size**2 * top * curvature[problem.kind]) ** 2
            continue
        value = np.asarray(values[variable.name], dtype=float)
        # the penalty is alpha, or 1 / C
        rate = np.ones_like(value) if variable.name == "alpha" else 1 / value**2
        per_entry = slope if variable.codes is None else slope[variable.codes]
        d = problem.X.shape[1]
        if value.ndim == 2:  # a penalty a coefficient, class by class
            rate = rate * per_entry.reshape(value.shape)
            entries = np.ravel((rate * w[:d].T) ** 2)
        else:
            slopes = w[:d].T if variable.spec.per == "output" else w[:d]
            rate = np.broadcast_to(rate * per_entry, (len(slopes),))
            entries = np.sum((rate[:, None] * slopes) ** 2, axis=1)
        if variable.codes is None:
            J += float(entries.sum())
        else:
            sums = np.bincount(variable.codes, entries)
            J += float(sums.max(initial=0.0))
        L += float(np.max(rate, initial=0.0)) ** 2
    return float(np.sqrt(J)), float(np.sqrt(L))
