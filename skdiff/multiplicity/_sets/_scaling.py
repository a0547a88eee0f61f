"""Unit-free coordinates: what the solvers see of a table, and the way back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array, hstack, issparse

from skdiff._base.rows import distinct_rows
from skdiff._base.typing import Array
from skdiff.multiplicity._sets._objective import PIECEWISE, Objective

LARGEST_DENSE = 2000  # columns up to which sparse input is made dense
LARGEST_TARGET = 1e150
LARGEST_CELLS = 10_000_000  # and numbers


@dataclass(frozen=True)
class Scaling:
    """How coefficients of features and of the solver's columns correspond.

    A row x is the direction ``((x - shift) / scale, 1)``; targets are divided by
    ``unit``. Sparse tables are never centred.
    """

    shift: Array
    scale: Array
    unit: float
    intercept: bool
    sparse: bool

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.scale)

    @property
    def n_parameters(self) -> int:
        """Number of parameters of one class."""
        return len(self.scale) + self.intercept

    @property
    def log_volume(self) -> float:
        """Logarithm of a volume in units of the features over the solver's."""
        return float(self.n_parameters * np.log(self.unit) - np.log(self.scale).sum())

    def directions(self, X: Any) -> Any:
        """Rows as functionals of the solver's coefficients."""
        if self.sparse:
            V = csr_array(X) @ diags_array(1.0 / self.scale)
            ones = np.ones((V.shape[0], 1))
            return csr_array(hstack([V, ones])) if self.intercept else V.tocsr()
        if issparse(X):
            X = X.toarray()
        V = (X - self.shift) / self.scale
        return np.column_stack([V, np.ones(len(V))]) if self.intercept else V

    def coefficient_directions(self) -> Any:
        """Coefficients of the features as functionals, the intercept last."""
        d = self.n_features
        if self.sparse:
            scale = np.append(self.scale, 1.0) if self.intercept else self.scale
            return csr_array(diags_array(1.0 / scale))
        V = np.diag(1.0 / self.scale)
        if not self.intercept:
            return V
        V = np.column_stack([V, np.zeros(d)])
        return np.vstack([V, np.append(-self.shift / self.scale, 1.0)])

    def features(self, W: Array) -> tuple[Array, Array]:
        """Coefficients (..., d) and intercepts in the units of the features."""
        coef = W[..., : self.n_features] / self.scale * self.unit
        if not self.intercept:
            return coef, np.zeros(W.shape[:-1])
        shift = (coef * self.shift).sum(axis=-1)
        return coef, W[..., -1] * self.unit - shift

    def solver(self, coef: Array, intercept: Array) -> Array:
        """The inverse: parameters (K, p) from coefficients (K, d) and intercepts."""
        W = np.asarray(coef * self.scale / self.unit)
        if not self.intercept:
            return np.asarray(W)
        return np.column_stack([W, (intercept + coef @ self.shift) / self.unit])

    def hessian(self, H: Array) -> Array:
        """Second derivatives in the units of the features."""
        back: Array = np.diag(self.scale)
        if self.intercept:
            # solver's = T (coef, intercept): the Hessian is T' H T
            d = self.n_features
            back = np.zeros((d + 1, d + 1))
            back[:d, :d] = np.diag(self.scale)
            back[d, :d], back[d, d] = self.shift, 1.0
        back = np.asarray(np.kron(np.eye(len(H) // len(back)), back))
        return np.asarray(back.T @ H @ back)


def scaled(
    X: Any, target: Array, s: Array, goal: Objective
) -> tuple[dict[str, Any], Scaling]:
    """Columns of unit spread, distinct rows, and penalties in their units."""
    if issparse(X):
        if X.shape[1] > LARGEST_DENSE or _sparse_suffices(goal):
            return _scaled_sparse(X, target, s, goal)
        X = X.toarray()
    n, d = X.shape
    shift = np.zeros(d)
    largest = np.maximum(X.max(axis=0, initial=0.0), -X.min(axis=0, initial=0.0))
    largest[largest == 0] = 1.0
    Z = np.ones((n, d + goal.fit_intercept))
    columns = Z[:, :d]
    np.divide(X, largest, out=columns)
    if goal.fit_intercept and not goal.penalised_intercept:
        mean = s @ columns
        # a constant column is its own mean but for rounding
        mean = np.where(columns.max(axis=0) == columns.min(axis=0), columns[0], mean)
        shift = mean * largest
        columns -= mean
    spread = np.sqrt(np.einsum("i,ij,ij->j", s, columns, columns))
    spread[spread < 1e-14] = 1.0
    columns /= spread
    scale = spread * largest
    target, unit = _unit_target(target, goal)
    if _may_repeat(Z, target):
        rows = distinct_rows(np.column_stack([Z, target]))
        s = rows.gathered(s)
        Z, target = Z[rows.first], target[rows.first]
    data = {"X": Z, "y": target, "s": s, **_penalties(goal, scale, unit, target)}
    return data, Scaling(shift, scale, unit, goal.fit_intercept, False)


def _may_repeat(Z: Array, target: Array) -> bool:
    """Whether two rows can be equal: those that are have equal projections."""
    rng = np.random.RandomState(0)
    key = np.einsum("ij,j->i", Z, rng.normal(size=Z.shape[1]))
    key += target * rng.normal()
    key.sort()
    return bool(np.any(key[1:] == key[:-1]))


def _sparse_suffices(goal: Objective) -> bool:
    """Whether sparse X can stay sparse."""
    others = goal.loss == "Multinomial" or goal.loss in PIECEWISE
    return not (goal.lasso or goal.intercept_lasso or others)


def _scaled_sparse(
    X: Any, target: Array, s: Array, goal: Objective
) -> tuple[dict[str, Any], Scaling]:
    """The same of a sparse table, which centring would fill."""
    X = X.tocsr()
    spread = np.sqrt(s @ X.multiply(X))
    spread[spread < 1e-150] = 1.0
    Z = X @ diags_array(1.0 / spread)
    if goal.fit_intercept:
        Z = hstack([Z, np.ones((X.shape[0], 1))])
    target, unit = _unit_target(target, goal)
    penalties = _penalties(goal, spread, unit, target)
    if "lasso" in penalties or goal.loss == "Multinomial" or goal.loss in PIECEWISE:
        raise ValueError(
            f"Sparse X of shape {X.shape} is supported for two classes or a "
            "regression, smooth losses and an L2 penalty or none only. Reduce its "
            "columns, for instance with TruncatedSVD or SelectKBest."
        )
    data = {"X": csr_array(Z), "y": target, "s": s, **penalties}
    return data, Scaling(np.zeros(X.shape[1]), spread, unit, goal.fit_intercept, True)


def _unit_target(target: Array, goal: Objective) -> tuple[Array, float]:
    """Targets of regressions whose loss has a unit, divided by it."""
    unit = 1.0
    if goal.degree:
        unit = float(np.abs(target).max(initial=0.0)) or 1.0
        if unit > LARGEST_TARGET:
            raise ValueError(
                f"y has values up to {unit:.1g}, whose squares are not finite. Rescale "
                "y."
            )
    return target / unit, unit


def _penalties(
    goal: Objective, scale: Array, unit: float, target: Array
) -> dict[str, Array]:
    """Penalties of the scaled coefficients, in units of the scaled objective."""
    ridge = goal.alpha * unit ** (2 - goal.degree) / scale / scale
    lasso = goal.lasso * unit ** (1 - goal.degree) / scale
    if goal.fit_intercept:
        ridge = np.append(ridge, goal.intercept_alpha * unit ** (2 - goal.degree))
        lasso = np.append(lasso, goal.intercept_lasso * unit ** (1 - goal.degree))
    if goal.loss == "Multinomial":
        K = int(target.max()) + 1
        if lasso.any():
            raise ValueError(
                "An L1 penalty with three classes or more is not supported; use "
                "OneVsRestClassifier(LogisticRegression(l1_ratio=1.0, ...))."
            )
        ridge, lasso = np.tile(ridge, K), np.tile(lasso, K)
    return {"penalty": ridge} | ({"lasso": lasso} if lasso.any() else {})
