"""Lasso paths of many targets on the same masks, all targets side by side.

Masks and outputs are centred; ``G = Z'Z / m`` and ``C = Z'F / m`` serve every target,
so a step for all of them is one product of matrices. Each target keeps its own step
size and momentum, and leaves as soon as its duality gap is small.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, FloatArray

_SAFETY = 1.1


class Sums(NamedTuple):
    """Sums over subsets, which add up: those of two sets of subsets make the union's.

    ``pairs`` (rows, rows) counts subsets with both rows, ``cross`` (rows, targets) and
    ``squares`` (targets,) are sums of outputs and of their squares.
    """

    pairs: Array
    cross: Array
    squares: Array
    masks: Array
    outputs: Array
    m: int


class Moments(NamedTuple):
    """Centred means over subsets.

    ``gram`` (rows, rows), ``cross`` (rows, targets), ``squares`` (targets,),
    ``mask_mean`` (rows,) and ``output_mean`` (targets,).
    """

    gram: Array
    cross: Array
    squares: Array
    mask_mean: Array
    output_mean: Array


class Fit(NamedTuple):
    """Coefficients (rows, targets), their relative duality gaps, and steps."""

    coef: Array
    gap: Array
    n_iter: int


def sums(masks: BoolArray, outputs: Array) -> Sums:
    """Gather the sums in one pass."""
    # counts of up to 2 ** 24 are exact in single precision, at half the price
    single = len(masks) < 2**24
    M: FloatArray = masks.astype(np.float32 if single else np.float64)
    D = masks.astype(np.float64)
    pairs = (M.T @ M).astype(np.float64)
    total = np.sum(outputs, axis=0)
    squares = np.sum(outputs**2, axis=0)
    return Sums(pairs, D.T @ outputs, squares, D.sum(axis=0), total, len(masks))


def added(a: Sums, b: Sums) -> Sums:
    """Return the sums over both sets of subsets."""
    return Sums(
        a.pairs + b.pairs,
        a.cross + b.cross,
        a.squares + b.squares,
        a.masks + b.masks,
        a.outputs + b.outputs,
        a.m + b.m,
    )


def centred(s: Sums) -> Moments:
    """Turn sums into centred means."""
    mean, centre = s.masks / s.m, s.outputs / s.m
    gram = s.pairs / s.m - np.outer(mean, mean)
    cross = s.cross / s.m - np.outer(mean, centre)
    squares = np.maximum(s.squares / s.m - centre**2, 0.0)
    return Moments(gram, cross, squares, mean, centre)


def moments(masks: BoolArray, outputs: Array) -> Moments:
    """Return the centred means over some subsets."""
    shift = outputs.mean(axis=0)
    found = centred(sums(masks, outputs - shift))
    return found._replace(output_mean=found.output_mean + shift)


def largest_penalty(data: Moments) -> Array:
    """Return, per target, the smallest penalty under which all weights are zero."""
    return np.asarray(np.abs(data.cross).max(axis=0))


class _Problem(NamedTuple):
    """Targets that still iterate, in units of their standard deviations."""

    cross: FloatArray
    penalty: FloatArray
    squares: FloatArray

    def some(self, which: BoolArray) -> "_Problem":
        """Keep some of the targets."""
        C = np.ascontiguousarray(self.cross[:, which])
        return _Problem(C, self.penalty[which], self.squares[which])


class _State(NamedTuple):
    """Iterate B, extrapolated point A, their products with G, and steps by target."""

    B: FloatArray
    GB: FloatArray
    A: FloatArray
    GA: FloatArray
    curvature: FloatArray
    t: FloatArray

    def some(self, which: BoolArray) -> "_State":
        """Keep some of the targets."""
        B, GB, A, GA = (np.ascontiguousarray(v[:, which]) for v in self[:4])
        return _State(B, GB, A, GA, self.curvature[which], self.t[which])


class _End(NamedTuple):
    """Where a penalty ended, and what the next one starts from."""

    B: FloatArray
    GB: FloatArray
    curvature: FloatArray
    gap: FloatArray
    n_iter: int


def _dot(A: FloatArray, B: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ij,ij->j", A, B))


def _step(G: FloatArray, s: _State, p: _Problem) -> _State:
    """One accelerated proximal step; momentum restarts where it points uphill.

    ``curvature`` is the largest quotient ``e'Ge / e'e`` met so far, which is what makes
    the step a descent step; the largest eigenvalue is seldom met by sparse iterates.
    """
    W = (p.cross - s.GA) / s.curvature
    W += s.A
    bound = p.penalty / s.curvature
    new = np.clip(W, -bound, bound)
    np.subtract(W, new, out=new)
    Gnew = G @ new
    e, d = new - s.A, new - s.B
    length = _dot(e, e)
    met = np.where(length > 0, _dot(e, Gnew - s.GA), 0.0)
    met = met / np.where(length > 0, length, 1.0)
    steeper = met > s.curvature
    curvature = np.where(steeper, _SAFETY * met, s.curvature).astype(G.dtype)
    restart = steeper | (_dot(d, e) < 0)
    t = np.where(restart, 1.0, (1 + np.sqrt(1 + 4 * s.t**2)) / 2)
    momentum = np.where(restart, 0.0, (s.t - 1) / t).astype(G.dtype)
    GA = (Gnew - s.GB) * momentum
    GA += Gnew
    d *= momentum
    d += new
    return _State(new, Gnew, d, GA, curvature, t)


def _gaps(s: _State, p: _Problem) -> FloatArray:
    """Relative duality gaps; the dual point is the residual, scaled to be feasible."""
    fitted = _dot(s.B, p.cross).astype(np.float64)
    fit = _dot(s.B, s.GB).astype(np.float64)
    residual = np.maximum(p.squares - 2 * fitted + fit, 0.0)
    slopes = p.cross - s.GB
    slope = np.maximum(slopes.max(axis=0), -slopes.min(axis=0)).astype(np.float64)
    scale = np.minimum(1.0, p.penalty / np.maximum(slope, 1e-300))
    primal = residual / 2 + p.penalty * np.abs(s.B).sum(axis=0)
    dual = scale * (p.squares - fitted) - scale**2 * residual / 2
    return np.asarray(2 * np.maximum(primal - dual, 0.0))


def _descend(G: FloatArray, s: _State, p: _Problem, tol: float, max_iter: int) -> _End:
    """Iterate until every target's gap is at most ``tol``."""
    n, q = s.B.shape
    B, GB = np.empty((n, q), G.dtype), np.empty((n, q), G.dtype)
    curvature, gap = s.curvature.copy(), np.full(q, np.inf)
    active, n_iter = np.arange(q), 0
    while len(active):
        s, n_iter = _step(G, s, p), n_iter + 1
        last = n_iter >= max_iter
        if n_iter % 2 and not last:
            continue
        found = _gaps(s, p)
        going = (found > tol) & (not last)
        # copies cost as much as a step: wait until a good part has arrived
        if np.mean(going) > 0.7:
            continue
        B[:, active], GB[:, active] = s.B, s.GB
        curvature[active], gap[active] = s.curvature, found
        active, s, p = active[going], s.some(going), p.some(going)
    return _End(B, GB, curvature, gap, n_iter)


