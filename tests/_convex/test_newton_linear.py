"""Newton's method of linear models in the space of few sparse rows."""

import numpy as np
import pytest
from scipy import sparse

from skdiff._convex._losses import SquaredHinge
from skdiff._convex._newton_linear import Curvature, Design, newton_linear


@pytest.fixture
def rows():
    A = sparse.random_array((30, 200), density=0.1, rng=0, format="csr")
    return A, np.where(np.random.default_rng(0).uniform(size=30) > 0.5, 1.0, -1.0)


@pytest.mark.parametrize("active", [0, 12, 30])
def test_systems_are_solved_by_rows(rows, active):
    A, _ = rows
    c = np.where(np.arange(30) < active, 3.0, 0.0)
    found = Curvature(Design(A), c, np.full(200, 0.7))
    assert found.by_rows
    b = np.random.default_rng(1).normal(size=200)
    H = (A.T.toarray() * c) @ A.toarray() + 0.7 * np.eye(200)
    np.testing.assert_allclose(found.solve(b, 1e-3), np.linalg.solve(H, b))


def test_an_unpenalised_column_is_left_to_conjugate_gradients(rows):
    A, _ = rows
    assert not Curvature(Design(A), np.ones(30), np.r_[np.ones(199), 0.0]).by_rows
    assert not Design(A[:, :40]).few and not Design(A.toarray()).few


def test_the_minimum_is_that_of_dense_rows(rows):
    A, y = rows
    lam, s, start = np.full(200, 1e-2), np.ones(30), np.zeros(200)
    ours = newton_linear(Design(A), y, s, lam, SquaredHinge(), start, 1e-10)
    dense = Design(A.toarray())
    theirs = newton_linear(dense, y, s, lam, SquaredHinge(), start, 1e-10)
    assert ours.converged and ours.gap < 3e-8
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-8)
