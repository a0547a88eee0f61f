"""Numbers of penalised linear models: curvature, derivatives in weights, fine-tuning.

A row x is extended by a one where there is an intercept, last. Parameters of K outputs
are stacked output by output. Logistic losses have one output (the log odds of the
second class) or one per class.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import issparse
from scipy.special import expit, log_softmax, softmax

from skdiff._base.typing import Array, IntArray
from skdiff._convex._newton import newton, spd_solve


class Penalty(NamedTuple):
    """``coef / 2`` times squared weights plus ``intercept / 2`` times its square."""

    coef: float
    intercept: float = 0.0

    def diagonal(self, n_features: int, has_intercept: bool) -> Array:
        """Second derivatives for one output."""
        diagonal = np.full(n_features + has_intercept, self.coef)
        if has_intercept:
            diagonal[-1] = self.intercept
        return diagonal


class Derivatives(NamedTuple):
    """Derivatives of the target loss, and how far the model is from its optimum.

    ``scores`` has one entry per row; ``gap`` is the share of the objective that a
    Newton step would still gain.
    """

    scores: Array
    gap: float


def weighted_gram(X: Any, weight: Array, has_intercept: bool) -> Array:
    """Return the sum of ``weight x x'`` over extended rows."""
    if issparse(X):
        WX = X.multiply(weight[:, None]).tocsr()
        G = np.asarray((X.T @ WX).todense(), dtype=np.float64)
    else:
        G = X.T @ (X * weight[:, None])
    if not has_intercept:
        return G
    edge = np.asarray(X.T @ weight).ravel()
    return np.block([[G, edge[:, None]], [edge[None, :], np.array([[weight.sum()]])]])


def weighted_sum(X: Any, R: Array, has_intercept: bool) -> Array:
    """Return the sum of ``r x'`` over extended rows: (outputs, parameters)."""
    S = np.asarray((X.T @ R).T)
    return np.column_stack([S, R.sum(axis=0)]) if has_intercept else S


def projections(X: Any, U: Array, has_intercept: bool) -> Array:
    """Return the products of extended rows with directions: (rows, directions)."""
    d = X.shape[1]
    V = np.asarray(X @ U[:, :d].T)
    return V + U[:, d] if has_intercept else V


def symmetric_solve(H: Array, B: Array, *, definite: bool) -> Array:
    """Solve ``H x = b`` for rows of B; the shortest x where H is singular."""
    if definite:
        return np.asarray(spd_solve(H, B.T).T)
    values, V = eigh(H)
    cut = len(H) * np.finfo(float).eps * max(values[-1], 0.0)
    inverse = np.where(values > cut, 1.0 / np.where(values > cut, values, 1.0), 0.0)
    return np.asarray(((B @ V) * inverse) @ V.T)


# --- squared error --------------------------------------------------------------------


def squared_derivatives(
    X: Any,
    residual: Array,
    weight: Array,
    coef: Array,
    penalty: Penalty,
    has_intercept: bool,
    goal: Array,
) -> Derivatives:
    """Derivatives for ``sum w (f - y)^2 / 2 + penalty``.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        Rows; centre them where there is an intercept, for precision.
    residual : ndarray of shape (n_samples, n_outputs)
        ``f - y``.
    weight : ndarray of shape (n_samples,)
        Weights of the rows.
    coef : ndarray of shape (n_outputs, n_features)
        Weights of the model, for the gap.
    penalty : Penalty
        Of ``coef``.
    has_intercept : bool
        Whether rows are extended by a one.
    goal : ndarray of shape (n_outputs, n_parameters)
        Gradient of the target loss in the parameters.
    """
    H = weighted_gram(X, weight, has_intercept)
    H[np.diag_indices_from(H)] += penalty.diagonal(X.shape[1], has_intercept)
    gradient = weighted_sum(X, weight[:, None] * residual, has_intercept)
    gradient[:, : X.shape[1]] += penalty.coef * coef
    both = symmetric_solve(H, np.vstack([goal, gradient]), definite=penalty.coef > 0)
    q = len(goal)
    slopes = projections(X, both[:q], has_intercept)
    value = weight @ residual**2 / 2 + penalty.coef * np.sum(coef**2, axis=1) / 2
    gain = np.sum(both[q:] * gradient) / 2
    scores = -np.sum(slopes * residual, axis=1)
    return Derivatives(scores, _relative(gain, value.sum()))


def _relative(gain: float, value: float) -> float:
    return float(gain / value) if value > 0 and gain > 1e-12 * value else 0.0


# --- log loss -------------------------------------------------------------------------


