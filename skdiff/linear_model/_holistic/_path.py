"""Newton's method on a rounded holistic loss, at temperatures that fall to zero.

It is slower than the interior point method, and solves what that leaves.

By duality the worst mean is the least over nu, lambda and tau of ``nu + lambda r +
poisoning tau + sum s_k max(g(top - nu) - tau, g(loss_k - nu))`` with ``g(t) = -lambda
log(1 - t / lambda)``; without a radius ``g(t) = t``. The coefficients and these three
are found together. Maxima, norms and corners of the losses are rounded, and a
barrier keeps lambda positive. At each temperature the slopes of the rounded problem
give weights and a lower bound that hold for the exact one.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

from skdiff._base.typing import Array
from skdiff._convex._newton import spd_solve
from skdiff._convex._solve import Solution
from skdiff.linear_model._holistic._bound import Dual, lower_bound, within
from skdiff.linear_model._holistic._problem import HolisticProblem
from skdiff.linear_model._holistic._rows import (
    Norm,
    RowParts,
    rounded_norm,
    row_parts,
)

_FIRST, _FALL, _LAST, _STEPS, _HALVINGS = 0.1, 0.2, 1e-13, 30, 40
_GOOD, _FAILURES = 1e-6, 9


class _Point(NamedTuple):
    """Variables, value, and what derivatives and weights are made of."""

    z: Array
    value: float
    parts: RowParts
    norm: Norm
    soft: Array
    sigma: Array
    x: Array
    x0: float


def _bend(t: Any, lam: float) -> Any:
    """``g(t)``."""
    return t if lam == np.inf else -lam * np.log1p(-t / lam)


def _threshold(a: Array, s: Array, poisoning: float, mu: float) -> float:
    """The best tau for fixed others: ``sum s expit(-(a + tau) / mu) = poisoning``."""
    shift = mu * float(np.log((1 - poisoning) / poisoning))
    low, high = shift - float(a.max()), shift - float(a.min())
    tau = (low + high) / 2
    for _ in range(100):
        kept = expit((a + tau) / mu)
        off = float(s @ (1 - kept)) - poisoning
        if abs(off) <= 1e-15 * poisoning:
            break
        slope = float(s @ (kept * (1 - kept))) / mu
        low, high = (tau, high) if off > 0 else (low, tau)
        # far from the root Newton's steps are of the size of mu: halve there
        near = slope > 0 and high - low < 60 * mu
        new = tau + off / slope if near else low - 1.0
        new = new if low < new < high else (low + high) / 2
        done = abs(new - tau) <= 1e-15 * max(abs(new), mu)
        tau = new
        if done:
            break
    return tau


class Path:
    """The rounded problem of one HolisticProblem; z is (w, nu, lambda, tau)."""

    def __init__(self, problem: HolisticProblem) -> None:
        self.problem = problem
        self.d = problem.A.shape[1]
        self.tilts = problem.radius > 0 and problem.poisoning < 1
        self.moves = 0 < problem.poisoning < 1
        self.all_moved = problem.poisoning >= 1

    def start(self) -> Array:
        """No coefficients."""
        z = np.zeros(self.d + 3)
        losses = self.problem.losses(z[: self.d])
        s = self.problem.s
        mean = float(s @ losses)
        spread = max(float(np.sqrt(s @ (losses - mean) ** 2)), 0.1)
        z[self.d] = mean
        lam = spread / np.sqrt(2 * self.problem.radius) if self.tilts else np.inf
        gap = float(losses.max() - mean)
        z[self.d + 1] = lam + 2 * (gap + 1.0) if self.tilts else np.inf
        return z

    def look(self, z: Array, mu: float) -> _Point | None:
        """Value, or None outside of the domain."""
        problem, d = self.problem, self.d
        w, (nu, lam, tau) = z[:d], z[d:]
        if not lam > 0:
            return None
        norm = rounded_norm(problem, w, mu)
        parts = row_parts(problem, problem.A @ w, norm.value, mu)
        level = mu * logsumexp(parts.value / mu, b=problem.s)  # like repeated rows
        soft = problem.s * np.exp((parts.value - level) / mu)
        soft = soft / soft.sum()  # the level is rounded
        if not self.tilts:
            nu = 0.0
        t, t0 = parts.value - nu, level - nu
        used = max(float(t.max()), t0 if self.moves else -np.inf)
        if not used < lam:
            return None
        g, g0 = _bend(t, lam), _bend(t0, lam) if self.moves else t0
        sigma = np.zeros(len(t)) if self.all_moved else np.ones(len(t))
        if self.moves:
            tau = _threshold(g - g0, problem.s, problem.poisoning, mu)
            z = np.append(z[:-1], tau)
            sigma = expit((g - g0 + tau) / mu)
        value = self._value(g, g0, z, mu) + float(problem.ridge @ w**2 / 2)
        if not np.isfinite(value):
            return None
        return _Point(z, value, parts, norm, soft, sigma, t / lam, t0 / lam)

    def _value(self, g: Array, g0: float, z: Array, mu: float) -> float:
        problem, (nu, lam, tau) = self.problem, z[self.d :]
        if self.all_moved:
            return float(g0)
        total = nu + lam * problem.radius - mu * np.log(lam) if self.tilts else 0.0
        if self.moves:
            g0 = g0 - tau
            g = g0 + mu * np.logaddexp(0.0, (g - g0) / mu)
            total += problem.poisoning * tau
        return float(total + problem.s @ g)

    def derivatives(self, at: _Point, mu: float) -> tuple[Array, Array]:
        """Gradient and Hessian in z."""
        problem, d, s = self.problem, self.d, self.problem.s
        lam = at.z[d + 1]
        n, D = len(s), d + 4  # w, N, nu, lambda, tau
        C = np.zeros((n, D))
        C[:, :d] = at.parts.f[:, None] * problem.A
        C[:, d] = at.parts.N
        c = at.soft @ C
        rho, rho0 = 1 / (1 - at.x), 1 / (1 - at.x0) if self.moves else 1.0
        q0 = float(s @ (1 - at.sigma))
        p = s * at.sigma * rho + q0 * rho0 * at.soft
        gradient = p @ C
        H = self._curvature(at.parts, p)
        around = C - c
        H += (around.T * (q0 * rho0 / mu * at.soft)) @ around
        if self.tilts:
            log, log0 = -np.log1p(-at.x), -np.log1p(-at.x0) if self.moves else 0.0
            gradient[d + 1] = 1 - p.sum()
            first, first0 = log - at.x * rho, log0 - at.x0 * rho0
            gradient[d + 2] = problem.radius - mu / lam
            gradient[d + 2] += s @ (at.sigma * first) + q0 * first0
            E, e = C.copy(), c.copy()
            E[:, d + 1], E[:, d + 2] = -1.0, -at.x
            e[d + 1], e[d + 2] = -1.0, -at.x0
            H += (E.T * (s * at.sigma * rho**2 / lam)) @ E
            H += q0 * rho0**2 / lam * np.outer(e, e)
            H[d + 2, d + 2] += mu / lam**2
        if self.moves:
            # tau is at its best, so that its gradient is zero
            V = rho[:, None] * C - rho0 * c
            V[:, d + 3] = 1.0
            if self.tilts:
                V[:, d + 1] = rho0 - rho
                V[:, d + 2] = first - first0
            H += (V.T * (s * at.sigma * (1 - at.sigma) / mu)) @ V
        return self._without_norm(at, p, gradient, H)

    def _curvature(self, parts: RowParts, p: Array) -> Array:
        A, d = self.problem.A, self.d
        H = np.zeros((d + 4, d + 4))
        H[:d, :d] = (A.T * (p * parts.ff)) @ A
        H[:d, d] = H[d, :d] = A.T @ (p * parts.fN)
        H[d, d] = p @ parts.NN
        return H

    def _without_norm(
        self, at: _Point, p: Array, gradient: Array, H: Array
    ) -> tuple[Array, Array]:
        """Derivatives through the norm, and the ridge."""
        d, ridge = self.d, self.problem.ridge
        T = np.zeros((d + 4, d + 3))
        T[:d, :d] = np.eye(d)
        T[d, :d] = at.norm.gradient
        T[d + 1 :, d:] = np.eye(3)
        H = T.T @ H @ T
        H[:d, :d] += float(p @ at.parts.N) * at.norm.hessian
        H[np.arange(d), np.arange(d)] += ridge
        gradient = gradient @ T
        gradient[:d] += ridge * at.z[:d]
        for k, used in ((d, self.tilts), (d + 1, self.tilts), (d + 2, self.moves)):
            if not used:
                H[k, k], gradient[k] = 1.0, 0.0
        return gradient, H

    def weights(self, at: _Point) -> Array:
        """Weights of the rows that the poisoning and the radius allow."""
        problem, s = self.problem, self.problem.s
        moved = float(s @ (1 - at.sigma))
        Q = s * at.sigma + moved * at.soft
        if moved > problem.poisoning:
            Q = s + problem.poisoning / moved * (Q - s)
        Q = Q / Q.sum()
        if not self.tilts:
            return Q
        p = s * at.sigma / (1 - at.x)
        if self.moves:
            p = p + moved * at.soft / (1 - at.x0)
        return within(Q, p / p.sum(), problem.radius)


class _Stage(NamedTuple):
    """Where Newton's method came to at a temperature."""

    at: _Point
    n_iter: int
    done: bool


