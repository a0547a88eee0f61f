"""Inner problems of linear models with smooth losses and a ridge penalty."""

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.class_weight import compute_class_weight

from skdiff._convex._losses import Logistic, Multinomial, Squared, SquaredHinge
from skdiff.model_selection._inner import InnerProblem, inner_problem
from skdiff.model_selection._smooth import (
    DIRECT,
    Curvature,
    EpsilonInsensitive,
    MultinomialCurvature,
    cholesky_solver,
    newton_linear,
    newton_multinomial,
    pcg,
    rough_solver,
    smallest_eigenvalue,
)

PENALTY = "C"
_SMALL = 120  # unknowns of a multinomial model that cost nothing to factorise


def with_intercept(X, scale):
    """Append a constant column."""
    if sparse.issparse(X):
        column = sparse.csr_array(np.full((X.shape[0], 1), scale))
        return sparse.hstack([sparse.csr_array(X), column], format="csr")
    return np.column_stack([X, np.full(X.shape[0], scale)])


def class_factors(class_weight, classes, codes, sample_weight):
    """Weight of each row by its class."""
    if class_weight is None:
        return None
    factors = compute_class_weight(
        class_weight, classes=classes, y=classes[codes], sample_weight=sample_weight
    )
    return factors[codes]


class SmoothLinear(InnerProblem):
    """``sum_i s_i loss(a_i'w, y_i) + sum_j lam_j w_j^2 / 2``, column by column."""

    intercept_scale = 1.0
    penalised_intercept = False

    # --- what a subclass says ---------------------------------------------------------

    def _loss(self, theta):
        raise NotImplementedError

    def _targets(self):
        """Return targets of shape (n_samples, n_columns)."""
        raise NotImplementedError

    def _penalty(self, theta):
        """Return lam: a number, or one a feature; 1/C where the estimator has C."""
        C = np.asarray(self.value(theta, "C"), dtype=float)
        with np.errstate(divide="ignore"):
            return 1.0 / C

    def _pull_penalty(self, theta, slope):
        """From the derivative in lam of each feature to that in the parameter."""
        C = np.asarray(theta["C"], dtype=float)
        scaled = -slope / C**2
        return {"C": scaled if C.ndim else float(scaled.sum())}

    def _row_factors(self):
        """Weights of the rows that are not searched."""
        n = self.X.shape[0]
        s = np.ones(n) if self.sample_weight is None else self.sample_weight
        weight = getattr(self.estimator, "class_weight", None)
        if self.classes is not None and weight is not None:
            s = s * class_factors(weight, self.classes, self.y, self.sample_weight)
        return s

    # --- the problem ------------------------------------------------------------------

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        self.intercept = bool(self.estimator.fit_intercept)
        if self.intercept:
            X = with_intercept(X, self.intercept_scale)
            X_val = (
                None if X_val is None else with_intercept(X_val, self.intercept_scale)
            )
        self.A, self.A_val = X, X_val
        self.cheap = not sparse.issparse(X)
        self.base = self._row_factors()
        self.T = self._targets()
        self._last = (None, None)
        return self

    def weights(self, theta):
        """Weights of the rows."""
        return (
            self.base * theta["sample_weight"]
            if "sample_weight" in theta
            else self.base
        )

    def lam(self, theta):
        """Penalty of each row of W."""
        d = self.X.shape[1]
        lam = np.zeros(self.A.shape[1])
        penalty = self._penalty(theta)
        lam[:d] = penalty
        if self.intercept and self.penalised_intercept:
            lam[d] = np.mean(penalty)
        return lam

    def solve(self, theta, w0, tol):
        """Newton, a column at a time."""
        p, m = self.A.shape[1], self.T.shape[1]
        W = np.zeros((p, m)) if w0 is None else w0
        s, lam, loss = self.weights(theta), self.lam(theta), self._loss(theta)
        columns, curvatures, n_iter = [], [], 0
        for k in range(m):
            w, curvature, used = newton_linear(
                self.A, self.T[:, k], s, lam, loss, W[:, k], tol
            )
            columns.append(w)
            curvatures.append(curvature)
            n_iter += used
        W = np.column_stack(columns)
        self._last = (W, curvatures)
        return W, n_iter

    def solve_hessian(self, w, theta, rhs, tol):
        """Reuse the factors of the last Newton step."""
        if self._last[0] is not w:
            self.solve(theta, w, tol)
        curvatures = self._last[1]
        columns = [c.solve(rhs[:, k], tol) for k, c in enumerate(curvatures)]
        return np.column_stack(columns)

    def predict(self, w, X):
        """Margins or values."""
        if X is self.X_val:
            raw = self.A_val @ w
        else:
            A = with_intercept(X, self.intercept_scale) if self.intercept else X
            raw = A @ w
        return raw[:, 0] if self._flat() else raw

    def _flat(self):
        return self.T.shape[1] == 1 and self.y.ndim == 1

    def pull(self, w, theta, gradient):
        """Gradient in W."""
        return np.asarray(self.A_val.T @ gradient.reshape(gradient.shape[0], -1))

    def _first(self, w, theta):
        """First derivative of each row's loss."""
        return self._loss(theta).evaluate(self.A @ w, self.T, 1)[1]

    # --- certificates, for solvers that ask for valid bounds --------------------------

    kind = "binary"

    def rows_for_bounds(self, theta):
        """Design, weights and penalties."""
        return self.A, self.weights(theta), self.lam(theta)

    def smallest_curvature(self, w, theta):
        """Smallest eigenvalue of the Hessian, over the columns."""
        s, lam, loss = self.weights(theta), self.lam(theta), self._loss(theta)
        second = loss.evaluate(self.A @ w, self.T, 2)[2]
        found = [smallest_eigenvalue(Curvature(self.A, s * c, lam)) for c in second.T]
        return min(found)

    def cross(self, w, theta, q):
        """Products for the penalty and the weights of the rows."""
        out = {}
        if self._penalty_name in theta:
            slope = np.sum(w * q, axis=1)
            d = self.X.shape[1]
            if self.intercept and self.penalised_intercept and slope.size:
                slope = self._with_intercept_slope(theta, slope, d)
            out |= self._pull_penalty(theta, slope[:d])
        if "sample_weight" in theta:
            rows = np.sum(self._first(w, theta) * (self.A @ q), axis=1)
            out["sample_weight"] = self.base * rows
        return out

    _penalty_name = PENALTY

    def _with_intercept_slope(self, theta, slope, d):
        # the intercept's penalty is the common one: its share goes to all features
        shared = slope.copy()
        shared[:d] += slope[d] / max(d, 1)
        return shared


