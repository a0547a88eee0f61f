"""cvxpy: certificates, the chain of solvers, and solvers that lie."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from skdiff._convex import _solve
from skdiff._convex._solve import (
    Solution,
    SolverFailedError,
    certificate,
    solve,
    warn_unless_converged,
)


def lasso(scale=1.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y = X[:, 0] - X[:, 1] + 0.1 * rng.normal(size=60)
    w = cp.Variable(5)
    loss = cp.sum_squares(scale * X @ w - y) / 120 + 0.1 * scale * cp.norm1(w)
    return cp.Problem(cp.Minimize(loss)), w, X, y


def test_a_solution_agrees_with_scikit_learn_and_states_how_it_was_found():
    problem, w, X, y = lasso()
    found = solve(problem, w)
    peer = Lasso(alpha=0.1, fit_intercept=False, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(found.x, peer.coef_, atol=1e-6)
    assert found.converged and found.gap <= 1e-5
    assert found.stats["solver"] == "CLARABEL" and found.stats["status"] == "optimal"
    assert found.n_iter >= 1 and found.stats["seconds"] > 0


def test_constrained_answers_are_certified():
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - 2)), [cp.sum(x) == 1, x >= 0.1])
    found = solve(problem, x)
    np.testing.assert_allclose(found.x, 1 / 3, atol=1e-6)
    assert found.gap < 1e-6
    x.value = np.array([0.5, 0.5, 0.5])
    assert certificate(problem) > 0.1


def test_infeasible_and_unbounded_problems_name_the_arguments():
    x = cp.Variable(2)
    with pytest.raises(ValueError, match=r"infeasible.*budget"):
        solve(cp.Problem(cp.Minimize(cp.sum(x)), [x >= 1, x <= 0]), x, hint="budget")
    with pytest.raises(ValueError, match="unbounded"):
        solve(cp.Problem(cp.Minimize(cp.sum(x))), x)


def test_only_one_compilation_is_allowed_where_it_is_asked_for():
    x, a = cp.Variable(2), cp.Parameter(nonneg=True, value=1.0)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(a * a * x - 1)))
    with pytest.raises(cp.error.DPPError):
        solve(problem, x, enforce_dpp=True)


class Faulty:
    """A problem whose solvers misbehave, one after the other."""

    def __init__(self, monkeypatch, *behaviours):
        self.problem, self.w, self.X, self.y = lasso()
        self.right = np.array(solve(*lasso()[:2]).x)
        self.behaviours, self.names = list(behaviours), []
        monkeypatch.setattr(cp.Problem, "solve", self.solve)
        monkeypatch.setattr(cp.Problem, "status", property(lambda p: self.status))
        monkeypatch.setattr(
            cp.Problem, "value", property(lambda p: float(p.objective.value))
        )

    def solve(self, solver, **options):
        self.names.append(solver)
        behaviour = self.behaviours.pop(0)
        if behaviour == "error":
            raise cp.error.SolverError("InsufficientProgress")
        self.status, value = {
            "garbage": ("optimal", np.full(5, 3.0)),
            "NaN": ("optimal", np.full(5, np.nan)),
            "nothing": ("solver_error", None),
            "limit": ("user_limit", np.full(5, 1.0)),
            "rough": ("optimal_inaccurate", self.right + 3e-5),
            "right": ("optimal", self.right),
        }[behaviour]
        self.w.save_value(value)  # unchecked, as a solver's answer is


@pytest.mark.parametrize("fault", ["error", "garbage", "NaN", "nothing", "limit"])
def test_the_next_solver_is_asked_when_one_fails(fault, monkeypatch):
    faulty = Faulty(monkeypatch, fault, "right")
    found = solve(faulty.problem, faulty.w)
    np.testing.assert_array_equal(found.x, faulty.right)
    assert faulty.names == ["CLARABEL", "OSQP"]


def test_an_answer_that_is_nearly_right_warns(monkeypatch):
    faulty = Faulty(monkeypatch, "rough", "error", "error")
    with pytest.warns(ConvergenceWarning, match="certificate"):
        found = solve(faulty.problem, faulty.w)
    assert not found.converged and 1e-5 < found.gap < 1e-3


def test_when_all_fail_it_is_said(monkeypatch):
    faulty = Faulty(monkeypatch, "error", "garbage", "limit")
    with pytest.raises(
        SolverFailedError, match=r"CLARABEL: failed.*OSQP.*SCS.*5 variables"
    ):
        solve(faulty.problem, faulty.w)


def test_not_converging_is_a_warning_with_the_gap():
    class Estimator:
        pass

    with pytest.warns(ConvergenceWarning, match=r"Estimator stopped after 7.*0\.25"):
        warn_unless_converged(Estimator(), Solution(0, 0.0, 0.25, 7, False))
    warn_unless_converged(Estimator(), Solution(0, 0.0, 0.0, 7, True))


def test_options_carry_the_time_limit():
    for name in ("CLARABEL", "OSQP", "SCS"):
        assert 3.0 in _solve._options(name, 1e-9, 3.0).values()
        assert 3.0 not in _solve._options(name, 1e-9, None).values()
