"""What sampling, completion and inference need to know of a fitted model."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skdiff._base.typing import Array
from skdiff.density._features import Energy, Layout, gauge_block

#: a table over some columns, one axis per column
Factor = tuple[tuple[int, ...], Array]


@dataclass(frozen=True)
class Model:
    """A graphical model of categories.

    Parameters
    ----------
    where : Layout
        Features of the columns.
    energies : callable
        ``energies(F, u)`` are the energies of the states of column u for rows of
        features, up to one constant per row; the features of u itself do not count.
    joint : callable or None
        Log-probability of rows of features up to one constant; None where the
        conditionals belong to no joint model.
    factors : list or None
        Tables whose sum is the joint log-probability, where it has such a form.
    """

    where: Layout
    energies: Callable[[Array, int], Array]
    joint: Callable[[Array], Array] | None = None
    factors: list[Factor] | None = None

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each column."""
        return [len(basis) for basis in self.where.bases]


def linear_model(energy: Energy, where: Layout) -> Model:
    """The model of an energy that is linear in products of contrasts."""
    # one matrix per column turns features into energies of its states
    maps = [
        np.asfortranarray(energy.pairs[:, span] @ basis.T)
        for basis, span in zip(*where, strict=True)
    ]
    shifts = [basis @ energy.field[span] for basis, span in zip(*where, strict=True)]
    higher = {u for T in energy.higher for u in T}

    def energies(F: Array, u: int) -> Array:
        if u in higher:
            return energy.at_node(F, u, where)
        return np.asarray(F @ maps[u] + shifts[u])

    def joint(F: Array) -> Array:
        return energy.joint(F, where)

    return Model(where, energies, joint, list_factors(energy, where))


def list_factors(energy: Energy, where: Layout) -> list[Factor]:
    """Tables of the fields, the pairs and the higher interactions that are there."""
    found: list[Factor] = []
    p = len(where.spans)
    for u, (basis, span) in enumerate(zip(*where, strict=True)):
        found.append(((u,), basis @ energy.field[span]))
    for u in range(p):
        for v in range(u + 1, p):
            block = energy.pairs[where.spans[u], where.spans[v]]
            if block.any():
                found.append(((u, v), gauge_block(block, (u, v), where)))
    for T, block in energy.higher.items():
        found.append((T, gauge_block(block, T, where)))
    return found
