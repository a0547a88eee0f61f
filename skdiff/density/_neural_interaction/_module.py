"""Networks as conditionals or as an energy, trained by interaction screening.

All parameters are one flat vector, so that L-BFGS and Adam see the same thing. torch is
imported by whoever calls; inference needs numpy alone and is in ``_inference``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdiff._base.progress import Patience, Progress
from skdiff._base.typing import Array
from skdiff._convex._lbfgs_box import lbfgs_box
from skdiff._nn._modules import ACTIVATIONS
from skdiff._nn._optim import FlatAdam
from skdiff.density._features import Layout, features
from skdiff.density._neural_interaction._inference import Network, Shapes, unpack

CHUNK_CELLS = 4_000_000  # activations of one layer that a pass may hold
LARGEST_EXPONENT = 50.0  # a bad step is to be refused, not to end in infinity
DECAY = 0.2 / 10_000  # inverse-time decay of Adam's step, as in the published code


class Table(NamedTuple):
    """A histogram as tensors: features, targets, weights.

    ``weight`` has the shape (n_nodes, n_rows) or (1, n_rows), and sums to one a node.
    """

    F: Tensor
    Y: Tensor
    codes: Tensor
    weight: Tensor


def make_table(rows: Any, weight: Any, where: Layout, device: str) -> Table:
    """Tensors of a histogram; ``weight`` is (n_rows,) or (n_rows, n_nodes)."""
    F = features(rows, where)
    widest = max((basis.shape[1] for basis in where.bases), default=0)
    Y = np.zeros((len(where.spans), len(rows), widest))
    for u, span in enumerate(where.spans):
        Y[u, :, : span.stop - span.start] = F[:, span]
    shares = np.atleast_2d(weight.T)
    shares = shares / shares.sum(axis=1, keepdims=True)
    return Table(*(torch.as_tensor(a, device=device) for a in (F, Y, rows, shares)))


class Screening:
    """The screening objective as a function of the flat parameters."""

    def __init__(
        self, network: Network, *, alpha: float, l1_input: float, device: str
    ) -> None:
        self.shapes, self.where = shapes, where = network.shapes, network.where
        self.variant = variant = network.variant
        self.activation = ACTIVATIONS[network.activation]
        self.alpha, self.l1_input = alpha, l1_input
        mask = np.concatenate(
            [np.full(int(np.prod(shape)), k % 2 == 0) for k, shape in enumerate(shapes)]
        )
        self.decayed = torch.as_tensor(mask, dtype=torch.float64, device=device)
        own = np.ones((len(where.spans), where.width, 1))
        for u, span in enumerate(where.spans):
            own[u, span] = 0.0
        self.mask = torch.as_tensor(own, device=device)
        sizes = [len(basis) for basis in where.bases]
        self.first = torch.as_tensor(np.cumsum([0, *sizes[:-1]]), device=device)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        self.owner = torch.as_tensor(owner, device=device)
        stacked = np.zeros((len(owner), where.width))
        mean = np.zeros((len(owner), len(sizes)))
        for u, (basis, span) in enumerate(zip(*where, strict=True)):
            stacked[owner == u, span] = basis
            mean[owner == u, u] = 1.0 / len(basis)
        self.states = torch.as_tensor(stacked, device=device)
        self.mean = torch.as_tensor(mean, device=device)
        width = max(shape[-1] for shape in shapes)
        copies = len(owner) if variant == "energy" else len(sizes)
        self.rows = max(1, CHUNK_CELLS // (width * copies))

    def data_loss(self, flat: Tensor, table: Table, part: slice) -> Tensor:
        """``sum_u sum_k s_k exp(-margin_uk)`` over some rows."""
        layers = unpack(flat, self.shapes)
        weight = table.weight[:, part]
        if self.variant == "energy":
            margin = self._energy_margins(layers, table, part)
        else:
            margin = self._conditional_margins(layers, table, part)
        return (weight * torch.exp((-margin).clamp(max=LARGEST_EXPONENT))).sum()

    def _conditional_margins(
        self, layers: list[Tensor], table: Table, part: slice
    ) -> Tensor:
        """All networks at once; the first layer is one matrix product."""
        F = table.F[part]
        W, b = layers[0] * self.mask, layers[1]
        p, D, h = W.shape
        Z = (F @ W.permute(1, 0, 2).reshape(D, p * h)).view(len(F), p, h)
        Z = Z.permute(1, 0, 2) + b[:, None]
        for W, b in zip(layers[2::2], layers[3::2], strict=True):
            Z = torch.baddbmm(b[:, None], self.activation(Z), W)
        return (Z * table.Y[:, part]).sum(dim=2)

    def _energy_margins(
        self, layers: list[Tensor], table: Table, part: slice
    ) -> Tensor:
        """Energies of all single changes; they differ in one column's input only."""
        F, codes = table.F[part], table.codes[part]
        W, b = layers[0], layers[1]
        G = self.states @ W
        own = G[codes + self.first]  # (n, p, h)
        Z = (F @ W + b)[:, None] - own[:, self.owner] + G
        for W, b in zip(layers[2::2], layers[3::2], strict=True):
            Z = self.activation(Z) @ W + b
        E = Z[..., 0]
        here = torch.gather(E, 1, codes + self.first)
        return (here - E @ self.mean).T

    def penalty(self, flat: Tensor) -> Tensor:
        """The L2 term, and L1 on the first layer."""
        total = self.alpha / 2 * (self.decayed * flat * flat).sum()
        if self.l1_input:
            size = int(np.prod(self.shapes[0]))
            total = total + self.l1_input * flat[:size].abs().sum()
        return total

    def chunks(self, n: int) -> list[slice]:
        """Slices of rows that fit in memory."""
        return [slice(i, min(i + self.rows, n)) for i in range(0, n, self.rows)]

    def value(self, flat: Tensor, table: Table) -> float:
        """The data term alone."""
        with torch.no_grad():
            parts = [self.data_loss(flat, table, c) for c in self.chunks(len(table.F))]
        return float(sum(parts))


