"""Brackets, rungs and promotions of Hyperband, in exact integers."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Schedule = list[tuple[int, int, int, int]]


def most_halvings(max_resource: int, min_resource: int, factor: int) -> int:
    """Largest s with ``min_resource * factor**s <= max_resource``.

    A floor of logarithms is one short for exact powers (3**5 in base 3).
    """
    s = 0
    while min_resource * factor ** (s + 1) <= max_resource:
        s += 1
    return s


def rung_budget(max_resource: int, factor: int, s: int, rung: int) -> int:
    """Resource of a rung, ``max_resource * factor**(rung - s)`` to the nearest integer.

    The last rung is ``max_resource`` exactly, whatever divides what.
    """
    down = factor ** (s - rung)
    return (2 * max_resource + down) // (2 * down)


def rung_sizes(s_max: int, factor: int, s: int) -> list[int]:
    """Number of settings on each rung of bracket s (Li et al. 2018, algorithm 1)."""
    first = -(-(s_max + 1) * factor**s // (s + 1))
    return [first // factor**rung for rung in range(s + 1)]


def bracket_numbers(s_max: int, brackets: int | str) -> list[int]:
    """Brackets that run, the most explorative first."""
    count = s_max + 1 if isinstance(brackets, str) else min(brackets, s_max + 1)
    return [s_max - k for k in range(count)]


def hyperband_schedule(
    max_resource: int, min_resource: int, factor: int, brackets: int | str = "all"
) -> Schedule:
    """All rungs as ``(bracket, rung, n, budget)`` in the order in which they run."""
    s_max = most_halvings(max_resource, min_resource, factor)
    return [
        (s, rung, n, rung_budget(max_resource, factor, s, rung))
        for s in bracket_numbers(s_max, brackets)
        for rung, n in enumerate(rung_sizes(s_max, factor, s))
    ]


def ranked(scores: NDArray[np.float64]) -> list[int]:
    """Positions from the best score to the worst; ties in order, NaN left out."""
    order = np.argsort(-scores, kind="stable")
    return [int(i) for i in order if not np.isnan(scores[i])]


def promote(
    members: Sequence[int],
    scores: NDArray[np.float64],
    size: int,
    settled: Sequence[int] = (),
    eliminated: Iterable[int] = (),
    rule: str = "efficient",
) -> list[int]:
    """Settings that join the next rung, the best first.

    Parameters
    ----------
    members, scores
        Settings on this rung and what they scored there.
    size
        Number of settings the schedule has on the next rung.
    settled
        Settings that are on the next rung already, from a search with a smaller
        ``max_resource``.
    eliminated
        Settings that the earlier search left behind on this rung.
    rule
        ``"efficient"``: the free slots go to the best that are not there yet.
        ``"preserve"``: the best ``size`` of all are there afterwards, even if that
        takes more than the free slots. ``"discard"``: as efficient, without those
        eliminated before.
    """
    there = set(settled)
    order = [members[i] for i in ranked(scores)]
    if rule == "preserve":
        return [m for m in order[:size] if m not in there]
    barred = there | (set(eliminated) if rule == "discard" else set())
    return [m for m in order if m not in barred][: max(size - len(there), 0)]
