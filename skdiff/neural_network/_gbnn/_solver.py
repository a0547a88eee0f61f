"""A shallow network grown by boosting: the numbers.

``F_t = F_{t-1} + rho_t (h_t V_t + c_t)`` with a block ``h_t`` of logistic units fitted
to the negative gradient of the loss by least squares. For given units the output
weights of a block are a ridge regression, so L-BFGS moves the units alone. Weights of
rows sum to one throughout.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, softmax

from skdiff._base.progress import Progress
from skdiff._base.typing import Array
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff._convex._newton import spd_solve

SMALL_SAMPLE = 50  # a sample of fewer rows does not determine a block: all are used
DONE = 1e-10  # residuals below this leave nothing to fit
MEMORY = 10
# gain of an iteration, as a share of the residuals' variance: later blocks make up for
# what an unfinished one leaves, and finishing it costs most of the iterations
SETTLED = 1e-4
HALVINGS = 30


class Block(NamedTuple):
    """Units (d + 1, J), biases in the last row; output weights (J, K); shift (K,)."""

    units: Array
    out: Array
    shift: Array


class Rows(NamedTuple):
    """Rows with a last column of ones, targets, and weights that sum to one."""

    X: Array
    Y: Array
    s: Array

    def take(self, which: Any) -> "Rows":
        """Some of the rows, their weights scaled to sum to one."""
        s = self.s[which]
        return Rows(self.X[which], self.Y[which], s / s.sum())


class Limits(NamedTuple):
    """How to grow, and when to stop."""

    sizes: list[int]
    learning_rate: float
    subsample: float
    max_iter: int
    alpha: float
    n_iter_no_change: int | None
    tol: float


class Step(NamedTuple):
    """One step of boosting: its block, which includes the step size, and its losses."""

    block: Block
    size: float
    train_loss: float
    held_loss: float | None


@dataclass
class Growth:
    """What boosting leaves behind."""

    start: Array
    steps: list[Step] = field(default_factory=list)
    stopped: str = "n_hidden"

    @property
    def blocks(self) -> list[Block]:
        """The blocks of all steps."""
        return [step.block for step in self.steps]

    @property
    def held_loss(self) -> list[float]:
        """Losses of the validation set, if there is one."""
        return [x.held_loss for x in self.steps if x.held_loss is not None]


# --- losses -------------------------------------------------------------------------


class Squares:
    """Squared error of standardised targets, told in their own units."""

    def __init__(self, scale: Array) -> None:
        self.scale = scale

    def start(self, Y: Array, s: Array) -> Array:
        """The mean."""
        return s @ Y

    def loss(self, F: Array, Y: Array, s: Array) -> float:
        """Weighted mean, averaged over outputs."""
        with np.errstate(over="ignore"):
            return float(np.mean(s @ (F - Y) ** 2 * self.scale**2))

    def residual(self, F: Array, Y: Array) -> Array:
        """Negative gradient."""
        return Y - F

    def step(self, h: Array, r: Array, F: Array, Y: Array, s: Array) -> float:
        """Least squares needs no correction."""
        return 1.0


class TwoClasses:
    """``log(1 + exp(-2 y F))`` for y of -1 and 1; F is half the log odds."""

    def start(self, Y: Array, s: Array) -> Array:
        """Half the log odds of the table."""
        mean = s @ Y
        return 0.5 * np.log((1.0 + mean) / (1.0 - mean))

    def loss(self, F: Array, Y: Array, s: Array) -> float:
        """Weighted mean."""
        return float(s @ np.logaddexp(0.0, -2.0 * Y * F)[:, 0])

    def residual(self, F: Array, Y: Array) -> Array:
        """Negative gradient."""
        return 2.0 * Y * expit(-2.0 * Y * F)

    def step(self, h: Array, r: Array, F: Array, Y: Array, s: Array) -> float:
        """Newton's step along h."""
        w = s[:, None]
        return _ratio((w * r * h).sum(), (w * h**2 * r * (2.0 * Y - r)).sum())


