"""First-order bilevel methods that choose how exactly to solve the inner problem.

``min_theta g(x(theta))`` with ``x(theta) = argmin_x h(x, theta)``. Both methods see the
problem through an :class:`Oracle`. ``hoag``: Pedregosa (ICML 2016), a fixed schedule of
accuracies. ``maid``: Salehi, Mukherjee, Roberts and Ehrhardt (arXiv 2308.10098), whose
accuracies follow from an a-posteriori bound of the hypergradient's error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from skdiff._base.typing import Array
from skdiff.model_selection._gradient._outer._root import Outcome


class Oracle(Protocol):
    """A bilevel problem, solved as exactly as asked."""

    def solve(self, theta: Array, x: Any, eps: float) -> Any:
        """Return x within ``eps`` of the minimiser, started from x."""

    def solve_relative(self, theta: Array, x: Any, eps: float) -> Any:
        """Return x where the inner gradient has shrunk to the share ``eps``."""

    def upper(self, theta: Array, x: Any) -> float:
        """Return g."""

    def slack(self, theta: Array, x: Any, eps: float) -> float:
        """Return how far g may be off for x within ``eps`` of the minimiser."""

    def hypergradient(self, theta: Array, x: Any, delta: float) -> Array:
        """Return the gradient, its linear system solved to a residual of ``delta``."""

    def bound(self, theta: Array, x: Any, eps: float, delta: float) -> float:
        """Return a bound of the hypergradient's error."""


class Constants(NamedTuple):
    """Smoothness of one problem; all are upper bounds but ``mu``, a lower one."""

    mu: float  # strong convexity of h in x
    L_g: float  # smoothness of g
    J: float  # norm of d2h/dx dtheta at x
    L_J: float  # its Lipschitz constant in x
    L_Hinv: float  # Lipschitz constant of the inverse Hessian


def error_bound(k: Constants, size: float, eps: float, delta: float) -> float:
    """Bound of the hypergradient's error (Theorem 2.1); ``size`` is the norm of dg."""
    c = k.L_g * k.J / k.mu + k.L_Hinv * size * k.J + k.L_J * size / k.mu
    return c * eps + k.J / k.mu * delta + k.L_J * k.L_g / k.mu * eps**2


class Step(NamedTuple):
    """What one accepted step saw."""

    theta: Array
    x: Any
    value: float
    z: Array
    omega: float
    eps: float
    delta: float


SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "exponential": lambda eps, k: eps * 0.9**k,
    "quadratic": lambda eps, k: eps / (k + 1) ** 2,
    "cubic": lambda eps, k: eps / (k + 1) ** 3,
}


def hoag(
    oracle: Oracle,
    theta: Array,
    lower: Array,
    upper: Array,
    *,
    tol: float = 1e-3,
    max_iter: int = 50,
    eps: float = 1e-3,
    schedule: str = "exponential",
) -> Outcome:
    """Hyperparameter optimisation with approximate gradients.

    The criterion is measured in units of its first value, so that the accuracies of
    the schedule mean shares of it.
    """
    accuracy = SCHEDULES[schedule]
    x = oracle.solve_relative(theta, None, eps)
    first = oracle.upper(theta, x)
    scale = max(abs(first), 1e-300)
    value, eps_k = first / scale, eps
    p = oracle.hypergradient(theta, x, eps_k) / scale
    size = float(np.linalg.norm(p))
    L = size / np.sqrt(len(theta)) if size > 1e-3 else 1.0
    for k in range(1, max_iter):
        trial = np.clip(theta - p / L, lower, upper)
        moved = float(np.linalg.norm(trial - theta))
        if np.abs(trial - theta).max(initial=0.0) < tol / 10:
            return Outcome(theta, k, True)
        eps_old, eps_k = eps_k, accuracy(eps, k)
        x_trial = oracle.solve_relative(trial, x, eps_k)
        found = oracle.upper(trial, x_trial) / scale
        if not found < 1.2 * value:
            L, eps = 2 * L, eps / 2
            continue
        if found <= value + 0.25 * eps_k + 1.25 * eps_old * moved - L * moved**2:
            L *= 0.95
        theta, x, value, previous = trial, x_trial, found, p
        p = oracle.hypergradient(theta, x, eps_k) / scale
        if (
            p @ previous < 0
        ):  # a step over the minimum: the published rule goes round it
            L *= 2
    return Outcome(theta, max_iter, False)


