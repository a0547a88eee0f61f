"""An autoencoder whose code moves linearly with the interventions (torch)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdiff._base.typing import Array
from skdiff._nn._modules import MLP
from skdiff.causal._intervention._numbers import lighter, restriction

_RATE, _EPS = 3e-3, 1e-6
LOST = 0.001  # of the variance of X, by the restriction of its code


class Task(NamedTuple):
    """What is trained on: standardised rows and interventions."""

    X: Array
    A: Array
    n_latents: int
    hidden: tuple[int, ...]
    weight: float  # of the moment restriction
    n_iter: int
    batch_size: int


def whitened(code: Tensor) -> Tensor:
    """Codes with identity covariance, so that shrinking them gains nothing."""
    away = code - code.mean(dim=0)
    covariance = away.T @ away / len(code)
    covariance = covariance + _EPS * torch.eye(len(covariance), dtype=code.dtype)
    factor = torch.linalg.cholesky(covariance)
    return torch.linalg.solve_triangular(factor, away.T, upper=False).T


class Autoencoder:
    """Encoder and decoder with what they are trained on."""

    def __init__(self, task: Task, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        p, k = task.X.shape[1], task.n_latents
        self.encoder = MLP([p, *task.hidden, k], "tanh", generator)
        self.decoder = MLP([k, *task.hidden[::-1], p], "tanh", generator)
        self.parts = torch.nn.ModuleList([self.encoder, self.decoder])
        self.task = task
        self.X, self.rng = torch.from_numpy(task.X), np.random.default_rng(seed)
        whole = task.batch_size >= len(task.X)
        self.form = torch.from_numpy(restriction(task.A)) if whole else None

    def batch(self) -> tuple[Tensor, Tensor]:
        """Rows and the quadratic form of their restriction."""
        if self.form is not None:
            return self.X, self.form
        chosen = self.rng.choice(len(self.X), self.task.batch_size, replace=False)
        form = torch.from_numpy(restriction(self.task.A[chosen]))
        return self.X[torch.from_numpy(chosen)], form

    def train(self, weight: float, n_iter: int) -> None:
        """Minimise reconstruction error plus ``weight`` times MMR."""
        optimizer = torch.optim.Adam(self.parts.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_iter)
        for _ in range(n_iter):
            rows, form = self.batch()
            code = whitened(self.encoder(rows))
            error = (self.decoder(code) - rows).square().mean()
            loss = error + weight * (code * (form @ code)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def error(self) -> float:
        """Mean squared error of the reconstruction of all rows."""
        with torch.no_grad():
            code = whitened(self.encoder(self.X))
            return float((self.decoder(code) - self.X).square().mean())


def train_encoder(task: Task, seed: int) -> tuple[list[Array], float]:
    """Return weights and biases of the encoder, in turn, and the weight of MMR.

    Half of the iterations train an autoencoder. From there on the other half adds the
    restriction, with W and alpha solved anew for each batch: with the largest weight
    that leaves the reconstruction as good, up to a tolerance.
    """
    model = Autoencoder(task, seed)
    half = max(1, task.n_iter // 2)
    model.train(0.0, half)
    start = {k: v.clone() for k, v in model.parts.state_dict().items()}
    least = model.error()
    for weight in lighter(task.weight):
        model.parts.load_state_dict(start)
        if weight == 0.0:
            break
        model.train(weight, half)
        if model.error() <= least + LOST:
            break
    layers = [part for layer in model.encoder.layers() for part in layer]
    return [part.detach().numpy().copy() for part in layers], weight
