"""Alternating steps: weights on the training loss, ``h`` on the validation loss."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import Bounds, minimize
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._nn._data import TensorData
from skdiff._nn._net import Net
from skdiff._nn._optim import OPTIMIZERS, FlatAdam
from skdiff.neural_network._self_tuning._plan import Plan, Source
from skdiff.neural_network._self_tuning._response import (
    RESPONSES,
    GlobalHypernetwork,
    Layers,
    Plain,
    normal,
)

# the scale of a perturbation: below, the response learns no slope; above, no direction
NARROWEST, WIDEST = 0.05, 2.0
CANDIDATES = 20  # places in the box from whose best a minimisation starts


@dataclass(frozen=True)
class Network:
    """What the loss of a row depends on, besides weights and ``h``."""

    plan: Plan
    activation: Callable[[Tensor], Tensor]
    row_loss: Callable[[Tensor, Tensor], Tensor]
    draw: torch.Generator

    def loss(
        self,
        response: Any,
        batch: Any,
        h: Tensor,
        move: Tensor,
        *,
        scaled: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Training loss of a batch, each row regularised by its own ``h``; outputs.

        ``scaled`` divides the loss of each row by one plus its decays, so that the
        strongest do not outweigh the rest: under each ``h`` the best weights are the
        same.
        """
        X, (target, weight) = batch
        noise = self._strength(self.plan.input_noise, h, torch.exp)
        if not isinstance(noise, float) or noise > 0:
            X = X + noise * normal(X.shape, 1.0, X, self.draw)

        def between(k: int, Z: Tensor) -> Tensor:
            p = self._strength(self.plan.dropout[k], h, torch.sigmoid)
            return self._drop(self.activation(Z), p)

        output = response(X, move, between)
        losses = self.row_loss(output, target)
        losses = losses if weight is None else losses * weight
        norms = response.squared_norms(move)
        if self.plan.by_column:
            norms[0] = response.column_norms(move)
        penalty, scale = 0.0, 1.0
        for source, norm in zip(self.plan.weight_decay, norms, strict=True):
            decay = self._strength(source, h, torch.exp)
            penalty = penalty + (decay * norm).sum(1) / 2
            scale = scale + (decay.sum(1) if isinstance(decay, Tensor) else decay)
        losses = losses + penalty
        return (losses / scale if scaled else losses).mean(), output

    def outputs(self, response: nn.Module, X: Tensor, move: Tensor) -> Tensor:
        """Outputs without noise and dropout."""
        result: Tensor = response(X, move, lambda k, Z: self.activation(Z))
        return result

    def _strength(
        self, source: Source, h: Tensor, link: Callable[[Tensor], Tensor]
    ) -> Any:
        if source.column is None:
            return source.value
        return link(h[:, source.column : source.column + source.width])

    def _drop(self, Z: Tensor, p: Any) -> Tensor:
        if isinstance(p, float) and p == 0:
            return Z
        drawn = torch.rand(Z.shape, generator=self.draw, dtype=torch.float32)
        keep = drawn.to(Z.device) >= p
        return Z * keep / (1 - p)


@dataclass(frozen=True)
class Rules:
    """How the two losses alternate."""

    response: str
    perturb_scale: float
    entropy_weight: float
    train_steps: int
    valid_steps: int
    hyper_learning_rate: float
    solver: str
    optimizer: dict[str, Any]


