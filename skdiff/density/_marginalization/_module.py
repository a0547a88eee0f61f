"""Training of the two networks by torch: order-agnostic likelihood, consistency.

Equation numbers are those of arXiv 2310.12920.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from skdiff._base.typing import Array, IntArray
from skdiff._nn._optim import FlatAdam
from skdiff.density._marginalization._inference import Weights

LOWEST = -12.0  # log-probabilities below it are no targets: they would rule the squares


def initial(
    sizes: Sequence[int], hidden: Sequence[int], n_out: int, rng: Any
) -> Weights:
    """Scaled normal embeddings and layers; the head starts near zero."""
    width, levels = hidden[0], sum(sizes) + len(sizes)
    weights = {
        "embedding": rng.normal(scale=1 / np.sqrt(len(sizes)), size=(levels, width)),
        "bias": np.zeros(width),
    }
    for k, (a, b) in enumerate(pairwise(hidden)):
        weights[f"W{k}"] = rng.normal(scale=np.sqrt(1.0 / a), size=(a, b))
        weights[f"b{k}"] = np.zeros(b)
    last = hidden[-1]
    weights["head"] = rng.normal(scale=0.1 / np.sqrt(last), size=(last, n_out))
    if n_out > 1:
        weights["head_bias"] = np.zeros(n_out)
    return weights


class Net:
    """One network as tensors; rows come as categories plus one, zero where missing."""

    def __init__(self, weights: Weights, sizes: Sequence[int], device: str) -> None:
        self.tensors = {
            name: torch.as_tensor(
                w, dtype=torch.float32, device=device
            ).requires_grad_()
            for name, w in weights.items()
        }
        starts = np.cumsum([0, *(k + 1 for k in sizes[:-1])])
        self.starts = torch.as_tensor(starts, device=device)
        self.n_hidden = sum(name.startswith("W") for name in weights)

    def trunk(self, rows: Tensor) -> Tensor:
        """Activations of the last hidden layer; the first is a sum of embeddings."""
        t = self.tensors
        h = F.embedding_bag(rows + self.starts, t["embedding"], mode="sum")
        h = F.silu(h + t["bias"])
        for k in range(self.n_hidden):
            z = F.silu(torch.addmm(t[f"b{k}"], h, t[f"W{k}"]))
            h = h + z if z.shape == h.shape else z
        return h

    def output(self, rows: Tensor) -> Tensor:
        """All outputs of the head."""
        out = self.trunk(rows) @ self.tensors["head"]
        return out + self.tensors["head_bias"] if "head_bias" in self.tensors else out

    def arrays(self) -> Weights:
        """The weights as arrays of doubles."""
        return {
            name: t.detach().cpu().numpy().astype(np.float64)
            for name, t in self.tensors.items()
        }

    def optimizer(self, lr: float, decay: float) -> FlatAdam:
        """One-buffer Adam over the weights."""
        return FlatAdam(self.tensors.values(), lr=lr, weight_decay=decay)


class Masks(NamedTuple):
    """A random order per row, over its known cells alone, and how many come first.

    ``rank`` is the place of each cell in the order, beyond ``count`` where missing.
    """

    rank: Tensor
    first: Tensor
    count: Tensor


def draw_masks(rows: Tensor, generator: Any) -> Masks:
    """Uniform orders, and a uniform number of visible cells below that of the known."""
    noise = torch.rand(rows.shape, generator=generator).to(rows.device)
    noise = noise + 2.0 * (rows == 0)
    rank = noise.argsort(dim=1).argsort(dim=1)
    count = (rows > 0).sum(dim=1)
    share = torch.rand(len(rows), generator=generator).to(rows.device)
    return Masks(rank, (share * count).long(), count)


class Segments:
    """Outputs of a head, which are the columns one after the other."""

    def __init__(self, sizes: Sequence[int], device: str) -> None:
        starts = np.cumsum([0, *sizes[:-1]])
        owner = np.repeat(np.arange(len(sizes)), sizes)
        member = np.eye(len(sizes), dtype=np.float32)[owner]
        self.starts = torch.as_tensor(starts, device=device)
        self.owner = torch.as_tensor(owner, device=device)
        self.member = torch.as_tensor(member, device=device)
        self.sizes = list(sizes)

    def _shifted(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits below zero, and the logarithms of their sums per column."""
        index = self.owner.expand(len(logits), -1)
        top = torch.full((len(logits), len(self.sizes)), -torch.inf)
        top = top.to(logits.device)
        top = top.scatter_reduce(1, index, logits.detach(), "amax")
        shifted = logits - top[:, self.owner]
        return shifted, torch.log(shifted.exp() @ self.member)

    def of_cells(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Log-probability of each known cell; that of category 0 where missing."""
        shifted, total = self._shifted(logits)
        place = self.starts + (rows - 1).clamp(min=0)
        return shifted.gather(1, place) - total

    def padded(self, logits: Tensor) -> Tensor:
        """Probabilities of shape (rows, columns, widest), zero beyond a column's."""
        shifted, total = self._shifted(logits)
        p = (shifted - total[:, self.owner]).exp()
        out = p.new_zeros((len(p), len(self.sizes), max(self.sizes)))
        for u, part in enumerate(p.split(self.sizes, dim=1)):
            out[:, u, : part.shape[1]] = part
        return out


def conditional_losses(net: Net, rows: Tensor, segments: Segments, gen: Any) -> Tensor:
    """Order-agnostic negative log-likelihood of the known cells of each row.

    A cell is a target where it is known and hidden; D / (D - k) makes the sum over
    hidden cells an unbiased estimate of the sum along the whole order.
    """
    masks = draw_masks(rows, gen)
    hidden = (masks.rank >= masks.first[:, None]) & (rows > 0)
    seen = torch.where(masks.rank < masks.first[:, None], rows, 0)
    log = segments.of_cells(net.output(seen), rows)
    total = torch.where(hidden, log, 0.0).sum(dim=1)
    factor = masks.count / (masks.count - masks.first).clamp(min=1)
    return -(factor * total)


class Pairs(NamedTuple):
    """Rows with some cells visible, the same with one more, and that cell's column."""

    before: Tensor
    after: Tensor
    column: Tensor


def draw_pairs(rows: Tensor, gen: Any) -> Pairs:
    """One step of a random order per row."""
    masks = draw_masks(rows, gen)
    k = masks.first[:, None]
    before = torch.where(masks.rank < k, rows, 0)
    after = torch.where(masks.rank <= k, rows, 0)
    return Pairs(before, after, (masks.rank == k).int().argmax(dim=1))


def inconsistency(f: Net, pairs: Pairs, log: Tensor) -> Tensor:
    """f(before) + log p(cell | before) - f(after), both through the network together.

    A constant of f cancels.
    """
    before, after = f.output(torch.cat([pairs.before, pairs.after]))[:, 0].chunk(2)
    return torch.as_tensor(before + log - after)


def corrupt(rows: Tensor, sizes: Tensor, fraction: float, gen: Any) -> Tensor:
    """Redraw a random part of the cells of some rows, uniformly over categories.

    The marginals of rows that the data do not hold would never be trained.
    """
    n = round(fraction * len(rows))
    if not n:
        return rows
    device = rows.device
    share = torch.rand(n, 1, generator=gen).to(device)
    hit = torch.rand(n, rows.shape[1], generator=gen).to(device) < share
    drawn = (torch.rand(n, rows.shape[1], generator=gen).to(device) * sizes).long() + 1
    drawn = torch.minimum(drawn, sizes.long())
    out = rows.clone()
    out[:n] = torch.where(hit & (rows[:n] > 0), drawn, rows[:n])
    return out


def cell_log_prob(
    g: Net, segments: Segments, pairs: Pairs, marginal: Tensor | None, smoothing: float
) -> Tensor:
    """Log-probability of the next cell given those before."""
    log = segments.of_cells(g.output(pairs.before), pairs.after)
    log = log.gather(1, pairs.column[:, None])[:, 0]
    if marginal is None or not smoothing:
        return log
    code = pairs.after.gather(1, pairs.column[:, None])[:, 0] - 1
    share = marginal[pairs.column, code.clamp(min=0)]
    return torch.log((1 - smoothing) * log.exp() + smoothing * share)


def redraw(g: Net, segments: Segments, rows: Tensor, n_cells: int, gen: Any) -> Tensor:
    """Erase cells of each row and draw them again one by one: persistent chains."""
    noise = torch.rand(rows.shape, generator=gen).to(rows.device)
    order = noise.argsort(dim=1)[:, :n_cells]
    rows = rows.clone()
    here = torch.arange(len(rows), device=rows.device)
    rows.scatter_(1, order, 0)
    with torch.no_grad():
        for k in range(order.shape[1]):
            cut = segments.padded(g.output(rows))[here, order[:, k]].cumsum(dim=1)
            uniform = torch.rand(len(rows), 1, generator=gen).to(rows.device)
            drawn = (cut[:, :-1] < uniform * cut[:, -1:]).sum(dim=1)
            rows[here, order[:, k]] = drawn + 1
    return rows


def batches(weight: Array, size: int, n_batches: int, rng: Any) -> Iterator[IntArray]:
    """Rows of one epoch, drawn in proportion to their weights.

    One point in each of equal parts of the line of weights, in random order: a row
    appears as often as its weight says, within one.
    """
    n = size * n_batches
    points = (np.arange(n) + rng.uniform(size=n)) * (weight.sum() / n)
    place = np.searchsorted(np.cumsum(weight), points, side="right")
    drawn = np.minimum(place, len(weight) - 1)[rng.permutation(n)]
    yield from drawn.reshape(n_batches, size)
