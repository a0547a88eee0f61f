"""Cumulative logits of rows sorted by class, as smooth parts of composite problems.

Row i of class y has probability ``sigmoid(u) - sigmoid(v)`` with ``u = eta_y`` and
``v = eta_(y-1)``, infinite at the ends. Written as ``sigmoid(u) sigmoid(-v) (1 -
e^(v-u))``, minus its logarithm is a sum of two logistic losses and a convex function of
``u - v``, so that nothing cancels and the model is jointly convex in all predictors.

Coefficients are those of the paper's equation (5): the first block is the base, later
blocks are differences between neighbouring classes. Thresholds are differences too,
counted from those of the model without features, which makes zero a feasible start.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff._convex._batched import gram
from skdiff._convex._losses import Softplus
from skdiff._convex._prox_newton import Composite


class Rows(NamedTuple):
    """Rows sorted by class, a column of ones first."""

    A: Any
    """ndarray or CSR array of shape (n, 1 + p)."""
    s: Array
    """Weights that sum to one."""
    cuts: IntArray
    """Class k holds the rows ``cuts[k]`` to ``cuts[k + 1]``."""
    start: Array
    """Thresholds of the model without features, shape (K - 1,)."""

    @property
    def n_thresholds(self) -> int:
        """Classes less one."""
        return len(self.start)

    def below(self, k: int) -> slice:
        """Rows of class k."""
        return slice(int(self.cuts[k]), int(self.cuts[k + 1]))

    def beside(self, k: int) -> slice:
        """Rows of the classes k and k + 1, which threshold k separates."""
        return slice(int(self.cuts[k]), int(self.cuts[k + 2]))


class Parts(NamedTuple):
    """Derivatives of the rows in u and v, times the weights of the rows."""

    du: Array
    dv: Array
    duu: Array
    dvv: Array
    duv: Array


def sort_rows(X: Any, codes: IntArray, weight: Array, n_classes: int) -> Rows:
    """Rows of all classes, none of which may be empty."""
    order = np.argsort(codes, kind="stable")
    s = weight[order] / weight.sum()
    counts = np.bincount(codes, minlength=n_classes)
    cuts = np.concatenate([[0], np.cumsum(counts)])
    mass = np.cumsum(np.add.reduceat(s, cuts[:-1]))[:-1]
    rest = np.cumsum(np.add.reduceat(s, cuts[:-1])[::-1])[::-1][1:]
    start = np.log(mass) - np.log(rest)
    ones = np.ones((len(codes), 1))
    if sparse.issparse(X):
        A = sparse.csr_array(sparse.hstack([ones, X[order]], format="csr"))
    else:
        A = np.concatenate([ones, X[order]], axis=1)
    return Rows(A, s, cuts, start)


def row_losses(u: Array, v: Array, cuts: IntArray) -> Array:
    """Minus the log probabilities; infinite where u does not exceed v."""
    value = np.zeros(int(cuts[-1]))
    value[: cuts[-2]] = Softplus().evaluate(-u)[0]
    value[cuts[1] :] += Softplus().evaluate(v)[0]
    value[cuts[1] : cuts[-2]] += _gap_terms(u[cuts[1] :] - v[: cuts[-2] - cuts[1]], 0)[
        0
    ]
    return value


def _gap_terms(t: Array, order: int) -> tuple[Array, ...]:
    """``-log(1 - e^-t)`` and its derivatives; infinite for t <= 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        below = -np.expm1(-t)
        value = np.where(t > 0, -np.log(below), np.inf)
        if order == 0:
            return (value,)
        above = np.exp(-t) / below
        return value, -above, above / below


def row_parts(u: Array, v: Array, cuts: IntArray, s: Array) -> tuple[Array, Parts]:
    """Losses of the rows, and weighted derivatives that are zero where they must be."""
    n, low, high = int(cuts[-1]), int(cuts[1]), int(cuts[-2])
    value = np.zeros(n)
    du, dv, duu, dvv, duv = (np.zeros(n) for _ in range(5))
    first = Softplus().evaluate(-u, order=2)
    value[:high], du[:high], duu[:high] = first[0], -first[1], first[2]
    last = Softplus().evaluate(v, order=2)
    value[low:] += last[0]
    dv[low:], dvv[low:] = last[1], last[2]
    inner = slice(low, high)
    gap, slope, bend = _gap_terms(u[low:] - v[: high - low], 2)
    value[inner] += gap
    du[inner] += slope
    dv[inner] -= slope
    duu[inner] += bend
    dvv[inner] += bend
    duv[inner] = -bend
    return value, Parts(s * du, s * dv, s * duu, s * dvv, s * duv)


