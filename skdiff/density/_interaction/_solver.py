"""Interaction screening, node by node, over a histogram of distinct rows.

With ``y_k`` the contrasts of the node's category in row k and ``z_k`` the products of
the other columns' contrasts, the margin is ``y_k' W z_k`` and a node minimises, with
weights ``s_k`` of sum one, one of

- RISE: ``S(W) = sum_k s_k exp(-y_k' W z_k)`` (Vuffray et al., 2016, eq. 4; for higher
  orders and more categories Vuffray, Misra and Lokhov, 2019);
- logRISE: ``log S(W)`` (Lokhov et al., 2018);
- the pseudo-likelihood: ``-sum_k s_k log softmax(C W z_k)[a_k]``;

plus L1 or group penalties on everything but the constant.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from skdiff._base.typing import Array
from skdiff._convex._prox_newton import Composite, prox_newton
from skdiff._convex._solve import Solution
from skdiff.density._features import Layout, Terms, softmax

LARGEST_EXPONENT = 50.0
METHODS = ("rise", "logrise", "pseudolikelihood")
# penalties alpha * sqrt(log(p^2 / confidence) / N) that the authors found to do best
DEFAULT_ALPHA = {"rise": 0.4, "logrise": 0.8, "pseudolikelihood": 0.2}


class NodeProblem(Composite):
    """The objective of one node over the table all nodes share.

    Coefficients have the shape ``(r, width of Z)``, flattened; those of products that
    contain the node itself stay zero because their gradient is masked.
    """

    def __init__(
        self,
        Z: Array,
        codes: Any,
        s: Array,
        basis: Array,
        own: Any,
        *,
        method: str,
        strength: float,
        groups: Sequence[Any] | None,
    ) -> None:
        self.Z, self.codes, self.s, self.basis, self.own = Z, codes, s, basis, own
        self.method, self.groups = method, groups
        self.width, self.r = Z.shape[1], basis.shape[1]
        self.size = self.r * self.width
        self.y = basis[codes]
        self.binary = basis.shape == (2, 1)
        if groups is None:
            self.unit = np.ones((self.r, self.width))
            self.unit[:, 0] = 0.0
            self.unit[:, own] = 0.0
            self.unit = self.unit.ravel()
        else:
            self.unit = np.r_[0.0, np.ones(len(groups) - 1)]
        self.lasso = strength * self.unit

    def margins(self, w: Array) -> tuple[Array, Array]:
        """``W z`` of every row, and its product with the row's own contrasts."""
        M = self.Z @ w.reshape(self.r, self.width).T
        return M, np.einsum("ij,ij->i", self.y, M)

    def spreads(self, w: Array) -> tuple[Array, Array]:
        """Weights of the rows in the curvature, and in the variance of the gradient."""
        M, margin = self.margins(w)
        if self.method == "pseudolikelihood":
            p, q = softmax(M @ self.basis.T), len(self.basis)
            curvature = (p * (1.0 - p)).sum(axis=1) / (1.0 - 1.0 / q)
            return self.s * curvature, self.s * curvature  # the equality of Fisher
        if self.method == "logrise":
            e = np.exp(margin.min() - margin)
            e /= float(self.s @ e)
        else:
            e = np.exp(-np.clip(margin, -LARGEST_EXPONENT, LARGEST_EXPONENT))
        return self.s * e, self.s * e**2

    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Any]:
        """Value, gradient, and the weights of which the Hessian is made."""
        M, margin = self.margins(w)
        if self.method == "pseudolikelihood":
            return self._likelihood(M, margin, w, order)
        if self.method == "rise":
            e = self.s * np.exp(-margin)
            value = total = float(e.sum())
        else:
            # the largest exponent is taken out, so that bad starts do not overflow
            top = float((-margin).max())
            e = self.s * np.exp(-margin - top)
            total = float(e.sum())
            value, e, total = float(np.log(total)) + top, e / total, 1.0
        if order == 0:
            return value, w, w
        gradient = -self._pull(e[:, None] * self.y)
        return value, gradient, (e, gradient)

    def _likelihood(
        self, M: Array, margin: Array, w: Array, order: int
    ) -> tuple[float, Array, Any]:
        if self.binary:  # -log sigmoid(2 margin), by one exponential
            small = np.exp(-2.0 * np.abs(margin))
            value = float(self.s @ (np.log1p(small) + 2.0 * np.maximum(-margin, 0.0)))
            if order == 0:
                return value, w, w
            other = np.where(margin >= 0, small, 1.0) / (1.0 + small)
            gradient = -self._pull((2.0 * self.s * other)[:, None] * self.y)
            return value, gradient, (4.0 * self.s * other * (1.0 - other), gradient)
        logits = M @ self.basis.T
        value = float(self.s @ (logsumexp(logits, axis=1) - margin))
        if order == 0:
            return value, w, w
        p = softmax(logits)
        gradient = self._pull(self.s[:, None] * (p @ self.basis - self.y))
        return value, gradient, (p, gradient)

    def _pull(self, R: Array) -> Array:
        """Gradient of the coefficients from residuals of shape (n, r)."""
        gradient = R.T @ self.Z
        gradient[:, self.own] = 0.0
        return np.asarray(gradient).ravel()

    def hessian(self, second: Any, columns: Any) -> Array:
        """Second derivatives in the flat coefficients ``columns``."""
        weights, gradient = second
        place, inputs = np.divmod(columns, self.width)
        used, inputs = np.unique(inputs, return_inverse=True)
        Z = self.Z if len(used) == self.width else self.Z[:, used]
        if self.binary:
            H: Array = ((Z.T * weights) @ Z)[np.ix_(inputs, inputs)]
        elif self.method == "pseudolikelihood":
            H = self._softmax_hessian(Z, weights, place, inputs)
        else:
            H = np.zeros((len(columns), len(columns)))
            for a in range(len(self.basis)):
                rows = np.flatnonzero(self.codes == a)
                G = (Z[rows].T * weights[rows]) @ Z[rows]
                outer = np.outer(self.basis[a, place], self.basis[a, place])
                H += outer * G[np.ix_(inputs, inputs)]
        if self.method == "logrise":
            H -= np.outer(gradient[columns], gradient[columns])
        return H

    def _softmax_hessian(self, Z: Array, p: Array, place: Any, inputs: Any) -> Array:
        mean = p @ self.basis
        H = np.zeros((len(place), len(place)))
        for i in range(self.r):
            here = np.flatnonzero(place == i)
            for k in range(i + 1):
                there = np.flatnonzero(place == k)
                v = p @ (self.basis[:, i] * self.basis[:, k]) - mean[:, i] * mean[:, k]
                G = (Z.T * (self.s * v)) @ Z
                block = G[np.ix_(inputs[here], inputs[there])]
                H[np.ix_(here, there)] = block
                H[np.ix_(there, here)] = block.T
        return H


