"""Evaluation of the K-fold criterion, its gradient, and the row that reports it."""

import time
import traceback
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from scipy.linalg import LinAlgError
from sklearn.utils.parallel import Parallel, delayed

from skdiff._convex._inner._problem import Point
from skdiff.model_selection._gradient._criteria import CRITERIA, reported_log_loss
from skdiff.model_selection._gradient._folds import fold_model
from skdiff.model_selection._gradient._outer._bounds import (
    constants,
    criterion_smoothness,
)
from skdiff.model_selection._gradient._outer._hoag_maid import error_bound

# a fold that takes longer than this is worth a thread
WORTH_A_THREAD = 0.05
FAULTS = (ValueError, ArithmeticError, LinAlgError)


class StopSearch(Exception):
    """A callback asked to stop."""


class Row(NamedTuple):
    """One evaluated point."""

    theta: Any
    values: dict[str, Any]
    scores: Any
    value: float
    objective: float
    gradient: Any
    n_inner_iter: int
    fit_times: Any
    score_times: Any
    error: str | None


class Evaluator:
    """``C(theta)`` and its gradient over the folds of one combination.

    ``anchor``, ``centre, weight``, adds the tie of vector hyperparameters.
    """

    def __init__(self, folds, space, criterion, *, inner_tol, warm, scorer, n_jobs):
        self.folds, self.space, self.criterion = folds, space, criterion
        self.inner_tol, self.warm = inner_tol, warm
        self.scorer, self.n_jobs = scorer, n_jobs
        self.anchor: tuple[Any, float] | None = None
        self.rows: dict[bytes, Row] = {}
        self.slow = False
        self.on_row: Any = None

    # --- one fold ---------------------------------------------------------------------

    def fold_values(self, values, fold):
        """Return the values of the fold's own rows."""
        if "sample_weight" not in values:
            return values
        return {**values, "sample_weight": values["sample_weight"][fold.train]}

    def measure(self, fold, raw):
        """Criterion on the fold's validation rows, and its gradient."""
        if callable(self.criterion):
            value, gradient = self.criterion(fold.y_test, raw)
            return float(value), np.asarray(gradient, dtype=float)
        weight = fold.score_params.get("sample_weight")
        weight = None if weight is None else np.asarray(weight, dtype=float)
        return CRITERIA[self.criterion](fold.code_test, raw, weight)

    def reported(self, fold, raw, value):
        """Criterion as a scorer of that name would report it."""
        if self.criterion != "log_loss":
            return value
        weight = fold.score_params.get("sample_weight")
        weight = None if weight is None else np.asarray(weight, dtype=float)
        return reported_log_loss(fold.code_test, raw, weight)

    def _one_fold(self, fold, at, values):
        start = time.perf_counter()
        theta = self.fold_values(values, fold)
        w0 = None
        if self.warm and fold.problem.warm:
            w0 = fold.trail.start(at, fold.problem.smooth_path)
        with np.errstate(all="ignore"):
            point = fold.problem.evaluate(theta, w0, self.inner_tol)
            value, g = self.measure(fold, point.raw)
            gradients = fold.problem.hypergradient(theta, point, g, self.inner_tol)
        if np.isfinite(value):
            fold.trail.add(at, point.w)
        if "sample_weight" in gradients:
            full = np.zeros(len(values["sample_weight"]))
            np.add.at(full, fold.train, gradients["sample_weight"])
            gradients = {**gradients, "sample_weight": full}
        middle = time.perf_counter()
        score = self._score(fold, values, point, value)
        spent = middle - start, time.perf_counter() - middle
        return value, gradients, score, point.n_iter, *spent

    def _score(self, fold, values, point, value):
        if self.scorer is not None:
            return self.scorer(fold, values, point)
        return -self.reported(fold, point.raw, value)

    def score_cold(self, fold, values):
        """Score of a fold by a fit that starts from nothing."""
        theta = self.fold_values(values, fold)
        with np.errstate(all="ignore"):
            point = fold.problem.evaluate(theta, None, self.inner_tol)
            value, _ = self.measure(fold, point.raw)
        return self._score(fold, values, point, value)

    # --- all folds --------------------------------------------------------------------

    def _all_folds(self, theta, values):
        alone = 1 if self.folds[0].problem.follows else 0
        found = [self._one_fold(fold, theta, values) for fold in self.folds[:alone]]
        others = self.folds[alone:]
        if self.slow and effective_n_jobs(self.n_jobs) > 1:
            found += Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(self._one_fold)(fold, theta, values) for fold in others
            )
        else:
            found += [self._one_fold(fold, theta, values) for fold in others]
        self.slow = max(f[4] for f in found) > WORTH_A_THREAD
        return found

    def row(self, theta):
        """Evaluate a point once; later calls are answered from memory."""
        key = np.asarray(theta, dtype=float).tobytes()
        if key in self.rows:
            return self.rows[key]
        values = self.space.values(theta)
        try:
            found = self._all_folds(theta, values)
        except FAULTS:
            row = self._failed(theta, values, traceback.format_exc())
        else:
            row = self._row(theta, values, found)
        self.rows[key] = row
        if self.on_row is not None:
            self.on_row(row)
        return row

    def _row(self, theta, values, found):
        value = float(np.mean([f[0] for f in found]))
        names = found[0][1]
        total = {k: np.mean([f[1][k] for f in found], axis=0) for k in names}
        gradient = self.space.pull(theta, total)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            reason = f"The criterion or its gradient is {value} at {values}."
            return self._failed(theta, values, reason)
        tie, _ = self.tie(theta)
        return Row(
            np.array(theta),
            values,
            [f[2] for f in found],
            value,
            value + tie,
            gradient,
            sum(f[3] for f in found),
            np.array([f[4] for f in found]),
            np.array([f[5] for f in found]),
            None,
        )

    def _failed(self, theta, values, reason):
        n = len(self.folds)
        return Row(
            np.array(theta),
            values,
            None,
            np.inf,
            np.inf,
            np.zeros(self.space.size),
            0,
            np.zeros(n),
            np.zeros(n),
            reason,
        )

    def tie(self, theta):
        """Value and gradient of the tie."""
        if self.anchor is None:
            return 0.0, 0.0
        return self.space.penalty(theta, *self.anchor)

    def __call__(self, theta):
        """Value and gradient of the criterion plus the tie."""
        row = self.row(theta)
        tie, slope = self.tie(theta)
        return row.value + tie, row.gradient + slope


