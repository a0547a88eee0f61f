"""The only module that calls cvxpy, and what every solver returns.

A status of "optimal" refers to the solver's own scaled problem; on badly scaled data
the result can be off by a factor. Results are therefore judged here, by residuals of
the optimality conditions computed from cvxpy's description of the problem. No
certificate can tell a true zero from a value lost below a solver's absolute tolerance,
so hand over problems whose columns have about unit scale.
"""

import contextlib
import io
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

FINE, PASSABLE = 1e-5, 1e-3


class Solution(NamedTuple):
    """Result of a numeric solver; each solver documents what its ``gap`` measures."""

    x: Any
    objective: float
    gap: float
    n_iter: int
    converged: bool
    stats: Any = None


class SolverFailedError(ValueError):
    """No solver reached a result that its certificate supports."""


def warn_unless_converged(estimator: Any, solution: Solution) -> None:
    """Warn with the gap, and with what the user can change."""
    if not solution.converged:
        warnings.warn(
            f"{type(estimator).__name__} stopped after {solution.n_iter} iterations "
            f"with a gap of {solution.gap:.3g}. Increase max_iter, loosen tol, or "
            "scale the columns of X.",
            ConvergenceWarning,
            stacklevel=3,
        )


def solve(
    problem: Any,
    variable: Any,
    *,
    tol: float = 1e-9,
    time_limit: float | None = None,
    enforce_dpp: bool = False,
    hint: str = "",
) -> Solution:
    """Solve a cvxpy problem and certify the result.

    Parameters
    ----------
    problem : cvxpy.Problem
        The statement.
    variable : cvxpy.Variable
        Whose value becomes ``x``.
    tol : float
        Tolerance handed to the solvers.
    time_limit : float or None
        Seconds each solver may take.
    enforce_dpp : bool
        Refuse a statement that would be compiled again at each call.
    hint : str
        Constructor arguments that can make the problem infeasible or unbounded.

    Returns
    -------
    solution : Solution
        ``gap`` is the largest relative violation of primal or dual feasibility or of
        the duality gap; ``stats`` holds status, solver, iterations and seconds.

    Raises
    ------
    ValueError
        If the problem is infeasible or unbounded.
    SolverFailedError
        If no solver gives a result with a certificate below 1e-3.
    """
    import cvxpy as cp

    statuses, passable = [], None
    for name in _chain(problem):
        solution, status = _attempt(
            problem, variable, name, tol, time_limit, enforce_dpp
        )
        statuses.append(f"{name}: {status}")
        if status in (cp.INFEASIBLE, cp.UNBOUNDED):
            cause = f" Arguments that can cause it: {hint}." if hint else ""
            raise ValueError(f"The problem is {status}.{cause}")
        if solution is None:
            continue
        if solution.gap <= FINE:
            return solution
        if solution.gap <= PASSABLE:
            passable = solution
            break
    if passable is not None:
        warnings.warn(
            f"The solver's result has a certificate of only {passable.gap:.1e} "
            f"({'; '.join(statuses)}). Scale the columns of X.",
            ConvergenceWarning,
            stacklevel=2,
        )
        return passable._replace(converged=False)
    size = problem.size_metrics
    raise SolverFailedError(
        f"No solver reached a certified solution ({'; '.join(statuses)}) of a problem "
        f"with {size.num_scalar_variables} variables. Likely causes: columns of X "
        f"of very different scale{', or ' + hint if hint else ''}."
    )


def _chain(problem: Any) -> list[str]:
    """Solvers to try, all of which come with cvxpy."""
    quadratic = problem.is_qp()
    return ["CLARABEL", "OSQP", "SCS"] if quadratic else ["CLARABEL", "SCS"]