class History:
    """Losses, validation scores and the best state of one training.

    ``patience`` ends a training whose validation score no longer rises.
    """

    def __init__(
        self,
        guard: Progress,
        validate: Callable[[Array], float] | None,
        patience: Patience,
    ) -> None:
        self.guard, self.validate, self.patience = guard, validate, patience
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best: Array | None = None
        self.last: Array | None = None
        self.stopped = "max_iter"

    def note(self, flat: Array, loss: float) -> bool:
        """Remember an iteration; return whether to stop."""
        self.losses.append(loss)
        self.last, score = flat.copy(), None
        if self.validate is not None:
            score = self.validate(flat)
            if score > max(self.scores, default=-np.inf):
                self.best = self.last
            self.scores.append(score)
            if self.patience.is_over(-score):
                self.stopped = "converged"
        over = self.guard.step(loss=loss, score=score, state=self.last)
        return over or self.stopped != "max_iter"

    def result(self, otherwise: Array) -> Array:
        """The best state on the validation set, or the last."""
        if self.best is not None:
            return self.best
        return otherwise if self.last is None else self.last


def fit_lbfgs(
    screening: Screening,
    table: Table,
    flat: Array,
    history: History,
    *,
    max_iter: int,
    tol: float,
) -> Array:
    """Full-batch L-BFGS; an L1 penalty is split into two signs with bounds at zero."""
    size = int(np.prod(screening.shapes[0])) if screening.l1_input else 0
    device = table.F.device
    smooth = screening.alpha

    def evaluate(x: Array) -> tuple[float, Array]:
        whole = torch.as_tensor(x, device=device).requires_grad_(True)
        total = 0.0
        for part in screening.chunks(len(table.F)):
            loss = screening.data_loss(whole, table, part)
            loss.backward()
            total += float(loss.detach())
        gradient = whole.grad.cpu().numpy() + smooth * decayed * x
        return total + smooth / 2 * float(decayed @ x**2), gradient

    decayed = screening.decayed.cpu().numpy()

    def join(x: Array) -> Array:
        return np.r_[x[:size] - x[size : 2 * size], x[2 * size :]] if size else x

    def objective(x: Array) -> tuple[float, Array]:
        value, gradient = evaluate(join(x))
        if not size:
            return value, gradient
        value += screening.l1_input * float(x[: 2 * size].sum())
        inner = gradient[:size]
        return value, np.r_[
            inner + screening.l1_input, screening.l1_input - inner, gradient[size:]
        ]

    def after(intermediate_result: Any) -> None:
        if history.note(join(intermediate_result.x), float(intermediate_result.fun)):
            raise StopIteration

    start, lower = flat, np.full(len(flat), -np.inf)
    if size:
        start = np.r_[
            np.maximum(flat[:size], 0), np.maximum(-flat[:size], 0), flat[size:]
        ]
        lower = np.full(len(start), -np.inf)
        lower[: 2 * size] = 0.0
    found = lbfgs_box(
        objective,
        start,
        lower,
        max_iter=max_iter,
        callback=after,
        ftol=tol,
        gtol=0.0,
        maxcor=20,
    )
    if history.stopped == "max_iter" and found.n_iter < max_iter:
        history.stopped = "converged"
    return history.result(join(found.x))


