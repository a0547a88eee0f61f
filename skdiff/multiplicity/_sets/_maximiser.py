"""Maxima of linear functionals over a level set, by Newton's method on many at once.

The maximum of ``v'u`` over ``{u : gap(u) <= budget}`` solves ``grad gap(u) = mu v``,
``gap(u) = budget``, ``mu > 0``: a path that leaves the minimiser in the direction v.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._batched import solve_systems
from skdiff._convex._newton import newton
from skdiff.multiplicity._sets._problem import Whitened

# Temporaries of (rows of a chunk) x (training rows) stay in the second-level cache.
CHUNK_CELLS = 200_000


@dataclass
class Extremes:
    """Maxima of unit directions: the widths, the models, and how far to trust them."""

    value: Array  # (m,)
    model: Array  # (m, d), whitened
    multiplier: Array  # (m,)
    residual: Array  # (m,), relative to the square root of the budget
    n_iter: int = 0

    def put(self, rows: Any, other: "Extremes") -> None:
        """Take the results of other rows."""
        self.value[rows], self.model[rows] = other.value, other.model
        self.multiplier[rows], self.residual[rows] = other.multiplier, other.residual
        self.n_iter = max(self.n_iter, other.n_iter)

    def __getitem__(self, rows: slice) -> "Extremes":
        """The results of some rows."""
        return Extremes(
            self.value[rows],
            self.model[rows],
            self.multiplier[rows],
            self.residual[rows],
            self.n_iter,
        )

    @classmethod
    def ellipsoid(cls, U: Array, tau: float) -> "Extremes":
        """The closed form of a quadratic loss, from the paths' directions."""
        m = len(U)
        return cls(np.full(m, tau), tau * U, np.full(m, tau), np.zeros(m))

    @classmethod
    def unknown(cls, d: int) -> "Extremes":
        """Return one result of which nothing is known."""
        return cls(np.array([np.inf]), np.zeros((1, d)), np.ones(1), np.array([np.inf]))

    @classmethod
    def empty(cls, m: int, d: int) -> "Extremes":
        """Return room for m results."""
        return cls(np.zeros(m), np.zeros((m, d)), np.ones(m), np.zeros(m))


@dataclass
class State:
    """One evaluation of a batch."""

    gap: Array
    reach: Array
    gradient: Array
    second: Array
    r1: Array
    r2: Array
    size: Array

    def take(self, rows: Any) -> Self:
        """The same for some rows; it uses this one up."""
        if rows.all():
            return self
        parts = vars(self) | {"second": _compact(self.second, rows)}
        kept = (v if k == "second" else v[rows] for k, v in parts.items())
        return type(self)(*kept)


def _compact(table: Array, rows: Any) -> Array:
    """Some rows of a table, moved up within it where a copy would be large."""
    if table.size <= CHUNK_CELLS or not table.flags.writeable:
        return np.asarray(table[rows])
    kept = np.flatnonzero(rows)
    for new, old in enumerate(kept.tolist()):
        if new != old:
            table[new] = table[old]
    return table[: len(kept)]


