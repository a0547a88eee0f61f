"""The problem of one node as the papers write it, for cvxpy."""

from typing import Any

import numpy as np

from skdiff._convex._solve import Solution, solve


def state_problem(problem: Any) -> tuple[Any, Any]:
    """Return the cvxpy problem and its variable, of shape (r, kept columns of Z)."""
    import cvxpy as cp

    kept = np.flatnonzero(~problem.own)
    Z, s = problem.Z[:, kept], problem.s
    W = cp.Variable((problem.r, len(kept)))
    M = Z @ W.T
    margin = cp.sum(cp.multiply(problem.y, M), axis=1)
    if problem.method == "rise":
        loss = s @ cp.exp(-margin)
    elif problem.method == "logrise":
        loss = cp.log_sum_exp(np.log(s) - margin)
    elif problem.binary:
        loss = s @ cp.logistic(-2 * margin)
    else:
        loss = s @ (cp.log_sum_exp(M @ problem.basis.T, axis=1) - margin)
    if problem.groups is None:
        strength = problem.lasso.reshape(problem.r, -1)[:, kept]
        penalty = cp.sum(cp.multiply(strength, cp.abs(W)))
    else:
        place = np.full(problem.width, -1)
        place[kept] = np.arange(len(kept))
        penalty = 0
        for strength, group in zip(problem.lasso, problem.groups, strict=True):
            if strength:
                columns = np.unique(place[group % problem.width])
                penalty += strength * cp.norm(W[:, columns], "fro")
    return cp.Problem(cp.Minimize(loss + penalty)), W


def solve_by_cvxpy(problem: Any, *, tol: float) -> Solution:
    """Solve; the coefficients come back in the layout of the direct solver."""
    statement, W = state_problem(problem)
    found = solve(statement, W, tol=min(tol, 1e-11), hint="alpha")
    w = np.zeros((problem.r, problem.width))
    w[:, ~problem.own] = found.x
    largest = float(np.abs(problem.margins(w.ravel())[1]).max())
    return found._replace(x=w.ravel(), stats={"largest_margin": largest})
