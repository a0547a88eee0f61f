"""One gradient search: variables of one combination of the lists, and stages."""

import warnings
from typing import Any

import numpy as np
from scipy.stats import qmc
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags

from skdiff._base.compat import check_method_params, safe_indexing
from skdiff._base.progress import Progress
from skdiff._base.typing import Array
from skdiff._convex._inner._problem import InnerProblem, Searched
from skdiff.model_selection._gradient._evaluate import (
    Evaluator,
    StopSearch,
    scorer_of_folds,
)
from skdiff.model_selection._gradient._folds import (
    Fold,
    fit_before,
    fit_with_weights,
    make_folds,
)
from skdiff.model_selection._gradient._given import Given, Options
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._leave_one_out import (
    LeaveOneOutEvaluator,
    leave_one_out,
)
from skdiff.model_selection._gradient._oracle import FoldOracle
from skdiff.model_selection._gradient._outer._hoag_maid import hoag, maid
from skdiff.model_selection._gradient._outer._lbfgs import lbfgs
from skdiff.model_selection._gradient._outer._quadratics import quadratics
from skdiff.model_selection._gradient._outer._root import root
from skdiff.model_selection._gradient._space import Continuous, Space, Variable
from skdiff.model_selection._gradient._wrappers import take_apart

_FEW = 50  # variables for which a quasi-Newton search is worth expensive solves
_SCAN = 5
_FLAT = 5  # variables whose quadratics a handful of points can fit