class Maximiser:
    """Maximise unit directions over a level set of radius ``tau = sqrt(2 budget)``."""

    data: Whitened

    def __init__(self, data: Any, tau: float, tol: float, max_iter: int) -> None:
        self.data, self.tau, self.tol, self.max_iter = data, tau, tol, max_iter

    def ellipsoid(self, V: Array) -> Extremes:
        """The closed form of a quadratic loss."""
        return Extremes.ellipsoid(V, self.tau)

    def both(self, V: Array) -> tuple[Extremes, Extremes]:
        """Maxima of ``-V`` and of ``V``; they share the predictor's products."""
        V2 = np.concatenate([-V, V])
        mu, U = self.predict(V)
        found = self.solve(V2, U, mu)
        return found[: len(V)], found[len(V) :]

    def predict(self, V: Array) -> tuple[Array, Array]:
        """Third-order start on the path ``w(mu)``, without a single exponential.

        The derivatives at the minimiser are ``a = v``, ``b`` and ``c`` below, and
        ``2 gap = mu^2 (1 + 2/3 mu v'b + mu^2 v'c / 4)``.
        """
        data, tau = self.data, self.tau
        if not data.loss.smooth:
            signs = np.concatenate([-V, V])
            return np.full(len(signs), tau), tau * signs
        b, c = data.curves(V)
        beta = np.einsum("ij,ij->i", V, b)
        gamma = np.einsum("ij,ij->i", V, c)
        beta, gamma = np.concatenate([-beta, beta]), np.concatenate([gamma, gamma])
        mu = np.full(len(beta), tau)
        for _ in range(4):
            inner = 1 + mu * (2 / 3 * beta + mu * gamma / 4)
            root = np.sqrt(np.maximum(inner, 1e-3))
            slope = root + mu * (2 / 3 * beta + mu * gamma / 2) / (2 * root)
            mu = mu - (mu * root - tau) / np.maximum(slope, 0.2)
        doubtful = np.abs(mu * beta) + mu**2 * np.abs(gamma) / 2 > 0.5
        mu[doubtful | (mu <= 0)] = tau
        second = np.where(doubtful, 0.0, mu**2 / 2)[:, None]
        third = np.where(doubtful, 0.0, mu**3 / 6)[:, None]
        U = mu[:, None] * np.concatenate([-V, V])
        U += second * np.concatenate([b, b]) + third * np.concatenate([-c, c])
        return mu, U

    def functional(self, V: Array, U: Array) -> tuple[Array, Array, Array | None]:
        """Values of what is maximised at U, slopes, and minus its second derivative."""
        return np.einsum("ij,ij->i", V, U), V, None

    def start(self, V: Array, level: Array) -> tuple[Array, Array]:
        """First-order points of the paths where ``sqrt(2 gap)`` is the level."""
        return level[:, None] * V, level.copy()

    def solve(self, V: Array, U: Array, mu: Array) -> Extremes:
        """Joint Newton on ``(u, mu)``; rows that do not shrink go the slow way."""
        m = len(V)
        result = Extremes.empty(m, self.data.r)
        rows = np.arange(m)
        before = np.full(m, np.inf)
        slow: list[Any] = []
        for n_iter in range(self.max_iter):
            state = self.state(V[rows], U, mu, self.tau)
            size = state.size
            done = size <= self.tol
            if done.any():
                result.put(rows[done], self.finish(state, V[rows], U, mu, done, n_iter))
            limit = 0.8 if n_iter == 0 else 0.7 * before
            lost = ~done & ~(size < limit)
            slow.append(rows[lost])
            go = ~done & ~lost
            if not go.any():
                break
            rows, before = rows[go], size[go]
            U, mu = self.step(state.take(go), V[rows], U[go], mu[go])
            del state  # the next one is not to stand beside it
        else:
            slow.append(rows)
        left = np.concatenate(slow) if slow else np.empty(0, dtype=np.intp)
        if len(left):
            result.put(left, self.continuation(V[left]))
        return result

    def state(self, V: Array, U: Array, mu: Array, tau: Any) -> State:
        """Residuals of the two optimality conditions, in units of ``tau``."""
        with np.errstate(over="ignore", invalid="ignore"):
            gap, gradient, second = self.data.evaluate(U)
            # below zero by rounding only: the minimiser's gap is zero
            reach = np.sqrt(2 * np.maximum(gap, 1e-300))
            slope = self.functional(V, U)[1]
            r1 = gradient - mu[:, None] * slope
            r2 = reach - tau
            size = np.maximum(np.sqrt(np.einsum("ij,ij->i", r1, r1)), np.abs(r2)) / tau
        size[~np.isfinite(size)] = np.inf
        return State(gap, reach, gradient, second, r1, r2, size)

    def systems(
        self, state: "State", V: Array, U: Array, mu: Array
    ) -> tuple[Array, Array, Array]:
        """Columns ``p = H^-1 v`` and ``q = H^-1 r1``, and the slope of the reach."""
        H = self.data.hessian(state.second)
        _, slope, bend = self.functional(V, U)
        if bend is not None:
            H += mu[:, None, None] * bend
        both = solve_systems(H, np.stack([slope, state.r1], axis=2))
        return both[..., 0], both[..., 1], state.gradient / state.reach[:, None]

    def step(
        self, state: "State", V: Array, U: Array, mu: Array
    ) -> tuple[Array, Array]:
        """One joint Newton step; mu stays positive."""
        p, q, G = self.systems(state, V, U, mu)
        slope = np.einsum("ij,ij->i", G, p)
        change = (np.einsum("ij,ij->i", G, q) - state.r2) / slope
        change = np.clip(np.nan_to_num(change), -0.6 * mu, 1.5 * mu)
        return U + p * change[:, None] - q, mu + change

    def finish(
        self, state: "State", V: Array, U: Array, mu: Array, rows: Any, n_iter: int
    ) -> Extremes:
        """The Lagrangian's value: of second order in the residuals."""
        U, mu = U[rows], mu[rows]
        value = self.functional(V[rows], U)[0]
        value = value + (self.tau**2 / 2 - state.gap[rows]) / mu
        return Extremes(value, U, mu, state.size[rows], n_iter)

    def continuation(self, V: Array) -> Extremes:
        """Raise each row's own level from small to full, going back where it fails."""
        m, d = len(V), self.data.r
        result = Extremes.empty(m, d)
        rows = np.arange(m)
        level = np.full(m, self.tau / 16)
        U, mu = self.start(V, level)
        good = (np.zeros((m, d)), np.zeros(m), np.zeros(m))  # U, mu, level
        factor, tries = np.full(m, 1.6), np.zeros(m, dtype=int)
        for n_iter in range(20 * self.max_iter):
            state = self.state(V[rows], U, mu, level)
            size = state.size
            done = (level >= self.tau) & (size <= self.tol)
            if done.any():
                result.put(rows[done], self.finish(state, V[rows], U, mu, done, n_iter))
            bad = ~(size < 2.0) | (tries > 12)
            go = ~done & ~(bad & (factor < 1.0 + 1e-4))
            hopeless = rows[~done & ~go]
            if len(hopeless):
                result.put(hopeless, self.one_by_one(V[hopeless]))
            if not go.any():
                break
            rows, level, tries = rows[go], level[go], tries[go]
            bad, factor, size = bad[go], factor[go], size[go]
            good = tuple(part[go] for part in good)  # type: ignore[assignment]
            U, mu, state = U[go], mu[go], state.take(go)
            ahead = (size < 0.03) & (level < self.tau)
            good[0][ahead], good[1][ahead] = U[ahead], mu[ahead]
            good[2][ahead] = level[ahead]
            p, q, G = self.systems(state, V[rows], U, mu)
            slope = np.einsum("ij,ij->i", G, p)
            target = np.where(ahead, np.minimum(self.tau, factor * level), level)
            change = np.einsum("ij,ij->i", G, q) - state.r2 + (target - level)
            change = np.clip(np.nan_to_num(change / slope), -0.6 * mu, 1.5 * mu)
            U, mu = U + p * change[:, None] - q, mu + change
            level, tries = target, np.where(ahead, 0, tries + 1)
            factor = np.where(ahead, np.minimum(1.6, factor * 1.2), factor)
            if bad.any():  # back to the last good state, with a shorter step
                factor[bad] = 1 + 0.4 * (factor[bad] - 1)
                short = np.maximum(good[2][bad], self.tau / 64) * factor[bad]
                anew = good[2][bad] == 0
                first, multiplier = self.start(V[rows][bad], short)
                U[bad] = np.where(anew[:, None], first, good[0][bad])
                mu[bad] = np.where(anew, multiplier, good[1][bad])
                level[bad], tries[bad] = np.minimum(short, self.tau), 0
            del state
        else:
            result.put(rows, self.one_by_one(V[rows]))
        return result

    def one_by_one(self, V: Array) -> Extremes:
        """Bracket each multiplier by bisection: monotone, so it cannot fail."""
        found = Extremes.empty(len(V), self.data.r)
        for k, v in enumerate(V):
            u = self._path_point(v)[None]
            slope = self.functional(v[None], u)[1][0]
            along = float(self.data.evaluate(u)[1][0] @ slope) / float(slope @ slope)
            mu = np.array([max(along, 1e-300)])
            state = self.state(v[None], u, mu, self.tau)
            found.put([k], self.finish(state, v[None], u, mu, [0], 1))
        return found

    def _path_point(self, v: Array) -> Array:
        """Point of the path ``argmin L(u) - mu v'u`` just within the level."""
        low = high = float(np.log(self.start(v[None], np.array([self.tau]))[1][0]))
        inside = self._at(v, low)
        while inside is None:
            low -= 1.0
            inside = self._at(v, low)
        while (further := self._at(v, high)) is not None and high < low + 60:
            low, inside = high, further
            high += 1.0
        while high - low > 1e-14 * max(1.0, abs(high)):
            middle = (low + high) / 2
            if middle in (low, high):
                break
            point = self._at(v, middle)
            if point is None:
                high = middle
            else:
                low, inside = middle, point
        return inside

    def _at(self, v: Array, log_mu: float) -> Array | None:
        """Minimise ``L(u) - mu v'u``; None beyond the level.

        Where nothing penalises ``v``, the loss grows linearly at most and a large
        multiplier has no minimiser: that is beyond any level too.
        """
        mu = float(np.exp(log_mu))

        def oracle(u: Array) -> tuple[float, Array, Array]:
            with np.errstate(over="ignore", invalid="ignore"):
                gap, gradient, second = self.data.evaluate(u[None])
            H = self.data.hessian(second)[0]
            value, slope, bend = self.functional(v[None], u[None])
            if bend is not None:
                H = H + mu * bend[0]
            return float(gap[0] - mu * value[0]), gradient[0] - mu * slope[0], H

        found = newton(oracle, np.zeros(self.data.r), tol=1e-13)
        if not found.converged or not np.isfinite(found.objective):
            return None
        gap = float(self.data.evaluate(found.x[None])[0][0])
        return found.x if gap <= self.tau**2 / 2 else None


def blocks_of(m: int, n: int) -> Iterator[Any]:
    step = max(8, CHUNK_CELLS // max(n, 1) // 2)
    for start in range(0, m, step):
        yield np.arange(start, min(m, start + step))
