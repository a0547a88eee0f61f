"""Regions of cross-conformal prediction: every row calibrates, by a model without it.

A point is inside where fewer than ``rank`` of the rows have a smaller distance, each
row's own and the point's taken under the model of the folds that the row is not in.
"""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.conformal._regions._region import N_DRAWS, Region, as_points

_STRICT = 1.0 - 1e-12
_ROUNDS = 200


class Votes(NamedTuple):
    """Sorted distances of the rows of each fold, and the rank a point stays below."""

    folds: list[Array]
    rank: int

    def inside(self, distances: list[Array]) -> BoolArray:
        """Tell which points are inside, from their distances under each model."""
        smaller: IntArray = np.zeros(len(distances[0]), dtype=np.int64)
        for known, d in zip(self.folds, distances, strict=True):
            smaller += np.searchsorted(known, d * _STRICT, side="left")
        return np.asarray(smaller < self.rank)

    def levels(self) -> list[float]:
        """Levels of which each point inside stays below one.

        Were the point above all of them, each fold would have its part of the rank.
        """
        total = sum(len(known) for known in self.folds)
        places = [(self.rank - 1) * len(known) // total for known in self.folds]
        return [
            float(known[min(place, len(known) - 1)])
            for known, place in zip(self.folds, places, strict=True)
        ]


class PlusRegion:
    """Region of the targets of one row, by the votes of all rows.

    Parameters
    ----------
    parts : list of Region
        Region of the model of each fold at its level in ``votes.levels()``; their union
        holds the region.
    votes : Votes
        Distances of the rows.
    centre : ndarray of shape (n_targets,)
        Prediction for the row.
    seed : int
        Seed of the draws.
    """

    def __init__(
        self, parts: list[Region], votes: Votes, centre: Array, seed: int = 0
    ) -> None:
        self.parts, self.votes = parts, votes
        self.centre, self._seed = centre, seed

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
        found = self.votes.inside([part.distance(points) for part in self.parts])
        return bool(found[0]) if single else found

    def _draws(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points of the union, and in how many parts each of them is."""
        sizes = np.array([part.volume() for part in self.parts])
        share = sizes / sizes.sum()
        points = np.concatenate(
            [
                part.sample(int(k), int(rng.integers(2**31 - 1)))
                for part, k in zip(self.parts, rng.multinomial(n, share), strict=True)
                if k
            ]
        )
        covered = np.array([part.contains(points) for part in self.parts])
        return points, np.maximum(covered.sum(axis=0), 1)

    def volume(self, n_draws: int = N_DRAWS) -> float:
        """Return the volume in the units of the targets.

        Parameters
        ----------
        n_draws : int, default=20000
            Draws.

        Returns
        -------
        volume : float
            Length, area, volume.
        """
        points, covered = self._draws(n_draws, np.random.default_rng(self._seed))
        total = sum(part.volume() for part in self.parts)
        return float(total * np.mean(self.contains(points) / covered))

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

        Raises
        ------
        ValueError
            If the region is empty, which happens at low levels: each point has too many
            votes against it.
        """
        seed = self._seed if random_state is None else random_state
        rng = np.random.default_rng(seed)
        found: list[Array] = []
        left = n
        for _ in range(_ROUNDS):
            points, covered = self._draws(4 * max(left, 16), rng)
            kept = self.contains(points) & (rng.random(len(points)) * covered < 1)
            some = rng.permutation(points[kept])[:left]
            found.append(some)
            left -= len(some)
            if left <= 0:
                return np.concatenate(found)
        raise ValueError(
            "The region is empty, or too small for its draws: the votes of the rows "
            "leave no point inside. Increase confidence_level."
        )

    def bounds(self) -> Array:
        """Return an interval for each target that holds the region.

        Returns
        -------
        bounds : ndarray of shape (n_targets, 2)
            Lower and upper bounds.
        """
        boxes = np.array([part.bounds() for part in self.parts])
        return np.stack([boxes[..., 0].min(axis=0), boxes[..., 1].max(axis=0)], axis=1)
