"""What regressor and classifier of radial bases share: the shell around the solver."""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import CallbackSupportMixin, Interval, StrOptions
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.rows import Columns, merge_rows, network_columns
from skdiff._base.validation import check_X
from skdiff.neural_network._grbf import _losses as losses
from skdiff.neural_network._grbf import _refit as refit
from skdiff.neural_network._grbf import _solver as solver

PRECISION_PENALTY = 1e-2  # of a classifier, or of a handful of rows
# what a regressor chooses from, on a validation set of at most so many rows
PRECISION_PENALTIES = (0.001, 0.01, 0.1, 1.0)
GOOD_ENOUGH = 1.03  # times the lowest squared error: the larger penalty is readable
CHOOSING_ROWS, CHOOSING_ITER, CHOOSING_CENTERS, FEWEST = 1200, 30, 64, 40
VALIDATION_FOLDS, FEW_ROWS = 4, 500
MOST_CENTERS = 128
CLASSIFIER_STARTS, SMALL_STARTS, SMALL = 4, 2, 500
# the directions that hold so much of the trace stand alone where this costs at most so
# much of the objective: what is left of the others is noise that the fit did not shed
MAIN_SHARE, ALLOWANCE = 0.8, 1.02
FIRST_PENALTY = 1e-3  # from which the automatic one starts
ADAM_BEYOND = 20_000  # rows
BATCH, LEARNING_RATE = 256, 0.01
MOST_BYTES = 4 * 2**30
CHUNK = 2**21  # kernel values held at once
SLOPE_ROWS = 2048  # rows whose slopes make the importances, beyond so many
METRIC_ROWS = 3000  # that learn the metric where all rows are fitted anew in it


