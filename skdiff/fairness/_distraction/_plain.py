"""The steps of the players with gradients by hand, as those of a standard network.

One pass forward serves both players: the layer answers to the outputs that trunk and
head were just judged by. Activations without a written derivative take autograd's way
(:class:`~._module.FairNet`), which the tests hold this one against.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skdiff._nn._plain import BACKWARD, cross_entropy
from skdiff.fairness._distraction._module import FairNet, Player, Rule


class Pass(NamedTuple):
    """What a pass forward leaves: inputs of every layer, logits, and the loss."""

    values: list[Tensor]
    output: Tensor
    loss: Tensor
    delta: Tensor


def cells(target: Tensor, codes: Tensor, rule: Rule, n_classes: int) -> Tensor:
    """Return the mean of which each row is part: group, or group by label."""
    if rule.constraint == "demographic_parity":
        return codes
    return codes * n_classes + target


def gap_and_slope(
    output: Tensor, target: Tensor, weight: Tensor | None, codes: Tensor, rule: Rule
) -> tuple[Tensor, Tensor]:
    """Return :func:`~._module.smooth_gap` and its gradient in the logits."""
    n_classes = output.shape[1]
    binary, labels = n_classes == 2, rule.constraint != "demographic_parity"
    if binary:
        p = torch.sigmoid(output[:, 1] - output[:, 0])[:, None]
    else:
        p = torch.softmax(output, dim=1)
    seen = p if binary or not labels else p.gather(1, target[:, None])
    where = cells(target, codes, rule, n_classes)
    n_cells = rule.n_groups * (n_classes if labels else 1)
    w = torch.ones_like(seen[:, :1]) if weight is None else weight[:, None]
    sums = seen.new_zeros((n_cells, seen.shape[1] + 1))
    sums.index_add_(0, where, torch.cat((seen * w, w), dim=1))
    size = sums[:, -1:].clamp(min=1e-12)
    means = (sums[:, :-1] / size).view(rule.n_groups, -1)
    there = (sums[:, -1] > 0).view(rule.n_groups, -1)
    if binary and rule.constraint == "equal_opportunity":
        there[:, 0] = False
    both = there[:, None] & there
    difference = (means[:, None] - means) * both
    gap = difference.abs().sum() / 2
    pull = difference.sign().sum(dim=1).view(n_cells, -1) / size
    slope = pull.index_select(0, where) * w
    if binary:
        slope = slope * p * (1 - p)
        return gap, torch.cat((-slope, slope), dim=1)
    if labels:
        slope = torch.zeros_like(p).scatter_(1, target[:, None], slope)
    return gap, p * (slope - (slope * p).sum(dim=1, keepdim=True))


class PlainFairNet(FairNet):
    """A fair net whose steps need no autograd."""

    def gradient(self, batch: Any, **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Fill the gradients, which are views of the optimiser's buffer."""
        with torch.no_grad():
            return super().gradient(batch, **fit_params)

    def _clear(self) -> None:
        """Every gradient is written, none is added to."""

    def _forward(self, X: Tensor, target: Any, weight: Any) -> Pass:
        """Pass the rows through; a second player's layer is one more value."""
        module = self.module_
        layers, place = module.layers(), getattr(module, "position", None)
        values, h = [X], X
        for k, (W, b) in enumerate(layers[:-1]):
            h = module.activation(torch.addmm(b, h, W.t()))
            if k == place:
                values.append(h)
                h = torch.addmm(module.shift, h, module.turn).add_(h)
            values.append(h)
        W, b = layers[-1]
        output = torch.addmm(b, h, W.t())
        return Pass(values, output, *cross_entropy(output, target, weight))

    def _descend(self, values: list[Tensor], delta: Tensor, extra: Any = None) -> Any:
        """Write the gradients; return that at the second player's layer.

        ``extra`` is a gradient in the last hidden layer that goes on top.
        """
        module = self.module_
        layers, place = module.layers(), getattr(module, "position", None)
        backward, at_layer = BACKWARD[module.activation], None
        left = len(values) - 1
        for k in range(len(layers) - 1, -1, -1):
            W, b = layers[k]
            torch.mm(delta.t(), values[left], out=W.grad)
            torch.sum(delta, dim=0, out=b.grad)
            if not k:
                break
            delta = torch.mm(delta, W)
            if extra is not None and k == len(layers) - 1:
                delta = delta + extra
            if k - 1 == place:
                at_layer = delta
                delta = torch.addmm(delta, delta, module.turn.t())
                left -= 1
            delta = backward(delta, values[left])
            left -= 1
        return at_layer

    def _penalise(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        assert self.settings is not None
        found = self._forward(X, target, weight)
        gap, slope = gap_and_slope(
            found.output, target, weight, codes, self.settings.rule
        )
        dial = self.settings.fairness_weight
        self._descend(found.values, found.delta.add_(slope, alpha=dial))
        return found.loss, found.output, gap

    def _distract(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        module, settings = self.module_, self.settings
        assert settings is not None
        found = self._forward(X, target, weight)
        gap, slope = gap_and_slope(found.output, target, weight, codes, settings.rule)
        # through the head alone; its own gradients are those of the loss
        layers, backward = module.layers(), BACKWARD[module.activation]
        after = len(found.values) - 1
        for k in range(len(layers) - 1, module.position, -1):
            slope = torch.mm(slope, layers[k][0])
            if k > module.position + 1:
                slope = backward(slope, found.values[after])
                after -= 1
        at_layer = self._descend(found.values, found.delta)
        goal = (at_layer * settings.keep_weight).add_(
            slope, alpha=settings.fairness_weight
        )
        h = found.values[module.position + 1]
        module.turn.addmm_(h.t(), goal, alpha=-settings.lr)
        module.shift.sub_(goal.sum(dim=0), alpha=settings.lr)
        return found.loss, found.output, gap

    def _oppose(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        settings = self.settings
        assert settings is not None
        found = self._forward(X, target, weight)
        h = found.values[-1]
        inputs = self._evidence(h, target, found.output.shape[1])
        A, c = self._opponent(inputs)
        _, delta = cross_entropy(torch.addmm(c, inputs, A), codes, weight)
        # the trunk meets the opponent as it was before its step
        extra = torch.mm(delta, A[: h.shape[1]].t()).mul_(-settings.fairness_weight)
        player: Player = self.player
        player.step([inputs.t() @ delta, delta.sum(dim=0)])
        self._descend(found.values, found.delta, extra)
        gap, _ = gap_and_slope(found.output, target, weight, codes, settings.rule)
        return found.loss, found.output, gap