class CombinationSearch:
    """Folds, space and evaluator of one combination, and the solvers run on them."""

    def __init__(
        self,
        estimator: Any,
        chosen: dict[str, Any],
        given: Given,
        options: Options,
        progress: Progress,
    ) -> None:
        estimator = clone(estimator).set_params(**clone(chosen, safe=False))
        data, intervals = given.data, given.intervals
        self.estimator, self.chosen, self.data = estimator, chosen, data
        self.options, self.progress = options, progress
        self.parts = take_apart(estimator)
        names = {key: key.removeprefix(self.parts.prefix) for key in intervals}
        searched = {
            names[key]: Searched(spec.low, spec.high, spec.per is not None)
            for key, spec in intervals.items()
        }
        specs = {names[key]: spec for key, spec in intervals.items()}
        at_once = leave_one_out(self.parts, data, specs, given.criterion, options)
        self.translate: InnerProblem = inner_problem(self.parts.last)
        self.translate.searched = searched
        self.folds: list[Fold] = []
        if at_once is None:
            self.folds = make_folds(estimator, data, searched)
        self.space = Space(
            [self._variable(key, names[key], spec) for key, spec in intervals.items()]
        )
        self.evaluator = self._evaluator(given, at_once)
        self.evaluator.on_row = self._report
        self.converged = True
        self.bounds: dict[str, tuple[int, Continuous]] = {}

    def _evaluator(self, given: Any, at_once: Any) -> Any:
        """Evaluate fold by fold, or all at once where one decomposition serves."""
        scorers, scorer = given.scorers, None
        if at_once is not None:
            return LeaveOneOutEvaluator(at_once, self.space, self.options)
        if self.options.scored:
            plain = hasattr(scorers, "_scorers") or hasattr(scorers, "_response_method")
            scorer = scorer_of_folds(
                scorers,
                hasattr(self.estimator, "predict_proba"),
                None if plain else self.fitted_fold,
            )
        return Evaluator(self.folds, self.space, given.criterion, self.options, scorer)

    def _variable(self, key: str, name: str, spec: Continuous) -> Variable:
        """Resolve sizes that only the data tell."""
        by_row = name in self.translate.per_row
        if spec.per is None:
            return Variable(key, name, spec, None, by_row=by_row)
        size = self._size(key, name, spec, by_row)
        shape, n = (
            (size, int(np.prod(size))) if isinstance(size, tuple) else (None, size)
        )
        codes = np.arange(n)
        if spec.per == "group":
            if np.shape(spec.groups) != (n,):
                raise ValueError(
                    f"groups of {key!r} must have {n} labels, got shape "
                    f"{np.shape(spec.groups)}."
                )
            codes = np.unique(np.asarray(spec.groups), return_inverse=True)[1]
        return Variable(key, name, spec, codes, shape, by_row)

    def _size(self, key: str, name: str, spec: Continuous, by_row: bool) -> Any:
        """Entries of a vector; tell each fold which of them it has."""
        if by_row:
            for fold in self.folds:
                fold.entries[name] = fold.train
            return len(self.data.target.codes)
        sizes = {fold.problem.size(name, spec.per) for fold in self.folds}
        names = [fold.before.names for fold in self.folds]
        per_column = sizes == {fold.problem.X.shape[1] for fold in self.folds}
        if per_column and all(n is not None for n in names):
            columns = self._columns(names)
            if columns is not None:
                for fold, places in zip(self.folds, columns[1], strict=True):
                    fold.entries[name] = places
                return columns[0]
        if len(sizes) > 1:
            raise ValueError(
                f"{key!r} has a value per {spec.per}, but the last step sees "
                f"{sorted(sizes)} of them in different folds, whose names do not tell "
                "which is which."
            )
        return sizes.pop()

    def _columns(self, names: list[Any]) -> tuple[int, list[Any]] | None:
        """Columns of all rows, and those of each fold, by name.

        None where the folds agree. Categories that some folds do not see make the
        difference: the last fit sees them all.
        """
        if all(np.array_equal(names[0], other) for other in names):
            return None
        data = self.data
        before = fit_before(
            self.parts.wrappers, data.X, data.target.y, dict(data.fit_params)
        )
        every = np.asarray(before.names, dtype=object)
        place = {name: j for j, name in enumerate(every)}
        missing = sorted({str(n) for found in names for n in found if n not in place})
        if missing or len(place) < len(every):
            raise ValueError(
                f"The columns {missing or 'with equal names'} of some folds are not "
                "those of all rows, so a value per feature has no place for them. Fix "
                "the categories of the encoder."
            )
        return len(every), [np.array([place[n] for n in found]) for found in names]

    # --- rows -------------------------------------------------------------------------

    def _values(self, row: Any) -> Any:
        """Values of the row; rows that train in no fold keep the full weight."""
        values = dict(row.values)
        for variable in self.space.variables:
            if variable.by_row:
                trained = np.zeros(len(values[variable.name]), dtype=bool)
                for fold in self.folds:
                    trained[fold.train] = True
                found = values[variable.name]
                values[variable.name] = np.where(trained, found, variable.spec.high)
        return values

    def params_of(self, row: Any) -> Any:
        """Parameters as the user named them."""
        values = self._values(row)
        return {**self.chosen, **{v.key: values[v.name] for v in self.space.variables}}

    def theta_of(self, params: Any) -> Any:
        """Outer variables of values named as the user named them."""
        parts = []
        for variable in self.space.variables:
            values = np.ravel(np.asarray(params[variable.key], dtype=float))
            if variable.codes is not None:
                first = np.unique(variable.codes, return_index=True)[1]
                values = values[first]
            parts.append(variable.spec.invert(values))
        return np.concatenate(parts)

    def weights_of(self, row: Any) -> Any:
        """Values per row that were searched, by the name of the argument of fit."""
        values = self._values(row)
        return {name: values[name] for name in self.space.by_row}

    def settings_of(self, row: Any) -> Any:
        """Return what ``set_params`` of the whole estimator takes."""
        return self._settings(self._values(row))

    def _settings(self, values: Any) -> Any:
        values = {k: v for k, v in values.items() if k not in self.space.by_row}
        settings = self.translate.to_params(values)
        return {self.parts.prefix + name: value for name, value in settings.items()}

    def slope_of(self, row: Any) -> Any:
        """Gradient of the objective in the outer variables."""
        return row.gradient + self.evaluator.tie(row.theta)[1]

    def slope_by_name(self, row: Any) -> Any:
        """Return the same, by the user's names."""
        slope, found = self.slope_of(row), {}
        pairs = zip(self.space.variables, self.space.slices, strict=True)
        for variable, part in pairs:
            entries = slope[part]
            if variable.codes is None:
                entries = float(entries[0])
            elif variable.shape is not None:
                entries = entries.reshape(variable.shape)
            found[variable.key] = entries
        return found

    def fitted_fold(self, fold: Any, values: Any) -> Any:
        """A fit of the whole estimator on the fold's rows, for scorers that look."""
        settings = self._settings(self.evaluator.fold_values(values, fold))
        if not fold.problem.warm and hasattr(fold.problem.estimator, "random_state"):
            # of many solutions, the one that the problem finds
            seed = fold.problem.estimator.random_state
            settings[self.parts.prefix + "random_state"] = seed
        model = clone(self.estimator).set_params(**settings)
        data, rows = self.data, fold.train
        pairwise = get_tags(self.estimator).input_tags.pairwise
        fit_with_weights(
            model,
            data.X[np.ix_(rows, rows)] if pairwise else safe_indexing(data.X, rows),
            safe_indexing(data.target.y, rows),
            check_method_params(data.X, params=data.fit_params, indices=rows),
            {name: values[name][rows] for name in self.space.by_row},
        )
        return model

    def _report(self, row: Any) -> None:
        """Tell the loop guard of a point, which may end the search."""
        shown = {
            v.key: f"{value:.6g}" if np.ndim(value) == 0 else f"{np.shape(value)}"
            for v in self.space.variables
            for value in [row.values[v.name]]
        }
        text = ", ".join(f"{k}={v}" for k, v in {**self.chosen, **shown}.items())
        size = float(np.linalg.norm(row.gradient))
        self.progress.write(
            f"[{len(self.evaluator.rows)}] {text}: criterion={row.value:.8g}, "
            f"gradient={size:.3g}"
        )
        self._tick()

    def _tick(self, theta: Any = None) -> None:
        if self.progress.step():
            raise StopSearch

    # --- stages -----------------------------------------------------------------------

    def run(self, rng: Any) -> None:
        """Search until the tolerance, a limit, or the end of the guard."""
        try:
            self._stages(rng)
        except StopSearch:
            self.converged = False

    def _stages(self, rng: Any) -> None:
        """Search the tied variables, then let vectors go."""
        space = self.space
        vector = [v.size > 1 for v in space.variables]
        if not any(vector):
            self._take(self._minimise(self.evaluator, space, None, rng))
            return
        start = self._tied_stage(rng)
        row = self.evaluator.row(start)
        if np.isinf(self.options.tie_strength) or not np.isfinite(row.value):
            return
        self.bounds = {}
        self.evaluator.anchor = start, self.options.tie_strength * abs(row.value)
        self._take(self._minimise(self.evaluator, space, start, rng))

    def _tied_stage(self, rng: Any) -> Any:
        """Best common values; row weights stay where they start."""
        space = self.space
        start = space.start()
        free = [v for v in space.variables if not v.by_row]
        if not free:
            return start
        tied = Space(free).tied()
        parts = [
            part
            for v, part in zip(space.variables, space.slices, strict=True)
            if not v.by_row
        ]

        def spread(theta: Array) -> Any:
            full = start.copy()
            for value, part in zip(theta, parts, strict=True):
                full[part] = value
            return full

        def objective(theta: Array) -> Any:
            value, gradient = self.evaluator(spread(theta))
            return value, np.array([gradient[part].sum() for part in parts])

        outcome = self._minimise(objective, tied, None, rng, exact=True)
        self._take(outcome)
        return spread(np.atleast_1d(outcome.theta))

    def _take(self, outcome: Any) -> None:
        self.converged = self.converged and outcome.converged

    def _solver(self, size: Any, exact: Any) -> Any:
        search = self.options
        if size == 1 and (search.solver in ("auto", "root") or exact):
            return "root"
        if search.solver == "root" and not exact:
            raise ValueError(
                f'solver="root" searches one variable, and there are {size}. Use '
                '"auto", "lbfgs", "hoag" or "maid".'
            )
        if exact:
            return "lbfgs"
        if search.solver != "auto":
            return search.solver
        cheap = all(fold.problem.cheap for fold in self.folds)
        return "lbfgs" if cheap or size <= _FEW else "maid"

    def _minimise(
        self, objective: Any, space: Any, start: Any, rng: Any, *, exact: Any = False
    ) -> Any:
        search = self.options
        lower, upper = space.lower, space.upper
        solver = self._solver(space.size, exact)
        options: dict[str, Any] = {"tol": search.tol, "max_iter": search.max_iter}
        if solver == "root":

            def slope(t: Any) -> Any:
                value, gradient = objective(np.array([t]))
                return value, float(gradient[0])

            low, high = float(lower[0]), float(upper[0])
            reach = self._reach()
            spec = space.variables[0].spec
            n_scan = _scan_size(spec, low, high, reach == "whole")
            n_scan += (_SCAN - 1) * (search.n_starts - 1)
            # from the simplest model on: solutions nearby are good starts
            simplest = self.translate.simplest_end.get(space.variables[0].name, "high")
            outcome = root(
                slope,
                low,
                high,
                n_scan=n_scan,
                upward=simplest == "low",
                reach=reach,
                **options,
            )
            self._note_bounds(space, np.array([outcome.theta]), [outcome.bound])
            return outcome
        if self._nonsmooth(space.size, start):
            scan = self._scan(space, 2 + _SCAN * (search.n_starts - 1))
            best = quadratics(objective, scan, lower, upper, **options)
            self._note_sides(objective, space, best.theta)
            return best
        outcomes = []
        for theta in self._starts(objective, space, start, rng):
            if solver == "lbfgs":
                outcomes.append(lbfgs(objective, theta, lower, upper, **options))
                continue
            oracle = FoldOracle(self.evaluator, self._tick, certify=solver == "maid")
            method = hoag if solver == "hoag" else maid
            outcomes.append(method(oracle, theta, lower, upper, **options))
            # reported rows are exact: one more solve each, from where they are
            self.evaluator.on_row = None
            for visited in oracle.visited.values():
                self.evaluator.row(visited)
            self.evaluator.on_row = self._report
        best = min(outcomes, key=lambda o: objective(np.asarray(o.theta))[0])
        self._note_sides(objective, space, best.theta)
        return best

    def _reach(self) -> str:
        """How far a scan goes, by the cost of its further points."""
        if all(fold.problem.free_path for fold in self.folds):
            return "whole"
        steep = any(fold.problem.steep for fold in self.folds)
        return "bracket" if steep else "rise"

    def _nonsmooth(self, size: Any, start: Any) -> Any:
        """Whether non-smooth points of the criterion would stop any descent."""
        automatic = self.options.solver == "auto" and start is None and size <= _FLAT
        return automatic and any(fold.problem.nonsmooth for fold in self.folds)

    def _starts(self, objective: Any, space: Any, start: Any, rng: Any) -> Any:
        """Best points of a small scan, or the tied optimum and random points."""
        n = self.options.n_starts
        lower, upper = space.lower, space.upper
        if start is None:
            scan = self._scan(space)
            values = [objective(theta)[0] for theta in scan]
            order = np.argsort(values, kind="stable")
            return [scan[i] for i in order[:n]]
        others = [
            np.clip(start + rng.normal(size=len(start)), lower, upper)
            for _ in range(n - 1)
        ]
        return [start, *others]

    def _scan(self, space: Any, more: Any = 0) -> Any:
        """Points spread over the box, its start first."""
        lower, upper = space.lower, space.upper
        size = _SCAN + 2 * (space.size - 1) + more
        size = min(size, max(self.options.max_iter // 2, 1))
        points = qmc.Halton(space.size, scramble=False).random(size)[1:]
        return [space.start(), *(lower + (upper - lower) * points)]

    def _note_sides(self, objective: Any, space: Any, theta: Array) -> None:
        """Ends of the intervals that the criterion would go beyond."""
        _, gradient = objective(np.asarray(theta))
        sides = np.where(
            (theta <= space.lower) & (gradient > 0),
            -1,
            np.where((theta >= space.upper) & (gradient < 0), 1, 0),
        )
        self._note_bounds(space, theta, sides)

    def _note_bounds(self, space: Any, theta: Array, sides: Any) -> None:
        for variable, part in zip(space.variables, space.slices, strict=True):
            if variable.size == 1:
                side = int(np.asarray(sides)[part][0])
                if side:
                    self.bounds[variable.key] = side, variable.spec

    def warn(self) -> None:
        """Say what the user can change."""
        for key, (side, spec) in self.bounds.items():
            end, value = ("upper", spec.high) if side > 0 else ("lower", spec.low)
            warnings.warn(
                f"The search of {key!r} stopped at its {end} bound {value:g} with the "
                "criterion still decreasing beyond it: the search range is too narrow, "
                "or the model wants none (or all) of it. Widen the interval.",
                ConvergenceWarning,
                stacklevel=5,
            )
        if not self.converged and self.progress.ended is None:
            warnings.warn(
                f"The search stopped after max_iter={self.options.max_iter} points "
                "without reaching tol. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=5,
            )


def _scan_size(spec: Continuous, low: float, high: float, whole: bool) -> int:
    """Points of a scan: as close as valleys of a criterion are wide."""
    if spec.scale == "linear":
        return _SCAN
    spacing, most = (1.25, 12) if whole else (2.0, 10)
    return int(np.clip(np.ceil((high - low) / spacing) + 1, _SCAN, most))
