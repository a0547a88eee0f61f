"""Solving all columns of a data set, filling its gaps, and fitting again on a graph."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.parallel import delayed

from skdiff._base.compat import streaming_parallel
from skdiff._base.typing import Array, BoolArray, IntArray
from skdiff._convex._solve import Solution
from skdiff.density._coding import MISSING, histogram
from skdiff.density._features import (
    Energy,
    Layout,
    Terms,
    count_products,
    design,
    features,
    layout,
    list_terms,
)
from skdiff.density._gibbs import redraw_missing, split_incomplete
from skdiff.density._graph import assemble
from skdiff.density._interaction._solver import (
    Noise,
    make_node,
    node_noise,
    penalty_strength,
    solve_node,
)
from skdiff.density._model import Model, linear_model

LARGEST_DESIGN = 4e9  # bytes
# complete rows per category below which they start no imputation
ENOUGH_ROWS = 50
# Gibbs sweeps of the first round and of the later ones; rounds without a smaller change
# of the coefficients after which only the noise of the draws is left
FIRST_SWEEPS, SWEEPS, MOST_ROUNDS, SETTLED = 10, 3, 40, 3


@dataclass(frozen=True)
class Settings:
    """How columns are solved, by the names of the estimator's parameters."""

    method: str
    order: int
    confidence: float
    penalty: str
    symmetrize: str
    solver: str
    tol: float
    max_iter: int
    n_jobs: int | None


class Table(NamedTuple):
    """Rows of codes, their weights, and the numbers of categories.

    ``weight`` has the shape (n_rows,), or (n_rows, n_columns) where a column learns
    from rows of its own.
    """

    codes: IntArray
    weight: Array
    sizes: list[int]


class Solved(NamedTuple):
    """Solutions of each column for each penalty, and what their coefficients mean."""

    paths: list[list[Solution]]
    where: Layout
    terms: Terms

    def at(self, k: int) -> list[Array]:
        """Coefficients of each column at penalty number k."""
        return [path[k].x if path else np.empty(0) for path in self.paths]


Write = Callable[[str], Any]


def combine_nodes(solved: Solved, k: int, settings: Settings) -> tuple[Energy, Array]:
    """One joint energy from all columns, and how much they disagree on each pair."""
    where = layout([len(basis) for basis in solved.where.bases])
    return assemble(
        solved.at(k), where, solved.where, solved.terms, settings.symmetrize
    )


def model_of(solved: Solved, k: int, settings: Settings) -> Model:
    """The joint model at penalty number k."""
    where = layout([len(basis) for basis in solved.where.bases])
    return linear_model(combine_nodes(solved, k, settings)[0], where)


def solve_nodes(
    table: Table,
    alphas: Sequence[float],
    settings: Settings,
    *,
    starts: Sequence[Array] | None = None,
    write: Write | None = None,
) -> Solved:
    """Solutions of every column for decreasing penalties."""
    rows, counts, where, terms, Z = _lay_out(table, settings, settings.penalty == "l1")
    p = len(table.sizes)

    def solve(u: int) -> list[Solution]:
        part, s, total = _own_rows(counts, u)
        problem = make_node(
            u,
            rows[part],
            s,
            Z[part],
            where,
            terms,
            method=settings.method,
            penalty=settings.penalty,
        )
        return solve_node(
            problem,
            [penalty_strength(a, settings.confidence, p, total) for a in alphas],
            solver="direct" if settings.solver == "auto" else settings.solver,
            tol=settings.tol,
            max_iter=settings.max_iter,
            start=None if starts is None else starts[u],
        )

    return Solved(_each_column(solve, table.sizes, settings, write), where, terms)


def noise_of(table: Table, solved: Solved, settings: Settings) -> Noise:
    """Noise of every pair at the first penalty: means of its two estimates."""
    p = len(table.sizes)
    rows, counts, where, terms, Z = _lay_out(table, settings, settings.penalty == "l1")
    noise, shrink = np.ones((p, p)), np.ones((p, p))
    for u, path in enumerate(solved.paths):
        if not path:
            continue
        part, s, _ = _own_rows(counts, u)
        problem = make_node(
            u,
            rows[part],
            s,
            Z[part],
            where,
            terms,
            method=settings.method,
            penalty=settings.penalty,
        )
        noise[u], shrink[u] = node_noise(problem, path[0].x, terms, p)
    return Noise((noise + noise.T) / 2, (shrink + shrink.T) / 2)


