"""From the nodes' estimates to one model, and from strengths to a graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from skdiff._base.typing import Array
from skdiff.density._features import Energy, Layout, Terms, to_contrasts


def block_lengths(A: Array, where: Layout) -> Array:
    """Frobenius norm of every block of a square matrix over features."""
    p = len(where.spans)
    out = np.zeros((p, p))
    alive = [j for j, span in enumerate(where.spans) if span.stop > span.start]
    if alive:
        starts = [where.spans[j].start for j in alive]
        squares = np.add.reduceat(np.add.reduceat(A**2, starts, 0), starts, 1)
        out[np.ix_(alive, alive)] = np.sqrt(squares)
    return out


def spread(mask: Any, where: Layout) -> Any:
    """Repeat the entries of a matrix over columns to one over features."""
    sizes = [span.stop - span.start for span in where.spans]
    return np.repeat(np.repeat(mask, sizes, axis=0), sizes, axis=1)


def combine(estimates: Sequence[Array], how: str) -> Array:
    """One block from those of the nodes it belongs to.

    ``"min"`` keeps the shortest, so that an interaction needs the consent of all of its
    columns (the rule of AND); ``"max"`` the longest (OR).
    """
    if how == "mean":
        return np.asarray(np.mean(estimates, axis=0))
    lengths = [float(np.linalg.norm(e)) for e in estimates]
    return estimates[int(np.argmin(lengths) if how == "min" else np.argmax(lengths))]


def assemble(
    solutions: Sequence[Array],
    where: Layout,
    solved: Layout,
    terms: Terms,
    how: str,
) -> tuple[Energy, Array]:
    """Gather the nodes' coefficients in one symmetric model.

    ``solved`` is the layout in which the nodes were solved, redundant or not, and
    ``where`` that of the model. Returns the model and the (p, p) lengths of the
    disagreement between the two estimates of each pair.
    """
    sizes = [len(basis) for basis in where.bases]
    width = where.width
    directed, field = np.zeros((width, width)), np.zeros(width)
    higher: dict[tuple[int, ...], list[Array]] = {}
    for u, w in enumerate(solutions):
        span = where.spans[u]
        if span.stop == span.start:
            continue
        W = w.reshape(solved.bases[u].shape[1], -1)
        for T, place in terms:
            if u in T or not (W[:, place].any() or not T):
                continue
            shape = [solved.bases[j].shape[1] for j in T]
            block = W[:, place].reshape(W.shape[0], *shape)
            block = to_contrasts(block, (u, *T), sizes)
            if not T:
                field[span] = block
            elif len(T) == 1:
                directed[span, where.spans[T[0]]] = block
            else:
                members = tuple(sorted((u, *T)))
                turned = np.moveaxis(block, 0, members.index(u))
                higher.setdefault(members, []).append(turned)
    for members, blocks in higher.items():  # estimates of zero were passed over
        blocks += [np.zeros_like(blocks[0])] * (len(members) - len(blocks))
    merged = {T: combine(blocks, how) for T, blocks in sorted(higher.items())}
    merged = {T: block for T, block in merged.items() if block.any()}
    disagreement = block_lengths(directed - directed.T, where)
    return Energy(field, symmetrised(directed, where, how), merged), disagreement


def symmetrised(directed: Array, where: Layout, how: str) -> Array:
    """A symmetric matrix from one whose rows belong to the nodes."""
    if how == "mean":
        return (directed + directed.T) / 2
    lengths = block_lengths(directed, where)
    shorter = lengths < lengths.T
    shorter |= (lengths == lengths.T) & np.tri(len(lengths), k=-1, dtype=bool)
    keep = shorter if how == "min" else ~shorter
    return np.where(spread(keep, where), directed, directed.T)


def strengths(model: Energy, where: Layout) -> Array:
    """Length of the strongest interaction that holds both of two columns."""
    out = block_lengths(model.pairs, where)
    for T, block in model.higher.items():
        length = float(np.linalg.norm(block))
        for i in T:
            for j in T:
                if i != j:
                    out[i, j] = max(out[i, j], length)
    return out


def noise_bound(p: int, confidence: float, total: float) -> float:
    """What the estimates of p independent balanced spins reach at most.

    The two-sided quantile of a normal variable, for all pairs together.
    """
    return float(norm.isf(confidence / max(p * (p - 1), 2)) / np.sqrt(total))


def noise_scale(where: Layout, marginals: Sequence[Array], confidence: float) -> Array:
    """How much longer noise makes a pair of columns than one of balanced spins.

    Between independent columns an estimate has the covariance of ``inv(C) x inv(C') /
    N``, with C and C' those of their contrasts. The quantile of its squared length is
    that of a chi-squared variable of the same mean and variance (Satterthwaite). Rare
    categories make it long.
    """
    p = len(marginals)
    first, second = np.zeros(p), np.zeros(p)
    for j, (basis, share) in enumerate(zip(where.bases, marginals, strict=True)):
        mean = share @ basis
        spread = np.linalg.eigvalsh((basis.T * share) @ basis - np.outer(mean, mean))
        inverse = 1.0 / np.maximum(spread, 1e-12)
        first[j], second[j] = inverse.sum(), (inverse**2).sum()
    mean, square = np.outer(first, first), np.outer(second, second)
    alive = mean > 0
    unit = np.where(alive, square / np.where(alive, mean, 1.0), 1.0)
    freedom = np.where(alive, mean / unit, 1.0)
    chance = confidence / max(p * (p - 1) / 2, 1)
    return np.asarray(np.sqrt(unit * chi2.isf(chance, freedom) / chi2.isf(chance, 1)))


def largest_gap(strength: Array, scale: Array, noise: float) -> float:
    """Threshold where the strengths fall most, in the units of balanced spins.

    Only strengths above ``noise``, what independent columns reach at most, are
    candidates. The threshold is at the largest ratio of neighbours among them, the last
    one compared with the largest below.
    """
    upper = np.triu_indices(len(strength), 1)
    ranked = np.sort((strength / scale)[upper])[::-1]
    above = ranked[ranked > noise]
    if not len(above):
        return float(noise)
    below = ranked[len(above)] if len(ranked) > len(above) else 0.0
    logs = np.log(np.r_[above, max(below, min(noise, above[-1]))])
    k = int(np.argmax(logs[:-1] - logs[1:]))
    return float(np.exp((logs[k] + logs[k + 1]) / 2))
