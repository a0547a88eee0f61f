"""Level sets under L1 and elastic-net penalties.

With ``F(w) = L(w) + sum_j lasso_j |w_j|`` the set ``F <= F* + budget`` is still convex.
The extreme of ``v'w`` lies on the path ``w(mu) = argmin F(w) - mu v'w``. On a support
and signs that stay, its conditions are those of a smooth problem, so that they are
solved jointly in ``(w, mu)`` by a semismooth Newton method: the coefficients that the
proximal step sends to zero are held there, the others satisfy ``grad L + lasso sign =
mu v``. A fixed point of the proximal step satisfies the conditions on the zeros too.
Where it does not settle, proximal Newton, warm-started along ``mu``, and a bracketed
secant on ``sqrt(2 gap)`` cannot fail.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._batched import solve_systems
from skdiff._convex._prox import soft_threshold
from skdiff._convex._prox_newton import Penalised, prox_newton
from skdiff.multiplicity._sets._l1_path import follow
from skdiff.multiplicity._sets._level_set import LevelSet, UnboundedError
from skdiff.multiplicity._sets._maximiser import Extremes, Maximiser, State
from skdiff.multiplicity._sets._problem import Problem, Whitened

# the residual is in the metric of the diagonal, which collinear columns loosen
STRICTER, FINEST = 1e-3, 1e-10
ROUNDING = 1e-8  # residual of paths of a squared loss near interpolation, at most
SECANTS, SWEEPS = 100, 100


@dataclass
class L1Problem(Problem):
    """Losses plus a quadratic and an L1 penalty."""

    def whitened(self, center: Array, whiten: Array) -> "Diagonal":
        """Return the objective in the coordinates ``w = center + whiten @ u``."""
        return Diagonal(self, center, whiten)

    def minimise(
        self, start: Array, tilt: Array | None = None, tol: float = 1e-11
    ) -> Any:
        """Return the minimiser of ``F(w) - tilt'w``."""
        return prox_newton(Tilted(self, tilt), start, tol=tol, max_iter=200)


class Tilted(Penalised):
    """The problem of proximal Newton, less a linear function."""

    def __init__(self, problem: Problem, tilt: Array | None = None) -> None:
        lasso = problem.lasso
        if lasso is None:
            lasso = np.zeros(problem.X.shape[1])
        super().__init__(
            problem.X, problem.y, problem.s, problem.loss, lasso, problem.penalty
        )
        self.tilt = np.zeros(problem.X.shape[1]) if tilt is None else tilt

    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Any]:
        """Value and gradient of the smooth part, and what its Hessian needs."""
        value, gradient, second = super().smooth(w, order)
        value -= float(self.tilt @ w)
        return value, (gradient - self.tilt if order else gradient), second


class Diagonal(Whitened):
    """The objective around its minimiser; coordinates are scaled, never mixed."""

    def __init__(self, problem: Problem, center: Array, whiten: Array) -> None:
        super().__init__(problem, center, whiten)
        unit = np.diag(whiten)
        self.center = center / unit
        self.lasso = np.zeros(len(unit))
        if problem.lasso is not None:
            self.lasso = problem.lasso * unit
        self.at_center = self.lasso * np.abs(self.center)

    def evaluate(self, U: Array) -> tuple[Array, Array, Array]:
        """Gaps with the L1 norm; gradients and curvatures without it."""
        gap, gradient, second = super().evaluate(U)
        gap += (np.abs(U + self.center) * self.lasso - self.at_center).sum(axis=1)
        return gap, gradient, second

    def follow(self, V: Array, budgets: Array) -> tuple[Array, Array]:
        """Points and multipliers of the paths of V at ascending budgets."""
        _, gradient, second = self.evaluate(np.zeros((1, V.shape[1])))
        H = self.hessian(second)[0]
        return follow(H, gradient[0], self.center, self.lasso, V, budgets)


