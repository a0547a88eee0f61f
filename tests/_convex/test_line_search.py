"""The rule that shortens Newton steps."""

import numpy as np
import pytest

from skdiff._convex._line_search import line_search, rounding


def test_a_full_step_is_taken_where_it_helps():
    found = line_search(lambda t: ((t - 1) ** 2, "here"), 1.0, -2.0)
    assert found == (1.0, 0.0, "here")


def test_steps_out_of_the_domain_are_halved():
    def trial(t):
        return (np.inf if t > 0.3 else -np.sqrt(t)), t

    with np.errstate(all="raise"):
        found = line_search(trial, 0.0, -1.0)
    assert found.t == found.rest == 0.25 and found.value == -0.5


def test_overflow_on_the_way_is_no_error():
    found = line_search(
        lambda t: (float(np.exp(np.float64(1e3 * t)) - 2), t), 1.0, -1.0
    )
    assert found.value <= 1.0 - 1e-4 * found.t


@pytest.mark.parametrize(("floor", "taken"), [(0.0, False), (1e-12, True)])
def test_a_rise_is_taken_only_within_rounding(floor, taken):
    found = line_search(lambda t: (1.0 + 1e-13, t), 1.0, -1e-20, floor)
    assert (found is not None) is taken


def test_nothing_is_found_uphill_or_in_nan():
    assert line_search(lambda t: (np.nan, t), 1.0, -1.0) is None
    assert line_search(lambda t: (1.0 + 1e-3 * t, t), 1.0, -1.0) is None


def test_rounding_scales_with_the_value():
    assert rounding(-8.0) == 8 * rounding(1.0) > 0 and rounding(0.0) >= 0
