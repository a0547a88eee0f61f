"""Generalised method of moments for a linear model, from sums.

Notation: ``A = mean z x'``, ``b = mean z y``, moments ``g(beta) = b - A beta``. A
weight matrix W gives ``beta = argmin g'Wg``: W = mean(zz')^-1 is two-stage least
squares, W = S(beta)^-1 the efficient second step (Hansen, 1982); repeating it is the
iterated estimator, and minimising ``g(beta)' S(beta)^-1 g(beta)`` the continuously
updated one (Hansen, Heaton and Yaron, 1996).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

from skdiff._base.typing import Array, BoolArray
from skdiff.causal._linear_gmm._moments import Source, Sums

# of the squared scale of the columns: directions below are rounding
_RANK = 1e-12
_MOST_STEPS = 1000
_NEWTON = 20


class Design(NamedTuple):
    """Second moments in a basis of independent instruments."""

    n: float
    B: Array  # (q, r); instruments z become B'z, whose second moments are the identity
    A: Array  # (r, p)
    b: Array  # (r,)
    vv: Array  # (m, m)


class Fit(NamedTuple):
    """Coefficients in the units of the reference, and what belongs to them."""

    beta: Array  # (p,)
    cov: Array  # (p, p)
    j_stat: float
    n_iter: int
    converged: bool


def design(found: Sums) -> Design:
    """Drop dependent instruments; raise where the coefficients are not identified."""
    scale = np.sqrt(np.diag(found.zz))
    unit = np.where(scale > 0, scale, 1.0)
    values, vectors = linalg.eigh(found.zz / np.outer(unit, unit))
    kept = values > _RANK * max(values[-1], 1.0) * len(values)
    B = vectors[:, kept] / np.sqrt(values[kept]) / unit[:, None] * np.sqrt(found.n)
    whole = B.T @ (found.zv / found.n)
    _check_rank(whole[:, :-1], found)
    return Design(found.n, B, whole[:, :-1], whole[:, -1], found.vv / found.n)


def _check_rank(A: Array, found: Sums) -> None:
    r, p = A.shape
    scale = np.sqrt(np.diag(found.vv)[:-1] / found.n)
    unit = np.where(scale > 0, scale, 1.0)
    own = linalg.eigvalsh(found.vv[:-1, :-1] / np.outer(unit, unit) / found.n)
    if own[0] <= _RANK * p * own[-1]:
        raise ValueError(
            "The columns of X, with the constant, are linearly dependent: their "
            f"second moments have condition number {_condition(own)}. Drop columns."
        )
    values = linalg.svdvals(A / unit) ** 2
    if r < p or values[-1] <= _RANK * p * values[0]:
        raise ValueError(
            f"The moments of instruments and X have rank below the number {p} of "
            f"regressors: {r} instruments are independent (constants counted), and the "
            f"condition number is {_condition(values[::-1])}. The coefficients are not "
            "identified; add instruments that move every column of X."
        )


def _condition(values: Array) -> str:
    """Condition number from squares in rising order."""
    low, high = max(float(values[0]), 0.0), float(values[-1])
    return f"{np.sqrt(high / low):.1e}" if low > 0 else "infinite"


def theta_of(beta: Array) -> Array:
    """Residual weights (-beta, 1)."""
    return np.append(-beta, 1.0)


class Step(NamedTuple):
    """Minimiser for one weight matrix W = S^-1."""

    beta: Array
    gain: Array  # (p, r), beta = gain b
    S: Array


def step(d: Design, S: Array) -> Step:
    """Solve the normal equations through a factor of S."""
    values, vectors = linalg.eigh(S)
    # residuals of rounding only, or fewer rows than moments, leave S without full rank
    floor = max(values[-1], 0.0) * len(values) * 1e-14
    if not floor > 0:
        values, floor = np.ones_like(values), 0.0
    root = vectors / np.sqrt(np.maximum(values, floor))
    gain = np.linalg.pinv(root.T @ d.A, rcond=1e-13) @ root.T
    return Step(gain @ d.b, gain, S)


def j_statistic(d: Design, beta: Array, S: Array) -> float:
    """``n g'S^-1 g``; zero where residuals vanish."""
    g = d.b - d.A @ beta
    values, vectors = linalg.eigh(S)
    floor = max(values[-1], 0.0) * len(values) * 1e-14
    if not floor > 0:
        return 0.0
    return float(d.n * ((vectors.T @ g) ** 2 / np.maximum(values, floor)).sum())


