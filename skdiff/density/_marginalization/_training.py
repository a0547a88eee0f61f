"""The loops that train the two networks, on rows or on an energy."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdiff._base.progress import Patience, Progress
from skdiff._base.typing import Array, IntArray
from skdiff.density._marginalization._inference import Weights
from skdiff.density._marginalization._module import (
    LOWEST,
    Net,
    Segments,
    batches,
    cell_log_prob,
    conditional_losses,
    corrupt,
    draw_pairs,
    inconsistency,
    initial,
    redraw,
)

LEAST_BATCHES = 20  # of an epoch: rows of small tables return under other masks
MOST_ROWS = 2**20  # rows of an epoch, whatever the weights sum to
REPEATS = 4  # rows that an epoch sees as often make a table a small one
WINDOW, COOLDOWN = 10, 10  # epochs that are compared, and that follow a standstill
HELD_MASKS = 4  # masks per held-out row
GIBBS_CELLS = 4  # cells of a persistent chain that are redrawn per step
CONSISTENCY = 4.0  # weight of the constraint in energy-based training
DEEPEST = 50.0  # an energy farther below the best of its batch counts as this far


class Settings(NamedTuple):
    """How both networks are built and trained."""

    hidden: tuple[int, ...]
    learning_rate: float
    alpha: float
    batch_size: int
    on_policy: float
    corruption: float
    smoothing: float
    device: str


class Table(NamedTuple):
    """Rows as categories plus one (zero where missing), weights, and frequencies."""

    rows: IntArray
    weight: Array
    sizes: list[int]
    marginals: list[Array]


@dataclass
class Draws:
    """Random numbers of one fit: numpy's for rows, torch's for masks."""

    rng: Any
    gen: Any = field(init=False)

    def __post_init__(self) -> None:
        seed = int(self.rng.randint(2**31 - 1))
        self.gen = torch.Generator().manual_seed(seed)


class History:
    """Loss and validation score of each epoch, and the best state."""

    def __init__(self, guard: Progress, patience: Patience) -> None:
        self.guard, self.patience = guard, patience
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best: Any = None
        self.flat = False

    def stands_still(self) -> bool:
        """Whether the last losses are no lower than those before, but for chance."""
        if len(self.losses) < 2 * WINDOW:
            return False
        before, last = np.reshape(self.losses[-2 * WINDOW :], (2, WINDOW))
        chance = np.sqrt((before.var() + last.var()) / WINDOW)
        return bool(before.mean() - last.mean() < 2 * chance)

    def note(self, loss: float, score: float | None, arrays: Any, state: Any) -> bool:
        """Remember an epoch; return whether to stop."""
        self.losses.append(loss)
        if score is not None:
            if score > max(self.scores, default=-np.inf):
                self.best = arrays
            self.scores.append(score)
            if self.patience.is_over(-score):
                return True
        else:
            self.best = arrays
        return self.guard.step(loss=loss, score=score, state=state)


def epochs(
    table: Table, settings: Settings, max_iter: int, history: History, draws: Draws
) -> Iterator[Iterator[tuple[IntArray, float]]]:
    """Batches of each epoch with the step size, which falls along half a cosine.

    On a small table, where the loss stands still, what is left of it is passed through
    in a few epochs.
    """
    size = settings.batch_size
    total = min(float(table.weight.sum()), MOST_ROWS)
    per_epoch = max(LEAST_BATCHES, math.ceil(total / size))
    small = per_epoch >= REPEATS * math.ceil(total / size)
    done, pace = 0.0, 1 / (max_iter * per_epoch)

    def one(start: float, pace: float) -> Iterator[tuple[IntArray, float]]:
        drawn = batches(table.weight, size, per_epoch, draws.rng)
        for k, chosen in enumerate(drawn):
            angle = math.pi * (start + k * pace)
            yield chosen, settings.learning_rate / 2 * (1 + math.cos(angle))

    for epoch in history.guard.iterations(max_iter):
        left = max_iter - epoch
        if small and not history.flat and left > COOLDOWN and history.stands_still():
            history.flat, pace = True, (1 - done) / (COOLDOWN * per_epoch)
        if done > 1 - pace / 2:
            break
        yield one(done, pace)
        done += pace * per_epoch


def step_size(optimizer: Any, lr: float) -> None:
    """Set the step size of the next step."""
    optimizer.param_groups[0]["lr"] = lr


def train_conditional(
    table: Table,
    settings: Settings,
    max_iter: int,
    history: History,
    draws: Draws,
    held: Table | None,
) -> Weights | None:
    """Stage one: any cell given any others (order-agnostic likelihood, Eq. 6)."""
    sizes, device = table.sizes, settings.device
    net = Net(initial(sizes, settings.hidden, sum(sizes), draws.rng), sizes, device)
    segments = Segments(sizes, device)
    rows = torch.as_tensor(table.rows, device=device)
    optimizer = net.optimizer(settings.learning_rate, settings.alpha)
    seed = int(draws.rng.randint(2**31 - 1))
    for epoch in epochs(table, settings, max_iter, history, draws):
        losses = []
        for chosen, lr in epoch:
            step_size(optimizer, lr)
            optimizer.zero_grad()
            batch = rows[torch.as_tensor(chosen, device=device)]
            loss = conditional_losses(net, batch, segments, draws.gen).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        score = None if held is None else held_out_score(net, held, segments, seed)
        arrays, mean = net.arrays(), float(torch.stack(losses).mean())
        check_finite(mean)
        if history.note(mean, score, arrays, (arrays, None)):
            break
    return history.best


def check_finite(loss: float) -> None:
    """Refuse to go on from a loss that is no number."""
    if not np.isfinite(loss):
        raise ValueError("The loss is not finite. Lower learning_rate_init.")


def held_out_score(net: Net, held: Table, segments: Segments, seed: int) -> float:
    """Log-likelihood of held-out rows under the same masks every time."""
    gen = torch.Generator().manual_seed(seed)
    device = net.starts.device
    rows = torch.as_tensor(np.tile(held.rows, (HELD_MASKS, 1)), device=device)
    with torch.no_grad():
        losses = conditional_losses(net, rows, segments, gen).cpu().numpy()
    return -float(np.average(losses, weights=np.tile(held.weight, HELD_MASKS)))


def train_marginal(
    table: Table,
    settings: Settings,
    max_iter: int,
    history: History,
    draws: Draws,
    conditional: Weights,
) -> Weights | None:
    """Stage two: f consistent with frozen conditionals (Eq. 8), squared and times D."""
    sizes, device = table.sizes, settings.device
    f = Net(initial(sizes, settings.hidden, 1, draws.rng), sizes, device)
    g = Net(conditional, sizes, device)
    segments, marginal = Segments(sizes, device), padded(table.marginals, device)
    rows = torch.as_tensor(table.rows, device=device)
    widths = torch.as_tensor(sizes, dtype=torch.float32, device=device)
    # targets are without noise: there is nothing that a penalty could guard against
    optimizer = f.optimizer(settings.learning_rate, 0.0)
    chains = rows[:0]
    if n_chains := round(settings.on_policy * settings.batch_size):
        chains = rows[
            torch.as_tensor(next(batches(table.weight, n_chains, 1, draws.rng)))
        ]
        chains = torch.where(chains > 0, chains, 1)
    for epoch in epochs(table, settings, max_iter, history, draws):
        losses = []
        for chosen, lr in epoch:
            step_size(optimizer, lr)
            batch = rows[torch.as_tensor(chosen, device=device)]
            if n_chains:
                chains = redraw(g, segments, chains, GIBBS_CELLS, draws.gen)
                batch = torch.cat([batch[n_chains:], chains])
            batch = corrupt(batch, widths, settings.corruption, draws.gen)
            pairs = draw_pairs(batch[(batch > 0).any(dim=1)], draws.gen)
            with torch.no_grad():
                log = cell_log_prob(g, segments, pairs, marginal, settings.smoothing)
            optimizer.zero_grad()
            gap = inconsistency(f, pairs, log.clamp(min=LOWEST))
            loss = len(sizes) * gap.square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        arrays, mean = f.arrays(), float(torch.stack(losses).mean())
        check_finite(mean)
        if history.note(mean, None, arrays, (conditional, arrays)):
            break
    return history.best


def padded(marginals: Sequence[Array], device: str) -> Tensor:
    """Frequencies of all columns, zero beyond the categories of a column."""
    out = np.zeros((len(marginals), max(len(m) for m in marginals)))
    for u, m in enumerate(marginals):
        out[u, : len(m)] = m
    return torch.as_tensor(out, dtype=torch.float32, device=device)


def train_energy(
    energy: Callable[[IntArray], Array],
    sizes: list[int],
    settings: Settings,
    n_steps: int,
    guard: Progress,
    draws: Draws,
) -> tuple[Weights, Weights, list[float]]:
    """Both networks together: minimise KL(p || exp energy) by its score function.

    The reward is standardised; the constraint is weighted by 4 D (Eq. 12). Rows come
    from persistent chains of the conditionals.
    """
    device, hidden = settings.device, settings.hidden
    f = Net(initial(sizes, hidden, 1, draws.rng), sizes, device)
    g = Net(initial(sizes, hidden, sum(sizes), draws.rng), sizes, device)
    segments = Segments(sizes, device)
    both = [n.optimizer(settings.learning_rate, settings.alpha) for n in (f, g)]
    widths = torch.as_tensor(sizes, dtype=torch.float32, device=device)
    start = np.floor(draws.rng.uniform(size=(settings.batch_size, len(sizes))) * sizes)
    rows = torch.as_tensor(start.astype(np.int64) + 1, device=device)
    gaps: list[float] = []
    for k in guard.iterations(n_steps):
        rows = redraw(g, segments, rows, GIBBS_CELLS, draws.gen)
        wanted = torch.as_tensor(energy(rows.cpu().numpy() - 1), device=device)
        wanted = wanted.clamp(min=float(wanted.max()) - DEEPEST).float()
        for optimizer in both:
            step_size(
                optimizer,
                settings.learning_rate / 2 * (1 + math.cos(math.pi * k / n_steps)),
            )
            optimizer.zero_grad()
        log_p = f.output(rows)[:, 0] - f.output(torch.zeros_like(rows[:1]))[:, 0]
        gap = log_p.detach() - wanted
        reward = (gap - gap.mean()) / gap.std().clamp(min=1e-6)
        pairs = draw_pairs(
            corrupt(rows, widths, settings.corruption, draws.gen), draws.gen
        )
        log = cell_log_prob(g, segments, pairs, None, 0.0)
        constraint = inconsistency(f, pairs, log.clamp(min=LOWEST)).square().mean()
        loss = (reward * log_p).mean() + CONSISTENCY * len(sizes) * constraint
        loss.backward()
        for optimizer in both:
            optimizer.step()
        gaps.append(float(gap.std()))
        check_finite(gaps[-1])
        if guard.step(loss=gaps[-1], state=None):
            break
    return g.arrays(), f.arrays(), gaps
