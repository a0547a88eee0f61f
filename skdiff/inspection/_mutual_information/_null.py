"""p-values of estimates, from permutations.

Under independence the estimate depends on the data through the number of rows and the
sizes of ties and classes alone, so that columns with the same sizes share one set of
permutations; of columns without ties one set serves all. Of columns with more than 30
values those share one set that have about the same probability of a tie and a frequent
value of about the same size and place, if any.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff.inspection._mutual_information._pairs import Column, raw

_ENOUGH = 10  # exceedances from which the count is the p-value
_HEAVY = 7  # exponent of the tail, 10 were it exponential
_FEW_VALUES = 30  # up to which the sizes of ties matter one by one


def pattern(column: Column) -> bytes:
    """What the null distribution depends on."""
    if column.codes is not None:
        return b"classes" + np.sort(np.bincount(column.codes)).tobytes()
    assert column.ranks is not None
    signed, first = np.unique(column.ranks.signed, return_index=True)
    sizes = column.ranks.ties[first]
    if len(signed) == len(column.ranks.signed):
        return b"untied"
    if len(signed) > _FEW_VALUES:
        n, most = len(column.ranks.signed), int(sizes.argmax())
        shape = [round(2 * np.log2(column.ranks.ties.mean())), 0, 0]
        if 16 * sizes[most] > n:  # one frequent value, such as zero
            shape[1:] = round(16 * sizes[most] / n), round(8 * abs(signed[most]) / n)
        return b"about %d %d %d" % tuple(shape)
    return b"ties" + min(sizes.tobytes(), sizes[::-1].tobytes())


def null_values(
    pair: tuple[Column, Column],
    n: int,
    method: str,
    count: int,
    rng: Any,
    n_jobs: int | None = None,
) -> Array:
    """Return estimates, not clipped, of permutations of the first column."""
    x, y = pair
    pairs = [(x.take(rng.permutation(n)), y) for _ in range(count)]
    return raw(pairs, n, method, n_jobs).mean


def tail_probability(value: float, null: Array) -> float:
    """Return the p-value of one estimate.

    Few exceedances are extrapolated from the ten largest permutations. Were their tail
    exponential, (1 + z / S)^-10 were exact for a value z above it, S being the sum of
    the ten excesses; 7 instead of 10 makes up for the heavier tails that estimates
    have. T. Knijnenburg et al. (2009) fit a Pareto tail, which few draws do not bear.
    """
    above = int((null >= value - 1e-12).sum())
    counted = (above + 1) / (len(null) + 1)
    if above >= _ENOUGH or len(null) < 50:
        return counted
    *excess, base = np.sort(null)[: -_ENOUGH - 2 : -1]
    total = float(np.sum(excess) - len(excess) * base)
    if total <= 0:
        return counted
    fitted = (_ENOUGH + 1) / (len(null) + 1) * (1 + (value - base) / total) ** -_HEAVY
    # the fit is not trusted against what was counted
    return float(np.clip(fitted, counted**2, counted))


def p_values(
    pairs: list[tuple[Column, Column]],
    n: int,
    method: str,
    count: int,
    rng: Any,
    n_jobs: int | None = None,
) -> Iterator[float]:
    """Yield the p-value of every pair; 1 of constant columns."""
    observed, nulls = raw(pairs, n, method, n_jobs).mean, {}
    for k, (x, y) in enumerate(pairs):
        if x.is_constant or y.is_constant:
            yield 1.0
            continue
        key = (pattern(x), pattern(y))
        if key not in nulls:
            nulls[key] = null_values((x, y), n, method, count, rng, n_jobs)
        yield tail_probability(float(observed[k]), nulls[key])