@dataclass(frozen=True)
class Rule:
    """Constants of ``maid``.

    ``eps`` and ``delta`` are the first accuracies of solutions and of linear systems;
    ``step`` is the length of the first trial step; a step is multiplied by ``shrink``
    when it fails and by ``grow`` after a success, accuracies by ``tighten`` and
    ``loosen``. A direction has an error of at most ``1 - eta`` times its norm; an
    accepted step decreases the criterion by ``decrease`` times what the slope says.
    """

    eps: float = 0.1
    delta: float = 0.1
    step: float = 0.1
    shrink: float = 0.5
    grow: float = 10 / 9
    tighten: float = 0.5
    loosen: float = 1.05
    eta: float = 0.5
    decrease: float = 0.1
    max_backtracks: int = 10


class _State(NamedTuple):
    """Where ``maid`` stands: outer variables, solutions, accuracies, slope, error."""

    theta: Array
    x: Any
    eps: float
    delta: float
    z: Array
    omega: float


class _Trial(NamedTuple):
    """An accepted step, or the reason why there is none."""

    theta: Array
    x: Any
    length: float
    found: bool
    still: bool = False


def maid(
    oracle: Oracle,
    theta: Array,
    lower: Array,
    upper: Array,
    *,
    tol: float = 1e-3,
    max_iter: int = 50,
    rule: Rule | None = None,
    history: list[Step] | None = None,
) -> Outcome:
    """Adaptively inexact descent; every accepted step decreases the exact criterion.

    Steps are projected on the box.
    """
    rule = rule or Rule()
    x = oracle.solve(theta, None, rule.eps)
    eps, delta, length = rule.eps, rule.delta, 0.0
    box = lower, upper
    for k in range(max_iter):
        tries = rule.max_backtracks
        while True:
            state = _descent_direction(oracle, theta, x, eps, delta, rule)
            x, eps, delta = state.x, state.eps, state.delta
            if length == 0.0:
                length = rule.step / max(float(np.linalg.norm(state.z)), 1e-300)
            value = oracle.upper(theta, x)
            still = np.clip(theta - state.z, *box) - theta
            if np.linalg.norm(still) <= 1e-2 * tol * max(abs(value), 1e-300):
                return Outcome(theta, k, True)
            if history is not None:
                history.append(Step(theta, x, value, state.z, state.omega, eps, delta))
            lengths = length * rule.shrink ** np.arange(tries)
            trial = _line_search(oracle, state, value, lengths, box, tol, rule)
            if trial.still:
                return Outcome(theta, k, True)
            if trial.found:
                break
            if eps < 1e-13:
                return Outcome(theta, k, True)
            eps, delta = rule.tighten * eps, rule.tighten * delta
            tries += 1
            x = oracle.solve(theta, x, eps)
        moved = float(np.abs(trial.theta - theta).max(initial=0.0))
        theta, x, length = trial.theta, trial.x, rule.grow * trial.length
        if moved < tol / 10:
            return Outcome(theta, k + 1, True)
        eps, delta = rule.loosen * eps, rule.loosen * delta
    return Outcome(theta, max_iter, False)


def _line_search(
    oracle: Oracle,
    state: _State,
    value: float,
    lengths: Any,
    box: tuple[Array, Array],
    tol: float,
    rule: Rule,
) -> _Trial:
    """First length at which the exact criterion is sure to decrease."""
    theta, eps = state.theta, state.eps
    base = value - oracle.slack(theta, state.x, eps)
    for a in lengths:
        trial = np.clip(theta - a * state.z, *box)
        moved = trial - theta
        x = oracle.solve(trial, state.x, eps)
        top = oracle.upper(trial, x) + oracle.slack(trial, x, eps)
        # psi <= 0 implies sufficient decrease of the exact criterion
        if top - base + rule.decrease / a * float(moved @ moved) <= 0:
            return _Trial(trial, x, float(a), True)
        if np.abs(moved).max(initial=0.0) < tol / 100 and eps < 1e-10:
            return _Trial(theta, state.x, 0.0, False, still=True)
    return _Trial(theta, state.x, 0.0, False)


def _descent_direction(
    oracle: Oracle, theta: Array, x: Any, eps: float, delta: float, rule: Rule
) -> _State:
    """Tighten until the error bound makes ``-z`` a descent direction."""
    while True:
        z = oracle.hypergradient(theta, x, delta)
        omega = oracle.bound(theta, x, eps, delta)
        sure = omega <= (1 - rule.eta) * float(np.linalg.norm(z))
        if sure or eps < 1e-13:
            return _State(theta, x, eps, delta, z, omega)
        eps, delta = rule.tighten * eps, rule.tighten * delta
        x = oracle.solve(theta, x, eps)