class Certified(SmoothLinear):
    """A twice differentiable loss: the gradient certifies a solution."""

    def gradient(self, w, theta):
        """Gradient of the training problem."""
        s, lam = self.weights(theta), self.lam(theta)
        first = self._first(w, theta)
        return np.asarray(self.A.T @ (s[:, None] * first)) + lam[:, None] * w


class BinaryLogistic(Certified):
    """Two classes."""

    def _loss(self, theta):
        return Logistic()

    def _targets(self):
        return self.y.astype(float)[:, None]


class MultinomialLogistic(Certified):
    """Three classes and more, all with logits of their own."""

    kind = "multinomial"

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold."""
        self._rough = {}
        return super().bind(
            X, y, sample_weight=sample_weight, X_val=X_val, classes=classes
        )

    def smallest_curvature(self, w, theta):
        """Smallest eigenvalue, but for the shift of all intercepts."""
        P = softmax(self.A @ w, axis=1)
        free = self.intercept and not self.penalised_intercept
        s, lam = self.weights(theta), self.lam(theta)
        return smallest_eigenvalue(MultinomialCurvature(self.A, s, P, lam, free))

    def _targets(self):
        return self.y[:, None]

    def _flat(self):
        return False

    def _precondition(self, theta):
        """Return approximate inverses.

        Small systems are factorised at every step. Large ones keep a rough factor, in
        single precision and of an earlier step, until it takes too many iterations.
        """
        p, K = self.A.shape[1], len(self.classes)
        lam = self.lam(theta)
        if sparse.issparse(self.A) or p * K > DIRECT:
            return lambda curvature, fresh: _jacobi(curvature)
        always = p * K <= _SMALL
        state = {} if always else self._rough

        def preconditioner(curvature, fresh):
            dtype = np.float64 if always else np.float32
            if always or fresh or "H" not in state:
                state["H"], state["lam"] = curvature.loss_matrix(dtype), None
            if not np.array_equal(state["lam"], lam):
                H = state["H"].copy()
                H.flat[:: len(H) + 1] += np.repeat(lam, K).astype(dtype)
                invert = cholesky_solver if always else rough_solver
                state["lam"], state["solve"] = lam, invert(H)
            solve = state["solve"]
            return lambda R: solve(R.ravel()).reshape(R.shape)

        return preconditioner

    def solve(self, theta, w0, tol):
        """Newton with preconditioned conjugate gradients."""
        K = len(self.classes)
        W = np.zeros((self.A.shape[1], K)) if w0 is None else w0
        W, curvature, n_iter = newton_multinomial(
            self.A,
            self.y,
            self.weights(theta),
            self.lam(theta),
            self.intercept and not self.penalised_intercept,
            W,
            tol,
            self._precondition(theta),
        )
        self._last = (W, curvature)
        return W, n_iter

    def solve_hessian(self, w, theta, rhs, tol):
        """Conjugate gradients with the same preconditioner."""
        if self._last[0] is not w:
            self.solve(theta, w, tol)
        curvature = self._last[1]
        inverse = self._precondition(theta)(curvature, False)
        return pcg(curvature.product, rhs, inverse, tol)[0]

    def _first(self, w, theta):
        return Multinomial().evaluate(self.A @ w, self.y, 1)[1]


def _jacobi(curvature):
    A, spread = curvature.A, curvature.P * (1 - curvature.P)
    spread = curvature.s[:, None] * spread
    squares = A.power(2) if sparse.issparse(A) else A**2
    diagonal = np.asarray(squares.T @ spread) + curvature.lam[:, None]
    diagonal[diagonal <= 0] = 1.0
    return lambda R: R / diagonal


class LogisticProblem(InnerProblem):
    """Chooses between two classes and more when it sees them."""

    parameters = {"C": (None,), "sample_weight": ("sample", "group")}

    def __init__(self, estimator):
        super().__init__(estimator)
        penalty = getattr(estimator, "penalty", "deprecated")
        mixed = penalty == "deprecated" and getattr(estimator, "l1_ratio", 0) not in (
            0,
            None,
        )
        if penalty not in ("l2", "deprecated") or mixed:
            raise ValueError(
                "The inner problem of LogisticRegression has an L2 penalty. Got "
                f"penalty={penalty!r} and "
                f"l1_ratio={getattr(estimator, 'l1_ratio', None)!r}."
            )

    def bind(self, X, y, *, sample_weight=None, X_val=None, classes=None):
        """Take the rows of one fold."""
        kind = BinaryLogistic if len(classes) == 2 else MultinomialLogistic
        problem = kind(self.estimator)
        if getattr(self.estimator, "solver", None) == "liblinear":
            problem.penalised_intercept = True
            problem.intercept_scale = float(self.estimator.intercept_scaling)
        return problem.bind(
            X, y, sample_weight=sample_weight, X_val=X_val, classes=classes
        )


class LinearSVCProblem(SmoothLinear):
    """Squared hinge, one class against the rest; liblinear's penalised intercept."""

    parameters = {"C": (None,), "sample_weight": ("sample", "group")}
    penalised_intercept = True

    def __init__(self, estimator):
        super().__init__(estimator)
        if estimator.loss != "squared_hinge" or estimator.penalty != "l2":
            raise ValueError(
                'The inner problem of LinearSVC needs loss="squared_hinge" and '
                f'penalty="l2". Got loss={estimator.loss!r}, '
                f"penalty={estimator.penalty!r}."
            )
        if estimator.multi_class != "ovr":
            raise ValueError('The inner problem of LinearSVC needs multi_class="ovr".')
        self.intercept_scale = float(estimator.intercept_scaling)

    def _loss(self, theta):
        return SquaredHinge()

    def _targets(self):
        if len(self.classes) == 2:
            return (2.0 * self.y - 1.0)[:, None]
        return np.where(self.y[:, None] == np.arange(len(self.classes)), 1.0, -1.0)


