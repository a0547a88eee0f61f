"""The paper's search: a population of children, one accepted per generation.

Each child differs from the best table in one row: a crossover mixes the row with a row
of an elite, cell by cell, and a mutation draws one cell anew. The change of the loss is
computed from the cells of the two rows.
"""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.progress import Progress
from skdiff._base.typing import IntArray
from skdiff.synthetic._gsd._search import Found, Limits
from skdiff.synthetic._gsd._state import State

POPULATION = 1000
MOST_GENERATIONS = 100_000
_NO_GAIN = 0.1  # fraction of generations without gain that ends the search


class _Domain(NamedTuple):
    """Columns that are edited, and their numbers of codes."""

    columns: IntArray
    sizes: IntArray


def _children(state: State, elite: IntArray, domain: _Domain, rng: Any) -> Any:
    """Rows that are replaced, and what replaces them."""
    rows = rng.randint(state.n_rows, size=POPULATION)
    new = state.codes[rows]
    crossed = POPULATION // 2
    at = rng.randint(state.n_rows, size=crossed)
    second = rng.uniform(size=(crossed, 1)) < 0.5
    donors = np.where(second, elite[at], state.codes[at])
    mixed = np.zeros(donors.shape, dtype=bool)
    mixed[:, domain.columns] = rng.uniform(size=(crossed, len(domain.columns))) < 0.5
    new[:crossed] = np.where(mixed, donors, new[:crossed])
    some = rng.randint(len(domain.columns), size=POPULATION - crossed)
    drawn = rng.uniform(size=len(some)) * domain.sizes[some]
    new[np.arange(crossed, POPULATION), domain.columns[some]] = drawn.astype(np.int64)
    return rows, new


def paper_search(state: State, limits: Limits, rng: Any, progress: Progress) -> Found:
    """Accept the best child of each generation where it lowers the loss."""
    loss = state.loss()
    history, n_evals, last_gain = [loss], 0, 0
    elite = state.codes.copy()  # the table before the last accepted child
    stopped = "max_evals"
    columns = np.array([j for j in limits.columns if state.touching[j]], dtype=np.int64)
    sizes = [len(state.table(state.touching[j][0], j)) for j in columns]
    domain = _Domain(columns, np.array(sizes, dtype=np.int64))
    most = MOST_GENERATIONS if len(columns) else 0
    if limits.max_evals is not None:
        most = min(most, limits.max_evals // POPULATION)
    with progress.interruptible(lambda: True):
        for t in progress.iterations(most):
            rows, new = _children(state, elite, domain, rng)
            gains = state.replaced(rows, new)
            if limits.allowed is not None:
                gains[~limits.allowed(new)] = 0.0
            n_evals += POPULATION
            best = int(np.argmin(gains))
            if gains[best] < 0:
                elite = state.codes.copy()
                state.try_rows(rows[[best]], new[[best]], most=np.inf)
                if -gains[best] > limits.tol * loss:
                    last_gain = t
                loss += float(gains[best])
            if t % 100 == 99:
                loss = state.loss()
                history.append(loss)
                if progress.step(loss=loss):
                    break
            if t > 0.25 * state.n_rows and t - last_gain > _NO_GAIN * t:
                stopped = "converged"
                break
            if progress.is_over():
                break
    loss = state.loss()
    history.append(loss)
    progress.step(loss=loss)
    return Found(loss, history, n_evals, progress.reason(stopped))