def _options(name: str, tol: float, time_limit: float | None) -> dict[str, Any]:
    if name == "CLARABEL":
        options = {
            "tol_gap_abs": tol,
            "tol_gap_rel": tol,
            "tol_feas": tol,
            "max_threads": 1,
        }
    elif name == "OSQP":
        options = {"eps_abs": tol, "eps_rel": tol, "max_iter": 10_000}
    else:
        options = {"eps_abs": tol, "eps_rel": tol, "max_iters": 10_000}
    if time_limit is not None:
        options["time_limit_secs" if name == "SCS" else "time_limit"] = time_limit
    return options


def _attempt(
    problem: Any,
    variable: Any,
    name: str,
    tol: float,
    time_limit: float | None,
    enforce_dpp: bool,
) -> tuple[Solution | None, str]:
    """Run one solver; no result without a certificate."""
    import cvxpy as cp

    start = time.perf_counter()
    try:
        # OSQP prints from its last step even with verbose=False
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            problem.solve(
                solver=name,
                enforce_dpp=enforce_dpp,
                verbose=False,
                **_options(name, tol, time_limit),
            )
    except cp.error.SolverError as error:
        return None, f"failed ({error})"
    status = str(problem.status)
    if variable.value is None or not np.all(np.isfinite(variable.value)):
        return None, status
    gap = certificate(problem)
    stats = problem.solver_stats
    facts = {
        "status": status,
        "solver": name,
        "iterations": stats.num_iters if stats is not None else None,
        "seconds": time.perf_counter() - start,
        "gap": gap,
    }
    n_iter = int(stats.num_iters or 1) if stats is not None else 1
    found = np.array(variable.value, dtype=np.float64)
    return Solution(found, float(problem.value), gap, n_iter, True, facts), status


def certificate(problem: Any) -> float:
    """Largest relative violation of the optimality conditions, from scratch.

    Primal feasibility is read off the constraints. The dual side is the Lagrangian's
    stationarity, computed from gradients of the atoms where they exist there,
    which for a convex problem bounds the distance of the objective from its optimum.
    """
    worst = 0.0
    for constraint in problem.constraints:
        violation = np.max(np.atleast_1d(constraint.violation()), initial=0.0)
        size = max(
            (float(np.max(np.abs(a.value), initial=0.0)) for a in constraint.args),
            default=0.0,
        )
        worst = max(worst, float(violation) / (1.0 + size))
    if not np.isfinite(problem.value):
        return np.inf
    return max(worst, _stationarity(problem))


def _stationarity(problem: Any) -> float:
    """Size of the Lagrangian's gradient along the solution, in units of the objective.

    For a convex Lagrangian, ``gradient . (x - x*)`` bounds the gap; ``x`` itself
    stands for the unknown distance, which makes the figure free of units.
    """
    import cvxpy as cp

    sign = 1.0 if isinstance(problem.objective, cp.Minimize) else -1.0
    gradients = {v: np.zeros(v.size) for v in problem.variables()}
    if not _add(gradients, problem.objective.args[0], np.full((1, 1), sign)):
        return 0.0
    for constraint in problem.constraints:
        dual = constraint.dual_value
        simple = isinstance(
            constraint, cp.constraints.Equality | cp.constraints.Inequality
        )
        if dual is None or not simple:
            return 0.0
        weight = np.asarray(dual, dtype=np.float64).reshape(-1, 1, order="F")
        if not _add(gradients, constraint.args[0] - constraint.args[1], weight):
            return 0.0
    scale = 1.0 + abs(float(problem.value))
    total = 0.0
    for v, gradient in gradients.items():
        value = np.asarray(v.value, dtype=np.float64).ravel(order="F")
        total = max(total, float(np.abs(gradient) @ np.abs(value)) / scale)
    return total


def _add(gradients: dict[Any, Any], expression: Any, weight: Any) -> bool:
    """Add ``weight' d expression / d v``; False where a gradient does not exist."""
    try:
        parts = expression.grad
    except (ValueError, NotImplementedError, AttributeError):
        return False
    for v, part in parts.items():
        if part is None or v not in gradients:
            return False
        # the gradient of one number in another is a number
        pulled = part @ weight if np.ndim(part) else part * weight
        gradients[v] += np.asarray(pulled).ravel()
    return True
