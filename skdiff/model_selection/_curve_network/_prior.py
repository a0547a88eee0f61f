"""Priors over learning curves: the paper's, and one that is closer to real curves.

Curves are functions of x in (0, 100], an epoch being x = 100 * epoch / horizon.
Equations are those of Domhan et al. (2015) as Adriaensen et al. (2023) combine them.
"""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import FloatArray

#: where a draw is looked at first: most that will be rejected fail here
_EARLY = np.array([1.0, 2.0, 4.0, 10.0, 30.0, 100.0], np.float32)
#: fractions of the extended prior: curves of the paper, sigmoids, constants, humps
_KINDS = (0.6, 0.22, 0.06, 0.12)
#: fraction of the extended prior that is the paper's curve with the paper's noise
_PLAIN = 0.35


class Curves(NamedTuple):
    """Drawn curves on one grid.

    Parameters
    ----------
    x : array of shape (m,)
        Positions.
    y : array of shape (n, m)
        What is observed, noise included.
    mean : array of shape (n, m)
        The curves themselves.
    std : array of shape (n, m)
        Standard deviation of the noise.
    """

    x: FloatArray
    y: FloatArray
    mean: FloatArray
    std: FloatArray


def draw_curves(
    n: int, x: FloatArray, rng: np.random.Generator, prior: str = "domhan"
) -> Curves:
    """Draw ``n`` curves at the positions ``x`` with their noise.

    ``prior`` is ``"domhan"`` (the paper's) or ``"extended"``.
    """
    x = np.asarray(x, np.float32)
    if prior == "domhan":
        mean = domhan_means(n, x, rng)
        std = np.exp(rng.normal(-4.0, 1.0, (n, 1))).astype(np.float32)
        std = np.broadcast_to(std, mean.shape)
        y = mean + std * rng.standard_normal(mean.shape, np.float32)
        return Curves(x, y, mean, std)
    return _extended(n, x, rng)