class Cumulative(Composite):
    """What the parallel and the general model share.

    Parameters
    ----------
    rows : Rows
        Sorted rows.
    lasso, ridge : ndarray of shape (size,)
        Penalties of the coefficients; zero for those of thresholds.
    """

    groups = None

    def __init__(self, rows: Rows, lasso: Array, ridge: Array) -> None:
        self.rows, self.lasso, self.ridge = rows, lasso, ridge
        self.size = len(lasso)
        self._known: tuple[Array, tuple[float, Array, Any]] | None = None
        counts = np.diff(rows.cuts)
        #: predictors u and v of the start
        self.offsets = (
            np.repeat(rows.start, counts[:-1]),
            np.repeat(rows.start, counts[1:]),
        )

    @abstractmethod
    def linear(self, w: Array) -> tuple[Array, Array]:
        """Predictors u and v of the rows that have them, less those of the start."""

    @abstractmethod
    def pull(self, du: Array, dv: Array) -> Array:
        """Gradient in the coefficients of what has derivatives du and dv."""

    @abstractmethod
    def thresholds(self) -> BoolArray:
        """Which coefficients belong to thresholds."""

    def predictors(self, w: Array) -> tuple[Array, Array]:
        """Predictors u of all classes but the last, v of all but the first."""
        u, v = self.linear(w)
        first, last = self.offsets
        return u + first, v + last

    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Any]:
        """Value and gradient, and the weighted derivatives of the rows.

        Stages of a fit begin where the last one ended, which is not evaluated again.
        """
        if self._known is not None and np.array_equal(self._known[0], w):
            return self._known[1]
        u, v = self.predictors(w)
        cuts, s = self.rows.cuts, self.rows.s
        extra = float(self.ridge @ w**2 / 2)
        if order == 0:
            return float(s @ row_losses(u, v, cuts)) + extra, w, w
        value, parts = row_parts(u, v, cuts, s)
        gradient = self.pull(parts.du, parts.dv) + self.ridge * w
        found = float(s @ value) + extra, gradient, parts
        self._known = w.copy(), found
        return found

    def oracle(self, w: Array) -> tuple[float, Array, Array]:
        """Value, gradient and full Hessian of the smooth part, for Newton's method."""
        value, gradient, parts = self.smooth(w, 2)
        if not np.isfinite(value):
            return np.inf, gradient, np.eye(self.size)
        return value, gradient, self.hessian(parts, np.arange(self.size))


def _gram(A: Any, weight: Array) -> Array:
    if sparse.issparse(A):
        return np.asarray((A.T @ (sparse.diags_array(weight) @ A)).toarray())
    return gram(A, weight)