class L1Maximiser(Maximiser):
    """Maximise unit directions over a level set with an L1 norm."""

    data: Diagonal

    def both(self, V: Array) -> tuple[Extremes, Extremes]:
        """Maxima of ``-V`` and of ``V``."""
        V2 = np.concatenate([-V, V])
        quadratic = self.data.loss.quadratic
        found = self.corners(V2) if quadratic else self.continuation(V2)
        return found[: len(V)], found[len(V) :]

    def corners(self, V: Array) -> Extremes:
        """Follow the piecewise linear paths of a squared loss."""
        U, mu = self.data.follow(V, np.array([self.tau**2 / 2]))
        return self.accepted(V, U[0], mu[0])

    def accepted(self, V: Array, U: Array, mu: Array) -> Extremes:
        """Take points of followed paths; look for those that were lost.

        No search comes nearer than their rounding, where supports are singular.
        """
        result = Extremes.empty(*V.shape)
        state = self.state(V, U, mu, self.tau)
        done = state.size <= max(self.tol, ROUNDING)
        result.put(done, self.finish(state, V, U, mu, done, 1))
        if not done.all():
            result.put(~done, self.continuation(V[~done]))
        return result

    def pulls(self, V: Array) -> Array:
        """Curvatures of the smooth part along V, which scale the steps of the path."""
        _, _, second = self.data.evaluate(np.zeros((1, V.shape[1])))
        H = self.data.hessian(second)[0]
        return np.maximum(np.einsum("ij,ij->i", V @ H, V), 1e-12)

    def state(self, V: Array, U: Array, mu: Array, tau: Any) -> State:
        """Residuals: of the proximal step, and of the level."""
        with np.errstate(over="ignore", invalid="ignore"):
            gap, gradient, second = self.data.evaluate(U)
            reach = np.sqrt(2 * np.maximum(gap, 1e-300))
            W = U + self.data.center
            z = W - gradient + mu[:, None] * V
            r1 = W - soft_threshold(z, self.data.lasso)
            r2 = reach - tau
            size = np.maximum(np.sqrt(np.einsum("ij,ij->i", r1, r1)), np.abs(r2)) / tau
        size[~np.isfinite(size)] = np.inf
        return State(gap, reach, gradient, second, r1, r2, size)

    def finish(
        self, state: State, V: Array, U: Array, mu: Array, rows: Any, n_iter: int
    ) -> Extremes:
        """The Lagrangian's value; coefficients that are zero but for rounding are zero.

        The subgradient of one that is not zero is its sign, however small it is.
        """
        center = self.data.center
        tiny = np.abs(U + center) <= 1e-13 * (1 + np.abs(center))
        U = np.where(tiny & (self.data.lasso > 0), -center, U)
        return super().finish(state, V, U, mu, rows, n_iter)

    def systems(
        self, state: State, V: Array, U: Array, mu: Array
    ) -> tuple[Array, Array, Array]:
        """Newton's columns on the coefficients that the proximal step leaves alive."""
        W, lasso = U + self.data.center, self.data.lasso
        z = W - state.gradient + mu[:, None] * V
        alive, sign = np.abs(z) > lasso, np.sign(z)
        pull = state.gradient + lasso * sign
        H = self.data.hessian(state.second)
        M = np.where(alive[:, :, None], H, np.eye(H.shape[1]))
        rhs = np.stack(
            [np.where(alive, V, 0.0), np.where(alive, pull - mu[:, None] * V, W)],
            axis=2,
        )
        both = solve_systems(M, rhs)
        slope = state.gradient + lasso * np.where(W != 0, np.sign(W), sign)
        return both[..., 0], both[..., 1], slope / state.reach[:, None]

    def continuation(self, V: Array) -> Extremes:
        """Proximal Newton along the path for all rows at once, and a secant on it."""
        m, d = V.shape
        result = Extremes.empty(m, d)
        pull = self.pulls(V)
        aim = self.tau / np.sqrt(pull)
        low, high = np.zeros(m), np.full(m, np.inf)
        f_low, f_high = np.full(m, -self.tau), np.full(m, np.inf)
        U, rows, accuracy = np.zeros_like(V), np.arange(m), np.full(m, 0.03 * self.tau)
        for n_iter in range(SECANTS):
            U = self.path_points(V[rows], pull, aim, U, accuracy)
            mu = pull * (aim - np.einsum("ij,ij->i", V[rows], U))
            state = self.state(V[rows], U, mu, self.tau)
            f = state.reach - self.tau
            done = (state.size <= self.tol) & (mu > 0)
            if done.any():
                result.put(rows[done], self.finish(state, V[rows], U, mu, done, n_iter))
            # a point still off the path does not show the level on it
            sure = np.abs(f) > 10 * np.linalg.norm(state.r1, axis=1)
            above, below = sure & (f > 0), sure & (f <= 0)
            # Illinois: the stale end weighs less
            f_low = np.where(below, f, np.where(above, f_low / 2, f_low))
            f_high = np.where(above, f, np.where(below, f_high / 2, f_high))
            low, high = np.where(below, aim, low), np.where(above, aim, high)
            go = ~done & np.isfinite(f)
            lost = rows[~done & ~go]
            if len(lost):
                result.put(lost, self.one_by_one(V[lost]))
            if not go.any():
                return result
            rows, U, mu, f, state = rows[go], U[go], mu[go], f[go], state.take(go)
            low, high, f_low, f_high = low[go], high[go], f_low[go], f_high[go]
            pull, aim, sure = pull[go], aim[go], sure[go]
            with np.errstate(invalid="ignore", divide="ignore"):
                secant = (low * f_high - high * f_low) / (f_high - f_low)
                secant = np.where(np.isfinite(high), secant, 2 * aim)
                secant = np.where(sure, secant, aim)
                # on a support that stays, Newton's slope of the level is better
                p, q, G = self.systems(state, V[rows], U, mu)
                slope = np.einsum("ij,ij->i", G, p)
                change = (np.einsum("ij,ij->i", G, q) - state.r2) / slope
            # zero where every coefficient is held: no support to move on
            change = np.where(np.isfinite(change), change, 0.0)
            new = U + p * change[:, None] - q
            ahead = (mu + change) / pull + np.einsum("ij,ij->i", V[rows], new)
            fine = (slope > 0) & (ahead >= low) & (ahead <= high) & (ahead < 3 * aim)
            U = np.where(fine[:, None], new, U)
            aim = np.where(fine, ahead, secant)
            accuracy = np.maximum(0.3 * self.tol * self.tau, 1e-3 * np.abs(f))
        result.put(rows, self.one_by_one(V[rows]))
        return result

    def path_points(
        self, V: Array, pull: Array, aim: Array, U: Array, accuracy: Array
    ) -> Array:
        """Minimisers of ``F(u) + pull (v'u - aim)^2 / 2``, by damped proximal Newton.

        They are points of the path, ``mu = pull (aim - v'u)``, and unlike those of
        ``F(u) - mu v'u`` they exist for every aim: under an L1 norm F grows linearly
        only, and a multiplier too large has no minimiser.
        """
        data, U = self.data, U.copy()
        rows = np.arange(len(V))
        for _ in range(self.max_iter):
            gap, gradient, second = data.evaluate(U[rows])
            off = np.einsum("ij,ij->i", V[rows], U[rows]) - aim[rows]
            total = gap + pull[rows] * off**2 / 2
            slope = gradient + (pull[rows] * off)[:, None] * V[rows]
            W = U[rows] + data.center
            size = np.linalg.norm(W - soft_threshold(W - slope, data.lasso), axis=1)
            go = size > accuracy[rows]
            if not go.any():
                break
            rows, total, slope, W = rows[go], total[go], slope[go], W[go]
            H = data.hessian(second[go])
            H += pull[rows, None, None] * V[rows, :, None] * V[rows, None, :]
            Z = model_minimisers(H, slope, W, data.lasso, 0.03 * size[go])
            step, t = Z - W, np.ones(len(rows))
            drop = np.einsum("ij,ij->i", slope, step)
            drop += (np.abs(Z) - np.abs(W)) @ data.lasso
            for _ in range(40):
                new = U[rows] + t[:, None] * step
                with np.errstate(over="ignore", invalid="ignore"):
                    found = data.evaluate(new)[0]
                off = np.einsum("ij,ij->i", V[rows], new) - aim[rows]
                found += pull[rows] * off**2 / 2
                floor = 1e-14 * (1 + np.abs(data.base))
                bad = ~(found <= total + 1e-4 * t * drop + floor)
                if not bad.any():
                    break
                t[bad] /= 2
            U[rows] += np.where(bad, 0.0, t)[:, None] * step
            rows = rows[~bad]
            if not len(rows):
                break
        return U

    def one_by_one(self, V: Array) -> Extremes:
        """Proximal Newton along the path, and a bracketed secant on its level."""
        found = Extremes.empty(len(V), V.shape[1])
        for k, (v, pull) in enumerate(zip(V, self.pulls(V), strict=True)):
            u, mu = self._root(v, float(pull))
            multiplier = np.array([max(mu, 1e-300)])
            state = self.state(v[None], u[None], multiplier, self.tau)
            found.put([k], self.finish(state, v[None], u[None], multiplier, [0], 1))
        return found

    def _root(self, v: Array, pull: float) -> tuple[Array, float]:
        """Point of the path at the level, by regula falsi with halving (Illinois)."""
        data = self.data
        problem = Problem(data.X, data.y, data.s, np.diag(data.P).copy(), data.loss)
        problem.lasso = data.lasso
        pulled = Pulled(problem, data.f0 - data.X @ data.center, v, pull)

        def at(aim: float, w: Array) -> tuple[float, Array]:
            pulled.aim = aim + v @ data.center
            found = prox_newton(pulled, w, tol=1e-12, max_iter=200).x
            gap = float(data.evaluate((found - data.center)[None])[0][0])
            return np.sqrt(2 * max(gap, 0.0)) - self.tau, found

        low, high = 0.0, self.tau / np.sqrt(pull)
        f_low, f_high = -self.tau, -self.tau
        w = data.center
        for _ in range(80):
            f_high, w = at(high, w)
            if f_high >= 0:
                break
            low, f_low, high = high, f_high, 2 * high
        aim = high
        for _ in range(200):
            if abs(f_high - f_low) < 1e-300 or high - low < 1e-15 * high:
                break
            aim = (low * f_high - high * f_low) / (f_high - f_low)
            f, w = at(aim, w)
            if abs(f) < 1e-10 * self.tau:
                break
            if f > 0:
                high, f_high, f_low = aim, f, f_low / 2
            else:
                low, f_low, f_high = aim, f, f_high / 2
        u = w - data.center
        return u, float(pull * (aim - v @ u))


