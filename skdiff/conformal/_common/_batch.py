"""One selection from a batch: per group, and averaged over repeats.

A *repeat* is one set of scores of labelled and new rows, from one split, or one order,
of the labelled rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.draws import uniforms_of
from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.conformal._common._optcs import (
    Selection,
    optimized_selection,
    plain_selection,
)
from skdiff.conformal._p_values import SLACK, adjusted_p_values

# A repeat selects at this multiple of the level and pays for it with larger e-values: a
# row is kept if it is selected in about this fraction of the repeats (Ren and Barber).
REPEAT_LEVEL = 0.5


class Scores(NamedTuple):
    """What one repeat knows of labelled and new rows."""

    labelled: Array  # (n, k), at the label
    new: Array  # (m, k), at the threshold
    ratios: Array | None = None  # (n,), density ratios
    new_ratios: Array | None = None  # (m,)
    groups: IntArray | None = None  # (n,), codes of the groups
    seed: int = 0
    hashes: Any = None  # (m,), of the new rows; ties are broken by them

    def of_group(self, rows: BoolArray, code: int) -> "Scores":
        """The same of the new rows of one group and the labelled rows of it."""
        kept = np.ones(len(self.labelled), dtype=bool)
        if self.groups is not None:
            kept = self.groups == code
        return Scores(
            self.labelled[kept],
            self.new[rows],
            None if self.ratios is None else self.ratios[kept],
            None if self.new_ratios is None else self.new_ratios[rows],
            None,
            self.seed,
            self.hashes[rows],
        )


class Rule(NamedTuple):
    """How scores become a selection."""

    optimizes: bool  # whether each row's candidate is chosen by the data
    randomized: bool
    pruning: str
    beta: float


def select_batch(
    repeats: Sequence[Scores], levels: Array, rule: Rule, groups: IntArray | None
) -> Selection:
    """Select new rows at each level, with the rate of each group at most the level.

    Parameters
    ----------
    repeats : sequence of Scores
        At least one.
    levels : ndarray of shape (n_levels,)
        Levels of false discovery.
    rule : Rule
        Ties, pruning, and whether candidates are chosen.
    groups : ndarray of int of shape (m,) or None
        Codes of the groups of the new rows.
    """
    if len(repeats) == 1:
        return _grouped(repeats[0], levels, rule, groups)
    found = [_grouped(r, REPEAT_LEVEL * levels, rule, groups) for r in repeats]
    m = len(repeats[0].new)
    e = np.zeros((len(levels), m))
    selected = np.zeros((len(levels), m), dtype=bool)
    for rows, _ in _members(groups, m):
        size = rows.sum()
        for one in found:
            inside = one.selected[:, rows]
            count = np.maximum(inside.sum(axis=1), 1)
            e[:, rows] += (
                inside * (size / (REPEAT_LEVEL * levels * count))[:, None] / len(found)
            )
        with np.errstate(divide="ignore"):
            inverse = np.minimum(1 / e[:, rows], 1.0)
        for i, q in enumerate(levels):
            selected[i, rows] = adjusted_p_values(inverse[i]) <= q * SLACK
    # twice a mean of p-values is a p-value, whatever their dependence (Rueschendorf)
    p = np.minimum(2 * np.mean([one.p_values for one in found], axis=0), 1.0)
    smallest = max(one.smallest for one in found) / REPEAT_LEVEL
    return Selection(p, selected, smallest, e_values=e)


def _members(groups: IntArray | None, m: int) -> Iterator[tuple[BoolArray, int]]:
    """Which rows each group holds, and its code."""
    if groups is None:
        yield np.ones(m, dtype=bool), 0
        return
    for code in np.unique(groups).tolist():
        yield groups == code, code


def _grouped(
    scores: Scores, levels: Array, rule: Rule, groups: IntArray | None
) -> Selection:
    """Select in each group by itself.

    Labelled rows whose groups are known are compared with new rows of the same group.
    Otherwise all labelled rows are, and a group of ``m_g`` of the ``m`` new rows gets
    the level ``q m_g / m``: the rate within a group is then a part of the sum over all
    ``m`` rows that the level bounds.
    """
    if groups is None:
        return _select(scores, levels, rule)
    m = len(scores.new)
    parts = []
    for rows, code in _members(groups, m):
        part = scores.of_group(rows, code)
        if not len(part.labelled):
            parts.append((rows, _nothing(part, levels, rule)))
            continue
        spent = levels if scores.groups is not None else levels * rows.sum() / m
        parts.append((rows, _select(part, spent, rule)))
    joined: dict[str, np.ndarray] = {}
    for name in ("p_values", "selected", "sizes", "chosen", "first_step"):
        values = [(rows, getattr(found, name)) for rows, found in parts]
        if values[0][1] is not None:
            joined[name] = np.empty((len(levels), m), dtype=values[0][1].dtype)
            for rows, value in values:
                joined[name][:, rows] = value
    return Selection(**joined, smallest=min(found.smallest for _, found in parts))


def _nothing(part: Scores, levels: Array, rule: Rule) -> Selection:
    """The selection of a group without labelled rows."""
    shape = len(levels), len(part.new)
    none = np.zeros(shape, dtype=bool)
    if not rule.optimizes and part.ratios is None:
        return Selection(np.ones(shape), none, 1.0)
    zero = np.zeros(shape, dtype=np.intp)
    return Selection(np.ones(shape), none, 1.0, zero + 1, zero, none)


def _select(scores: Scores, levels: Array, rule: Rule) -> Selection:
    """One selection; a row has the same draws in every batch."""
    new = scores.new
    draws = _draws(scores, 0)[:, None] if rule.randomized else 1.0
    if not rule.optimizes and scores.ratios is None:
        return plain_selection(scores.labelled, new, levels, draws)
    prune: Array | float = 1.0
    if rule.pruning == "hete":
        prune = _draws(scores, 1)
    elif rule.pruning == "homo":
        prune = float(1 - np.random.RandomState(scores.seed).uniform())
    weights = scores.ratios, scores.new_ratios
    return optimized_selection(
        scores.labelled, new, levels, draws, prune, rule.beta, weights
    )


def _draws(scores: Scores, which: int) -> Array:
    """Uniform draws in (0, 1] of the new rows, never zero: no p-value may be."""
    return 1 - uniforms_of(scores.hashes, which, scores.seed)


class Groups(NamedTuple):
    """Labels of the groups of the labelled rows, and their codes."""

    labels: np.ndarray
    codes: IntArray

    def codes_of(self, groups: np.ndarray) -> IntArray:
        """Codes of new rows; those of unknown labels start after the known ones."""
        known = {label: code for code, label in enumerate(self.labels.tolist())}
        found = [known.setdefault(g, len(known)) for g in groups.tolist()]
        return np.array(found, dtype=np.int64)
