"""Counts, weights and decisions of a study of label budgets."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray


class Purchase(NamedTuple):
    """Numbers of labels a budget buys."""

    n_weak: int
    n_expert: int


def purchase(
    budget: float,
    fraction: float,
    cost_weak: float,
    cost_expert: float,
    most: tuple[int, int],
) -> Purchase:
    """Spend a fraction on expert labels and the rest on cheap ones.

    Rounded down, so that the budget is never exceeded. ``most`` are the rows there are:
    with an expert label, and in all. A row gets one label.
    """
    tiny = 1e-9
    n_expert = min(int(budget * fraction / cost_expert + tiny), most[0])
    n_weak = int(budget * (1.0 - fraction) / cost_weak + tiny)
    return Purchase(min(n_weak, most[1] - n_expert), n_expert)


def weak_weight(accuracy: float, n_classes: int) -> float:
    """Return ``(2 a - 1) ** 2``, for K classes ``((a - 1/K) / (1 - 1/K)) ** 2``."""
    chance = 1.0 / n_classes
    return max((accuracy - chance) / (1.0 - chance), 0.0) ** 2


def confusion(expert: IntArray, weak: IntArray, n_classes: int) -> Array:
    """Return the chance of each weak label (columns) given the true one (rows).

    One row of the table is added to each cell's share, so that no chance is zero.
    """
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (expert, weak), 1.0)
    counts += 1.0 / n_classes
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def posterior(P: Array, T: Array, weak: IntArray) -> Array:
    """Return the chance of each true label given the features and the weak label."""
    joint = P * T[:, weak].T
    total = joint.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, joint / np.where(total > 0, total, 1), P))


class Verdict(NamedTuple):
    """Best fraction of one budget, its lead over the better end, and the regime."""

    fraction: float
    interval: tuple[float, float]
    regime: str


def judge(fractions: Array, scores: Array) -> Verdict:
    """Compare the fractions of one budget by paired repeats.

    ``scores`` is (fractions, repeats). Mixed only if the best inner fraction beats the
    first and the last one by two standard errors of the paired difference.
    """
    means = scores.mean(axis=1)
    ends = (0, len(fractions) - 1)
    best = int(np.argmax(means))
    end = ends[int(means[ends[1]] > means[ends[0]])]
    if best not in ends and all(_lead(scores, best, e)[0] > 0 for e in ends):
        regime = "mixed"
    else:
        regime = "quantity" if end == 0 else "quality"
    return Verdict(float(fractions[best]), _lead(scores, best, end), regime)


def _lead(scores: Array, best: int, other: int) -> tuple[float, float]:
    """Mean paired difference, less and plus two standard errors."""
    difference = scores[best] - scores[other]
    error = standard_error(difference)
    return float(difference.mean() - 2 * error), float(difference.mean() + 2 * error)


def standard_error(values: Array) -> float:
    """Standard error of a mean; zero for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def draw_labels(
    rows: IntArray, has_expert: BoolArray, bought: Purchase, rng: np.random.RandomState
) -> tuple[IntArray, IntArray]:
    """Draw the rows that get an expert label, and others that get a weak one."""
    shuffled = rows[rng.permutation(len(rows))]
    with_expert = shuffled[has_expert[shuffled]]
    expert = with_expert[: bought.n_expert]
    rest = np.setdiff1d(shuffled, expert, assume_unique=True)
    rest = shuffled[np.isin(shuffled, rest)]
    # rows without an expert label first, so that those with one stay to be bought
    order = np.argsort(has_expert[rest], kind="stable")
    return expert, rest[order][: bought.n_weak]
