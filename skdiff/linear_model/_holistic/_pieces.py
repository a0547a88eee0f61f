"""Row losses as the largest of smooth convex pieces of the output and the norm.

A row's loss is ``max_j phi(u_j)`` with ``u_j`` affine in its output f and in the norm N
of the coefficients, and for the hinge zero as well. By duality the worst mean is the
least over nu, lambda, T and tau of ``nu + lambda r + poisoning tau + sum s_k M_k``
where ``M_k`` exceeds ``g(phi(u_jk) - nu)`` and ``g(T - nu) - tau``, T exceeds all
losses, and ``g(t) = -lambda log(1 - t / lambda)``; without a radius ``g(t) = t``.

Every constraint of a row depends on six numbers only, (f, N, nu, lambda, T, tau).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from skdiff._base.typing import Array
from skdiff.linear_model._holistic._problem import HolisticProblem

F, NORM, NU, LAM, TOP, TAU = range(6)


class Phi(NamedTuple):
    """Values of a piece and two derivatives in u."""

    value: Array
    first: Array
    second: Array


def phi(loss: str, u: Array, evasion: float) -> Phi:
    """The scalar convex function of a loss."""
    one = np.ones_like(u)
    if loss == "logistic":
        p = expit(u)
        return Phi(np.logaddexp(0.0, u), p, p * (1 - p))
    if loss in ("hinge", "absolute"):
        return Phi(u, one, 0 * one)
    if loss == "squared" and evasion <= 0:
        return Phi(u * u, 2 * u, 2 * one)
    on = np.maximum(u, 0.0)
    return Phi(on * on, 2 * on, np.where(u > 0, 2.0, 0.0))


class Pieces(NamedTuple):
    """``u_j = turn_j f + shift_j + evasion N``; whether zero is a piece too."""

    turn: Array
    shift: Array
    floor: bool


def pieces_of(problem: HolisticProblem) -> Pieces:
    """Pieces of all rows, arrays of shape (pieces, n)."""
    y, loss = problem.y, problem.loss
    if loss == "squared" and problem.evasion <= 0:
        return Pieces(np.ones((1, len(y))), -y[None], False)
    if loss in ("squared", "absolute"):
        one = np.ones(len(y))
        return Pieces(np.stack([one, -one]), np.stack([-y, y]), False)
    level = 0.0 if loss == "logistic" else 1.0
    return Pieces(-y[None], np.full((1, len(y)), level), loss == "hinge")


class Bent(NamedTuple):
    """``g`` at t with its slopes in t and lambda, ``t / lambda`` and the curvature."""

    value: Array
    slope: Array
    in_lam: Array
    x: Array
    curve: Array


def bend(t: Array, lam: float) -> Bent:
    """``-lambda log(1 - t / lambda)``, or t where lambda is infinite."""
    if lam == np.inf:
        zero = np.zeros_like(t)
        return Bent(t, zero + 1.0, zero, zero, zero)
    x = t / lam
    log, slope = -np.log1p(-x), 1 / (1 - x)
    return Bent(lam * log, slope, log - x * slope, x, slope**2 / lam)


class Rows(NamedTuple):
    """Constraints ``value <= 0`` of the rows; those in M have ``-M_k`` in them.

    ``bows`` are vectors whose outer products, times ``weights`` and a multiplier each,
    are the second derivatives; ``of`` tells the constraint each belongs to.
    """

    value: Array
    slopes: Array
    bows: Array
    weights: Array
    of: list[int]
    in_M: Array


class RowModel:
    """The constraints of the rows at (f, N, nu, lambda, T, tau) and M."""

    def __init__(self, problem: HolisticProblem) -> None:
        self.problem, self.pieces = problem, pieces_of(problem)
        self.all_moved = problem.poisoning >= 1
        self.moves = problem.poisoning > 0
        self.tilts = problem.radius > 0 and not self.all_moved
        J = len(self.pieces.turn)
        #: whether rows have one constraint each, which then is no constraint
        self.simple = J == 1 and not (self.pieces.floor or self.moves)
        in_M = [] if self.all_moved else [True] * J
        if not self.all_moved:
            in_M += [True] * self.pieces.floor + [True] * self.moves
        if self.moves:
            in_M += [False] * J
        self.in_M = np.array(in_M)

    def outputs(self, f: Array, N: float) -> Array:
        """``u`` of all pieces."""
        p = self.pieces
        return np.asarray(p.turn * f + p.shift + self.problem.evasion * N)

    def room(self, f: Array, shared: Array) -> Array:
        """``lambda - t`` of everything that g is taken of."""
        N, nu, lam, top, _ = shared
        losses = self.losses(f, N)
        return lam - (np.append(losses, top) if self.moves else losses) + nu

    def losses(self, f: Array, N: float) -> Array:
        """Losses of the rows."""
        value = phi(self.problem.loss, self.outputs(f, N), self.problem.evasion).value
        top = value.max(axis=0)
        return np.maximum(top, 0.0) if self.pieces.floor else top

    def at(self, f: Array, shared: Array, M: Array) -> Rows | None:
        """Values and derivatives; None outside of the domain of g."""
        N, nu, lam, top, tau = shared
        problem, n = self.problem, len(f)
        p = phi(problem.loss, self.outputs(f, N), problem.evasion)
        in_u = np.zeros((len(p.value), n, 6))
        in_u[..., F], in_u[..., NORM] = self.pieces.turn, problem.evasion
        lam = lam if self.tilts else np.inf
        values: list[Array] = []
        slopes: list[Array] = []
        bows: list[Array] = []
        weights: list[Array] = []
        of: list[int] = []

        def bow(vectors: Array, weight: Array) -> None:
            bows.append(vectors)
            weights.append(weight)
            of.append(len(values))

        def constraint(value: Array, slope: Array) -> None:
            values.append(value)
            slopes.append(slope)

        def bent(t: Array, around: Array) -> Array | None:
            """Append g(t) less M, where t has the slopes ``around``."""
            if not t.max() < lam:
                return None
            g = bend(t, lam)
            if self.tilts:
                around[..., LAM] = -g.x
                bow(around, g.curve)
            slope = g.slope[..., None] * around
            if self.tilts:
                slope[..., LAM] = g.in_lam
            constraint(g.value - M, slope)
            return g.slope

        for j in range(len(p.value)) if not self.all_moved else ():
            around = p.first[j, :, None] * in_u[j]
            around[:, NU] = -float(self.tilts)
            slope = bent(p.value[j] - nu, around)
            if slope is None:
                return None
            if np.any(p.second[j]):
                bows.append(in_u[j])
                weights.append(slope * p.second[j])
                of.append(len(values) - 1)
        one = np.zeros((n, 6))
        one[:, NU] = -float(self.tilts)
        floor = self.pieces.floor and not self.all_moved
        if floor and bent(np.full(n, -nu), one.copy()) is None:
            return None
        if self.moves and not self.all_moved:
            one[:, TOP] = 1.0
            if bent(np.full(n, top - nu), one) is None:
                return None
            values[-1] = values[-1] - tau
            slopes[-1][:, TAU] = -1.0
        for j in range(len(p.value)) if self.moves else ():
            if np.any(p.second[j]):
                bow(in_u[j], p.second[j])
            slope = p.first[j, :, None] * in_u[j]
            slope[:, TOP] = -1.0
            constraint(p.value[j] - top, slope)
        return Rows(
            np.array(values),
            np.array(slopes),
            np.array(bows).reshape(-1, n, 6),
            np.array(weights).reshape(-1, n),
            of,
            self.in_M,
        )
