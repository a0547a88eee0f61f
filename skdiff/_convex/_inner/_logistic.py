"""Inner problems of logistic regression, of two classes and of more."""

from typing import Any

import numpy as np

from skdiff._convex._inner._linear import Certified
from skdiff._convex._inner._problem import Values
from skdiff._convex._losses import Logistic, Multinomial
from skdiff._convex._newton_multinomial import (
    Curvature,
    MultinomialProblem,
    Preconditioner,
    Rows,
    newton_multinomial,
    softmax_loss,
    solve_exactly,
)


class BinaryLogistic(Certified):
    """Two classes."""

    def _loss(self, theta: Values) -> Any:
        return Logistic()

    def _targets(self) -> Any:
        return self.y.astype(float)[:, None]


class MultinomialLogistic(Certified):
    """Three classes and more, all with logits of their own."""

    kind = "multinomial"
    follows = True

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
        self.rows = Rows(self.A)
        self.preconditioner = Preconditioner(self.rows, len(classes))
        self.free = self.intercept and not self.penalised_intercept
        return self

    def size(self, name: str, per: Any) -> Any:
        """Count coefficients class by class."""
        size = super().size(name, per)
        return (len(self.classes), size) if per == "coefficient" else size

    def lam(self, theta: Values) -> Any:
        """Penalty of each row of W, or of each entry."""
        penalty = self._penalty(theta)
        if np.ndim(penalty) < 2:
            return super().lam(theta)
        lam = np.zeros((self.A.shape[1], len(self.classes)))
        lam[: self.X.shape[1]] = penalty.T
        return lam

    def _targets(self) -> Any:
        return self.y[:, None]

    def _flat(self) -> Any:
        return False

    def _penalties(self, theta: Values) -> Any:
        """Penalty of each coefficient, class by class."""
        lam = self.lam(theta)
        shape = len(self.classes), self.A.shape[1]
        return np.ascontiguousarray(np.broadcast_to(lam.T, shape))

    def smallest_curvature(self, w: Any, theta: Values) -> Any:
        """Smallest eigenvalue, but for the shift of all intercepts."""
        return self._curvature(w, theta).smallest_eigenvalue()

    def _curvature(self, w: Any, theta: Values) -> Any:
        P = softmax_loss(self.rows.scores(w.T), self.y)[1]
        s, lam = self.weights(theta), self._penalties(theta)
        return Curvature(self.rows, s, P, lam, self.free)

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Newton with preconditioned conjugate gradients."""
        shape = len(self.classes), self.A.shape[1]
        leader = self.leader
        if leader is not None and leader.A.shape[1] == self.A.shape[1]:
            self.preconditioner.adopt(leader.preconditioner)
        problem = MultinomialProblem(
            self.rows, self.y, self.weights(theta), self._penalties(theta), self.free
        )
        start = np.zeros(shape) if w0 is None else np.ascontiguousarray(w0.T)
        found = newton_multinomial(problem, start, tol, self.preconditioner)
        w = found.x.T
        self._last = (w, found.stats)
        return w, found.n_iter

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Conjugate gradients with the same preconditioner."""
        known = self._last[0] is w
        curvature = self._last[1] if known else self._curvature(w, theta)
        inverse, dtype = self.preconditioner.inverse(curvature)
        b = np.ascontiguousarray(rhs.T)
        return solve_exactly(curvature, b, inverse, dtype, tol).T

    def _loss(self, theta: Values) -> Any:
        return Multinomial()

    def _first(self, w: Any, theta: Values) -> Any:
        return self._loss(theta).evaluate(self.A @ w, self.y, 1)[1]


def logistic_kind(classes: Any) -> Any:
    """Problem of two classes, or of more."""
    return BinaryLogistic if len(classes) == 2 else MultinomialLogistic
