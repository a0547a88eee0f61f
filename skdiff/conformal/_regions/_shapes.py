"""Shapes of residuals: a distance whose level sets are the regions.

A shape is learnt from residuals of rows that do not calibrate. Residuals are divided
by the targets' spreads (and by a predicted size) before they come here. The region of
level ``q`` is ``{r : distance(r) <= q}``; every shape knows its volume, bounds and how
to draw from it.
"""

from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import cKDTree
from scipy.special import gammaln
from sklearn.covariance import LedoitWolf

from skdiff._base.typing import Array, BoolArray

FLAT = 1e-12  # least eigenvalue of a covariance, relative to the largest


class Shape(Protocol):
    """What every shape offers."""

    def distance(self, R: Array) -> Array:
        """Distances of residuals, (rows,)."""

    def log_volume(self, q: float, n_draws: int, rng: np.random.Generator) -> float:
        """Logarithm of the volume of the region."""

    def sample(self, q: float, n: int, rng: np.random.Generator) -> Array:
        """Uniform draws from the region."""

    def bounds(self, q: float) -> Array:
        """Smallest box around the region, (targets, 2)."""


def log_ball(d: int) -> float:
    """Logarithm of the volume of the unit ball."""
    return float(d / 2 * np.log(np.pi) - gammaln(d / 2 + 1))


def in_ball(n: int, d: int, rng: np.random.Generator) -> Array:
    """Uniform draws from the unit ball."""
    v = rng.standard_normal((n, d))
    length = np.linalg.norm(v, axis=1, keepdims=True)
    found: Array = v / length * rng.random((n, 1)) ** (1 / d)
    return found


def root_covariance(R: Array) -> Array:
    """Lower triangular root of the shrunken covariance around the mean."""
    d = R.shape[1]
    cov: Array = np.eye(d)
    if len(R) > 1:
        cov = np.atleast_2d(LedoitWolf().fit(R).covariance_)
    values, vectors = np.linalg.eigh(cov)
    largest = values[-1] if values[-1] > 0 else 1.0
    kept = np.maximum(values, FLAT * largest)
    found: Array = np.linalg.cholesky((vectors * kept) @ vectors.T)
    return found


class Ellipsoid(NamedTuple):
    """Mahalanobis distance from a centre."""

    centre: Array
    root: Array

    def distance(self, R: Array) -> Array:
        """Distances of residuals."""
        white = np.linalg.solve(self.root, (R - self.centre).T)
        found: Array = np.sqrt((white**2).sum(axis=0))
        return found

    def log_volume(self, q: float, n_draws: int, rng: np.random.Generator) -> float:
        """Closed form."""
        d = len(self.centre)
        return float(log_ball(d) + d * np.log(q) + np.log(np.diag(self.root)).sum())

    def sample(self, q: float, n: int, rng: np.random.Generator) -> Array:
        """Draws from the ball, stretched."""
        d = len(self.centre)
        found: Array = self.centre + q * in_ball(n, d, rng) @ self.root.T
        return found

    def bounds(self, q: float) -> Array:
        """Half-widths are the roots of the diagonal of the covariance."""
        half = q * np.sqrt((self.root**2).sum(axis=1))
        return np.column_stack([self.centre - half, self.centre + half])


class Box(NamedTuple):
    """Largest residual of a target, in units of its spread."""

    half: Array

    def distance(self, R: Array) -> Array:
        """Distances of residuals."""
        found: Array = np.abs(R / self.half).max(axis=1)
        return found

    def log_volume(self, q: float, n_draws: int, rng: np.random.Generator) -> float:
        """Closed form."""
        return float(np.log(2 * q * self.half).sum())

    def sample(self, q: float, n: int, rng: np.random.Generator) -> Array:
        """Draws from a box."""
        found: Array = q * self.half * rng.uniform(-1, 1, (n, len(self.half)))
        return found

    def bounds(self, q: float) -> Array:
        """The box itself."""
        return np.column_stack([-q * self.half, q * self.half])


class Directional(NamedTuple):
    """Half-spaces ``u'(w) <= q h_u`` of whitened residuals ``w``: a convex region."""

    centre: Array
    root: Array
    directions: Array
    heights: Array

    def _white(self, R: Array) -> Array:
        white = np.linalg.solve(self.root, (R - self.centre).T).T
        return np.asarray(white, dtype=np.float64)

    def distance(self, R: Array) -> Array:
        """Largest ratio of a projection to the quantile of its direction."""
        ratios = self._white(R) @ self.directions.T / self.heights
        found: Array = np.maximum(ratios.max(axis=1), 0.0)
        return found

    def _reach(self, U: Array) -> Array:
        """Distance from the centre to the border of the region of level one."""
        along = np.maximum(U @ self.directions.T / self.heights, 0.0).max(axis=1)
        found: Array = 1.0 / along
        return found

    def log_volume(self, q: float, n_draws: int, rng: np.random.Generator) -> float:
        """Mean of reach ** d over directions, times the unit ball.

        The region is star-shaped around its centre, so that this holds in any number
        of targets; points in a box would all miss it in eight.
        """
        d = len(self.centre)
        logs = d * np.log(self._reach(sphere(n_draws, d, rng)))
        top = logs.max()
        mean = top + np.log(np.exp(logs - top).mean())
        return float(
            log_ball(d) + mean + d * np.log(q) + np.log(np.diag(self.root)).sum()
        )

    def sample(self, q: float, n: int, rng: np.random.Generator) -> Array:
        """Hit-and-run chains from the centre, one per draw."""
        d = len(self.centre)
        W = np.zeros((n, d))
        for _ in range(20 * d):
            V = rng.standard_normal((n, d))
            V = V / np.linalg.norm(V, axis=1, keepdims=True)
            speed = V @ self.directions.T
            room = q * self.heights - W @ self.directions.T
            with np.errstate(divide="ignore"):
                steps = room / speed
            high = np.where(speed > 0, steps, np.inf).min(axis=1)
            low = np.where(speed < 0, steps, -np.inf).max(axis=1)
            W = W + rng.uniform(low, high)[:, None] * V
        found: Array = self.centre + W @ self.root.T
        return found

    def bounds(self, q: float) -> Array:
        """Linear programs, two per target."""
        found = np.empty((len(self.centre), 2))
        for j, row in enumerate(self.root):
            for k, sign in enumerate((1.0, -1.0)):
                best = linprog(
                    sign * row, self.directions, q * self.heights, bounds=(None, None)
                )
                found[j, k] = self.centre[j] + sign * best.fun
        return found


