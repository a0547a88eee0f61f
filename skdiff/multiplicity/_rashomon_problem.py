"""The extreme of a linear functional over a level set, as the paper writes it.

Watson-Daniels, Parkes and Ustun (2023), section 3, with the grid of target
probabilities replaced by its limit: maximise ``v'w`` subject to ``L(w) <= L* + eps``.
"""

import numpy as np

from skdiff._convex._losses import Squared
from skdiff._convex._solve import solve


def state_problem(problem, level):
    """Return the cvxpy problem, its variable and its parameter, the direction."""
    import cvxpy as cp

    X, y, s = problem.X, problem.y, problem.s
    w = cp.Variable(X.shape[1])
    v = cp.Parameter(X.shape[1])
    f = X @ w
    if isinstance(problem.loss, Squared):
        loss = cp.sum_squares(cp.multiply(np.sqrt(s / 2), f - y))
    else:
        loss = s @ (cp.logistic(f) - cp.multiply(y, f))
    penalty = cp.sum_squares(cp.multiply(np.sqrt(problem.penalty / 2), w))
    return cp.Problem(cp.Maximize(v @ w), [loss + penalty <= level]), w, v


def extremes(level_set, V, budget):
    """Minima and maxima of the directions, a solve each; returns (m, 2) and models."""
    statement, w, v = state_problem(level_set.problem, level_set.objective + budget)
    values, models = np.empty((len(V), 2)), np.empty((len(V), 2, V.shape[1]))
    for i, direction in enumerate(V):
        for side, sign in enumerate((-1.0, 1.0)):
            v.value = sign * direction
            found = solve(statement, w, tol=1e-9, enforce_dpp=True, hint="epsilon")
            values[i, side] = direction @ found.x
            models[i, side] = found.x
    return values, models
