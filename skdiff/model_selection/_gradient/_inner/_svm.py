"""Inner problems of kernel support vector machines with their hinge losses.

The free support vectors solve a linear system, the bounded ones stand at their ends and
move with them. Both are piecewise smooth in C, in the tube and in the kernel, and so is
the solution; its derivative comes from the system of the free ones.
"""

import warnings
from abc import abstractmethod
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC, SVR

from skdiff._base.typing import Array
from skdiff._convex._inner._linear import class_factors
from skdiff._convex._inner._problem import InnerProblem, Values
from skdiff.model_selection._gradient._criteria import square_pairs
from skdiff.model_selection._gradient._inner._kernel_ridge import (
    as_kernel,
    pull_scales,
    squared_distances,
)
from skdiff.model_selection._gradient._inner._support_vectors import (
    Machine,
    adjoint,
    as_given,
    descend,
    objective,
    polish,
)

_SMOOTH_KERNELS = ("rbf", "poly", "sigmoid")
_ROUGH, _TIGHT = 1e-3, 1e-7
_PATIENCE = 25  # iterations a row before libsvm hands over
_STRETCHES = 20  # of a hundred steps each
_MISSES, _PAUSE = 3, 8  # starts nearby that lead nowhere, and points until the next


class Fit(NamedTuple):
    """All machines of a fold, and their coefficients on its training rows."""

    solutions: list[Any]
    uppers: list[Any]
    beta: Any
    intercepts: Any


class Kernel:
    """The kernel of an estimator, as a function of what is searched of it."""

    def __init__(self, problem: Any) -> None:
        estimator, searched = problem.estimator, problem.searched
        self.problem, self.kind = problem, estimator.kernel
        self.scaled = "gamma" in searched and searched["gamma"].vector
        self.moves = [n for n in ("gamma", "coef0") if n in searched]
        allowed = {"gamma": _SMOOTH_KERNELS, "coef0": _SMOOTH_KERNELS[1:]}
        for name in self.moves:
            if self.kind not in allowed[name]:
                shown = ", ".join(repr(k) for k in allowed[name])
                raise ValueError(
                    f"{name} is differentiable for the kernels {shown}. Got "
                    f"{self.kind!r}."
                )
        if self.scaled and self.kind != "rbf":
            raise ValueError('A gamma per feature needs kernel="rbf".')
        X = problem.X
        if sparse.issparse(X):
            if self.scaled:
                raise TypeError("A gamma per feature needs dense rows, X is sparse.")
            if callable(self.kind) or self.kind == "precomputed":
                raise TypeError(f"kernel={self.kind!r} needs dense rows, X is sparse.")
        self.gamma = _gamma(estimator.gamma, X)
        self.between = self._measure(X)
        self.between_val = self._measure(problem.X_val)
        self._fixed: Any = None

    def _measure(self, Z: Any) -> Any:
        """What does not move: distances, products or the kernel itself."""
        X = self.problem.X
        if callable(self.kind):
            return np.asarray(self.kind(Z, X), dtype=float)
        if self.kind == "precomputed":
            if Z.shape[1] != X.shape[0]:
                raise ValueError(
                    "A precomputed kernel has a column a training row, got "
                    f"{Z.shape[1]} columns for {X.shape[0]} rows. Rows of no weight "
                    "must be left out of it."
                )
            return np.asarray(Z, dtype=float)
        if self.scaled:
            return np.asarray(Z, dtype=float)
        if self.kind == "rbf":
            return squared_distances(Z, X)
        product = Z @ X.T
        return product.toarray() if sparse.issparse(product) else product

    def _value(self, theta: Values, M: Any) -> Any:
        if self.kind in ("linear", "precomputed") or callable(self.kind):
            return M
        gamma = theta.get("gamma", self.gamma)
        if self.scaled:
            root = np.sqrt(gamma)
            return np.exp(-squared_distances(M * root, self.problem.X * root))
        if self.kind == "rbf":
            return np.exp(-gamma * M)
        inside = gamma * M + self.problem.value(theta, "coef0")
        if self.kind == "sigmoid":
            return np.tanh(inside)
        return inside**self.problem.estimator.degree

    def values(self, theta: Values) -> Any:
        """Kernel among the training rows, and of validation with training rows."""
        if self._fixed is None or self.moves:
            pair = (
                self._value(theta, self.between),
                self._value(theta, self.between_val),
            )
            self._fixed = pair
        return self._fixed

    def of_rows(self, theta: Values, Z: Any) -> Any:
        """Kernel of other rows with the training rows."""
        return self._value(theta, self._measure(Z))

    def pull(
        self, theta: Values, left: Any, right: Any, K: Any, validation: Any
    ) -> Any:
        """Derivatives of ``sum((left @ right.T) * K)`` in what is searched of it."""
        if not self.moves:
            return {}
        # most rows support nothing
        rows, columns = (np.flatnonzero(M.any(axis=1)) for M in (left, right))
        N, K = left[rows] @ right[columns].T, K[np.ix_(rows, columns)]
        M = self.between_val if validation else self.between
        if self.scaled:
            return {"gamma": pull_scales(N * K, M[rows], self.problem.X[columns])}
        M = M[np.ix_(rows, columns)]
        if self.kind == "rbf":
            return {"gamma": -float(np.sum(N * K * M))}
        if self.kind == "sigmoid":
            N = N * (1 - K**2)
        else:
            degree = self.problem.estimator.degree
            inside = theta.get("gamma", self.gamma) * M
            inside = inside + self.problem.value(theta, "coef0")
            N = N * (degree * inside ** max(degree - 1, 0))
        found = {"gamma": float(np.sum(N * M)), "coef0": float(np.sum(N))}
        return {name: found[name] for name in self.moves}

    @property
    def definite(self) -> Any:
        """Whether the solution is unique, wherever a solver starts.

        Matrices and functions are taken at their word, which is that of a kernel.
        """
        if self.kind != "poly":
            return self.kind != "sigmoid"
        searched = self.problem.searched.get("coef0")
        least = self.problem.estimator.coef0 if searched is None else searched.low
        return bool(least >= 0)