def _newton(path: Path, here: _Point, mu: float, most: int) -> _Stage:
    """Minimise at one temperature."""
    for k in range(most):
        gradient, H = path.derivatives(here, mu)
        step = -spd_solve(H, gradient)
        slope = float(gradient @ step)
        floor = 8 * np.finfo(float).eps * max(abs(here.value), 1e-300)
        if not -np.inf < slope <= 0:
            return _Stage(here, k, False)
        last = -slope / 2 <= max(1e-8 * mu, floor)
        there = _searched(path, here, step, slope, floor, mu)
        if there is None:
            return _Stage(here, k + 1, last)
        here = there
        if last:
            return _Stage(here, k + 1, True)
    return _Stage(here, most, False)


def _searched(
    path: Path, here: _Point, step: Array, slope: float, floor: float, mu: float
) -> _Point | None:
    t = 1.0
    for _ in range(_HALVINGS):
        there = path.look(_moved(here.z, t * step), mu)
        if there and there.value <= here.value + 1e-4 * t * slope + floor:
            return there
        t /= 2
    return None


def _moved(z: Array, step: Array) -> Array:
    return np.where(np.isfinite(z), z + step, z)


def _predicted(path: Path, before: Array, z: Array, share: float, mu: float) -> _Point:
    """The point further along the line of two solutions, if it is the better start.

    Rows at a corner keep multipliers only if their distance to it shrinks like mu.
    """
    here = path.look(z, mu)
    assert here is not None
    moved = _moved(z, share * np.where(np.isfinite(z), z - before, 0.0))
    further = path.look(moved, mu)
    return further if further and further.value < here.value else here


