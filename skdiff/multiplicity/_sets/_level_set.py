"""Extreme values of linear functionals over the models within a loss budget.

For data ``X`` (intercept included as a column), weights ``s`` that sum to one and a
quadratic penalty, the level set is ``S = {w : L(w) <= L* + budget}`` with ``L(w) =
sum_i s_i loss(x_i'w, y_i) + w' P w / 2``. The maximum of ``v'w`` over S is the solution
of ``grad L(w) = mu v``, ``L(w) = L* + budget``, ``mu > 0``: a path that leaves the
minimiser in the direction ``H^-1 v``. All directions are solved together.

Coordinates are whitened by the Hessian at the minimiser, so that it is the identity
there: columns of any scale, and a norm that measures what matters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.typing import Array
from skdiff._convex._batched import Hessians, solve_systems
from skdiff._convex._losses import Logistic, Loss, Softplus
from skdiff._convex._newton import newton

# Temporaries of (rows of a chunk) x (training rows) stay in the second-level cache.
CHUNK_CELLS = 200_000
# A direction in which the Hessian is this much flatter than in the steepest one, in
# units where every column has curvature one, is one the data say nothing about.
FLAT = 1e-11

# With a best loss above this, rounding of single saturated rows is out of sight.
COARSE = 1e-6


@dataclass
class Problem:
    """The objective whose level set is meant."""

    X: Array
    y: Array
    s: Array
    penalty: Array  # the diagonal of P
    loss: Loss
    lasso: Array | None = None  # strengths of an L1 norm, where there is one

    def oracle(self, w: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian."""
        f = self.X @ w
        value, first, second = self.loss.evaluate(f, self.y, 2)
        total = float(self.s @ value) + float(self.penalty @ w**2) / 2
        gradient = self.X.T @ (self.s * first) + self.penalty * w
        hessian = (self.X.T * (self.s * second)) @ self.X + np.diag(self.penalty)
        return total, gradient, hessian

    def value(self, w: Array) -> float:
        """Return the objective."""
        (value,) = self.loss.evaluate(self.X @ w, self.y, 0)
        total = float(self.s @ value) + float(self.penalty @ w**2) / 2
        return total if self.lasso is None else total + float(self.lasso @ np.abs(w))

    def row_losses(self, X: Array, y: Array, w: Array) -> Array:
        """Return the losses of other rows."""
        return self.loss.evaluate(X @ w, y, 0)[0]

    def representative(self, w: Array) -> Array:
        """Return the model that stands for all with the same predictions."""
        return w

    def whitened(self, center: Array, whiten: Array) -> "Whitened":
        """Return the objective in the coordinates ``w = center + whiten @ u``."""
        return Whitened(self, center, whiten)

    def largest_hessian(self) -> Array:
        """Return the Hessian if every row were on the curved side of its kink."""
        return (self.X.T * self.s) @ self.X + np.diag(self.penalty)


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

    @classmethod
    def empty(cls, m: int, d: int) -> "Extremes":
        """Return room for m results."""
        return cls(np.zeros(m), np.zeros((m, d)), np.ones(m), np.zeros(m))


