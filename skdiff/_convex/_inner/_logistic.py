"""Inner problems of logistic regression, of two classes and of more."""

import numpy as np

from skdiff._convex._inner._linear import Certified
from skdiff._convex._losses import Logistic, Multinomial
from skdiff._convex._newton_multinomial import (
    Curvature,
    Preconditioner,
    Rows,
    newton_multinomial,
    softmax_loss,
    solve_exactly,
)


class BinaryLogistic(Certified):
    """Two classes."""

    def _loss(self, theta):
        return Logistic()

    def _targets(self):
        return self.y.astype(float)[:, None]


class MultinomialLogistic(Certified):
    """Three classes and more, all with logits of their own."""

    kind = "multinomial"
    follows = True

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        self.rows = Rows(self.A)
        self.preconditioner = Preconditioner(self.rows, len(classes))
        self.free = self.intercept and not self.penalised_intercept
        return self

    def size(self, name, per):
        """Count coefficients class by class."""
        size = super().size(name, per)
        return (len(self.classes), size) if per == "coefficient" else size

    def lam(self, theta):
        """Penalty of each row of W, or of each entry."""
        penalty = self._penalty(theta)
        if np.ndim(penalty) < 2:
            return super().lam(theta)
        lam = np.zeros((self.A.shape[1], len(self.classes)))
        lam[: self.X.shape[1]] = penalty.T
        return lam

    def _targets(self):
        return self.y[:, None]

    def _flat(self):
        return False

    def _penalties(self, theta):
        """Penalty of each coefficient, class by class."""
        lam = self.lam(theta)
        shape = len(self.classes), self.A.shape[1]
        return np.ascontiguousarray(np.broadcast_to(lam.T, shape))

    def smallest_curvature(self, w, theta):
        """Smallest eigenvalue, but for the shift of all intercepts."""
        return self._curvature(w, theta).smallest_eigenvalue()

    def _curvature(self, w, theta):
        P = softmax_loss(self.rows.scores(w.T), self.y)[1]
        s, lam = self.weights(theta), self._penalties(theta)
        return Curvature(self.rows, s, P, lam, self.free)

    def solve(self, theta, w0, tol):
        """Newton with preconditioned conjugate gradients."""
        shape = len(self.classes), self.A.shape[1]
        leader = self.leader
        if leader is not None and leader.A.shape[1] == self.A.shape[1]:
            self.preconditioner.adopt(leader.preconditioner)
        W, curvature, n_iter = newton_multinomial(
            self.rows,
            self.y,
            self.weights(theta),
            self._penalties(theta),
            self.free,
            np.zeros(shape) if w0 is None else np.ascontiguousarray(w0.T),
            tol,
            self.preconditioner,
        )
        w = W.T
        self._last = (w, curvature)
        return w, n_iter

    def solve_hessian(self, w, theta, rhs, tol):
        """Conjugate gradients with the same preconditioner."""
        known = self._last[0] is w
        curvature = self._last[1] if known else self._curvature(w, theta)
        inverse, dtype = self.preconditioner.inverse(curvature)
        b = np.ascontiguousarray(rhs.T)
        return solve_exactly(curvature, b, inverse, dtype, tol).T

    def _first(self, w, theta):
        return Multinomial().evaluate(self.A @ w, self.y, 1)[1]


def logistic_kind(classes):
    """Problem of two classes, or of more."""
    return BinaryLogistic if len(classes) == 2 else MultinomialLogistic
