"""The rules of DARTS and RARTS on the solvable model, and the learning rate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skdiff.architecture_search import cosine_power, darts_step, rarts_step


def Lt(w, a):
    """Training loss of the solvable model of RARTS."""
    return w**2 - 2 * a * w + a**2


def Lv(w, a):
    """Validation loss; the optimum of both levels is a = w = 1."""
    return a * w - 2 * a + 1


@pytest.mark.parametrize("unroll", [0.0, 0.2, 0.5, 1.0])
def test_darts_ends_at_its_fixed_point(unroll):
    w, a = -2.0, 2.0
    for _ in range(1000):
        w, a = darts_step(w, a, Lt, Lv, step_w=0.1, step_a=0.1, unroll=unroll)
    expected = 2 / (1 + 2 * unroll)
    assert w == pytest.approx(expected, abs=1e-12)
    assert a == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("train_weight", "penalty"), [(10, 10), (1, 2), (3, 30), (2, 5)]
)
def test_rarts_ends_at_its_fixed_point(train_weight, penalty):
    w, v, a = -2.0, -2.0, 2.0
    how = {
        "step_w": 1 / (2 * train_weight + penalty),
        "step_v": 1 / penalty,
        "step_a": 0.5 / train_weight,
        "train_weight": train_weight,
        "penalty": penalty,
    }
    expected = fixed(train_weight, penalty)
    for _ in range(4000):
        w, v, a = rarts_step(w, v, a, Lt, Lv, **how)
        if np.abs(np.subtract((w, v, a), expected)).max() < 1e-13:
            break
    assert (w, v, a) == pytest.approx(expected, abs=1e-12)


def fixed(train_weight, penalty):
    """Where all three derivatives vanish."""
    a = 2 / (2 - 1 / (2 * train_weight) - 1 / penalty)
    return a - a / (2 * train_weight), 2 - a, a


def test_the_fixed_point_of_rarts_tends_to_the_optimum():
    assert fixed(10, 10) == pytest.approx((1.02703, 0.91892, 1.08108), abs=5e-6)
    assert fixed(1e9, 1e9) == pytest.approx((1, 1, 1), abs=1e-8)


def smooth_problem(seed):
    """Losses of a small smooth network, and a point."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    w = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    a = torch.randn(4, generator=generator, dtype=torch.float64)

    def loss(y):
        return lambda w, a: ((torch.tanh(X @ w) @ torch.softmax(a, 0) - y) ** 2).mean()

    return w, a, loss(y[0]), loss(y[1])


@pytest.mark.parametrize("seed", range(5))
def test_order_two_is_the_gradient_through_the_unrolled_step(seed):
    w, a, train, held = smooth_problem(seed)
    unroll, step = 0.7, 0.3
    leaf_w, leaf_a = w.clone().requires_grad_(), a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(train(leaf_w, leaf_a), leaf_w, create_graph=True)
    (expected,) = torch.autograd.grad(held(leaf_w - unroll * slope, leaf_a), leaf_a)
    how = {"step_w": 0.1, "step_a": step, "unroll": unroll}
    w_new, a_new = darts_step(w, a, train, held, **how)
    torch.testing.assert_close(a_new, a - step * expected, rtol=1e-12, atol=1e-14)
    leaf_w = w.clone().requires_grad_()
    (slope,) = torch.autograd.grad(train(leaf_w, a_new), leaf_w)
    torch.testing.assert_close(w_new, w - 0.1 * slope, rtol=1e-12, atol=1e-14)


def test_without_unrolling_no_second_derivative_is_taken():
    w, a, train, held = smooth_problem(0)
    leaf = a.clone().requires_grad_()
    (expected,) = torch.autograd.grad(held(w, leaf), leaf)
    _, a_new = darts_step(w, a, train, held, step_w=0.1, step_a=1.0)
    torch.testing.assert_close(a_new, a - expected)


