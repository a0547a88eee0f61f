"""The AnyLoss in torch: soft confusion matrices, their metrics, the loss, the net."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdiff._nn._data import map_nested
from skdiff._nn._modules import MLP, uniform
from skdiff._nn._net import Net
from skdiff.neural_network._anyloss._metrics import EPS, NAMES, binary_metric
from skdiff.neural_network._anyloss._mixup import MixupIterator, Partners, doubled

TINY = 0.1  # of the mean class, added to the masses by which classes are balanced
CHUNK = 16_384  # rows whose graph is held at once by a full-batch step


def amplified(logits: Tensor, amplification: float) -> Tensor:
    """Soft assignments (n, K) pushed away from the middle.

    One logit a row means ``a = sigmoid(L (p - 1/2))`` for the second class; K logits
    mean ``softmax((L / 2) p)``, which is the same thing for K = 2.
    """
    if logits.shape[1] == 1:
        a = torch.sigmoid(amplification * (torch.sigmoid(logits[:, 0]) - 0.5))
        return torch.stack([1 - a, a], dim=1)
    return torch.softmax(amplification / 2 * torch.softmax(logits, dim=1), dim=1)


def confusion(a: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Soft confusion matrix (K, K): rows are true classes, columns assignments."""
    if weight is not None:
        a = a * weight[:, None]
    K = a.shape[1]
    return torch.zeros(K, K, dtype=a.dtype, device=a.device).index_add(0, y, a)