def domhan_means(n: int, x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Noiseless curves of the paper's prior: rising from end to end, within [0, 1]."""
    found: list[FloatArray] = []
    missing = n
    logs = np.log(x)
    early = np.log(_EARLY)
    while missing > 0:
        draws = _parameters(max(6 * missing, 64), rng)
        coarse = _combine(draws, early)
        good = _accepted(coarse)
        draws = [p[good] for p in draws]
        full = _combine(draws, logs)
        full = full[_accepted(full)][:missing]
        found.append(full)
        missing -= len(full)
    return np.concatenate(found)


def _parameters(n: int, rng: np.random.Generator) -> list[FloatArray]:
    """Draw weights and parameters of pow3, ilog2 and janoschek (paper, Table 5)."""
    uniform = [
        *((0.0, 1.0),) * 3,  # weights, not normalised
        (-0.6, 0.6),
        (0.0, 1.25),  # pow3: a, c
        (0.0, 1.0),
        (-0.5, 0.5),  # ilog2: c, a
        (0.0, 1.0),
        (0.0, 2.0),  # janoschek: a, beta
    ]
    draws = [rng.uniform(*ends, n) for ends in uniform]
    draws += [
        np.exp(rng.normal(0.0, 2.0, n)),  # pow3: alpha
        np.exp(rng.normal(-2.0, 1.0, n)),  # janoschek: k
        np.exp(rng.normal(0.0, 0.5, n)),  # janoschek: delta
    ]
    return [d.astype(np.float32)[:, None] for d in draws]


def _combine(draws: list[FloatArray], logs: FloatArray) -> FloatArray:
    """Evaluate w1 pow3 + w2 ilog2 + w3 janoschek at exp(logs)."""
    w1, w2, w3, a1, c1, c2, a2, a3, beta, alpha, k, delta = draws
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        curve = w1 * (c1 - a1 * np.exp(-alpha * logs))
        curve += w2 * (c2 - a2 / np.log1p(np.exp(logs)))
        curve += w3 * (a3 - (a3 - beta) * np.exp(-k * np.exp(delta * logs)))
    return curve


def _accepted(curves: FloatArray) -> np.ndarray:
    inside = (curves >= 0).all(1) & (curves <= 1).all(1)
    accepted: np.ndarray = inside & (curves[:, -1] > curves[:, 0])
    return accepted


def _extended(n: int, x: FloatArray, rng: np.random.Generator) -> Curves:
    """Late starts, steps, constants, declines; noise that is not independent."""
    kind = rng.choice(4, n, p=_KINDS)
    mean = np.empty((n, len(x)), np.float32)
    for k, draw in enumerate((domhan_means, _sigmoids, _constants, _humps)):
        rows = kind == k
        mean[rows] = draw(int(rows.sum()), x, rng)
    plain = (kind == 0) & (rng.random(n) < _PLAIN / _KINDS[0])
    level = np.exp(rng.normal(-4.0, 1.0, (n, 1)))
    level = np.where(rng.random((n, 1)) < 0.15, level * 0.05, level)
    level[plain] = np.exp(rng.normal(-4.0, 1.0, (int(plain.sum()), 1)))
    std, noise = _noise(level, x, plain, rng)
    y = _rounded(mean + noise, plain, rng)
    return Curves(x, y.astype(np.float32), mean, std.astype(np.float32))


def _sigmoids(n: int, x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One or two steps at log-uniform positions, on top of a floor."""
    low = rng.uniform(0, 0.8, (n, 1))
    rise = rng.uniform(0, 1, (n, 1)) * (1 - low)
    first = rng.uniform(0.3, 1, (n, 1))
    first = np.where(rng.random((n, 1)) < 0.5, 1.0, first)
    curve = 0.0
    for part in (first, 1 - first):
        centre = np.exp(rng.uniform(np.log(1), np.log(120), (n, 1)))
        width = centre * np.exp(rng.uniform(np.log(0.05), np.log(0.6), (n, 1)))
        with np.errstate(over="ignore"):
            curve = curve + part / (1 + np.exp(-(x - centre) / width))
    return np.asarray(low + rise * curve, np.float32)


def _constants(n: int, x: FloatArray, rng: np.random.Generator) -> FloatArray:
    flat = rng.uniform(0, 1, (n, 1)) + np.zeros((1, len(x)))
    return flat.astype(np.float32)


def _humps(n: int, x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Curves of the paper that fall slowly after a peak (over-fitting)."""
    curve = domhan_means(n, x, rng)
    peak = np.exp(rng.uniform(np.log(2), np.log(80), (n, 1)))
    depth = np.exp(rng.normal(-3.5, 1.0, (n, 1)))
    over = np.maximum(x - peak, 0) / 100
    shape = rng.uniform(0.5, 1.2, (n, 1))
    fallen = curve - depth * over**shape
    return np.clip(fallen, 0, 1).astype(np.float32)


def _noise(
    level: FloatArray, x: FloatArray, plain: np.ndarray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Larger at first, correlated or heavy-tailed, each for a part of the curves."""
    n, m = len(level), len(x)
    early = (rng.random((n, 1)) < 0.4) & ~plain[:, None]
    tau = np.exp(rng.uniform(np.log(2), np.log(60), (n, 1)))
    gain = np.where(early, rng.uniform(0.5, 6, (n, 1)), 0.0)
    std = level * (1 + gain * np.exp(-x / tau))
    shocks = rng.standard_normal((n, m))
    heavy = (rng.random(n) < 0.3) & ~plain
    scale = np.sqrt(rng.chisquare(3, (int(heavy.sum()), m)) / 3)
    shocks[heavy] /= scale * np.sqrt(3)
    phi = np.where((rng.random(n) < 0.35) & ~plain, rng.uniform(0, 0.9, n), 0.0)
    moving = np.flatnonzero(phi)
    if len(moving):
        part, keep = phi[moving], shocks[moving]
        for i in range(1, m):
            keep[:, i] = part * keep[:, i - 1] + np.sqrt(1 - part**2) * keep[:, i]
        shocks[moving] = keep
    return std, std * shocks


def _rounded(y: FloatArray, plain: np.ndarray, rng: np.random.Generator) -> FloatArray:
    """Accuracies on k validation rows are multiples of 1/k, between 0 and 1."""
    n = len(y)
    rows = np.round(np.exp(rng.uniform(np.log(60), np.log(5000), (n, 1))))
    lattice = (rng.random((n, 1)) < 0.6) & ~plain[:, None]
    return np.where(lattice, np.clip(np.round(y * rows) / rows, 0, 1), y)
