"""From a fitted linear model to a level set: scale, polish, choose the tolerance."""

import warnings
from dataclasses import replace

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, diags_array, hstack, issparse
from scipy.stats import chi2
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold

from skdiff._convex import _losses
from skdiff.multiplicity._sets import _linear_models as linear
from skdiff.multiplicity._sets._l1 import L1LevelSet, L1Problem
from skdiff.multiplicity._sets._level_set import LevelSet, Problem, UnboundedError
from skdiff.multiplicity._sets._multinomial import MultinomialProblem
from skdiff.multiplicity._sets._piecewise import PiecewiseLevelSet
from skdiff.multiplicity._sets._sparse import SparseLevelSet, SparseProblem

LARGEST_DENSE = 2000  # columns up to which sparse input is made dense
#: losses of a label's sign times the predictor
MARGIN_LOSSES = ("SquaredHinge", "ModifiedHuber", "Hinge")
PIECEWISE = tuple(kind.__name__ for kind in _losses.PIECEWISE_LINEAR)
_SMALLEST = 1e-12  # a best loss below this gives a relative epsilon no meaning


def fit_level_set(estimator, model, X, target, weight):
    """Polish, choose the tolerance, and return every attribute to set."""
    total = weight.sum()
    goal = linear.objective_of(model, total, len(weight))
    target = _encoded(goal, target, model)
    prepare = scaled_sparse if issparse(X) else scaled
    data, place, unit = prepare(X, target, weight / total, goal)
    params = _params(goal, unit)
    problem = make_problem(data, goal.loss, params)
    given = start_of(model, place, unit, len(problem.penalty))
    _refuse_separable(problem)
    level_set = _minimiser(problem, given)
    _warn_mismatch(estimator, level_set, problem, given, model)
    baseline, excess = level_set.center, 0.0
    if estimator.level == "loss":
        data = {k: v for k, v in data.items() if k != "lasso"}
        data["penalty"] = np.zeros_like(problem.penalty)
        free = make_problem(data, goal.loss, params)
        _refuse_separable(free)
        level_set = _minimiser(free, baseline)
        excess = max(free.value(baseline) - level_set.objective, 0.0)
    d = level_set.dimension
    if goal.loss == "Gamma":  # its likelihood has a dispersion
        total = total / _dispersion(problem, level_set.center, total)
    facts = (level_set.objective + excess, float(total), d)
    budget = excess + _budget(estimator, facts, problem, baseline, unit, goal)
    loss_unit = unit**goal.degree
    state = {
        "_data": _packed(data),
        "_loss_name": goal.loss,
        "_loss_params": params,
        "_loss_unit": loss_unit,
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


def _encoded(goal, target, model):
    """Targets as the loss takes them; refuse those it is not defined for."""
    if goal.loss in MARGIN_LOSSES or (
        goal.loss == "Squared" and isinstance(model, ClassifierMixin)
    ):
        return 2.0 * target - 1.0
    if goal.loss == "Gamma" and target.min() <= 0:
        raise ValueError("y must be positive for GammaRegressor.")
    if goal.loss == "Poisson" and (target.min() < 0 or target.max() <= 0):
        raise ValueError(
            "y must be non-negative and not zero everywhere for PoissonRegressor."
        )
    return target


def _params(goal, unit):
    """Arguments of the loss, widths in units of the scaled target."""
    return {k: v / unit if k == "delta" else v for k, v in goal.params.items()}


def _coefficients(estimator, state, level_set):
    """Baseline and Hessian in the units of the features."""
    scale, d = state["_scale"], len(state["_scale"])
    W = state["_baseline"].reshape(-1, d + state["_intercept"])
    coef = W[:, :d] / scale * state["_unit"]
    intercept = np.zeros(len(W))
    if state["_intercept"]:
        intercept = W[:, d] * state["_unit"] - coef @ state["_shift"]
    hessian = level_set.hessian
    if hessian is not None:
        back = np.diag(scale)
        if state["_intercept"]:
            # scaled = T (coef, intercept): the Hessian is T' H T
            back = np.zeros((d + 1, d + 1))
            back[:d, :d] = np.diag(scale)
            back[d, :d], back[d, d] = state["_shift"], 1.0
        back = np.kron(np.eye(len(W)), back)
        hessian = back.T @ hessian @ back
    if not isinstance(estimator, ClassifierMixin):
        coef, intercept = coef[0], float(intercept[0])
    return {"coef_": coef, "intercept_": intercept, "hessian_": hessian}


def scaled(X, target, s, goal):
    """Unit-free data: centred if an unpenalised intercept allows it, deduplicated."""
    d = X.shape[1]
    shift, scale = np.zeros(d), np.ones(d)
    largest = np.abs(X).max(axis=0, initial=0.0)
    largest[largest == 0] = 1.0
    Z = X / largest
    if goal.fit_intercept and not goal.penalised_intercept:
        mean = s @ Z
        # a constant column is its own mean but for rounding
        mean = np.where(np.ptp(Z, axis=0) == 0, Z[0], mean)
        shift, Z = mean * largest, Z - mean
    spread = np.sqrt(s @ Z**2)
    spread[spread < 1e-14] = 1.0
    Z, scale = Z / spread, spread * largest
    target, unit = _unit_target(target, goal)
    if goal.fit_intercept:
        Z = np.column_stack([Z, np.ones(len(Z))])
    table = np.ascontiguousarray(np.column_stack([Z, target]))
    keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1])))
    _, first, back = np.unique(keys.ravel(), return_index=True, return_inverse=True)
    if len(first) < len(table):
        order = np.argsort(first)  # the order of the rows, not of their bytes
        rank = np.argsort(order)
        s = np.bincount(rank[back.ravel()], weights=s)
        Z, target = Z[first[order]], target[first[order]]
    data = {"X": Z, "y": target, "s": s, **_penalties(goal, scale, unit, target)}
    return data, (shift, scale), unit


