"""What a fit keeps of the rows, and how blocks are added to it."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff.causal._linear_gmm._moments import (
    Reference,
    Running,
    Source,
    Stored,
    Sums,
    add,
    reference,
    standard,
    state_size,
    sums,
)
from skdiff.causal._linear_gmm._solve import Problem, design, step, theta_of

#: largest number of sums of fourth powers that are kept
LARGEST_STATE = 1_000_000
_BLOCK = 1024
_GROWTH = 1.1  # more rows by this factor before the running coefficients move on


class State(NamedTuple):
    """Everything that is kept of the rows seen so far."""

    ref: Reference
    sums: Sums
    rows: int
    # of running weights only: sum of u^2 z z', its weight, coefficients and their rows
    S: Array
    S_weight: float
    beta: Array
    beta_rows: float

    def as_dict(self) -> dict[str, Any]:
        """Return the state by names, down to arrays and numbers."""
        nested = {"ref": self.ref._asdict(), "sums": self.sums._asdict()}
        return {**self._asdict(), **nested}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "State":
        """Return the state that ``as_dict`` has taken apart."""
        found = {"ref": Reference(**kept["ref"]), "sums": Sums(**kept["sums"])}
        return cls(**{**kept, **found})


def fits_in_memory(ref: Reference) -> bool:
    """Whether the sums of fourth powers are small enough to be kept."""
    c = int(ref.constant)
    return state_size(len(ref.z_shift) + c, len(ref.v_shift) + c) <= LARGEST_STATE


def opened(Z: Array, V: Array, constant: bool) -> State:
    """Return an empty state for rows like these."""
    ref = reference(Z, V, constant)
    q, m = Z.shape[1] + constant, V.shape[1] + constant
    empty = np.empty((0, 0))
    none = Sums(0.0, np.zeros((q, q)), np.zeros((q, m)), np.zeros((m, m)), empty)
    return State(ref, none, 0, np.zeros((q, q)), 0.0, np.empty(0), 0.0)


def add_rows(state: State, Z: Array, V: Array, w: Array, fourth: bool) -> State:
    """Add rows exactly; with ``fourth`` their fourth powers too."""
    found = sums(Z, V, w, state.ref, fourth)
    before = state.sums
    if fourth and not before.fourth.size:
        before = before._replace(fourth=np.zeros_like(found.fourth))
    return state._replace(sums=add(before, found), rows=state.rows + len(w))


def run_rows(state: State, Z: Array, V: Array, w: Array) -> State:
    """Add rows, with weights from residuals at the coefficients of that moment.

    As in SGMM (Chen et al., 2023) the weight matrix grows along the stream. The
    coefficients solve the moment equations of all rows so far where SGMM takes
    stochastic steps: A and b are kept anyway.
    """
    for start in range(0, len(w), _BLOCK):
        rows = slice(start, start + _BLOCK)
        state = add_rows(state, Z[rows], V[rows], w[rows], False)
        if state.sums.n >= _GROWTH * state.beta_rows:
            state = _refreshed(state)
        if len(state.beta):
            z, v = standard(state.ref, Z[rows], V[rows])
            u = v @ theta_of(state.beta)
            S = state.S + (z * (w[rows] * u**2)[:, None]).T @ z
            state = state._replace(S=S, S_weight=state.S_weight + float(w[rows].sum()))
    return state


def _refreshed(state: State) -> State:
    try:
        d = design(state.sums)
    except ValueError:  # too few rows so far
        return state
    S = np.eye(len(d.b))
    if state.S_weight > 0:
        S = d.B.T @ state.S @ d.B / state.S_weight
    return state._replace(beta=step(d, S).beta, beta_rows=state.sums.n)


def problem(state: State, source: Source | None = None) -> Problem:
    """The moments of a state; ``source`` where rows take the place of sums."""
    d = design(state.sums)
    found = state.sums
    if source is None and found.fourth.size:
        source = Stored(found.n, found.fourth, len(found.zz), len(found.vv))
    if source is None:
        weight = state.S_weight or 1.0
        source = Running(state.S / weight)
    return Problem(d, source)