@dataclass(frozen=True)
class Problem:
    """A design, and where its weight matrices come from."""

    d: Design
    source: Source

    def weights(self, beta: Array) -> Array:
        """``S(beta)`` in the basis of the design."""
        B = self.d.B
        return np.asarray(B.T @ self.source.weights(theta_of(beta)) @ B)

    def objective(self, beta: Array) -> tuple[float, Array]:
        """``g'S(beta)^-1 g`` and its gradient.

        With lam = S^-1 g the gradient is ``-2 A'lam - lam' dS lam``, and
        ``lam'S(beta)lam = theta'M theta`` with M = mean (z'lam)^2 v v'.
        """
        d = self.d
        g = d.b - d.A @ beta
        lam = np.linalg.lstsq(self.weights(beta), g, rcond=None)[0]
        M = self.source.curvature(d.B @ lam)
        gradient = -2 * d.A.T @ lam + 2 * (M @ theta_of(beta))[:-1]
        return float(g @ lam), gradient


def variance(d: Design, beta: Array) -> float:
    """Mean squared residual."""
    theta = theta_of(beta)
    return max(float(theta @ d.vv @ theta), 0.0)


def solve(problem: Problem, method: str, robust: bool) -> Fit:
    """Fit by ``"2sls"``, ``"two-step"``, ``"iterated"`` or ``"cue"``."""
    d = problem.d
    first = step(d, np.eye(len(d.b)))
    if method == "2sls":
        last, n_iter, converged = first, 1, True
        j_weights = variance(d, first.beta) * first.S
    else:
        last, n_iter, converged = _efficient(problem, first, method)
        j_weights = last.S
    if robust:
        S = problem.weights(last.beta)
    else:
        S = variance(d, last.beta) * np.eye(len(d.b))
    cov = last.gain @ S @ last.gain.T / d.n
    j_stat = j_statistic(d, last.beta, j_weights)
    return Fit(last.beta, cov, j_stat, n_iter, converged)


def _efficient(problem: Problem, first: Step, method: str) -> tuple[Step, int, bool]:
    d = problem.d
    last = step(d, problem.weights(first.beta))
    if method == "two-step" or len(d.b) == len(first.beta):
        return last, 2, True
    if method == "iterated":
        return _iterate(problem, last)
    beta, n_iter, converged = _continuous(problem, (last.beta, first.beta))
    S = problem.weights(beta)
    return step(d, S)._replace(beta=beta), n_iter, converged


def _iterate(problem: Problem, last: Step) -> tuple[Step, int, bool]:
    scale = np.sqrt(np.diag(problem.d.vv)[:-1])
    for k in range(3, _MOST_STEPS):
        new = step(problem.d, problem.weights(last.beta))
        moved = np.abs((new.beta - last.beta) * scale).max()
        size = np.abs(new.beta * scale).max()
        last = new
        if moved <= 1e-13 * max(size, 1e-3):
            return last, k, True
    return last, _MOST_STEPS, False


def _continuous(problem: Problem, starts: tuple[Array, ...]) -> tuple[Array, int, bool]:
    """Minimise in coordinates in which the first start has covariance one.

    The criterion is not convex: the better of the searches from all starts is taken.
    """
    first = step(problem.d, problem.weights(starts[0]))
    cov = first.gain @ first.S @ first.gain.T
    values, vectors = linalg.eigh(cov)
    root = vectors * np.sqrt(np.maximum(values, 1e-15 * max(values[-1], 1e-300)))

    def scaled(a: Array) -> tuple[float, Array]:
        value, gradient = problem.objective(starts[0] + root @ a)
        return value, root.T @ gradient

    best: tuple[float, Array] | None = None
    count, back = 0, np.linalg.pinv(root)
    for start in starts:
        a0 = back @ (start - starts[0])
        result = optimize.minimize(scaled, a0, jac=True, method="BFGS")
        count += int(result.nit)
        if best is None or result.fun < best[0]:
            best = (float(result.fun), result.x)
    assert best is not None
    a, converged = _newton(scaled, best[1])
    return starts[0] + root @ a, count, converged


