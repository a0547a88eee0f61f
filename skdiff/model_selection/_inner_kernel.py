"""Inner problem of kernel ridge, with one length scale or one a feature."""

import numpy as np
from scipy import sparse
from scipy.linalg import eigh
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import (
    euclidean_distances,
    manhattan_distances,
    pairwise_kernels,
)

from skdiff.model_selection._inner import InnerProblem, inner_problem
from skdiff.model_selection._smooth import cholesky_solver

_GAMMA_KERNELS = ("rbf", "laplacian")


def squared_distances(X, Z):
    """Squared Euclidean distances, exactly zero between equal rows of one table."""
    if sparse.issparse(X):
        return euclidean_distances(X, Z, squared=True)
    norms = np.einsum("ij,ij->i", X, X)[:, None] + np.einsum("ij,ij->i", Z, Z)[None, :]
    D = np.maximum(norms - 2 * (X @ Z.T), 0.0)
    if X is Z:
        np.fill_diagonal(D, 0.0)
    return D


class KernelRidgeProblem(InnerProblem):
    """``(K + alpha I) a = y``; targets are not centred, as scikit-learn does not."""

    parameters = {"alpha": (None,), "gamma": (None, "feature", "group")}
    #: low ends of what is searched, by name
    lowest: dict = {}
    vector: dict = {}

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold and what the kernel needs of them."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        kernel = self.estimator.kernel
        if "gamma" in self.lowest and kernel not in _GAMMA_KERNELS:
            raise ValueError(
                'gamma is differentiable for kernel="rbf" and "laplacian". Got '
                f"{kernel!r}."
            )
        self.scaled = self.vector.get("gamma", False)
        if self.scaled and kernel != "rbf":
            raise ValueError('A gamma per feature needs kernel="rbf".')
        if self.scaled and sparse.issparse(X):
            raise TypeError("A gamma per feature needs dense rows, X is sparse.")
        self.root = None
        if sample_weight is not None:
            self.root = np.sqrt(sample_weight)[:, None]
        self.Y = y.reshape(len(y), -1).astype(float)
        self.flat = y.ndim == 1
        self._last = (None, None)
        self._eigen = None
        if "gamma" not in self.lowest:
            self.K, self.K_val = self._fixed_kernel(X), self._fixed_kernel(X_val)
        elif not self.scaled:
            distances = squared_distances if kernel == "rbf" else manhattan_distances
            self.D, self.D_val = distances(X, X), distances(X_val, X)
        return self

    def _fixed_kernel(self, Z):
        estimator = self.estimator
        if callable(estimator.kernel):
            extra = estimator.kernel_params or {}
            return pairwise_kernels(Z, self.X, metric=estimator.kernel, **extra)
        extra = {n: getattr(estimator, n) for n in ("gamma", "degree", "coef0")}
        return pairwise_kernels(
            Z, self.X, metric=estimator.kernel, filter_params=True, **extra
        )

    def kernels(self, theta):
        """Kernel among the training rows, and of validation with training rows."""
        if "gamma" not in self.lowest:
            return self.K, self.K_val
        if self.scaled:
            return self._between(theta, self.X), self._between(theta, self.X_val)
        return np.exp(-theta["gamma"] * self.D), np.exp(-theta["gamma"] * self.D_val)

    def _between(self, theta, Z):
        """Kernel of any rows with the training rows."""
        if "gamma" not in self.lowest:
            return self._fixed_kernel(Z)
        root = np.sqrt(theta["gamma"])
        if self.estimator.kernel == "laplacian":
            return np.exp(-theta["gamma"] * manhattan_distances(Z, self.X))
        A = self.X * root
        return np.exp(-squared_distances(A if Z is self.X else Z * root, A))

    def _solver(self, theta, K):
        alpha = float(self.value(theta, "alpha"))
        M = K if self.root is None else K * self.root * self.root.T
        if "gamma" in self.lowest:
            M = M.copy()
            M.flat[:: len(M) + 1] += alpha
            return cholesky_solver(M)
        if self._eigen is None:  # the kernel stays: a new alpha is a product
            squares, V = eigh(M, check_finite=False)
            self._eigen = np.maximum(squares, 0.0)[:, None], V
        squares, V = self._eigen
        return lambda b: V @ ((V.T @ b) / (squares + alpha))

    def solve(self, theta, w0, tol):
        """One factorisation."""
        K, K_val = self.kernels(theta)
        solver = self._solver(theta, K)
        a = self._weigh(solver(self._weigh(self.Y)))
        self._last = (a, (solver, K, K_val, theta))
        return a, 1

    def _weigh(self, M):
        return M if self.root is None else self.root * M

    def predict(self, w, X):
        """Values at the hyperparameters solved for last."""
        _, _, K_val, theta = self._last[1]
        raw = (K_val if X is self.X_val else self._between(theta, X)) @ w
        return raw[:, 0] if self.flat else raw

    def pull(self, w, theta, gradient):
        """Gradient in the dual coefficients, scaled by the weights."""
        self._at(w, theta)
        G = gradient.reshape(gradient.shape[0], -1)
        return self._weigh(self._last[1][2].T @ G)

    def _at(self, w, theta):
        if self._last[0] is not w:
            K, K_val = self.kernels(theta)
            self._last = (w, (self._solver(theta, K), K, K_val, theta))

    def solve_hessian(self, w, theta, rhs, tol):
        """Solve with the same factor."""
        self._at(w, theta)
        return self._weigh(self._last[1][0](rhs))

    def cross(self, w, theta, q):
        """Products for alpha and for the length scales."""
        out = {}
        if "alpha" in theta:
            a = (
                w
                if self.root is None
                else w / np.where(self.root > 0, self.root, 1.0) ** 2
            )
            out["alpha"] = float(np.sum(q * a))
        if "gamma" in theta:
            out["gamma"] = self._pull_kernel(q @ w.T, self._last[1][1], self.X, "D")
        return out

    def direct(self, w, theta, gradient):
        """Return the change of the validation kernel itself."""
        if "gamma" not in theta:
            return {}
        self._at(w, theta)
        G = gradient.reshape(gradient.shape[0], -1)
        K_val = self._last[1][2]
        return {"gamma": self._pull_kernel(G @ w.T, K_val, self.X_val, "D_val")}

    def _pull_kernel(self, M, K, rows, distances):
        """Derivative of ``sum(M * K)`` in gamma."""
        N = M * K
        if not self.scaled:
            return -float(np.sum(N * getattr(self, distances)))
        moments = N.sum(axis=1) @ rows**2 + N.sum(axis=0) @ self.X**2
        return -(moments - 2 * np.einsum("vj,vj->j", rows, N @ self.X))

    def to_params(self, theta):
        """Return length scales as the kernel that has them."""
        params = dict(theta)
        if np.ndim(params.get("gamma", 0.0)):
            gamma = params.pop("gamma")
            params["kernel"] = RBF(length_scale=1 / np.sqrt(2 * gamma))
        return params


inner_problem.register(KernelRidge, KernelRidgeProblem)
