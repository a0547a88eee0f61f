"""Newton's method for the multinomial model with a ridge penalty, dense or sparse.

``h(W) = sum_i s_i (log sum_k exp(a_i'w_k) - a_i'w_{y_i}) + sum_kj lam_kj w_kj^2 / 2``.
Parameters are of shape (n_classes, n_features) and scores (n_classes, n_rows): sums
over classes then run along the rows, several times faster than the other way round.

A rough factor of an earlier Hessian preconditions conjugate gradients. Their steps need
few digits and are taken in single precision; residuals are in double precision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigvalsh
from scipy.linalg.blas import strsv
from scipy.linalg.lapack import spotrf

from skdiff._base.typing import FloatArray as Array
from skdiff._convex._krylov import pcg
from skdiff._convex._line_search import Accepted, decrement_of, line_search
from skdiff._convex._newton_linear import (
    DIRECT,
    cholesky_solver,
    lanczos_smallest,
)
from skdiff._convex._solve import Solution

Inverse = Callable[[Array], Array]
_SMALL = 120  # unknowns that cost nothing to factorise at every step
_MANY = 12  # inner iterations that cost as much as a preconditioner saves
_DRIFT = 1.5  # factor by which penalties may move before a factor is computed anew
_LOOSE, _TIGHT = 0.1, 1e-4  # relative residuals of Newton steps: far away, and last
_REFINED = 1e-4  # relative residual of one round in single precision
_ROUNDS = 20


class Rows:
    """A design whose products run class by class."""

    def __init__(self, A: Any) -> None:
        self.A, self.dense = A, not sparse.issparse(A)
        # products with the transpose of a copy take a third of those with a view
        self._At = np.ascontiguousarray(A.T) if self.dense else None

    @cached_property
    def single(self) -> "Rows":
        """The same in single precision."""
        return Rows(self.A.astype(np.float32))

    def scores(self, W: Array) -> Array:
        """``A w_k`` of each class."""
        if self.dense:
            return np.asarray(W @ self._At)
        return np.ascontiguousarray((self.A @ W.T).T)

    def pull(self, V: Array) -> Array:
        """``A'v_k`` of each class."""
        if self.dense:
            return np.asarray(V @ self.A)
        return np.ascontiguousarray((self.A.T @ V.T).T)


def softmax_loss(Z: Array, y: Array) -> tuple[Array, Array]:
    """Loss of each row, and the probabilities."""
    P = Z - Z.max(axis=0)
    chosen = P[y, np.arange(len(y))]
    np.exp(P, out=P)
    total = P.sum(axis=0)
    P /= total
    return np.log(total) - chosen, P


class Curvature:
    """Hessian at probabilities ``P``: of the loss, plus ``lam`` on the diagonal.

    ``free`` says that the last column is an unpenalised intercept: the same number
    added to all of them changes nothing, and the Hessian is made definite there.
    """

    def __init__(self, rows: Rows, s: Array, P: Array, lam: Array, free: bool) -> None:
        self.rows, self.s, self.P, self.lam, self.free = rows, s, P, lam, free
        self._weighted = s * P

    @cached_property
    def single(self) -> "Curvature":
        """The same in single precision."""
        s, P, lam = (x.astype(np.float32) for x in (self.s, self.P, self.lam))
        return Curvature(self.rows.single, s, P, lam, self.free)

    def product(self, U: Array) -> Array:
        """``A'(s P (A u - sum_k P_k (A u)_k)) + lam u``."""
        V = self.rows.scores(U)
        V -= (self.P * V).sum(axis=0)
        V *= self._weighted
        HU = self.rows.pull(V)
        HU += self.lam * U
        if self.free:
            HU[:, -1] += self.s.sum() * U[:, -1].mean()
        return HU

    def loss_matrix(self, dtype: Any = np.float64) -> Array:
        """Matrix of the loss alone, features within classes."""
        A, P, s = (x.astype(dtype, copy=False) for x in (self.rows.A, self.P, self.s))
        K, (n, p) = len(P), A.shape
        # sum_i s_i (diag(p_i) - p_i p_i') x a_i a_i'
        G = ((np.sqrt(s) * P).T[:, :, None] * A[:, None, :]).reshape(n, K * p)
        H = -(G.T @ G)
        view = H.reshape(K, p, K, p)
        for k in range(K):
            view[k, :, k, :] += (A.T * (s * P[k])) @ A
        if self.free:
            view[:, -1, :, -1] += s.sum() / K
        return np.asarray(H)

    def smallest_eigenvalue(self) -> float:
        """Smallest eigenvalue, from the matrix or by Lanczos steps."""
        shape = len(self.P), self.rows.A.shape[1]
        if self.rows.dense and np.prod(shape) <= DIRECT:
            H = with_penalty(self.loss_matrix(), self.lam)
            return float(eigvalsh(H, subset_by_index=[0, 0])[0])
        return lanczos_smallest(self.product, shape)

    def jacobi(self) -> Inverse:
        """Inverse of the diagonal."""
        A, spread = self.rows.A, self._weighted * (1 - self.P)
        squares = A.power(2) if sparse.issparse(A) else A**2
        diagonal = np.asarray(squares.T @ spread.T).T + self.lam
        diagonal[diagonal <= 0] = 1.0
        return lambda R: R / diagonal


