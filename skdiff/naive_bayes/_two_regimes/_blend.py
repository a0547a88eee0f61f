"""Weights of two classifiers, and logistic regression that starts from one of them.

Notation: ``L_m`` (n, K) holds the log probabilities of classifier m. The blend is
``p_k ~ exp(sum_m a_m L_mk)`` with ``a_m >= 0``: an exponent below 1 also takes back
over-confidence, which naive Bayes has wherever columns depend on each other.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import log_softmax, softmax

from skdiff._base.typing import Array, IntArray
from skdiff._convex._krylov import Product
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff._convex._losses import Multinomial
from skdiff._convex._newton import newton_krylov
from skdiff._convex._solve import Solution

#: log probabilities below this are as good as certain, and keep sums finite
LOWEST = -1e4
#: of Newton steps for intercepts, whose curvature is lost where all rows are certain
_DAMP = 1e-10
_LOSS = Multinomial()


class Correction(NamedTuple):
    """A linear model added to log probabilities: ``L + Z @ coef + intercept``."""

    coef: Array  # (p, K)
    intercept: Array  # (K,)

    def scores(self, logs: Array, Z: Any) -> Array:
        """Return the corrected scores of rows."""
        return logs + Z @ self.coef + self.intercept


def log_loss(scores: Array, codes: IntArray, weight: Array) -> float:
    """Weighted mean of the log loss of scores, which need not be normalised."""
    return float(weight @ _LOSS.evaluate(scores, codes)[0] / weight.sum())


def blend(logs: list[Array], exponents: Array) -> Array:
    """Log probabilities of the blend."""
    scores = sum(a * L for a, L in zip(exponents, logs, strict=True))
    mixed: Array = log_softmax(scores, axis=1)
    return mixed


def fit_exponents(
    logs: list[Array], codes: IntArray, weight: Array, center: Array
) -> Solution:
    """Exponents of the least penalised log loss, not below zero: a convex problem.

    The penalty ``|a - center|^2 / (2 n)`` counts like one row among the n. Without it
    the exponents have no limit where every row is classified correctly.
    """
    total = weight.sum()

    def objective(a: Array) -> tuple[float, Array]:
        scores = sum(x * L for x, L in zip(a, logs, strict=True))
        value, slope = _LOSS.evaluate(np.asarray(scores), codes, 1)
        slope *= weight[:, None]
        gradient = np.array([np.sum(slope * L) for L in logs]) + a - center
        penalty = 0.5 * float(np.sum((a - center) ** 2))
        return (float(weight @ value) + penalty) / total, gradient / total

    start = np.full(len(logs), 1.0 / len(logs))
    return lbfgs_box(objective, start, 0.0, max_iter=500, ftol=0.0, gtol=1e-11)


class _Towards:
    """The objective of :func:`fit_correction`, for Newton's method.

    Half the square of the sum of the intercepts is added, which is zero at a minimum:
    it takes away the direction in which scores do not change.
    """

    def __init__(
        self, logs: Array, Z: Any, codes: IntArray, weight: Array, penalty: float
    ) -> None:
        self.logs, self.Z, self.codes = logs, Z, codes
        self.w, self.penalty = weight / weight.sum(), penalty
        self.shape = Z.shape[1], logs.shape[1]
        self.squares = Z.power(2) if sparse.issparse(Z) else Z**2

    def unpack(self, x: Array) -> Correction:
        p, K = self.shape
        return Correction(x[: p * K].reshape(p, K), x[p * K :])

    def value(self, x: Array) -> float:
        """Mean log loss and penalty."""
        now = self.unpack(x)
        value = _LOSS.evaluate(now.scores(self.logs, self.Z), self.codes)[0]
        ridge = self.penalty * np.sum(now.coef**2) + np.sum(now.intercept) ** 2
        return float(self.w @ value + 0.5 * ridge)

    def derivatives(self, x: Array) -> tuple[Array, Product, Array]:
        """Gradient, products with the Hessian, and its diagonal."""
        now, Z, w = self.unpack(x), self.Z, self.w[:, None]
        P = softmax(now.scores(self.logs, Z), axis=1)
        slope = P.copy()
        slope[np.arange(len(P)), self.codes] -= 1.0
        slope *= w

        def product(v: Array) -> Array:
            change = self.unpack(v)
            F = Z @ change.coef + change.intercept
            curved = w * P * (F - np.sum(P * F, axis=1, keepdims=True))
            own = curved.sum(axis=0) + change.intercept.sum() + _DAMP * change.intercept
            return _flat(Z.T @ curved + self.penalty * change.coef, own)

        together = now.intercept.sum()
        gradient = _flat(
            Z.T @ slope + self.penalty * now.coef, slope.sum(axis=0) + together
        )
        spread = w * P * (1 - P)
        diagonal = _flat(
            self.squares.T @ spread + self.penalty, spread.sum(axis=0) + 1.0 + _DAMP
        )
        return gradient, product, diagonal


def _flat(coef: Array, intercept: Array) -> Array:
    return np.concatenate([np.asarray(coef).ravel(), intercept])


def fit_correction(
    logs: Array,
    Z: Any,
    codes: IntArray,
    weight: Array,
    penalty: float,
    start: Correction | None = None,
    *,
    tol: float = 1e-10,
) -> tuple[Correction, Solution]:
    """Logistic regression with a ridge towards the model behind ``logs``.

    Minimises the mean log loss of ``L + Z @ coef + intercept`` plus ``penalty / 2``
    times the squared coefficients. For a linear model behind ``logs`` this is a ridge
    towards its coefficients.
    """
    oracle = _Towards(logs, Z, codes, weight, penalty)
    x = np.zeros((Z.shape[1] + 1) * logs.shape[1])
    if start is not None:
        x = _flat(start.coef, start.intercept)
    found = newton_krylov(oracle, x, tol=tol)
    return oracle.unpack(found.x), found
