"""Constraints as averages over rows: one signed weight per row and an elementwise loss.

``L_j = sum_i a_ij phi_j(f_i, y_i) <= c_j``. A difference between two groups is two such
averages of opposite sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.fairness._constrained._constraint import Constraint


class Term(NamedTuple):
    """One average; ``entry`` is the name under which it is reported.

    ``kind`` is "loss", "score" (the output itself), "rate" (a smooth decision),
    "probability" or "custom".
    """

    entry: str
    kind: str
    weights: Array
    bound: float
    row_loss: Any = None


@dataclass(frozen=True)
class TrainingRows:
    """What constraints are made from; weights sum to one.

    ``y`` holds codes for a classifier. ``codes`` is None without groups.
    """

    X: Any
    y: Array
    weight: Array
    groups: Sequence[Any]
    codes: IntArray | None
    classifier: bool
    n_classes: int


def compile_terms(constraints: Sequence[Constraint], rows: TrainingRows) -> list[Term]:
    """Return the averages of all constraints, with names that differ."""
    names = [c.name for c in constraints]
    if repeated := sorted({str(n) for n in names if names.count(n) > 1}):
        raise ValueError(
            f"Two constraints have the same name {repeated[0]!r}. Give each a name."
        )
    terms: list[Term] = []
    for constraint in constraints:
        terms += _compile(constraint, rows)
    return terms


def _compile(constraint: Constraint, rows: TrainingRows) -> list[Term]:
    name, bound = str(constraint.name), float(constraint.bound)
    binary = rows.n_classes == 2 or not rows.classifier
    if not binary and constraint.kind != "loss":
        raise ValueError(
            f"The constraint {name!r} needs two classes; y has {rows.n_classes}. With "
            "more classes only loss_at_most is available."
        )
    if constraint.kind == "loss":
        mask = _where(constraint, rows)
        return [Term(name, "loss", _mean(mask, rows, name), bound)]
    everything = np.ones(len(rows.y), dtype=bool)
    if constraint.kind == "mean":
        kind = "probability" if rows.classifier else "score"
        return [Term(name, kind, _mean(everything, rows, name), bound)]
    if constraint.kind == "custom":
        weights = _mean(everything, rows, name)
        return [Term(name, "custom", weights, bound, constraint.row_loss)]
    return _gap(constraint, rows)


def _where(constraint: Constraint, rows: TrainingRows) -> BoolArray:
    """Mask of the rows of a loss."""
    where = constraint.where
    if where is None:
        return np.ones(len(rows.y), dtype=bool)
    if not callable(where):
        return _group(where, constraint, rows)
    mask = np.asarray(where(rows.X))
    if mask.shape != (len(rows.y),) or mask.dtype != bool:
        raise ValueError(
            f"where of the constraint {constraint.name!r} must return one bool per "
            f"row, got an array of shape {mask.shape} and dtype {mask.dtype}."
        )
    return mask


def _group(label: Any, constraint: Constraint, rows: TrainingRows) -> BoolArray:
    codes = _codes(constraint, rows)
    if label not in list(rows.groups):
        raise ValueError(
            f"The constraint {constraint.name!r} names the group {label!r}, which "
            f"sensitive_features has not: it has {list(rows.groups)}."
        )
    return np.asarray(codes == list(rows.groups).index(label))


def _codes(constraint: Constraint, rows: TrainingRows) -> IntArray:
    if rows.codes is None:
        raise ValueError(
            f"The constraint {constraint.name!r} requires sensitive_features to be "
            "passed to fit."
        )
    return rows.codes


def _mean(mask: BoolArray, rows: TrainingRows, what: str) -> Array:
    """Weights of the mean over a mask."""
    a = np.where(mask, rows.weight, 0.0)
    if not a.any():
        raise ValueError(f"The constraint {what!r} has no rows.")
    return np.asarray(a / a.sum())


def _gap(constraint: Constraint, rows: TrainingRows) -> list[Term]:
    """Two averages for each pair of groups."""
    if constraint.kind != "score" and not rows.classifier:
        raise ValueError(
            f"The constraint {constraint.name!r} bounds a rate of decisions, which a "
            "regressor does not make. Use the kind 'score'."
        )
    _codes(constraint, rows)
    chosen = list(rows.groups if constraint.groups is None else constraint.groups)
    if len(chosen) < 2:
        raise ValueError(
            f"The constraint {constraint.name!r} needs at least two groups to compare; "
            f"it has {chosen}."
        )
    label = {"true_positive": 1, "false_positive": 0}.get(constraint.kind)
    counted = np.ones(len(rows.y), dtype=bool) if label is None else rows.y == label
    means = {}
    for group in chosen:
        mask = _group(group, constraint, rows) & counted
        if not (rows.weight[mask] > 0).any():
            raise ValueError(
                f"Group {group!r} has no row of the label that the constraint "
                f"{constraint.name!r} is about ({constraint.kind}); its rate is not "
                "defined."
            )
        means[group] = _mean(mask, rows, str(constraint.name))
    kind = "score" if constraint.kind == "score" else "rate"
    pairs, terms = list(combinations(chosen, 2)), []
    for a, b in pairs:
        entry = str(constraint.name)
        entry = entry if len(pairs) == 1 else f"{entry}[{a},{b}]"
        difference = means[a] - means[b]
        bound = float(constraint.bound)
        terms += [Term(entry, kind, sign * difference, bound) for sign in (1.0, -1.0)]
    return terms


class Elementwise(NamedTuple):
    """Value and two derivatives of a loss in the output of each row."""

    value: Array
    first: Array
    second: Array


def smooth_decision(f: Array, temperature: float) -> Elementwise:
    """``sigmoid(f / temperature)``."""
    p = expit(f / temperature)
    q = p * (1.0 - p)
    return Elementwise(p, q / temperature, q * (1.0 - 2.0 * p) / temperature**2)


def custom_loss(row_loss: Any, f: Array, y: Array, name: str) -> Elementwise:
    """A loss in torch, differentiated twice."""
    import torch

    with torch.enable_grad():
        z = torch.from_numpy(np.array(f)).requires_grad_(True)
        value = row_loss(z, torch.from_numpy(np.array(y)))
        if not isinstance(value, torch.Tensor) or value.shape != z.shape:
            raise ValueError(
                f"row_loss of the constraint {name!r} must return a torch tensor with "
                "one loss per row."
            )
        (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
        second = torch.zeros_like(z)
        if first.requires_grad:
            (found,) = torch.autograd.grad(first.sum(), z, allow_unused=True)
            second = second if found is None else found
    parts = (t.detach().numpy().astype(np.float64) for t in (value, first, second))
    return Elementwise(*parts)


def true_rates(terms: Sequence[Term], decided: Array) -> dict[str, float]:
    """Excess of the real rates where a smooth one was trained, by entry."""
    found: dict[str, float] = {}
    for term in terms:
        if term.kind == "rate":
            excess = float(term.weights @ decided) - term.bound
            found[term.entry] = max(found.get(term.entry, -np.inf), excess)
    return found


def by_entry(terms: Sequence[Term], values: Array, how: str) -> dict[str, float]:
    """Report one number per entry: the sum of its terms, or the largest."""
    found: dict[str, float] = {}
    for term, value in zip(terms, values.tolist(), strict=True):
        if term.entry not in found:
            found[term.entry] = value
        elif how == "sum":
            found[term.entry] += value
        else:
            found[term.entry] = max(found[term.entry], value)
    return found


def settled(terms: Sequence[Term], multipliers: Array) -> Array:
    """Take away what both multipliers of an equality have in common.

    Where the bound of a difference is zero, only their difference is determined.
    """
    lam = multipliers.copy()
    for j in range(len(terms) - 1):
        pair = terms[j].entry == terms[j + 1].entry and terms[j].bound == 0
        if pair:
            common = min(lam[j], lam[j + 1])
            lam[j : j + 2] -= common
    return lam
