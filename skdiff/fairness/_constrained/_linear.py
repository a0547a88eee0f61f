"""Linear models under constraints: Lagrangians in one pass over the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import logsumexp, softmax

from skdiff._base.typing import Array, IntArray
from skdiff._convex._dual_ascent import Terms
from skdiff._convex._losses import Logistic
from skdiff._convex._solve import Solution
from skdiff.fairness._constrained._terms import (
    Elementwise,
    Term,
    custom_loss,
    smooth_decision,
)


@dataclass(frozen=True)
class LinearModel:
    """Rows ``A`` (a last column of ones for the intercept), and what is minimised.

    ``sum_i weight_i loss(A_i x, y_i) + sum_k ridge_k x_k^2 / 2``, weights of sum one.
    """

    A: Any
    y: Array
    weight: Array
    ridge: Array
    logistic: bool


def row_loss(logistic: bool, f: Array, y: Array) -> Elementwise:
    """Log loss, or ``(y - f)^2``."""
    if logistic:
        return Elementwise(*Logistic().evaluate(f, y, 2))
    r = f - y
    return Elementwise(r * r, 2.0 * r, np.full_like(r, 2.0))


def gram(A: Any, h: Array) -> Array:
    """``A' diag(h) A``."""
    if sparse.issparse(A):
        return np.asarray((A.T @ A.multiply(h[:, None])).toarray())
    return np.asarray((A.T * h) @ A)


def pull(A: Any, V: Array) -> Array:
    """``V A`` for rows of weights V."""
    return np.asarray((A.T @ V.T).T)