def sphere(n: int, d: int, rng: np.random.Generator) -> Array:
    """Unit vectors: a regular fan in the plane, random ones elsewhere."""
    if d == 1:
        return np.array([[1.0], [-1.0]])
    if d == 2:
        angle = 2 * np.pi * (np.arange(n) + 0.5) / n
        return np.column_stack([np.cos(angle), np.sin(angle)])
    v = rng.standard_normal((n, d))
    found: Array = v / np.linalg.norm(v, axis=1, keepdims=True)
    return found


def fan(n: int, d: int, rng: np.random.Generator) -> Array:
    """Directions of half-spaces; with the axes among them the region is bounded."""
    if d <= 2:
        return sphere(n, d, rng)
    axes = np.vstack([np.eye(d), -np.eye(d)])
    return np.vstack([axes, sphere(max(n - 2 * d, 0), d, rng)])


class Balls(NamedTuple):
    """Distance to the k-th nearest of some points: any shape, and many pieces."""

    points: Array
    k: int = 1

    def distance(self, R: Array) -> Array:
        """Distances of residuals."""
        found = cKDTree(self.points).query(R, k=[self.k])[0][:, 0]
        return np.asarray(found, dtype=np.float64)

    def _cover(self, q: float, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws from balls around the points, and how many balls hold each."""
        m, d = self.points.shape
        draws = self.points[rng.integers(m, size=n)] + q * in_ball(n, d, rng)
        # a draw on the border of its own ball is in it
        count = cKDTree(self.points).query_ball_point(
            draws, q * (1 + 1e-12), return_length=True
        )
        return draws, np.maximum(np.asarray(count, dtype=np.float64), 1.0)

    def log_volume(self, q: float, n_draws: int, rng: np.random.Generator) -> float:
        """Total of the balls, each draw shared among those that hold it.

        Karp and Luby (1983): unbiased, and precise in any number of targets.
        """
        m, d = self.points.shape
        _, count = self._cover(q, n_draws, rng)
        share = np.where(count >= self.k, 1 / count, 0.0).mean()
        if share == 0:  # at level q hardly any place is that near to k points
            share = 0.5 / n_draws / m
        return float(np.log(m) + log_ball(d) + d * np.log(q) + np.log(share))

    def sample(self, q: float, n: int, rng: np.random.Generator) -> Array:
        """Draws from the balls, kept in proportion to one over their number."""
        kept: list[Array] = []
        found = 0
        for _ in range(1000):
            draws, count = self._cover(q, 4 * n + 64, rng)
            chance = np.where(count >= self.k, self.k / count, 0.0)
            some = draws[rng.random(len(draws)) < chance]
            kept.append(some)
            found += len(some)
            if found >= n:
                break
        return np.concatenate(kept)[:n]

    def bounds(self, q: float) -> Array:
        """Exact for k = 1; for more the k-th largest reach, which is safe."""
        ordered = np.sort(self.points, axis=0)
        k = min(self.k, len(ordered))
        return np.column_stack([ordered[k - 1] - q, ordered[-k] + q])


def learn_shape(
    region: str,
    R: Array,
    *,
    level: float,
    n_directions: int,
    k: int,
    rng: np.random.Generator,
) -> Shape:
    """Learn a shape from residuals (rows, targets)."""
    d = R.shape[1]
    if region == "box":
        spread = np.sqrt((R**2).mean(axis=0))
        return Box(np.where(spread > 0, spread, 1.0))
    if region == "neighbors":
        return Balls(R, min(k, len(R)))
    if region == "ellipsoid":
        # residuals are centred: the centre is the prediction
        return Ellipsoid(np.zeros(d), root_covariance(R))
    centre, root = R.mean(axis=0), root_covariance(R)
    white = np.linalg.solve(root, (R - centre).T).T
    U = fan(n_directions, d, rng)
    heights = np.quantile(white @ U.T, level, axis=0)
    floor = 1e-3 * max(float(np.abs(heights).max()), 1e-300)
    return Directional(centre, root, U, np.maximum(heights, floor))


def conformal_quantile(scores: Array, level: float) -> float:
    """The score of the rank that the level needs."""
    return float(np.sort(scores)[conformal_rank(len(scores), level) - 1])


def conformal_rank(n: int, level: float) -> int:
    """``ceil((n + 1) level)``."""
    return int(np.ceil((n + 1) * level - 1e-9))


def rows_needed(level: float) -> int:
    """Fewest calibration rows of which the level has a rank."""
    return max(int(np.ceil(1 / (1 - level) - 1e-9)) - 1, 1)


def inside(distance: Array, q: float) -> BoolArray:
    """Which distances are within the threshold, but for rounding."""
    found: BoolArray = distance <= q * (1 + 1e-12)
    return found
