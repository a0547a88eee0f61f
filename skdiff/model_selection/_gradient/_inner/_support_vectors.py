"""Support vector machines by their optimality conditions: exact answers, adjoints.

The dual variable ``a_j`` of a machine stands on a row with a sign ``s_j`` and has the
box ``0 <= a_j <= u_j``. With coefficients ``beta_i = sum of s_j a_j on row i`` and
``f = K beta + b`` the solution satisfies ``sum beta = 0`` and, variable by variable,

    s_j (t_j - f_j) <= 0 where a_j = 0,   = 0 where it is free,   >= 0 where a_j = u_j.

A classifier has one variable a row, ``s = t = +-1``. A regression with a tube of half
width epsilon has two, ``s = +-1`` and ``t = y - s epsilon``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.lapack import dpotrf, dpotrs

from skdiff._base.typing import Array

Index = np.ndarray[Any, np.dtype[Any]]
_ROUNDING = 1e-15  # of a matrix, as a share of its trace
_EDGE = 1e-10  # of a box, from its end
_SLACK = 1e-9  # violations of the conditions that count as none


class Machine(NamedTuple):
    """Dual variables: their rows, signs, targets and upper ends."""

    rows: Index
    sign: Array
    target: Array
    upper: Array

    def coefficients(self, alpha: Array, n: int) -> Array:
        """Coefficient of each of the n rows."""
        found = np.bincount(self.rows, weights=self.sign * alpha, minlength=n)
        return np.asarray(found, dtype=float)


class Bordered:
    """``[[A, 1], [1', 0]]``.

    Adding a constant to ``A`` changes nothing but the last unknown, and makes ``A``
    definite where the whole matrix is regular.
    """

    def __init__(self, A: Array) -> None:
        self.constant = max(float(np.mean(np.diag(A))), 1e-300)
        self.inverse = _inverse(A + self.constant)
        self.ones = self.inverse(np.ones(len(A)))
        self.total = float(self.ones.sum())

    def solve(self, top: Array, last: float) -> tuple[Array, float]:
        """Solve for a right-hand side ``(top, last)``."""
        x = self.inverse(top)
        shifted = (float(x.sum()) - last) / self.total
        return x - shifted * self.ones, shifted + self.constant * last


def _inverse(A: Array) -> Callable[[Array], Array]:
    """Inverse of A; where rows repeat each other, of A with a ridge of its rounding.

    Refined, the ridge leaves consistent systems as they are. Contradictory ones, such
    as two classes at one point, throw their unknowns out of the box, where they belong.
    """
    ridge = _ROUNDING * float(np.trace(A))
    for growth in (1.0, 1e2, 1e4):
        B = A.copy()
        B.flat[:: len(B) + 1] += growth * ridge
        # LAPACK itself: there are dozens of small solves a point
        factor, info = dpotrf(B, lower=1, clean=0)
        if info == 0:
            return _refined(A, factor)
    values, V = eigh(A)  # not every kernel is positive definite
    kept = np.abs(values) > 100 * _ROUNDING * np.abs(values).max()
    V, values = V[:, kept], values[kept]
    return lambda b: np.asarray(V @ ((V.T @ b) / values))


def _refined(A: Array, factor: Array) -> Callable[[Array], Array]:
    def solve(b: Array) -> Array:
        x = np.asarray(dpotrs(factor, b, lower=1)[0]).reshape(b.shape)
        for _ in range(2):
            x = x + dpotrs(factor, b - A @ x, lower=1)[0].reshape(b.shape)
        return x

    return solve


class Solution(NamedTuple):
    """Dual variables, intercept, and what determines them.

    ``free`` marks the variables between their ends. Without any the intercept is the
    middle of an interval, whose ends the two variables ``anchors`` set.
    """

    alpha: Array
    intercept: float
    free: Index
    anchors: tuple[int, ...]
    system: Bordered | None
    exact: bool
    n_iter: int


def _interval(
    machine: Machine, bounded: Index, gap: Array
) -> tuple[int, int, float, float]:
    """Ends of the interval of intercepts, and the variables that set them."""
    open_ = machine.upper > 0
    lower = open_ & (bounded == (machine.sign < 0))
    high = np.where(open_ & ~lower, gap, np.inf)
    low = np.where(lower, gap, -np.inf)
    i, j = int(np.argmax(low)), int(np.argmin(high))
    return i, j, float(low[i]), float(high[j])


def polish(
    K: Array, machine: Machine, alpha: Array, max_rounds: int = 20
) -> Solution | None:
    """Change the sets of free and bounded variables until the conditions hold.

    Started nearby it ends in a few rounds, each a linear system of the free variables.
    Returns None if it does not end, or ends at no solution.
    """
    rows, sign, target, upper = machine
    n, open_ = len(K), upper > 0
    bounded = open_ & (alpha >= upper)
    free = (alpha > 0) & ~bounded
    changes: list[int] = []
    for n_iter in range(1, max_rounds + 1):
        alpha = np.where(bounded, upper, np.where(free, alpha, 0.0))
        if not free.any():
            found, pair = _without_free(K, machine, alpha, bounded, n_iter)
            if found is not None or pair is None:
                return found
            free[list(pair)] = True
            bounded[list(pair)] = False
            continue
        system = Bordered(K[np.ix_(rows[free], rows[free])])
        alpha, b = _correct(K, machine, alpha, free, system)
        if not np.isfinite(alpha.sum() + b):
            return None
        margin = sign * (target - (K @ machine.coefficients(alpha, n))[rows] - b)
        slack = _slack(K, machine, alpha)
        low, high = free & (alpha < 0), free & (alpha > upper)
        entering = open_ & ~free & (np.where(bounded, -margin, margin) > slack)
        if not (low.any() or high.any() or entering.any()):
            if np.abs(margin[free]).max() > slack:
                return None
            found = _snapped(K, machine, alpha, free, bounded, n_iter)
            return found or Solution(alpha, b, free, (), system, True, n_iter)
        changes.append(int((low | high | entering).sum()))
        if len(changes) > 3 and changes[-1] > changes[-4] / 2:
            return None  # round in circles, or so slowly that a descent is quicker
        free = (free & ~low & ~high) | entering
        bounded = (bounded & ~entering) | high
    return None


def objective(K: Array, machine: Machine, alpha: Array) -> float:
    """Value of the dual, which is minimised."""
    beta = machine.coefficients(alpha, len(K))
    return float(beta @ K @ beta / 2 - (machine.sign * machine.target) @ alpha)


def _snapped(
    K: Array, machine: Machine, alpha: Array, free: Index, bounded: Index, n_iter: int
) -> Solution | None:
    """Solution without free variables, if all of them stand at their ends."""
    upper = machine.upper
    high = free & (alpha >= (1 - _EDGE) * upper)
    if not np.all(high | (alpha <= _EDGE * upper) | ~free):
        return None
    bounded = bounded | high
    alpha = np.where(bounded, upper, 0.0)
    return _without_free(K, machine, alpha, bounded, n_iter)[0]


def descend(K: Array, machine: Machine, alpha: Array, max_rounds: int = 100) -> Array:
    """Minimise the dual over the free variables, one set after another.

    Every step keeps the box and lowers the dual, so that it gets on where
    :func:`polish` goes round in circles; but it moves few variables at a time.
    """
    rows, sign, target, upper = machine
    alpha = np.clip(alpha, 0.0, upper)
    fixed, short = upper <= 0, False
    free = (alpha > 0) & (alpha < upper)
    for _ in range(max_rounds):
        gap = target - (K @ machine.coefficients(alpha, len(K)))[rows]
        if not free.any():
            i, j, low, high = _interval(machine, alpha >= upper, gap)
            if not low > high:
                break
            free[[i, j]] = True
        system = Bordered(K[np.ix_(rows[free], rows[free])])
        goal, b = _correct(K, machine, alpha, free, system)
        step = goal - alpha
        if not np.isfinite(step).all():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(step < 0, -alpha / step, (upper - alpha) / step)
        room[~free | (step == 0)] = np.inf
        if room.min() < 1:
            blocked = free & (room <= room.min())
            alpha = np.clip(alpha + room.min() * step, 0.0, upper)
            alpha[blocked] = np.where(step[blocked] < 0, 0.0, upper[blocked])
            free, short = free & ~blocked, room.min() < 1e-12
            continue
        alpha = goal
        beta = machine.coefficients(alpha, len(K))
        margin = sign * (target - (K @ beta)[rows] - b)
        margin = np.where(free | fixed, 0.0, np.where(alpha > 0, -margin, margin))
        found = int(np.sum(margin > _slack(K, machine, alpha)))
        if found == 0:
            break
        count = 1 if short else max(found // 4, 1)
        free[np.argsort(-margin, kind="stable")[:count]] = True
        short = False
    return alpha


def _slack(K: Array, machine: Machine, alpha: Array) -> float:
    """Violation of a condition that rounding explains."""
    size = float(np.abs(alpha).sum() * np.abs(np.diag(K)).max())
    return _SLACK * (1 + float(np.abs(machine.target).max())) + 1e-14 * size


def _correct(
    K: Array, machine: Machine, alpha: Array, free: Index, system: Bordered
) -> tuple[Array, float]:
    """Free variables and intercept for the others as they are; refined once."""
    rows, sign, target, _ = machine
    alpha, b = alpha.copy(), 0.0
    for _ in range(2):
        beta = machine.coefficients(alpha, len(K))
        residual = (target - (K @ beta)[rows] - b)[free]
        step, shift = system.solve(residual, -float(beta.sum()))
        alpha[free] += sign[free] * step
        b += shift
    return alpha, b


def _without_free(
    K: Array, machine: Machine, alpha: Array, bounded: Index, n_iter: int
) -> tuple[Solution | None, tuple[int, int] | None]:
    """Solution with every variable at an end, or the two that must leave theirs."""
    beta = machine.coefficients(alpha, len(K))
    if abs(beta.sum()) > 1e-10 * np.abs(beta).sum():
        return None, None
    gap = machine.target - (K @ beta)[machine.rows]
    i, j, low, high = _interval(machine, bounded, gap)
    if not (np.isfinite(low) and np.isfinite(high)):
        return None, None
    if low > high + _SLACK * (1 + np.abs(machine.target).max()):
        return None, (i, j)
    none = np.zeros(len(alpha), dtype=bool)
    middle = (low + high) / 2
    return Solution(alpha, middle, none, (i, j), None, True, n_iter), None


def as_given(K: Array, machine: Machine, alpha: Array) -> Solution:
    """Dual variables that would not polish, with the sets that they have."""
    bounded = (machine.upper > 0) & (alpha >= (1 - _EDGE) * machine.upper)
    free = (alpha > _EDGE * machine.upper) & ~bounded
    gap = machine.target - (K @ machine.coefficients(alpha, len(K)))[machine.rows]
    if free.any():
        system = Bordered(K[np.ix_(machine.rows[free], machine.rows[free])])
        return Solution(alpha, float(gap[free].mean()), free, (), system, False, 1)
    i, j, low, high = _interval(machine, bounded, gap)
    return Solution(alpha, (low + high) / 2, free, (i, j), None, False, 1)


def adjoint(
    machine: Machine, solution: Solution, slope: Array, shift: float
) -> tuple[Array, float]:
    """Solve the transposed conditions for a gradient in coefficients and intercept.

    Returns one number a variable, how the criterion moves with its target, and the
    multiplier of ``sum beta = 0``.
    """
    u = np.zeros(len(solution.alpha))
    if solution.system is None:
        for j in solution.anchors:
            u[j] += shift / 2
        return u, 0.0
    free = solution.free
    u[free], mu = solution.system.solve(slope[machine.rows[free]], shift)
    return u, mu
