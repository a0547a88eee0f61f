"""What constrained classifiers and regressors share."""

import contextlib
import copy
import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
    safe_indexing,
)
from skdiff._base.inner import (
    check_table,
    fit_inner,
    is_frozen,
    refuse_samplers,
    seeded,
    takes_weights,
    whole_fit,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.progress import watch
from skdiff._base.validation import require_y
from skdiff._convex._dual_ascent import Ascent, augmented_lagrangian, dual_newton
from skdiff._convex._solve import warn_unless_converged
from skdiff._nn._base import BaseNeural
from skdiff.fairness._constrained._ascent import (
    Limits,
    ascend,
    chosen,
    look_at,
    new_history,
    reweighted,
)
from skdiff.fairness._constrained._constraint import Constraint
from skdiff.fairness._constrained._linear import (
    LinearProblem,
    SoftmaxProblem,
    solve_statement,
)
from skdiff.fairness._constrained._models import (
    LARGEST_SYSTEM,
    as_linear,
    fit_before,
    fitted_model,
    joined,
    last_step,
    linear_problem,
    weights_of_classes,
)
from skdiff.fairness._constrained._terms import (
    TrainingRows,
    by_entry,
    compile_terms,
    settled,
    true_rates,
)
from skdiff.fairness._constrained._units import units_of, without_units
from skdiff.fairness._groups import encode_groups, read_groups

# violations that count as none where no certificate exists: of networks, of refits
LOOSE, LOOSE_REFITS = 1e-3, 1e-4


def largest_of(report, name):
    """Largest entry of a constraint, which may have one per pair of groups."""
    pairs = f"{name}["
    return max(v for k, v in report.items() if k == name or k.startswith(pairs))


class BaseConstrained(SaveMixin, CallbackSupportMixin, BaseEstimator):
    """Fit under constraints by one of three ways, which the inner model decides."""

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "constraints": ["array-like", Constraint],
        "solver": [StrOptions({"auto", "cvxpy"})],
        "dual_step": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "select": [StrOptions({"last", "feasible", "mixture"})],
        "on_infeasible": [StrOptions({"raise", "relax"})],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        constraints=(),
        *,
        solver="auto",
        dual_step=0.1,
        max_iter=100,
        tol=1e-6,
        temperature=0.2,
        select="last",
        on_infeasible="raise",
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.constraints = constraints
        self.solver = solver
        self.dual_step = dual_step
        self.max_iter = max_iter
        self.tol = tol
        self.temperature = temperature
        self.select = select
        self.on_infeasible = on_infeasible
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    def get_metadata_routing(self):
        """Return how metadata are routed: row weights go to the model, too.

        Returns
        -------
        routing : MetadataRouter
            The routing.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if self.estimator is None:
            return router
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(method_mapping=mapping, estimator=self.estimator)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        model = self.estimator
        tags.input_tags.sparse = model is None or get_tags(model).input_tags.sparse
        return tags

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, sensitive_features=None, sample_weight=None):
        """Fit the model under the constraints.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels or target values.
        sensitive_features : array-like of shape (n_samples,), default=None
            Group of each row, any hashable label. Needed by constraints on groups;
            ``predict`` needs none.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the objective and in the constraints.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with whole_fit(self):
            X, target, rows = self._read(X, y, sensitive_features, sample_weight)
            terms = compile_terms(self._constraints(), rows)
            model = self._inner()
            metadata = {}
            if sensitive_features is not None:
                metadata["sensitive_features"] = sensitive_features
            if sample_weight is not None:
                metadata["sample_weight"] = sample_weight
            with watch(
                self, X, y, max_iter=self.max_iter + 1, metadata=metadata or None
            ) as progress:
                self._dispatch(model, target, rows, terms, progress)
            if progress.ended == "time":
                warnings.warn(
                    f"Time limit ({self.time_limit} s) reached and the ascent hasn't "
                    "converged yet. Increase time_limit.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        return self

    def _constraints(self):
        given = self.constraints
        given = [given] if isinstance(given, Constraint) else list(given)
        for constraint in given:
            if not isinstance(constraint, Constraint):
                raise TypeError(
                    "constraints must hold Constraint objects, got "
                    f"{type(constraint).__name__}."
                )
        return given

    def _inner(self):
        """The model to train, its unseeded parts seeded."""
        model = self._default() if self.estimator is None else self.estimator
        if is_frozen(model):
            raise ValueError(
                f"{type(self).__name__} trains its estimator, and a frozen one cannot "
                "be trained."
            )
        if is_classifier(self) != is_classifier(model):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise ValueError(
                f"{type(self).__name__} needs a {kind}, got {type(model).__name__}."
            )
        return seeded(model, check_random_state(self.random_state))

    def _read(self, X, y, sensitive_features, sample_weight):
        """Checked rows of positive weight: X, the target for fits, and all about them.

        The weights of the rows sum to one in what constraints see.
        """
        require_y(self, y)
        given = [] if self.estimator is None else [self.estimator]
        X = check_table(self, X, given, reset=True)
        target, y, n_classes = self._read_y(X, y)
        weight = np.ones(len(y))
        self._weighted = sample_weight is not None
        if self._weighted:
            weight = check_sample_weight(sample_weight, X)
        kept = np.flatnonzero(weight > 0)
        labels = None
        if sensitive_features is not None:
            where = f"{type(self).__name__}.fit"
            labels = read_groups(sensitive_features, len(y), where)
        if len(kept) < len(y):
            X, target, y = safe_indexing(X, kept), target[kept], y[kept]
            weight = weight[kept]
            labels = None if labels is None else labels[kept]
        self._after_trimming(y)
        groups, codes = ([], None) if labels is None else encode_groups(labels)
        self._total = float(weight.sum())
        rows = TrainingRows(
            X,
            y.astype(np.float64),
            weight / self._total,
            groups,
            codes,
            is_classifier(self),
            n_classes,
        )
        return X, target, rows

    def _dispatch(self, model, target, rows, terms, progress):
        linear = as_linear(model)
        if linear is not None:
            refuse_samplers(model, "constraints belong to the rows")
            problem = self._linear_problem(linear, model, target, rows, terms)
            if problem is not None:
                return self._fit_linear(linear, model, problem, rows, terms, progress)
        if self.solver == "cvxpy":
            raise ValueError(
                'solver="cvxpy" needs a linear model: LogisticRegression with an L2 '
                f"penalty, Ridge or LinearRegression, not {type(model).__name__}."
            )
        if isinstance(last_step(model), BaseNeural) and model is last_step(model):
            return self._fit_network(model, target, rows, terms, progress)
        return self._fit_reweighted(model, target, rows, terms, progress)

    # --- linear models --------------------------------------------------------------

    def _linear_problem(self, linear, model, target, rows, terms):
        """The steps before, what they give, and the problem; None where too large."""
        before, Z = fit_before(model, rows.X, target)
        width = Z.shape[1] * (rows.n_classes if rows.n_classes > 2 else 1)
        if width > LARGEST_SYSTEM:
            return None
        weight = rows.weight * self._total
        numbers = np.asarray(Z, dtype=np.float64) if hasattr(Z, "columns") else Z
        if linear.class_weight is not None:
            weight = weight * weights_of_classes(
                linear.class_weight, self.classes_, rows.y.astype(int), weight
            )
        units = units_of(terms, rows)
        data = linear_problem(linear, numbers, rows.y / units.y, weight)
        terms = without_units(terms, units)
        if rows.classifier and rows.n_classes > 2:
            return before, Z, SoftmaxProblem(data, terms), units
        problem = LinearProblem(data, terms, float(self.temperature))
        return before, Z, problem, units

    def _fit_linear(self, linear, model, parts, rows, terms, progress):
        before, Z, problem, units = parts
        n_outputs = rows.n_classes if rows.n_classes > 2 else 1
        start = getattr(self, "_start", None)
        if start is None:
            size = problem.model.A.shape[1] * n_outputs
            start = (np.zeros(size), np.zeros(len(terms)))
        history = new_history()

        def note(state):
            excess = state.terms.excess * units.terms
            violation = float(np.max(excess, initial=0.0))
            objective = state.terms.objective * units.objective
            multipliers = state.multipliers * units.multipliers
            history["objective"].append(objective)
            history["max_violation"].append(violation)
            history["sum_multipliers"].append(float(multipliers.sum()))
            return progress.step(loss=objective, state=state)

        found = self._solve(problem, start, note)
        tol = max(self.tol, 1e-7)
        infeasible = found.stats["capped"] and np.max(found.stats["excess"]) > tol
        self._start_found = found.x, found.stats["multipliers"]
        multipliers = found.stats["multipliers"] * units.multipliers
        excess = found.stats["excess"] * units.terms
        if infeasible and self.on_infeasible == "raise":
            worst = {
                entry: float(v)
                for entry, v in by_entry(terms, excess, "max").items()
                if v > tol * float(units.terms.min())
            }
            raise ValueError(
                "The constraints cannot all hold. The smallest violations that can be "
                f"reached together are {worst}. Raise these bounds, or use "
                'on_infeasible="relax".'
            )
        if not infeasible and progress.ended is None:
            warn_unless_converged(self, found)
        classes = self.classes_ if rows.classifier else None
        fitted = fitted_model(linear, before, Z, found.x * units.y, classes)
        self._take([joined(model, before, fitted)], rows, terms)
        gap = float(found.gap) * units.objective
        objective = found.objective * units.objective
        self._report(terms, multipliers, excess, objective, tol * units.terms)
        self.near_optimality_gap_ = gap
        if problem.convex:
            self.dual_gap_ = gap
        self.history_, self.n_iter_ = history, max(int(found.n_iter), 1)
        fine = found.converged or infeasible
        self.stopped_ = progress.reason("converged" if fine else "max_iter")

    def _solve(self, problem, start, note):
        """The certified way, and the statement where it does not converge."""
        if self.solver == "cvxpy":
            found = solve_statement(problem)
            multipliers, terms = found.stats["multipliers"], problem.terms(found.x)
            note(Ascent(multipliers, found, terms))
            return found
        x, multipliers = start
        how = {"tol": float(self.tol), "max_iter": self.max_iter, "watch": note}
        if not problem.convex:
            return augmented_lagrangian(problem, x, multipliers, **how)
        ended = []

        def watched(state):
            ended.append(note(state))
            return ended[-1]

        how["watch"] = watched
        found = dual_newton(problem, x, multipliers, **how)
        limited = found.n_iter >= self.max_iter or any(ended)
        if found.converged or found.stats["capped"] or limited:
            return found
        with contextlib.suppress(ValueError):  # of a problem that defeats both
            stated = solve_statement(problem)
            return stated if stated.gap < found.gap else found
        return found

    # --- networks -------------------------------------------------------------------

    def _fit_network(self, model, target, rows, terms, progress):
        """Descend in the weights and ascend in the multipliers, in turn."""
        from skdiff.fairness._constrained._network import Lagrangian, Units

        weights = {"sample_weight": rows.weight * self._total} if self._weighted else {}
        first = clone(model).fit(rows.X, target, **weights)
        epochs = -(-model.max_iter // self.max_iter)
        moving = copy.copy(first)
        moving._live = {}
        scale = shift = 1.0
        if not rows.classifier:
            scale, shift = float(moving._y_scale[0]), float(moving._y_mean[0])
        units = Units(rows.classifier, scale, shift, float(self.temperature))
        added = Lagrangian(terms, units)

        def improve(multipliers):
            added.multipliers = multipliers
            moving._added_loss = added
            try:
                for _ in range(epochs):
                    moving.partial_fit(rows.X, target, **weights)
            finally:
                del moving._added_loss
            if not added.used:
                raise ValueError(
                    f"{type(model).__name__} trains by stages of its own, to which "
                    "constraints cannot be added."
                )
            kept = copy.copy(moving)
            kept._live = {}
            return kept

        self._ascend(first, improve, rows, terms, progress, settle=False)

    # --- any model that takes weights -----------------------------------------------

    def _fit_reweighted(self, model, target, rows, terms, progress):
        """Fit again with the weights of the Lagrangian."""
        others = sorted({t.entry for t in terms if t.kind != "loss"})
        if others:
            raise ValueError(
                f"{type(model).__name__} is trained by weights of rows, which serve "
                f"constraints on losses only; {others} are not. Use a linear model or "
                "a network of skdiff."
            )
        if terms and not takes_weights(model):
            raise ValueError(
                f"{type(model).__name__} takes no sample_weight, which constraints on "
                "losses need."
            )
        own = rows.weight * self._total
        first = fit_inner(model, rows.X, target, weight=own if self._weighted else None)

        def improve(multipliers):
            weight = own * reweighted(rows, terms, multipliers)
            return fit_inner(model, rows.X, target, weight=weight)

        self._ascend(first, improve, rows, terms, progress, settle=True)

    def _ascend(self, first, improve, rows, terms, progress, *, settle):
        temperature = float(self.temperature)

        def look(model, multipliers):
            return look_at(model, multipliers, rows, terms, temperature)

        def step_done(state):
            return progress.step(loss=state.objective, state=state)

        start = look(first, np.zeros(len(terms)))
        progress.step(loss=start.objective, state=start)
        tol = max(float(self.tol), LOOSE_REFITS if settle else LOOSE)
        limits = Limits(
            self.max_iter if terms else 0,
            float(self.dual_step),
            tol,
            units_of(terms, rows),
        )
        with progress.interruptible(lambda: True):
            trace = ascend(improve, look, start, limits, step_done, settle)
        picked = chosen(trace, self.select, limits)
        self._take([i.model for i in picked], rows, terms)
        multipliers, excess = (
            np.mean([getattr(i, name) for i in picked], axis=0)
            for name in ("multipliers", "excess")
        )
        objective = float(np.mean([i.objective for i in picked]))
        self._report(terms, multipliers, excess, objective, tol * limits.units.terms)
        self.near_optimality_gap_ = float(np.abs(multipliers @ excess))
        self.history_, self.n_iter_ = trace.history, max(len(trace.iterates) - 1, 1)
        self.stopped_ = progress.reason("converged" if trace.converged else "max_iter")
        if not self.feasible_ and progress.ended is None:
            worst = max(self.violations_.values())
            warnings.warn(
                f"{type(self).__name__} stopped after {self.n_iter_} steps with a "
                f"violation of {worst:.3g}. Increase max_iter or dual_step, or raise "
                'the bounds; select="feasible" takes the best iterate that keeps them.',
                ConvergenceWarning,
                stacklevel=6,
            )

    # --- what is reported -----------------------------------------------------------

    def _take(self, models, rows, terms):
        """Keep the models, and the real rates of their decisions."""
        self.estimator_ = models[-1]
        self._estimators = list(models)
        self.true_violations_ = {}
        if any(t.kind == "rate" for t in terms):
            p = self._proba(rows.X)[:, 1]
            decided = (p > 0.5).astype(np.float64)
            self.true_violations_ = true_rates(terms, decided)

    def _report(self, terms, multipliers, excess, objective, tol):
        lam = settled(terms, multipliers)
        self.multipliers_ = by_entry(terms, lam, "sum")
        self.price_ = {entry: -value for entry, value in self.multipliers_.items()}
        self.violations_ = by_entry(terms, excess, "max")
        self.objective_ = float(objective)
        self.feasible_ = bool(np.all(excess <= tol))

    def _query(self, X):
        check_is_fitted(self)
        given = [] if self.estimator is None else [self.estimator]
        return check_table(self, X, given, reset=False)

    def constraint_path(
        self, X, y, bounds, *, sensitive_features=None, sample_weight=None
    ):
        """Fit for several bounds of one constraint, each from the one before.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels or target values.
        bounds : dict
            {name of a constraint: bounds}. The other constraints stay as they are.
        sensitive_features : array-like of shape (n_samples,), default=None
            Group of each row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        path : DataFrame
            Columns ``bound``, ``objective``, ``multiplier``, ``violation``. The last
            two are largest over pairs of groups. This estimator is left unfitted.
        """
        pd = require_pandas("constraint_path")
        constraints = self._constraints()
        names = [c.name for c in constraints]
        if not isinstance(bounds, dict) or len(bounds) != 1:
            raise ValueError(
                "bounds must be a dict of one constraint's name and its bounds, got "
                f"{bounds!r}."
            )
        ((name, values),) = bounds.items()
        if name not in names:
            raise ValueError(f"There is no constraint {name!r}; there are {names}.")
        found = {"bound": [], "objective": [], "multiplier": [], "violation": []}
        start = None
        for bound in np.asarray(values, dtype=np.float64).tolist():
            model = clone(self)
            model.constraints = [
                replace(c, bound=bound) if c.name == name else c for c in constraints
            ]
            if start is not None:
                model._start = start
            model.fit(
                X, y, sensitive_features=sensitive_features, sample_weight=sample_weight
            )
            start = vars(model).get("_start_found")
            found["bound"].append(bound)
            found["objective"].append(model.objective_)
            for column, report in (
                ("multiplier", model.multipliers_),
                ("violation", model.violations_),
            ):
                found[column].append(largest_of(report, name))
        return pd.DataFrame(found)