def with_penalty(H: Array, lam: Array) -> Array:
    """Add the penalties to the diagonal of a copy."""
    H = H.copy()
    H.flat[:: len(H) + 1] += lam.ravel().astype(H.dtype)
    return H


def rough_inverse(H: Array) -> Inverse | None:
    """Approximate solve in single precision, or None where rounding spoils it."""
    unit = np.sqrt(np.maximum(np.diag(H), np.finfo(np.float32).tiny))
    factor, info = spotrf(H / unit / unit[:, None], lower=1)
    if info != 0 or not np.isfinite(factor[-1, -1]):
        return None

    def solve(R: Array) -> Array:
        b = strsv(factor, R.ravel() / unit, lower=1)
        return np.asarray(strsv(factor, b, lower=1, trans=1) / unit).reshape(R.shape)

    return solve


class Preconditioner:
    """Approximate inverses of the Hessians that one fold's searches meet.

    Small systems are factorised at every step. Large ones keep a rough factor of an
    earlier step until it takes too many iterations; those too large for a factor, and
    sparse ones, make do with the diagonal.
    """

    def __init__(self, rows: Rows, n_classes: int) -> None:
        size = rows.A.shape[1] * n_classes
        self.exact = rows.dense and size <= _SMALL
        self.rough = rows.dense and _SMALL < size <= DIRECT
        self._H: Array | None = None
        self._lam: Array | None = None
        self._solve: Inverse | None = None

    def adopt(self, other: "Preconditioner") -> None:
        """Take over what another fold's problem has computed."""
        if other._H is not None and (
            self._H is None or other._H.shape == self._H.shape
        ):
            self._H, self._lam, self._solve = other._H, other._lam, other._solve

    def inverse(self, curvature: Curvature, fresh: bool = False) -> tuple[Inverse, Any]:
        """Return an approximate inverse, and the precision that it works in."""
        lam = curvature.lam
        if self.exact:
            solve = cholesky_solver(with_penalty(curvature.loss_matrix(), lam))
            return (lambda R: solve(R.ravel()).reshape(R.shape)), np.float64
        if not self.rough:
            return curvature.jacobi(), np.float64
        if fresh or self._H is None:
            self._H, self._lam = curvature.loss_matrix(np.float32), None
        if self._lam is None or _drift(self._lam, lam) > _DRIFT:
            with np.errstate(all="ignore"):
                self._solve = rough_inverse(with_penalty(self._H, lam))
            self._lam = lam
        if self._solve is None:
            return curvature.jacobi(), np.float64
        return self._solve, np.float32


def _drift(a: Array, b: Array) -> float:
    moved = (a != b) & (a > 0) & (b > 0)
    ratio = np.divide(a, b, out=np.ones_like(a), where=moved)
    changed = np.any((a > 0) != (b > 0))
    return np.inf if changed else float(np.max(np.maximum(ratio, 1 / ratio), initial=1))


def newton_step(
    curvature: Curvature, b: Array, inverse: Inverse, dtype: Any, tol: float
) -> tuple[Array, int]:
    """Solve with the Hessian to a relative residual of ``tol``, above rounding."""
    if dtype == np.float32:
        size = float(np.linalg.norm(b)) or 1.0
        unit = (b / size).astype(np.float32)
        found = pcg(
            curvature.single.product, unit, inverse, tol=tol, max_iter=_MANY * 4
        )
        if np.isfinite(found.x).all():
            return size * found.x.astype(float), found.n_iter
        inverse = curvature.jacobi()
    found = pcg(curvature.product, b, inverse, tol=tol)
    return found.x, found.n_iter


