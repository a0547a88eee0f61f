"""Which solver fits a holistic robust model."""

from skdiff._convex._solve import Solution, SolverFailedError
from skdiff.linear_model._holistic._path import fit_path
from skdiff.linear_model._holistic._problem import HolisticProblem, fit_cvxpy

#: seconds that the cone solver gets where the path has stopped short
_PATIENCE = 10.0


def fit(problem: HolisticProblem, solver: str, tol: float, max_iter: int) -> Solution:
    """Fit by Newton's method on falling temperatures, or by the statement in cvxpy.

    The path may end short of the solution, with squared errors and large radii for
    instance. The statement is the fallback then, unless ``max_iter`` has ended it.
    """
    if solver == "cvxpy":
        return fit_cvxpy(problem)
    found = fit_path(problem, tol, max_iter)
    if found.converged or found.n_iter >= max_iter:
        return found
    try:
        stated = fit_cvxpy(problem, _PATIENCE)
    except SolverFailedError:
        return found
    return stated if stated.gap < found.gap else found