def cross_entropy(logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean cross-entropy for one or K logits a row."""
    if logits.shape[1] == 1:
        target = y.to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(
            logits[:, 0], target, reduction="none"
        )
    else:
        losses = F.cross_entropy(logits, y, reduction="none")
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()


class Metric:
    """A function of a confusion matrix, with its gradient in the cells."""

    def __init__(
        self,
        metric: Any,
        *,
        beta: float = 1.0,
        average: str = "macro",
        zero_division: float = 0.0,
        cost_matrix: Any = None,
    ) -> None:
        self.metric = metric
        self.beta = beta
        self.average = average
        self.zero_division = zero_division
        self.cost = None if cost_matrix is None else torch.as_tensor(cost_matrix)
        self.closed = binary_metric(
            metric,
            beta,
            zero_division,
            None if self.cost is None else self.cost.tolist(),
        )

    def value_and_gradient(self, C: Tensor) -> tuple[float, Tensor]:
        """Return ``M(C)`` and ``dM / dC`` with rows moving at fixed class totals."""
        C = C.detach()
        if len(C) == 2 and self.closed is not None:
            (tn, fp), (fn, tp) = C.tolist()
            value, m_tp, m_fp = self.closed(tp, fp, tp + fn, tn + fp)
            return value, C.new_tensor([[0.0, m_fp], [0.0, m_tp]])
        with torch.enable_grad():
            C = C.double().requires_grad_()
            value = self.value(C)
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value, C)
            else:
                gradient = torch.zeros_like(C)
        number = value.item()
        if not math.isfinite(number) or not torch.isfinite(gradient).all():
            raise ValueError(
                f"metric {_name(self.metric)} or its gradient is not finite at the "
                f"confusion matrix {C.tolist()}."
            )
        return number, gradient

    def value(self, C: Tensor) -> Tensor:
        """Return the metric as a differentiable scalar."""
        if self.cost is not None:
            return 1 - (C * self.cost.to(C)).sum() / C.sum()
        if isinstance(self.metric, dict):
            parts = [w * self._one(C, m) for m, w in self.metric.items()]
            return torch.stack(parts).sum()
        return self._one(C, self.metric)

    def _one(self, C: Tensor, metric: Any) -> Tensor:
        if callable(metric):
            return _call(metric, C)
        if len(C) == 2:
            return self._binary(C, metric)
        if metric in ("f1", "fbeta", "jaccard"):
            return self._averaged(C, metric)
        return MULTICLASS[metric](C)

    def _binary(self, C: Tensor, metric: str) -> Tensor:
        """Let the closed form serve autograd too, for mixtures with callables."""
        fp, tp = C[0, 1], C[1, 1]
        closed = binary_metric(metric, self.beta, self.zero_division, None)
        assert closed is not None
        n_tn, n_fp, n_fn, n_tp = C.detach().ravel().tolist()
        value, m_tp, m_fp = closed(n_tp, n_fp, n_tp + n_fn, n_tn + n_fp)
        moving = m_tp * tp + m_fp * fp
        return moving + (value - moving).detach()

    def _averaged(self, C: Tensor, metric: str) -> Tensor:
        """F-measure or Jaccard index, averaged over the classes that occur."""
        tp, true, said = C.diagonal(), C.sum(1), C.sum(0)
        if self.average == "micro":
            tp, true, said = tp.sum()[None], true.sum()[None], said.sum()[None]
        if metric == "jaccard":
            top, bottom = tp, true + said - tp
        else:
            b2 = self.beta**2 if metric == "fbeta" else 1.0
            top, bottom = (1 + b2) * tp, b2 * true + said
        defined = bottom > 0
        scores = torch.where(
            defined, top / torch.where(defined, bottom, 1.0), self.zero_division
        )
        if self.average == "weighted":
            return (scores * true).sum() / true.sum()
        occurs = true > 0
        return scores[occurs].mean()


def _recalls(C: Tensor) -> Tensor:
    occurs = C.sum(1) > 0
    return C.diagonal()[occurs] / C.sum(1)[occurs]


def _gmean(C: Tensor) -> Tensor:
    return torch.exp(torch.log(_recalls(C) + EPS).mean())


def _mcc(C: Tensor) -> Tensor:
    n, true, said = C.sum(), C.sum(1), C.sum(0)
    top = C.diagonal().sum() * n - true @ said
    spread = (n**2 - said @ said) * (n**2 - true @ true)
    return top / torch.sqrt(spread + (EPS * n * n) ** 2)


def _kappa(C: Tensor, power: int = 0) -> Tensor:
    k = torch.arange(len(C), dtype=C.dtype)
    apart = (k[:, None] - k).abs()
    cost = apart**power if power else (apart > 0).to(C)
    expected = torch.outer(C.sum(1), C.sum(0)) / C.sum()
    return 1 - (cost * C).sum() / (cost * expected).sum()


MULTICLASS: dict[str, Callable[[Tensor], Tensor]] = {
    "accuracy": lambda C: C.diagonal().sum() / C.sum(),
    "balanced_accuracy": lambda C: _recalls(C).mean(),
    "gmean": _gmean,
    "mcc": _mcc,
    "kappa": _kappa,
    "quadratic_kappa": lambda C: _kappa(C, 2),
}


def _name(metric: Any) -> str:
    return str(getattr(metric, "__name__", metric))


def takes_four(metric: Any) -> bool:
    """Tell whether a callable wants ``(tn, fp, fn, tp)`` rather than the matrix."""
    import inspect

    needed = [
        p
        for p in inspect.signature(metric).parameters.values()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 4


def _call(metric: Any, C: Tensor) -> Tensor:
    value = metric(*C.ravel()) if takes_four(metric) else metric(C)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(
            f"metric {_name(metric)} must return one number as a torch tensor, got "
            f"{value!r}."
        )
    return value.reshape(())


def check_metric(metric: Any, n_classes: int) -> None:
    """Raise if a metric is unknown or cannot take this many classes."""
    for part in metric if isinstance(metric, dict) else [metric]:
        if callable(part):
            if n_classes > 2 and takes_four(part):
                raise ValueError(
                    f"metric {_name(part)} takes (tn, fp, fn, tp), which needs two "
                    f"classes; y has {n_classes}. Write it for the whole matrix."
                )
        elif part not in NAMES:
            raise ValueError(f"metric must be one of {NAMES}, got {part!r}.")


class ConfusionMetricLoss(nn.Module):
    """Train a network on a metric of the confusion matrix.

    A loss for hand-written torch loops and for skorch (``criterion``): one minus a
    metric of the soft confusion matrix, in which each row counts by its amplified
    probabilities. Predict by the larger logit, or at ``logit > 0``.
    :class:`AnyLossClassifier` is the ready-made estimator.

    Parameters
    ----------
    metric : str, callable or dict, default="f1"
        ``"accuracy"``, ``"balanced_accuracy"``, ``"gmean"``, ``"f1"``, ``"fbeta"``,
        ``"jaccard"``, ``"mcc"``, ``"kappa"``, ``"quadratic_kappa"``; a callable
        ``m(tn, fp, fn, tp)`` or ``m(C)`` of torch operations, higher is better; or a
        dict of metrics and their weights.
    beta : float, default=1.0
        Weight of recall in ``"fbeta"``.
    average : {"macro", "weighted", "micro"}, default="macro"
        Average of F-measure and Jaccard index over three and more classes. With two
        classes they are those of the second.
    amplification : float, default=10.0
        How far probabilities are pushed from the middle. Larger is closer to counting,
        with smaller gradients away from the threshold.
    bce_weight : float, default=0.0
        Weight of cross-entropy in the loss.
    cost_matrix : array-like of shape (n_classes, n_classes), default=None
        Cost of each cell (rows true, columns predicted); replaces ``metric``.
    zero_division : float, default=0.0
        Value of an F-measure or Jaccard index whose denominator is zero.

    Attributes
    ----------
    metric_ : Metric
        The metric with its gradient.

    Raises
    ------
    ValueError
        If a metric is unknown, does not return one number, or is not finite.

    See Also
    --------
    AnyLossClassifier : The estimator around it.

    Notes
    -----
    The gradient is exact for the batch. A metric of a small batch is not the metric of
    the table: use large batches, stratified by class.

    References
    ----------
    D. Han, N. Moniz and N. V. Chawla, "AnyLoss: Transforming Classification Metrics
    into Loss Functions", KDD 2024, arXiv 2405.14745.

    Examples
    --------
    >>> import torch
    >>> from skdiff.neural_network import ConfusionMetricLoss
    >>> logits = torch.tensor([3.0, -2.0, 0.5, -0.1], requires_grad=True)
    >>> loss = ConfusionMetricLoss("f1")(logits, torch.tensor([1, 0, 1, 1]))
    >>> loss.backward()
    >>> round(loss.item(), 3), bool((logits.grad[[0, 2, 3]] < 0).all())
    (0.157, True)
    """

    def __init__(
        self,
        metric: Any = "f1",
        *,
        beta: float = 1.0,
        average: str = "macro",
        amplification: float = 10.0,
        bce_weight: float = 0.0,
        cost_matrix: Any = None,
        zero_division: float = 0.0,
    ) -> None:
        super().__init__()
        if amplification <= 0:
            raise ValueError(f"amplification must be > 0, got {amplification}.")
        if not 0 <= bce_weight <= 1:
            raise ValueError(f"bce_weight must be in [0, 1], got {bce_weight}.")
        if beta <= 0:
            raise ValueError(f"beta must be > 0, got {beta}.")
        check_metric(metric, 2)
        self.amplification = amplification
        self.bce_weight = bce_weight
        self.metric_ = Metric(
            metric,
            beta=beta,
            average=average,
            zero_division=zero_division,
            cost_matrix=cost_matrix,
        )

    def forward(
        self, logits: Tensor, y: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        logits : Tensor of shape (n,), (n, 1) or (n, n_classes)
            Raw outputs of a network.
        y : Tensor of shape (n,)
            Class codes from 0.
        sample_weight : Tensor of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        loss : Tensor
            A scalar.
        """
        logits = logits[:, None] if logits.ndim == 1 else logits
        y = y.reshape(-1).long()
        a = amplified(logits, self.amplification)
        C = confusion(a, y, sample_weight)
        value, gradient = self.metric_.value_and_gradient(C)
        # linear in C with the exact slope, then lifted to the exact value
        moving = -(gradient.to(C) * C).sum()
        loss = moving + (1 - value - moving).detach()
        if self.bce_weight:
            entropy = cross_entropy(logits, y, sample_weight)
            loss = (1 - self.bce_weight) * loss + self.bce_weight * entropy
        return loss


class Objective:
    """The loss of a fit: warm-up, metric, blend, and running rates for small batches.

    ``masses`` are the class totals of the whole table. A small batch may lack a class,
    and the metric of a batch is not that of the table: with ``running`` the rates at
    which each class is assigned are remembered between batches, and the metric is that
    of the table they imply.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        amplification: float,
        bce_weight: float,
        bce_factors: Tensor | None,
        masses: Tensor,
        running: bool,
        rates: Tensor | None = None,
        balanced_warmup: bool = True,
    ) -> None:
        self.metric = metric
        self.amplification = amplification
        self.bce_weight = bce_weight
        self.bce_factors = bce_factors
        self.masses = masses
        self.running = running
        self.rates = rates
        self.balanced_warmup = balanced_warmup
        self.warm = False

    @property
    def balance(self) -> Tensor:
        """Factors that give every class the same weight.

        Of three and more classes one of a handful of rows gets less: at its full
        weight it is predicted dozens of times for each time that it occurs.
        """
        occurs = self.masses > 0
        spare = TINY * self.masses.sum() / occurs.sum() if len(self.masses) > 2 else 0.0
        factors = torch.where(occurs, 1 / (self.masses + spare).clamp(min=1e-300), 0.0)
        return factors * self.masses.sum() / (factors * self.masses).sum()

    def batch_loss(self, logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Return the loss of a batch, exact in value and slope for a full one."""
        if self.warm:
            factors = self.balance if self.balanced_warmup else None
            return self._entropy(logits, y, weight, factors)
        if self.bce_weight == 1:
            return self._entropy(logits, y, weight, self.bce_factors)
        C = self.count(logits, y, weight)
        value, slope = self.slope(C)
        scale = self.masses.sum() / C.detach().sum() if self.running else 1.0
        moving = -(slope.to(C) * C).sum() * scale
        loss = (1 - self.bce_weight) * (moving + (1 - value - moving).detach())
        if self.bce_weight:
            entropy = self._entropy(logits, y, weight, self.bce_factors)
            loss = loss + self.bce_weight * entropy
        return loss

    def _entropy(
        self, logits: Tensor, y: Tensor, weight: Tensor | None, factors: Tensor | None
    ) -> Tensor:
        if factors is not None:
            factors = factors.to(logits)[y]
            weight = factors if weight is None else weight * factors
        return cross_entropy(logits, y, weight)

    def count(self, logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Return the soft confusion matrix of some rows."""
        return confusion(amplified(logits, self.amplification), y, weight)

    def slope(self, C: Tensor) -> tuple[float, Tensor]:
        """Return the metric of the table and its gradient in the cells."""
        C = C.detach().double()
        if self.running:
            C = self._remember(C)
        return self.metric.value_and_gradient(C)

    def _remember(self, C: Tensor) -> Tensor:
        """Blend a batch's rates into the running ones; return the table they imply."""
        here = C.sum(1)
        seen = here > 0
        share = float((here.sum() / self.masses.sum()).clamp(0.1, 1.0))
        rates = C / torch.where(seen, here, 1.0)[:, None]
        if self.rates is None:
            self.rates = torch.full_like(C, 1 / len(C))
            share = 1.0
        blended = (1 - share) * self.rates + share * rates
        self.rates = torch.where(seen[:, None], blended, self.rates)
        return self.masses[:, None] * self.rates


class AnyLossNet(Net):
    """A net whose step is the exact full-batch gradient in bounded memory."""

    objective: Objective
    linear: Any = None
    in_chunks: bool = True
    mixup: float = 0.0

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return batches, of mixed rows in training with ``mixup``."""
        if not training or not self.mixup:
            return super().get_iterator(dataset, training)
        return MixupIterator(
            dataset, self.batch_size, self.generator, self.strata, self.mixup
        )

    def get_loss(
        self, y_pred: Tensor, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Return the loss of a batch; a mixed row counts for both of its rows."""
        if isinstance(y_true[-1], Partners):
            y_pred, y_true = torch.cat([y_pred, y_pred]), doubled(y_true)
        return super().get_loss(y_pred, y_true, X, training)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Take small batches by autograd at once, large ones in two passes."""
        X, (y, weight, *_) = batch
        whole = len(y) <= CHUNK or not self.in_chunks
        if whole or self.objective.running or self.objective.warm:
            return super().train_step(batch, **fit_params)
        return self._two_passes(X, y, weight)

    def _two_passes(
        self, X: Any, y: Tensor, weight: Tensor | None
    ) -> dict[str, Tensor]:
        """Count without a graph, then back-propagate a linear form chunk by chunk."""
        self.optimizer_.zero_grad()
        goal, n = self.objective, len(y)
        slices = [slice(i, i + CHUNK) for i in range(0, n, CHUNK)]

        def part(rows: slice) -> tuple[Tensor, Tensor, Tensor | None]:
            x = map_nested(lambda t: t[rows], X)
            return self.infer(x), y[rows], None if weight is None else weight[rows]

        with torch.no_grad():
            C = torch.stack([goal.count(*part(rows)).double() for rows in slices]).sum(
                0
            )
        value, slope = goal.slope(C)
        total = 1 - value
        factors = torch.ones(len(C)) if goal.bce_factors is None else goal.bce_factors
        mass = float((C.sum(1) * factors).sum())
        loss = (1 - goal.bce_weight) * total
        for rows in slices:
            logits, codes, w = part(rows)
            C = goal.count(logits, codes, w)
            form = -(1 - goal.bce_weight) * (slope.to(C) * C).sum()
            if goal.bce_weight:
                w = torch.ones_like(logits[:, 0]) if w is None else w
                w = w * factors.to(logits)[codes]
                share = float(w.sum()) / mass
                entropy = goal.bce_weight * share * cross_entropy(logits, codes, w)
                form, loss = form + entropy, loss + entropy.item()
            form.backward()
        self.optimizer_.step()
        return {"loss": torch.tensor(loss), "y_pred": torch.empty(0)}

    def run_epoch(self, data: Any) -> float:
        """Take the NumPy step of a linear model where there is one."""
        if self.linear is None:
            return super().run_epoch(data)
        return float(self.linear.step(self.objective.warm))


class PaperMLP(nn.Module):
    """The network of the paper: sigmoid units behind batch normalisation."""

    def __init__(self, sizes: list[int], generator: torch.Generator) -> None:
        super().__init__()
        self.inner = MLP(sizes, "logistic", generator)
        for weight, bias in self.inner.layers():
            spread = math.sqrt(2 / weight.shape[1])
            nn.init.normal_(weight, 0.0, spread, generator=generator)
            nn.init.zeros_(bias)
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in sizes[1:-1])

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of logits a row of X."""
        *hidden, (weight, bias) = self.inner.layers()
        for (W, b), norm in zip(hidden, self.norms, strict=True):
            X = F.linear(X, W, b)
            # a lone row has no variance to normalise by
            X = norm(X) if len(X) > 1 or not self.training else X
            X = torch.sigmoid(X)
        return F.linear(X, weight, bias)


class ZeroLinear(nn.Module):
    """A linear map from zero: every row at the cut, where the slope is largest."""

    def __init__(self, n_in: int, n_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weights = nn.ParameterList([uniform((n_out, n_in), 0.0, generator)])
        self.biases = nn.ParameterList([uniform((n_out,), 0.0, generator)])

    def forward(self, X: Tensor) -> Tensor:
        """Return one row of logits a row of X."""
        return F.linear(X, self.weights[0], self.biases[0])
