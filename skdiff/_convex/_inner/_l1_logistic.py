"""Training problem of logistic regression with an L1 or elastic-net penalty.

``h(w) = sum_i s_i loss(a_i'w, y_i) + sum_j (lasso_j |w_j| + ridge_j w_j^2 / 2)`` with
``lasso = l1_ratio / C`` and ``ridge = (1 - l1_ratio) / C``. Coefficients of several
classes are stacked class by class. The solution moves on its support alone.
"""

from typing import Any

import numpy as np
from scipy import sparse

from skdiff._base.typing import Array
from skdiff._convex._inner._linear import class_factors, with_intercept
from skdiff._convex._inner._problem import InnerProblem, Values
from skdiff._convex._losses import Logistic
from skdiff._convex._newton import spd_solve
from skdiff._convex._newton_multinomial import softmax_loss
from skdiff._convex._prox_newton import Composite, prox_newton


class SoftmaxRows(Composite):
    """Losses of rows under the logits of several classes, or of one."""

    groups = None

    def __init__(self, A: Any, y: Any, s: Array, lasso: Array, ridge: Array) -> None:
        self.A, self.y, self.s, self.lasso, self.ridge = A, y, s, lasso, ridge
        self.width = A.shape[1]
        self.K = len(lasso) // self.width
        self.size = len(lasso)

    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Any]:
        """Value and gradient of the smooth part, and what the Hessian needs."""
        Z = np.asarray(self.A @ w.reshape(self.K, -1).T).T  # (K, n)
        if self.K == 1:
            value, first, second = Logistic().evaluate(Z[0], self.y, 2)
            R, P = first[None], second
        else:
            value, P = softmax_loss(Z, self.y)
            R = P.copy()
            R[self.y, np.arange(len(self.y))] -= 1.0
        total = float(self.s @ value + self.ridge @ w**2 / 2)
        gradient = np.asarray(self.A.T @ (R * self.s).T).T.ravel() + self.ridge * w
        return total, gradient, P

    def hessian(self, second: Any, columns: Any) -> Array:
        """Second derivatives of the smooth part in some of the coefficients."""
        columns = np.asarray(columns)
        k, j = columns // self.width, columns % self.width
        X = self.A[:, j]
        X = X.toarray() if sparse.issparse(X) else np.asarray(X)
        if self.K == 1:
            H = (X.T * (self.s * second)) @ X
        else:
            B = X * second[k].T
            H = -((B.T * self.s) @ B)
            for c in np.unique(k):
                at = np.flatnonzero(k == c)
                H[np.ix_(at, at)] += (X[:, at].T * (self.s * second[c])) @ X[:, at]
        H[np.diag_indices_from(H)] += self.ridge[columns]
        return np.asarray(H)


class L1Logistic(InnerProblem):
    """Two classes, or several with logits of their own."""

    weighted = True
    steep = True
    intercept_scale = 1.0
    penalised_intercept = False
    #: fraction of the L1 penalty where it is not searched
    fixed_ratio = 1.0

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
        self.intercept = bool(self.estimator.fit_intercept)
        self.A, self.A_val = X, X_val
        if self.intercept:
            self.A = with_intercept(X, self.intercept_scale)
            self.A_val = with_intercept(X_val, self.intercept_scale)
        s = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        weight = self.estimator.class_weight
        if weight is not None:
            s = s * class_factors(weight, classes, y, sample_weight)
        self.s, self.K = s, 1 if len(classes) == 2 else len(classes)
        self.target = y.astype(float) if self.K == 1 else y
        free = np.zeros(self.A.shape[1], dtype=bool)
        free[X.shape[1] :] = not self.penalised_intercept
        self.penalised = np.tile(~free, self.K)
        self._last: Any = (None, None)
        return self

    def _rows(self, theta: Values) -> SoftmaxRows:
        rate = 1.0 / float(self.value(theta, "C"))
        rho = self._ratio(theta)
        lasso = np.where(self.penalised, rho * rate, 0.0)
        ridge = np.where(self.penalised, (1 - rho) * rate, 0.0)
        return SoftmaxRows(self.A, self.target, self.s, lasso, ridge)

    def _ratio(self, theta: Values) -> float:
        """Fraction of the L1 penalty."""
        return float(theta.get("l1_ratio", self.fixed_ratio))

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Proximal Newton steps from a solution nearby."""
        rows = self._rows(theta)
        found = prox_newton(rows, w0, tol=1e-2 * tol)
        w = found.x
        if self.K > 1 and self.intercept and not self.penalised_intercept:
            # the same number added to all intercepts changes nothing
            W = w.reshape(self.K, -1)
            W[:, -1] -= W[:, -1].mean()
        return w, found.n_iter

    def predict(self, w: Any, X: Any) -> Array:
        """Margins, or one logit per class."""
        A = self.A_val
        if X is not self.X_val:
            A = with_intercept(X, self.intercept_scale) if self.intercept else X
        raw = np.asarray(A @ w.reshape(self.K, -1).T)
        return raw[:, 0] if self.K == 1 else raw

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in the coefficients."""
        G = gradient.reshape(gradient.shape[0], -1)
        return np.asarray(self.A_val.T @ G).T.ravel()

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve on the support alone; zero elsewhere."""
        rows = self._rows(theta)
        support = np.flatnonzero((w != 0) | (rows.lasso == 0))
        q = np.zeros_like(rhs)
        if len(support):
            H = rows.hessian(rows.smooth(w, 2)[2], support)
            if self.K > 1 and self.intercept and not self.penalised_intercept:
                last = np.flatnonzero(support % rows.width == rows.width - 1)
                H[np.ix_(last, last)] += self.s.sum() / self.K
            q[support] = spd_solve(H, rhs[support])
        return q

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Products for ``C`` and for the mix."""
        C, rho = float(self.value(theta, "C")), self._ratio(theta)
        w, q = w[self.penalised], q[self.penalised]
        out: Values = {}
        if "C" in theta:
            slope = rho * np.sign(w) + (1 - rho) * w
            out["C"] = -float(slope @ q) / C**2
        if "l1_ratio" in theta:
            out["l1_ratio"] = float((np.sign(w) - w) @ q) / C
        return out
