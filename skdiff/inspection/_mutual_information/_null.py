"""p-values of estimates, from permutations.

Under independence the estimate depends on the data through the number of rows and the
sizes of ties and classes alone, so that columns with the same sizes share one set of
permutations; of columns without ties one set serves all. Of columns with more than 30
values those with about the same probability of a tie share one set.
"""

from typing import Any

import numpy as np
from scipy.stats import pearson3

from skdiff._base.typing import Array
from skdiff.inspection._mutual_information._pairs import Column, raw

_ENOUGH = 10  # exceedances from which the count is the p-value
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
        return b"about %d" % round(2 * np.log2(column.ranks.ties.mean()))
    return b"ties" + min(sizes.tobytes(), sizes[::-1].tobytes())


def null_values(
    x: Column, y: Column, n: int, method: str, count: int, rng: Any
) -> Array:
    """Return estimates, not clipped, of permutations of one column."""
    pairs = [(x.take(rng.permutation(n)), y) for _ in range(count)]
    return raw(pairs, n, method).mean


def tail_probability(value: float, null: Array) -> float:
    """Return the p-value of one estimate.

    Few exceedances are extrapolated by a Pearson III distribution with three moments of
    the permutations, as T. Knijnenburg et al. (2009) do with a Pareto tail.
    """
    above = int((null >= value - 1e-12).sum())
    counted = (above + 1) / (len(null) + 1)
    if above >= _ENOUGH or len(null) < 50:
        return counted
    away = null - null.mean()
    spread = away.std()
    if spread == 0:
        return counted
    skew = float(np.clip((away**3).mean() / spread**3, -2, 4))
    fitted = float(pearson3.sf((value - null.mean()) / spread, skew))
    # the fit is not trusted against what was counted
    return float(np.clip(fitted, counted**2, min(4 * counted, 1.0)))


def p_values(
    pairs: list[tuple[Column, Column]], n: int, method: str, count: int, rng: Any
) -> Array:
    """Return the p-value of every pair; 1 of constant columns."""
    observed, nulls = raw(pairs, n, method).mean, {}
    found = np.ones(len(pairs))
    for k, (x, y) in enumerate(pairs):
        if x.is_constant or y.is_constant:
            continue
        key = (pattern(x), pattern(y))
        if key not in nulls:
            nulls[key] = null_values(x, y, n, method, count, rng)
        found[k] = tail_probability(float(observed[k]), nulls[key])
    return found