def solve_exactly(
    curvature: Curvature, b: Array, inverse: Inverse, dtype: Any, tol: float
) -> Array:
    """Solve to any accuracy: rounds in single precision, residuals in double."""
    if dtype != np.float32:
        return pcg(curvature.product, b, inverse, tol=tol).x
    x, r = np.zeros_like(b), b
    size = left = float(np.linalg.norm(b))
    for _ in range(_ROUNDS):
        if left <= tol * size:
            return x
        step, _ = newton_step(
            curvature, r, inverse, dtype, max(_REFINED, tol * size / left / 2)
        )
        x = x + step
        r = b - curvature.product(x)
        before, left = left, float(np.linalg.norm(r))
        if not left < before / 2:  # as far as single precision takes us
            break
    start = x if np.isfinite(left) and left < size else np.zeros_like(b)
    r = b - curvature.product(start)
    left = max(float(np.linalg.norm(r)), 1e-300)
    rtol = min(tol * size / left, 1.0)
    return start + pcg(curvature.product, r, inverse, tol=rtol).x


@dataclass(frozen=True)
class MultinomialProblem:
    """Rows, class codes, weights and penalties (n_classes, n_features).

    ``free`` says that the last column is an unpenalised intercept.
    """

    rows: Rows
    y: Array
    s: Array
    lam: Array
    free: bool


def newton_multinomial(
    problem: MultinomialProblem,
    W: Array,
    tol: float,
    preconditioner: Preconditioner,
    max_iter: int = 100,
) -> Solution:
    """Minimise to a Newton decrement of ``tol * sqrt(h)``.

    ``gap`` is the decrement before the last step relative to ``sqrt(h)``, and ``stats``
    the curvature at the solution.
    """
    rows, y, s = problem.rows, problem.y, problem.s
    lam, free = problem.lam, problem.free
    Z = rows.scores(W)
    value, P = softmax_loss(Z, y)
    total = float(s @ value + np.sum(lam * W**2) / 2)
    columns = np.arange(len(y))
    small = max(tol, 2 * np.sqrt(np.finfo(float).eps))
    fresh, before = False, 0.0
    decrement, t = np.inf, 1.0
    curvature = Curvature(rows, s, P, lam, free)
    for n_iter in range(1, max_iter + 1):
        R = P.copy()
        R[y, columns] -= 1.0
        R *= s
        gradient = rows.pull(R) + lam * W
        size = float(np.linalg.norm(gradient))
        if size == 0.0:
            return Solution(W, total, 0.0, n_iter, True, curvature)
        # the residual that quadratic convergence is going to leave anyway
        accuracy = min(_LOOSE, max(_TIGHT, (size / (before or size)) ** 2))
        before = size
        inverse, dtype = preconditioner.inverse(curvature, fresh)
        step, used = newton_step(curvature, -gradient, inverse, dtype, accuracy)
        fresh = used > _MANY
        slope, raw = decrement_of(gradient, step)
        earlier, decrement = decrement, raw / float(np.sqrt(max(total, 1e-300)))
        # what is left after this step: of the linear system, and of the expansion
        left = accuracy * decrement + (decrement / earlier) ** 2 * decrement
        last = decrement <= small or (t == 1.0 and left <= small / 10)
        trial = _along(problem, W, step, Z, rows.scores(step))
        if last:
            found: Accepted | None = Accepted(1.0, *trial(1.0))
        else:
            found = line_search(trial, total, slope)
        if found is None:
            return Solution(W, total, decrement, n_iter, False, curvature)
        t, total, (W, Z, P) = found
        if free:  # rounding drifts along the shift that changes nothing
            shift = W[:, -1].mean()
            W[:, -1] -= shift
            Z -= shift
        curvature = Curvature(rows, s, P, lam, free)
        if last:
            return Solution(W, total, decrement, n_iter, True, curvature)
    return Solution(W, total, decrement, max_iter, False, curvature)


def _along(
    problem: MultinomialProblem, W: Array, step: Array, Z: Array, dZ: Array
) -> Callable[[float], tuple[float, Any]]:
    """Value, parameters, scores and probabilities at a length of the step."""

    def trial(t: float) -> tuple[float, Any]:
        point, scores = W + t * step, Z + t * dZ
        value, P = softmax_loss(scores, problem.y)
        total = float(problem.s @ value + np.sum(problem.lam * point**2) / 2)
        return total, (point, scores, P)

    return trial