class LinearProblem:
    """One output per row: logistic regression of two classes, or least squares."""

    def __init__(
        self, model: LinearModel, terms: Sequence[Term], temperature: float
    ) -> None:
        self.model, self.terms_, self.temperature = model, list(terms), temperature
        self.bounds = np.array([t.bound for t in terms], dtype=np.float64)
        self.curved = [(j, t) for j, t in enumerate(self.terms_) if t.kind != "score"]
        self.straight = [j for j, t in enumerate(self.terms_) if t.kind == "score"]
        self.slopes = np.zeros((len(self.straight), model.A.shape[1]))
        if self.straight:
            weights = np.array([self.terms_[j].weights for j in self.straight])
            self.slopes = pull(model.A, weights)
        self.convex = all(t.kind in ("loss", "score") for t in self.terms_)

    def _elementwise(self, f: Array) -> dict[Any, Elementwise]:
        """Losses of the rows, each computed once."""
        y = self.model.y
        found: dict[Any, Elementwise] = {"loss": row_loss(self.model.logistic, f, y)}
        for j, term in self.curved:
            if term.kind == "rate":
                found.setdefault("rate", smooth_decision(f, self.temperature))
            elif term.kind == "probability":
                found.setdefault("probability", smooth_decision(f, 1.0))
            elif term.kind == "custom":
                found[j] = custom_loss(term.row_loss, f, y, term.entry)
        return found

    def _of(self, found: dict[Any, Elementwise], j: int, term: Term) -> Elementwise:
        return found[j] if term.kind == "custom" else found[term.kind]

    def _mixed(self, x: Array, multipliers: Array) -> tuple[float, Array, Array]:
        """Value, and both derivatives in the output of each row, less the ridge."""
        found = self._elementwise(np.asarray(self.model.A @ x))
        value, first, second = (self.model.weight * part for part in found["loss"])
        for j, term in self.curved:
            if multipliers[j]:
                a, parts = multipliers[j] * term.weights, self._of(found, j, term)
                value = value + a * parts.value
                first, second = first + a * parts.first, second + a * parts.second
        total = float(value.sum()) - float(multipliers @ self.bounds)
        return total, first, second

    def lagrangian(self, x: Array, multipliers: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian."""
        value, first, second = self._mixed(x, multipliers)
        value, gradient = self._with_linear(value, first, x, multipliers)
        hessian = gram(self.model.A, second)
        hessian.flat[:: len(hessian) + 1] += self.model.ridge
        return value, gradient, hessian

    def slope(self, x: Array, multipliers: Array) -> tuple[float, Array]:
        """Return value and gradient."""
        value, first, _ = self._mixed(x, multipliers)
        return self._with_linear(value, first, x, multipliers)

    def _with_linear(
        self, value: float, first: Array, x: Array, multipliers: Array
    ) -> tuple[float, Array]:
        ridge = self.model.ridge
        gradient = self.model.A.T @ first + ridge * x
        value += float(ridge @ x**2) / 2
        if self.straight:
            direction = multipliers[self.straight] @ self.slopes
            gradient = gradient + direction
            value += float(direction @ x)
        return value, np.asarray(gradient)

    def terms(self, x: Array) -> Terms:
        """Return objective, excess and Jacobian."""
        found = self._elementwise(np.asarray(self.model.A @ x))
        objective = float(self.model.weight @ found["loss"].value)
        objective += float(self.model.ridge @ x**2) / 2
        values = np.empty(len(self.terms_))
        jacobian = np.empty((len(values), len(x)))
        if self.straight:
            values[self.straight] = self.slopes @ x
            jacobian[self.straight] = self.slopes
        if self.curved:
            rows = np.empty((len(self.curved), len(self.model.y)))
            for k, (j, term) in enumerate(self.curved):
                parts = self._of(found, j, term)
                values[j] = term.weights @ parts.value
                rows[k] = term.weights * parts.first
            jacobian[[j for j, _ in self.curved]] = pull(self.model.A, rows)
        return Terms(objective, values - self.bounds, jacobian)


class SoftmaxProblem:
    """Several classes; constraints on losses only. Unknowns are class by class."""

    convex = True

    def __init__(self, model: LinearModel, terms: Sequence[Term]) -> None:
        self.model = model
        self.codes: IntArray = model.y.astype(np.int64)
        self.n_classes = int(self.codes.max()) + 1
        self.bounds = np.array([t.bound for t in terms], dtype=np.float64)
        n = len(model.y)
        self.weights = np.array([t.weights for t in terms]).reshape(len(terms), n)
        self.ridge = np.tile(model.ridge, self.n_classes)

    def _scores(self, x: Array) -> Array:
        W = x.reshape(self.n_classes, -1)
        return np.asarray(self.model.A @ W.T)

    def _losses(self, F: Array) -> Array:
        return np.asarray(logsumexp(F, axis=1) - F[np.arange(len(F)), self.codes])

    def _residual(self, F: Array) -> tuple[Array, Array]:
        p = softmax(F, axis=1)
        r = p.copy()
        r[np.arange(len(F)), self.codes] -= 1.0
        return p, r

    def lagrangian(self, x: Array, multipliers: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian."""
        value, gradient = self.slope(x, multipliers)
        t = self.model.weight + multipliers @ self.weights
        p, K = softmax(self._scores(x), axis=1), self.n_classes
        d = len(x) // K
        hessian = np.empty((K * d, K * d))
        for k in range(K):
            for m in range(k + 1):
                h = t * p[:, k] * ((k == m) - p[:, m])
                block = gram(self.model.A, h)
                hessian[k * d : (k + 1) * d, m * d : (m + 1) * d] = block
                hessian[m * d : (m + 1) * d, k * d : (k + 1) * d] = block.T
        hessian.flat[:: K * d + 1] += self.ridge
        return value, gradient, hessian

    def slope(self, x: Array, multipliers: Array) -> tuple[float, Array]:
        """Return value and gradient."""
        F = self._scores(x)
        t = self.model.weight + multipliers @ self.weights
        _, r = self._residual(F)
        gradient = pull(self.model.A, (t[:, None] * r).T).ravel() + self.ridge * x
        value = float(t @ self._losses(F)) + float(self.ridge @ x**2) / 2
        return value - float(multipliers @ self.bounds), gradient

    def terms(self, x: Array) -> Terms:
        """Return objective, excess and Jacobian."""
        F = self._scores(x)
        losses, (_, r) = self._losses(F), self._residual(F)
        objective = float(self.model.weight @ losses) + float(self.ridge @ x**2) / 2
        jacobian = np.array(
            [pull(self.model.A, (a[:, None] * r).T).ravel() for a in self.weights]
        ).reshape(len(self.bounds), len(x))
        return Terms(objective, self.weights @ losses - self.bounds, jacobian)


def solve_statement(problem: Any) -> Solution:
    """The problem as it is written, in cvxpy; ``stats`` as the ascent gives them."""
    import cvxpy as cp

    from skdiff._convex._solve import solve

    if not problem.convex:
        raise ValueError(
            'solver="cvxpy" solves convex problems only: constraints on losses and on '
            "mean scores."
        )
    model, limits = problem.model, []
    if isinstance(problem, SoftmaxProblem):
        x = cp.Variable(len(problem.ridge))
        W = cp.reshape(x, (problem.n_classes, model.A.shape[1]), order="C")
        F = model.A @ W.T
        picked = np.eye(problem.n_classes)[problem.codes]
        losses = cp.log_sum_exp(F, axis=1) - cp.sum(cp.multiply(picked, F), axis=1)
        ridge = problem.ridge
        pairs = zip(problem.weights, problem.bounds, strict=True)
        limits = [a @ losses <= c for a, c in pairs]
    else:
        x, ridge = cp.Variable(len(model.ridge)), model.ridge
        f = model.A @ x
        losses = cp.square(f - model.y)
        if model.logistic:
            losses = cp.logistic(f) - cp.multiply(model.y, f)
        for j, term in enumerate(problem.terms_):
            straight = term.kind == "score"
            row = problem.slopes[problem.straight.index(j)] if straight else None
            left = row @ x if straight else term.weights @ losses
            limits.append(left <= term.bound)
    penalty = cp.sum(cp.multiply(ridge / 2, cp.square(x)))
    statement = cp.Problem(cp.Minimize(model.weight @ losses + penalty), limits)
    found = solve(statement, x, hint="the bounds of constraints")
    terms = problem.terms(found.x)
    multipliers = [np.maximum(float(limit.dual_value), 0.0) for limit in limits]
    stats = {
        "multipliers": np.array(multipliers, dtype=np.float64),
        "excess": terms.excess,
        "capped": False,
    }
    gap = abs(float(stats["multipliers"] @ terms.excess)) + found.gap
    return Solution(found.x, terms.objective, gap, found.n_iter, found.converged, stats)
