"""Conjugate gradients against direct solves."""

import numpy as np
import pytest

from skdiff._convex._krylov import pcg, pcg_rows


@pytest.fixture
def system():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(40, 12)) * np.geomspace(1e-3, 1e3, 12)
    H = A.T @ A + np.eye(12) * 1e-6
    return H, rng.normal(size=(5, 12)) * np.sqrt(np.diag(H))


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_one_system_of_any_shape(system, shape):
    H, B = system
    b = B[0].reshape(shape)
    found = pcg(
        lambda v: (H @ v.ravel()).reshape(shape),
        b,
        lambda r: (r.ravel() / np.diag(H)).reshape(shape),
        tol=1e-12,
    )
    exact = np.linalg.solve(H, B[0])
    np.testing.assert_allclose(found.x.ravel(), exact, rtol=1e-6)
    assert found.converged and found.gap <= 1e-12
    assert found.objective == pytest.approx(-exact @ B[0] / 2, rel=1e-9)
    assert not pcg(lambda v: H @ v, B[0], max_iter=2).converged


def test_rows_are_independent_and_free_of_units(system):
    H, B = system
    X, gaps = pcg_rows(lambda P: P @ H, B, np.diag(H), tol=1e-12)
    np.testing.assert_allclose(X, np.linalg.solve(H, B.T).T, rtol=1e-6)
    assert gaps.max() <= 1e-12
    alone, _ = pcg_rows(lambda P: P @ H, B[1:2], np.diag(H), tol=1e-12)
    exact = pcg_rows(
        lambda P: P @ H, B, lambda R: np.linalg.solve(H, R.T).T, max_iter=1
    )
    np.testing.assert_allclose(exact.x, X, rtol=1e-6)
    np.testing.assert_allclose(X[1:2], alone, rtol=1e-8)


def test_nothing_to_solve():
    assert not pcg(lambda v: v, np.zeros(3)).x.any()
    X, gaps = pcg_rows(lambda P: P, np.zeros((2, 3)))
    assert not X.any() and not gaps.any()


def test_a_direction_without_curvature_ends_the_iteration():
    found = pcg(lambda v: 0 * v, np.ones(3))
    assert not found.converged and found.n_iter == 0
    _, gaps = pcg_rows(lambda P: 0 * P, np.ones((1, 3)), max_iter=5)
    assert gaps[0] == 1.0