def _newton(scaled, a: Array) -> tuple[Array, bool]:  # type: ignore[no-untyped-def]
    """Newton steps on the gradient, until it is rounding."""
    value, gradient = scaled(a)
    for _ in range(_NEWTON):
        size = 1e-5 * (1 + np.abs(a).max())
        steps = size * np.eye(len(a))
        H = np.stack([scaled(a + s)[1] - scaled(a - s)[1] for s in steps]) / (2 * size)
        H = (H + H.T) / 2
        move = np.linalg.lstsq(H, -gradient, rcond=None)[0]
        new_value, new_gradient = scaled(a + move)
        better = np.abs(new_gradient).max() < np.abs(gradient).max()
        if not better or new_value > value + 1e-9 * abs(value):
            break
        a, value, gradient = a + move, new_value, new_gradient
    return a, bool(np.abs(gradient).max() <= 1e-6 * (1 + abs(value)))


# --- what the second moments tell about the instruments -------------------------------


class Diagnostics(NamedTuple):
    """Tests of the instruments and of the need for them."""

    first_stage_f: Array  # (endogenous columns,)
    cragg_donald_f: float
    endogenous: BoolArray  # (p,)
    endogeneity_stat: float


def diagnostics(d: Design) -> Diagnostics:
    """First-stage F of each endogenous column, and Durbin's test.

    A column is exogenous where the instruments explain it entirely. Both tests take
    the variance of the errors as constant, as fourth moments of X are not kept.
    """
    xx = d.vv[:-1, :-1]
    left = np.diag(xx) - (d.A**2).sum(axis=0)
    endogenous = left > 1e-10 * np.diag(xx)
    p, k = len(left), int(endogenous.sum())
    if not k:
        return Diagnostics(np.empty(0), np.inf, endogenous, 0.0)
    e, o = endogenous, ~endogenous
    # x's of the endogenous columns less what the included instruments explain
    inside = np.linalg.lstsq(xx[np.ix_(o, o)], xx[np.ix_(o, e)], rcond=None)[0]
    partial = xx[np.ix_(e, e)] - xx[np.ix_(e, o)] @ inside
    beyond = xx[np.ix_(e, e)] - d.A[:, e].T @ d.A[:, e]
    n_excluded = len(d.b) - (p - k)
    dof = max(d.n - len(d.b), 1.0)
    explained = partial - beyond
    F = np.diag(explained) / n_excluded / (np.diag(beyond) / dof)
    # squared canonical correlations of the endogenous columns and the excluded
    # instruments: the least of them decides
    unit = np.sqrt(np.diag(partial))
    unit = np.outer(unit, unit)
    squared = linalg.eigh(explained / unit, partial / unit, eigvals_only=True)[0]
    squared = min(max(float(squared), 0.0), 1.0 - 1e-15)
    weakest = squared / (1.0 - squared) * dof / n_excluded
    return Diagnostics(F, weakest, e, _durbin(d, e))


def _durbin(d: Design, e: BoolArray) -> float:
    """Durbin's chi-square: n (Q* - Q) / (OLS residual sum of squares).

    Q* is the part of the least-squares residuals that the instruments and the
    endogenous columns explain, Q that of two-stage residuals by the instruments.
    """
    xx, xy = d.vv[:-1, :-1], d.vv[:-1, -1]
    ols: Array = np.asarray(np.linalg.lstsq(xx, xy, rcond=None)[0], dtype=np.float64)
    rss = variance(d, ols)
    if rss <= 1e-14 * d.vv[-1, -1]:
        return 0.0
    # the instruments have the identity for second moments
    cross = np.concatenate([d.b - d.A @ ols, (xy - xx @ ols)[e]])
    gram = np.block([[np.eye(len(d.b)), d.A[:, e]], [d.A[:, e].T, xx[np.ix_(e, e)]]])
    alone = d.b - d.A @ step(d, np.eye(len(d.b))).beta
    explained = cross @ np.linalg.lstsq(gram, cross, rcond=None)[0]
    return max(float(d.n * (explained - alone @ alone) / rss), 0.0)