def make_groups(terms: Terms, u: int, r: int, width: int) -> list[Any]:
    """Flat coefficients of the constant and of each product without node u."""
    rows = np.arange(r)[:, None] * width
    return [
        (rows + np.arange(place.start, place.stop)).ravel()
        for T, place in terms
        if u not in T
    ]


def make_node(
    u: int,
    codes: Any,
    s: Array,
    Z: Array,
    where: Layout,
    terms: Terms,
    *,
    method: str,
    penalty: str,
) -> NodeProblem:
    """State the problem of node u, with penalties of strength one."""
    own = np.zeros(Z.shape[1], dtype=bool)
    for T, place in terms:
        own[place] = u in T
    r = where.bases[u].shape[1]
    plain = r == 1 and all(place.stop - place.start == 1 for _, place in terms)
    groups = None
    if penalty == "group" and not plain:
        groups = make_groups(terms, u, r, Z.shape[1])
    return NodeProblem(
        Z,
        codes[:, u],
        s,
        where.bases[u],
        own,
        method=method,
        strength=1.0,
        groups=groups,
    )


def solve_node(
    problem: NodeProblem,
    strengths: Sequence[float],
    *,
    solver: str,
    tol: float,
    max_iter: int,
    start: Array | None = None,
) -> list[Solution]:
    """Solutions for decreasing strengths, each started from the last."""
    found, w = [], start
    for strength in strengths:
        problem.lasso = strength * problem.unit
        if solver == "cvxpy":
            from skdiff.density._interaction._problem import solve_by_cvxpy

            found.append(solve_by_cvxpy(problem, tol=tol))
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            solution = prox_newton(problem, w, tol=tol, max_iter=max_iter)
        largest = float(np.abs(problem.margins(solution.x)[1]).max())
        found.append(solution._replace(stats={"largest_margin": largest}))
        w = solution.x
    return found