def test_values_come_back_as_they_were_given():
    how = {"step_w": 0.1, "step_a": 0.1, "unroll": 0.1}
    w, a = darts_step(
        1.0, np.array([1.0, 2.0]), lambda w, a: (w * a).sum(), Lsum, **how
    )
    assert isinstance(w, float) and isinstance(a, np.ndarray)
    w, a = darts_step([1.0, torch.ones(2)], (0.5,), *two_lists(), **how)
    assert type(w) is list and isinstance(w[1], torch.Tensor) and type(a) is tuple
    given = np.ones(2)
    darts_step(given, 1.0, lambda w, a: (w * a).sum(), Lsum, **how)
    assert (given == 1).all()


def Lsum(w, a):
    return (w**2 * a).sum()


def two_lists():
    def loss(w, a):
        return w[0] * a[0] + (w[1] ** 2).sum()

    return loss, loss


def test_a_loss_without_one_argument_has_no_gradient_there():
    how = {"step_w": 0.1, "step_a": 0.1, "unroll": 0.5}
    assert darts_step(1.0, 2.0, lambda w, a: w, lambda w, a: a, **how) == (0.9, 1.9)
    how = {"step_w": 0.1, "step_v": 0.1, "step_a": 0.1}
    found = rarts_step(
        1.0, 1.0, 2.0, lambda w, a: 3.0, Lv, **how, train_weight=1, penalty=0
    )
    assert found[0] == 1.0 and found[1] == pytest.approx(0.8)


def test_steps_work_within_inference_mode():
    with torch.inference_mode():
        w, a = darts_step(-2.0, 2.0, Lt, Lv, step_w=0.1, step_a=0.1, unroll=0.5)
    assert (w, a) == darts_step(-2.0, 2.0, Lt, Lv, step_w=0.1, step_a=0.1, unroll=0.5)


# --- the learning rate --------------------------------------------------------------


def test_power_one_is_a_cosine():
    t = np.linspace(0, 7, 50)
    rate = cosine_power(t, 7, lr_max=0.3, lr_min=0.01, power=1)
    expected = 0.01 + 0.29 * (1 + np.cos(np.pi * t / 7)) / 2
    np.testing.assert_allclose(rate, expected, rtol=1e-14)
    near = cosine_power(t, 7, lr_max=0.3, lr_min=0.01, power=1 + 1e-9)
    np.testing.assert_allclose(near, expected, rtol=1e-8)


def test_powers_follow_the_formula():
    c = (1 + np.cos(np.pi * np.arange(5) / 4)) / 2
    for power in (2.0, 10.0, 0.5):
        q = power ** (c + 1)
        q = (q - q[-1]) / (q[0] - q[-1])
        rate = cosine_power(np.arange(5), 4, lr_max=2.0, lr_min=1.0, power=power)
        np.testing.assert_allclose(rate, 1 + q, rtol=1e-13)


@given(
    st.floats(0.01, 100),
    st.floats(0.1, 1e4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_rate_falls_from_the_first_to_the_last(power, T, low, width):
    high = low + width
    rate = cosine_power(np.linspace(0, T, 20), T, lr_max=high, lr_min=low, power=power)
    assert rate[0] == pytest.approx(high) and rate[-1] == pytest.approx(low, abs=1e-12)
    assert (np.diff(rate) <= 1e-12).all()
    assert isinstance(
        cosine_power(0.5 * T, T, lr_max=high, lr_min=low, power=power), float
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": 0}, "T must be a positive number"),
        ({"power": -1}, "power must be a positive number"),
        ({"power": "2"}, "power must be a positive number"),
        ({"lr_min": 2}, "lr_min <= lr_max"),
        ({"t": 11}, "t must lie in"),
        ({"t": [1, np.nan]}, "t must lie in"),
    ],
)
def test_schedules_refuse_what_is_none(change, message):
    how = {"t": 1, "T": 10, "lr_max": 1.0, "lr_min": 0.0, "power": 2} | change
    with pytest.raises(ValueError, match=message):
        cosine_power(**how)