def solve_on_graph(
    table: Table,
    adjacency: BoolArray,
    higher: Collection[tuple[int, ...]],
    settings: Settings,
    *,
    write: Write | None = None,
) -> Solved:
    """Solutions without a penalty, over the interactions of a graph alone."""
    rows, counts, where, terms, Z = _lay_out(table, settings, False)

    def belongs(u: int, T: tuple[int, ...]) -> bool:
        if u in T:
            return False
        if len(T) == 1:
            return bool(adjacency[u, T[0]])
        return not T or tuple(sorted((u, *T))) in higher

    def solve(u: int) -> list[Solution]:
        part, s, _ = _own_rows(counts, u)
        own = [(T, place) for T, place in terms if belongs(u, T)]
        kept = np.concatenate([np.arange(p.start, p.stop) for _, p in own])
        ends = np.cumsum([place.stop - place.start for _, place in own]).tolist()
        placed = [
            (T, slice(end - (place.stop - place.start), end))
            for (T, place), end in zip(own, ends, strict=True)
        ]
        problem = make_node(
            u,
            rows[part],
            s,
            Z[part][:, kept],
            where,
            placed,
            method=settings.method,
            penalty="l1",
        )
        found = solve_node(
            problem,
            [0.0],
            solver="direct" if settings.solver == "auto" else settings.solver,
            tol=settings.tol,
            max_iter=settings.max_iter,
        )[0]
        whole = np.zeros((problem.r, Z.shape[1]))
        whole[:, kept] = found.x.reshape(problem.r, -1)
        return [found._replace(x=whole.ravel())]

    return Solved(_each_column(solve, table.sizes, settings, write), where, terms)


def _lay_out(
    table: Table, settings: Settings, redundant: bool
) -> tuple[IntArray, Array, Layout, Terms, Array]:
    """Distinct rows, their weights, and the products of columns in each."""
    p, order = len(table.sizes), settings.order
    if order > max(p, 2):
        raise ValueError(
            f"order={order} needs interactions of more columns than the {p} there are."
        )
    rows, counts = histogram(table.codes, table.weight)
    where = layout(table.sizes, redundant=redundant)
    degree = min(order, p) - 1
    width = count_products(where, degree)
    if len(rows) * width * 8 > LARGEST_DESIGN:
        raise ValueError(
            f"order={order} makes {width} products of columns over {len(rows)} "
            f"distinct rows, {len(rows) * width * 8 / 1e9:.1f} GB. Lower the order or "
            "drop columns."
        )
    terms, _ = list_terms(where, degree)
    return (
        rows,
        counts,
        where,
        terms,
        design(features(rows, where), where, terms, width),
    )


def _own_rows(counts: Array, u: int) -> tuple[Any, Array, float]:
    """Rows a column learns from, their weights of sum one, and the total before."""
    s = counts if counts.ndim == 1 else counts[:, u]
    total, kept = float(s.sum()), np.flatnonzero(s)
    part = slice(None) if len(kept) == len(s) else kept
    return part, s[part] / total, total


def _each_column(
    solve: Callable[[int], list[Solution]],
    sizes: Sequence[int],
    settings: Settings,
    write: Write | None,
) -> list[list[Solution]]:
    nodes = [u for u, q in enumerate(sizes) if q > 1]
    # threads: matrix products release the lock, and a process costs seconds to start
    parallel = streaming_parallel(settings.n_jobs, prefer="threads")
    paths: list[list[Solution]] = [[] for _ in sizes]
    for u, path in zip(nodes, parallel(delayed(solve)(u) for u in nodes), strict=True):
        paths[u] = path
        if write is not None:
            write(
                f"column {u + 1} of {len(sizes)}: {sum(s.n_iter for s in path)} "
                f"iterations, gap {max(s.gap for s in path):.1e}"
            )
    return paths


# --- missing cells -------------------------------------------------------------------


class Filled(NamedTuple):
    """Rows with their gaps drawn from the model, and its coefficients."""

    table: Table
    starts: list[Array]


def fill_gaps(
    table: Table,
    marginals: list[Array],
    alpha: float,
    settings: Settings,
    *,
    n_imputations: int,
    rng: Any,
) -> Filled:
    """Draw missing cells from the model and fit again until the model settles.

    Complete rows alone make the first model where there are enough of them.
    """
    complete = ~(table.codes == MISSING).any(axis=1)
    codes, weight, gaps = split_incomplete(
        table.codes, table.weight, marginals, n_imputations, rng
    )
    filled = Table(codes, weight, table.sizes)
    holes = np.flatnonzero(gaps.any(axis=1))
    start = filled
    if table.weight[complete].sum() >= ENOUGH_ROWS * sum(table.sizes):
        start = Table(table.codes[complete], table.weight[complete], table.sizes)
    solved = solve_nodes(start, [alpha], settings)
    least, stale, sweeps = np.inf, 0, FIRST_SWEEPS
    for _ in range(MOST_ROUNDS):
        codes[holes] = redraw_missing(
            codes[holes], gaps[holes], model_of(solved, 0, settings), rng, sweeps
        )
        before, sweeps = solved.at(0), SWEEPS
        solved = solve_nodes(filled, [alpha], settings, starts=before)
        change = max(
            (
                float(np.abs(a - b).max(initial=0.0))
                for a, b in zip(before, solved.at(0), strict=True)
            ),
            default=0.0,
        )
        stale = 0 if change < 0.95 * least else stale + 1
        least = min(least, change)
        if stale == SETTLED or change == 0.0:
            break
    return Filled(filled, solved.at(0))
