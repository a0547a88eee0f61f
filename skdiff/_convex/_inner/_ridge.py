"""Inner problems of squared loss: ridge with one penalty, or one a feature."""

from typing import Any

import numpy as np
from scipy.linalg import eigh, svd

from skdiff._base.typing import Array
from skdiff._convex._inner._certificates import Certificates
from skdiff._convex._inner._problem import InnerProblem, Point, Values
from skdiff._convex._krylov import pcg
from skdiff._convex._newton_linear import cholesky_solver

# below this share of the largest eigenvalue a Gram matrix has lost too many digits
GRAM_DIGITS = 1e-7


class CentredRows(InnerProblem):
    """Rows and targets about their weighted training means, scaled by the weights."""

    per_row = ("sample_weight",)

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        n = X.shape[0]
        Y = y.reshape(n, -1).astype(float)
        s = np.ones(n) if sample_weight is None else sample_weight
        self.weighted = sample_weight is not None
        self.root = np.sqrt(s)
        if self.estimator.fit_intercept:
            share = s / s.sum()
            self.x_mean = np.asarray(share @ X).ravel()
            self.y_mean = share @ Y
        else:
            self.x_mean = np.zeros(X.shape[1])
            self.y_mean = np.zeros(Y.shape[1])
        self.R = self.root[:, None] * (Y - self.y_mean)
        self.flat = y.ndim == 1
        return self

    def _centred(self, X: Any) -> Any:
        """Return dense centred rows."""
        return X - self.x_mean

    def _design(self) -> Any:
        """Return dense centred training rows, scaled by the weights."""
        A = self._centred(self.X)
        if self.weighted:
            A *= self.root[:, None]
        return A

    def predict(self, w: Any, X: Any) -> Array:
        """Values."""
        raw = np.asarray(X @ w) - self.x_mean @ w + self.y_mean
        return raw[:, 0] if self.flat else raw

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in w."""
        G = gradient.reshape(gradient.shape[0], -1)
        return np.asarray(self.X_val.T @ G) - np.outer(self.x_mean, G.sum(axis=0))

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Product for a penalty a feature, a target, or one for all."""
        slope = w * q
        shape = np.shape(theta["alpha"])
        if shape == ():
            return {"alpha": float(slope.sum())}
        return {"alpha": slope.sum(axis=0 if self.per_output else 1)}

    per_output = False


class SpectralRidge(CentredRows):
    """Ridge by one decomposition a fold: a new penalty costs a product of V x r."""

    free_path = True
    per_output = True

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold and decompose them."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        A = self._design()
        n, d = A.shape
        squares: Any = None
        self.V: Any = None
        if n >= d:
            squares, V = eigh(A.T @ A, check_finite=False, driver="evd")
            largest = squares[-1] if d else 0.0
            if self.smallest_alpha > GRAM_DIGITS * largest:
                squares = np.maximum(squares, 0.0)
                self.V, self.c = V, V.T @ (A.T @ self.R)
        if self.V is None:
            U, sigma, Vt = svd(A, full_matrices=False, check_finite=False)
            squares, self.V = sigma**2, Vt.T
            self.c = sigma[:, None] * (U.T @ self.R)
        self.squares = squares[:, None]
        if X_val is not None:
            self.Z = self._centred(X_val) @ self.V
        return self

    #: lower end of the search; decides how the rows may be decomposed
    smallest_alpha = 0.0

    def _shrunk(self, theta: Values) -> Any:
        total = self.squares + self.value(theta, "alpha")
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(total > 0, 1.0 / total, 0.0)
        return inverse, inverse * self.c

    def evaluate(self, theta: Values, w0: Any, tol: float) -> Point:
        """Return coefficients of the eigenvectors, and predictions."""
        _, b = self._shrunk(theta)
        raw = self.Z @ b + self.y_mean
        return Point(b, raw[:, 0] if self.flat else raw, 1)

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Coefficients of the eigenvectors."""
        return self._shrunk(theta)[1], 1

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve in the eigenvectors."""
        return self._shrunk(theta)[0] * rhs

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in the coefficients of the eigenvectors."""
        return self.Z.T @ gradient.reshape(gradient.shape[0], -1)

    def predict(self, w: Any, X: Any) -> Array:
        """Values."""
        return super().predict(self.V @ w, X)


class GramRidge(CentredRows):
    """A penalty a feature: one Cholesky factor an evaluation."""

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        self.A = self._design()
        n, d = self.A.shape
        self.dual = d > n
        self.G = None if self.dual else self.A.T @ self.A
        self.b = self.A.T @ self.R
        self._last: Any = (None, None)
        return self

    def lam(self, theta: Values) -> Any:
        """Penalty of each feature."""
        return np.broadcast_to(
            np.asarray(self.value(theta, "alpha"), dtype=float), (self.A.shape[1],)
        )

    def _solver(self, theta: Values) -> Any:
        lam = self.lam(theta)
        if self._last[0] is not None and np.array_equal(self._last[0], lam):
            return self._last[1]
        if self.dual and lam.min() > 0:
            solver = _woodbury(self.A, lam)
        else:
            H = (self.A.T @ self.A) if self.G is None else self.G.copy()
            H.flat[:: len(H) + 1] += lam
            solver = cholesky_solver(H)
        self._last = (lam, solver)
        return solver

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Solve the normal equations."""
        return self._solver(theta)(self.b), 1

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve with the same factor."""
        return self._solver(theta)(rhs)


def _woodbury(A: Any, lam: Any) -> Any:
    """Solve with A'A + diag(lam) by a matrix of the size of the rows."""
    scaled = A / lam
    K = scaled @ A.T
    K.flat[:: len(K) + 1] += 1.0
    inner = cholesky_solver(K)
    return lambda b: (b.T / lam).T - scaled.T @ inner(scaled @ b)


