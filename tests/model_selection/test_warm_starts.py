"""Starts of inner problems."""

import numpy as np

from skdiff.model_selection._gradient._warm_starts import WarmStarts


def trail(points, path):
    found = WarmStarts()
    for t in points:
        found.add(np.array([t]), path(t))
    return found


def test_nothing_is_known_before_the_first_solution():
    assert WarmStarts().start(np.array([0.0]), smooth=True) is None


def test_a_parabola_is_followed_between_solutions_and_a_line_beyond():
    def parabola(t):
        return np.array([1.0, t, t**2])

    found = trail([0.0, 1.0, 3.0], parabola)
    np.testing.assert_allclose(found.start(np.array([2.0]), True), parabola(2.0))
    line = parabola(3.0) + (parabola(3.0) - parabola(1.0)) / 2
    np.testing.assert_allclose(found.start(np.array([4.0]), True), line)


def test_solutions_close_to_each_other_do_not_magnify_their_errors():
    rng = np.random.default_rng(0)
    found = WarmStarts()
    for t in (0.0, 1e-9, 2e-9, 1.0):
        found.add(np.array([t]), np.array([t]) + 1e-6 * rng.normal(size=1))
    assert abs(found.start(np.array([0.5]), True)[0] - 0.5) < 1e-5
    assert abs(found.start(np.array([-1.0]), True)[0] + 1.0) < 1e-5


def test_vectors_and_paths_with_kinks_start_from_the_nearest():
    found = WarmStarts()
    for t in (0.0, 1.0, 2.0):
        found.add(np.array([t, -t]), t)
    assert found.start(np.array([0.9, -1.2]), smooth=True) == 1.0
    assert trail([0.0, 1.0], lambda t: t).start(np.array([0.4]), smooth=False) == 0.0


def test_large_solutions_are_not_hoarded():
    found = trail([0.0, 1.0, 2.0], lambda t: np.full(900_000, t))
    assert found.start(np.array([0.0]), smooth=False)[0] == 1.0
    alone = trail([0.0, 1.0], lambda t: np.broadcast_to(t, (3_000_000,)))
    assert alone.start(np.array([0.0]), smooth=False)[0] == 1.0


def test_only_the_latest_solutions_are_kept():
    found = trail(range(20), float)
    assert found.start(np.array([0.0]), smooth=False) == 15.0
