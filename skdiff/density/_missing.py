"""Probabilities of cells given the known cells of a row, whatever is missing.

The cell whose probability is wanted is never looked at, and missing cells are summed
over: exactly up to ``STATES`` of their states, beyond by Gibbs sampling with random
numbers that are the same for every row, so that a result depends on its row alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff.density._coding import MISSING
from skdiff.density._features import features, log_softmax, softmax
from skdiff.density._model import Model

STATES = 2**12
# without a joint model the distribution of missing cells is that of a Gibbs sampler,
# which takes an evaluation for each missing cell
STATES_OF_CONDITIONALS = 2**6
CHUNK = 2**15  # states at a time
# features of chains at a time: they are read once a draw, from cache if they fit
CHAIN_CELLS = 2**19
PAIR_CELLS = 2**21  # cells of rows that are each asked for one of their columns
CHAINS, BURN_IN, SWEEPS = 8, 10, 40
STATIONARY, MOST_SWEEPS = 1e-12, 500

Watch = Callable[[int, Array], None]  # a column, and the probabilities of its draws


class States(NamedTuple):
    """Rows with their missing cells in every state.

    ``row`` is the row of each state, ``starts`` the first state of each row, ``stride``
    the number of states between two neighbours along each column.
    """

    codes: IntArray
    row: IntArray
    starts: IntArray
    stride: IntArray


def count_states(codes: IntArray, sizes: Sequence[int]) -> Array:
    """Number of states of the missing cells of each row, as floats."""
    return np.where(codes == MISSING, np.asarray(sizes, dtype=np.float64), 1.0).prod(1)


def _most_states(model: Model) -> int:
    return STATES if model.joint is not None else STATES_OF_CONDITIONALS


def expand_states(codes: IntArray, sizes: Sequence[int]) -> States:
    """Every state of the missing cells of each row."""
    gaps, q = codes == MISSING, np.asarray(sizes)
    width = np.where(gaps, q, 1)
    stride = np.ones_like(width)
    stride[:, :-1] = np.cumprod(width[:, :0:-1], axis=1)[:, ::-1]
    total = width.prod(axis=1)
    row = np.repeat(np.arange(len(codes)), total)
    starts = np.concatenate([[0], np.cumsum(total)[:-1]])
    within = np.arange(len(row)) - starts[row]
    out = codes[row]
    for j in np.flatnonzero(gaps.any(axis=0)):
        hit = np.flatnonzero(gaps[row, j])
        out[hit, j] = within[hit] // stride[row[hit], j] % q[j]
    return States(out, row, starts, stride)


def log_sums(values: Array, states: States) -> Array:
    """Logarithm of the sum of exponentials over the states of each row."""
    top = np.maximum.reduceat(values, states.starts, axis=0)
    total = np.add.reduceat(np.exp(values - top[states.row]), states.starts, axis=0)
    return np.asarray(top + np.log(total))


# --- conditionals --------------------------------------------------------------------


def log_conditionals(model: Model, codes: IntArray, node: int) -> Array:
    """Log-probabilities of a column's categories given the known cells of the others.

    Cells of the column itself are not looked at.
    """
    codes = codes.copy()
    codes[:, node] = 0
    return log_conditionals_of(model, codes, [node])[0]


def log_conditionals_of(
    model: Model, codes: IntArray, nodes: Sequence[int]
) -> list[Array]:
    """Log-probabilities of several columns, each given the other known cells."""
    gaps = (codes == MISSING).any(axis=1)
    F = features(np.where(codes == MISSING, 0, codes), model.where)
    out = [log_softmax(model.energies(F, u)) for u in nodes]
    broken = np.flatnonzero(gaps)
    if not len(broken):
        return out
    rows, ties = codes[broken], graph_of(model)
    many = count_states(rows, model.sizes) > STATES
    if ties is None or not many.any():
        found = _incomplete(model, rows, nodes)
    else:  # cells that no path through missing cells leads to do not matter
        found = [np.empty((len(rows), model.sizes[u])) for u in nodes]
        for k, answer in enumerate(_incomplete(model, rows[~many], nodes)):
            found[k][~many] = answer
        for k, u in enumerate(nodes):
            part = rows[many]
            start = np.zeros_like(part, dtype=bool)
            start[:, u] = True
            part[(part == MISSING) & ~reached(part == MISSING, start, ties)] = 0
            found[k][many] = _incomplete(model, part, [u])[0]
    for k, answer in enumerate(found):
        out[k][broken] = answer
    return out


def graph_of(model: Model) -> BoolArray | None:
    """Which columns share a table of the joint model; None where it has no tables."""
    if model.factors is None:
        return None
    ties = np.eye(len(model.sizes), dtype=bool)
    for T, _ in model.factors:
        ties[np.ix_(T, T)] = True
    return ties


def reached(gaps: BoolArray, start: BoolArray, ties: BoolArray) -> BoolArray:
    """The gaps of each row that paths through gaps lead to, and the start."""
    found = start
    while True:
        more = start | (found @ ties & gaps) | (found & gaps)
        if np.array_equal(more, found):
            return more
        found = more


def _incomplete(model: Model, codes: IntArray, nodes: Sequence[int]) -> list[Array]:
    """Log-probabilities where cells are missing; equal rows are served together."""
    rows, place = np.unique(codes, axis=0, return_inverse=True)
    found = [np.empty((len(rows), model.sizes[u])) for u in nodes]
    exact = _summed if model.joint is not None else _stationary
    few = count_states(rows, model.sizes) <= _most_states(model)
    for part in _chunks(rows, np.flatnonzero(few), model.sizes):
        for k, answer in enumerate(exact(model, rows[part], nodes)):
            found[k][part] = answer
    many = np.flatnonzero(~few)
    for k, u in enumerate(nodes):
        asked = np.full(len(many), u)
        found[k][many] = _sampled(model, rows[many], asked)[:, : model.sizes[u]]
    return [answer[place.ravel()] for answer in found]


def _chunks(codes: IntArray, rows: IntArray, sizes: Sequence[int]) -> list[IntArray]:
    """Rows in groups of about as many states as fit in memory."""
    if not len(rows):
        return []
    group = np.cumsum(count_states(codes[rows], sizes)) // CHUNK
    return np.split(rows, np.flatnonzero(np.diff(group)) + 1)


def _summed(model: Model, codes: IntArray, nodes: Sequence[int]) -> list[Array]:
    """Sums over the joint probabilities of all states.

    With the energies H of the states of a column and a joint log-probability J at its
    present state, ``J - H[present] + H`` is J at every state of the column.
    """
    assert model.joint is not None
    states = expand_states(codes, model.sizes)
    F = features(states.codes, model.where)
    J, here = model.joint(F), np.arange(len(F))
    out = []
    for u in nodes:
        H = model.energies(F, u)
        present = H[here, states.codes[:, u]]
        out.append(log_softmax(log_sums((J - present)[:, None] + H, states)))
    return out


def _stationary(model: Model, codes: IntArray, nodes: Sequence[int]) -> list[Array]:
    """Where a Gibbs sampler of the missing cells and the asked one settles."""
    out = []
    for u in nodes:
        asked = codes.copy()
        asked[:, u] = MISSING
        states = expand_states(asked, model.sizes)
        p = _settle(model, asked == MISSING, states)
        q = model.sizes[u]
        place = states.row * q + states.codes[:, u]
        total = np.bincount(place, p, minlength=len(codes) * q).reshape(-1, q)
        out.append(np.log(np.maximum(total, np.finfo(float).tiny)))
    return out


def _settle(model: Model, gaps: Any, states: States) -> Array:
    """Probabilities of the states that the sweeps of a Gibbs sampler leave alone."""
    F = features(states.codes, model.where)
    moves = []
    for j in np.flatnonzero(gaps.any(axis=0)).tolist():
        hit = np.flatnonzero(gaps[states.row, j])
        own = states.codes[hit, j]
        share = softmax(model.energies(F[hit], j))[np.arange(len(hit)), own]
        # states that differ in column j alone have the same first state
        moves.append((hit, hit - own * states.stride[states.row[hit], j], share))
    sizes = np.bincount(states.row)
    p = 1.0 / sizes[states.row]
    for _ in range(MOST_SWEEPS):
        before = p.copy()
        for hit, first, share in moves:
            p[hit] = share * np.bincount(first, p[hit], minlength=len(p))[first]
        if np.abs(p - before).max() < STATIONARY:
            break
    return np.asarray(p)


class Chains:
    """Gibbs chains over the missing cells of rows, with fixed random numbers."""

    def __init__(self, model: Model, codes: IntArray) -> None:
        self.model, self.n = model, len(codes)
        state = np.repeat(codes, CHAINS, axis=0)
        self.gaps = state == MISSING
        columns = np.flatnonzero(self.gaps.any(axis=0)).tolist()
        # a column's random numbers are its own, whatever else the batch has to draw
        size = (1 + BURN_IN + SWEEPS, CHAINS)
        self.noise = {j: np.random.RandomState(j).uniform(size=size) for j in columns}
        self.hits = {j: np.flatnonzero(self.gaps[:, j]) for j in columns}
        # tables are so cheap that to copy a good part of the rows costs more
        enough = 0.3 if model.factors is not None else 1.0
        self.whole = {
            j: len(hit) >= enough * len(state) for j, hit in self.hits.items()
        }
        for j in columns:
            first = (self.noise[j][-1] * model.sizes[j]).astype(np.int64)
            state[:, j] = np.where(self.gaps[:, j], np.tile(first, self.n), state[:, j])
        self.F = features(state, model.where)

    def sweep(self, t: int, watch: Watch | None = None) -> None:
        """Draw each missing cell, and show the probabilities it was drawn by."""
        for j, hit in self.hits.items():
            if self.whole[j]:
                H = self.model.energies(self.F, j)
                H = H if len(hit) == len(H) else H[hit]
            else:
                H = self.model.energies(self.F[hit], j)
            p = softmax(H)
            if watch is not None:
                watch(j, p)
            uniform = self.noise[j][t][hit % CHAINS]
            drawn = (np.cumsum(p[:, :-1], axis=1) < uniform[:, None]).sum(axis=1)
            self.F[hit, self.model.where.spans[j]] = self.model.where.bases[j][drawn]


def _sampled(model: Model, codes: IntArray, nodes: IntArray) -> Array:
    """Log-probabilities of one column a row, means along Gibbs chains.

    Entries beyond the categories of a row's column are those of zero.
    """
    size = max(1, CHAIN_CELLS // (CHAINS * max(model.where.width, 1)))
    out = np.zeros((len(codes), max(model.sizes)))
    for first in range(0, len(codes), size):
        part = slice(first, first + size)
        out[part] = _mean_conditionals(model, codes[part], nodes[part])
    return np.asarray(np.log(np.maximum(out, np.finfo(float).tiny)))


def _mean_conditionals(model: Model, codes: IntArray, nodes: IntArray) -> Array:
    """Means of the conditional probabilities of one column a row."""
    codes = codes.copy()
    codes[np.arange(len(codes)), nodes] = MISSING
    chains, total = Chains(model, codes), np.zeros((len(codes), max(model.sizes)))
    asked = np.repeat(nodes, CHAINS)
    seen = {j: np.flatnonzero(asked[hit] == j) for j, hit in chains.hits.items()}
    rows = {j: np.flatnonzero(nodes == j) for j in chains.hits}

    def watch(j: int, p: Array) -> None:
        if len(seen[j]):
            mean = p[seen[j]].reshape(-1, CHAINS, p.shape[1]).mean(axis=1)
            total[rows[j], : p.shape[1]] += mean

    for t in range(BURN_IN + SWEEPS):
        chains.sweep(t, watch if t >= BURN_IN else None)
    return total / SWEEPS


def distribution(model: Model, codes: IntArray) -> tuple[IntArray, Array] | None:
    """All states of the missing cells of one row and their probabilities.

    None where they are too many.
    """
    row = codes[None]
    if count_states(row, model.sizes)[0] > _most_states(model):
        return None
    states = expand_states(row, model.sizes)
    if model.joint is None:
        return states.codes, _settle(model, row == MISSING, states)
    return states.codes, softmax(model.joint(features(states.codes, model.where)))


# --- what follows from them ----------------------------------------------------------


def cell_log_likelihood(model: Model, codes: IntArray) -> Array:
    """Log-probability of each cell given the rest of its row; zero where missing.

    Rows whose states are summed serve all columns by one sum. In the others each known
    cell takes chains of its own, which run side by side.
    """
    out, known = np.zeros(codes.shape), codes != MISSING
    summed = count_states(codes, model.sizes) <= _most_states(model)
    few, many = np.flatnonzero(summed), np.flatnonzero(~summed)
    logs = log_conditionals_of(model, codes[few], range(codes.shape[1]))
    for u, log in enumerate(logs):
        out[few, u] = log[np.arange(len(few)), codes[few, u]]
    size = max(1, PAIR_CELLS // codes.shape[1] ** 2)
    for first in range(0, len(many), size):
        place, nodes = np.nonzero(known[many[first : first + size]])
        rows = many[first + place]
        log = _asked(model, codes[rows], nodes)
        out[rows, nodes] = log[np.arange(len(rows)), codes[rows, nodes]]
    return np.where(known, out, 0.0)


def _asked(model: Model, codes: IntArray, nodes: IntArray) -> Array:
    """Log-probabilities of one column a row, padded to the widest column."""
    codes, start = codes.copy(), np.zeros(codes.shape, dtype=bool)
    start[np.arange(len(codes)), nodes] = True
    codes[start] = 0
    ties = graph_of(model)
    if ties is not None:  # cells that no path through missing cells leads to
        gaps = codes == MISSING
        codes[gaps & ~reached(gaps, start, ties)] = 0
    few = count_states(codes, model.sizes) <= _most_states(model)
    out = np.zeros((len(codes), max(model.sizes)))
    for u in np.unique(nodes[few]).tolist():
        rows = np.flatnonzero(few & (nodes == u))
        out[rows, : model.sizes[u]] = _incomplete(model, codes[rows], [u])[0]
    out[~few] = _sampled(model, codes[~few], nodes[~few])
    return out


def log_marginals(model: Model, codes: IntArray) -> Array:
    """Log-probability of the known cells of each row, up to the constant of ``joint``.

    Missing cells that no path through missing cells joins are summed over apart. Beyond
    ``STATES`` states, some cells are fixed one after the other at their likeliest
    category, whose sampled probability is divided out.
    """
    assert model.joint is not None
    gaps, ties = codes == MISSING, graph_of(model)
    if ties is None:
        return _log_sum(model, codes)
    total = base = model.joint(features(np.where(gaps, 0, codes), model.where))
    left = gaps.copy()
    while left.any():
        rows = np.flatnonzero(left.any(axis=1))
        start = np.zeros((len(rows), codes.shape[1]), dtype=bool)
        start[np.arange(len(rows)), left[rows].argmax(axis=1)] = True
        part = reached(gaps[rows], start, ties)
        some = np.where(gaps[rows] & ~part, 0, codes[rows])
        total = total.copy()
        total[rows] += _log_sum(model, some) - base[rows]
        left[rows] &= ~part
    return total


def _log_sum(model: Model, codes: IntArray) -> Array:
    """Logarithm of the sum of joint probabilities over the states of missing cells."""
    assert model.joint is not None
    codes, fixed = codes.copy(), np.zeros(len(codes))
    for _ in range(codes.shape[1]):
        many = np.flatnonzero(count_states(codes, model.sizes) > STATES)
        if not len(many):
            break
        # the first gap of each row; rows with the same one are served together
        first = (codes[many] == MISSING).argmax(axis=1)
        for u in np.unique(first).tolist():
            rows = many[first == u]
            asked = np.full(len(rows), u)
            log = _sampled(model, codes[rows], asked)[:, : model.sizes[u]]
            best = log.argmax(axis=1)
            fixed[rows] -= log[np.arange(len(rows)), best]
            codes[rows, u] = best
    out = np.empty(len(codes))
    for part in _chunks(codes, np.arange(len(codes)), model.sizes):
        states = expand_states(codes[part], model.sizes)
        out[part] = log_sums(model.joint(features(states.codes, model.where)), states)
    return out + fixed


def likeliest(model: Model, codes: IntArray) -> IntArray:
    """The rows with each missing cell at its most probable category."""
    filled, gaps = codes.copy(), codes == MISSING
    for u in np.flatnonzero(gaps.any(axis=0)).tolist():
        rows = np.flatnonzero(gaps[:, u])
        filled[rows, u] = log_conditionals(model, codes[rows], u).argmax(axis=1)
    return filled