class SparseRidge(CentredRows, Certificates):
    """Conjugate gradients on sparse rows, centred in the products alone."""

    cheap = False
    steep = True

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        weight = self.root**2
        self.weight_ = weight
        squares = np.asarray(X.power(2).T @ weight).ravel()
        self.diagonal = np.maximum(squares - weight.sum() * self.x_mean**2, 0.0)
        self.b = self._pull_rows(self.root[:, None] * self.R)
        return self

    def _pull_rows(self, M: Any) -> Any:
        return np.asarray(self.X.T @ M) - np.outer(self.x_mean, M.sum(axis=0))

    def _product(self, lam: Any, V: Any) -> Any:
        M = np.asarray(self.X @ V) - self.x_mean @ V
        return self._pull_rows(self.weight_[:, None] * M) + lam * V

    def lam(self, theta: Values) -> Any:
        """Penalty of each coefficient, as a column or a matrix."""
        alpha = np.asarray(self.value(theta, "alpha"), dtype=float)
        if alpha.ndim == 0:
            return alpha
        return alpha[None, :] if self.per_output else alpha[:, None]

    def _solve(self, theta: Values, b: Any, start: Any, tol: float) -> Any:
        lam = self.lam(theta)
        diagonal = self.diagonal[:, None] + lam
        diagonal = np.where(diagonal > 0, diagonal, 1.0)
        residual = b if start is None else b - self._product(lam, start)
        scale = max(float(np.linalg.norm(b)), 1e-300)
        relative = tol * scale / max(float(np.linalg.norm(residual)), 1e-300)
        if relative >= 1:
            return start if start is not None else np.zeros_like(b), 0
        found = pcg(
            lambda V: self._product(lam, V),
            residual,
            lambda R: R / diagonal,
            tol=relative,
            max_iter=10_000,
        )
        return (found.x if start is None else start + found.x), found.n_iter

    kind = "squared"

    def rows_for_bounds(self, theta: Values) -> tuple[Any, Array, Array]:
        """Design, weights and penalties; centring only shortens the rows."""
        lam = np.broadcast_to(self.lam(theta), self.b.shape)
        return self.X, self.weight_, lam.min(axis=1)

    def rows_for_bounds_design(self) -> Any:
        """Design alone."""
        return self.X

    def validation_rows(self) -> tuple[Any, Any]:
        """Validation rows and the training means."""
        return self.X_val, self.x_mean

    def penalty_rate(self, value: Array) -> Array:
        """The penalty itself."""
        return np.ones_like(value)

    def smallest_curvature(self, w: Any, theta: Values) -> Any:
        """Nothing is known of rows without a penalty: a singular Hessian."""
        return 0.0

    def gradient(self, w: Any, theta: Values) -> Any:
        """Gradient of the training problem."""
        return self._product(self.lam(theta), w) - self.b

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Solve the normal equations iteratively."""
        return self._solve(theta, self.b, w0, 1e-2 * tol)

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve with the same matrix."""
        return self._solve(theta, rhs, None, tol)[0]


class SparseOutputRidge(SparseRidge):
    """Sparse rows, a penalty a target."""

    per_output = True