class Tuner:
    """The response, ``h``, the scale of its perturbation, and their optimisers."""

    def __init__(
        self, network: Network, layers: Layers, h: np.ndarray, rules: Rules
    ) -> None:
        plan, like = network.plan, layers[0][0]
        self.network, self.rules = network, rules

        def own(values: Any) -> Tensor:
            return torch.tensor(np.asarray(values)).to(like)

        self.start, self.low, self.high = own(h), own(plan.low), own(plan.high)
        span = torch.stack([self.low - self.start, self.high - self.start])
        self.response = RESPONSES[rules.response](layers, span, network.draw)
        self.response.to(like)
        parameters = list(self.response.parameters())
        self.optimizer = OPTIMIZERS[rules.solver](parameters, **rules.optimizer)
        self.h = nn.Parameter(self.start.clone())
        # softplus of ``raw`` is the scale
        scale = rules.perturb_scale
        raw = np.full(len(h), scale + np.log(-np.expm1(-scale)))
        self.raw = nn.Parameter(own(raw))
        self.hyper = FlatAdam([self.h, self.raw], lr=rules.hyper_learning_rate)
        self.is_global = isinstance(self.response, GlobalHypernetwork)
        self.moving = False  # not during the warm-up
        self.n_steps = 0
        self.rows = iter(())  # type: Any

    def scale(self) -> Tensor:
        """Standard deviation of the perturbation of each ``h``."""
        return F.softplus(self.raw).clamp(NARROWEST, WIDEST)

    def drawn(self, n: int) -> Tensor:
        """Draw ``h`` for each row anywhere in the box: a Latin hypercube."""
        draw, q = self.network.draw, len(self.h)
        orders = [torch.randperm(n, generator=draw) for _ in range(q)]
        within = torch.rand(n, q, generator=draw, dtype=torch.float64)
        places = (torch.stack(orders, dim=1) + within) / n
        return self.low + places.to(self.h) * (self.high - self.low)

    def perturbed(self, n: int) -> Tensor:
        """Draw ``h`` for each row around the current one."""
        noise = normal((n, len(self.h)), 1.0, self.h, self.network.draw)
        h = self.h + self.scale() * noise
        return torch.minimum(torch.maximum(h, self.low), self.high)

    def train_step(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Move the weights by the training loss of a batch."""
        with torch.no_grad():
            n = len(batch[0])
            h = self.drawn(n) if self.is_global else self.perturbed(n)
        self.optimizer.zero_grad()
        loss, output = self.network.loss(
            self.response, batch, h, h - self.start, scaled=self.is_global
        )
        loss.backward()
        self.optimizer.step()
        return loss.detach(), output

    def valid_step(self, batch: Any) -> None:
        """Move ``h`` and its scale by the validation loss: through the response only.

        The training loss needs no derivative in ``h`` (eq. 11), so dropout is fine.
        """
        X, (target, weight) = batch
        h = self.perturbed(len(X))
        output = self.network.outputs(self.response, X, h - self.start)
        losses = self.network.row_loss(output, target)
        loss = losses.mean() if weight is None else (losses * weight).mean()
        # entropy of a normal law, up to a constant
        loss = loss - self.rules.entropy_weight * self.scale().log().sum()
        slopes = torch.autograd.grad(loss, [self.h, self.raw])
        for parameter, slope in zip((self.h, self.raw), slopes, strict=True):
            parameter.grad.copy_(slope)
        self.hyper.step()
        with torch.no_grad():
            self.h.copy_(torch.minimum(torch.maximum(self.h, self.low), self.high))

    def anneal(self, share: float) -> None:
        """Lower the step size of the weights to zero along a cosine."""
        rate = self.rules.optimizer["lr"] * (1 + math.cos(math.pi * share)) / 2
        self.optimizer.param_groups[0]["lr"] = rate

    def minimise(self, rows: Any) -> None:
        """Move ``h`` to the lowest validation loss of the response within its box."""
        X, (target, weight) = rows

        def loss_at(h: Tensor) -> Tensor:
            output = self.network.outputs(Plain(self.layers(h)), X, h[None])
            losses = self.network.row_loss(output, target)
            return (losses if weight is None else losses * weight).mean()

        def with_slope(values: np.ndarray) -> tuple[float, np.ndarray]:
            h = torch.tensor(values).to(self.h).requires_grad_()
            loss = loss_at(h)
            (slope,) = torch.autograd.grad(loss, h)
            return float(loss.detach()), slope.cpu().numpy().astype(np.float64)

        with torch.no_grad():
            tried = torch.cat([self.h.detach()[None], self.drawn(CANDIDATES)])
            first = min(tried, key=lambda h: float(loss_at(h)))
        box = Bounds(*(t.cpu().numpy() for t in (self.low, self.high)))
        found = minimize(
            with_slope,
            first.cpu().numpy().astype(np.float64),
            jac=True,
            bounds=box,
            options={"maxiter": 50},
        )
        with torch.no_grad():
            self.h.copy_(torch.tensor(found.x).to(self.h))

    def layers(self, h: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """The network of the response at ``h``, by default the current one."""
        move = (self.h if h is None else h) - self.start
        layers: list[tuple[Tensor, Tensor]] = self.response.layers(move)
        return layers


class TuningNet(Net):
    """Trains the response of a tuner, or its own module at a fixed ``h``."""

    tuner: Tuner | None = None
    network: Network | None = None
    fixed: Tensor | None = None

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """One step of the weights, and every few of them those of ``h``."""
        tuner = self.tuner
        if tuner is None:
            return self._fixed_step(batch)
        loss, output = tuner.train_step(batch)
        tuner.n_steps += 1
        moves = tuner.moving and not tuner.is_global
        if moves and tuner.n_steps % tuner.rules.train_steps == 0:
            for _ in range(tuner.rules.valid_steps):
                tuner.valid_step(self._held_batch(tuner))
        return {"loss": loss, "y_pred": output}

    def _held_batch(self, tuner: Tuner) -> Any:
        """The next batch of the validation set, which is passed again and again."""
        batch = next(tuner.rows, None)
        if batch is None:
            assert isinstance(self.valid, TensorData)
            tuner.rows = iter(self.get_iterator(self.valid, training=True))
            batch = next(tuner.rows)
        return batch

    def _fixed_step(self, batch: Any) -> dict[str, Tensor]:
        network, h = self.network, self.fixed
        assert network is not None and h is not None
        self.optimizer_.zero_grad()
        response = Plain(self.module_.layers())
        loss, output = network.loss(response, batch, h[None], h[None])
        loss.backward()
        self.optimizer_.step()
        return {"loss": loss.detach(), "y_pred": output}

    def fold(self) -> None:
        """Write the network of the response at the current ``h`` into the module."""
        assert self.tuner is not None
        with torch.no_grad():
            own = zip(self.module_.layers(), self.tuner.layers(), strict=True)
            for (weight, bias), (new_weight, new_bias) in own:
                weight.copy_(new_weight)
                bias.copy_(new_bias)
