"""From a fitted linear model to a level set: scale, polish, choose the tolerance."""

import warnings

import numpy as np
from scipy.optimize import linprog
from scipy.stats import chi2
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold

from skdiff.multiplicity import _linear_models as linear
from skdiff.multiplicity._level_set import LevelSet, Problem, UnboundedError

_SMALLEST = 1e-12  # a best loss below this gives a relative epsilon no meaning


def fit_level_set(estimator, model, X, target, weight):
    """Polish, choose the tolerance, and return every attribute to set."""
    total = weight.sum()
    goal = linear.objective_of(model, total)
    data, place, unit = scaled(X, target, weight / total, goal)
    problem = make_problem(data, type(goal.loss).__name__)
    given = start_of(model, place, unit, len(problem.penalty))
    _refuse_separable(problem)
    level_set = _minimiser(problem, given)
    _warn_mismatch(estimator, level_set, problem, given, model)
    baseline, excess = level_set.center, 0.0
    if estimator.level == "loss":
        free = Problem(
            problem.X,
            problem.y,
            problem.s,
            np.zeros_like(problem.penalty),
            problem.loss,
        )
        _refuse_separable(free)
        level_set = _minimiser(free, baseline)
        excess = max(free.value(baseline) - level_set.objective, 0.0)
        data = {**data, "penalty": free.penalty}
    d = level_set.whiten.shape[1]
    facts = (level_set.objective + excess, float(total), d)
    budget = excess + _budget(estimator, facts, problem, data, baseline, unit, weight)
    loss_unit = unit**2 if goal.loss.quadratic else 1.0
    state = {
        "_data": data,
        "_loss_name": type(goal.loss).__name__,
        "_shift": place[0],
        "_scale": place[1],
        "_unit": unit,
        "_intercept": goal.fit_intercept,
        "_whitening": level_set.arrays(),
        "_baseline": baseline,
        "_budget": float(budget),
        "_excess": float(excess),
        "_epsilon_facts": facts,
        "_live": {"level_set": level_set},
        "objective_": level_set.objective * loss_unit,
        "epsilon_": float(budget) * loss_unit,
        "n_iter_": max(1, level_set.n_iter),
    }
    return state | _coefficients(estimator, state, level_set)


def _coefficients(estimator, state, level_set):
    """Baseline and Hessian in the units of the features."""
    coef = state["_baseline"][: len(state["_scale"])] / state["_scale"] * state["_unit"]
    intercept = 0.0
    back = np.diag(state["_scale"])
    if state["_intercept"]:
        intercept = float(
            state["_baseline"][-1] * state["_unit"] - coef @ state["_shift"]
        )
        # scaled = T (coef, intercept): the Hessian is T' H T
        d = len(coef)
        back = np.zeros((d + 1, d + 1))
        back[:d, :d] = np.diag(state["_scale"])
        back[d, :d], back[d, d] = state["_shift"], 1.0
    hessian = back.T @ level_set.hessian @ back
    if isinstance(estimator, ClassifierMixin):
        coef, intercept = coef[None], np.array([intercept])
    return {"coef_": coef, "intercept_": intercept, "hessian_": hessian}


def scaled(X, target, s, goal):
    """Unit-free data: centred if an unpenalised intercept allows it, deduplicated."""
    d = X.shape[1]
    shift, scale = np.zeros(d), np.ones(d)
    largest = np.abs(X).max(axis=0, initial=0.0)
    largest[largest == 0] = 1.0
    Z = X / largest
    if goal.fit_intercept and goal.intercept_alpha == 0:
        mean = s @ Z
        # a constant column is its own mean but for rounding
        mean = np.where(np.ptp(Z, axis=0) == 0, Z[0], mean)
        shift, Z = mean * largest, Z - mean
    spread = np.sqrt(s @ Z**2)
    spread[spread < 1e-14] = 1.0
    Z, scale = Z / spread, spread * largest
    penalty = goal.alpha / scale / scale
    unit = 1.0
    if goal.loss.quadratic:
        unit = float(np.abs(target).max(initial=0.0)) or 1.0
        target = target / unit
    if goal.fit_intercept:
        Z = np.column_stack([Z, np.ones(len(Z))])
        penalty = np.append(penalty, goal.intercept_alpha)
    table = np.ascontiguousarray(np.column_stack([Z, target]))
    keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1])))
    _, first, back = np.unique(keys.ravel(), return_index=True, return_inverse=True)
    if len(first) < len(table):
        order = np.argsort(first)  # the order of the rows, not of their bytes
        rank = np.argsort(order)
        s = np.bincount(rank[back.ravel()], weights=s)
        Z, target = Z[first[order]], target[first[order]]
    data = {"X": Z, "y": target, "s": s, "penalty": penalty}
    return data, (shift, scale), unit


