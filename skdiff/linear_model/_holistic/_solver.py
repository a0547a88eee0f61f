"""Which solver fits a holistic robust model."""

from skdiff._convex._solve import Solution, SolverFailedError
from skdiff.linear_model._holistic._interior import fit_interior
from skdiff.linear_model._holistic._path import fit_path
from skdiff.linear_model._holistic._problem import HolisticProblem, fit_cvxpy

#: seconds that the cone solver gets where the others have stopped short
_PATIENCE = 10.0


def fit(problem: HolisticProblem, solver: str, tol: float, max_iter: int) -> Solution:
    """Fit by an interior point method, or by the statement in cvxpy.

    Where all rows have nearly the same loss the method may end short of a proof. A path
    of rounded problems is tried then, and after it the statement, unless ``max_iter``
    has ended them.
    """
    if solver == "cvxpy":
        return fit_cvxpy(problem)
    found = fit_interior(problem, tol, max_iter)
    if found.converged or found.n_iter >= max_iter:
        return found
    other = fit_path(problem, tol, max_iter - found.n_iter)
    other = other._replace(n_iter=found.n_iter + other.n_iter)
    found = _better(found, other)
    if found.converged or other.n_iter >= max_iter:
        return found
    try:
        return _better(found, fit_cvxpy(problem, _PATIENCE))
    except SolverFailedError:
        return found


def _better(one: Solution, other: Solution) -> Solution:
    """The lower objective, with the better of the two lower bounds."""
    best = other if other.objective < one.objective else one
    bound = max(one.objective - one.gap, other.objective - other.gap)
    gap = max(best.objective - bound, 0.0)
    return best._replace(gap=gap, converged=one.converged or other.converged)