class FoldOracle:
    """The same criterion, its inner problems solved as exactly as asked.

    Problems with a direct solve leave rounding only, which is no error to bound. For
    the others the gradient of the inner problem at the answer certifies its distance
    from the minimiser.
    """

    def __init__(self, evaluator, on_point, certify):
        self.evaluator, self.on_point = evaluator, on_point
        self.visited: dict[bytes, Any] = {}
        self.inexact = any(hasattr(f.problem, "gradient") for f in evaluator.folds)
        if certify and self.inexact and callable(evaluator.criterion):
            raise ValueError(
                'solver="maid" needs the smoothness of the criterion. Use a named '
                'criterion, or solver="lbfgs" or "hoag".'
            )
        self._val_norms: dict[int, float] = {}

    def _theta(self, theta, fold):
        values = self.evaluator.space.values(theta)
        return self.evaluator.fold_values(values, fold)

    def _solve(self, theta, x, accurate):
        found = []
        for k, fold in enumerate(self.evaluator.folds):
            values = self._theta(theta, fold)
            w = None if x is None else x[k]
            with np.errstate(all="ignore"):
                found.append(accurate(fold.problem, values, w))
        return found

    def solve(self, theta, x, eps):
        """Solve until the certificate allows ``eps``."""

        def accurate(problem, values, w):
            if not hasattr(problem, "gradient"):
                return problem.solve(values, w, 1e-10)[0]
            tol = 1e-2
            while True:
                w, _ = problem.solve(values, w, tol)
                size = float(np.linalg.norm(problem.gradient(w, values)))
                mu = constants(problem, values, w, eps).mu
                if size <= eps * mu or tol < 1e-14:
                    return w
                tol /= 10

        return self._solve(theta, x, accurate)

    def solve_relative(self, theta, x, eps):
        """Solve to the relative accuracy ``eps``."""
        return self._solve(theta, x, lambda p, v, w: p.solve(v, w, eps)[0])

    def _measured(self, theta, x):
        for k, fold in enumerate(self.evaluator.folds):
            values = self._theta(theta, fold)
            raw = fold.problem.predict(x[k], fold.problem.X_val)
            yield fold, values, Point(x[k], raw, 0), *self.evaluator.measure(fold, raw)

    def upper(self, theta, x):
        """Criterion at the inexact solutions, plus the tie."""
        key = theta.tobytes()
        if key not in self.visited:
            self.visited[key] = np.array(theta)
            self.on_point(theta)
        total = [value for *_, value, _ in self._measured(theta, x)]
        return float(np.mean(total)) + self.evaluator.tie(theta)[0]

    def hypergradient(self, theta, x, delta):
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
            for name, part in found.items():
                if name == "sample_weight":
                    full = np.zeros(len(self.evaluator.space.values(theta)[name]))
                    np.add.at(full, fold.train, part)
                    part = full
                total[name] = total.get(name, 0.0) + part / len(folds)
        gradient = self.evaluator.space.pull(theta, total)
        return gradient + self.evaluator.tie(theta)[1]

    def _smoothness(self, fold):
        if fold.index not in self._val_norms:
            self._val_norms[fold.index] = criterion_smoothness(
                self.evaluator.criterion, fold
            )
        return self._val_norms[fold.index]

    def slack(self, theta, x, eps):
        """``||grad g|| eps + L_g eps^2 / 2``, averaged over the folds."""
        if not self.inexact:
            return 0.0
        total = []
        for fold, values, point, _, g in self._measured(theta, x):
            size = float(np.linalg.norm(fold.problem.pull(point.w, values, g)))
            total.append(size * eps + self._smoothness(fold) * eps**2 / 2)
        return float(np.mean(total))

    def bound(self, theta, x, eps, delta):
        """A-posteriori bound, averaged over the folds."""
        if not self.inexact:
            return 0.0
        total = []
        for fold, values, (w, _, _), _, g in self._measured(theta, x):
            problem = fold.problem
            size = float(np.linalg.norm(problem.pull(w, values, g)))
            found = constants(problem, values, w, eps, self.evaluator.space, theta)
            found = found._replace(L_g=self._smoothness(fold))
            total.append(error_bound(found, size, eps, delta))
        return float(np.mean(total))


def scorer_of_folds(scorer, probabilistic, refit_fold):
    """Return what scores a fold: by its solution, or by a fit of the estimator.

    ``refit_fold(fold, values)`` is given for scorers that may look inside a model.
    """

    def score(fold, values, point):
        if refit_fold is None:
            model = fold_model(fold, point, probabilistic)
        else:
            model = refit_fold(fold, values)
        return scorer(model, fold.X_test, fold.y_test, **fold.score_params)

    return score
