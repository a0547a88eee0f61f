"""Inner problems of linear models with smooth losses and a ridge penalty."""

from abc import abstractmethod
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight

from skdiff._base.typing import Array
from skdiff._convex._inner._certificates import Certificates
from skdiff._convex._inner._problem import InnerProblem, Values
from skdiff._convex._losses import Squared
from skdiff._convex._newton_linear import (
    Curvature,
    Design,
    newton_linear,
    smallest_eigenvalue,
)

PENALTY = "C"


def with_intercept(X: Any, scale: Any) -> Any:
    """Append a constant column."""
    if sparse.issparse(X):
        column = sparse.csr_array(np.full((X.shape[0], 1), scale))
        return sparse.hstack([sparse.csr_array(X), column], format="csr")
    return np.column_stack([X, np.full(X.shape[0], scale)])


def class_factors(
    class_weight: Any, classes: Any, codes: Any, sample_weight: Any
) -> Any:
    """Weight of each row by its class."""
    if class_weight is None:
        return None
    factors = compute_class_weight(
        class_weight, classes=classes, y=classes[codes], sample_weight=sample_weight
    )
    return factors[codes]


class Balanced:
    """Weights ``s_i = u_i U / (K U_c)``: the K classes c weigh alike.

    ``U_c`` is the sum of the weights u in the class of row i, and U that of all.
    """

    def __init__(self, u: Any, codes: Any, n_classes: Any) -> None:
        self.u, self.codes, self.K = u, codes, n_classes
        self.sums = np.bincount(codes, u, n_classes)
        self.factors = (u.sum() / (n_classes * self.sums))[codes]
        self.s = u * self.factors

    def pull(self, slopes: Any) -> Any:
        """Derivative in u from that in s."""
        # ds_i/du_k = [i = k] f_c + u_i (1 / (K U_c) - [k in c] f_c / U_c)
        shares = np.bincount(self.codes, self.u * slopes, self.K) / self.sums
        own = self.factors * (slopes - shares[self.codes])
        return own + shares.sum() / self.K

    def rate(self) -> Any:
        """Upper bound of the norm of ds/du: its diagonal and the rest."""
        sizes = np.bincount(self.codes, minlength=self.K)[self.codes]
        other = 1 / (self.K * self.sums[self.codes])
        same = other - self.factors / self.sums[self.codes]
        rows = self.u**2 * (sizes * same**2 + (len(self.u) - sizes) * other**2)
        return float(self.factors.max() + np.sqrt(rows.sum()))