class LinearSVRProblem(SmoothLinear):
    """Squared epsilon-insensitive loss; liblinear's penalised intercept."""

    parameters = {
        "C": (None,),
        "epsilon": (None,),
        "sample_weight": ("sample", "group"),
    }
    penalised_intercept = True

    def __init__(self, estimator):
        super().__init__(estimator)
        if estimator.loss != "squared_epsilon_insensitive":
            raise ValueError(
                "The inner problem of LinearSVR needs a smooth loss, "
                f'loss="squared_epsilon_insensitive". Got loss={estimator.loss!r}.'
            )
        self.intercept_scale = float(estimator.intercept_scaling)

    def _loss(self, theta):
        return EpsilonInsensitive(float(self.value(theta, "epsilon")))

    def _targets(self):
        return self.y.astype(float)[:, None]

    def cross(self, w, theta, q):
        """Add the width of the tube."""
        out = super().cross(w, theta, q)
        if "epsilon" in theta:
            r = self.A @ w - self.T
            active = np.abs(r) > theta["epsilon"]
            # d/d epsilon of 2 sign(r) (|r| - epsilon) is -2 sign(r) on active rows
            slope = -2.0 * self.weights(theta)[:, None] * np.sign(r) * active
            out["epsilon"] = float(np.sum(slope * (self.A @ q)))
        return out


class SquaredRows(Certified):
    """Ridge with searched row weights: the intercept moves with them."""

    kind = "squared"

    _penalty_name = "alpha"

    def _loss(self, theta):
        return Squared()

    def _targets(self):
        return self.y.reshape(len(self.y), -1)

    def _penalty(self, theta):
        return np.asarray(self.value(theta, "alpha"), dtype=float)

    def _pull_penalty(self, theta, slope):
        alpha = np.asarray(theta["alpha"], dtype=float)
        return {"alpha": slope if alpha.ndim else float(slope.sum())}


inner_problem.register(LogisticRegression, LogisticProblem)
inner_problem.register(LinearSVC, LinearSVCProblem)
inner_problem.register(LinearSVR, LinearSVRProblem)
