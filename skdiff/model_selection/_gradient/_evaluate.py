"""Evaluation of the K-fold criterion, its gradient, and the row that reports it."""

import time
import traceback
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from scipy.linalg import LinAlgError
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.typing import Array
from skdiff.model_selection._gradient._criteria import CRITERIA, reported_log_loss
from skdiff.model_selection._gradient._folds import fold_model

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

    def __init__(
        self, folds: Any, space: Any, criterion: Any, options: Any, scorer: Any = None
    ) -> None:
        self.folds, self.space, self.criterion = folds, space, criterion
        self.inner_tol, self.warm = options.inner_tol, options.warm
        self.scorer, self.n_jobs = scorer, options.n_jobs
        self.anchor: tuple[Any, float] | None = None
        self.rows: dict[bytes, Row] = {}
        self.slow = False
        self.on_row: Any = None

    # --- one fold ---------------------------------------------------------------------

    def fold_values(self, values: Any, fold: Any) -> Any:
        """Return the values of the fold's own rows."""
        own = {name: values[name][places] for name, places in fold.entries.items()}
        return {**values, **own}

    def whole(self, fold: Any, gradients: Any) -> Any:
        """Spread gradients in the fold's part of a vector over the whole of it."""
        spread = dict(gradients)
        for name, places in fold.entries.items():
            spread[name] = np.zeros(self.space.n_entries(name))
            np.add.at(spread[name], places, gradients[name])
        return spread

    def measure(self, fold: Any, raw: Any) -> Any:
        """Criterion on the fold's validation rows, and its gradient."""
        value, gradient = self.measure_outputs(fold, fold.output.values(raw))
        return value, fold.output.pull(raw, gradient)

    def measure_outputs(self, fold: Any, raw: Any) -> Any:
        """The same of predictions of the whole estimator."""
        if callable(self.criterion):
            value, gradient = self.criterion(fold.y_test, raw)
            return float(value), np.asarray(gradient, dtype=float)
        return CRITERIA[self.criterion](fold.code_test, raw, fold.score_weight)

    def reported(self, fold: Any, raw: Any, value: Any) -> Any:
        """Criterion as a scorer of that name would report it."""
        if self.criterion != "log_loss":
            return value
        return reported_log_loss(fold.code_test, raw, fold.score_weight)

    def _one_fold(self, fold: Any, at: Any, values: Any) -> Any:
        start = time.perf_counter()
        theta = self.fold_values(values, fold)
        with np.errstate(all="ignore"):
            point = self.solve(fold, at, values)
            value, g = self.measure(fold, point.raw)
            gradients = fold.problem.hypergradient(theta, point, g, self.inner_tol)
        if np.isfinite(value):
            fold.starts.add(at, point.w)
        gradients = self.whole(fold, gradients)
        middle = time.perf_counter()
        score = self._score(fold, values, point, value)
        spent = middle - start, time.perf_counter() - middle
        return value, gradients, score, point.n_iter, *spent

    def solve(self, fold: Any, at: Any, values: Any) -> Any:
        """Solve the problem of a fold, from nearby."""
        w0 = None
        if self.warm and fold.problem.warm:
            w0 = fold.starts.start(at, fold.problem.smooth_path)
        theta = self.fold_values(values, fold)
        with np.errstate(all="ignore"):
            return fold.problem.evaluate(theta, w0, self.inner_tol)

    def _score(self, fold: Any, values: Any, point: Any, value: Any) -> Any:
        if self.scorer is not None:
            return self.scorer(fold, values, point)
        return -self.reported(fold, point.raw, value)

    def score_cold(self, fold: Any, values: Any) -> Any:
        """Score of a fold by a fit that starts from nothing."""
        theta = self.fold_values(values, fold)
        with np.errstate(all="ignore"):
            point = fold.problem.evaluate(theta, None, self.inner_tol)
            value, _ = self.measure(fold, point.raw)
        return self._score(fold, values, point, value)

    # --- all folds --------------------------------------------------------------------

    def _all_folds(self, theta: Array, values: Any) -> Any:
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

    def row(self, theta: Array) -> Any:
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

    def _row(self, theta: Array, values: Any, found: Any) -> Any:
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

    def _failed(self, theta: Array, values: Any, reason: Any) -> Any:
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

    def tie(self, theta: Array) -> Any:
        """Value and gradient of the tie."""
        if self.anchor is None:
            return 0.0, 0.0
        return self.space.penalty(theta, *self.anchor)

    def __call__(self, theta: Array) -> Any:
        """Value and gradient of the criterion plus the tie."""
        row = self.row(theta)
        tie, slope = self.tie(theta)
        return row.value + tie, row.gradient + slope


def scorer_of_folds(scorer: Any, probabilistic: Any, refit_fold: Any) -> Any:
    """Return what scores a fold: by its solution, or by a fit of the estimator.

    ``refit_fold(fold, values)`` is given for scorers that may look inside a model.
    """

    def score(fold: Any, values: Any, point: Any) -> Any:
        if refit_fold is None:
            model = fold_model(fold, point, probabilistic)
        else:
            model = refit_fold(fold, values)
        return scorer(model, fold.X_test, fold.y_test, **fold.score_params)

    return score
