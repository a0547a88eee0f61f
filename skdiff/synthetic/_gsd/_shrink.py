"""Less noise in measured marginals, at no cost: shrink each towards independence.

A table of counts is the product of its one-way marginals plus what its columns depend
on each other. Where that second part is no longer than noise of the known size would
be, it is noise. The positive-part James-Stein factor ``1 - K sigma^2 / |residual|^2``
keeps of it what stands out. This is post-processing of what was released already.
"""

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.synthetic._cells import Cells
from skdiff.synthetic._gsd._measure import Measured

LIMIT = 1.5  # largest move of a cell in standard deviations of its noise


def _axes(cells: Cells) -> tuple[list[IntArray], list[int]]:
    """Group of each code by column, and the number of groups."""
    groups, sizes = [], []
    for table in cells.tables:
        levels, group = np.unique(table, return_inverse=True)
        groups.append(group.astype(np.int64))
        sizes.append(len(levels))
    return groups, sizes


def _is_marginal(cells: Cells) -> bool:
    return cells.lookup is None and not cells.modulus


def one_way_shares(measured: list[Measured], sizes: tuple[int, ...]) -> list[Array]:
    """Shares of the codes of each column, averaged over all tables by precision."""
    total = [np.zeros(size) for size in sizes]
    weight, finest = np.zeros(len(sizes)), np.zeros(len(sizes), dtype=np.int64)
    for m in measured:
        if not _is_marginal(m.cells):
            continue
        groups, axes = _axes(m.cells)
        table = m.shares.reshape(axes)
        for k, j in enumerate(m.cells.columns):
            if axes[k] < finest[j]:
                continue  # bins are merged here, and known apart already
            if axes[k] > finest[j]:
                total[j][:], weight[j], finest[j] = 0.0, 0.0, axes[k]
            rest = tuple(i for i in range(len(axes)) if i != k)
            precision = axes[k] / ((m.sigma**2 + 1e-9) * m.cells.n_cells)
            bins = np.bincount(groups[k], minlength=axes[k])
            alone = table.sum(axis=rest) / bins
            total[j] += precision * alone[groups[k]]
            weight[j] += precision
    found = []
    for share, mass in zip(total, weight, strict=True):
        share = np.clip(share / mass if mass else share, 0.0, None)
        found.append(share / share.sum() if share.sum() > 0 else share + 1 / len(share))
    return found


def shrunk(
    measured: list[Measured], sizes: tuple[int, ...], n_rows: int
) -> list[Measured]:
    """Shrink every marginal of several columns towards the product of its columns."""
    alone = one_way_shares(measured, sizes)
    found = []
    for m in measured:
        if not _is_marginal(m.cells) or len(m.cells.columns) == 1 or m.sigma == 0:
            found.append(m)
            continue
        groups, axes = _axes(m.cells)
        product = np.ones(1)
        for j, group, size in zip(m.cells.columns, groups, axes, strict=True):
            share = np.bincount(group, weights=alone[j], minlength=size)
            product = np.multiply.outer(product, share).ravel()
        residual = m.shares - product
        noise = m.cells.n_cells * (m.sigma / n_rows) ** 2
        factor = max(0.0, 1.0 - noise / max(float(residual @ residual), 1e-300))
        # no cell moves by more than its noise may be (Efron and Morris, 1972)
        most = LIMIT * m.sigma / n_rows
        moved = np.clip((factor - 1.0) * residual, -most, most)
        found.append(m._replace(shares=m.shares + moved))
    return found
