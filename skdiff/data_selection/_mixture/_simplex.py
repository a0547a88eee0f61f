"""Mixtures: designs, counts, and the part of the simplex that limits leave."""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog

from skdiff._base.typing import Array, IntArray

_CANDIDATES = 2000


class Limits(NamedTuple):
    """Bounds of each source's part, and ``prices @ p <= price``."""

    low: Array
    high: Array
    prices: Array
    price: float

    def allow(self, mixtures: Array, tol: float = 1e-9) -> Array:
        """Tell which mixtures are within the limits."""
        inside = np.all(mixtures >= self.low - tol, axis=1)
        inside &= np.all(mixtures <= self.high + tol, axis=1)
        cost = mixtures @ self.prices
        slack = tol * max(1.0, float(np.abs(self.prices).max()))
        return np.asarray(inside & (cost <= self.price + slack))


def design(m: int, n: int, most: Array, rng: Any) -> Array:
    """Return corners, the centroid, and mixtures far from each other.

    ``most`` bounds the part of each source; corners are moved within the bounds.
    """
    points = [bounded(row, most) for row in np.eye(m)]
    points.append(bounded(np.full(m, 1.0 / m), most))
    drawn = rng.dirichlet(np.ones(m), size=_CANDIDATES)
    drawn = drawn[np.all(drawn <= most + 1e-12, axis=1)]
    points = points[:n]
    while len(points) < n and len(drawn):
        gaps = np.min([np.sum((drawn - q) ** 2, axis=1) for q in points], axis=0)
        points.append(drawn[np.argmax(gaps)])
    return np.array(points)


def bounded(mixture: Array, most: Array) -> Array:
    """Return a mixture with no part above its bound: the excess goes to the others."""
    p = np.minimum(mixture, most)
    for _ in range(len(p) + 1):
        missing = 1.0 - p.sum()
        room = most - p
        if missing <= 1e-12 or room.sum() <= 0:
            break
        p = np.minimum(p + missing * room / room.sum(), most)
    return np.asarray(p)


def counts_of(mixture: Array, n: int) -> IntArray:
    """Return whole numbers of rows that sum to n, by the largest remainders."""
    exact = mixture * n
    whole = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: n - int(whole.sum())]] += 1
    return whole


def grid(m: int, steps: int) -> Array:
    """Return all mixtures of m sources in multiples of one over ``steps``."""
    if m == 1:
        return np.ones((1, 1))
    found = np.arange(steps + 1)[:, None]
    for _ in range(m - 2):
        rest = np.arange(steps + 1)
        both = np.column_stack(
            [np.repeat(found, len(rest), axis=0), np.tile(rest, len(found))]
        )
        found = both[both.sum(axis=1) <= steps]
    last = steps - found.sum(axis=1)
    return np.column_stack([found, last]) / steps


def starts(limits: Limits, m: int, rng: Any) -> Array:
    """Return mixtures within limits: vertices in random directions, and their means.

    Raises
    ------
    ValueError
        If no mixture is within the limits.
    """
    bounds = list(zip(limits.low, limits.high, strict=True))
    directions = np.vstack([np.eye(m), -np.eye(m), rng.standard_normal((4 * m, m))])
    found = []
    for direction in directions:
        answer = linprog(
            direction,
            A_ub=limits.prices[None],
            b_ub=[limits.price],
            A_eq=np.ones((1, m)),
            b_eq=[1.0],
            bounds=bounds,
        )
        if answer.status == 2:
            raise ValueError(
                "No mixture is within the limits: the lower bounds sum to more than "
                "one, the upper bounds to less, or the budget buys too few rows."
            )
        found.append(answer.x)
    vertices = np.array(found)
    middle = vertices.mean(axis=0)
    return np.vstack([vertices, middle[None], (vertices + middle) / 2])