def logistic_hessian(
    X: Any, P: Array, weight: Array, penalty: Penalty, has_intercept: bool
) -> Array:
    """Return the Hessian of ``sum w log loss + penalty``.

    ``P`` holds probabilities: one column for one output, otherwise one per class. What
    all classes can share without changing the loss is given a unit of curvature, so
    that the matrix can be inverted; gradients have no part there.
    """
    diagonal = penalty.diagonal(X.shape[1], has_intercept)
    if P.shape[1] == 1:
        H = weighted_gram(X, weight * P[:, 0] * (1.0 - P[:, 0]), has_intercept)
        H[np.diag_indices_from(H)] += diagonal
        return H
    K, D = P.shape[1], len(diagonal)
    H = np.zeros((K, D, K, D))
    for k in range(K):
        for j in range(k + 1):
            w = weight * P[:, k] * ((k == j) - P[:, j])
            H[k, :, j, :] = H[j, :, k, :] = weighted_gram(X, w, has_intercept)
    H = H.reshape(K * D, K * D)
    H[np.diag_indices_from(H)] += np.tile(diagonal, K)
    free = np.flatnonzero(diagonal == 0)
    scale = np.trace(H) / len(H) / K
    for a in free:
        same = a + D * np.arange(K)
        H[np.ix_(same, same)] += scale
    return H


def logistic_derivatives(
    X: Any,
    P: Array,
    residual: Array,
    weight: Array,
    coef: Array,
    penalty: Penalty,
    has_intercept: bool,
    goal: Array,
) -> Derivatives:
    """Derivatives for ``sum w log loss + penalty``; see :func:`squared_derivatives`.

    ``P`` and ``residual`` (probabilities minus class) have one column for one output.
    """
    H = logistic_hessian(X, P, weight, penalty, has_intercept)
    gradient = weighted_sum(X, weight[:, None] * residual, has_intercept)
    gradient[:, : X.shape[1]] += penalty.coef * coef
    both = symmetric_solve(
        H, np.vstack([goal.ravel(), gradient.ravel()]), definite=penalty.coef > 0
    )
    slopes = projections(X, both[0].reshape(goal.shape), has_intercept)
    p_right = np.where(residual < 0, 1.0 + residual, 1.0 - residual)
    if P.shape[1] > 1:
        p_right = np.where(residual < 0, 1.0 + residual, 1.0).min(axis=1)[:, None]
    losses = -np.log(np.clip(p_right[:, 0], 1e-300, None))
    value = weight @ losses + penalty.coef * np.sum(coef**2) / 2
    gain = both[1] @ gradient.ravel() / 2
    scores = -np.sum(slopes * residual, axis=1)
    return Derivatives(scores, _relative(float(gain), float(value)))


# --- fine-tuning ----------------------------------------------------------------------


def ridge_towards(
    X: Array, y: Array, centre: Array, penalty: Penalty, has_intercept: bool
) -> Array:
    """Minimise squared error over 2 plus the penalty of the distance to ``centre``.

    ``centre`` and the result are of shape (outputs, parameters); ``y`` is (n, outputs).
    A small penalty on the intercept keeps it determined.
    """
    ones = np.ones(X.shape[0])
    H = weighted_gram(X, ones, has_intercept)
    H[np.diag_indices_from(H)] += penalty.diagonal(X.shape[1], has_intercept)
    residual = projections(X, centre, has_intercept) - y
    gradient = weighted_sum(X, residual, has_intercept)
    return centre - symmetric_solve(H, gradient, definite=penalty.coef > 0)


def logistic_towards(
    X: Array,
    codes: IntArray,
    centre: Array,
    penalty: Penalty,
    has_intercept: bool,
    weight: Array | None = None,
) -> Array:
    """Minimise the log loss plus the penalty of the distance to ``centre``.

    ``centre`` and the result are of shape (outputs, parameters): one output is the log
    odds of class 1.
    """
    K, D = centre.shape
    w = np.ones(X.shape[0]) if weight is None else weight
    diagonal = np.tile(penalty.diagonal(X.shape[1], has_intercept), K)
    here = np.arange(X.shape[0])

    def oracle(shift: Array) -> tuple[float, Array, Array]:
        Z = projections(X, centre + shift.reshape(K, D), has_intercept)
        if K == 1:
            P = expit(Z)
            value = w @ np.logaddexp(0.0, np.where(codes == 1, -Z[:, 0], Z[:, 0]))
            R = P - (codes == 1)[:, None]
        else:
            P = softmax(Z, axis=1)
            value = -w @ log_softmax(Z, axis=1)[here, codes]
            R = P.copy()
            R[here, codes] -= 1.0
        H = logistic_hessian(X, P, w, penalty, has_intercept)
        gradient = weighted_sum(X, w[:, None] * R, has_intercept).ravel()
        return (
            float(value + diagonal @ shift**2 / 2),
            gradient + diagonal * shift,
            H,
        )

    solution = newton(oracle, np.zeros(K * D), tol=1e-8)
    return np.asarray(centre + solution.x.reshape(K, D))
