"""Sparse subspace variational inference: a Bayesian network on a budget of weights.

Li, Miao, Qiu and Zhang (2024), arXiv 2402.11025. A weight is ``N(mu, sigma^2)`` on the
entries of a binary mask and exactly zero elsewhere; every so often the least important
active entries are exchanged for the inactive ones with the steepest loss.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.special import log_ndtr
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._nn._modules import ACTIVATIONS
from skdiff._nn._net import Net

SHARED_ROWS = 100
TINY = 1e-8  # under the root of the noise's variance: its slope at zero is infinite


def kl_divergence(mu: Tensor, sigma: Tensor, prior_std: float) -> Tensor:
    """Return the divergence of ``N(mu, sigma^2)`` from the prior, entry by entry."""
    ratio = (sigma.square() + mu.square()) / (2 * prior_std**2)
    return ratio - sigma.log() + (math.log(prior_std) - 0.5)


# --- which weights matter (section 4.3 of the paper; a low value is removed) ----------


def mean_abs(mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return ``E|theta|`` of a normal weight."""
    z = mu / sigma
    half = np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
    return sigma * (half + z * (1 - 2 * np.exp(log_ndtr(-z))))


def _snr(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean over standard deviation, from the first two moments."""
    return first / np.sqrt(np.maximum(second - first**2, 1e-300))


def _log_exp_abs(mu: np.ndarray, sigma: np.ndarray, rate: float) -> np.ndarray:
    """Logarithm of ``E exp(rate |theta|)``."""
    z, shift = mu / sigma, rate * sigma
    up = rate * mu + log_ndtr(z + shift)
    down = -rate * mu + log_ndtr(-z + shift)
    return shift**2 / 2 + np.logaddexp(up, down)


def _exp_snr(mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Signal to noise of ``exp |theta|``, by its logarithm."""
    excess = _log_exp_abs(mu, sigma, 2.0) - 2 * _log_exp_abs(mu, sigma, 1.0)
    return -0.5 * np.log(np.maximum(np.expm1(excess), 1e-300))


CRITERIA: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "abs_mean": lambda mu, sigma: np.abs(mu),
    "snr": lambda mu, sigma: np.abs(mu) / sigma,
    "mean_abs": mean_abs,
    "snr_abs": lambda mu, sigma: _snr(mean_abs(mu, sigma), sigma**2 + mu**2),
    "exp_abs": lambda mu, sigma: _log_exp_abs(mu, sigma, 1.0),
    "snr_exp": _exp_snr,
}


# --- budgets --------------------------------------------------------------------------


def layer_budgets(
    sizes: Sequence[int], density: float, distribution: str, dense_first: bool
) -> list[int]:
    """Return the number of active weights of each layer, at least one."""
    shapes = list(pairwise(sizes))
    cells = [n_in * n_out for n_in, n_out in shapes]
    densities = [density] * len(cells)
    if distribution == "erdos_renyi":
        # density proportional to (n_in + n_out) / (n_in n_out), full layers set aside
        raw = [(i + o) / (i * o) for i, o in shapes]
        full: set[int] = set()
        while True:
            free = [k for k in range(len(cells)) if k not in full]
            left = density * sum(cells) - sum(cells[k] for k in full)
            mass = sum(raw[k] * cells[k] for k in free)
            factor = left / mass if mass else 0.0
            over = {k for k in free if factor * raw[k] > 1}
            full |= over
            if not over:
                break
        densities = [
            1.0 if k in full else max(factor * raw[k], 0.0) for k in range(len(cells))
        ]
    if dense_first:
        densities[0] = 1.0
    return [max(1, round(d * n)) for d, n in zip(densities, cells, strict=True)]


def random_mask(n_out: int, n_in: int, k: int, generator: torch.Generator) -> Tensor:
    """Return a mask of ``k`` ones, spread over the rows as evenly as can be."""
    keys = torch.rand((n_out, n_in), generator=generator, dtype=torch.float64)
    # the r-th entry drawn in a row ranks behind the first r - 1 of every other row
    order = keys.argsort(dim=1).argsort(dim=1) + keys
    mask = torch.zeros(n_out * n_in, dtype=torch.bool)
    mask[order.reshape(-1).argsort()[:k]] = True
    return mask.view(n_out, n_in)


# --- the network ----------------------------------------------------------------------