def scaled_sparse(X, target, s, goal):
    """The same of a sparse table, which centring would fill."""
    X = X.tocsr()
    spread = np.sqrt(s @ X.multiply(X))
    spread[spread < 1e-150] = 1.0
    Z = X @ diags_array(1.0 / spread)
    if goal.fit_intercept:
        Z = hstack([Z, np.ones((X.shape[0], 1))])
    target, unit = _unit_target(target, goal)
    penalties = _penalties(goal, spread, unit, target)
    if "lasso" in penalties or goal.loss == "Multinomial" or goal.loss in PIECEWISE:
        raise ValueError(
            f"Sparse X with {X.shape[1]} columns is audited for two classes or a "
            "regression, smooth losses and an L2 penalty or none only. Reduce it to "
            f"{LARGEST_DENSE} columns, for instance with TruncatedSVD or SelectKBest."
        )
    data = {"X": csr_array(Z), "y": target, "s": s, **penalties}
    return data, (np.zeros(X.shape[1]), spread), unit


def _unit_target(target, goal):
    """Targets of regressions whose loss has a unit, divided by it."""
    unit = 1.0
    if goal.degree:
        unit = float(np.abs(target).max(initial=0.0)) or 1.0
    return target / unit, unit


def _penalties(goal, scale, unit, target):
    """Strengths of the scaled coefficients, in units of the scaled objective."""
    ridge = goal.alpha * unit ** (2 - goal.degree) / scale / scale
    lasso = goal.lasso * unit ** (1 - goal.degree) / scale
    if goal.fit_intercept:
        ridge = np.append(ridge, goal.intercept_alpha * unit ** (2 - goal.degree))
        lasso = np.append(lasso, goal.intercept_lasso * unit ** (1 - goal.degree))
    if goal.loss == "Multinomial":
        K = int(target.max()) + 1
        if lasso.any():
            raise ValueError(
                "An L1 penalty with three classes or more is not supported; audit "
                "OneVsRestClassifier(LogisticRegression(l1_ratio=1.0, ...))."
            )
        ridge, lasso = np.tile(ridge, K), np.tile(lasso, K)
    return {"penalty": ridge} | ({"lasso": lasso} if lasso.any() else {})


def make_problem(data, loss_name, loss_params=None):
    """The objective as its solver takes it, from arrays and plain values."""
    if isinstance(data["X"], tuple):
        *parts, shape = data["X"]
        data = {**data, "X": csr_array(tuple(parts), shape=shape)}
    loss = getattr(_losses, loss_name)(**(loss_params or {}))
    return _kind(data, loss)[0](**data, loss=loss)


def _packed(data):
    """The same with a sparse table as its arrays, which every file can hold."""
    X = data["X"]
    if not issparse(X):
        return data
    return {**data, "X": (X.data, X.indices, X.indptr, tuple(map(int, X.shape)))}


def level_set_class(problem):
    """The class of level sets of a problem."""
    kept = {"X": problem.X, "lasso": problem.lasso}
    return _kind({k: v for k, v in kept.items() if v is not None}, problem.loss)[1]


def _kind(data, loss):
    if issparse(data["X"]):
        return SparseProblem, SparseLevelSet
    if isinstance(loss, _losses.PIECEWISE_LINEAR):
        return L1Problem, PiecewiseLevelSet
    if isinstance(loss, _losses.Multinomial):
        return MultinomialProblem, LevelSet
    return (L1Problem, L1LevelSet) if "lasso" in data else (Problem, LevelSet)


def start_of(model, place, unit, size):
    """scikit-learn's solution in scaled coordinates, the start of the polish."""
    shift, scale = place
    raw = model.coef_
    raw = np.atleast_2d(raw.toarray() if issparse(raw) else raw)
    coef = raw * scale / unit
    if size > coef.size:
        intercept = np.ravel(model.intercept_) + raw @ shift
        coef = np.column_stack([coef, intercept / unit])
    w = coef.ravel()
    return w if np.all(np.isfinite(w)) and np.abs(w).max() < 1e6 else np.zeros(size)


def _minimiser(problem, start):
    try:
        return level_set_class(problem).at(problem, start)
    except UnboundedError as error:
        raise ValueError(
            f"The linear model could not be polished to its optimum: {error} Rescale "
            "the columns of X or strengthen the penalty (a smaller C, a larger alpha)."
        ) from error