def lasso_path(
    data: Moments,
    path: Array,
    start: Array | None = None,
    *,
    tol: float = 1e-4,
    max_iter: int = 5000,
) -> list[Fit]:
    """Minimise ``|F - Z b|^2 / (2 m) + penalty |b|_1`` for all targets and penalties.

    Parameters
    ----------
    data : Moments
        What the fits need to know of masks and outputs.
    path : ndarray of shape (n_penalties, n_targets)
        Penalties. Each starts from the line through the two before it: between changes
        of sign the coefficients are linear in the penalty.
    start : ndarray of shape (n_rows, n_targets), default=None
        Coefficients to start from.
    tol : float, default=1e-4
        Bound of the duality gaps relative to ``|F|^2 / (2 m)``. One of 1e-5 or more is
        reached in single precision.
    max_iter : int, default=5000
        Most steps per penalty.
    """
    dtype = np.float32 if tol >= 1e-5 else np.float64
    flat = data.squares <= 0
    unit = np.sqrt(np.where(flat, 1.0, data.squares))
    G: FloatArray = data.gram.astype(dtype)
    C: FloatArray = (data.cross / unit).astype(dtype)
    squares = np.where(flat, 0.0, 1.0)
    first: FloatArray = (
        np.zeros_like(C) if start is None else (start / unit).astype(dtype)
    )
    ahead = (first, G @ first)
    slope = max(float(np.trace(G)) / len(G), 1e-300)
    ends: list[_End] = []
    fits: list[Fit] = []
    for k, penalty in enumerate(path):
        problem = _Problem(C, (penalty / unit).astype(dtype), squares)
        if k > 1:
            ahead = _extrapolated(ends[-2], ends[-1], path[k - 2 : k + 1])
        elif k == 1:
            ahead = (ends[-1].B, ends[-1].GB)
        q = len(penalty)
        before = 0.9 * ends[-1].curvature if ends else np.full(q, slope)
        state = _State(*ahead, *ahead, before.astype(dtype), np.ones(q))
        ends = [*ends[-1:], _descend(G, state, problem, tol, max_iter)]
        end = ends[-1]
        fits.append(Fit(end.B * unit, end.gap, end.n_iter))
    return fits


def _extrapolated(a: _End, b: _End, penalties: Array) -> tuple[FloatArray, FloatArray]:
    """Continue the line through two ends to the next penalty."""
    known, step = penalties[1] - penalties[0], penalties[2] - penalties[1]
    ratio = np.where(known == 0, 0.0, step / np.where(known == 0, 1.0, known))
    ratio = ratio.astype(b.B.dtype)
    return b.B + ratio * (b.B - a.B), b.GB + ratio * (b.GB - a.GB)


def lasso(
    data: Moments,
    penalty: Array,
    start: Array | None = None,
    *,
    tol: float = 1e-4,
    max_iter: int = 5000,
) -> Fit:
    """Fit all targets, each under its own penalty."""
    both = lasso_path(data, penalty[None], start, tol=tol, max_iter=max_iter)
    return both[0]
