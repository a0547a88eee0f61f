"""Inner problem of kernel ridge, with one length scale or one a feature."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics.pairwise import (
    euclidean_distances,
    manhattan_distances,
    pairwise_kernels,
)

from skdiff._base.typing import Array
from skdiff._convex._inner._problem import InnerProblem, Values
from skdiff._convex._newton_linear import cholesky_solver

_GAMMA_KERNELS = ("rbf", "laplacian")


def squared_distances(X: Any, Z: Any) -> Any:
    """Squared Euclidean distances, exactly zero between equal rows of one table."""
    if sparse.issparse(X):
        return euclidean_distances(X, Z, squared=True)
    norms = np.einsum("ij,ij->i", X, X)[:, None] + np.einsum("ij,ij->i", Z, Z)[None, :]
    D = np.maximum(norms - 2 * (X @ Z.T), 0.0)
    if X is Z:
        np.fill_diagonal(D, 0.0)
    return D


def pull_scales(N: Any, Z: Any, X: Any) -> Any:
    """Minus ``sum_vt N_vt (z_vj - x_tj)^2`` of each feature j."""
    moments = N.sum(axis=1) @ Z**2 + N.sum(axis=0) @ X**2
    return 2 * np.einsum("vj,vj->j", Z, N @ X) - moments


def as_kernel(theta: Values) -> Any:
    """Parameters of the estimator: a gamma per feature becomes an RBF kernel."""
    params = dict(theta)
    if np.ndim(params.get("gamma", 0.0)):
        gamma = params.pop("gamma")
        params["kernel"] = RBF(length_scale=1 / np.sqrt(2 * gamma))
    return params


class KernelRidgeProblem(InnerProblem):
    """``(K + alpha I) a = y``; targets are not centred, as scikit-learn does not.

    With weights s and ``R = diag(sqrt(s))`` it is ``(R K R + alpha I) b = R y`` and
    ``a = R b``.
    """

    parameters = {
        "alpha": (None,),
        "gamma": (None, "feature", "group"),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    exact_fit = True

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold and what the kernel needs of them."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        kernel = self.estimator.kernel
        if "gamma" in self.searched and kernel not in _GAMMA_KERNELS:
            raise ValueError(
                'gamma is differentiable for kernel="rbf" and "laplacian". Got '
                f"{kernel!r}."
            )
        if "alpha" not in self.searched and np.size(self.estimator.alpha) > 1:
            raise ValueError(
                "The inner problem of KernelRidge has one alpha for all targets. Got "
                f"alpha={self.estimator.alpha!r}."
            )
        self.scaled = "gamma" in self.searched and self.searched["gamma"].vector
        if self.scaled and kernel != "rbf":
            raise ValueError('A gamma per feature needs kernel="rbf".')
        if self.scaled and sparse.issparse(X):
            raise TypeError("A gamma per feature needs dense rows, X is sparse.")
        self.base = np.ones(len(y)) if sample_weight is None else sample_weight
        self.moving = "gamma" in self.searched or "sample_weight" in self.searched
        self.free_path = not self.moving
        self.Y = y.reshape(len(y), -1).astype(float)
        self.flat = y.ndim == 1
        self._last: Any = (None, None)
        self._rhs: Any = None
        self._eigen: Any = None
        if "gamma" not in self.searched:
            self.K, self.K_val = self._fixed_kernel(X), self._fixed_kernel(X_val)
        elif not self.scaled:
            distances = squared_distances if kernel == "rbf" else manhattan_distances
            self.D, self.D_val = distances(X, X), distances(X_val, X)
        return self

    def _fixed_kernel(self, Z: Any) -> Any:
        estimator = self.estimator
        if callable(estimator.kernel):
            extra = estimator.kernel_params or {}
            return pairwise_kernels(Z, self.X, metric=estimator.kernel, **extra)
        extra = {n: getattr(estimator, n) for n in ("gamma", "degree", "coef0")}
        return pairwise_kernels(
            Z, self.X, metric=estimator.kernel, filter_params=True, **extra
        )

    def kernels(self, theta: Values) -> Any:
        """Kernel among the training rows, and of validation with training rows."""
        if "gamma" not in self.searched:
            return self.K, self.K_val
        if self.scaled:
            return self._between(theta, self.X), self._between(theta, self.X_val)
        return np.exp(-theta["gamma"] * self.D), np.exp(-theta["gamma"] * self.D_val)

    def _between(self, theta: Values, Z: Any) -> Any:
        """Kernel of any rows with the training rows."""
        if "gamma" not in self.searched:
            return self._fixed_kernel(Z)
        root = np.sqrt(theta["gamma"])
        if self.estimator.kernel == "laplacian":
            return np.exp(-theta["gamma"] * manhattan_distances(Z, self.X))
        A = self.X * root
        return np.exp(-squared_distances(A if Z is self.X else Z * root, A))

    def _root(self, theta: Values) -> Any:
        """Square roots of the weights of the rows, or None where all are one."""
        if "sample_weight" in theta:
            return np.sqrt(self.base * theta["sample_weight"])[:, None]
        return None if self.sample_weight is None else np.sqrt(self.base)[:, None]

    def _solver(self, theta: Values, K: Any) -> Any:
        """Solve with ``K + alpha S^-1``, where rows of weight zero have zeros."""
        alpha = float(self.value(theta, "alpha"))
        root = self._root(theta)
        if self.moving:
            M = K.copy() if root is None else K * root * root.T
            M.flat[:: len(M) + 1] += alpha
            inner = cholesky_solver(M)
        else:
            if self._eigen is None:  # the kernel stays: a new alpha is a product
                M = K if root is None else K * root * root.T
                squares, V = eigh(M, check_finite=False)
                self._eigen = np.maximum(squares, 0.0)[:, None], V
            squares, V = self._eigen

            def inner(b: Any) -> Any:
                return V @ ((V.T @ b) / (squares + alpha))

        return inner if root is None else lambda b: root * inner(root * b)

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """One factorisation."""
        K, K_val = self.kernels(theta)
        solver = self._solver(theta, K)
        a = solver(self.Y)
        self._last = (a, (solver, K, K_val, theta))
        return a, 1

    def predict(self, w: Any, X: Any) -> Array:
        """Values at the hyperparameters solved for last."""
        _, _, K_val, theta = self._last[1]
        raw = (K_val if X is self.X_val else self._between(theta, X)) @ w
        return raw[:, 0] if self.flat else raw

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in the dual coefficients."""
        self._at(w, theta)
        G = gradient.reshape(gradient.shape[0], -1)
        return self._last[1][2].T @ G

    def _at(self, w: Any, theta: Values) -> None:
        if self._last[0] is not w:
            K, K_val = self.kernels(theta)
            self._last = (w, (self._solver(theta, K), K, K_val, theta))

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve with the same factor."""
        self._at(w, theta)
        self._rhs = rhs
        return self._last[1][0](rhs)

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Products for alpha, the length scales and the weights of the rows."""
        out = {}
        root = self._root(theta)
        s = np.ones((len(w), 1)) if root is None else root**2
        if "alpha" in theta:
            out["alpha"] = float(np.sum(q * w / np.where(s > 0, s, 1.0)))
        if "sample_weight" in theta:
            out["sample_weight"] = self._cross_rows(w, theta, q, s)
        if "gamma" in theta:
            out["gamma"] = self._pull_kernel(q @ w.T, self._last[1][1], self.X, "D")
        return out

    def _cross_rows(self, w: Any, theta: Values, q: Any, s: Any) -> Any:
        """Derivative in the weights: minus ``r_i t_i / alpha``.

        ``r = y - K w`` and ``t = rhs - K q``, which are ``alpha w / s`` and
        ``alpha q / s`` where the weight s is not zero.
        """
        alpha = float(self.value(theta, "alpha"))
        products = alpha * w * q / np.where(s > 0, s, 1.0) ** 2
        gone = s[:, 0] == 0
        if gone.any():
            K, rhs = self._last[1][1][gone], self._rhs
            products[gone] = (self.Y[gone] - K @ w) * (rhs[gone] - K @ q) / alpha
        return -self.base * products.sum(axis=1)

    def direct(self, w: Any, theta: Values, gradient: Array) -> Values:
        """Return the change of the validation kernel itself."""
        if "gamma" not in theta:
            return {}
        self._at(w, theta)
        G = gradient.reshape(gradient.shape[0], -1)
        K_val = self._last[1][2]
        return {"gamma": self._pull_kernel(G @ w.T, K_val, self.X_val, "D_val")}

    def _pull_kernel(self, M: Any, K: Any, rows: Any, distances: Any) -> Any:
        """Derivative of ``sum(M * K)`` in gamma."""
        N = M * K
        if not self.scaled:
            return -float(np.sum(N * getattr(self, distances)))
        return pull_scales(N, rows, self.X)

    def to_params(self, theta: Values) -> Values:
        """Return length scales as the kernel that has them."""
        return as_kernel(theta)
