"""Networks trained for accuracy by one player and for equal rates by another.

Our reading of Yazdani-Jahromi et al. (2023): a linear layer inside the network belongs
to a player of its own, who moves it towards equal rates, while the other player trains
the rest for accuracy. Neither gradient reaches the other's parameters.
"""

from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from skdiff._nn._modules import MLP
from skdiff._nn._net import Net

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


class DistractedMLP(MLP):
    """An MLP with ``h + h D + d`` after one hidden layer; zeros at the start.

    D and d are buffers: the optimiser of the network does not move them.
    """

    def __init__(
        self, sizes: Any, activation: str, generator: torch.Generator, position: int
    ) -> None:
        super().__init__(sizes, activation, generator)
        n_hidden = len(sizes) - 2
        self.position = position % n_hidden
        width = sizes[1 + self.position]
        zeros = torch.zeros(width, width, dtype=torch.float64)
        self.register_buffer("turn", zeros)
        self.register_buffer("shift", torch.zeros(width, dtype=torch.float64))

    def trunk(self, X: Tensor) -> Tensor:
        """Return what the layer sees."""
        for weight, bias in self.layers()[: self.position + 1]:
            X = self.activation(F.linear(X, weight, bias))
        return X

    def distracted(self, h: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
        """Apply the layer."""
        return h + h @ turn + shift

    def head(self, h: Tensor, detached: bool = False) -> Tensor:
        """Return logits, from what the layer gives."""
        layers = self.layers()[self.position + 1 :]
        for k, (weight, bias) in enumerate(layers):
            if detached:
                weight, bias = weight.detach(), bias.detach()
            h = F.linear(h, weight, bias)
            if k < len(layers) - 1:
                h = self.activation(h)
        return h

    def hidden(self, X: Tensor) -> Tensor:
        """Return the last hidden layer."""
        h = self.distracted(self.trunk(X), self.turn, self.shift)
        for weight, bias in self.layers()[self.position + 1 : -1]:
            h = self.activation(F.linear(h, weight, bias))
        return h

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of logits per row of X."""
        return self.head(self.distracted(self.trunk(X), self.turn, self.shift))


class Rule(NamedTuple):
    """What is to be equal, between how many groups."""

    constraint: str
    n_groups: int


def smooth_gap(
    output: Tensor, target: Tensor, weight: Tensor | None, codes: Tensor, rule: Rule
) -> Tensor:
    """Return the sum of ``|difference of mean probabilities|`` over pairs of groups.

    The means run over all rows for demographic parity, over the rows of each label for
    equalised odds, and over the positive label for equal opportunity. Two classes have
    one probability, several have one each. Groups without rows are left out.
    """
    p = torch.softmax(output, dim=1)
    columns = [p.shape[1] - 1] if p.shape[1] == 2 else range(p.shape[1])
    w = torch.ones_like(p[:, 0]) if weight is None else weight
    member = F.one_hot(codes, rule.n_groups).to(p) * w[:, None]
    total = p.new_zeros(())
    for k in columns:
        for mask in _labels(target, k, p.shape[1], rule.constraint):
            rows = member if mask is None else member * mask.to(p)[:, None]
            size = rows.sum(dim=0)
            means = (rows * p[:, k : k + 1]).sum(dim=0) / size.clamp(min=1e-12)
            for a, b in combinations(range(rule.n_groups), 2):
                if size[a] > 0 and size[b] > 0:
                    total = total + (means[a] - means[b]).abs()
    return total


def _labels(target: Tensor, k: int, n_classes: int, constraint: str) -> list[Any]:
    """Masks of the rows over which means are taken; None is all rows."""
    if constraint == "demographic_parity":
        return [None]
    if constraint == "equal_opportunity":
        return [target == k]
    labels = (0, 1) if n_classes == 2 else (k,)
    return [target == label for label in labels]


class Player:
    """Adam on tensors that are no parameters of the network."""

    def __init__(self, tensors: list[Tensor], lr: float) -> None:
        self.tensors, self.lr, self.steps = tensors, lr, 0
        self.means = [torch.zeros_like(t) for t in tensors]
        self.squares = [torch.zeros_like(t) for t in tensors]

    def step(self, gradients: Any) -> None:
        """Take one step against the gradients."""
        self.steps += 1
        first, second = 1 - _BETA1**self.steps, 1 - _BETA2**self.steps
        with torch.no_grad():
            for t, g, m, v in zip(
                self.tensors, gradients, self.means, self.squares, strict=True
            ):
                m.mul_(_BETA1).add_(g, alpha=1 - _BETA1)
                v.mul_(_BETA2).addcmul_(g, g, value=1 - _BETA2)
                t.addcdiv_(m / first, (v / second).sqrt().add_(_EPS), value=-self.lr)


class Settings(NamedTuple):
    """The dial, by the names of the estimator."""

    mode: str
    rule: Rule
    fairness_weight: float
    keep_weight: float
    lr: float


class FairNet(Net):
    """A net whose batches bring the groups of their rows."""

    settings: Settings | None = None
    gaps: list[float]
    adversary: Any = None
    player: Any = None
    _opposed: Any = None

    def begin(self, settings: Settings, groups: Any = None) -> None:
        """Set up a training; a continued one keeps its opponent of the same groups."""
        self.settings, self.gaps, self._sums = settings, [], [0.0, 0]
        opposed = settings.rule.constraint, list(groups or [])
        if opposed != self._opposed:
            self._opposed, self.adversary = opposed, None

    def run_epoch(self, data: Any) -> float:
        """Run one epoch, and note the mean gap of its batches."""
        self._sums = [0.0, 0]
        loss = super().run_epoch(data)
        self.gaps.append(float(self._sums[0]) / max(self._sums[1], 1))
        return loss

    def gradient(self, batch: Any, **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Leave the gradient of the accurate player; move the fair one."""
        X, (target, weight, codes) = batch
        self._clear()
        assert self.settings is not None
        steps = {
            "distraction": self._distract,
            "penalty": self._penalise,
            "adversarial": self._oppose,
        }
        mode = self.settings.mode if self.settings.fairness_weight else "penalty"
        loss, output, gap = steps[mode](X, target, weight, codes)
        self._sums = [self._sums[0] + gap * len(X), self._sums[1] + len(X)]
        return loss.detach(), output

    def _clear(self) -> None:
        self.optimizer_.zero_grad()

    def _gap(self, output: Tensor, target: Any, weight: Any, codes: Any) -> Tensor:
        assert self.settings is not None
        return smooth_gap(output, target, weight, codes, self.settings.rule)

    def _penalise(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        """Cross-entropy and the gap, on all parameters."""
        assert self.settings is not None
        output = self.infer(X)
        loss = self.criterion_(output, (target, weight))
        gap, total = self._gap(output, target, weight, codes), loss
        if self.settings.fairness_weight:
            total = loss + self.settings.fairness_weight * gap
        total.backward()
        return loss, output, gap.detach()

    def _distract(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        """Trunk and head descend the loss; the layer then answers with the gap."""
        module, settings = self.module_, self.settings
        assert settings is not None
        h = module.trunk(X)
        output = module.head(module.distracted(h, module.turn, module.shift))
        loss = self.criterion_(output, (target, weight))
        loss.backward()
        layer = (module.turn, module.shift)
        turn, shift = (t.detach().clone().requires_grad_(True) for t in layer)
        seen = module.head(module.distracted(h.detach(), turn, shift), detached=True)
        gap = self._gap(seen, target, weight, codes)
        kept = settings.keep_weight * self.criterion_(seen, (target, weight))
        goal = settings.fairness_weight * gap + kept
        # steps without a scale of their own: the weight is a dial, and does not only
        # set what is kept against
        for t, g in zip(layer, torch.autograd.grad(goal, [turn, shift]), strict=True):
            t.sub_(g, alpha=settings.lr)
        return loss, output, gap.detach()

    def _oppose(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        """A linear model tells the group from hidden units; the trunk opposes it."""
        module, settings = self.module_, self.settings
        assert settings is not None
        h = module.hidden(X)
        W, b = module.layers()[-1]
        output = F.linear(h, W, b)
        loss = self.criterion_(output, (target, weight))
        inputs = self._evidence(h, target, output.shape[1])
        A, c = (t.clone().requires_grad_(True) for t in self._opponent(inputs))
        found = self.criterion_(inputs @ A + c, (codes, weight))
        self.player.step(torch.autograd.grad(found, [A, c], retain_graph=True))
        (loss - settings.fairness_weight * found).backward()
        gap = self._gap(output.detach(), target, weight, codes)
        return loss, output, gap

    def _evidence(self, h: Tensor, target: Tensor, n_classes: int) -> Tensor:
        """Return what the opponent sees: hidden units, and labels where they count."""
        assert self.settings is not None
        if self.settings.rule.constraint == "demographic_parity":
            return h
        return torch.cat((h, F.one_hot(target, n_classes).to(h)), dim=1)

    def _opponent(self, inputs: Tensor) -> list[Tensor]:
        """The opponent's weights, which start at zero."""
        assert self.settings is not None
        if self.adversary is None:
            shape = (inputs.shape[1], self.settings.rule.n_groups)
            with torch.no_grad():
                self.adversary = [inputs.new_zeros(shape), inputs.new_zeros(shape[1])]
            self.player = Player(self.adversary, self.settings.lr)
        return list(self.adversary)
