"""The criterion with inner problems solved as exactly as a solver asks."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._inner._problem import Point
from skdiff.model_selection._gradient._outer._bounds import (
    constants,
    criterion_smoothness,
)
from skdiff.model_selection._gradient._outer._hoag_maid import error_bound


class FoldOracle:
    """The same criterion, its inner problems solved as exactly as asked.

    Problems with a direct solve leave rounding only, which is no error to bound. For
    the others the gradient of the inner problem at the answer certifies its distance
    from the minimiser.
    """

    def __init__(self, evaluator: Any, on_point: Any, certify: Any) -> None:
        self.evaluator, self.on_point = evaluator, on_point
        self.visited: dict[bytes, Any] = {}
        self.inexact = any(f.problem.certified for f in evaluator.folds)
        if certify and self.inexact and callable(evaluator.criterion):
            raise ValueError(
                'solver="maid" needs the smoothness of the criterion. Use a named '
                'criterion, or solver="lbfgs" or "hoag".'
            )
        self._val_norms: dict[int, float] = {}

    def _theta(self, theta: Array, fold: Any) -> Any:
        values = self.evaluator.space.values(theta)
        return self.evaluator.fold_values(values, fold)

    def _solve(self, theta: Array, x: Any, accurate: Any) -> Any:
        found = []
        for k, fold in enumerate(self.evaluator.folds):
            values = self._theta(theta, fold)
            w = None if x is None else x[k]
            with np.errstate(all="ignore"):
                found.append(accurate(fold.problem, values, w))
        return found

    def solve(self, theta: Array, x: Any, eps: Any) -> Any:
        """Solve until the certificate allows ``eps``."""

        def accurate(problem: Any, values: Any, w: Any) -> Any:
            if not problem.certified:
                return problem.solve(values, w, 1e-10)[0]
            tol = 1e-2
            while True:
                w, _ = problem.solve(values, w, tol)
                size = float(np.linalg.norm(problem.gradient(w, values)))
                mu = problem.convexity(w, values, eps)
                if size <= eps * mu or tol < 1e-14:
                    return w
                tol /= 10

        return self._solve(theta, x, accurate)

    def solve_relative(self, theta: Array, x: Any, eps: Any) -> Any:
        """Solve to the relative accuracy ``eps``."""
        return self._solve(theta, x, lambda p, v, w: p.solve(v, w, eps)[0])

    def _measured(self, theta: Array, x: Any) -> Iterator[Any]:
        for k, fold in enumerate(self.evaluator.folds):
            values = self._theta(theta, fold)
            raw = fold.problem.predict(x[k], fold.problem.X_val)
            yield fold, values, Point(x[k], raw, 0), *self.evaluator.measure(fold, raw)

    def upper(self, theta: Array, x: Any) -> Any:
        """Criterion at the inexact solutions, plus the tie."""
        key = theta.tobytes()
        if key not in self.visited:
            self.visited[key] = np.array(theta)
            self.on_point(theta)
        total = [value for *_, value, _ in self._measured(theta, x)]
        return float(np.mean(total)) + self.evaluator.tie(theta)[0]

    def hypergradient(self, theta: Array, x: Any, delta: Any) -> Any:
        """Gradient from inexact solutions and linear systems."""
        total: dict[str, Any] = {}
        folds = self.evaluator.folds
        for fold, values, point, _, g in self._measured(theta, x):
            tol = 1e-8
            if self.inexact:  # delta bounds the residual itself, not its share
                rhs = fold.problem.pull(point.w, values, g)
                size = max(float(np.linalg.norm(rhs)), 1e-300)
                tol = min(1e-2, delta / size)
            found = fold.problem.hypergradient(values, point, g, tol)
            for name, part in self.evaluator.whole(fold, found).items():
                total[name] = total.get(name, 0.0) + part / len(folds)
        gradient = self.evaluator.space.pull(theta, total)
        return gradient + self.evaluator.tie(theta)[1]

    def _smoothness(self, fold: Any) -> Any:
        if fold.index not in self._val_norms:
            self._val_norms[fold.index] = criterion_smoothness(
                self.evaluator.criterion, fold.problem, fold.score_weight
            )
        return self._val_norms[fold.index]

    def slack(self, theta: Array, x: Any, eps: Any) -> Any:
        """``||grad g|| eps + L_g eps^2 / 2``, averaged over the folds."""
        if not self.inexact:
            return 0.0
        total = []
        for fold, values, point, _, g in self._measured(theta, x):
            size = float(np.linalg.norm(fold.problem.pull(point.w, values, g)))
            total.append(size * eps + self._smoothness(fold) * eps**2 / 2)
        return float(np.mean(total))

    def bound(self, theta: Array, x: Any, eps: Any, delta: Any) -> Any:
        """A-posteriori bound, averaged over the folds."""
        if not self.inexact:
            return 0.0
        total = []
        for fold, values, (w, _, _), _, g in self._measured(theta, x):
            problem = fold.problem
            size = float(np.linalg.norm(problem.pull(w, values, g)))
            found = constants(fold, values, w, eps, self.evaluator.space, theta)
            found = found._replace(L_g=self._smoothness(fold))
            total.append(error_bound(found, size, eps, delta))
        return float(np.mean(total))
