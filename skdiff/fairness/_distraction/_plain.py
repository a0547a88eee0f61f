"""The steps of the players with gradients by hand, as those of a standard network.

One pass forward serves both players: the layer answers to the outputs that trunk and
head were just judged by. Activations without a written derivative take autograd's way
(:class:`~._module.FairNet`), which the tests hold this one against.
"""

from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skdiff._nn._plain import BACKWARD, cross_entropy
from skdiff.fairness._distraction._module import FairNet, Player, Rule


class Pass(NamedTuple):
    """What a pass forward leaves: layers, their inputs, logits, and the loss."""

    layers: list[tuple[Tensor, Tensor]]
    values: list[Tensor]
    output: Tensor
    loss: Tensor
    delta: Tensor


def cells(target: Tensor, codes: Tensor, rule: Rule, n_classes: int) -> Tensor:
    """Return the mean of which each row is part: group, or group by label."""
    if rule.constraint == "demographic_parity":
        return codes
    return codes * n_classes + target


class Constants(NamedTuple):
    """What two classes need in every batch."""

    members: Tensor
    pairs: Tensor
    sides: Tensor


@lru_cache(maxsize=32)
def constants(rule: Rule, dtype: Any, device: Any) -> Constants:
    """Rows of members by cell, differences of means to take, and signs of logits."""
    by_label = rule.constraint != "demographic_parity"
    labels = {"demographic_parity": (0,), "equal_opportunity": (1,)}
    pairs = []
    width = 2 if by_label else 1
    n_cells = rule.n_groups * width
    for label in labels.get(rule.constraint, (0, 1)):
        for a, b in combinations(range(rule.n_groups), 2):
            row = torch.zeros(n_cells)
            row[a * width + label], row[b * width + label] = 1.0, -1.0
            pairs.append(row)
    where = {"dtype": dtype, "device": device}
    return Constants(
        torch.eye(n_cells, **where),
        torch.stack(pairs).to(**where),
        torch.tensor([-1.0, 1.0], **where),
    )


def gap_and_slope(
    output: Tensor, target: Tensor, weight: Tensor | None, codes: Tensor, rule: Rule
) -> tuple[Tensor, Tensor]:
    """Return :func:`~._module.smooth_gap` and its gradient in the logits."""
    if output.shape[1] == 2 and rule.n_groups > 1:
        found = _of_two_classes(output, target, weight, codes, rule)
        if found is not None:
            return found
    return _of_classes(output, target, weight, codes, rule)


def _of_two_classes(
    output: Tensor, target: Tensor, weight: Tensor | None, codes: Tensor, rule: Rule
) -> tuple[Tensor, Tensor] | None:
    """The same in few operations; None where a cell has no rows."""
    known = constants(rule, output.dtype, output.device)
    p = torch.mv(output, known.sides).sigmoid_()
    member = known.members.index_select(0, cells(target, codes, rule, 2))
    if weight is not None:
        member.mul_(weight[:, None])
    size = member.sum(dim=0)
    if not bool(size.all()):
        return None
    means = torch.mv(member.t(), p).div_(size)
    difference = torch.mv(known.pairs, means)
    pull = torch.mv(known.pairs.t(), difference.sign()).div_(size)
    slope = torch.mv(member, pull).mul_(torch.addcmul(p, p, p, value=-1))
    return difference.abs_().sum(), torch.outer(slope, known.sides)


def _of_classes(
    output: Tensor, target: Tensor, weight: Tensor | None, codes: Tensor, rule: Rule
) -> tuple[Tensor, Tensor]:
    """The same for any number of classes, and for cells without rows."""
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

    def _folded(self) -> list[tuple[Tensor, Tensor]]:
        """Layers with the second player's in the one after it, which is affine."""
        module = self.module_
        layers = list(module.layers())
        place = getattr(module, "position", None)
        if place is not None:
            W, b = layers[place + 1]
            folded = torch.addmm(W, W, module.turn.t())
            layers[place + 1] = folded, torch.addmv(b, W, module.shift)
        return layers

    def _forward(self, X: Tensor, target: Any, weight: Any) -> Pass:
        """Pass the rows through."""
        layers, values, h = self._folded(), [X], X
        for W, b in layers[:-1]:
            h = self.module_.activation(torch.addmm(b, h, W.t()))
            values.append(h)
        W, b = layers[-1]
        output = torch.addmm(b, h, W.t())
        loss, delta = cross_entropy(output, target, weight)
        return Pass(layers, values, output, loss, delta)

    def _descend(self, found: Pass, delta: Tensor, extra: Any = None) -> Tensor:
        """Write the gradients; return the slope after the second player's layer.

        ``extra`` is a gradient in the last hidden layer that goes on top.
        """
        module = self.module_
        layers, place = module.layers(), getattr(module, "position", None)
        backward, after = BACKWARD[module.activation], delta
        for k in range(len(layers) - 1, -1, -1):
            W, b = layers[k]
            torch.sum(delta, dim=0, out=b.grad)
            if place is not None and k == place + 1:
                after = delta
                seen = torch.mm(delta.t(), found.values[k])
                # of what the layer gives: h + h D + d
                torch.addmm(seen, seen, module.turn, out=W.grad)
                W.grad.addr_(b.grad, module.shift)
            else:
                torch.mm(delta.t(), found.values[k], out=W.grad)
            if not k:
                break
            delta = torch.mm(delta, found.layers[k][0])
            if extra is not None and k == len(layers) - 1:
                delta = delta + extra
            delta = backward(delta, found.values[k])
        return after

    def _penalise(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        assert self.settings is not None
        found = self._forward(X, target, weight)
        gap, slope = gap_and_slope(
            found.output, target, weight, codes, self.settings.rule
        )
        dial = self.settings.fairness_weight
        self._descend(found, found.delta.add_(slope, alpha=dial))
        return found.loss, found.output, gap

    def _distract(self, X: Any, target: Any, weight: Any, codes: Any) -> Any:
        module, settings = self.module_, self.settings
        assert settings is not None
        found = self._forward(X, target, weight)
        gap, slope = gap_and_slope(found.output, target, weight, codes, settings.rule)
        # through the head alone; its own gradients are those of the loss
        layers, backward = module.layers(), BACKWARD[module.activation]
        for k in range(len(layers) - 1, module.position + 1, -1):
            slope = backward(torch.mm(slope, layers[k][0]), found.values[k])
        after = self._descend(found, found.delta)
        goal = slope.mul_(settings.fairness_weight).add_(
            after, alpha=settings.keep_weight
        )
        W = layers[module.position + 1][0]
        h = found.values[module.position + 1]
        module.turn.addmm_(torch.mm(h.t(), goal), W, alpha=-settings.lr)
        module.shift.addmv_(W.t(), goal.sum(dim=0), alpha=-settings.lr)
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
        self._descend(found, found.delta, extra)
        gap, _ = gap_and_slope(found.output, target, weight, codes, settings.rule)
        return found.loss, found.output, gap
