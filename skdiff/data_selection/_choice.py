"""Which rows to keep, given a value for each of them."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray


def number_to_keep(n_select: float, n_samples: int) -> int:
    """Return how many of ``n_samples`` rows ``n_select`` stands for.

    An int is a number of rows, a float a fraction of them, rounded and at least one.
    """
    if isinstance(n_select, int | np.integer):
        if n_select > n_samples:
            raise ValueError(
                f"n_select={n_select} is more than the {n_samples} rows there are to "
                "choose from. Pass a smaller number, or a fraction such as 0.5."
            )
        return int(n_select)
    return max(1, min(n_samples, round(float(n_select) * n_samples)))


def class_quotas(codes: IntArray, n: int, n_classes: int) -> IntArray:
    """Distribute ``n`` rows over classes in proportion, at least one per class.

    Largest remainders are rounded up; ``codes`` are the classes of the candidates.
    """
    counts = np.bincount(codes, minlength=n_classes)
    present = counts > 0
    if n < present.sum():
        raise ValueError(
            f"balance='class' keeps at least one row per class: n_select={n} rows are "
            f"too few for {present.sum()} classes."
        )
    exact = n * counts / counts.sum()
    quotas = np.maximum(np.floor(exact), present).astype(np.int64)
    while (missing := n - quotas.sum()) > 0:
        room = np.where(quotas < counts, exact - quotas, -np.inf)
        quotas[np.argsort(-room, kind="stable")[: min(missing, np.sum(room > -1))]] += 1
    while quotas.sum() > n:
        excess = np.where(quotas > present, quotas - exact, -np.inf)
        quotas[np.argmax(excess)] -= 1
    return quotas


def largest(values: Array, n: int) -> IntArray:
    """Return the rows of the ``n`` largest values, in row order."""
    return np.sort(np.argsort(-values, kind="stable")[:n])


def gumbel_largest(log_weights: Array, n: int, rng: Any) -> IntArray:
    """Draw ``n`` rows without replacement, one after another in proportion to weights.

    The largest ``n`` of log weight plus Gumbel noise are such a sample.
    """
    return largest(log_weights + rng.gumbel(size=len(log_weights)), n)


def inclusion_probabilities(weights: Array, n: int) -> Array:
    """Return probabilities that sum to ``n``, proportional to weights up to one."""
    q = np.zeros(len(weights))
    certain = np.zeros(len(weights), dtype=bool)
    while True:
        rest = n - certain.sum()
        mass = weights[~certain].sum()
        if rest <= 0 or mass <= 0:
            break
        q[~certain] = rest * weights[~certain] / mass
        over = ~certain & (q >= 1.0)
        if not over.any():
            break
        certain |= over
    q[certain] = 1.0
    return q


def systematic_sample(q: Array, rng: Any) -> IntArray:
    """Draw rows so that each is included with exactly its probability.

    The rows are put in random order on a line, each as long as its probability, and
    every point at a whole distance from a random start picks the row it falls on.
    """
    order = rng.permutation(len(q))
    ends = np.cumsum(q[order])
    n = round(float(ends[-1]))
    points = rng.uniform() + np.arange(n)
    picked = np.searchsorted(ends, points * (ends[-1] / n), side="right")
    picked = np.minimum(picked, len(q) - 1)
    chosen = np.unique(order[picked])
    if len(chosen) < n:  # rounding put two points on a row of probability one
        left = np.setdiff1d(np.flatnonzero(q > 0), chosen)
        chosen = np.append(chosen, left[np.argsort(-q[left])[: n - len(chosen)]])
    return np.sort(chosen)


def standardised(values: Array) -> Array:
    """Centre and scale; a constant is zero, and infinite values stay what they are."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.where(finite, values, np.nan_to_num(values, nan=-np.inf))
    known = values[finite]
    peak = np.abs(known).max() or 1.0
    mean, spread = (known / peak).mean() * peak, (known / peak).std() * peak
    if spread <= 1e-14 * peak:
        spread = 1.0
        mean = known[0]
    return np.where(finite, (np.where(finite, values, mean) - mean) / spread, values)


def choose(
    values: Array,
    n: int,
    *,
    groups: IntArray | None = None,
    n_groups: int = 0,
    rng: Any = None,
) -> IntArray:
    """Return the rows to keep, sorted.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Larger is kept. Minus infinity excludes a row.
    n : int
        How many rows.
    groups : ndarray of shape (n_samples,), default=None
        Codes of classes whose proportions are kept, at least one row per class.
    n_groups : int
        Number of classes.
    rng : RandomState, default=None
        Where there is one, rows are drawn without replacement with ``values`` as the
        logarithm of their weights; otherwise the largest values win.
    """
    allowed = values > -np.inf
    if allowed.sum() < n:
        raise ValueError(f"Only {allowed.sum()} rows may be chosen, and {n} are due.")
    if rng is not None:
        values = values + rng.gumbel(size=len(values))
    if groups is None:
        return largest(values, n)
    quotas = class_quotas(groups[allowed], n, n_groups)
    kept = [
        rows[largest(values[rows], quota)]
        for code, quota in enumerate(quotas)
        if len(rows := np.flatnonzero((groups == code) & allowed))
    ]
    return np.sort(np.concatenate(kept))


def middle_values(scores: Array) -> Array:
    """Value rows by how close their rank is to the middle one; none beats rank zero."""
    finite = np.isfinite(scores)
    ranks = np.full(len(scores), -np.inf)
    order = np.argsort(np.where(finite, scores, -np.inf), kind="stable")
    order = order[finite[order]]
    centre = (len(order) - 1) / 2
    ranks[order] = -np.abs(np.arange(len(order)) - centre)
    return ranks


def without_hardest(values: Array, scores: Array, share: float) -> Array:
    """Exclude the rows of the highest scores, a fraction ``share`` of all."""
    n = round(share * np.isfinite(scores).sum())
    if not n:
        return values
    finite: BoolArray = np.isfinite(scores)
    hardest = np.argsort(-np.where(finite, scores, -np.inf), kind="stable")[:n]
    values = values.astype(np.float64, copy=True)
    values[hardest] = -np.inf
    return values