class SmoothLinear(InnerProblem):
    """``sum_i s_i loss(a_i'w, y_i) + sum_j lam_j w_j^2 / 2``, column by column."""

    smooth_path = True
    per_row = ("sample_weight",)
    intercept_scale = 1.0
    penalised_intercept = False

    # --- what a subclass says ---------------------------------------------------------

    @abstractmethod
    def _loss(self, theta: Values) -> Any:
        """Return the loss of a row."""

    @abstractmethod
    def _targets(self) -> Any:
        """Return targets of shape (n_samples, n_columns)."""

    def _penalty(self, theta: Values) -> Any:
        """Return lam: a number, or one a feature; 1/C where the estimator has C."""
        C = np.asarray(self.value(theta, "C"), dtype=float)
        with np.errstate(divide="ignore"):
            return 1.0 / C

    def _pull_penalty(self, theta: Values, slope: Any) -> Any:
        """From the derivative in lam of each feature to that in the parameter."""
        C = np.asarray(theta["C"], dtype=float)
        scaled = -slope.T / C**2
        return {"C": scaled if C.ndim else float(scaled.sum())}

    def _row_factors(self) -> Any:
        """Weights of the rows that are not searched."""
        n = self.X.shape[0]
        s = np.ones(n) if self.sample_weight is None else self.sample_weight
        weight = getattr(self.estimator, "class_weight", None)
        if self.classes is not None and weight is not None:
            s = s * class_factors(weight, self.classes, self.y, self.sample_weight)
        return s

    # --- the problem ------------------------------------------------------------------

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
        if self.intercept:
            X = with_intercept(X, self.intercept_scale)
            X_val = (
                None if X_val is None else with_intercept(X_val, self.intercept_scale)
            )
        self.A, self.A_val = X, X_val
        self.design = Design(X)
        self.cheap = not sparse.issparse(X)
        self.steep = not self.cheap
        self.base = self._row_factors()
        self.T = self._targets()
        self._last: Any = (None, None)
        return self

    def weights(self, theta: Values) -> Any:
        """Weights of the rows."""
        if "sample_weight" not in theta:
            return self.base
        balanced = self._balanced(theta)
        return self.base * theta["sample_weight"] if balanced is None else balanced.s

    def _unbalanced(self, theta: Values) -> Any:
        """Weights of the rows without those of their classes."""
        given = 1.0 if self.sample_weight is None else self.sample_weight
        return given * theta.get("sample_weight", np.ones(self.X.shape[0]))

    def _balanced(self, theta: Values) -> Any:
        """Classes that the searched weights are balanced over, or None."""
        how = getattr(self.estimator, "class_weight", None)
        if self.classes is None or how != "balanced":
            return None
        return Balanced(self._unbalanced(theta), self.y, len(self.classes))

    def _pull_weights(self, theta: Values, slopes: Any) -> Any:
        """From the derivative in a row's weight, by column, to the searched one."""
        slopes, balanced = slopes.sum(axis=1), self._balanced(theta)
        if balanced is None:
            return self.base * slopes
        given = 1.0 if self.sample_weight is None else self.sample_weight
        return given * balanced.pull(slopes)

    def weight_rate(self, theta: Values) -> Any:
        """Upper bound of how fast the weights follow the searched ones."""
        balanced = self._balanced(theta)
        if balanced is None:
            return float(np.max(self.base))
        given = 1.0 if self.sample_weight is None else np.max(self.sample_weight)
        return float(given) * balanced.rate()

    def lam(self, theta: Values) -> Any:
        """Penalty of each row of W."""
        d = self.X.shape[1]
        lam = np.zeros(self.A.shape[1])
        penalty = self._penalty(theta)
        lam[:d] = penalty
        if self.intercept and self.penalised_intercept:
            lam[d] = np.mean(penalty)
        return lam

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Newton, a column at a time."""
        p, m = self.A.shape[1], self.T.shape[1]
        W = np.zeros((p, m)) if w0 is None else w0
        s, loss = self.weights(theta), self._loss(theta)
        s = np.broadcast_to(s.T, (m, len(s)))
        lam = np.broadcast_to(self.lam(theta).T, (m, p))
        columns, curvatures, n_iter = [], [], 0
        for k in range(m):
            found = newton_linear(
                self.design, self.T[:, k], s[k], lam[k], loss, W[:, k], tol
            )
            columns.append(found.x)
            curvatures.append(found.stats)
            n_iter += found.n_iter
        W = np.column_stack(columns)
        self._last = (W, curvatures)
        return W, n_iter

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Reuse the factors of the last Newton step."""
        if self._last[0] is not w:
            self.solve(theta, w, tol)
        curvatures = self._last[1]
        columns = [c.solve(rhs[:, k], tol) for k, c in enumerate(curvatures)]
        return np.column_stack(columns)

    def predict(self, w: Any, X: Any) -> Array:
        """Margins or values."""
        if X is self.X_val:
            raw = self.A_val @ w
        else:
            A = with_intercept(X, self.intercept_scale) if self.intercept else X
            raw = A @ w
        return raw[:, 0] if self._flat() else raw

    def _flat(self) -> Any:
        return self.T.shape[1] == 1 and self.y.ndim == 1

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in W."""
        return np.asarray(self.A_val.T @ gradient.reshape(gradient.shape[0], -1))

    def _first(self, w: Any, theta: Values) -> Any:
        """First derivative of each row's loss."""
        return self._loss(theta).evaluate(self.A @ w, self.T, 1)[1]

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Products for the penalty and the weights of the rows."""
        out: Values = {}
        if self._penalty_name in theta:
            slope = w * q
            if np.ndim(theta[self._penalty_name]) < 2:
                slope = slope.sum(axis=1)
            d = self.X.shape[1]
            if self.intercept and self.penalised_intercept and slope.size:
                slope = self._with_intercept_slope(theta, slope, d)
            out |= self._pull_penalty(theta, slope[:d])
        if "sample_weight" in theta:
            slopes = self._first(w, theta) * (self.A @ q)
            out["sample_weight"] = self._pull_weights(theta, slopes)
        return out

    _penalty_name = PENALTY

    def _with_intercept_slope(self, theta: Values, slope: Any, d: Any) -> Any:
        # the intercept's penalty is the common one: its share goes to all features
        shared = slope.copy()
        shared[:d] += slope[d] / max(d, 1)
        return shared


class Certified(SmoothLinear, Certificates):
    """A twice differentiable loss: the gradient certifies a solution."""

    def rows_for_bounds(self, theta: Values) -> tuple[Any, Array, Array]:
        """Design, weights and penalties."""
        return self.A, self.weights(theta), self.lam(theta)

    def rows_for_bounds_design(self) -> Any:
        """Design alone."""
        return self.A

    def validation_rows(self) -> tuple[Any, Any]:
        """Validation rows with their constant column."""
        return self.A_val, None

    def penalty_rate(self, value: Array) -> Array:
        """The penalty is ``1 / C``."""
        return np.asarray(1.0 / value**2)

    def first(self, w: Any, theta: Values) -> Array:
        """First derivative of each row's loss."""
        return np.asarray(self._first(w, theta))

    def smallest_curvature(self, w: Any, theta: Values) -> float:
        """Smallest eigenvalue of the Hessian, over the columns."""
        s, loss = self.weights(theta), self._loss(theta)
        second = loss.evaluate(self.A @ w, self.T, 2)[2].T
        lam = np.broadcast_to(self.lam(theta).T, (len(second), self.A.shape[1]))
        pairs = zip(second, lam, strict=True)
        return min(
            smallest_eigenvalue(Curvature(self.design, s * c, b)) for c, b in pairs
        )

    def gradient(self, w: Any, theta: Values) -> Any:
        """Gradient of the training problem."""
        s, lam = self.weights(theta), self.lam(theta)
        first = self._first(w, theta)
        return (
            np.asarray(self.A.T @ (s[:, None] * first)) + lam.reshape(len(lam), -1) * w
        )


