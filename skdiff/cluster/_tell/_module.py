"""The autoencoder under the cluster layer, and its joint training."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._base.progress import Progress
from skdiff._nn._data import TensorData, as_tensor
from skdiff._nn._fit import Limits, Run, Settings, build_net, finish, run_epochs
from skdiff._nn._modules import MLP, Dropout
from skdiff._nn._net import Net
from skdiff.cluster._tell import _lloyd as numbers

ROWS = 1024
PATIENCE = 10


class AutoEncoder(nn.Module):
    """A code of a row, of length one where ``unit``, and the row from its code."""

    def __init__(
        self,
        n_in: int,
        hidden: Sequence[int],
        latent: int,
        dropout: float,
        unit: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.encoder = MLP([n_in, *hidden, latent], "relu", generator)
        self.decoder = MLP([latent, *reversed(hidden), n_in], "relu", generator)
        self.dropout = Dropout(dropout, generator)
        self.unit = unit

    def encode(self, X: Tensor) -> Tensor:
        """Return codes."""
        layers = self.encoder.layers()
        for k, (weight, bias) in enumerate(layers):
            X = F.linear(self.dropout(X), weight, bias)
            X = torch.relu(X) if k < len(layers) - 1 else X
        return F.normalize(X, dim=1) if self.unit else X

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes and reconstructions (before the sigmoid of 'bce')."""
        code = self.encode(X)
        return code, self.decoder(code)


class Objective:
    """Reconstruction plus ``weight`` times the mean cluster loss of a row."""

    def __init__(self, reconstruction: str, loss: str) -> None:
        self.reconstruction = reconstruction
        self.loss = loss
        self.weight = 0.0
        self.centers = torch.empty(0)
        self.temperature = 1.0

    def __call__(
        self, output: tuple[Tensor, Tensor], target: Tensor, weight: Tensor | None
    ) -> Tensor:
        """Return the loss of a batch."""
        code, rebuilt = output
        if self.reconstruction == "mse":
            loss = F.mse_loss(rebuilt, target)
        else:
            loss = F.binary_cross_entropy_with_logits(rebuilt, target)
        if self.weight == 0:
            return loss
        C = self.centers
        D = (code**2).sum(1, keepdim=True) - 2 * code @ C.T + (C**2).sum(1)
        return loss + self.weight * self._cluster(D.clamp_min(0)).mean()

    def _cluster(self, D: Tensor) -> Tensor:
        if self.loss == "hard":
            return D.min(dim=1).values
        scaled = -self.temperature * D
        if self.loss == "logsumexp":
            return -torch.logsumexp(scaled, dim=1) / self.temperature
        return (torch.softmax(scaled, dim=1) * D).sum(dim=1)


class TellNet(Net):
    """A net that moves the centres before each epoch."""

    before: Callable[[], None] | None = None

    def run_epoch(self, data: TensorData) -> float:
        """Update the centres, then train encoder and decoder for an epoch."""
        if self.before is not None:
            self.before()
        return super().run_epoch(data)


def apply(
    function: Callable[[Tensor], Tensor], X: NDArray[Any], device: str
) -> NDArray[Any]:
    """Call a function on rows, a chunk at a time, without gradients."""
    with torch.no_grad():
        parts = [
            function(as_tensor(X[start : start + ROWS], device)).cpu().numpy()
            for start in range(0, len(X), ROWS)
        ]
    return np.concatenate(parts)


def encode(module: AutoEncoder, X: NDArray[Any], device: str) -> NDArray[Any]:
    """Codes of rows."""
    module.eval()
    return apply(module.encode, X, device)


def decode(
    module: AutoEncoder, Z: NDArray[Any], device: str, reconstruction: str
) -> NDArray[Any]:
    """Rows of codes."""
    module.eval()

    def rebuild(z: Tensor) -> Tensor:
        rows: Tensor = module.decoder(z)
        return torch.sigmoid(rows) if reconstruction == "bce" else rows

    return apply(rebuild, Z, device)


class Plan(NamedTuple):
    """How the network is trained with its centres.

    ``closed_form`` moves centres to the means of their codes, and otherwise by one
    online step per epoch.
    """

    clustering_weight: float
    temperature: float | None
    closed_form: bool
    pretrain_iter: int
    max_iter: int
    tol: float


class Centers:
    """The centres, which follow the codes between epochs."""

    def __init__(
        self,
        module: AutoEncoder,
        X: NDArray[Any],
        objective: Objective,
        plan: Plan,
        device: str,
    ) -> None:
        self.module, self.X, self.objective = module, X, objective
        self.plan, self.device = plan, device
        self.values: NDArray[Any] | None = None
        self.counts: NDArray[Any] = np.empty(0)

    def place(self, start: Callable[[NDArray[Any]], numbers.Clusters]) -> None:
        """Cluster the codes."""
        found = start(encode(self.module, self.X, self.device))
        n_clusters = len(found.centers)
        self.values = found.centers
        self.counts = np.bincount(found.labels, minlength=n_clusters) * 1.0

    def move(self) -> None:
        """Follow the codes, and tell the objective."""
        assert self.values is not None
        codes = encode(self.module, self.X, self.device)
        alpha, centers = self.plan.temperature, self.values
        if alpha is None:
            near = numbers.squared_distances(codes, centers).min(axis=1)
            alpha = numbers.default_temperature(near)
        how = numbers.Layer(self.objective.loss, alpha, self.module.unit)
        if self.plan.closed_form:
            centers = numbers.lloyd(codes, centers, how, max_iter=1, tol=0.0).centers
        else:
            centers, self.counts = numbers.online_step(
                codes, centers, self.counts, None, how
            )
        self.values = centers
        self.objective.centers = as_tensor(centers.astype(self.X.dtype), self.device)
        self.objective.temperature = alpha


def train(
    centers: Centers,
    start: Callable[[NDArray[Any]], numbers.Clusters],
    settings: Settings,
    generator: torch.Generator,
    progress: Progress,
) -> Run:
    """Train reconstruction, place centres on the codes, then train both together.

    ``start`` clusters codes. The fit goes on to the placing of the centres even where
    its time is over before.
    """
    module, objective, plan = centers.module, centers.objective, centers.plan
    net = build_net(TellNet, module, objective, settings, generator)
    inputs = as_tensor(centers.X, settings.device)
    data, run = TensorData(inputs, (inputs, None)), Run()
    patient = Limits(plan.pretrain_iter, 0.0, plan.pretrain_iter + 1)
    if plan.pretrain_iter:
        run_epochs(net, data, patient, progress, None, run)
    centers.place(start)
    if run.stopped == "max_iter":
        net.before, objective.weight = centers.move, plan.clustering_weight
        joint = Limits(plan.max_iter, plan.tol, PATIENCE)
        run_epochs(net, data, joint, progress, None, run)
    finish(net)
    return run