def model_minimisers(
    H: Array, slope: Array, W: Array, lasso: Array, accuracy: Array
) -> Array:
    """Minimise ``slope'(z - w) + (z - w)'H(z - w) / 2 + lasso |z|`` for every row.

    Coordinate descent finds the support, a linear system the minimiser on it; within an
    orthant the model is a convex quadratic, so that a step cut short where the first
    sign changes still makes it smaller.
    """
    Z, g = W.copy(), slope.copy()
    curvature = np.einsum("mkk->mk", H) + 1e-300
    for sweep in range(SWEEPS):
        for k in range(Z.shape[1]):
            h, old = curvature[:, k], Z[:, k].copy()
            Z[:, k] = soft_threshold(old * h - g[:, k], lasso[k]) / h
            g += (Z[:, k] - old)[:, None] * H[:, k]
        if sweep % 3 == 2:
            alive, sign = Z != 0, np.sign(Z)
            M = np.where(alive[:, :, None], H, np.eye(H.shape[1]))
            rhs = np.where(alive, -(g + lasso * sign), 0.0)
            change = solve_systems(M, rhs[..., None])[..., 0]
            leaves = (lasso > 0) & alive & (sign * (Z + change) < 0)
            ratio = np.where(leaves, -Z / np.where(leaves, change, 1.0), 1.0)
            t = ratio.min(axis=1, initial=1.0)[:, None]
            change *= t
            change = np.where(leaves & (ratio == t), -Z, change)
            Z += change
            g += np.einsum("mk,mkj->mj", change, H)
        if (np.linalg.norm(Z - soft_threshold(Z - g, lasso), axis=1) <= accuracy).all():
            break
    return Z


