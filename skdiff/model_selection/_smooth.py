"""Newton's method for smooth linear models with a ridge penalty, dense or sparse.

``h(w) = sum_i s_i loss(a_i'w, y_i) + sum_j lam_j w_j^2 / 2``. A direct solve serves up
to :data:`DIRECT` unknowns; beyond that, and for sparse rows, preconditioned conjugate
gradients do, and nothing is ever densified.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigvalsh
from scipy.linalg.lapack import dpotrf, dpotrs, spotrf, spotrs
from scipy.sparse.linalg import LinearOperator, eigsh

from skdiff._convex._losses import Array, Loss, Multinomial
from skdiff._convex._newton import spd_solve

DIRECT = 2000
_ARMIJO, _HALVINGS = 1e-4, 40
_MANY = 8  # inner iterations after which a preconditioner is worth computing anew
_STEP_RTOL = 1e-3  # of an inexact Newton step; the error shrinks by it each time


class EpsilonInsensitive:
    """``max(0, |y - f| - epsilon)^2``; twice differentiable but for a kink."""

    quadratic, smooth = False, False

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def evaluate(self, f: Array, y: Any, order: int = 0) -> tuple[Array, ...]:
        """Return value and derivatives."""
        r = f - y
        over = np.maximum(np.abs(r) - self.epsilon, 0.0)
        return (over**2, 2.0 * np.sign(r) * over, 2.0 * (over > 0))[: order + 1]


def pcg(
    product: Callable[[Array], Array],
    b: Array,
    precondition: Callable[[Array], Array],
    tol: float,
    max_iter: int = 1000,
) -> tuple[Array, int]:
    """Preconditioned conjugate gradients to a relative residual of ``tol``."""
    x = np.zeros_like(b)
    r = b.copy()
    z = precondition(r)
    p = z.copy()
    rz = float(np.vdot(r, z))
    size = float(np.linalg.norm(b))
    n_iter = 0
    while n_iter < max_iter and np.linalg.norm(r) > tol * size and rz > 0:
        Hp = product(p)
        bend = float(np.vdot(p, Hp))
        if bend <= 0:
            break
        step = rz / bend
        x += step * p
        r -= step * Hp
        z = precondition(r)
        previous, rz = rz, float(np.vdot(r, z))
        p = z + (rz / previous) * p
        n_iter += 1
    return x, n_iter


def cholesky_solver(H: Array) -> Callable[[Array], Array]:
    """Return the solve with a matrix that is positive definite up to rounding."""
    factor, info = dpotrf(H, lower=1, clean=0, overwrite_a=0)
    if info == 0 and np.isfinite(factor[-1, -1]):
        return lambda b: np.asarray(dpotrs(factor, b, lower=1)[0]).reshape(b.shape)
    return lambda b: spd_solve(H, b)


def rough_solver(H: Array) -> Callable[[Array], Array]:
    """Return an approximate solve in single precision, to precondition with."""
    unit = np.sqrt(np.maximum(np.diag(H), 1e-300))
    scaled = (H / unit / unit[:, None]).astype(np.float32, copy=False)
    factor, info = spotrf(scaled, lower=1)
    if info != 0:
        return cholesky_solver(H.astype(np.float64))
    return lambda b: spotrs(factor, (b / unit).astype(np.float32), lower=1)[0] / unit


class Curvature:
    """``A' diag(c) A + diag(lam)``, solved directly or iteratively."""

    def __init__(self, A: Any, c: Array, lam: Array, direct: int = DIRECT) -> None:
        self.A, self.c, self.lam = A, c, lam
        self.direct = not sparse.issparse(A) and A.shape[1] <= direct
        self._solver: Callable[[Array], Array] | None = None

    def product(self, v: Array) -> Array:
        """Product with the matrix."""
        return np.asarray(self.A.T @ (self.c * (self.A @ v)) + self.lam * v)

    def matrix(self) -> Array:
        """The matrix itself."""
        H = (self.A.T * self.c) @ self.A
        H.flat[:: len(H) + 1] += self.lam
        return np.asarray(H)

    def _diagonal(self) -> Array:
        if sparse.issparse(self.A):
            squares = self.A.power(2).T @ self.c
        else:
            squares = np.einsum("ij,ij,i->j", self.A, self.A, self.c, optimize=True)
        diagonal = np.asarray(squares).ravel() + self.lam
        return np.where(diagonal > 0, diagonal, 1.0)

    def solve(self, b: Array, tol: float) -> Array:
        """Solve with the matrix."""
        if self._solver is None:
            if self.direct:
                self._solver = cholesky_solver(self.matrix())
            else:
                diagonal = self._diagonal()
                return pcg(self.product, b, lambda r: r / diagonal, tol)[0]
        return self._solver(b)


def newton_linear(
    A: Any,
    y: Array,
    s: Array,
    lam: Array,
    loss: Loss,
    w: Array,
    tol: float,
    max_iter: int = 100,
) -> tuple[Array, Curvature, int]:
    """Minimise to a Newton decrement of ``tol * sqrt(h)``.

    Returns the solution, the curvature before the last step, and the iterations.
    """
    z = A @ w
    parts = loss.evaluate(z, y, 2)
    value = float(s @ parts[0] + lam @ w**2 / 2)
    for n_iter in range(1, max_iter + 1):
        gradient = A.T @ (s * parts[1]) + lam * w
        curvature = Curvature(A, s * parts[2], lam)
        step = -curvature.solve(gradient, _STEP_RTOL)
        slope = float(gradient @ step)
        small = max(tol**2, 4 * np.finfo(float).eps) * max(abs(value), 1e-300)
        if -slope <= small:
            return w + step, curvature, n_iter
        dz, t = A @ step, 1.0
        for _ in range(_HALVINGS):
            with np.errstate(over="ignore", invalid="ignore"):
                found = loss.evaluate(z + t * dz, y, 2)
                trial = float(s @ found[0] + lam @ (w + t * step) ** 2 / 2)
            if trial <= value + _ARMIJO * t * slope:
                break
            t /= 2
        else:
            return w, curvature, n_iter
        w, z, parts, value = w + t * step, z + t * dz, found, trial
    return w, curvature, max_iter