class ManyClasses:
    """Log loss of the softmax of F, for Y one column a class."""

    def start(self, Y: Array, s: Array) -> Array:
        """Logarithms of the shares of the classes, of mean zero."""
        # a class may be absent from the training part of a split
        logs = np.log(np.maximum(s @ Y, 1e-6))
        return logs - logs.mean()

    def loss(self, F: Array, Y: Array, s: Array) -> float:
        """Weighted mean."""
        top = F.max(axis=1, keepdims=True)
        total = np.log(np.exp(F - top).sum(axis=1)) + top[:, 0]
        return float(s @ (total - (Y * F).sum(axis=1)))

    def residual(self, F: Array, Y: Array) -> Array:
        """Negative gradient."""
        return Y - softmax(F, axis=1)

    def step(self, h: Array, r: Array, F: Array, Y: Array, s: Array) -> float:
        """Newton's step along h, with the diagonal of the Hessian."""
        w, p = s[:, None], Y - r
        return _ratio((w * h * r).sum(), (w * h**2 * p * (1.0 - p)).sum())


Loss = Squares | TwoClasses | ManyClasses


def strictness(loss: Loss, Y: Array, s: Array) -> float:
    """By what the penalty grows for rare events: the odds of the commoner class.

    Residuals are scaled to unit variance before a block is fitted, so a handful of
    events would be fitted as readily as half of the rows, and Newton's step then
    divides by their small curvature.
    """
    if not isinstance(loss, TwoClasses):
        return 1.0
    share = float(s @ (Y[:, 0] > 0))
    return max(share, 1.0 - share) / min(share, 1.0 - share)


def _ratio(slope: float, curvature: float) -> float:
    step = slope / curvature if curvature > 0 else 0.0
    return float(step) if np.isfinite(step) else 0.0


# --- one block ----------------------------------------------------------------------


def block_objective(
    theta: Array, X: Array, R: Array, s: Array, alpha: float
) -> tuple[float, Array, Array, Array]:
    """Loss of centred residuals, its gradient, output weights and means of the units.

    The gradient is the partial one at the solved output weights; X ends in a column of
    ones.
    """
    units = theta.reshape(X.shape[1], -1)
    H = expit(X @ units)
    mean = s @ H
    centred = H - mean
    weighted = s[:, None] * centred
    A, B = weighted.T @ centred, weighted.T @ R
    if len(A) == 1:
        out = B / (A + alpha) if A[0, 0] + alpha > 0 else np.zeros_like(B)
    else:
        A.flat[:: len(A) + 1] += alpha
        out = spd_solve(A, B)
    E = centred @ out - R
    weighted = s[:, None] * E
    value = 0.5 * float(np.vdot(weighted, E))
    value += 0.5 * alpha * float(np.vdot(out, out))
    slope = weighted @ out.T
    slope *= H
    H -= 1.0
    slope *= H  # minus the derivative of the sigmoid
    gradient = X.T @ slope
    np.negative(gradient, out=gradient)
    # biases are free
    value += 0.5 * alpha * float(np.vdot(units[:-1], units[:-1]))
    gradient[:-1] += alpha * units[:-1]
    return value, gradient.ravel(), out, mean


def fit_block(
    X: Array, R: Array, s: Array, units: Array, alpha: float, max_iter: int
) -> Block:
    """Logistic units and output weights that fit R by penalised least squares."""
    shift = s @ R
    R = R - shift
    size = float(np.sqrt(s @ (R**2).sum(axis=1)))
    if size == 0:
        return Block(units, np.zeros((units.shape[1], R.shape[1])), shift)
    R = R / size

    def oracle(theta: Array) -> tuple[float, Array]:
        return block_objective(theta, X, R, s, alpha)[:2]

    found = lbfgs_box(
        oracle,
        units.ravel(),
        max_iter=max_iter,
        max_fun=15_000,
        maxcor=MEMORY,
        ftol=SETTLED,
        gtol=1e-10,
    )
    _, _, out, mean = block_objective(found.x, X, R, s, alpha)
    out = out * size
    return Block(found.x.reshape(units.shape), out, shift - mean @ out)


def block_output(X: Array, block: Block) -> Array:
    """Outputs (n, K) of a block."""
    return expit(X @ block.units) @ block.out + block.shift


# --- boosting -----------------------------------------------------------------------