def make_problem(data, loss_name):
    from skdiff._convex import _losses

    return Problem(**data, loss=getattr(_losses, loss_name)())


def start_of(model, place, unit, size):
    """scikit-learn's solution in scaled coordinates, the start of the polish."""
    shift, scale = place
    coef = np.ravel(model.coef_) * scale / unit
    w = coef
    if size > len(coef):
        intercept = float(np.ravel(model.intercept_)[0])
        w = np.append(coef, (intercept + np.ravel(model.coef_) @ shift) / unit)
    return w if np.all(np.isfinite(w)) and np.abs(w).max() < 1e6 else np.zeros(size)


def _minimiser(problem, start):
    try:
        return LevelSet.at(problem, start)
    except UnboundedError as error:
        raise ValueError(
            f"The linear model could not be polished to its optimum: {error} Rescale "
            "the columns of X or strengthen the penalty (a smaller C, a larger alpha)."
        ) from error


def _refuse_separable(problem):
    """A perfect split without penalty: the loss has no minimiser, the set no end.

    Rows are (quasi-)separable when some ``w`` has ``(2 y - 1) x'w >= 0`` everywhere
    and not zero everywhere: a linear program (Konis, 2007).
    """
    if problem.loss.quadratic or problem.penalty.any():
        return
    signed = (2 * problem.y - 1)[:, None] * problem.X
    found = linprog(
        -signed.mean(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        bounds=(-1, 1),
        method="highs",
    )
    if found.status == 0 and -found.fun > 1e-9:
        raise ValueError(
            "The classes are separable and the model has no penalty: its coefficients "
            "grow without end and so does the set of good models. Penalise it, for "
            "instance with LogisticRegression(C=1.0)."
        )


def _warn_mismatch(estimator, level_set, problem, given, model):
    """The user's model is not at its optimum: the set is centred elsewhere."""
    off = problem.value(given) - level_set.objective
    scale = estimator.epsilon if estimator.epsilon_type == "relative" else 0.01
    if (
        off > max(estimator.tol, 1e-2) * scale * level_set.objective + 1e-12
        and given.any()
    ):
        warnings.warn(
            f"{type(model).__name__} stopped {off:.2g} above the best objective "
            f"{level_set.objective:.4g}; the audit is centred at the polished optimum. "
            "Lower its tol or raise its max_iter to make them agree.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _budget(estimator, facts, problem, data, baseline, unit, weight):
    """The tolerance as an amount of the objective, in the solver's units."""
    best, total, d = facts
    kind, epsilon = estimator.epsilon_type, estimator.epsilon
    if kind == "absolute":
        return epsilon / (unit**2 if problem.loss.quadratic else 1.0)
    if best <= _SMALLEST and kind != "cv":
        raise ValueError(
            f"The best objective is {best:.1g}: a tolerance relative to it means "
            f"nothing (n_samples = {len(weight)}). Give epsilon_type='absolute'."
        )
    if kind == "relative":
        return epsilon * best
    if kind == "cv":
        return epsilon * _standard_error(estimator, problem, baseline)
    return likelihood_budget(kind, epsilon, best, total, d, type(problem.loss).__name__)


def likelihood_budget(kind, epsilon, best, total, d, loss_name):
    """Half a chi-square quantile an observation, or its Gaussian form."""
    quantile = chi2.isf(epsilon, d if kind == "lr" else 1)
    if loss_name == "Squared":  # variance profiled out: n log(rss) / 2
        return best * np.expm1(quantile / total)
    return quantile / (2 * total)


def _standard_error(estimator, problem, baseline):
    """Standard error of the five-fold cross-validated mean loss."""
    n = len(problem.y)
    if n < 10:
        raise ValueError(
            f"epsilon_type='cv' needs at least 10 distinct rows, got n_samples = {n}."
        )
    seed = estimator.random_state
    quadratic = problem.loss.quadratic
    folds = KFold(5, shuffle=True, random_state=seed)
    if not quadratic and min(np.bincount(problem.y.astype(int))) >= 5:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    losses = np.empty(n)
    for train, test in folds.split(problem.X, problem.y):
        part = Problem(
            problem.X[train],
            problem.y[train],
            problem.s[train] / problem.s[train].sum(),
            problem.penalty,
            problem.loss,
        )
        w = _minimiser(part, baseline).center
        losses[test] = problem.loss.evaluate(problem.X[test] @ w, problem.y[test])[0]
    mean = problem.s @ losses
    return float(np.sqrt(problem.s**2 @ (losses - mean) ** 2))
