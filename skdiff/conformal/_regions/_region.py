"""The region of one row."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff.conformal._regions._shapes import Shape, inside

N_DRAWS = 20_000


def as_points(y: Any, d: int) -> tuple[Array, bool]:
    """Points of d numbers, one row each, and whether y was a single one."""
    points = np.asarray(y, dtype=np.float64)
    single = points.ndim == 0 or (points.ndim == 1 and d > 1)
    if points.ndim < 2:
        points = points.reshape(-1, 1) if d == 1 else points.reshape(1, -1)
    if points.ndim != 2 or points.shape[1] != d:
        raise ValueError(
            f"y has shape {np.shape(y)}; one point has {d} numbers, many have one "
            "row per point."
        )
    return points, single


class Region:
    """Region of the targets of one row.

    Parameters
    ----------
    shape : Shape
        Distance of residuals and its level sets.
    level : float
        Threshold of the distance.
    centre : ndarray of shape (n_targets,)
        Prediction for the row.
    unit : ndarray of shape (n_targets,)
        What a residual of one is in the units of each target.
    volume : float or None
        Volume, where it is known.
    seed : int
        Seed of the draws.
    """

    def __init__(
        self,
        shape: Shape,
        level: float,
        centre: Array,
        unit: Array,
        *,
        volume: float | None = None,
        seed: int = 0,
    ) -> None:
        self.shape, self.level = shape, level
        self.centre, self.unit = centre, unit
        self._volume, self._seed = volume, seed

    def contains(self, y: Any) -> Any:
        """Tell whether a point, or each of many points, is inside.

        Parameters
        ----------
        y : array-like of shape (n_targets,) or (n_points, n_targets)
            Points. With one target a number, or one number per point.

        Returns
        -------
        inside : bool or ndarray of bool of shape (n_points,)
            Whether each is inside.
        """
        points, single = as_points(y, len(self.centre))
        found = inside(self.distance(points), self.level)
        return bool(found[0]) if single else found

    def distance(self, points: Array) -> Array:
        """Return the distance of each point, which the level is compared with.

        Parameters
        ----------
        points : ndarray of shape (n_points, n_targets)
            Points.

        Returns
        -------
        distance : ndarray of shape (n_points,)
            Distances.
        """
        return self.shape.distance((points - self.centre) / self.unit)

    def volume(self, n_draws: int = N_DRAWS) -> float:
        """Return the volume in the units of the targets.

        Parameters
        ----------
        n_draws : int, default=20000
            Draws, where there is no closed form.

        Returns
        -------
        volume : float
            Length, area, volume.
        """
        if self._volume is not None and n_draws == N_DRAWS:
            return self._volume
        rng = np.random.default_rng(self._seed)
        log = self.shape.log_volume(self.level, n_draws, rng)
        return float(np.exp(log + np.log(self.unit).sum()))

    def sample(self, n: int, random_state: Any = None) -> Array:
        """Draw points uniformly from the region.

        Parameters
        ----------
        n : int
            Number of points.
        random_state : int or None, default=None
            Seed; without one the same points every time.

        Returns
        -------
        points : ndarray of shape (n, n_targets)
            The draws.
        """
        seed = self._seed if random_state is None else random_state
        R = self.shape.sample(self.level, n, np.random.default_rng(seed))
        found: Array = self.centre + self.unit * R
        return found

    def bounds(self) -> Array:
        """Return an interval for each target that holds the region.

        Returns
        -------
        bounds : ndarray of shape (n_targets, 2)
            Lower and upper bounds.
        """
        found: Array = self.centre[:, None] + self.unit[:, None] * self.shape.bounds(
            self.level
        )
        return found
