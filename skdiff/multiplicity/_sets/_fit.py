"""From an objective and a start to the set of nearly optimal models."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from skdiff._base.rows import distinct_rows
from skdiff._base.typing import Array
from skdiff.multiplicity._sets._kinds import level_set_class, make_problem, minimiser
from skdiff.multiplicity._sets._level_set import LevelSet
from skdiff.multiplicity._sets._objective import LIKELIHOODS, Objective
from skdiff.multiplicity._sets._profile import path
from skdiff.multiplicity._sets._scaling import Scaling, scaled
from skdiff.multiplicity._sets._separable import refuse_separable
from skdiff.multiplicity._sets._statement import extremes
from skdiff.multiplicity._sets._tolerance import (
    Facts,
    Tolerance,
    budget_of,
    dispersion,
    likelihood_budget,
)


@dataclass(frozen=True)
class Settings:
    """How extremes are computed."""

    tol: float = 1e-4
    max_iter: int = 60
    n_jobs: int | None = None
    reference: bool = False  # by the reference solver, one program per extreme

    @property
    def newton(self) -> dict[str, Any]:
        """Arguments of :meth:`LevelSet.maxima`."""
        return {"tol": self.tol, "max_iter": self.max_iter, "n_jobs": self.n_jobs}


@dataclass(frozen=True)
class FittedSet:
    """All models within a tolerance of the best one."""

    goal: Objective
    scaling: Scaling
    level_set: Any  # LevelSet, or one of the classes with its methods
    tolerance: Tolerance
    facts: Facts
    baseline: Array  # parameters of the model that the ranges are about
    budget: float  # how far above the best objective the set reaches
    excess: float = 0.0  # of which the baseline itself takes this much
    start_gap: float = 0.0  # how far above the best objective the given model was

    @property
    def loss_unit(self) -> float:
        """Unit of the objective in units of the solver's."""
        return float(self.scaling.unit**self.goal.degree)

    @property
    def smooth(self) -> bool:
        """Whether whitened coordinates and their derivatives exist."""
        return type(self.level_set) is LevelSet

    def range(self, V: Any, settings: Settings, budget: float | None = None) -> Array:
        """Range (m, 2) of the functionals V, in the units of the solver's target."""
        budget = self.budget if budget is None else budget
        if issparse(V):
            return self.extremes(V, settings, budget)[0]
        rows = distinct_rows(V)
        unique = V[rows.first]
        if settings.reference:
            return extremes(self.level_set, unique, budget)[0][rows.place]
        return self.extremes(unique, settings, budget)[0][rows.place]

    def extremes(
        self, V: Any, settings: Settings, budget: float
    ) -> tuple[Array, Array, Array]:
        """Ranges (m, 2) and the whitened models of the lower and upper bounds."""
        norms, low, high = self.level_set.maxima(V, budget, **settings.newton)
        middle = V @ self.level_set.center
        with np.errstate(invalid="ignore"):  # a norm may be infinite
            reach = norms * low.value, norms * high.value
        bounds = np.column_stack([middle - reach[0], middle + reach[1]])
        bounds[norms == 0] = middle[norms == 0, None]
        return bounds, low.model, high.model

    def path(self, V: Any, epsilons: Array, settings: Settings) -> Array:
        """Ranges (n_epsilons, m, 2) at any tolerances, in the solver's units."""
        budgets = np.array([self.budget_of(e) for e in epsilons])
        # smooth sets are followed by continuation, squared losses with an L1 penalty
        # from corner to corner; others are solved at one tolerance at a time
        squared = self.level_set.problem.loss.quadratic and not self.scaling.sparse
        followed = (self.smooth or squared) and not settings.reference
        if len(budgets) == 1 or not followed:
            return np.array([self.range(V, settings, budget) for budget in budgets])
        rising, place = np.unique(budgets, return_inverse=True)
        rows = distinct_rows(V)
        bounds = path(self.level_set, V[rows.first], rising, **settings.newton)
        return np.asarray(bounds[place][:, rows.place])

    def budget_of(self, epsilon: float) -> float:
        """Budget for another tolerance of the same kind."""
        kind = self.tolerance.kind
        if kind in ("relative", "absolute", "cv"):
            ratio = epsilon / self.tolerance.epsilon
            return float(self.excess + (self.budget - self.excess) * ratio)
        return self.excess + likelihood_budget(
            kind, epsilon, self.facts, self.goal.loss
        )

    def suggested(self, kind: str, epsilon: float, seed: Any) -> float | None:
        """Budget of another kind of tolerance; None where it is not defined."""
        if kind in ("lr", "profile") and self.goal.loss not in LIKELIHOODS:
            return None
        if kind == "cv" and self.scaling.sparse:
            return None
        tolerance = replace(self.tolerance, kind=kind, epsilon=epsilon, seed=seed)
        try:
            return budget_of(
                tolerance,
                self.facts,
                self.level_set.problem,
                self.baseline,
                self.scaling.unit,
                self.goal,
            )
        except ValueError:  # too few rows, or a perfect fit
            return None

    def coefficients(self) -> tuple[Array, Array]:
        """Coefficients (K, d) and intercepts (K,) of the baseline."""
        W = self.baseline.reshape(-1, self.scaling.n_parameters)
        return self.scaling.features(W)

    def hessian(self) -> Array | None:
        """Second derivatives at the minimum, in the units of the features."""
        H = self.level_set.hessian
        return None if H is None else self.scaling.hessian(H)

    def pack(self) -> dict[str, Any]:
        """Built-in types and arrays, from which :meth:`unpack` rebuilds the set."""
        problem = self.level_set.problem
        X = problem.X
        if issparse(X):
            X = (X.data, X.indices, X.indptr, tuple(map(int, X.shape)))
        data = {"X": X, "y": problem.y, "s": problem.s, "penalty": problem.penalty}
        if problem.lasso is not None:
            data["lasso"] = problem.lasso
        tolerance = {k: v for k, v in asdict(self.tolerance).items() if k != "seed"}
        return {
            "data": data,
            "goal": self.goal._asdict(),
            "scaling": asdict(self.scaling),
            "level_set": self.level_set.arrays(),
            "tolerance": tolerance,
            "facts": tuple(self.facts),
            "baseline": self.baseline,
            "budget": self.budget,
            "excess": self.excess,
            "start_gap": self.start_gap,
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> "FittedSet":
        """Rebuild the set to the bit."""
        data, goal = dict(packed["data"]), Objective(**packed["goal"])
        if isinstance(data["X"], tuple):
            *parts, shape = data["X"]
            data["X"] = csr_array(tuple(parts), shape=shape)
        scaling = Scaling(**packed["scaling"])
        problem = make_problem(data, goal.loss_for(scaling.unit))
        kept = {k: packed[k] for k in ("baseline", "budget", "excess", "start_gap")}
        return cls(
            goal,
            scaling,
            level_set_class(problem).restore(problem, **packed["level_set"]),
            Tolerance(**packed["tolerance"]),
            Facts(*packed["facts"]),
            **kept,
        )


def fit_level_set(
    goal: Objective,
    X: Any,
    target: Array,
    weight: Array,
    start: tuple[Array, Array],
    tolerance: Tolerance,
) -> FittedSet:
    """Refine a model to its optimum and find how far its set reaches.

    ``start`` are the coefficients (K, d) and intercepts (K,) of a fitted model.
    """
    total = float(weight.sum())
    target = _encoded(goal, target)
    data, scaling = scaled(X, target, weight / total, goal)
    loss = goal.loss_for(scaling.unit)
    problem = make_problem(data, loss)
    given = _start(scaling, start, len(problem.penalty))
    refuse_separable(problem)
    level_set = minimiser(problem, given)
    gap = float(problem.value(given) - level_set.objective) if given.any() else 0.0
    baseline, excess = level_set.center, 0.0
    if tolerance.level == "loss":
        data = {k: v for k, v in data.items() if k != "lasso"}
        data["penalty"] = np.zeros_like(problem.penalty)
        free = make_problem(data, loss)
        refuse_separable(free)
        level_set = minimiser(free, baseline)
        excess = max(free.value(baseline) - level_set.objective, 0.0)
    if goal.loss == "Gamma":  # its likelihood has a dispersion
        total = total / dispersion(problem, level_set.center, total)
    best = level_set.objective + excess
    facts = Facts(best, total, level_set.dimension, float(weight.sum()))
    budget = budget_of(tolerance, facts, problem, baseline, scaling.unit, goal)
    return FittedSet(
        goal,
        scaling,
        level_set,
        tolerance,
        facts,
        baseline,
        budget=float(excess + budget),
        excess=float(excess),
        start_gap=gap,
    )


def _encoded(goal: Objective, target: Array) -> Array:
    """Targets as the loss takes them; refuse those it is not defined for."""
    if goal.signs:
        return 2.0 * target - 1.0
    if goal.loss == "Gamma" and target.min() <= 0:
        raise ValueError("y must be positive for GammaRegressor.")
    if goal.loss in ("Poisson", "Tweedie") and (target.min() < 0 or target.max() <= 0):
        raise ValueError(
            "y must be non-negative and not zero everywhere for PoissonRegressor and "
            "TweedieRegressor."
        )
    return target


def _start(scaling: Scaling, start: tuple[Array, Array], size: int) -> Array:
    """The given model in the solver's coordinates, zero where it is of no use."""
    w = scaling.solver(*start).ravel()
    return w if np.all(np.isfinite(w)) and np.abs(w).max() < 1e6 else np.zeros(size)
