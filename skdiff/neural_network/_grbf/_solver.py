"""Gaussian radial bases with one learnable precision matrix: the numbers.

``f(x) = b + sum_m w_m exp(-|U'(x - c_m)|^2 / 2)`` with ``P = U U'``. For given U and
centres the weights w solve a convex problem; what is left is a function of U (and the
centres) whose gradient, by the envelope theorem, is the partial gradient at those
weights (variable projection). Weights of rows sum to one throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import kmeans_plusplus

from skdiff._base.progress import Patience, Progress
from skdiff._base.typing import Array
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff.neural_network._grbf._losses import (
    CrossEntropy,
    Loss,
    Point,
    leave_one_out,
)

MEMORY = 20  # pairs of vectors L-BFGS keeps
NEWTON_UP_TO = 400  # weights beyond which a Hessian costs more than it saves
WARM_STEPS = 15  # full-rank steps before a lower rank is cut out
WIDE = 400  # columns beyond which such steps cost more than the fit
LLOYD_STEPS = 50
# a centre sways few rows, the matrix all: in units of this, both take like steps
CENTER_UNIT = 30.0
# half squared distance beyond which a bump counts as 1e-35: products of still smaller
# values are denormal, and arithmetic on those takes twenty times as long
FARTHEST = -80.0
NO_SIGNAL = 1e-20  # squared covariances that are rounding
SCALE_ROWS = 20_000  # rows that tell the typical distance
# limits of the logarithm of a learned penalty: below 1e-6 rows in the tails, of which
# the error left out sees few, are met by huge weights
LOG_PENALTIES = (-13.8, 5.0)
STALE_EPOCHS = 10  # of Adam without progress


@dataclass
class Run:
    """What a minimisation leaves behind."""

    point: Point
    objective: float
    n_iter: int = 0
    loss_curve: list[float] = field(default_factory=list)
    stopped: str = "max_iter"


class Limits(NamedTuple):
    """When to stop."""

    max_iter: int
    tol: float


# --- features -----------------------------------------------------------------------


def half_distances(Z: Array, Q: Array) -> Array:
    """Minus half the squared distances between the rows of Z and of Q."""
    D = Z @ Q.T
    D -= (Z**2).sum(axis=1)[:, None] / 2.0
    D -= (Q**2).sum(axis=1) / 2.0
    # rounding can make a squared distance negative
    return np.minimum(D, 0.0, out=D)


def kernel_features(
    X: Array, U: Array, C: Array, widths: tuple[float, ...] = (1.0,), order: int = 0
) -> tuple[Array, Array, Array]:
    """Return ``exp(-|U'(x - c)|^2 / 2)`` (n, M), and ``X U`` and ``C U``.

    With several widths the mean of ``f^order exp(-f |U'(x - c)|^2 / 2)`` over them,
    weighed by ``1 / sqrt(f)``; order one is what slopes need.
    """
    Z, Q = X @ U, C @ U
    return mean_of_bumps(half_distances(Z, Q), widths, order), Z, Q


def mean_of_bumps(D: Array, widths: tuple[float, ...], order: int = 0) -> Array:
    """The same from half the negative squared distances, which are overwritten."""
    if widths == (1.0,):
        return _bumps(D)
    Phi = np.zeros_like(D)
    total = sum(f**-0.5 for f in widths)
    for f in widths:
        # plain numbers, for those of NumPy would make single precision double
        Phi += float(f ** (order - 0.5) / total) * _bumps(float(f) * D)
    return Phi


def _bumps(D: Array) -> Array:
    np.maximum(D, FARTHEST, out=D)
    return np.exp(D, out=D)


def pull_back(
    A: Array, X: Array, C: Array, Z: Array, Q: Array, U: Array
) -> tuple[Array, Array]:
    """Gradients in U and C, from ``A = dg/dPhi * Phi``."""
    dZ = A @ Q
    dZ -= A.sum(axis=1)[:, None] * Z
    dQ = A.T @ Z
    dQ -= A.sum(axis=0)[:, None] * Q
    return X.T @ dZ + C.T @ dQ, dQ @ U.T


# --- the reduced objective ----------------------------------------------------------


@dataclass
class Objective:
    """The penalised loss as a function of one flat vector.

    ``rank`` and ``shape`` say which numbers of U are free. ``joint`` puts the weights
    into the vector too, where solving for them is dear.
    """

    loss: Loss
    X: Array
    Y: Array
    s: Array
    anchors: Array
    rank: int
    shape: str
    learn_centers: bool
    alpha_precision: float
    alpha_weights: float
    alpha_centers: float
    joint: bool = False
    center_unit: float = CENTER_UNIT
    left_out: bool = False

    def pack(self, point: Point) -> Array:
        """The free numbers of a point."""
        parts = [self._free(point.U)]
        if self.left_out:
            parts.append(np.array([np.log(point.penalty)]))
        if self.learn_centers:
            parts.append(point.C.ravel() / self.center_unit)
        if self.joint:
            parts += [point.W.ravel(), point.b]
        return np.concatenate(parts)

    def unpack(self, theta: Array, last: Point) -> Point:
        """The point of a vector; what the vector leaves out is taken from ``last``."""
        d, size = self.X.shape[1], self._n_free()
        head = theta[:size]
        if self.shape == "full":
            U = head.reshape(d, self.rank)
        else:
            U = np.diag(np.broadcast_to(head, (d,)))
        C, W, b, penalty = self.anchors, last.W, last.b, last.penalty
        if self.left_out:
            penalty = float(np.exp(np.clip(theta[size], *LOG_PENALTIES)))
            size += 1
        if self.learn_centers:
            C = self.center_unit * theta[size : size + C.size].reshape(C.shape)
            size += C.size
        if self.joint:
            W = theta[size : size + W.size].reshape(W.shape)
            b = theta[size + W.size :]
        return Point(U, C, W, b, penalty)

    def _n_free(self) -> int:
        d = self.X.shape[1]
        return {"full": d * self.rank, "diag": d, "spherical": 1}[self.shape]

    def _free(self, U: Array) -> Array:
        if self.shape == "full":
            return U.ravel()
        diagonal = np.diag(U)
        return diagonal.copy() if self.shape == "diag" else diagonal[:1].copy()

    def evaluate(self, theta: Array, last: Point) -> tuple[float, Array, Point]:
        """Value, gradient and the point with its weights."""
        U, C, W, b, penalty = self.unpack(theta, last)[:5]
        Phi, Z, Q = kernel_features(self.X, U, C)
        in_penalty, G = np.zeros(0), np.zeros(0)
        if self.left_out:
            found = leave_one_out(Phi, self.Y, self.s, penalty)
            value, W, b = found.value, found.weights, found.intercepts
            A, in_penalty = found.in_features, np.array([found.in_log_penalty])
        else:
            if not self.joint:
                W, b = self.loss.solve(Phi, self.Y, self.s, penalty, last)
            value, G = self.loss.loss(Phi @ W + b, self.Y, self.s)
            value += penalty * float(np.vdot(W, W))
            A = G @ W.T
        value += self.alpha_precision * float(np.vdot(U, U))
        A *= Phi
        dU, dC = pull_back(A, self.X, C, Z, Q, U)
        dU += 2.0 * self.alpha_precision * U
        if self.shape == "spherical":
            gradient = [np.array([np.trace(dU)]), in_penalty]
        else:
            gradient = [self._free(dU), in_penalty]
        if self.learn_centers:
            moved = C - self.anchors
            value += self.alpha_centers * float(np.vdot(moved, moved))
            dC += 2.0 * self.alpha_centers * moved
            gradient.append(self.center_unit * dC.ravel())
        if self.joint:
            dW = Phi.T @ G + 2.0 * penalty * W
            gradient += [dW.ravel(), G.sum(axis=0)]
        return value, np.concatenate(gradient), Point(U, C, W, b, penalty)


# --- starting points ----------------------------------------------------------------


def choose_centers(
    X: Array,
    s: Array,
    n_centers: int,
    how: str,
    rng: np.random.RandomState,
    U: Array | None = None,
) -> Array:
    """Rows drawn at random, or means of clusters (in the metric of U, where given)."""
    rows, place = np.unique(X, axis=0, return_inverse=True)
    mass = np.bincount(place.ravel(), weights=s, minlength=len(rows))
    if n_centers >= len(rows):
        return rows
    if how == "random":
        chosen = rng.choice(len(rows), n_centers, replace=False, p=mass / mass.sum())
        return rows[np.sort(chosen)]
    seen = rows if U is None else rows @ U
    C, _ = kmeans_plusplus(seen, n_centers, sample_weight=mass, random_state=rng)
    nearest = np.full(len(rows), -1)
    # Lloyd's steps written out: scikit-learn's sum in an order that threads decide
    for _ in range(LLOYD_STEPS):
        before, nearest = nearest, half_distances(seen, C).argmax(axis=1)
        if np.array_equal(before, nearest):
            break
        member = np.zeros((len(rows), n_centers))
        member[np.arange(len(rows)), nearest] = mass
        total = member.sum(axis=0)
        member, C = member[:, total > 0] / total[total > 0], C[total > 0]
        n_centers = len(C)
        C = member.T @ seen
    return np.asarray(member.T @ rows)


def starting_scale(X: Array, s: Array, C: Array) -> float:
    """One over the root of the median squared distance to a centre."""
    D = -2.0 * half_distances(X[:SCALE_ROWS], C)
    order = np.argsort(D, axis=None, kind="stable")
    mass = np.repeat(s[: len(D)], D.shape[1])[order].cumsum()
    median = D.ravel()[order[np.searchsorted(mass, mass[-1] / 2.0)]]
    return float(1.0 / np.sqrt(median)) if median > 1e-12 else 1.0


def starting_factor(
    objective: Objective, scale: float, alive: Array, limits: Limits
) -> Array:
    """A multiple of the identity, or its best part of lower rank after a few steps."""
    d = objective.X.shape[1]
    U = scale * np.diag(alive.astype(float))
    if objective.shape != "full" or objective.rank == d:
        return U if objective.shape != "spherical" else scale * np.eye(d)
    if d > WIDE:
        linear = objective.X.T @ (objective.s[:, None] * objective.Y)
        noise = np.random.RandomState(0).standard_normal((d, objective.rank))
        Q, _ = np.linalg.qr(np.column_stack([linear, noise]) * alive[:, None])
        return scale * np.sqrt(d / objective.rank) * Q[:, : objective.rank]
    wide = replace(objective, rank=d, learn_centers=False)
    few = limits._replace(max_iter=WARM_STEPS)
    run = minimise_quietly(wide, with_weights(wide, U, wide.anchors), few)
    left, size, _ = np.linalg.svd(run.point.U)
    return left[:, : objective.rank] * size[: objective.rank]


def informed_factor(
    objective: Objective, scale: float, alive: Array, U: Array
) -> Array:
    """A start from the slope and the curvature of the targets; U where it has no say.

    Without rounding and for normal rows, the covariances of the residuals with the
    columns and with products of two columns are the mean gradient and Hessian of the
    target (Stein's identity). An interaction, which has no mean gradient, shows in the
    second. The trace is that of ``scale`` times the identity.
    """
    if objective.shape == "spherical" or len(alive) > WIDE:
        return U
    X, d = objective.X * alive, len(alive)
    R = objective.s[:, None] * (objective.Y - objective.s @ objective.Y)
    slopes = X.T @ R
    M = slopes @ slopes.T
    for r in R.T:
        H = (X * r[:, None]).T @ X
        M += H @ H / 2.0
    if objective.shape == "diag":
        total = np.trace(M)
        root = np.sqrt(np.diag(M) * alive.sum() / max(total, NO_SIGNAL))
        return scale * np.diag(root) if total > NO_SIGNAL else U
    values, vectors = np.linalg.eigh(M)
    order = np.argsort(-values)[: objective.rank]
    values, vectors = np.maximum(values[order], 0.0), vectors[:, order]
    if values.sum() <= NO_SIGNAL:
        return U
    return scale * np.sqrt(d * values / values.sum()) * vectors


def shaken(
    objective: Objective,
    U: Array,
    scale: float,
    alive: Array,
    rng: np.random.RandomState,
) -> Array:
    """The factor with noise, for another start."""
    if objective.shape == "spherical":
        return U
    noise = 0.3 * scale * rng.standard_normal(U.shape) * alive[:, None]
    return U + (noise if objective.shape == "full" else np.diag(np.diag(noise)))


def with_weights(objective: Objective, U: Array, C: Array) -> Point:
    """The point with weights of zero and intercepts at the means."""
    k = objective.Y.shape[1]
    b = np.zeros(k)
    if isinstance(objective.loss, CrossEntropy):
        share = np.clip(objective.s @ objective.Y, 1e-12, 1 - 1e-12)
        b = np.log(share / (1 - share)) if k == 1 else np.log(share)
        b = b - (0.0 if k == 1 else b.mean())
    return Point(U, C, np.zeros((len(C), k)), b, objective.alpha_weights)


# --- minimisers ---------------------------------------------------------------------


def minimise(
    objective: Objective, start: Point, limits: Limits, progress: Progress
) -> Run:
    """L-BFGS on the reduced objective; the best point met is kept."""
    value, _, point = objective.evaluate(objective.pack(start), start)
    run = Run(point, value)
    last = {"point": point}

    def oracle(theta: Array) -> tuple[float, Array]:
        found = objective.evaluate(theta.copy(), last["point"])
        value, gradient, last["point"] = found
        if not np.isfinite(value):  # a line search that went too far
            return 1e300, np.zeros_like(theta)
        if value < run.objective:
            run.objective, run.point = value, last["point"]
        return value, gradient

    def note(intermediate_result: Any) -> None:
        before = run.loss_curve[-1] if run.loss_curve else np.inf
        now = float(intermediate_result.fun)
        run.loss_curve.append(now)
        run.n_iter += 1
        over = progress.step(loss=now, state=run.point)
        if before - now <= limits.tol * abs(now):
            run.stopped = "converged"
        if over or run.stopped == "converged":
            raise StopIteration

    most = 20 * limits.max_iter + 20
    with progress.interruptible(lambda: bool(run.loss_curve)):
        found = lbfgs_box(
            oracle,
            objective.pack(start),
            max_iter=limits.max_iter,
            max_fun=most,
            callback=note,
            maxcor=MEMORY,
            ftol=0.0,
            gtol=1e-12,
        )
        if run.stopped == "max_iter" and run.n_iter < limits.max_iter:
            # no slope left, or none that rounding lets the line search see
            ran_out = found.stats["evaluations"] >= most
            run.stopped = "max_iter" if ran_out else "converged"
    return _finished(run, progress)


def minimise_quietly(
    objective: Objective, start: Point, limits: Limits, progress: Progress | None = None
) -> Run:
    """The same before a fit has begun: silent, and an interrupt goes through."""
    quiet = Progress()
    quiet.deadline = None if progress is None else progress.deadline
    run = minimise(objective, start, limits, quiet)
    if quiet.ended == "interrupted":
        raise KeyboardInterrupt
    return run


def _finished(run: Run, progress: Progress) -> Run:
    run.stopped = progress.reason(run.stopped)
    if not run.loss_curve:
        run.loss_curve.append(run.objective)
    run.n_iter = max(run.n_iter, 1)
    return run


class Steps(NamedTuple):
    """Mini-batches of Adam."""

    batch_size: int
    learning_rate: float
    rng: np.random.RandomState


def minimise_by_adam(
    objective: Objective,
    start: Point,
    limits: Limits,
    progress: Progress,
    steps: Steps,
) -> Run:
    """Adam over mini-batches; after each epoch the weights are solved for exactly."""
    objective = replace(objective, center_unit=1.0)
    joint = replace(objective, joint=True)
    value, _, point = objective.evaluate(objective.pack(start), start)
    run = Run(point, value)
    theta = joint.pack(point)
    first, second, step = np.zeros_like(theta), np.zeros_like(theta), 0
    n, n_weights = len(objective.X), point.W.size + point.b.size

    def epoch() -> float:
        nonlocal theta, step
        order = steps.rng.permutation(n)
        for begin in range(0, n, steps.batch_size):
            rows = np.sort(order[begin : begin + steps.batch_size])
            s = joint.s[rows]
            # the factor makes a batch's sum an unbiased guess of the table's
            batch = replace(
                joint, X=joint.X[rows], Y=joint.Y[rows], s=s * (n / len(rows))
            )
            _, g, _ = batch.evaluate(theta, run.point)
            step += 1
            first[:] = 0.9 * first + 0.1 * g
            second[:] = 0.999 * second + 0.001 * g**2
            size = steps.learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            theta = theta - size * first / (np.sqrt(second) + 1e-8)
        here = joint.unpack(theta, run.point)
        value, _, point = objective.evaluate(objective.pack(here), here)
        theta = joint.pack(point)
        first[-n_weights:] = 0.0
        if value < run.objective:
            run.objective, run.point = value, point
        return value

    patience = Patience(STALE_EPOCHS, limits.tol, relative=True)
    with progress.interruptible(lambda: bool(run.loss_curve)):
        for _ in progress.iterations(limits.max_iter):
            run.loss_curve.append(epoch())
            run.n_iter += 1
            if progress.step(loss=run.loss_curve[-1], state=run.point):
                break
            if patience.is_over(run.loss_curve[-1]):
                run.stopped = "converged"
                break
    return _finished(run, progress)


# --- reading the result -------------------------------------------------------------


class Spectrum(NamedTuple):
    """Eigenvalues of P, descending, and eigenvectors as rows."""

    values: Array
    vectors: Array


def spectrum(U: Array) -> Spectrum:
    """Eigen-decomposition of ``U U'``; the largest entry of a vector is positive."""
    diagonal = np.diag(U)
    if U.shape[0] == U.shape[1] and not np.any(U - np.diag(diagonal)):
        order = np.argsort(-np.abs(diagonal), kind="stable")
        return Spectrum(diagonal[order] ** 2, np.eye(len(U))[order])
    left, size, _ = np.linalg.svd(U, full_matrices=False)
    vectors = left.T
    largest = np.abs(vectors).argmax(axis=1)
    sign = np.sign(vectors[np.arange(len(vectors)), largest])
    return Spectrum(size**2, vectors * np.where(sign == 0, 1.0, sign)[:, None])


def output(X: Array, point: Point) -> Array:
    """Outputs (n, K) of the network at a point."""
    return kernel_features(X, point.U, point.C, point.widths)[0] @ point.W + point.b


def function_gradient(X: Array, point: Point) -> Array:
    """Gradients (n, K, d) of the outputs: ``-P sum_m w_m phi_m(x) (x - c_m)``."""
    U, C, W = point[:3]
    Phi, Z, Q = kernel_features(X, U, C, point.widths, order=1)
    gradients = [(Phi * w) @ Q - (Phi @ w)[:, None] * Z for w in W.T]
    return np.stack(gradients, axis=1) @ U.T


def importances(how: str, U: Array, gradient: Callable[[], Array]) -> Array:
    """Shares of the columns in the precision or in the slope of the function."""
    values, vectors = spectrum(U)
    if how == "spectral":
        raw = values @ np.abs(vectors)
    elif how == "diag":
        raw = values @ vectors**2
    else:
        raw = gradient()
    total = raw.sum()
    return raw / total if total > 0 else np.full(len(raw), 1.0 / len(raw))
