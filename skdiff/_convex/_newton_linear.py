"""Newton's method for smooth linear models with a ridge penalty, dense or sparse.

``h(w) = sum_i s_i loss(a_i'w, y_i) + sum_j lam_j w_j^2 / 2``. A direct solve serves up
to :data:`DIRECT` unknowns; beyond that, and for sparse rows, preconditioned conjugate
gradients do, and nothing is ever densified.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import eigvalsh
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse.linalg import LinearOperator, eigsh

from skdiff._base.typing import Array
from skdiff._convex._krylov import pcg
from skdiff._convex._line_search import decrement_of, line_search
from skdiff._convex._losses import Loss
from skdiff._convex._newton import spd_solve
from skdiff._convex._solve import Solution

DIRECT = 2000
ROWS = 2000  # sparse rows whose Gram matrix is formed
_STEP_RTOL = 1e-3  # of an inexact Newton step; the error shrinks by it each time


def cholesky_solver(H: Array) -> Callable[[Array], Array]:
    """Return the solve with a matrix that is positive definite up to rounding."""
    factor, info = dpotrf(H, lower=1, clean=0, overwrite_a=0)
    if info == 0 and np.isfinite(factor[-1, -1]):
        return lambda b: np.asarray(dpotrs(factor, b, lower=1)[0]).reshape(b.shape)
    return lambda b: spd_solve(H, b)


class Design:
    """Rows of a linear model, and their Gram matrix where systems of its size pay."""

    def __init__(self, A: Any) -> None:
        self.A = A
        n, p = A.shape
        self.few = sparse.issparse(A) and n <= ROWS and 2 * n < p

    @cached_property
    def gram(self) -> Array:
        """Products of the rows."""
        return np.asarray((self.A @ self.A.T).toarray())


class Curvature:
    """``A' diag(c) A + diag(lam)``, solved directly or iteratively.

    Few sparse rows under one penalty for all coefficients are solved in the space of
    the rows of positive curvature.
    """

    def __init__(
        self, design: Design, c: Array, lam: Array, direct: int = DIRECT
    ) -> None:
        A = design.A
        self.design, self.A, self.c, self.lam = design, A, c, lam
        self.direct = not sparse.issparse(A) and A.shape[1] <= direct
        self.by_rows = bool(design.few and lam[0] > 0 and np.all(lam == lam[0]))
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

    def _row_solver(self) -> Callable[[Array], Array]:
        """``(b - A'(lam C^-1 + A A')^-1 A b) / lam`` over rows with ``c > 0``."""
        lam, active = float(self.lam[0]), np.flatnonzero(self.c > 0)
        if not len(active):
            return lambda b: b / lam
        A = self.A[active]
        M = self.design.gram.take(active, axis=0).take(active, axis=1)
        M.flat[:: len(M) + 1] += lam / self.c[active]
        inner = cholesky_solver(M)
        return lambda b: np.asarray(b - A.T @ inner(A @ b)) / lam

    def solve(self, b: Array, tol: float) -> Array:
        """Solve with the matrix."""
        if self._solver is None:
            if self.direct:
                self._solver = cholesky_solver(self.matrix())
            elif self.by_rows:
                self._solver = self._row_solver()
            else:
                diagonal = self._diagonal()
                return pcg(self.product, b, lambda r: r / diagonal, tol=tol).x
        return self._solver(b)


class _Line(NamedTuple):
    """Coefficients and scores, and how both change along a step."""

    w: Array
    step: Array
    z: Array
    dz: Array

    def at(self, t: float) -> tuple[Array, Array]:
        """Coefficients and scores at a length of the step."""
        return self.w + t * self.step, self.z + t * self.dz


def newton_linear(
    design: Design,
    y: Array,
    s: Array,
    lam: Array,
    loss: Loss,
    w: Array,
    tol: float,
    max_iter: int = 100,
) -> Solution:
    """Minimise to a Newton decrement of ``tol * sqrt(h)``.

    ``gap`` is the decrement before the last step relative to ``sqrt(h)``, and ``stats``
    the curvature there.
    """
    A = design.A
    z = A @ w
    parts = loss.evaluate(z, y, 2)
    value = float(s @ parts[0] + lam @ w**2 / 2)
    for n_iter in range(1, max_iter + 1):
        gradient = A.T @ (s * parts[1]) + lam * w
        curvature = Curvature(design, s * parts[2], lam)
        step = -curvature.solve(gradient, _STEP_RTOL)
        slope, decrement = decrement_of(gradient, step)
        gap = decrement / float(np.sqrt(max(abs(value), 1e-300)))
        if gap <= max(tol, 2 * np.sqrt(np.finfo(float).eps)):
            return Solution(w + step, value, gap, n_iter, True, curvature)
        line = _Line(w, step, z, A @ step)

        def trial(t: float, line: _Line = line) -> tuple[float, Any]:
            point, scores = line.at(t)
            rows = loss.evaluate(scores, y, 2)
            return float(s @ rows[0] + lam @ point**2 / 2), (point, scores, rows)

        found = line_search(trial, value, slope)
        if found is None:
            return Solution(w, value, gap, n_iter, False, curvature)
        value, (w, z, parts) = found.value, found.rest
    return Solution(w, value, gap, max_iter, False, curvature)


def smallest_eigenvalue(curvature: Curvature) -> float:
    """Smallest eigenvalue of a Hessian, from its matrix or by Lanczos steps."""
    if curvature.direct:
        return float(eigvalsh(curvature.matrix(), subset_by_index=[0, 0])[0])
    return lanczos_smallest(curvature.product, (curvature.A.shape[1],))


def lanczos_smallest(
    product: Callable[[Array], Array], shape: tuple[int, ...]
) -> float:
    """Lower bound of the smallest eigenvalue, by Lanczos steps."""
    n = int(np.prod(shape))
    operator = LinearOperator(
        (n, n), matvec=lambda v: product(v.reshape(shape)).ravel()
    )
    # a Lanczos value lies above the true one by far less than a tenth
    found = eigsh(operator, k=1, which="SA", v0=np.ones(n), return_eigenvectors=False)
    return 0.9 * float(found[0])