def fit_path(problem: HolisticProblem, tol: float, max_iter: int) -> Solution:
    """Minimise; ``gap`` is to a lower bound by duality, ``n_iter`` Newton steps."""
    path = Path(problem)
    z = before = path.start()
    if path.look(z, _FIRST) is None:  # squares that overflow
        return Solution(np.full(path.d, np.nan), np.inf, np.inf, 0, False)
    old, mu, n_iter, fall = np.inf, _FIRST, 0, _FALL
    best, best_w, bound = np.inf, z[: path.d], 0.0
    new, failed = mu, 0
    while n_iter < max_iter and new > _LAST and failed < _FAILURES:
        share = (mu - new) / (old - mu) if old < np.inf else 0.0
        start = _predicted(path, before, z, share, new)
        most = _STEPS if new < mu else 3 * _STEPS
        at, steps, done = _newton(path, start, new, min(most, max_iter - n_iter))
        steps = max(steps, 1)
        n_iter += steps
        w = at.z[: path.d]
        value = problem.objective(w)
        if value < best:
            best, best_w = value, w
        p = path.weights(at)
        dual = Dual(p, at.parts.f, at.parts.slope, p * at.parts.ff)
        bound = max(bound, lower_bound(problem, dual, w))
        if best - bound <= tol * max(1.0, best):
            break
        if done or new == mu:
            before, z, old, mu = z, at.z, mu if new < mu else np.inf, new
            fall, failed = max(fall / 2, 0.05) if steps <= 5 else fall, 0
        else:
            fall, failed = min(np.sqrt(fall), 0.9), failed + 1
        new = fall * mu
    gap = best - bound
    return Solution(best_w, best, gap, n_iter, gap <= _GOOD * max(1.0, best))
