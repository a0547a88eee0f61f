"""Decoded samples of a conditional autoencoder, around which a region is grown (torch).

Feldman, Bates and Romano (2023), section 4: a variational autoencoder learns a latent
``z`` of the targets given a row, a region of ``z`` that holds the level is decoded, and
the decoded points are grown by a distance until they cover.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skdiff._base.progress import Progress
from skdiff._base.typing import Array
from skdiff._nn._fit import load_arrays, seeded, state_arrays
from skdiff._nn._modes import gradients
from skdiff._nn._modules import MLP

HIDDEN, LATENT = (64, 64), 3
KL_WEIGHT = 0.05
STEPS, BATCH, STEP_SIZE = 1500, 256, 3e-3


class Autoencoder(nn.Module):
    """Encoder of (row, residual), decoder of (row, latent)."""

    def __init__(self, n_features: int, d: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = MLP([n_features + d, *HIDDEN, 2 * LATENT], "relu", generator)
        self.decoder = MLP([n_features + LATENT, *HIDDEN, d], "relu", generator)

    def encode(self, X: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation of the latent."""
        found = self.encoder(torch.cat([X, R], dim=1))
        return found[:, :LATENT], found[:, LATENT:].clamp(-8, 4)

    def decode(self, X: Tensor, Z: Tensor) -> Tensor:
        """Residuals."""
        found: Tensor = self.decoder(torch.cat([X, Z], dim=1))
        return found


class Decoder(NamedTuple):
    """The trained network as arrays, and the latent points of the region."""

    arrays: dict[str, Array]
    latent: Array
    n_features: int
    d: int

    def module(self) -> Autoencoder:
        """The network."""
        net = Autoencoder(self.n_features, self.d, seeded(0)).double()
        load_arrays(net, self.arrays)
        return net.eval()

    def points(self, X: Array) -> Array:
        """Decoded points of each row, (rows, points, targets)."""
        net, Z = self.module(), torch.from_numpy(self.latent)
        found = np.empty((len(X), len(Z), self.d))
        with torch.no_grad():
            for i, row in enumerate(X):  # one at a time: bits do not depend on others
                rows = torch.from_numpy(np.ascontiguousarray(row)).expand(len(Z), -1)
                found[i] = net.decode(rows, Z).numpy()
        return found


def train(
    X: Array, R: Array, level: float, n_points: int, seed: int, guard: Progress
) -> Decoder:
    """Train the autoencoder and choose the latent points.

    The points are drawn uniformly from the ball that holds the level of the encoded
    training rows.
    """
    with gradients():
        generator = seeded(seed)
        net = Autoencoder(X.shape[1], R.shape[1], generator).double()
        rows, targets = torch.from_numpy(X), torch.from_numpy(R)
        optimizer = torch.optim.Adam(net.parameters(), lr=STEP_SIZE)
        for step in guard.iterations(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = STEP_SIZE * 0.5 * (1 + np.cos(np.pi * step / STEPS))
            some = torch.randint(len(X), (min(BATCH, len(X)),), generator=generator)
            loss = _loss(net, rows[some], targets[some], generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if guard.step(loss=loss.item() if guard.verbose else None):
                break
        with torch.no_grad():
            Z = net.encode(rows, targets)[0].numpy()
    rng: Any = np.random.default_rng(seed)
    centre = Z.mean(axis=0)
    radius = np.quantile(np.linalg.norm(Z - centre, axis=1), level)
    v = rng.standard_normal((n_points, LATENT))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    latent = centre + radius * v * rng.random((n_points, 1)) ** (1 / LATENT)
    return Decoder(state_arrays(net), latent, X.shape[1], R.shape[1])


def _loss(net: Autoencoder, X: Tensor, R: Tensor, generator: torch.Generator) -> Tensor:
    """Squared error of the decoded residuals plus the divergence from N(0, I)."""
    mean, log_std = net.encode(X, R)
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    decoded = net.decode(X, mean + log_std.exp() * noise)
    error = (decoded - R).square().sum(dim=1)
    kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(dim=1)
    return (error + KL_WEIGHT * kl).mean()