class SparseBayesianLinear(nn.Module):
    """One layer: masked normal weights and plain biases."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        k: int,
        gain: float,
        std: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        mask = random_mask(n_out, n_in, k, generator)
        draw = torch.empty((n_out, n_in), dtype=torch.float64)
        draw.normal_(generator=generator)
        # He's start for the weights that are there: a sparse net must not fade out
        scale = gain / math.sqrt(max(k / n_out, 1.0))
        self.mu = nn.Parameter(draw * scale * mask)
        # one row, so that the penalty on matrices leaves it alone
        raw = math.log(math.expm1(std))
        self.rho = nn.Parameter(torch.full((n_out * n_in,), raw, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float64))
        self.register_buffer("mask", mask)
        self.dense: Tensor | None = None
        self.keep_dense = False

    def sigma(self) -> Tensor:
        """Standard deviations, of masked entries as well."""
        return F.softplus(self.rho).view_as(self.mu)

    def active(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of the active weights."""
        return self.mu[self.mask], self.sigma()[self.mask]

    def forward(self, X: Tensor, generator: Any = None, shared: bool = False) -> Tensor:
        """Return the means, or with a generator a draw of the pre-activations."""
        mask = self.mask.to(self.mu.dtype)
        mean = self.mu * mask
        if self.keep_dense:
            mean.retain_grad()
            self.dense = mean
        if generator is None:
            return F.linear(X, mean, self.bias)
        std = self.sigma() * mask
        if shared:  # one draw of the weights for all rows
            noise = _normal(std.shape, generator, std)
            return F.linear(X, mean + std * noise, self.bias)
        # the local reparameterisation: one draw an output of a row
        output = F.linear(X, mean, self.bias)
        variance = F.linear(X.square(), std.square())
        noise = _normal(output.shape, generator, output)
        return output + (variance + TINY).sqrt() * noise