class SquaredRows(Certified):
    """Ridge with searched row weights: the intercept moves with them."""

    kind = "squared"

    _penalty_name = "alpha"

    def penalty_rate(self, value: Array) -> Array:
        """The penalty itself."""
        return np.ones_like(value)

    def lam(self, theta: Values) -> Any:
        """Penalty of each row of W, or of each of its entries."""
        if not self.per_output:
            return super().lam(theta)
        lam = np.zeros((self.A.shape[1], self.T.shape[1]))
        lam[: self.X.shape[1]] = self._penalty(theta)
        return lam

    def rows_for_bounds(self, theta: Values) -> Any:
        """Design, weights and penalties, the smallest over the targets."""
        A, s, lam = super().rows_for_bounds(theta)
        return A, s, lam.reshape(len(lam), -1).min(axis=1)

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Add a penalty a target."""
        out = super().cross(w, theta, q)
        if self.per_output and np.ndim(theta.get("alpha", 0.0)):
            out["alpha"] = np.sum((w * q)[: self.X.shape[1]], axis=0)
        return out

    def _loss(self, theta: Values) -> Any:
        return Squared()

    def _targets(self) -> Any:
        return self.y.reshape(len(self.y), -1)

    def _penalty(self, theta: Values) -> Any:
        return np.asarray(self.value(theta, "alpha"), dtype=float)

    def _pull_penalty(self, theta: Values, slope: Any) -> Any:
        alpha = np.asarray(theta["alpha"], dtype=float)
        return {"alpha": slope if alpha.ndim else float(slope.sum())}
