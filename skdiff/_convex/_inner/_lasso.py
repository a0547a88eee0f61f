"""Inner problems of the Lasso and the elastic net."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._inner._problem import InnerProblem, Values
from skdiff._convex._newton_linear import cholesky_solver
from skdiff._convex._working_set import Columns, elastic_net


class ElasticNetProblem(InnerProblem):
    """``(1/2n) ||y - Xw||^2 + alpha rho ||w||_1 + alpha (1 - rho) ||w||^2 / 2``."""

    parameters = {
        "alpha": (None,),
        "l1_ratio": (None,),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    steep = True
    weighted = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        if getattr(estimator, "positive", False):
            raise ValueError(
                f"The inner problem of {type(estimator).__name__} needs positive=False."
            )

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
        if "sample_weight" in self.searched:
            problem = RowWeightedElasticNet(self.estimator)
            return problem.bind(X, y, sample_weight=sample_weight, X_val=X_val)
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        Y = y.reshape(len(y), -1).astype(float)
        s = np.ones(len(y)) if sample_weight is None else sample_weight
        centre = bool(self.estimator.fit_intercept)
        self.columns = [Columns(X, column, s, centre) for column in Y.T]
        self.x_mean = self.columns[0].mean
        self.y_mean = np.array([c.y_mean for c in self.columns])
        self.flat = y.ndim == 1
        self._last: Any = (None, None)
        return self

    def penalties(self, theta: Values) -> Any:
        """L1 and L2 penalty of each coefficient."""
        d = self.X.shape[1]
        alpha = np.asarray(self.value(theta, "alpha"), dtype=float)
        rho = float(self.value(theta, "l1_ratio"))
        return np.broadcast_to(alpha * rho, (d,)), np.broadcast_to(
            alpha * (1 - rho), (d,)
        )

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Solve each target's problem exactly on its support."""
        a, b = self.penalties(theta)
        d = self.X.shape[1]
        W = np.zeros((d, len(self.columns))) if w0 is None else w0
        found = [
            elastic_net(columns, a, b, W[:, k], tol)
            for k, columns in enumerate(self.columns)
        ]
        return np.column_stack([w for w, _ in found]), sum(n for _, n in found)

    def predict(self, w: Any, X: Any) -> Array:
        """Values."""
        support = np.flatnonzero(w.any(axis=1))
        raw = np.asarray(X[:, support] @ w[support])
        raw = raw - self.x_mean[support] @ w[support] + self.y_mean
        return raw[:, 0] if self.flat else raw

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in w."""
        G = gradient.reshape(gradient.shape[0], -1)
        return np.asarray(self.X_val.T @ G) - np.outer(self.x_mean, G.sum(axis=0))

    def _support(self, w: Any, a: Any) -> Any:
        return np.flatnonzero((w != 0) | (a == 0))

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
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

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
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


class RowWeightedElasticNet(ElasticNetProblem):
    """The same with searched row weights; the intercept is the last row of ``w``.

    ``h = sum_i s_i (y_i - x_i'w - w_0)^2 / (2 S) + penalty`` with ``S = sum_i s_i``:
    scikit-learn scales the weights to sum to n, so that only their ratios count.
    Means move with the weights, which is why the intercept is an unknown here.
    """

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold; what depends on weights waits for them."""
        InnerProblem.bind(self, X, y, sample_weight=sample_weight, X_val=X_val)
        self.Y = y.reshape(len(y), -1).astype(float)
        self.flat = y.ndim == 1
        self.base = np.ones(len(y)) if sample_weight is None else sample_weight
        self._last: Any = (None, [])
        return self

    def _columns(self, theta: Values) -> Any:
        """Rows about their means, kept while the weights stay."""
        s = self.base * theta["sample_weight"]
        if self._last[0] is None or not np.array_equal(s, self._last[0]):
            if not s.sum() > 0:
                raise ValueError("All rows that train in a fold have weight zero.")
            centre = bool(self.estimator.fit_intercept)
            self._last = s, [Columns(self.X, y, s, centre) for y in self.Y.T]
        return self._last[1]

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Solve each target's problem exactly on its support."""
        columns = self._columns(theta)
        a, b = self.penalties(theta)
        d = self.X.shape[1]
        W = np.zeros((d + 1, len(columns))) if w0 is None else w0.copy()
        n_iter = 0
        for k, rows in enumerate(columns):
            W[:d, k], n = elastic_net(rows, a, b, W[:d, k].copy(), tol)
            W[d, k] = rows.y_mean - rows.mean @ W[:d, k]
            n_iter += n
        return W, n_iter

    def predict(self, w: Any, X: Any) -> Array:
        """Values."""
        support = np.flatnonzero(w[:-1].any(axis=1))
        raw = np.asarray(X[:, support] @ w[support]) + w[-1]
        return raw[:, 0] if self.flat else raw

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in w and the intercept."""
        G = gradient.reshape(gradient.shape[0], -1)
        return np.vstack([np.asarray(self.X_val.T @ G), G.sum(axis=0)])

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve on the support alone, the intercept eliminated."""
        a, b = self.penalties(theta)
        q = np.zeros_like(rhs)
        for k, rows in enumerate(self._columns(theta)):
            S = self._support(w[:-1, k], a)
            if len(S):
                # (cov_S + diag b) q_S = rhs_S - mean_S rhs_0
                H = rows.gram(S)
                H.flat[:: len(S) + 1] += b[S]
                q[S, k] = cholesky_solver(H)(rhs[S, k] - rows.mean[S] * rhs[-1, k])
            if self.estimator.fit_intercept:  # mean_S'q_S + q_0 = rhs_0
                q[-1, k] = rhs[-1, k] - rows.mean[S] @ q[S, k]
        return q

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Products for the penalties and for the weights of the rows."""
        out = super().cross(w[:-1], theta, q[:-1])
        # dh/dw has the terms -s_i r_i (x_i, 1) / S: their derivative in s_i is
        # -(m_i - mean of m) / S for m_i = r_i (x_i'q + q_0)
        S = np.flatnonzero(w[:-1].any(axis=1) | q[:-1].any(axis=1))
        X = self.X[:, S]
        residual = self.Y - np.asarray(X @ w[S]) - w[-1]
        slopes = np.sum(residual * (np.asarray(X @ q[S]) + q[-1]), axis=1)
        s = self._last[0]
        out["sample_weight"] = -self.base * (slopes - s @ slopes / s.sum()) / s.sum()
        return out