def _normal(shape: Any, generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normals, drawn in single precision, twice as fast, whatever is like."""
    draw = torch.empty(shape, dtype=torch.float32)
    return draw.normal_(generator=generator).to(like)


class SparseBayesianMLP(nn.Module):
    """A multilayer perceptron of sparse Bayesian layers."""

    def __init__(
        self,
        sizes: Sequence[int],
        budgets: Sequence[int],
        activation: str,
        posterior_std: float,
        prior_std: float,
        n_noise: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.prior_std = prior_std
        self.generator = generator
        self.shared = False
        shapes = list(pairwise(sizes))
        self.layers = nn.ModuleList(
            SparseBayesianLinear(
                n_in,
                n_out,
                k,
                1.0 if i == len(shapes) - 1 else math.sqrt(2),
                posterior_std,
                generator,
            )
            for i, ((n_in, n_out), k) in enumerate(zip(shapes, budgets, strict=True))
        )
        # logarithm of the noise's deviation, for regressors that learn it
        if n_noise:
            self.log_noise = nn.Parameter(torch.zeros(n_noise, dtype=torch.float64))

    def forward(self, X: Tensor) -> Tensor:
        """Return outputs: noisy ones in training, those of mean weights otherwise."""
        generator = self.generator if self.training else None
        for layer in self.layers[:-1]:
            X = self.activation(layer(X, generator, self.shared))
        output = self.layers[-1](X, generator, self.shared)
        if hasattr(self, "log_noise"):
            output = torch.cat([output, self.log_noise.expand(len(output), -1)], dim=1)
        return output

    def kl(self) -> Tensor:
        """Return the divergence of all active weights from the prior."""
        parts = []
        for layer in self.layers:
            entries = kl_divergence(layer.mu, layer.sigma(), self.prior_std)
            # a product with the mask: gathering the active ones is slower to derive
            parts.append((entries * layer.mask).sum())
        return torch.stack(parts).sum()

    def draws(
        self, X: Tensor, n_samples: int, generator: torch.Generator, chunk: int
    ) -> Iterator[Tensor]:
        """Yield outputs (n, n_out) of networks drawn from the posterior.

        A draw is one network for all rows, so that the prediction for a row does not
        depend on the rows around it.
        """
        with torch.no_grad():
            layers = [(layer, *layer.active()) for layer in self.layers]
        for _ in range(n_samples):
            with torch.no_grad():
                weights = []
                for layer, mu, sigma in layers:
                    W = torch.zeros_like(layer.mu)
                    W[layer.mask] = mu + sigma * _normal(mu.shape, generator, mu)
                    weights.append((W, layer.bias))
                parts = [
                    self._through(weights, X[i : i + chunk])
                    for i in range(0, len(X), chunk)
                ]
            yield torch.cat(parts)

    def _through(self, weights: list[tuple[Tensor, Tensor]], X: Tensor) -> Tensor:
        for W, b in weights[:-1]:
            X = self.activation(F.linear(X, W, b))
        output = F.linear(X, *weights[-1])
        if hasattr(self, "log_noise"):
            output = torch.cat([output, self.log_noise.expand(len(output), -1)], dim=1)
        return output


# --- training -------------------------------------------------------------------------


def exchange(
    layer: SparseBayesianLinear, fraction: float, criterion: str, dense: Tensor
) -> np.ndarray:
    """Swap the least important active weights for steep inactive ones (algorithm 1).

    Returns the flat positions that changed. An entry just removed is not taken back at
    once; new ones start at mean zero with the mean scale of those that stay.
    """
    mask = layer.mask.view(-1)
    active = torch.nonzero(mask)[:, 0]
    idle = torch.nonzero(~mask)[:, 0]
    n = min(int(fraction * len(active)), len(idle))
    if n == 0:
        return np.empty(0, dtype=np.int64)
    mu, sigma = (t.detach().double().cpu().numpy() for t in layer.active())
    worth = CRITERIA[criterion](mu, sigma)
    removed = active[torch.from_numpy(np.argsort(worth, kind="stable")[:n])]
    steep = dense.view(-1).abs()[idle]
    added = idle[torch.argsort(steep, descending=True, stable=True)[:n]]
    with torch.no_grad():
        mask[removed], mask[added] = False, True
        staying = mask.clone()
        staying[added] = False
        flat = layer.mu.view(-1)
        flat[removed] = 0.0
        flat[added] = 0.0
        if bool(staying.any()):
            layer.rho[added] = layer.rho[staying].mean()
    return torch.cat([removed, added]).numpy()


class SSVINet(Net):
    """A net that adds the divergence to its loss and moves its masks."""

    criterion_name = "snr_abs"
    update_every = 50
    update_fraction = 0.3
    update_end = 0.75
    kl_weight = 0.1
    n_rows = 1.0
    n_epochs = 1
    kl_share = 0.0
    n_steps = 0
    epoch = 0
    warm = 0.0

    def prepare(self, n_epochs: int, begin: bool) -> None:
        """Begin a schedule of ``n_epochs``, or go on with the one of earlier calls.

        Steps are counted over all calls, and the weight of the divergence never falls.
        """
        self.n_epochs = n_epochs
        if begin:
            self.epoch = 0
        self.overlaps: list[float] = []
        self.elbo_curve: list[float] = []

    def training_state(self) -> dict[str, float]:
        """Steps and epochs so far, and the progress of the divergence's weight."""
        return {"n_steps": self.n_steps, "epoch": self.epoch, "warm": self.warm}

    def set_training_state(self, state: dict[str, float]) -> None:
        """Go on from there."""
        self.n_steps, self.epoch = int(state["n_steps"]), int(state["epoch"])
        self.warm = state["warm"]

    def get_loss(
        self, y_pred: Tensor, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the loss of a batch plus its share of the divergence."""
        loss = super().get_loss(y_pred, y_true, X, training)
        if not self.kl_share:
            return loss
        return loss + self.kl_share * self.module_.kl()

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Take a step of the optimiser or, when it is due, exchange weights."""
        self.n_steps += 1
        self.step_of_epoch += 1
        place = self.epoch + self.step_of_epoch / self.n_batches
        total = self.n_epochs * self.update_end
        due = self.update_fraction > 0 and self.n_steps % self.update_every == 0
        if not due or place >= total:
            return super().train_step(batch, **fit_params)
        cosine = 1 + math.cos(math.pi * place / total)
        for layer in self.module_.layers:
            layer.keep_dense = True
        try:
            loss, output = self.gradient(batch, **fit_params)
            self._exchange(self.update_fraction / 2 * cosine)
        finally:
            for layer in self.module_.layers:
                layer.keep_dense, layer.dense = False, None
        return {"loss": loss, "y_pred": output}

    def _exchange(self, fraction: float) -> None:
        """Exchange weights in every layer and forget the optimiser's memory of them."""
        optimizer, shared, union = self.optimizer_, 0, 0
        starts, start = {}, 0
        for p in optimizer.param_groups[0]["params"]:
            starts[id(p)] = start
            start += p.numel()
        for layer in self.module_.layers:
            before = layer.mask.clone()
            changed = exchange(layer, fraction, self.criterion_name, layer.dense.grad)
            shared += int((before & layer.mask).sum())
            union += int((before | layer.mask).sum())
            for parameter in (layer.mu, layer.rho):
                rows = torch.from_numpy(changed) + starts[id(parameter)]
                for memory in optimizer.memory.values():
                    memory[rows] = 0.0
        self.overlaps.append(shared / union)

    def run_epoch(self, data: Any) -> float:
        """Run one epoch with its share of the divergence."""
        self.n_batches = max(1, -(-len(data) // self.batch_size))
        # on a handful of rows a row of weight two is that row twice to the last digit,
        # which takes one draw for all rows; with more, a draw a row is less noisy
        self.module_.shared = self.n_batches == 1 and len(data) <= SHARED_ROWS
        self.warm = max(self.warm, min(1.0, 2 * (self.epoch + 1) / self.n_epochs))
        self.kl_share = self.kl_weight * self.warm / self.n_rows
        self.step_of_epoch = 0
        loss = super().run_epoch(data)
        self.epoch += 1
        with torch.no_grad():
            kl = float(self.module_.kl())
        self.elbo_curve.append(-(loss - self.kl_share * kl + kl / self.n_rows))
        return loss