@dataclass
class LevelSet:
    """The models within a budget of the best one, ready to be asked."""

    problem: Problem
    center: Array
    objective: float
    hessian: Array
    whiten: Array  # (d, r): w = center + whiten @ u
    null: Array  # (d, d - r): directions that change nothing
    scale: Array  # (d,): root of the Hessian's diagonal
    data: "Whitened" = field(repr=False)
    n_iter: int = 0

    @classmethod
    def at(cls, problem: Problem, start: Array, *, max_iter: int = 200) -> "LevelSet":
        """Find the minimiser and whiten; raise where there is none."""
        found = newton(problem.oracle, start, tol=1e-12, max_iter=max_iter)
        found = found._replace(x=problem.representative(found.x))
        value, _, hessian = problem.oracle(found.x)
        if not np.isfinite(value) or not np.all(np.isfinite(hessian)):
            raise ValueError("The objective is not finite. Rescale the columns of X.")
        if not found.converged and found.gap > 1e-6 * max(1.0, np.sqrt(abs(value))):
            raise UnboundedError(found.gap)
        whiten, null, scale = _whitening(hessian)
        if not problem.loss.smooth and null.shape[1]:
            # rows beyond their kink have no curvature here, but elsewhere in the set
            whiten, null, scale = _whitening(problem.largest_hessian())
        data = problem.whitened(found.x, whiten)
        return cls(
            problem, found.x, value, hessian, whiten, null, scale, data, found.n_iter
        )

    @property
    def dimension(self) -> int:
        """Number of parameters that the data determine."""
        return int(self.whiten.shape[1])

    def arrays(self) -> dict[str, Any]:
        """What :meth:`restore` needs besides the problem."""
        names = ("center", "objective", "hessian", "whiten", "null", "scale", "n_iter")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def restore(cls, problem: Problem, **arrays: Any) -> "LevelSet":
        """Rebuild a level set to the bit, without another polish."""
        data = problem.whitened(arrays["center"], arrays["whiten"])
        return cls(problem=problem, data=data, **arrays)

    def maxima(
        self,
        V: Array,
        budget: float,
        *,
        tol: float = 1e-4,
        max_iter: int = 60,
        n_jobs: int | None = None,
        tick: Callable[[], Any] | None = None,
    ) -> tuple[Array, Extremes, Extremes]:
        """Return norms of the directions and the extremes of both signs.

        The range of ``v'w`` is ``v'center + norm * [-lower.value, upper.value]``;
        directions the data do not bound get an infinite norm.
        """
        U, norms = self.whitened_directions(V)
        solver = self.solver(np.sqrt(2 * budget), tol, max_iter)
        if self.ellipsoidal:
            return norms, solver.ellipsoid(-U), solver.ellipsoid(U)
        chunks = list(_chunks(len(U), self.data.n))
        parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        lower = Extremes.empty(len(U), U.shape[1])
        upper = Extremes.empty(len(U), U.shape[1])
        pairs = parallel(delayed(solver.both)(U[rows]) for rows in chunks)
        for rows, (low, high) in zip(chunks, pairs, strict=True):
            lower.put(rows, low)
            upper.put(rows, high)
            if tick is not None:
                tick()
        return norms, lower, upper

    @property
    def differentiable(self) -> bool:
        """Whether ``data.evaluate`` gives the whole gradient of the objective."""
        return True

    @property
    def ellipsoidal(self) -> bool:
        """Whether the set is an ellipsoid, whose extremes are a formula."""
        return self.problem.loss.quadratic

    def solver(self, tau: float, tol: float, max_iter: int) -> "Maximiser":
        """Return the solver of extremes at a level."""
        return Maximiser(self.data, tau, tol, max_iter)

    def residual(self, V: Array, found: Extremes, gradient: Array) -> Array:
        """What is left of the gradient condition."""
        return gradient - found.multiplier[:, None] * V

    def whitened_directions(self, V: Array) -> tuple[Array, Array]:
        """Unit directions in whitened coordinates, and the norms they had."""
        U = V @ self.whiten
        norms = np.sqrt(np.einsum("ij,ij->i", U, U))
        U = U / np.where(norms > 0, norms, 1.0)[:, None]
        U[norms == 0, :1] = 1.0  # any direction will do: it is multiplied by zero
        if self.null.shape[1]:
            outside = np.abs(V @ self.null).max(axis=1, initial=0.0)
            size = np.linalg.norm(V / self.scale, axis=1)
            norms[outside > 1e-7 * size] = np.inf
        return U, norms

    def radius(self, budget: float) -> float:
        """Radius of a ball around the centre that holds the level set.

        Its extremes along the axes make a box; doubled, it covers their residuals.
        """
        axes = np.eye(self.whiten.shape[1])
        tau = np.sqrt(2 * budget)
        solver = self.solver(tau, 1e-6, 60)
        ends = (
            (solver.ellipsoid(-axes), solver.ellipsoid(axes))
            if self.ellipsoidal
            else solver.both(axes)
        )
        return 2 * float(np.linalg.norm(np.maximum(ends[0].value, ends[1].value)))

    def errors(
        self, V: Array, budget: float, *, tol: float, max_iter: int, n_jobs: int | None
    ) -> Array:
        """Proven distances (m, 2) of the reported ends from the true ones."""
        norms, low, high = self.maxima(
            V, budget, tol=tol, max_iter=max_iter, n_jobs=n_jobs
        )
        U, _ = self.whitened_directions(V)
        radius = self.radius(budget)
        pairs = (
            self.error_bound(sign * U, part, budget, radius)
            for sign, part in ((-1, low), (1, high))
        )
        return np.column_stack(list(pairs)) * norms[:, None]

    def error_bound(
        self, V: Array, found: Extremes, budget: float, radius: float
    ) -> Array:
        """Distance between a proven upper end and a feasible point's value.

        For every w in the set, ``v'w <= v'w0 + (budget - gap(w0)) / mu + |r'(w - w0)| /
        mu`` with ``r = grad L(w0) - mu v``; and ``gap`` is convex along the ray from
        the centre, so shrinking ``w0`` by ``budget / gap`` makes it feasible.
        """
        gap, gradient, _ = self.data.evaluate(found.model)
        r = self.residual(V, found, gradient)
        reach = np.einsum("ij,ij->i", V, found.model)
        slack = (budget - gap) / found.multiplier
        size = np.sqrt(np.einsum("ij,ij->i", r, r))
        outer = reach + slack + size * 2 * radius / found.multiplier
        inner = reach * np.minimum(1.0, budget / np.maximum(gap, 1e-300))
        return np.maximum(outer - inner, 0.0)

    def models(self, U: Array) -> Array:
        """Weights (m, d) of whitened points."""
        return self.center + U @ self.whiten.T