class BaseGRBF(
    SaveMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """What regressor and classifier share."""

    _parameter_constraints = {
        "n_centers": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left"), None],
        "learn_centers": ["boolean"],
        "alpha_precision": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "alpha_weights": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "alpha_centers": [Interval(Real, 0, None, closed="left")],
        "covariance_type": [StrOptions({"full", "diag", "spherical"})],
        "centers_init": [StrOptions({"kmeans", "random"}), "array-like"],
        "solver": [StrOptions({"auto", "lbfgs", "adam"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "importance": [StrOptions({"spectral", "diag", "gradient"})],
        "standardize": ["boolean"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def _fit_numbers(self, given, Y, weight, loss, **more):
        """Fit to checked rows; ``Y`` holds one column an output.

        ``given`` holds X, y and weights for the callbacks. Nothing is assigned before
        the end: an interrupted fit leaves nothing half done. ``more`` are further
        attributes.
        """
        limits = solver.Limits(self.max_iter, self.tol)
        X = given[0]
        d = X.shape[1]
        if self.rank is not None and self.rank > d:
            raise ValueError(
                f"rank={self.rank} must be at most the number of features, {d}."
            )
        rank = self.rank if self.rank and self.covariance_type == "full" else d
        needed = 8 * d * rank * 2 * solver.MEMORY
        if self.covariance_type == "full" and needed > MOST_BYTES:
            raise ValueError(
                f"A precision matrix of {d} columns and rank {rank} needs about "
                f"{needed / 2**30:.0f} GB. Set rank, or covariance_type='diag'."
            )
        X, Y, s = merge_rows(X, Y, weight)
        columns, target_columns = network_columns(X, s), self._target_columns(Y, s)
        alive = columns.scale > 0
        if not self.standardize:
            columns = Columns(np.zeros(d), np.ones(d))
        centers = self._given_centers(d)
        X = columns.standardised(X)
        objective = solver.Objective(
            loss=loss,
            X=X,
            Y=(Y - target_columns.mean) / target_columns.divisor,
            s=s,
            anchors=X[:1],
            rank=rank,
            shape=self.covariance_type,
            learn_centers=self.learn_centers,
            alpha_precision=PRECISION_PENALTY
            if self.alpha_precision == "auto"
            else float(self.alpha_precision),
            alpha_weights=FIRST_PENALTY
            if self.alpha_weights == "auto"
            else float(self.alpha_weights),
            left_out=self.alpha_weights == "auto" and isinstance(loss, losses.Squares),
            alpha_centers=float(self.alpha_centers),
        )

        def fitted(point):
            return {**self._fitted(point, objective, columns, target_columns), **more}

        guard = watch(
            self,
            *given[:2],
            max_iter=self.max_iter * self._starts(objective),
            metadata=None if given[2] is None else {"sample_weight": given[2]},
            attributes=lambda point: {**fitted(point), "n_iter_": 1},
        )
        with guard as progress:
            run = self._best_run(objective, columns, centers, alive, limits, progress)
        results = {
            "n_iter_": run.n_iter,
            "loss_curve_": run.loss_curve,
            "objective_": float(run.objective),
            "stopped_": run.stopped,
        }
        for name, value in {**fitted(run.point), **results}.items():
            setattr(self, name, value)
        if run.stopped in ("max_iter", "time"):
            warnings.warn(
                f"{type(self).__name__} stopped at its limit ({run.stopped}) after "
                f"{run.n_iter} iterations, before the objective settled. Increase "
                "max_iter or time_limit, or loosen tol.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _target_columns(self, Y, s):
        """Centre and scale of the targets; labels are left alone."""
        return Columns(np.zeros(Y.shape[1]), np.ones(Y.shape[1]))

    def _given_centers(self, d):
        """Centres given by the user, in input units, or None."""
        if isinstance(self.centers_init, str):
            return None
        C = check_array(self.centers_init, dtype=np.float64, input_name="centers_init")
        if C.shape[1] != d:
            raise ValueError(
                f"centers_init has {C.shape[1]} columns, but X has {d} features."
            )
        if self.n_centers not in ("auto", len(C)):
            raise ValueError(
                f"centers_init has {len(C)} rows, but n_centers={self.n_centers}."
            )
        return C

    def _best_run(self, objective, columns, centers, alive, limits, progress):
        """The lowest of ``n_init`` runs; the first starts without noise."""
        rng = check_random_state(self.random_state)
        n = len(objective.X)
        if self.alpha_precision == "auto" and objective.left_out:
            objective.alpha_precision = self._choose_precision_penalty(
                objective, alive, progress, rng
            )
        n_centers = self.n_centers
        if n_centers == "auto":
            n_centers = self._automatic_centers(objective)
        by_adam = self.solver == "adam" or (self.solver == "auto" and n > ADAM_BEYOND)
        # of so many rows one more or less changes nothing
        objective.left_out = objective.left_out and not by_adam
        whole = objective
        if self._refits(objective) and n > METRIC_ROWS:
            rows = np.sort(rng.permutation(n)[:METRIC_ROWS])
            objective = _restricted(objective, rows)
        steps = solver.Steps(BATCH, LEARNING_RATE, rng)
        two_stages = centers is None and self.centers_init == "kmeans"
        best = None
        for attempt in range(self._starts(objective)):
            if centers is not None:
                C = columns.standardised(centers)
            else:
                C = solver.choose_centers(
                    objective.X, objective.s, n_centers, self.centers_init, rng
                )
            self._anchor(objective, C)
            scale = solver.starting_scale(objective.X, objective.s, C)
            if attempt > 1:
                scale *= np.exp(0.5 * rng.standard_normal())
            U = solver.starting_factor(objective, scale, alive, limits)
            if attempt == 1:
                U = solver.informed_factor(objective, scale, alive, U)
            elif attempt:
                U = solver.shaken(objective, U, scale, alive, rng)
            start = solver.with_weights(objective, U, C)
            if by_adam:
                run = solver.minimise_by_adam(objective, start, limits, progress, steps)
            elif two_stages and limits.max_iter > 4:
                run = self._in_two_stages(
                    objective, start, n_centers, limits, progress, rng
                )
            else:
                run = solver.minimise(objective, start, limits, progress)
            if best is None or run.objective < best.objective:
                best = run
            if progress.is_over():
                best.stopped = progress.ended
                return best
        best = self._on_main_directions(objective, best, progress)
        if self._refits(objective):
            best.point = self._refit(whole, best.point, alive, progress, rng)
            best.stopped = progress.reason(best.stopped)
        return best

    def _refits(self, objective):
        """Whether all is left to the defaults, so that centres may go on the rows."""
        named = isinstance(self.centers_init, str)
        chosen = self.n_centers == "auto" and named and not self.learn_centers
        return chosen and objective.left_out

    def _refit(self, objective, point, alive, progress, rng):
        """The function anew, in the metric of a point or near it."""
        whole = self.rank is None and self.covariance_type == "full"
        # a penalty that is given holds for the metric of the predictions
        whole = whole and self.alpha_precision == "auto"
        alive = alive.astype(float) if whole else None
        rows = objective.X, objective.Y, objective.s
        return refit.refit(*rows, point, alive, rng, progress.is_over)

    def _on_main_directions(self, objective, run, progress):
        """The run on its few main directions, where they do as well."""
        values, vectors = solver.spectrum(run.point.U)
        shares = values.cumsum() / max(values.sum(), 1e-300)
        r = int(np.searchsorted(shares, MAIN_SHARE)) + 1
        full = self.covariance_type == "full" and self.rank is None
        full = full and not self.learn_centers
        if not (full and objective.left_out and 2 * r <= len(values)):
            return run
        C = run.point.C
        few = replace(objective, rank=r, anchors=C, learn_centers=False)
        U = vectors[:r].T * np.sqrt(values[:r])
        limits = solver.Limits(min(self.max_iter, CHOOSING_ITER), self.tol)
        start = run.point._replace(U=U)
        found = solver.minimise_quietly(few, start, limits, progress)
        if found.objective <= ALLOWANCE * run.objective:
            U = np.zeros((len(values), len(values)))
            U[:, :r] = found.point.U
            run.point = found.point._replace(U=U)
            run.objective = found.objective
            run.n_iter += found.n_iter
            run.loss_curve = run.loss_curve + found.loss_curve
        return run

    def _starts(self, objective):
        """How many times to start."""
        if self.n_init != "auto":
            return self.n_init
        if isinstance(objective.loss, losses.CrossEntropy):
            return CLASSIFIER_STARTS
        return SMALL_STARTS if len(objective.X) <= SMALL else 1

    def _automatic_centers(self, objective):
        """More centres cost rows and time; a classifier has no error left out."""
        most = MOST_CENTERS if objective.left_out else 32
        return max(1, min(most, len(objective.X) // 4))

    def _choose_precision_penalty(self, objective, alive, progress, rng):
        """The penalty on the precision with the lowest error on validation sets."""
        n = len(objective.X)
        rows = rng.permutation(n)[: min(n, CHOOSING_ROWS)]
        if len(rows) < FEWEST:
            return objective.alpha_precision
        folds = np.arange(len(rows)) % VALIDATION_FOLDS
        # of many rows one validation set tells enough
        n_folds = VALIDATION_FOLDS if len(rows) <= FEW_ROWS else 1
        errors = np.zeros(len(PRECISION_PENALTIES))
        for k in range(n_folds):
            train, held = np.sort(rows[folds != k]), rows[folds == k]
            some = replace(_restricted(objective, train), learn_centers=False)
            for i, run in enumerate(self._along_penalties(some, alive, progress, rng)):
                F = solver.output(objective.X[held], run.point)
                squares = ((F - objective.Y[held]) ** 2).sum(axis=1)
                errors[i] += float(objective.s[held] @ squares)
        good = np.flatnonzero(errors <= GOOD_ENOUGH * errors.min())
        return PRECISION_PENALTIES[good[-1]]

    def _along_penalties(self, objective, alive, progress, rng):
        """A short minimisation for each penalty, each from the end of the last.

        The smallest comes first: a direction that a large penalty has shed has no
        slope any more and never comes back.
        """
        n_centers = min(self._automatic_centers(objective), CHOOSING_CENTERS)
        C = solver.choose_centers(objective.X, objective.s, n_centers, "kmeans", rng)
        objective.anchors = C
        scale = solver.starting_scale(objective.X, objective.s, C)
        limits = solver.Limits(min(self.max_iter, 2 * CHOOSING_ITER), self.tol)
        U = solver.starting_factor(objective, scale, alive, limits)
        for penalty in PRECISION_PENALTIES:
            objective.alpha_precision = penalty
            start = solver.with_weights(objective, U, C)
            run = solver.minimise_quietly(objective, start, limits, progress)
            U = run.point.U
            limits = limits._replace(max_iter=min(self.max_iter, CHOOSING_ITER))
            yield run

    def _anchor(self, objective, C):
        """Set the centres, and whether their weights are solved for or stepped."""
        objective.anchors = C
        size = (len(C) + 1) * objective.Y.shape[1]
        cross_entropy = isinstance(objective.loss, losses.CrossEntropy)
        objective.joint = cross_entropy and size > solver.NEWTON_UP_TO

    def _in_two_stages(self, objective, start, n_centers, limits, progress, rng):
        """Cluster anew in the metric that the first stage finds.

        Means of clusters in all columns lie near the middle of the few directions that
        matter, and leave their ends uncovered.
        """
        few = limits._replace(max_iter=limits.max_iter // 4)
        fixed = replace(objective, learn_centers=False)
        first = solver.minimise(fixed, start, few, progress)
        if progress.is_over():
            return first
        U = first.point.U
        C = solver.choose_centers(objective.X, objective.s, n_centers, "kmeans", rng, U)
        self._anchor(objective, C)
        rest = limits._replace(max_iter=limits.max_iter - first.n_iter)
        begin = solver.with_weights(objective, U, C)
        run = solver.minimise(objective, begin, rest, progress)
        if run.objective > first.objective and not progress.is_over():
            # rare: the first clusters were better
            self._anchor(objective, start.C)
            run = solver.minimise(objective, first.point, rest, progress)
        run.loss_curve = first.loss_curve + run.loss_curve
        run.n_iter += first.n_iter
        return run

    def _fitted(self, point, objective, columns, target_columns):
        """Attributes of a point of the minimisation."""
        U, C, W, b, penalty, widths = point
        values, vectors = solver.spectrum(U)
        scale, total = target_columns.divisor, values.sum()

        def slopes():
            X, s = objective.X, objective.s
            if len(C) > SLOPE_ROWS:  # rows are sorted, so that some of them cover all
                rows = np.linspace(0, len(X) - 1, SLOPE_ROWS).astype(int)
                X, s = X[rows], s[rows]
            total = np.zeros(len(U))
            for rows in _chunks(len(X), len(C)):
                gradient = np.abs(solver.function_gradient(X[rows], point))
                total += np.einsum("i,ikj->j", s[rows], gradient)
            return total

        return {
            "_state": {
                "U": U.copy(),
                "C": C.copy(),
                "W": W * scale,
                "b": b * scale + target_columns.mean,
                "penalty": float(penalty),
                "widths": widths,
            },
            "alpha_weights_": float(penalty),
            "alpha_precision_": float(objective.alpha_precision),
            "mean_": columns.mean,
            "scale_": columns.divisor,
            "widths_": np.array(widths),
            "centers_": C * columns.divisor + columns.mean,
            "eigenvalues_": values,
            "components_": vectors,
            "precision_factor_": vectors.T * np.sqrt(values),
            "precision_": U @ U.T,
            "explained_precision_ratio_": values / total
            if total > 0
            else np.full(len(values), 1 / len(values)),
            "feature_importances_": solver.importances(self.importance, U, slopes),
            "_n_features_out": len(values),
        }

    # --- inference ------------------------------------------------------------------

    def _standardised(self, X):
        check_is_fitted(self)
        X = check_X(self, X, dtype=np.float64, order="C", reset=False)
        return Columns(self.mean_, self.scale_).standardised(X)

    def _output(self, X):
        """Outputs (n, K) in the units of the targets."""
        Z, point = self._standardised(X), losses.Point(**self._state)
        chunks = _chunks(len(Z), len(point.C))
        parts = [solver.output(Z[rows], point) for rows in chunks]
        return np.concatenate(parts)

    def kernel_features(self, X):
        """Return the value of each radial basis function at each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        features : ndarray of shape (n_samples, n_centers)
            Values in (0, 1]; the model is linear in them, with ``center_weights_`` and
            ``intercept_``.
        """
        Z, point = self._standardised(X), losses.Point(**self._state)
        return solver.kernel_features(Z, point.U, point.C, point.widths)[0]

    def gradient(self, X):
        """Return the slope of the model at each row, in input units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        gradient : ndarray of shape (n_samples, n_features) or \
(n_samples, n_outputs, n_features)
            Derivative of ``predict`` (regression) or ``decision_function``
            (classification) by each column. With several outputs the second axis
            tells them apart.
        """
        Z, point = self._standardised(X), losses.Point(**self._state)
        chunks = _chunks(len(Z), len(point.C))
        parts = [solver.function_gradient(Z[rows], point) for rows in chunks]
        gradient = np.concatenate(parts) / self.scale_
        return gradient[:, 0] if gradient.shape[1] == 1 else gradient

    def transform(self, X, n_components=None):
        """Project rows on the leading directions of the precision matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_components : int, default=None
            Number of directions; all of them if None.

        Returns
        -------
        projection : ndarray of shape (n_samples, n_components)
            Standardised rows times ``components_``.
        """
        Z = self._standardised(X)
        V = self.components_
        if n_components is not None:
            if not 1 <= n_components <= len(V):
                raise ValueError(
                    f"n_components={n_components} must be between 1 and the number "
                    f"of directions, {len(V)}."
                )
            V = V[:n_components]
        return Z @ V.T

    def __sklearn_is_fitted__(self):
        """Tell whether a fit has come to its end."""
        return hasattr(self, "_state")


def _chunks(n, n_centers):
    """Slices of rows whose kernel values fit into memory at once."""
    size = max(1, CHUNK // n_centers)
    return [slice(i, i + size) for i in range(0, n, size)]


def _restricted(objective, rows):
    """The objective on some of its rows."""
    s = objective.s[rows]
    return replace(objective, X=objective.X[rows], Y=objective.Y[rows], s=s / s.sum())