class Steps(NamedTuple):
    """How Adam trains."""

    max_iter: int
    learning_rate: float
    batch_size: int
    patience: Patience


def fit_adam(
    screening: Screening,
    table: Table,
    flat: Array,
    history: History,
    steps: Steps,
    rng: Any,
    memory: dict[str, Any] | None = None,
) -> tuple[Array, dict[str, Any]]:
    """Adam on batches of distinct rows, in random order, weights kept."""
    device, n = table.F.device, len(table.F)
    whole = torch.as_tensor(flat, device=device).requires_grad_(True)
    optimizer = FlatAdam([whole], lr=steps.learning_rate)
    if memory is not None:
        optimizer.set_memory(memory)
    for _ in history.guard.iterations(steps.max_iter):
        order = torch.as_tensor(rng.permutation(n), device=device)
        total = 0.0
        for first in range(0, n, steps.batch_size):
            chosen = order[first : first + steps.batch_size]
            step = float(optimizer.n_steps)
            optimizer.param_groups[0]["lr"] = steps.learning_rate / (1 + DECAY * step)
            loss = adam_step(screening, table, whole, chosen, optimizer)
            total += loss * len(chosen) / n
        current = whole.detach().cpu().numpy().copy()
        loss_now = total + float(screening.penalty(whole.detach()))
        if not np.isfinite(loss_now):
            history.stopped = "diverged"
            break
        settled = steps.patience.is_over(loss_now) and history.validate is None
        if history.note(current, loss_now):
            break
        if settled:
            history.stopped = "converged"
            break
    return history.result(flat), optimizer.get_memory()


def adam_step(
    screening: Screening, table: Table, whole: Tensor, chosen: Tensor, optimizer: Any
) -> float:
    """One step on a batch; return its loss without the penalty."""
    batch = Table(
        table.F[chosen],
        table.Y[:, chosen],
        table.codes[chosen],
        table.weight[:, chosen] * (len(table.F) / len(chosen)),
    )
    optimizer.zero_grad()
    total = 0.0
    for part in screening.chunks(len(chosen)):
        loss = screening.data_loss(whole, batch, part)
        loss.backward()
        total += float(loss.detach())
    screening.penalty(whole).backward()
    optimizer.step()
    return total


def initial(shapes: Shapes, rng: Any, *, zero_input: bool) -> Array:
    """Glorot's uniform start; the first layer is zero where it is to be selected."""
    parts = []
    for k, shape in enumerate(shapes):
        bound = np.sqrt(6.0 / (shapes[k - k % 2][-1] + shapes[k - k % 2][-2]))
        values = rng.uniform(-bound, bound, size=shape)
        parts.append(np.zeros(shape) if zero_input and k == 0 else values)
    return np.concatenate([part.ravel() for part in parts])
