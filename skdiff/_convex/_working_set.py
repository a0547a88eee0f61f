"""L1-penalised least squares, exact on its support.

``h(w) = w'Gw / 2 - c'w + sum_j a_j |w_j| + sum_j b_j w_j^2 / 2`` with ``G`` and ``c``
the weighted mean products of the rows. A working set grows until no coefficient
outside it violates the optimality conditions. On it, linear systems on a guessed
support settle the signs; where they do not, scikit-learn's coordinate descent does.
Only the Gram matrix of the working set is ever formed.
"""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import enet_path

from skdiff._base.typing import Array
from skdiff._convex._newton_linear import cholesky_solver

_SETTLE, _GROW = 12, 50


class Columns:
    """Rows about their weighted means; sparse ones are centred in the products.

    Columns that were ever looked at are kept in a pool with their Gram matrix.
    """

    def __init__(self, X: Any, y: Array, s: Array, centre: bool) -> None:
        self.share = s / s.sum()
        self.sparse = sparse.issparse(X)
        n, d = X.shape
        self.mean = np.asarray(self.share @ X).ravel() if centre else np.zeros(d)
        self.y_mean = float(self.share @ y) if centre else 0.0
        self.root = np.sqrt(self.share)
        self.r = self.root * (y - self.y_mean)
        self.yy = float(self.r @ self.r)
        if self.sparse:
            # centred targets make the means of the columns drop out of the products
            self.X = sparse.csc_array(sparse.diags_array(self.root) @ X)
        else:
            self.X = X - self.mean
            self.X *= self.root[:, None]
        self.place = np.full(d, -1)
        self.pool = np.empty(0, dtype=int)
        self.P: Any = np.empty((n, 0), order="F")
        self.G = np.empty((0, 0))
        self.c = self._pull(self.r)
        self._last: tuple[Any, Array] = (None, self.c)

    def _pull(self, r: Array) -> Array:
        back = np.asarray(self.X.T @ r).ravel()
        return back - self.mean * float(self.root @ r) if self.sparse else back

    def gradient(self, w: Array) -> Array:
        """``c - G w``: the negative gradient of the quadratic part."""
        if self._last[0] is w:
            return self._last[1]
        support = np.flatnonzero(w)
        self._ensure(support)
        if self.sparse:
            fit = np.asarray(self.X[:, support] @ w[support]).ravel()
            fit = fit - self.root * float(self.mean[support] @ w[support])
        else:
            fit = self.P[:, self.place[support]] @ w[support]
        self._last = (w, self._pull(self.r - fit))
        return self._last[1]

    def _ensure(self, W: Any) -> None:
        """Bring columns into the pool."""
        new = W[self.place[W] < 0]
        if not len(new):
            return
        k, m = len(self.pool), len(self.pool) + len(new)
        self.place[new] = np.arange(k, m)
        self.pool = np.concatenate([self.pool, new])
        G = np.empty((m, m))
        G[:k, :k] = self.G
        if self.sparse:
            cross = (self.X[:, self.pool].T @ self.X[:, new]).toarray()
            cross = cross - np.outer(self.mean[self.pool], self.mean[new])
        else:
            added = np.asfortranarray(np.take(self.X, new, axis=1))
            self.P = np.asfortranarray(np.hstack([self.P, added]))
            cross = self.P.T @ added
        G[:, k:] = cross
        G[k:, :k] = cross[:k].T
        self.G = G

    def gram(self, W: Any) -> Array:
        """Gram matrix of some columns, a copy."""
        self._ensure(W)
        at = self.place[W]
        return block(self.G, at)


def block(G: Array, S: Any) -> Array:
    """Rows and columns S of a matrix: two takes cost a third of one double index."""
    return np.asarray(G.take(S, axis=0).take(S, axis=1))