def _refuse_separable(problem):
    """A perfect split without penalty: the loss has no minimiser, the set no end.

    Rows are (quasi-)separable when some ``w`` has ``(2 y - 1) x'w >= 0`` everywhere
    and not zero everywhere: a linear program (Konis, 2007). Of several classes, when
    ``x'(w_y - w_k) >= 0``; of counts, when ``x'w <= 0`` where they are zero and ``= 0``
    where not.
    """
    if problem.penalty.any() or (problem.lasso is not None and problem.lasso.any()):
        return
    X, y, loss = problem.X, problem.y, type(problem.loss).__name__
    fixed, cause = None, "The classes are separable"
    cure = "LogisticRegression(C=1.0)"
    if loss == "Logistic":
        signed = _times(2 * y - 1, X)
    elif loss in MARGIN_LOSSES:
        signed = _times(y, X)
    elif loss == "Multinomial":
        signed = _class_margins(X, y.astype(int), len(problem.penalty) // X.shape[1])
    elif loss == "Poisson" and (y == 0).any():
        signed, fixed = -X[y == 0], X[y > 0]
        cause, cure = "The zero counts are separable", "PoissonRegressor(alpha=1.0)"
    else:
        return
    found = linprog(
        -np.asarray(signed.mean(axis=0)).ravel(),
        A_ub=-signed,
        b_ub=np.zeros(signed.shape[0]),
        A_eq=fixed,
        b_eq=None if fixed is None else np.zeros(fixed.shape[0]),
        bounds=(-1, 1),
        method="highs",
    )
    if found.status == 0 and -found.fun > 1e-9:
        raise ValueError(
            f"{cause} and the model has no penalty: its coefficients grow without end "
            f"and so does the set of good models. Penalise it, for instance with "
            f"{cure}."
        )


def _times(sign, X):
    """Rows times their signs, dense or sparse."""
    return X * sign[:, None] if not issparse(X) else diags_array(sign) @ X


def _class_margins(X, codes, K):
    """Rows of the margins of the label over every other class."""
    blocks = []
    for k in range(K):
        rows = X[codes != k]
        block = np.zeros((len(rows), K, X.shape[1]))
        block[np.arange(len(rows)), codes[codes != k]] = rows
        block[:, k] = -rows
        blocks.append(block.reshape(len(rows), -1))
    return np.vstack(blocks)


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


def _budget(estimator, facts, problem, baseline, unit, goal):
    """The tolerance as an amount of the objective, in the solver's units."""
    best, total, d = facts
    kind, epsilon = estimator.epsilon_type, estimator.epsilon
    if kind == "absolute":
        return epsilon / unit**goal.degree
    if kind in ("lr", "profile") and goal.loss not in linear.LIKELIHOODS:
        raise ValueError(
            f"epsilon_type={kind!r} needs a likelihood, and {goal.loss} is not one. "
            "Give epsilon_type='relative', 'absolute' or 'cv'."
        )
    if best <= _SMALLEST and kind != "cv":
        raise ValueError(
            f"The best objective is {best:.1g}: a tolerance relative to it means "
            f"nothing (n_samples = {len(problem.y)}). Give epsilon_type='absolute'."
        )
    if kind == "relative":
        return epsilon * best
    if kind == "cv":
        return epsilon * _standard_error(estimator, problem, baseline)
    return likelihood_budget(kind, epsilon, best, total, d, goal.loss)


def likelihood_budget(kind, epsilon, best, total, d, loss_name):
    """Half a chi-square quantile an observation, or its Gaussian form."""
    quantile = chi2.isf(epsilon, d if kind == "lr" else 1)
    if loss_name == "Squared":  # variance profiled out: n log(rss) / 2
        return best * np.expm1(quantile / total)
    return quantile / (2 * total)


def _dispersion(problem, w, total):
    """Pearson's estimate for a gamma model: squared relative residuals."""
    relative = problem.y * np.exp(-(problem.X @ w)) - 1.0
    free = max(total - len(w), 1.0)
    return float(problem.s @ relative**2) * total / free


def _standard_error(estimator, problem, baseline):
    """Standard error of the five-fold cross-validated mean loss."""
    n = len(problem.y)
    if n < 10:
        raise ValueError(
            f"epsilon_type='cv' needs at least 10 distinct rows, got n_samples = {n}."
        )
    seed = estimator.random_state
    folds = KFold(5, shuffle=True, random_state=seed)
    classes = isinstance(estimator, ClassifierMixin)
    if classes and min(np.unique(problem.y, return_counts=True)[1]) >= 5:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    losses = np.empty(n)
    for train, test in folds.split(problem.X, problem.y):
        s = problem.s[train] / problem.s[train].sum()
        part = replace(problem, X=problem.X[train], y=problem.y[train], s=s)
        w = _minimiser(part, baseline).center
        losses[test] = problem.row_losses(problem.X[test], problem.y[test], w)
    mean = problem.s @ losses
    return float(np.sqrt(problem.s**2 @ (losses - mean) ** 2))
