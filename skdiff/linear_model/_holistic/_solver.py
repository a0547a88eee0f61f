"""Which solver fits a holistic robust model."""

from skdiff._convex._solve import Solution
from skdiff.linear_model._holistic._path import fit_path
from skdiff.linear_model._holistic._problem import HolisticProblem, fit_cvxpy


def fit(problem: HolisticProblem, solver: str, tol: float, max_iter: int) -> Solution:
    """Fit by Newton's method on falling temperatures, or by the statement in cvxpy."""
    if solver == "cvxpy":
        return fit_cvxpy(problem)
    return fit_path(problem, tol, max_iter)