def _gamma(gamma: Any, X: Any) -> Any:
    """Length scale that is not searched, as scikit-learn reads it."""
    if not isinstance(gamma, str):
        return float(gamma)
    if gamma == "auto":
        return 1.0 / X.shape[1]
    if sparse.issparse(X):
        variance = X.multiply(X).mean() - X.mean() ** 2
    else:
        variance = X.var()
    return 1.0 / (X.shape[1] * variance) if variance > 0 else 1.0


class SupportVectorProblem(InnerProblem):
    """Machines on parts of the rows, one for a regression or for two classes."""

    nonsmooth = True

    # --- what a subclass says ---------------------------------------------------------

    @abstractmethod
    def _parts(self) -> Any:
        """Return rows and signs (or targets) of each machine."""

    @abstractmethod
    def _machine(self, theta: Values, target: Any, upper: Any) -> Any:
        """Return one machine, at its optimum once it is solved."""

    @abstractmethod
    def _libsvm(
        self, theta: Values, K: Any, target: Any, upper: Any, tol: float, max_iter: Any
    ) -> Any:
        """Return dual variables and iterations."""

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
        """Take the rows of one fold and what the kernel needs of them."""
        super().bind(X, y, sample_weight=sample_weight, X_val=X_val, classes=classes)
        self.kernel = Kernel(self)
        self.warm = self.kernel.definite
        self.factors = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        weight = getattr(self.estimator, "class_weight", None)
        if classes is not None and weight is not None:
            # scikit-learn counts rows here, whatever their weights
            self.factors = self.factors * class_factors(weight, classes, y, None)
        self.parts = self._parts()
        self._last: Any = (None, None)
        self.warned = False
        self.misses = 0
        return self

    def _uppers(self, theta: Values) -> Any:
        """Upper end of the dual variables of each row."""
        upper = self.value(theta, "C") * self.factors
        return upper * theta["sample_weight"] if "sample_weight" in theta else upper

    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Exactly, machine by machine: the conditions are met to rounding."""
        K, K_val = self.kernel.values(theta)
        n, n_iter, uppers = self.X.shape[0], 0, self._uppers(theta)
        solutions, ends, intercepts = [], [], []
        beta = np.zeros((n, len(self.parts)))
        for p, (rows, target) in enumerate(self.parts):
            upper = uppers[rows]
            machine = self._machine(theta, target, upper)
            inside = K if len(rows) == n else K[np.ix_(rows, rows)]
            start = None
            if w0 is not None:
                start = _moved(w0.solutions[p].alpha, w0.uppers[p], machine.upper)
            solution, used = self._one(theta, inside, machine, target, upper, start)
            beta[rows, p] = machine.coefficients(solution.alpha, len(rows))
            solutions.append(solution)
            ends.append(machine.upper)
            intercepts.append(solution.intercept)
            n_iter += used
        if not (self.warned or all(s.exact for s in solutions)):
            self.warned = True
            warnings.warn(
                f"A support vector machine at {theta} is solved to libsvm's tolerance "
                "only, and its derivative holds as far. The kernel is not positive "
                "definite, or C too large for the precision of numbers.",
                ConvergenceWarning,
                stacklevel=2,
            )
        w = Fit(solutions, ends, beta, np.array(intercepts))
        self._last = (w, (K, K_val, theta))
        return w, n_iter

    def _one(
        self, theta: Values, K: Any, machine: Any, target: Any, upper: Any, start: Any
    ) -> Any:
        """One machine: from nearby, from libsvm, or by steps that always descend."""
        if start is not None and (self.misses < _MISSES or self.misses % _PAUSE == 0):
            found = polish(K, machine, start, max_rounds=8)
            if found is not None:
                self.misses = 0
                return found, found.n_iter
        # where support vectors change by the dozen, a start nearby seldom ends
        self.misses += start is not None
        limit = max(_PATIENCE * len(K), 5_000)
        alpha, used = self._libsvm(theta, K, target, upper, _ROUGH, limit)
        found = polish(K, machine, alpha)
        if found is None and not self.kernel.definite:
            limit *= _STRETCHES
            alpha, more = self._libsvm(theta, K, target, upper, _TIGHT, limit)
            used += more
            found = polish(K, machine, alpha)
        elif found is None:
            if start is not None:  # libsvm was stopped early, and may be further off
                alpha = min(start, alpha, key=lambda a: objective(K, machine, a))
            for _ in range(_STRETCHES):
                alpha = descend(K, machine, alpha)
                found = polish(K, machine, alpha)
                if found is not None:
                    break
        if found is None:
            found = as_given(K, machine, alpha)
        return found, used + found.n_iter

    def predict(self, w: Any, X: Any) -> Array:
        """Values, margins, or margins of pairs of classes."""
        self._at(w)
        _, K_val, theta = self._last[1]
        K = K_val if X is self.X_val else self.kernel.of_rows(theta, X)
        return self._shape(K @ w.beta + w.intercepts)

    def _shape(self, raw: Any) -> Any:
        return raw[:, 0]

    def _flat(self, gradient: Array) -> Any:
        """Gradient in the machines' values, from that in the raw predictions."""
        return gradient[:, None]

    def _at(self, w: Any, theta: Any = None) -> None:
        if self._last[0] is not w:
            theta = self._last[1][2] if theta is None else theta
            self._last = (w, (*self.kernel.values(theta), theta))

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Gradient in the coefficients of all rows, and in the intercepts."""
        self._at(w, theta)
        G = self._flat(gradient)
        return self._last[1][1].T @ G, G.sum(axis=0)

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve the systems of the free support vectors."""
        slopes, shifts = rhs
        U, mu = np.zeros_like(w.beta), np.zeros(len(self.parts))
        by_variable = []
        for p, (rows, target) in enumerate(self.parts):
            machine = self._machine(theta, target, self._uppers(theta)[rows])
            solution = w.solutions[p]
            u, mu[p] = adjoint(machine, solution, slopes[rows, p], shifts[p])
            U[rows, p] = np.bincount(machine.rows, weights=u, minlength=len(rows))
            by_variable.append(machine.sign * u)
        return U, mu, by_variable

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Products for the ends of the box, the tube and the kernel."""
        self._at(w, theta)
        U, mu, by_variable = q
        K = self._last[1][0]
        out = self._pull_ends(w, theta, K @ U + mu)
        if "epsilon" in theta:
            out["epsilon"] = float(sum(s.sum() for s in by_variable))
        return out | self.kernel.pull(theta, U, w.beta, K, False)

    def direct(self, w: Any, theta: Values, gradient: Array) -> Values:
        """Return what moves predictions directly: bounded coefficients, the kernel."""
        self._at(w, theta)
        K_val = self._last[1][1]
        G = self._flat(gradient)
        out = self._pull_ends(w, theta, K_val.T @ G)
        return out | self.kernel.pull(theta, G, w.beta, K_val, True)

    def _pull_ends(self, w: Any, theta: Values, slope: Any) -> Any:
        """Derivatives in C and in weights, from those in the bounded coefficients."""
        by_row = np.zeros(self.X.shape[0])
        for p, (rows, target) in enumerate(self.parts):
            machine = self._machine(theta, target, self._uppers(theta)[rows])
            solution = w.solutions[p]
            bounded = ~solution.free & (solution.alpha > 0)
            local = machine.rows[bounded]
            moved = machine.sign[bounded] * slope[rows[local], p]
            by_row += np.bincount(rows[local], weights=moved, minlength=len(by_row))
        out = {}
        by_row = by_row * self.factors
        if "C" in theta:
            shares = theta.get("sample_weight", 1.0)
            out["C"] = float(np.sum(by_row * shares))
        if "sample_weight" in theta:
            out["sample_weight"] = self.value(theta, "C") * by_row
        return out

    def to_params(self, theta: Values) -> Values:
        """Return length scales as the kernel that has them."""
        return as_kernel(theta)


def _moved(alpha: Any, old: Any, new: Any) -> Any:
    """Dual variables at the same place between ends that have moved."""
    share = np.divide(alpha, old, out=np.zeros_like(alpha), where=old > 0)
    return np.where(alpha >= old, new, share * new)


class _Quiet:
    """Stopping early is a plan here; folds in threads share the warning filters."""

    def _warn_from_fit_status(self) -> None:
        pass


class _QuietSVC(_Quiet, SVC):
    def _validate_targets(self, y: Any) -> Any:
        """Take signs for what they are: of a small fit the checks are a half."""
        positive = y > 0
        if positive.all() or not positive.any():
            return super()._validate_targets(y)
        self.classes_, self.class_weight_ = np.array([-1.0, 1.0]), np.ones(2)
        return positive.astype(np.float64)


class _QuietSVR(_Quiet, SVR):
    pass


def _coefficients(machine: Any, K: Any, target: Any, upper: Any) -> Any:
    """Fit libsvm on the rows that weigh."""
    kept = upper > 0
    beta = np.zeros(len(upper))
    K = np.ascontiguousarray(K[np.ix_(kept, kept)])
    # everything was checked when the search began
    with config_context(assume_finite=True, skip_parameter_validation=True):
        machine.fit(K, target[kept], sample_weight=upper[kept])
    beta[np.flatnonzero(kept)[machine.support_]] = machine.dual_coef_[0]
    return beta, int(np.sum(machine.n_iter_))


class SVCProblem(SupportVectorProblem):
    """One machine for two classes, one for each pair of more."""

    parameters = {
        "C": (None,),
        "gamma": (None, "feature", "group"),
        "coef0": (None,),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    simplest_end = {"C": "low"}

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        if getattr(estimator, "probability", "deprecated") not in (False, "deprecated"):
            raise ValueError(
                "The inner problem of SVC has no probability=True: those come from "
                "folds within each fit and have no gradient. Search without, and wrap "
                "the best estimator in CalibratedClassifierCV."
            )

    def _parts(self) -> Any:
        if len(self.classes) == 2:
            return [(np.arange(self.X.shape[0]), 2.0 * self.y - 1.0)]
        found = []
        for k, other in combinations(range(len(self.classes)), 2):
            rows = np.flatnonzero((self.y == k) | (self.y == other))
            found.append((rows, np.where(self.y[rows] == k, 1.0, -1.0)))
        return found

    def _machine(self, theta: Values, target: Any, upper: Any) -> Any:
        return Machine(np.arange(len(target)), target, target, upper)

    def _libsvm(
        self, theta: Values, K: Any, target: Any, upper: Any, tol: float, max_iter: Any
    ) -> Any:
        # seeded: it draws nothing, but would touch numpy's global generator
        model = _QuietSVC(
            C=1.0, kernel="precomputed", tol=tol, max_iter=max_iter, random_state=0
        )
        beta, n_iter = _coefficients(model, K, target, upper)
        return np.minimum(np.abs(beta), upper), n_iter

    def _shape(self, raw: Any) -> Any:
        return raw[:, 0] if len(self.classes) == 2 else square_pairs(raw)

    def _flat(self, gradient: Array) -> Any:
        if gradient.ndim == 1:
            return gradient[:, None]
        k, other = np.triu_indices(gradient.shape[1], 1)
        return gradient[:, k, other] - gradient[:, other, k]


class SVRProblem(SupportVectorProblem):
    """A tube around the target: two dual variables a row."""

    parameters = {
        "C": (None,),
        "epsilon": (None,),
        "gamma": (None, "feature", "group"),
        "coef0": (None,),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    simplest_end = {"C": "low"}

    def _parts(self) -> Any:
        return [(np.arange(self.X.shape[0]), self.y.astype(float))]

    def _machine(self, theta: Values, target: Any, upper: Any) -> Any:
        n, epsilon = len(target), float(self.value(theta, "epsilon"))
        return Machine(
            np.tile(np.arange(n), 2),
            np.repeat([1.0, -1.0], n),
            np.concatenate([target - epsilon, target + epsilon]),
            np.tile(upper, 2),
        )

    def _libsvm(
        self, theta: Values, K: Any, target: Any, upper: Any, tol: float, max_iter: Any
    ) -> Any:
        epsilon = float(self.value(theta, "epsilon"))
        model = _QuietSVR(
            C=1.0, kernel="precomputed", epsilon=epsilon, tol=tol, max_iter=max_iter
        )
        beta, n_iter = _coefficients(model, K, target, upper)
        sides = np.concatenate([np.maximum(beta, 0.0), np.maximum(-beta, 0.0)])
        return np.minimum(sides, np.tile(upper, 2)), n_iter
