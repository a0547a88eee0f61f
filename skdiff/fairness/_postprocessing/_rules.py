"""From scores and groups to hulls, rules and what the rules decide."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.fairness._postprocessing._hull import RocHull, mixture, roc_hull
from skdiff.fairness._postprocessing._problem import largest_difference


class GroupScores(NamedTuple):
    """Rows of weight above zero: scores, group codes, positive labels, weights."""

    scores: Array
    codes: IntArray
    positive: BoolArray
    weight: Array


class Rule(NamedTuple):
    """A randomised threshold: ``score >= thresholds[k]`` with ``weights[k]``."""

    thresholds: Array
    weights: Array

    def expected(self, scores: Array) -> Array:
        """Probability of a positive decision."""
        decided = scores[:, None] >= self.thresholds
        return np.asarray(np.clip(decided @ self.weights, 0.0, 1.0))


class Masses(NamedTuple):
    """Fractions of all rows in each group with either label."""

    negatives: Array
    positives: Array


def group_masses(rows: GroupScores, n_groups: int) -> Masses:
    """Return the fractions; together they sum to one."""
    total = rows.weight.sum()
    negatives, positives = (
        np.bincount(rows.codes[m], rows.weight[m], minlength=n_groups) / total
        for m in (~rows.positive, rows.positive)
    )
    return Masses(negatives, positives)


def group_hulls(rows: GroupScores, n_groups: int) -> tuple[RocHull, ...]:
    """Return the hull of every group."""
    return tuple(
        roc_hull(rows.scores[m], rows.positive[m], rows.weight[m])
        for m in (rows.codes == g for g in range(n_groups))
    )


def rules_at(hulls: Sequence[RocHull], points: Array) -> list[Rule]:
    """Return the rule of each group that attains its point, of three thresholds."""
    rules = []
    for hull, point in zip(hulls, points, strict=True):
        vertices, weights = mixture(hull, point)
        rules.append(Rule(hull.thresholds[vertices], weights))
    return rules


def pooled_rule(rules: Sequence[Rule], fractions: Array) -> Rule:
    """Return the rule of a group that is drawn in proportion to the fractions."""
    thresholds = np.concatenate([rule.thresholds for rule in rules])
    weights = [f * rule.weights for f, rule in zip(fractions, rules, strict=True)]
    return Rule(thresholds, np.concatenate(weights))


def decide(rules: Sequence[Rule], pool: Rule, scores: Array, codes: IntArray) -> Array:
    """Return the probability of a positive decision; the code -1 takes the pool's."""
    p = np.empty(len(scores))
    for code in np.unique(codes):
        rows = codes == code
        rule = pool if code < 0 else rules[code]
        p[rows] = rule.expected(scores[rows])
    return p


def rates(p: Array, rows: GroupScores, n_groups: int) -> Array:
    """Return false and true positive rate of decisions, of shape (n_groups, 2)."""
    columns = []
    for mask in (~rows.positive, rows.positive):
        w = rows.weight[mask]
        size = np.bincount(rows.codes[mask], w, minlength=n_groups)
        hits = np.bincount(rows.codes[mask], w * p[mask], minlength=n_groups)
        with np.errstate(invalid="ignore", divide="ignore"):
            columns.append(hits / size)
    return np.column_stack(columns)


def bootstrap_violation(
    p: Array,
    rows: GroupScores,
    bounded: tuple[Sequence[str], Any],
    n_resamples: int,
    rng: Any,
) -> Array:
    """Return the violation of decisions in samples of rows, drawn with replacement.

    Rows of one group, label and probability are exchangeable, and their counts in a
    resample are multinomial: a resample costs as many numbers as there are such cells,
    whatever the number of rows. ``bounded`` holds constraints and norm.
    """
    constraints, norm = bounded
    cells = np.column_stack([rows.codes, rows.positive, p])
    found, counts = np.unique(cells, axis=0, return_counts=True)
    codes = np.unique(found[:, 0], return_inverse=True)[1].astype(np.int64)
    cell = GroupScores(found[:, 2], codes, found[:, 1] > 0, counts.astype(np.float64))
    n_groups = int(codes.max()) + 1
    drawn = rng.multinomial(len(p), counts / len(p), size=n_resamples)
    violations = np.empty(n_resamples)
    for b, weight in enumerate(drawn.astype(np.float64)):
        sample = cell._replace(weight=weight)
        points = rates(cell.scores, sample, n_groups)
        violations[b] = violation_of(points, sample, constraints, norm)
    return violations


def violation_of(
    points: Array, rows: GroupScores, constraints: Sequence[str], norm: Any
) -> float:
    """Largest difference between groups; rates without rows are left out."""
    size, positive = (
        np.bincount(rows.codes, rows.weight * k, minlength=len(points))
        for k in (1.0, rows.positive)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = positive / size
    # a group of one label has no other rate, and its positive rate needs none
    filled = np.where((shares == 0) | (shares == 1), 0.0, np.nan)
    known = np.where(np.isnan(points), filled[:, None], points)
    return max(
        largest_difference(c, points if c != "demographic_parity" else known, shares, n)
        for c, n in ((c, norm) for c in constraints)
    )