class General(Cumulative):
    """Each threshold has coefficients; block k of w is (threshold, columns) of psi_k.

    The coefficients of threshold k are the sum of the blocks 0 to k.
    """

    def linear(self, w: Array) -> tuple[Array, Array]:
        """Predictors of the rows beside each threshold, and of no others."""
        rows = self.rows
        B = np.cumsum(w.reshape(rows.n_thresholds, -1), axis=0)
        u, v = [], []
        for k, beta in enumerate(B):
            eta = rows.A[rows.beside(k)] @ beta
            u.append(eta[: rows.cuts[k + 1] - rows.cuts[k]])
            v.append(eta[rows.cuts[k + 1] - rows.cuts[k] :])
        return np.concatenate(u), np.concatenate(v)

    def pull(self, du: Array, dv: Array) -> Array:
        """Reverse cumulative sums of the gradients of the thresholds."""
        rows = self.rows
        G = np.empty((rows.n_thresholds, rows.A.shape[1]))
        for k in range(rows.n_thresholds):
            r = np.concatenate([du[rows.below(k)], dv[rows.below(k + 1)]])
            G[k] = rows.A[rows.beside(k)].T @ r
        return np.cumsum(G[::-1], axis=0)[::-1].ravel()

    def thresholds(self) -> BoolArray:
        """The first entry of each block."""
        return np.arange(self.size) % self.rows.A.shape[1] == 0

    def threshold_hessian(self, parts: Parts, columns: IntArray) -> Array:
        """Second derivatives in the thresholds' coefficients, (K-1, m, K-1, m).

        Only neighbouring thresholds meet in a row, so the matrix is block tridiagonal.
        """
        rows, m = self.rows, len(columns)
        A = rows.A if m == rows.A.shape[1] else rows.A[:, columns]
        H = np.zeros((rows.n_thresholds, m, rows.n_thresholds, m))
        for k in range(rows.n_thresholds):
            curve = np.concatenate(
                [parts.duu[rows.below(k)], parts.dvv[rows.below(k + 1)]]
            )
            H[k, :, k] = _gram(A[rows.beside(k)], curve)
            if k:
                here = rows.below(k)
                H[k, :, k - 1] = _gram(A[here], parts.duv[here])
                H[k - 1, :, k] = H[k, :, k - 1].T
        return H

    def hessian(self, second: Any, columns: Any) -> Array:
        """Second derivatives of the smooth part in some of the coefficients."""
        width = self.rows.A.shape[1]
        block, column = np.divmod(columns, width)
        wanted = np.bincount(column, minlength=width) > 0
        used, place = np.flatnonzero(wanted), (np.cumsum(wanted) - 1)[column]
        H = self.threshold_hessian(second, used)
        for k in range(self.rows.n_thresholds - 2, -1, -1):  # reverse cumulative sums
            H[k] += H[k + 1]
        for k in range(self.rows.n_thresholds - 2, -1, -1):
            H[:, :, k] += H[:, :, k + 1]
        flat = H.reshape(self.rows.n_thresholds * len(used), -1)
        if len(columns) < len(flat):
            here = block * len(used) + place
            flat = flat[np.ix_(here, here)]
        flat[np.diag_indices_from(flat)] += self.ridge[columns]
        return np.asarray(flat)


class Parallel(Cumulative):
    """All thresholds share their coefficients: thresholds first, then columns in w."""

    def linear(self, w: Array) -> tuple[Array, Array]:
        """One predictor for each row, plus its thresholds."""
        rows = self.rows
        m = rows.n_thresholds
        f = rows.A[:, 1:] @ w[m:]
        counts, levels = np.diff(rows.cuts), np.cumsum(w[:m])
        u = f[: rows.cuts[-2]] + np.repeat(levels, counts[:-1])
        return u, f[rows.cuts[1] :] + np.repeat(levels, counts[1:])

    def thresholds(self) -> BoolArray:
        """The first entries."""
        return np.arange(self.size) < self.rows.n_thresholds

    def _level_sums(self, first: Array, last: Array) -> Array:
        """Sums over the classes below and above each threshold, along axis 0."""
        cuts = self.rows.cuts[:-1]
        low = np.add.reduceat(first, cuts, axis=0)[:-1]
        return np.asarray(low + np.add.reduceat(last, cuts, axis=0)[1:])

    def pull(self, du: Array, dv: Array) -> Array:
        """Gradient in thresholds and columns."""
        levels = self._level_sums(du, dv)
        shared = self.rows.A[:, 1:].T @ (du + dv)
        return np.concatenate([np.cumsum(levels[::-1])[::-1], shared])

    def hessian(self, second: Any, columns: Any) -> Array:
        """Second derivatives of the smooth part in some of the coefficients."""
        m, width = self.rows.n_thresholds, self.size
        H = np.zeros((width, width))
        levels = np.diag(self._level_sums(second.duu, second.dvv))
        cross = np.add.reduceat(second.duv, self.rows.cuts[:-1])[1:-1]
        levels[np.arange(m - 1), np.arange(1, m)] = cross
        levels[np.arange(1, m), np.arange(m - 1)] = cross
        A = self.rows.A[:, 1:]
        first, last = second.duu + second.duv, second.dvv + second.duv
        mixed = np.empty((m, width - m))
        for k in range(m):
            below, above = self.rows.below(k), self.rows.below(k + 1)
            mixed[k] = A[below].T @ first[below] + A[above].T @ last[above]
        top = np.concatenate([levels, mixed], axis=1)
        H[:m] = np.cumsum(top[::-1], axis=0)[::-1]
        H[:m, :m] = np.cumsum(H[:m, :m][:, ::-1], axis=1)[:, ::-1]
        H[m:, :m] = H[:m, m:].T
        H[m:, m:] = _gram(A, first + last)
        H[np.diag_indices_from(H)] += self.ridge
        return H[np.ix_(columns, columns)]