class MultinomialCurvature:
    """Hessian of the multinomial loss at probabilities ``P``, plus the penalty."""

    def __init__(self, A: Any, s: Array, P: Array, lam: Array, free: bool) -> None:
        self.A, self.s, self.P, self.lam, self.free = A, s, P, lam, free

    def product(self, U: Array) -> Array:
        """Product with the matrix; a shift of all unpenalised rows is made definite."""
        V = self.A @ U
        V -= np.sum(self.P * V, axis=1, keepdims=True)
        V *= self.P
        V *= self.s[:, None]
        HU = np.asarray(self.A.T @ V) + self.lam[:, None] * U
        if self.free:  # adding the same number to all intercepts changes nothing
            HU[-1] += self.s.sum() * U[-1].mean()
        return HU

    def loss_matrix(self, dtype: Any = np.float64) -> Array:
        """Matrix of the loss alone, classes within features."""
        (n, p), K = self.A.shape, self.P.shape[1]
        A, P = self.A.astype(dtype, copy=False), self.P.astype(dtype, copy=False)
        s = self.s.astype(dtype, copy=False)
        # sum_i s_i (diag(p_i) - p_i p_i') x a_i a_i'
        G = ((np.sqrt(s)[:, None] * A)[:, :, None] * P[:, None, :]).reshape(n, p * K)
        H = -(G.T @ G)
        view = H.reshape(p, K, p, K)
        for k in range(K):
            view[:, k, :, k] += (A.T * (s * P[:, k])) @ A
        if self.free:
            view[-1, :, -1, :] += s.sum() / K
        return H


def smallest_eigenvalue(curvature: "Curvature | MultinomialCurvature") -> float:
    """Smallest eigenvalue of a Hessian, from its matrix or by Lanczos steps."""
    shape: tuple[int, ...] = (curvature.A.shape[1],)
    if isinstance(curvature, MultinomialCurvature):
        shape = (*shape, curvature.P.shape[1])
        direct = not sparse.issparse(curvature.A) and np.prod(shape) <= DIRECT
    else:
        direct = curvature.direct
    if direct and isinstance(curvature, Curvature):
        return float(eigvalsh(curvature.matrix(), subset_by_index=[0, 0])[0])
    if direct and isinstance(curvature, MultinomialCurvature):
        H = curvature.loss_matrix()
        H.flat[:: len(H) + 1] += np.repeat(curvature.lam, shape[-1])
        return float(eigvalsh(H, subset_by_index=[0, 0])[0])
    n = int(np.prod(shape))
    operator = LinearOperator(
        (n, n), matvec=lambda v: curvature.product(v.reshape(shape)).ravel()
    )
    # a Lanczos value lies above the true one by far less than a tenth
    found = eigsh(operator, k=1, which="SA", v0=np.ones(n), return_eigenvectors=False)
    return 0.9 * float(found[0])


def newton_multinomial(
    A: Any,
    y: Array,
    s: Array,
    lam: Array,
    free: bool,
    W: Array,
    tol: float,
    preconditioner: Callable[[MultinomialCurvature, bool], Callable[[Array], Array]],
    max_iter: int = 100,
) -> tuple[Array, MultinomialCurvature, int]:
    """Minimise the penalised cross-entropy by Newton steps.

    ``preconditioner(curvature, fresh)`` returns an approximate inverse; with ``fresh``
    it has to be computed at this curvature.
    """
    loss = Multinomial()
    Z = A @ W
    value, first = loss.evaluate(Z, y, 1)
    total = float(s @ value + lam @ (W**2).sum(axis=1) / 2)
    rows = np.arange(len(y))
    fresh = False
    for n_iter in range(1, max_iter + 1):
        gradient = np.asarray(A.T @ (s[:, None] * first)) + lam[:, None] * W
        P = first
        P[rows, y] += 1.0
        curvature = MultinomialCurvature(A, s, P, lam, free)
        precondition = preconditioner(curvature, fresh)
        step, used = pcg(curvature.product, -gradient, precondition, 1e-2)
        fresh = used > _MANY
        slope = float(np.vdot(gradient, step))
        small = max(tol**2, 4 * np.finfo(float).eps) * max(abs(total), 1e-300)
        if -slope <= small:
            return W + step, curvature, n_iter
        dZ, t = A @ step, 1.0
        for _ in range(_HALVINGS):
            found: Any = loss.evaluate(Z + t * dZ, y, 1)
            trial = float(s @ found[0] + lam @ ((W + t * step) ** 2).sum(axis=1) / 2)
            if trial <= total + _ARMIJO * t * slope:
                break
            t /= 2
        else:
            return W, curvature, n_iter
        W, Z, total = W + t * step, Z + t * dZ, trial
        first = found[1]
    return W, curvature, max_iter