def settle(
    G: Array, c: Array, a: Array, b: Array, w: Array, slack: float
) -> tuple[Array, bool]:
    """Solve on the support of ``w``, mending it while signs and conditions disagree."""
    sign = np.sign(w)
    seen: set[bytes] = set()
    for _ in range(_SETTLE):
        S = np.flatnonzero((sign != 0) | (a == 0))
        new = np.zeros_like(w)
        if len(S):
            H = block(G, S)
            H.flat[:: len(S) + 1] += b[S]
            new[S] = cholesky_solver(H)(c[S] - (a * sign)[S])
        if not np.all(np.isfinite(new)):
            return w, False
        flipped = (sign != 0) & (np.sign(new) != sign) & (a > 0)
        off = c - G @ new - b * new
        missing = (sign == 0) & (np.abs(off) > a + slack) & (a > 0)
        if not flipped.any() and not missing.any():
            inside = np.abs(off[S] - (a * sign)[S])
            near = max(slack, 1e-9 * float(np.abs(c).max(initial=0.0)))
            return new, bool(inside.max(initial=0.0) <= near)
        sign = np.where(flipped, 0.0, np.where(missing, np.sign(off), sign))
        key = sign.tobytes()
        if key in seen:  # going in circles: coordinate descent decides
            return w, False
        seen.add(key)
    return w, False


def _descend(
    G: Array, c: Array, yy: float, a: Array, b: Array, w: Array, tol: float
) -> Array:
    """Coordinate descent in ``u = a w``, so that one penalty serves all."""
    free = a == 0
    if free.any():
        # the unpenalised coefficients are the minimisers given the others
        F, P = np.flatnonzero(free), np.flatnonzero(~free)
        H = block(G, F)
        H.flat[:: len(F) + 1] += b[F]
        solve = cholesky_solver(H)
        cross = G[np.ix_(F, P)]
        solved = solve(cross)
        out = np.zeros_like(w)
        out[P] = _descend(
            block(G, P) - cross.T @ solved,
            c[P] - solved.T @ c[F],
            yy,
            a[P],
            b[P],
            w[P],
            tol,
        )
        out[F] = solve(c[F] - cross @ out[P])
        return out
    m = len(w)
    scaled = np.ascontiguousarray(G / a / a[:, None])
    scaled.flat[:: m + 1] += b / a**2
    _, coefs, _ = enet_path(
        np.zeros((1, m), order="F"),
        np.array([np.sqrt(yy)]),
        l1_ratio=1.0,
        alphas=[1.0],
        precompute=scaled,
        Xy=np.ascontiguousarray(c / a),
        coef_init=a * w,
        check_input=False,
        tol=tol,
        max_iter=10_000,
    )
    return np.asarray(coefs[:, 0] / a)


def elastic_net(
    columns: Columns, a: Array, b: Array, w: Array, tol: float
) -> tuple[Array, int]:
    """Minimise, started from ``w``; returns the solution and the rounds needed."""
    # an absolute slack in the units of the gradient: rounding, not accuracy
    slack = 1e-10 * max(float(np.abs(columns.c).max(initial=0.0)), 1e-300)
    working = np.flatnonzero((w != 0) | (a == 0))
    G = columns.gram(working)
    off = columns.gradient(w)
    rounds = 0
    while True:
        rounds += 1
        excess = np.abs(off) - a
        excess[working] = -np.inf
        if rounds == 1:  # what is about to enter: room for the first solve
            add = np.flatnonzero(excess > 0)
        else:
            add = np.flatnonzero(excess > slack)
            if not len(add):
                return w, rounds - 1
        if len(add) > max(_GROW, len(working)):
            add = add[np.argsort(-excess[add])[: max(_GROW, len(working))]]
        if len(add):
            working = np.concatenate([working, add])
            G = columns.gram(working)
        c = columns.c[working]
        aw, bw = a[working], b[working]
        part, fine = settle(G, c, aw, bw, w[working], slack)
        accuracy = max(tol, 1e-12)
        while not fine:
            part = _descend(G, c, max(columns.yy, 1e-300), aw, bw, part, accuracy)
            part, fine = settle(G, c, aw, bw, part, slack)
            if accuracy <= 1e-14:
                break
            accuracy = max(1e-2 * accuracy, 1e-14)
        w = np.zeros_like(w)
        w[working] = part
        off = columns.gradient(w)
        if rounds > 100:
            return w, rounds
