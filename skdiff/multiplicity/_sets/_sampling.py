"""Uniform draws from a level set, and its volume, from rays through the centre.

Along a direction ``d``, uniform on the sphere in whitened coordinates, the set ends at
the radius ``r(d)`` where the gap equals the budget. Weighting a direction by ``r(d)^k``
in ``k`` dimensions, with the point at ``r U^(1/k)`` for a uniform ``U``, makes draws of
the uniform distribution; the mean weight is the volume over that of the unit ball.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from skdiff._base.typing import Array
from skdiff.multiplicity._sets._level_set import LevelSet

_NEWTON, _CELLS = 60, 200_000


@dataclass
class Rays:
    """Directions (m, k) on the sphere, and radii (m,) at which they leave the set."""

    direction: Array
    radius: Array

    @property
    def weight(self) -> Array:
        """Importance weights that sum to one."""
        power = self.direction.shape[1] * np.log(self.radius)
        weight = np.exp(power - power.max(initial=-np.inf))
        return np.asarray(weight / weight.sum())


def draw_rays(
    level_set: LevelSet, budget: float, m: int, rng: np.random.RandomState
) -> Rays:
    """Draw directions and find where they end."""
    k = level_set.whiten.shape[1]
    direction = rng.normal(size=(m, k))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return Rays(direction, ends(level_set, direction, budget))


def ends(
    level_set: LevelSet, direction: Array, budget: float, origin: Array | None = None
) -> Array:
    """Distance from the origin to the boundary of the set along each direction.

    ``origin`` (m, k) lies in the set; the centre by default.
    """
    found = np.empty(len(direction))
    step = max(16, _CELLS // max(level_set.data.n, 1))
    for start in range(0, len(direction), step):
        rows = slice(start, start + step)
        base = None if origin is None else origin[rows]
        found[rows] = _ends(level_set, direction[rows], budget, base)
    return found


def _ends(level_set: LevelSet, D: Array, budget: float, origin: Array | None) -> Array:
    """Newton on ``sqrt(2 gap) = sqrt(2 budget)``, within a bracket.

    The root of the gap is almost linear along a ray. A step that leaves the bracket
    is replaced by its middle, or by a doubling where nothing beyond is known.
    """
    tau = np.sqrt(2 * budget)
    base = np.zeros_like(D) if origin is None else origin
    # from another point of the set the diameter bounds the way; half of it is a start
    r = np.full(len(D), tau)
    low, high = np.zeros(len(D)), np.full(len(D), np.inf)
    open_ = np.arange(len(D))
    for _ in range(_NEWTON):
        U = base[open_] + r[open_, None] * D[open_]
        with np.errstate(over="ignore", invalid="ignore"):
            gap, gradient, _ = level_set.data.evaluate(U)
        gap = np.where(np.isfinite(gap), gap, np.inf)
        reach = np.sqrt(2 * np.maximum(gap, 0.0))
        outside = reach > tau
        here = r[open_]
        high[open_] = np.where(outside, here, high[open_])
        low[open_] = np.where(outside, low[open_], here)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            slope = np.einsum("ij,ij->i", gradient, D[open_]) / reach
            step = (tau - reach) / slope
        done = np.abs(reach - tau) <= 1e-10 * tau
        middle = np.where(
            np.isfinite(high[open_]), (low[open_] + high[open_]) / 2, 2 * here + tau
        )
        next_ = here + step
        # towards the centre of the set the gap falls: the far end is meant
        wrong = ~np.isfinite(next_) | (slope <= 0)
        wrong |= (next_ <= low[open_]) | (next_ >= high[open_]) | (next_ > 4 * here)
        r[open_] = np.where(done, here, np.where(wrong, middle, next_))
        open_ = open_[~done & (high[open_] - low[open_] > 1e-14 * here)]
        if not len(open_):
            break
    return r


def draw(
    level_set: LevelSet, budget: float, m: int, rng: np.random.RandomState
) -> tuple[Array, Array]:
    """Points of the set (m, k) in whitened coordinates and weights that sum to one."""
    rays = draw_rays(level_set, budget, m, rng)
    share = rng.uniform(size=m) ** (1 / rays.direction.shape[1])
    return (rays.radius * share)[:, None] * rays.direction, rays.weight


def effective_size(weight: Array) -> float:
    """How many equally weighted draws are worth as much."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def hit_and_run(
    level_set: LevelSet,
    U: Array,
    budget: float,
    n_steps: int,
    rng: np.random.RandomState,
) -> Array:
    """Move each point to a uniform place on a random chord, ``n_steps`` times."""
    U = U.copy()
    for _ in range(n_steps):
        D = rng.normal(size=U.shape)
        D /= np.linalg.norm(D, axis=1, keepdims=True)
        both = ends(
            level_set,
            np.concatenate([D, -D]),
            budget,
            origin=np.concatenate([U, U]),
        )
        ahead, behind = both[: len(U)], both[len(U) :]
        place = rng.uniform(size=len(U)) * (ahead + behind) - behind
        U += place[:, None] * D
    return U


def log_volume(
    level_set: LevelSet, budget: float, m: int, rng: np.random.RandomState
) -> tuple[float, float]:
    """Logarithm of the volume in the problem's coordinates, and its standard error.

    ``vol = pi^(k/2) / Gamma(k/2 + 1) |det whiten| E[r^k]``.
    """
    k = level_set.whiten.shape[1]
    rays = draw_rays(level_set, budget, m, rng)
    power = k * np.log(rays.radius)
    top = power.max()
    scaled = np.exp(power - top)
    mean = scaled.mean()
    error = float(scaled.std() / mean / np.sqrt(m))
    ball = k / 2 * np.log(np.pi) - gammaln(k / 2 + 1)
    jacobian = np.linalg.slogdet(level_set.whiten)[1]
    return float(ball + jacobian + top + np.log(mean)), error