class Pulled(Tilted):
    """The same with a fixed part in the predictors and ``pull (v'w - aim)^2 / 2``."""

    def __init__(self, problem: Problem, f0: Array, v: Array, pull: float) -> None:
        super().__init__(problem)
        self.f0, self.v, self.pull = f0, v, pull
        self.aim: Any = 0.0

    def smooth(self, w: Array, order: int = 1) -> tuple[float, Array, Any]:
        """Value and gradient of the smooth part, and what its Hessian needs."""
        parts = self.loss.evaluate(self.X @ w + self.f0, self.y, order)
        off = float(self.v @ w - self.aim)
        value = float(self.s @ parts[0] + self.ridge @ w**2 / 2)
        value += self.pull * off**2 / 2
        if order == 0:
            return value, w, w
        gradient = self.X.T @ (self.s * parts[1]) + self.ridge * w
        gradient += self.pull * off * self.v
        return value, gradient, self.s * parts[2] if order > 1 else w

    def hessian(self, second: Array, columns: Any) -> Array:
        """Second derivatives of the smooth part in some of the coefficients."""
        v = self.v[columns]
        return super().hessian(second, columns) + self.pull * np.outer(v, v)


class L1LevelSet(LevelSet):
    """The models within a budget of the best under an L1 penalty."""

    @classmethod
    def at(cls, problem: Problem, start: Array, *, max_iter: int = 200) -> "L1LevelSet":
        """Find the minimiser and scale the coordinates."""
        found = problem.minimise(start)  # type: ignore[attr-defined]
        if not found.converged:
            raise UnboundedError(found.gap)
        _, _, hessian = Problem.oracle(problem, found.x)
        curvature = np.diag(hessian).copy()
        flat = curvature < 1e-8 * curvature.max(initial=0.0)
        curvature[flat] = np.diag(problem.largest_hessian())[flat]
        scale = np.sqrt(np.where(curvature > 0, curvature, 1.0))
        whiten, null = np.diag(1 / scale), np.zeros((len(scale), 0))
        data = problem.whitened(found.x, whiten)
        value = problem.value(found.x)
        return cls(
            problem, found.x, value, hessian, whiten, null, scale, data, found.n_iter
        )

    finest = 1e-6

    @property
    def differentiable(self) -> bool:
        """Not at zero coefficients."""
        return False

    @property
    def ellipsoidal(self) -> bool:
        """Never an ellipsoid."""
        return False

    def solver(self, tau: float, tol: float, max_iter: int) -> Maximiser:
        """Return the solver of extremes at a level."""
        return L1Maximiser(self.data, tau, max(tol * STRICTER, FINEST), max_iter)

    def residual(self, V: Array, found: Extremes, gradient: Array) -> Array:
        """Smallest ``grad L + xi - mu v`` over subgradients ``xi`` of the L1 norm."""
        data: Any = self.data
        r = gradient - found.multiplier[:, None] * V
        W = found.model + data.center
        at_zero = -np.clip(r, -data.lasso, data.lasso)
        return np.asarray(r + np.where(W != 0, data.lasso * np.sign(W), at_zero))
