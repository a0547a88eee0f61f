"""The same network in torch, and its training on fresh curves."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from skdiff._base.typing import FloatArray
from skdiff.model_selection._curve_network._network import _LOG_STD, _STEP, N_COMPONENTS
from skdiff.model_selection._curve_network._prior import draw_curves
from skdiff.model_selection._curve_network._summary import (
    N_QUERY,
    N_SUMMARY,
    observe,
    queries,
    summarise,
)

_WIDE, _NARROW = 256, 96
_CURVES, _PREFIXES, _QUERIES = 256, 12, 3
Batch = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


class CurveNetwork(nn.Module):
    """Mixture of Gaussians for the value of a curve at a later epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.context = nn.Sequential(
            nn.Linear(N_SUMMARY, _WIDE),
            nn.SiLU(),
            nn.Linear(_WIDE, _WIDE),
            nn.SiLU(),
            nn.Linear(_WIDE, _NARROW),
        )
        self.query = nn.Linear(N_QUERY, _NARROW, bias=False)
        self.head = nn.Linear(_NARROW, _NARROW)
        self.out = nn.Linear(_NARROW, 3 * N_COMPONENTS)
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.zero_()
            self.out.bias[2 * N_COMPONENTS :] = torch.linspace(-4.5, -2, N_COMPONENTS)

    def forward(
        self, summary: torch.Tensor, query: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log-weights, means and log standard deviations (n, q, components)."""
        h = torch.relu(self.query(query) + self.context(summary)[:, None, :])
        out = self.out(torch.relu(self.head(h)))
        logits, shifts, log_std = out.chunk(3, dim=-1)
        means = reference[:, None, None] + _STEP * shifts
        return logits.log_softmax(-1), means, log_std.clamp(*_LOG_STD)

    def to_arrays(self) -> dict[str, FloatArray]:
        """Arrays under the names that the NumPy network reads."""
        linear = [m for m in self.context if isinstance(m, nn.Linear)]
        arrays = {f"context_W{k}": m.weight.T for k, m in enumerate(linear)}
        arrays |= {f"context_b{k}": m.bias for k, m in enumerate(linear)}
        arrays["query_W"] = self.query.weight.T
        for name in ("head", "out"):
            layer = getattr(self, name)
            arrays |= {f"{name}_W": layer.weight.T, f"{name}_b": layer.bias}
        return {
            k: np.ascontiguousarray(a.detach().numpy(), np.float32)
            for k, a in arrays.items()
        }


def train(
    prior: str,
    n_steps: int,
    seed: int,
    *,
    learning_rate: float = 3e-3,
    report: Callable[[int, float], None] | None = None,
) -> tuple[CurveNetwork, list[float]]:
    """Train on ``n_steps`` batches of fresh curves; return the network and its losses.

    Minimises the mean negative log density of values after a random cutoff, by AdamW
    under a cosine schedule. ``report`` hears of every loss.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = CurveNetwork()
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=1e-3)
    losses = []
    for step, batch in zip(range(n_steps), batches(prior, rng), strict=False):
        cosine = 0.5 * (1 + math.cos(math.pi * step / n_steps))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 100) * cosine
        summary, query, reference, value = map(torch.from_numpy, batch)
        log_weights, means, log_std = model(summary, query, reference)
        loss = -log_density(log_weights, means, log_std, value).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if report is not None:
            report(step + 1, losses[-1])
    return model.eval(), losses


def log_density(
    log_weights: torch.Tensor,
    means: torch.Tensor,
    log_std: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Log density of the mixtures at ``value``."""
    z = (value[..., None] - means) * torch.exp(-log_std)
    parts = log_weights - 0.5 * z**2 - log_std - 0.5 * math.log(2 * math.pi)
    return parts.logsumexp(-1)


def batches(prior: str, rng: np.random.Generator) -> Iterator[Batch]:
    """Fresh curves, each with several cutoffs and several later epochs."""
    while True:
        horizon = _horizon(prior, rng)
        curves = draw_curves(
            _CURVES, np.arange(1, horizon + 1) * 100 / horizon, rng, prior
        )
        Y = _holes(curves.y.astype(float), rng)
        rows = np.repeat(np.arange(_CURVES), _PREFIXES)
        first = 1 + np.argmax(~np.isnan(Y), axis=1)
        cut = rng.integers(1, horizon, len(rows))
        cut = np.minimum(np.maximum(cut, first[rows]), horizon - 1)
        good = cut >= first[rows]
        rows, cut = rows[good], cut[good]
        seen = observe(Y, horizon)
        summary, reference, last = summarise(seen, rows, cut)
        later = (
            cut[:, None]
            + 1
            + (rng.random((len(rows), _QUERIES)) * (horizon - cut[:, None])).astype(int)
        )
        query = queries(last[:, None], later * 100 / horizon)
        value = curves.y[rows[:, None], later - 1]
        drawn = (summary, query, reference, value)
        s, q, r, v = (a.astype(np.float32) for a in drawn)
        yield s, q, r, v


def _horizon(prior: str, rng: np.random.Generator) -> int:
    """Most often 100 epochs, else what a user may have."""
    if rng.random() < (0.75 if prior == "domhan" else 0.4):
        return 100
    return int(np.exp(rng.uniform(np.log(12), np.log(300))))


def _holes(Y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Epochs that were not scored: at random, or all but every k-th."""
    kind, seen = rng.random(), Y
    if kind < 0.08:
        seen = np.where(rng.random(Y.shape) < rng.uniform(0.2, 0.9), Y, np.nan)
    elif kind < 0.16:
        keep = np.arange(1, Y.shape[1] + 1) % rng.integers(2, 6) == 0
        seen = np.where(keep, Y, np.nan)
    empty = np.isnan(seen[:, :-1]).all(1)
    first = np.where(empty, Y[:, 0], seen[:, 0])
    return np.concatenate([first[:, None], seen[:, 1:]], axis=1)
