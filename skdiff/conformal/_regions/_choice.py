"""Which shape is the smallest, with or without a predicted size."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff.conformal._regions._shapes import conformal_quantile, learn_shape

SHAPES = ("ellipsoid", "directional", "neighbors", "box")
FEWEST = 40  # rows from which a choice is made
N_DRAWS = 4000


class Choice(NamedTuple):
    """A region, and whether residuals are divided by a predicted size."""

    region: str
    scaled: bool


class Settings(NamedTuple):
    """What the shapes need to know."""

    level: float
    n_directions: int
    k: int


def mean_volume(
    region: str, R: tuple[Array, Array], sizes: tuple[Array, Array], s: Settings
) -> float:
    """Mean volume on the second rows of a shape learnt from the first."""
    rng = np.random.default_rng(0)
    shape = learn_shape(
        region,
        R[0] / sizes[0][:, None],
        level=s.level,
        n_directions=s.n_directions,
        k=max(1, round(s.k / 2**0.5)),  # of half of the rows
        rng=rng,
    )
    distance = shape.distance(R[1] / sizes[1][:, None])
    # half of the rows calibrate here: at the level itself where it has no rank
    n = len(distance)
    q = conformal_quantile(distance, min(s.level, n / (n + 1)))
    if q <= 0:
        return np.inf
    d = R[0].shape[1]
    log = shape.log_volume(q, N_DRAWS, rng)
    return float(np.exp(log) * np.mean(sizes[1] ** d))


def choose(
    candidates: list[Choice],
    R: Array,
    size_of: Callable[[Any, Any], Array],
    settings: Settings,
    rng: np.random.Generator,
) -> Choice:
    """Return the candidate with the smallest mean volume over two halves.

    Parameters
    ----------
    candidates : list of Choice
        What to compare; the first one wins ties.
    R : ndarray of shape (n_rows, n_targets)
        Residuals of rows that do not calibrate.
    size_of : callable
        ``size_of(learn, rows)``: sizes of some rows, by a model learnt from others.
    settings : Settings
        Level and the like.
    rng : Generator
        It draws the halves.
    """
    if len(candidates) == 1:
        return candidates[0]
    order = rng.permutation(len(R))
    halves = np.array_split(order, 2)
    total = np.zeros(len(candidates))
    for a, b in (halves, halves[::-1]):
        learnt = {False: (np.ones(len(a)), np.ones(len(b)))}
        if any(c.scaled for c in candidates):
            learnt[True] = (size_of(a, a), size_of(a, b))
        for k, c in enumerate(candidates):
            total[k] += mean_volume(c.region, (R[a], R[b]), learnt[c.scaled], settings)
    return candidates[int(np.argmin(total))]