def _whitening(hessian: Array) -> tuple[Array, Array, Array]:
    """Coordinates in which the matrix is the identity, its null space, its scale."""
    scale = np.sqrt(np.diag(hessian))
    scale[scale == 0] = 1.0
    values, vectors = np.linalg.eigh(hessian / scale / scale[:, None])
    kept = values > FLAT * max(values.max(initial=0.0), 1e-300)
    whiten = vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None]
    return whiten, vectors[:, ~kept] / scale[:, None], scale


class UnboundedError(ValueError):
    """The objective has no minimiser."""

    def __init__(self, gap: float) -> None:
        super().__init__(f"Newton's method stopped with a decrement of {gap:.2g}.")


class Whitened:
    """The objective around its minimiser, in whitened coordinates ``u``."""

    def __init__(self, problem: Problem, center: Array, whiten: Array) -> None:
        self.loss, self.y, self.s = problem.loss, problem.y, problem.s
        X, self.f0 = problem.X @ whiten, problem.X @ center
        if isinstance(self.loss, Logistic):  # the label turns into the row's sign
            sign = 1.0 - 2.0 * self.y
            X, self.f0 = sign[:, None] * X, sign * self.f0
            self.loss = Softplus(precise=problem.value(center) < COARSE)
            self.y = np.zeros(1)
        self.X = np.ascontiguousarray(X)
        self.weighted_X = self.s[:, None] * self.X
        self.n, self.r = self.X.shape
        self.P = (whiten.T * problem.penalty) @ whiten
        self.g0 = whiten.T @ (problem.penalty * center)
        parts = self.loss.evaluate(self.f0, self.y, 4)
        self.base = float(self.s @ parts[0])
        self.first = self.s * parts[1]
        self.h3, self.h4 = self.s * parts[3], self.s * parts[4]
        self._hessians: Hessians | None = None

    @property
    def hessians(self) -> Hessians:
        """Tabulated on first use: an ellipsoid never asks."""
        if self._hessians is None:
            self._hessians = Hessians(self.X, self.s)
        return self._hessians

    def evaluate(self, U: Array) -> tuple[Array, Array, Array]:
        """Gaps ``L - L*``, gradients, and second derivatives of the rows."""
        F = U @ self.X.T
        F += self.f0
        value, first, second = self.loss.evaluate(F, self.y, 2)
        UP = U @ self.P
        gap = value @ self.s - self.base
        gap += U @ self.g0 + np.einsum("ij,ij->i", UP, U) / 2
        gradient = first @ self.weighted_X + UP + self.g0
        return gap, gradient, second

    def hessian(self, second: Array) -> Array:
        """Hessians (m, r, r) from what :meth:`evaluate` returned."""
        return self.hessians(second) + self.P

    def curves(self, V: Array) -> tuple[Array, Array]:
        """Second and third derivative at the minimiser of the paths along V."""
        A = V @ self.X.T
        A2 = A * A
        b = -((A2 * self.h3) @ self.X)
        inner = b @ self.X.T
        inner *= 3 * self.h3
        A2 *= self.h4
        inner += A2
        inner *= A
        return b, -(inner @ self.X)


class Maximiser:
    """Maximise unit directions over a level set of radius ``tau = sqrt(2 budget)``."""

    def __init__(self, data: Whitened, tau: float, tol: float, max_iter: int) -> None:
        self.data, self.tau, self.tol, self.max_iter = data, tau, tol, max_iter

    def ellipsoid(self, V: Array) -> Extremes:
        """The closed form of a quadratic loss."""
        m = len(V)
        return Extremes(
            np.full(m, self.tau), self.tau * V, np.full(m, self.tau), np.zeros(m), 0
        )

    def both(self, V: Array) -> tuple[Extremes, Extremes]:
        """Maxima of ``-V`` and of ``V``; they share the predictor's products."""
        V2 = np.concatenate([-V, V])
        mu, U = self.predict(V)
        found = self.solve(V2, U, mu)
        m = len(V)
        return tuple(
            Extremes(
                found.value[half],
                found.model[half],
                found.multiplier[half],
                found.residual[half],
                found.n_iter,
            )
            for half in (slice(0, m), slice(m, None))
        )  # type: ignore[return-value]

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
        else:
            slow.append(rows)
        left = np.concatenate(slow) if slow else np.empty(0, dtype=np.intp)
        if len(left):
            result.put(left, self.continuation(V[left]))
        return result

    def state(self, V: Array, U: Array, mu: Array, tau: Any) -> "State":
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

    def take(self, rows: Any) -> "State":
        """The same for some rows."""
        if rows.all():
            return self
        return State(*(part[rows] for part in vars(self).values()))


def _chunks(m: int, n: int) -> Iterator[Any]:
    step = max(16, CHUNK_CELLS // max(n, 1) // 2)
    for start in range(0, m, step):
        yield np.arange(start, min(m, start + step))
