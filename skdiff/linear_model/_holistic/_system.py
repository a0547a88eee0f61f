"""The conditions of optimality of the holistic loss, and Newton's step on them.

Every inequality has a slack S and a multiplier y whose product is to reach a target. A
row enters through six numbers, and its own variable ``M_k`` is eliminated, so that a
step costs one Gram matrix of the rows.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._newton import spd_solve
from skdiff.linear_model._holistic._pieces import NORM, NU, F, RowModel, Rows
from skdiff.linear_model._holistic._problem import HolisticProblem


class Side(NamedTuple):
    """Linear constraints of few variables: values and slopes in z."""

    value: Array
    slopes: Array


class State(NamedTuple):
    """Variables z and M; slacks and multipliers of rows and of side constraints.

    Also the changes of all of them in a step. ``y_cone`` is the multiplier of the cone
    that holds (N, w) for the norm 2.
    """

    z: Array
    M: Array
    S: Array
    y: Array
    S_side: Array
    y_side: Array
    y_cone: Array


class Local(NamedTuple):
    """Constraints at a state."""

    rows: Rows
    side: Side


def arrow(x: Array) -> Array:
    """Matrix of the product of the cone: ``(x'y, x_0 y_1 + y_0 x_1)``."""
    out = x[0] * np.eye(len(x))
    out[0], out[:, 0] = x, x
    return out


def unit(cone: Array, size: float) -> Array:
    """A multiple of the cone's unit."""
    out = np.zeros(len(cone))
    out[:1] = size
    return out


class Interior:
    """The problem in z = (w, q, nu, lambda, T, tau), where sum q is the norm."""

    def __init__(self, problem: HolisticProblem) -> None:
        self.problem, self.model = problem, RowModel(problem)
        self.D, self.d = problem.A.shape[1], problem.slopes
        attacked = problem.evasion > 0
        self.l1 = attacked and problem.dual_norm == 1
        self.n_norm = self.d if self.l1 else int(attacked)
        self.base = self.D + self.n_norm
        #: places of (N, w) in z where they lie in a second-order cone
        self.cone = np.r_[self.D, : self.d] if attacked and not self.l1 else np.r_[:0]
        self.size = self.base + 4
        used = np.ones(self.size, dtype=bool)
        model = self.model
        used[self.base : self.base + 2] = model.tilts
        used[self.base + 2] = model.moves
        used[self.base + 3] = model.moves and not model.all_moved
        self.used = used
        cost = np.zeros(self.size)
        cost[self.base :] = 1.0, problem.radius, 0.0, problem.poisoning
        if model.all_moved:
            cost[self.base + 2] = 1.0
        self.cost = np.where(used, cost, 0.0)
        self.ridge = np.zeros(self.size)
        self.ridge[: self.D] = problem.ridge

    def shared(self, z: Array) -> Array:
        """N, nu, lambda, T and tau."""
        return np.concatenate([[z[self.D : self.base].sum()], z[self.base :]])

    def local(self, z: Array, M: Array) -> Local | None:
        """Constraints at a point of their domain."""
        rows = self.model.at(self.problem.A @ z[: self.D], self.shared(z), M)
        return None if rows is None else Local(rows, self._side(z))

    def norm(self, z: Array) -> float:
        """Dual norm of the coefficients, or infinity where it plays no part."""
        return float(z[self.D : self.base].sum()) if self.n_norm else np.inf

    def room(self, z: Array) -> Array:
        """``lambda - t``, which is positive in the domain."""
        if not self.model.tilts:
            return np.ones(1)
        return self.model.room(self.problem.A @ z[: self.D], self.shared(z))

    def _side(self, z: Array) -> Side:
        """The norm of sums, and signs of lambda and of T under a hinge."""
        D, d, b = self.D, self.d, self.base
        values: list[float] = []
        slopes: list[Array] = []
        v = z[:d]
        if self.l1:
            eye = np.eye(self.size)
            for sign in (1.0, -1.0):
                values += (sign * v - z[D : D + d]).tolist()
                slopes += list(sign * eye[:d] - eye[D : D + d])
        for place, wanted in (
            (b + 1, self.model.tilts),
            (b + 2, self.model.pieces.floor and self.model.moves),
        ):
            if wanted:
                values.append(-float(z[place]))
                slopes.append(-np.eye(self.size)[place])
        return Side(np.array(values), np.array(slopes).reshape(-1, self.size))

    def start(self) -> State:
        """No coefficients, and slacks of about one."""
        problem, model = self.problem, self.model
        z = np.zeros(self.size)
        z[self.D : self.base] = 1.0 / self.n_norm if self.n_norm else 0.0
        f = np.zeros(len(problem.s))
        losses = model.losses(f, float(self.n_norm > 0))
        mean = float(problem.s @ losses)
        largest = max(float(losses.max()), 1.0)  # whose square may be infinite
        spread = largest * float(np.sqrt(problem.s @ ((losses - mean) / largest) ** 2))
        spread = max(spread, 0.1)
        top = float(losses.max()) + spread
        if model.tilts:
            lam = spread / np.sqrt(2 * problem.radius)
            z[self.base : self.base + 2] = mean, lam + 2 * (top - mean)
        if model.moves:
            z[self.base + 2] = top
            z[self.base + 3] = 0.0 if model.all_moved else top - mean
        here = self.local(z, np.zeros(len(f)))
        assert here is not None
        rows = here.rows
        M = rows.value[rows.in_M].max(axis=0, initial=-np.inf) + spread
        if not rows.in_M.any():
            M = np.zeros(len(f))
        value = rows.value - np.outer(rows.in_M, M)
        S = np.maximum(-value, 0.1 * spread)
        parts = max(int(rows.in_M.sum()), 1)
        y = np.ones(rows.value.shape) * problem.s / parts
        S_side = np.maximum(-here.side.value, 0.1 * spread)
        y_cone = np.zeros(len(self.cone))
        y_cone[:1] = 0.1
        return State(z, M, S, y, S_side, np.full(len(S_side), 0.1), y_cone)


class System:
    """The linear system of a state, factored once for both steps."""

    def __init__(self, interior: Interior, at: State, here: Local) -> None:
        self.interior, self.at, self.here = interior, at, here
        problem, rows = interior.problem, here.rows
        model = interior.model
        self.simple = model.simple
        # a row with one constraint has the multiplier s_k, whatever its slack
        self.y = np.where(self.simple, problem.s, at.y)
        self.D = np.zeros_like(at.y) if self.simple else at.y / at.S
        self.D_side = at.y_side / at.S_side
        weighted = self.D[..., None] * rows.slopes
        total = np.tensordot(rows.slopes, weighted, ([0, 1], [0, 1]))
        curve = np.einsum("cnk,cn->nk", weighted, rows.slopes[..., F])
        if rows.of:
            bowed = (rows.weights * self.y[rows.of])[..., None] * rows.bows
            total += np.tensordot(rows.bows, bowed, ([0, 1], [0, 1]))
            curve += np.einsum("cnk,cn->nk", bowed, rows.bows[..., F])
        self.pull = weighted[rows.in_M].sum(axis=0)
        self.whole = self.D[rows.in_M].sum(axis=0)
        self.has_M = bool(rows.in_M.any()) and not self.simple
        if self.has_M:
            part = self.pull / self.whole[:, None]
            total -= self.pull.T @ part
            curve -= self.pull[:, :1] * part
        #: second derivative of the rows in their outputs
        self.row_curve = np.maximum(curve[:, F], 0.0)
        self.H = self._matrix(total, curve)

    def _matrix(self, total: Array, curve: Array) -> Array:
        interior, A = self.interior, self.interior.problem.A
        D, b = interior.D, interior.base
        H = np.zeros((interior.size, interior.size))
        H[:D, :D] = (A.T * self.row_curve) @ A
        cross = A.T @ curve[:, NORM:]
        H[:D, D:b], H[:D, b:] = cross[:, :1], cross[:, 1:]
        H[D:b, D:b], H[D:b, b:] = total[NORM, NORM], total[NORM, NU:]
        H[b:, b:] = total[NU:, NU:]
        H[D:, :D] = H[:D, D:].T
        H[b:, D:b] = H[D:b, b:].T
        side = self.here.side
        H += (side.slopes.T * self.D_side) @ side.slopes
        cone = interior.cone
        if len(cone):
            self.back = np.linalg.inv(arrow(self.at.z[cone]))
            H[np.ix_(cone, cone)] += self.back @ arrow(self.at.y_cone)
        H[np.diag_indices_from(H)] += interior.ridge
        off = ~interior.used
        H[off], H[:, off] = 0.0, 0.0
        H[off, off] = 1.0
        return H

    def _gradient(self, omega: Array) -> Array:
        """Pull of multipliers of the rows on z."""
        g = np.einsum("cn,cnk->nk", omega, self.here.rows.slopes)
        return self._gathered(g)

    def _gathered(self, g: Array) -> Array:
        interior = self.interior
        out = np.zeros(interior.size)
        out[: interior.D] = interior.problem.A.T @ g[:, F]
        sums = g.sum(axis=0)
        out[interior.D : interior.base] = sums[NORM]
        out[interior.base :] = sums[NU:]
        return out

    def residual(self, goal: float) -> float:
        """Size of what Newton's method brings to zero; rows count by their weights."""
        interior, at = self.interior, self.at
        g = self._gradient(self.y)
        g += self.here.side.slopes.T @ at.y_side
        g += interior.cost + interior.ridge * at.z
        side = self.here.side
        cone = interior.cone
        g[cone] -= at.y_cone
        total = float(np.sum(g[interior.used] ** 2))
        if len(cone):
            total += float(
                np.sum((arrow(at.z[cone]) @ at.y_cone - unit(cone, goal)) ** 2)
            )
        total += float(np.sum((side.value + at.S_side) ** 2))
        total += float(np.sum((at.S_side * at.y_side - goal) ** 2))
        if not self.simple:
            s = interior.problem.s
            total += float(np.sum((self.here.rows.value + at.S) ** 2 @ s))
            total += float(np.sum((at.S * at.y - goal * s) ** 2 / s))
        if self.has_M:
            rest = s - at.y[self.here.rows.in_M].sum(axis=0)
            total += float(np.sum(rest**2 / s))
        return float(np.sqrt(total))

    def step(self, target: Array, target_side: Array, target_cone: Array) -> State:
        """Newton's step to products ``S y`` of the given sizes."""
        interior, at, rows, side = (
            self.interior,
            self.at,
            self.here.rows,
            self.here.side,
        )
        if self.simple:
            omega, missing = self.y, np.zeros_like(at.S)
        else:
            missing = rows.value + at.S
            omega = target / at.S + self.D * missing
        missing_side = side.value + at.S_side
        omega_side = target_side / at.S_side + self.D_side * missing_side
        gradient = self._gradient(omega)
        if self.has_M:
            left = interior.problem.s - omega[rows.in_M].sum(axis=0)
            gradient = gradient + self._gathered(
                self.pull * (left / self.whole)[:, None]
            )
        gradient += side.slopes.T @ omega_side + interior.cost
        gradient += interior.ridge * at.z
        cone = interior.cone
        if len(cone):
            gradient[cone] -= self.back @ target_cone
        gradient[~interior.used] = 0.0
        dz = -self._solved(gradient)
        moved = np.empty((len(at.M), 6))
        moved[:, F] = interior.problem.A @ dz[: interior.D]
        moved[:, NORM:] = interior.shared(dz)
        dM = np.zeros_like(at.M)
        if self.has_M:
            dM = (np.einsum("nk,nk->n", self.pull, moved) - left) / self.whole
        slope = np.einsum("cnk,nk->cn", rows.slopes, moved) - np.outer(rows.in_M, dM)
        if self.simple:
            dS, dy = np.zeros_like(at.S), np.zeros_like(at.y)
        else:
            dS = -(missing + slope)
            dy = target / at.S - at.y - self.D * dS
        dS_side = -(missing_side + side.slopes @ dz)
        dy_side = target_side / at.S_side - at.y_side - self.D_side * dS_side
        dy_cone = np.zeros(0)
        if len(cone):
            pulled = target_cone - arrow(at.y_cone) @ dz[cone]
            dy_cone = self.back @ pulled - at.y_cone
        return State(dz, dM, dS, dy, dS_side, dy_side, dy_cone)

    def _solved(self, gradient: Array) -> Array:
        """The matrix is symmetric but for the part of the cone."""
        if not len(self.interior.cone):
            return spd_solve(self.H, gradient)
        scale = np.sqrt(np.maximum(np.diag(self.H), 1e-300))
        try:
            return np.asarray(
                np.linalg.solve(self.H / scale / scale[:, None], gradient / scale)
                / scale
            )
        except np.linalg.LinAlgError:
            return np.full(len(gradient), np.nan)
