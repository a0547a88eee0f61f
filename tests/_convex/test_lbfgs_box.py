"""L-BFGS in a box against a bounded least-squares solver, and its certificate."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from skdiff._convex._lbfgs_box import lbfgs_box, projected_gradient


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(30, 6)), 3 * rng.normal(size=30)
    return A, b, lambda x: (np.sum((A @ x - b) ** 2) / 2, A.T @ (A @ x - b))


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, 0.2), (-0.1, np.inf)])
def test_it_is_bounded_least_squares(problem, bounds):
    A, b, objective = problem
    found = lbfgs_box(objective, np.full(6, 0.1), *bounds, ftol=0.0, gtol=1e-10)
    peer = lsq_linear(A, b, bounds, tol=1e-14, lsmr_tol=None)
    np.testing.assert_allclose(found.x, peer.x, atol=1e-6)
    assert found.gap <= 1e-6 and found.objective == pytest.approx(peer.cost)


def test_the_gap_shows_an_unfinished_answer(problem):
    _, _, objective = problem
    found = lbfgs_box(objective, np.zeros(6), max_iter=2)
    assert not found.converged and found.n_iter == 2 and found.gap > 1e-2
    assert found.stats["status"] == 1
    wrong = np.ones(6)
    assert projected_gradient(wrong, objective(wrong)[1], -2.0, 2.0) > 0.1
    # a gradient that points out of the box is none
    assert projected_gradient(np.zeros(2), np.array([1.0, 2.0]), 0.0, 1.0) == 0.0


def test_a_callback_ends_it(problem):
    def stop(intermediate_result):
        raise StopIteration

    found = lbfgs_box(problem[2], np.zeros(6), callback=stop)
    assert not found.converged and found.n_iter == 1