def penalty_strength(
    alpha: float, confidence: float, n_features: int, total: float
) -> float:
    """``alpha * sqrt(log(p^2 / confidence) / N)``."""
    return float(alpha * np.sqrt(np.log(n_features**2 / confidence) / total))


class Noise(NamedTuple):
    """What is known of the estimates of interactions that are not there.

    Of one column with each other one, or of all pairs. Their standard deviation is
    ``noise`` times that of independent columns of the same frequencies, and a penalty
    of one takes off ``shrink``.
    """

    noise: Array
    shrink: Array


def node_noise(problem: NodeProblem, w: Array, terms: Terms, n_nodes: int) -> Noise:
    """Noise of a column's estimates, given those that are not zero (a sandwich).

    The part of another column that the neighbours do not explain carries the estimate;
    what the penalty does to the neighbours pushes it too.
    """
    own = problem.own
    pairs = [(T[0], p) for T, p in terms if len(T) == 1 and not own[p].any()]
    columns = np.concatenate([[0], *(np.r_[place] for _, place in pairs)]).astype(int)
    owner = np.concatenate([[-1], *(np.full(p.stop - p.start, v) for v, p in pairs)])
    Z, W = problem.Z[:, columns], w.reshape(problem.r, -1)[:, columns]
    curvature, spread = problem.spreads(w)
    H, V = (Z.T * curvature) @ Z, (Z.T * spread) @ Z
    found = Noise(np.ones(n_nodes), np.ones(n_nodes))
    if not np.isfinite(V).all():  # a column that has no finite answer
        return found
    variance = problem.s @ Z**2 - (problem.s @ Z) ** 2
    active = np.flatnonzero(W.any(axis=0) | (owner < 0))
    A = np.ix_(active, active)
    P = np.linalg.pinv(H[A], hermitian=True)
    # coefficients of each column on the active ones, and of active ones on the others
    B = P @ H[active]
    diagonal = np.maximum(np.diag(P), np.finfo(float).tiny)
    B[:, active] = np.eye(len(active)) - P / diagonal
    left = np.eye(len(columns))
    left[active] -= B
    bend = np.maximum(np.einsum("kj,kl,lj->j", left, H, left), 1e-12)
    # rounding can take a variance below zero
    spread2 = np.maximum(np.einsum("kj,kl,lj->j", left, V, left), 0.0)
    noise2 = spread2 * np.maximum(variance, 0.0) / bend**2
    # what the penalty pulls at: the direction of each block of coefficients
    length = np.sqrt(np.bincount(owner + 1, (W**2).sum(axis=0), n_nodes + 1))[owner + 1]
    force = np.where(owner < 0, 0.0, W / np.where(length > 0, length, 1.0))
    pull = force[:, active] @ B
    shrink = np.maximum(1.0 - np.abs(pull).max(axis=0), 0.0) / bend
    share = np.bincount(problem.codes, problem.s, minlength=len(problem.basis))
    alone = np.sqrt(np.sum(1.0 / share[share > 0])) / len(share)
    for v, _ in pairs:
        found.noise[v] = max(np.sqrt(noise2[owner == v].mean()) / max(alone, 1.0), 1.0)
        found.shrink[v] = shrink[owner == v].mean()
    return found


def noise_level(bound: float, penalty: float, scale: Array, pairs: Noise) -> Array:
    """What estimates of interactions that are not there reach at most, by pair.

    ``bound`` is that of independent balanced columns, which ``scale`` takes to other
    frequencies.
    """
    level = bound * scale * pairs.noise - penalty * pairs.shrink
    return np.asarray(np.maximum(level, penalty * scale))
