"""One gradient search: variables of one combination of the lists, and stages."""

import warnings

import numpy as np
from scipy.stats import qmc
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skdiff._base.compat import check_method_params, safe_indexing
from skdiff.model_selection._gradient._evaluate import (
    Evaluator,
    FoldOracle,
    StopSearch,
    scorer_of_folds,
)
from skdiff.model_selection._gradient._folds import (
    fit_with_weights,
    make_folds,
    take_apart,
)
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._leave_one_out import (
    LeaveOneOutEvaluator,
    leave_one_out,
)
from skdiff.model_selection._gradient._outer._hoag_maid import hoag, maid
from skdiff.model_selection._gradient._outer._lbfgs import lbfgs
from skdiff.model_selection._gradient._outer._quadratics import quadratics
from skdiff.model_selection._gradient._outer._root import root
from skdiff.model_selection._gradient._space import Space, Variable

ROW_WEIGHTS = "sample_weight"
_FEW = 50  # variables for which a quasi-Newton search is worth expensive solves
_SCAN = 5
_FLAT = 5  # variables whose quadratics a handful of points can fit


class Task:
    """Folds, space and evaluator of one combination, and the solvers run on them."""

    def __init__(self, search, chosen, problem, context):
        estimator = clone(search.estimator).set_params(**clone(chosen, safe=False))
        data, intervals = problem["data"], problem["intervals"]
        self.search, self.estimator, self.chosen = search, estimator, chosen
        self.data, self.context = data, context
        self.parts = take_apart(estimator)
        names = {key: key.removeprefix(self.parts.prefix) for key in intervals}
        configure = _configuration(intervals, names)
        specs = {names[key]: spec for key, spec in intervals.items()}
        at_once = leave_one_out(self.parts, data, specs, problem["criterion"], search)
        self.folds = []
        if at_once is None:
            self.folds = make_folds(estimator, data, configure, ROW_WEIGHTS in specs)
        self.space = Space(
            [self._variable(key, names[key], spec) for key, spec in intervals.items()]
        )
        self.translate = inner_problem(self.parts.last)
        configure(self.translate)
        self.evaluator = self._evaluator(problem, at_once)
        self.evaluator.on_row = self._report
        self.converged, self.bounds = True, {}

    def _evaluator(self, problem, at_once):
        """Evaluate fold by fold, or all at once where one decomposition serves."""
        search, scorers, scorer = self.search, problem["scorers"], None
        if at_once is not None:
            return LeaveOneOutEvaluator(*at_once, self.space, search.inner_tol)
        if search.scoring is not None:
            plain = hasattr(scorers, "_scorers") or hasattr(scorers, "_response_method")
            scorer = scorer_of_folds(
                scorers,
                hasattr(self.estimator, "predict_proba"),
                None if plain else self._fitted_fold,
            )
        return Evaluator(
            self.folds,
            self.space,
            problem["criterion"],
            inner_tol=search.inner_tol,
            warm=search.warm_start_inner,
            scorer=scorer,
            n_jobs=search.n_jobs,
        )

    def _variable(self, key, name, spec):
        """Resolve sizes that only the data tell."""
        if spec.per is None:
            return Variable(key, name, spec, None)
        if name == ROW_WEIGHTS:
            n = len(self.data.target.codes)
        else:
            sizes = {fold.problem.size(name, spec.per) for fold in self.folds}
            if len(sizes) > 1:
                raise ValueError(
                    f"{key!r} has a value per {spec.per}, but the last step sees "
                    f"{sorted(sizes)} of them in different folds."
                )
            n = sizes.pop()
        shape, n = (n, int(np.prod(n))) if isinstance(n, tuple) else (None, n)
        codes = np.arange(n)
        if spec.per == "group":
            if np.shape(spec.groups) != (n,):
                raise ValueError(
                    f"groups of {key!r} must have {n} labels, got shape "
                    f"{np.shape(spec.groups)}."
                )
            codes = np.unique(np.asarray(spec.groups), return_inverse=True)[1]
        return Variable(key, name, spec, codes, shape)

    # --- rows -------------------------------------------------------------------------

    def _values(self, row):
        """Values of the row; rows that train in no fold keep the full weight."""
        values = dict(row.values)
        if ROW_WEIGHTS in values:
            trained = np.zeros(len(values[ROW_WEIGHTS]), dtype=bool)
            for fold in self.folds:
                trained[fold.train] = True
            spec = next(v.spec for v in self.space.variables if v.name == ROW_WEIGHTS)
            values[ROW_WEIGHTS] = np.where(trained, values[ROW_WEIGHTS], spec.high)
        return values

    def params_of(self, row):
        """Parameters as the user named them."""
        values = self._values(row)
        return {**self.chosen, **{v.key: values[v.name] for v in self.space.variables}}

    def theta_of(self, params):
        """Outer variables of values named as the user named them."""
        parts = []
        for variable in self.space.variables:
            values = np.ravel(np.asarray(params[variable.key], dtype=float))
            if variable.codes is not None:
                first = np.unique(variable.codes, return_index=True)[1]
                values = values[first]
            parts.append(variable.spec.invert(values))
        return np.concatenate(parts)

    def weights_of(self, row):
        """Weights of the rows, if they were searched."""
        return self._values(row).get(ROW_WEIGHTS)

    def settings_of(self, row):
        """Return what ``set_params`` of the whole estimator takes."""
        values = {k: v for k, v in self._values(row).items() if k != ROW_WEIGHTS}
        settings = self.translate.to_params(values)
        return {self.parts.prefix + name: value for name, value in settings.items()}

    def slope_of(self, row):
        """Gradient of the objective in the outer variables."""
        return row.gradient + self.evaluator.tie(row.theta)[1]

    def slope_by_name(self, row):
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

    def _fitted_fold(self, fold, values):
        """A fit of the whole estimator on the fold's rows, for scorers that look."""
        weights = values.get(ROW_WEIGHTS)
        values = {k: v for k, v in values.items() if k != ROW_WEIGHTS}
        settings = {
            self.parts.prefix + name: value
            for name, value in self.translate.to_params(values).items()
        }
        if not fold.problem.warm and hasattr(fold.problem.estimator, "random_state"):
            # of many solutions, the one that the problem finds
            seed = fold.problem.estimator.random_state
            settings[self.parts.prefix + "random_state"] = seed
        model = clone(self.estimator).set_params(**settings)
        data, rows = self.data, fold.train
        fit_with_weights(
            model,
            safe_indexing(data.X, rows),
            safe_indexing(data.target.y, rows),
            check_method_params(data.X, params=data.fit_params, indices=rows),
            None if weights is None else weights[rows],
        )
        return model

    def _report(self, row):
        """Print a line, and tell the callbacks."""
        if self.search.verbose:
            n = len(self.evaluator.rows)
            size = float(np.linalg.norm(row.gradient))
            shown = {
                v.key: f"{value:.6g}" if np.ndim(value) == 0 else f"{np.shape(value)}"
                for v in self.space.variables
                for value in [row.values[v.name]]
            }
            text = ", ".join(f"{k}={v}" for k, v in {**self.chosen, **shown}.items())
            print(  # noqa: T201 - asked for by verbose
                f"[{n}] {text}: criterion={row.value:.8g}, gradient={size:.3g}"
            )
        self._tick()

    def _tick(self, theta=None):
        if self.context is None:
            return
        point = self.context.subcontext(task_name="evaluation")
        point.call_on_fit_task_begin(estimator=self.search)
        if point.call_on_fit_task_end(estimator=self.search):
            raise StopSearch

    # --- stages -----------------------------------------------------------------------

    def run(self, rng):
        """Search the tied variables, then let vectors go."""
        search, space = self.search, self.space
        vector = [v.size > 1 for v in space.variables]
        if not any(vector):
            self._take(self._minimise(self.evaluator, space, None, rng))
            return
        start = self._tied_stage(rng)
        row = self.evaluator.row(start)
        if np.isinf(search.tie_strength) or not np.isfinite(row.value):
            return
        self.bounds = {}
        self.evaluator.anchor = start, search.tie_strength * abs(row.value)
        self._take(self._minimise(self.evaluator, space, start, rng))

    def _tied_stage(self, rng):
        """Best common values; row weights stay where they start."""
        space = self.space
        start = space.start()
        free = [v for v in space.variables if v.name != ROW_WEIGHTS]
        if not free:
            return start
        tied = Space(free).tied()
        parts = [
            part
            for v, part in zip(space.variables, space.slices, strict=True)
            if v.name != ROW_WEIGHTS
        ]

        def spread(theta):
            full = start.copy()
            for value, part in zip(theta, parts, strict=True):
                full[part] = value
            return full

        def objective(theta):
            value, gradient = self.evaluator(spread(theta))
            return value, np.array([gradient[part].sum() for part in parts])

        outcome = self._minimise(objective, tied, None, rng, exact=True)
        self._take(outcome)
        return spread(np.atleast_1d(outcome.theta))

    def _take(self, outcome):
        self.converged = self.converged and outcome.converged

    def _solver(self, size, exact):
        search = self.search
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

    def _minimise(self, objective, space, start, rng, *, exact=False):
        search = self.search
        lower, upper = space.lower, space.upper
        solver = self._solver(space.size, exact)
        options = {"tol": search.tol, "max_iter": search.max_iter}
        if solver == "root":

            def slope(t):
                value, gradient = objective(np.array([t]))
                return value, float(gradient[0])

            n_scan = _SCAN + 4 * (search.n_starts - 1)
            low, high = float(lower[0]), float(upper[0])
            # from the simplest model on: solutions nearby are good starts
            upward = space.variables[0].name == "C"
            outcome = root(slope, low, high, n_scan=n_scan, upward=upward, **options)
            self._note_bounds(space, np.array([outcome.theta]), [outcome.bound])
            return outcome
        if self._kinked(space.size, start):
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
            self.context, context = None, self.context
            for visited in oracle.visited.values():
                self.evaluator.row(visited)
            self.context = context
        best = min(outcomes, key=lambda o: objective(np.asarray(o.theta))[0])
        self._note_sides(objective, space, best.theta)
        return best

    def _kinked(self, size, start):
        """Whether kinks of the criterion would stop a descent all the time."""
        automatic = self.search.solver == "auto" and start is None and size <= _FLAT
        return automatic and any(fold.problem.kinked for fold in self.folds)

    def _starts(self, objective, space, start, rng):
        """Best points of a small scan, or the tied optimum and random points."""
        n = self.search.n_starts
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

    def _scan(self, space, more=0):
        """Points spread over the box, its start first."""
        lower, upper = space.lower, space.upper
        size = _SCAN + 2 * (space.size - 1) + more
        size = min(size, max(self.search.max_iter // 2, 1))
        points = qmc.Halton(space.size, scramble=False).random(size)[1:]
        return [space.start(), *(lower + (upper - lower) * points)]

    def _note_sides(self, objective, space, theta):
        """Ends of the intervals that the criterion would go beyond."""
        _, gradient = objective(np.asarray(theta))
        sides = np.where(
            (theta <= space.lower) & (gradient > 0),
            -1,
            np.where((theta >= space.upper) & (gradient < 0), 1, 0),
        )
        self._note_bounds(space, theta, sides)

    def _note_bounds(self, space, theta, sides):
        for variable, part in zip(space.variables, space.slices, strict=True):
            if variable.size == 1:
                side = int(np.asarray(sides)[part][0])
                if side:
                    self.bounds[variable.key] = side, variable.spec

    def warn(self):
        """Say what the user can change."""
        for key, (side, spec) in self.bounds.items():
            end, value = ("upper", spec.high) if side > 0 else ("lower", spec.low)
            warnings.warn(
                f"The search of {key!r} stopped at its {end} bound {value:g} with the "
                "criterion still decreasing beyond it: the search range is too narrow, "
                "or the model wants none (or all) of it. Widen the interval.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if not self.converged:
            warnings.warn(
                f"The search stopped after max_iter={self.search.max_iter} points "
                "without reaching tol. Increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )


def _configuration(intervals, names):
    """Return a function that tells a problem what will be searched."""
    lowest = {names[key]: spec.low for key, spec in intervals.items()}
    vector = {names[key]: spec.per is not None for key, spec in intervals.items()}

    def configure(problem):
        problem.lowest, problem.vector = lowest, vector

    return configure