def grow(
    train: Rows,
    loss: Loss,
    limits: Limits,
    alive: Array,
    held: Rows | None,
    rng: np.random.RandomState,
    progress: Progress,
) -> Growth:
    """Add blocks until there are enough or the validation loss stops improving."""
    growth = Growth(loss.start(train.Y, train.s))
    F = np.tile(growth.start, (len(train.X), 1))
    F_held = None if held is None else np.tile(growth.start, (len(held.X), 1))
    value = loss.loss(F, train.Y, train.s)
    with progress.interruptible(lambda: bool(growth.steps)):
        for k in progress.iterations(len(limits.sizes)):
            R = loss.residual(F, train.Y)
            if np.abs(R).max() <= DONE:
                growth.stopped = "perfect"
                break
            block = _next_block(
                train._replace(Y=R), limits.sizes[k], limits, alive, rng
            )
            h = block_output(train.X, block)
            rho, F = _step(limits.learning_rate, h, R, F, train, loss, value)
            value, outside = loss.loss(F, train.Y, train.s), None
            if held is not None and F_held is not None:
                F_held += rho * block_output(held.X, block)
                outside = loss.loss(F_held, held.Y, held.s)
            scaled = Block(block.units, rho * block.out, rho * block.shift)
            growth.steps.append(Step(scaled, rho, value, outside))
            score = None if outside is None else -outside
            if progress.step(loss=value, score=score, state=growth):
                break
            if _has_converged(growth.held_loss, limits):
                growth.stopped = "converged"
                break
    growth.stopped = progress.reason(growth.stopped)
    return growth


def _step(
    learning_rate: float,
    h: Array,
    R: Array,
    F: Array,
    train: Rows,
    loss: Loss,
    before: float,
) -> tuple[float, Array]:
    """Size of the step along h, and where it leads.

    Where nearly all rows are certain, curvature vanishes and Newton's step explodes: it
    is halved until the training loss does not grow.
    """
    _, Y, s = train
    rho = learning_rate * loss.step(h, R, F, Y, s)
    if isinstance(loss, Squares):
        return rho, F + rho * h
    for _ in range(HALVINGS):
        moved = F + rho * h
        if loss.loss(moved, Y, s) <= before:
            return rho, moved
        rho /= 2.0
    return 0.0, F


def _next_block(
    residuals: Rows,
    size: int,
    limits: Limits,
    alive: Array,
    rng: np.random.RandomState,
) -> Block:
    n, p = residuals.X.shape
    bound = np.sqrt(2.0 / (p - 1 + size))
    units = rng.uniform(-bound, bound, size=(p, size))
    units[:-1] *= alive[:, None]
    taken = int(limits.subsample * n)
    if limits.subsample < 1 and taken >= SMALL_SAMPLE:
        residuals = residuals.take(np.sort(rng.permutation(n)[:taken]))
    X, R, s = residuals
    return fit_block(X, R, s, units, limits.alpha, limits.max_iter)


def _has_converged(scores: list[float], limits: Limits) -> bool:
    """Whether the validation loss has not improved for too many steps."""
    patience = limits.n_iter_no_change
    if patience is None or len(scores) <= patience:
        return False
    return min(scores[-patience:]) >= min(scores[:-patience]) * (1.0 - limits.tol)


# --- the network --------------------------------------------------------------------


class Network(NamedTuple):
    """One hidden layer, blocks side by side, in the units of the rows."""

    W: Array
    b: Array
    V: Array
    shifts: Array  # of the outputs, after each block; the first row is the start
    ends: Array  # units up to and including each block


def assemble(
    growth: Growth, mean: Array, divisor: Array, scale: Array, centre: Array
) -> Network:
    """Fold the scaling of columns and targets into the weights."""
    d, k = len(mean), len(growth.start)
    units = np.hstack([np.zeros((d + 1, 0)), *(x.units for x in growth.blocks)])
    W = units[:-1] / divisor[:, None]
    b = units[-1] - (mean / divisor) @ units[:-1]
    V = np.vstack([np.zeros((0, k)), *(x.out for x in growth.blocks)]) * scale
    shifts = np.vstack([growth.start, *(x.shift for x in growth.blocks)])
    shifts = np.cumsum(shifts, axis=0) * scale + centre
    sizes = [x.out.shape[0] for x in growth.blocks]
    return Network(W, b, V, shifts, np.cumsum([0, *sizes]))


def hidden(X: Array, network: Network) -> Array:
    """Values of the hidden units."""
    return expit(X @ network.W + network.b)


def stages(H: Array, network: Network) -> Iterator[Array]:
    """Outputs after each block, given the hidden units."""
    F = np.zeros((len(H), network.V.shape[1]))
    for n, (begin, end) in enumerate(pairwise(network.ends), start=1):
        F = F + H[:, begin:end] @ network.V[begin:end]
        yield F + network.shifts[n]
