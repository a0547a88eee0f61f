"""Inner problems of the Lasso and the elastic net."""

import numpy as np
from sklearn.linear_model import ElasticNet, Lasso

from skdiff.model_selection._inner import InnerProblem, inner_problem
from skdiff.model_selection._lasso import Columns, elastic_net
from skdiff.model_selection._smooth import cholesky_solver


class ElasticNetProblem(InnerProblem):
    """``(1/2n) ||y - Xw||^2 + alpha rho ||w||_1 + alpha (1 - rho) ||w||^2 / 2``."""

    parameters = {"alpha": (None,), "l1_ratio": (None,)}

    def __init__(self, estimator):
        super().__init__(estimator)
        if getattr(estimator, "positive", False):
            raise ValueError(
                f"The inner problem of {type(estimator).__name__} needs positive=False."
            )

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        Y = y.reshape(len(y), -1).astype(float)
        s = np.ones(len(y)) if sample_weight is None else sample_weight
        centre = bool(self.estimator.fit_intercept)
        self.columns = [Columns(X, column, s, centre) for column in Y.T]
        self.x_mean = self.columns[0].mean
        self.y_mean = np.array([c.y_mean for c in self.columns])
        self.flat = y.ndim == 1
        self._last = (None, None)
        return self

    def penalties(self, theta):
        """L1 and L2 penalty of each coefficient."""
        d = self.X.shape[1]
        alpha = np.asarray(self.value(theta, "alpha"), dtype=float)
        rho = float(self.value(theta, "l1_ratio"))
        return np.broadcast_to(alpha * rho, (d,)), np.broadcast_to(
            alpha * (1 - rho), (d,)
        )

    def solve(self, theta, w0, tol):
        """Solve each target's problem exactly on its support."""
        a, b = self.penalties(theta)
        d = self.X.shape[1]
        W = np.zeros((d, len(self.columns))) if w0 is None else w0
        found = [
            elastic_net(columns, a, b, W[:, k], tol)
            for k, columns in enumerate(self.columns)
        ]
        return np.column_stack([w for w, _ in found]), sum(n for _, n in found)

    def predict(self, w, X):
        """Values."""
        support = np.flatnonzero(w.any(axis=1))
        raw = np.asarray(X[:, support] @ w[support])
        raw = raw - self.x_mean[support] @ w[support] + self.y_mean
        return raw[:, 0] if self.flat else raw

    def pull(self, w, theta, gradient):
        """Gradient in w."""
        G = gradient.reshape(gradient.shape[0], -1)
        return np.asarray(self.X_val.T @ G) - np.outer(self.x_mean, G.sum(axis=0))

    def _support(self, w, a):
        return np.flatnonzero((w != 0) | (a == 0))

    def solve_hessian(self, w, theta, rhs, tol):
        """Solve on the support alone; zero elsewhere."""
        a, b = self.penalties(theta)
        q = np.zeros_like(rhs)
        for k, columns in enumerate(self.columns):
            S = self._support(w[:, k], a)
            if len(S):
                H = columns.gram(S)
                H.flat[:: len(S) + 1] += b[S]
                q[S, k] = cholesky_solver(H)(rhs[S, k])
        return q

    def cross(self, w, theta, q):
        """Products for alpha, of one or of each feature, and for the mix."""
        rho = float(self.value(theta, "l1_ratio"))
        alpha = np.asarray(self.value(theta, "alpha"), dtype=float)
        out = {}
        if "alpha" in theta:
            slope = np.sum((rho * np.sign(w) + (1 - rho) * w) * q, axis=1)
            out["alpha"] = slope if alpha.ndim else float(slope.sum())
        if "l1_ratio" in theta:
            out["l1_ratio"] = float(
                np.sum(alpha * np.sum((np.sign(w) - w) * q, axis=1))
            )
        return out


class LassoProblem(ElasticNetProblem):
    """The elastic net without its second part."""

    parameters = {"alpha": (None,)}

    def value(self, theta, name):
        """Return the hyperparameter; the mix is all L1."""
        return 1.0 if name == "l1_ratio" else super().value(theta, name)


class WeightedElasticNetProblem(ElasticNetProblem):
    """A penalty a feature."""

    parameters = {"alpha": (None, "feature", "group"), "l1_ratio": (None,)}


inner_problem.register(ElasticNet, ElasticNetProblem)
inner_problem.register(Lasso, LassoProblem)
