"""The holistic loss: cone and linear programs, special cases, monotone arguments."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from skdiff.metrics import holistic_robust_loss
from skdiff.neural_network import HolisticRobustLoss


def by_cone(losses, s, poisoning, radius):
    """The program as the paper writes it, with an atom of the largest loss."""
    n = len(losses)
    p, m = cp.Variable(n + 1, nonneg=True), cp.Variable(n, nonneg=True)
    Q = cp.hstack([s - m, cp.reshape(cp.sum(m), (1,), order="C")])
    constraints = [
        m <= s,
        cp.sum(m) <= poisoning,
        cp.sum(p) == 1,
        cp.sum(cp.rel_entr(Q, p)) <= radius,
    ]
    worst = cp.Maximize(np.append(losses, losses.max()) @ p)
    problem = cp.Problem(worst, constraints)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    return problem.value if problem.status == "optimal" else None


@pytest.mark.parametrize("n", [4, 25, 80])
@pytest.mark.parametrize(
    ("poisoning", "radius"),
    [(0, 0.1), (0, 0.5), (0.1, 0.1), (0.3, 1.0), (0.05, 0.05), (0.9, 0.01), (0, 5.0)],
)
def test_the_closed_form_is_the_cone_program(n, poisoning, radius):
    rng = np.random.default_rng(n)
    losses, s = rng.exponential(size=n), rng.dirichlet(np.ones(n))
    for weight in (None, s):
        found = holistic_robust_loss(
            losses,
            poisoning=poisoning,
            statistical_radius=radius,
            sample_weight=weight,
        )
        share = np.full(n, 1 / n) if weight is None else weight
        peer = by_cone(losses, share, poisoning, radius)
        assert peer is not None
        assert found.value == pytest.approx(peer, abs=1e-6)


@pytest.mark.parametrize("poisoning", [0.03, 0.25, 0.8, 1.0])
def test_without_a_radius_it_is_a_linear_program(poisoning):
    losses = np.random.default_rng(0).exponential(size=30)
    gain = losses.max() - losses
    program = linprog(
        -gain, A_ub=np.ones((1, 30)), b_ub=poisoning, bounds=[(0, 1 / 30)] * 30
    )
    found = holistic_robust_loss(losses, poisoning=poisoning)
    assert found.value == pytest.approx(losses.mean() - program.fun, abs=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=30),
    st.floats(0, 1),
    st.one_of(st.just(0.0), st.floats(1e-9, 50)),
)
def test_weights_prove_a_lower_bound_and_eta_an_upper_one(losses, poisoning, radius):
    losses = np.array(losses)
    n, top = len(losses), losses.max()
    value, p = holistic_robust_loss(
        losses, poisoning=poisoning, statistical_radius=radius
    )
    assert p.min() >= 0 and p.sum() == pytest.approx(1)
    assert losses.mean() - 1e-9 <= value <= top + 1e-9
    s = np.full(n, 1 / n)
    order = np.argsort(losses)
    Q, left = s.copy(), poisoning
    for k in order:
        taken = min(Q[k], left)
        Q[k] -= taken
        left -= taken
    extra = 1 - Q.sum()
    # the dual function lies above for every eta
    for eta in top + np.geomspace(1e-6, 1e4, 60):
        logs = Q @ np.log(eta - losses) + extra * np.log(eta - top)
        assert value <= eta - np.exp(logs - radius) + 1e-7 * (1 + top)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(0, 0.9), st.floats(0, 2))
def test_it_grows_with_each_argument_and_ignores_the_order(seed, poisoning, radius):
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=rng.integers(2, 40))

    def value(a, r, x=losses):
        return holistic_robust_loss(x, poisoning=a, statistical_radius=r).value

    base = value(poisoning, radius)
    assert value(poisoning + 0.05, radius) >= base - 1e-10
    assert value(poisoning, radius + 0.1) >= base - 1e-10
    assert value(poisoning, radius, losses + rng.exponential(size=len(losses))) >= (
        base - 1e-10
    )
    assert value(poisoning, radius, losses[::-1]) == pytest.approx(base, rel=1e-10)
    assert value(poisoning, radius, 3 * losses + 2) == pytest.approx(
        3 * base + 2, rel=1e-8
    )


def test_weights_of_rows_are_repeated_rows():
    rng = np.random.default_rng(0)
    losses, count = rng.exponential(size=20), rng.integers(0, 4, 20)
    how = {"poisoning": 0.08, "statistical_radius": 0.05}
    one = holistic_robust_loss(losses, sample_weight=count, **how)
    other = holistic_robust_loss(np.repeat(losses, count), **how)
    assert one.value == pytest.approx(other.value, rel=1e-12)


def test_zero_arguments_are_the_mean_to_the_bit():
    losses = np.random.default_rng(0).exponential(size=101)
    assert holistic_robust_loss(losses).value == losses.mean()
    tensor = torch.from_numpy(losses)
    assert HolisticRobustLoss()(tensor) == tensor.mean()


@pytest.mark.parametrize("poisoning", [0.0, 0.07])
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_the_gradient_of_the_module_are_the_worst_weights(poisoning, radius):
    losses = np.random.default_rng(1).exponential(size=25)
    tensor = torch.tensor(losses, requires_grad=True)
    value = HolisticRobustLoss(poisoning, radius)(tensor)
    value.backward()
    how = {"poisoning": poisoning, "statistical_radius": radius}
    found = holistic_robust_loss(losses, **how)
    assert value.item() == pytest.approx(found.value, rel=1e-12)
    np.testing.assert_allclose(tensor.grad, found.weights, rtol=1e-10)
    h = 1e-6
    slope = [
        (
            holistic_robust_loss(losses + h * e, **how).value
            - holistic_robust_loss(losses - h * e, **how).value
        )
        / (2 * h)
        for e in np.eye(25)
    ]
    np.testing.assert_allclose(found.weights, slope, atol=1e-6)


def test_a_network_trains_on_it():
    torch.manual_seed(0)
    X = torch.randn(200, 3)
    y = (X[:, 0] > 0).float()
    net = torch.nn.Linear(3, 1)
    loss = HolisticRobustLoss(0.01, 0.01)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        rows = torch.nn.functional.binary_cross_entropy_with_logits(
            net(X)[:, 0], y, reduction="none"
        )
        value = loss(rows)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]


def test_bad_arguments_are_refused():
    for how in ({"poisoning": -0.1}, {"poisoning": 1.5}, {"statistical_radius": -1}):
        with pytest.raises(ValueError, match=next(iter(how))):
            holistic_robust_loss([1.0, 2.0], **how)
        with pytest.raises(ValueError, match=next(iter(how))):
            HolisticRobustLoss(**how)
    with pytest.raises(ValueError, match="NaN"):
        holistic_robust_loss([1.0, np.nan])
    with pytest.raises(ValueError, match="one-dimensional"):
        holistic_robust_loss([[1.0]])
    with pytest.raises(ValueError, match="one-dimensional"):
        HolisticRobustLoss()(torch.ones(2, 2))


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_units_of_the_losses_change_no_weight(unit):
    losses = np.random.default_rng(0).exponential(size=30)
    arguments = {"poisoning": 0.1, "statistical_radius": 0.05}
    value, weights = holistic_robust_loss(losses, **arguments)
    other = holistic_robust_loss(unit * losses, **arguments)
    np.testing.assert_allclose(other.weights, weights, rtol=1e-10)
    assert other.value == pytest.approx(unit * value, rel=1e-10)


def test_the_module_names_its_arguments_and_refuses_whole_numbers():
    module = HolisticRobustLoss(0.1, 0.05)
    assert "poisoning=0.1, statistical_radius=0.05" in repr(module)
    for wrong in (torch.tensor([1, 2, 3]), [1.0, 2.0]):
        with pytest.raises(TypeError, match="floating point"):
            module(wrong)
