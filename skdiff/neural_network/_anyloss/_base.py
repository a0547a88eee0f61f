"""AnyLoss below its parameters: stages, the objective, what is measured."""

import warnings
from dataclasses import replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff._nn._options import ClassifierOptions

WARMUP = 100
FLAT = 1e-3  # slope, relative to that at the threshold, below which no row moves


class BaseAnyLoss(ClassifierOptions, NeuralClassifierMixin, BaseNeural):
    """What a fit does; the subclass has the parameters."""

    # --- settings -------------------------------------------------------------------

    def _training(self):
        """Training parameters; the paper's where they are asked for."""
        settings = super()._training()
        if self.preset == "paper":
            paper = {
                "alpha": 0.0,
                "momentum": 0.0,
                "tol": 0.0,
                "n_iter_no_change": 10**9,
            }
            if self._hidden_sizes():
                paper |= {"solver": "adam", "learning_rate_init": 1e-3, "max_iter": 100}
            else:
                paper |= {"solver": "sgd", "learning_rate_init": 0.1, "max_iter": 1000}
            settings |= paper
        if self.mixup and not self.early_stopping:
            # the loss of mixed rows is random: its lowest value is no sign of an end
            settings["n_iter_no_change"] = 10**9
        return settings

    def _batch_rows(self, X):
        if self.preset == "paper" and self._hidden_sizes():
            return max(2, round(0.05 * len(X)))
        if self.preset == "paper" or self.batch_size == "auto":
            return len(X)
        return int(min(self.batch_size, len(X)))

    def _amplification(self):
        return 73.0 if self.preset == "paper" else float(self.amplification)

    def _blend(self, n_classes):
        """Share of cross-entropy, and whether it weights classes alike."""
        if self.preset == "paper":
            return 0.0, False
        if self.bce_weight == "auto":
            alike = self.class_weight is None
            return (0.5, alike) if n_classes > 2 else (0.0, False)
        return float(self.bce_weight), False

    def _warmup(self, continued):
        if self.preset == "paper" or continued:
            return 0
        if self.warmup_iter == "auto":
            # under lopsided class weights a metric can be flat at a network's start
            plain = self._hidden_sizes() and self.class_weight is None
            return 0 if plain else WARMUP
        return int(self.warmup_iter)

    # --- hooks ----------------------------------------------------------------------

    def _n_outputs(self, encoding):
        """One logit for two classes: the log odds of the second."""
        n_classes = len(encoding["classes_"])
        return 1 if n_classes == 2 else n_classes

    def _module(self, n_in, n_out, generator):
        from skdiff.neural_network._anyloss import _module as modules

        sizes = self._hidden_sizes()
        if self.preset == "paper" and sizes:
            return modules.PaperMLP([n_in, *sizes, n_out], generator)
        if not sizes:
            return modules.ZeroLinear(n_in, n_out, generator)
        return super()._module(n_in, n_out, generator)

    def _net_class(self):
        from skdiff.neural_network._anyloss._module import AnyLossNet

        return AnyLossNet

    def _strata(self, target):
        return target

    def _encode(self, y, weight, encoding):
        """Check what depends on the number of classes, before any work."""
        target = super()._encode(y, weight, encoding)
        n_classes = len(encoding["classes_"])
        if n_classes > 1:
            from skdiff.neural_network._anyloss._module import check_metric

            check_metric(self.metric, n_classes)
        if self.cost_matrix is not None:
            shape = check_array(self.cost_matrix, input_name="cost_matrix").shape
            if shape != (n_classes, n_classes):
                raise ValueError(
                    f"cost_matrix has shape {shape}, but y has {n_classes} classes."
                )
        return target

    def _train(self, net, data, limits, progress, validate):
        from skdiff._nn import _fit

        target, weight = data.y[:2]
        running = net.batch_size < len(target) or limits.one_epoch
        goal = self._objective(net.n_out, target, weight, running, limits.one_epoch)
        net.objective = goal
        holder, changed = net.criterion_, self._changes_loss() or self._has_added_loss()
        while changed and hasattr(holder.batch_loss, "batch_loss"):
            holder = holder.batch_loss
        holder.batch_loss = goal.batch_loss
        net.in_chunks = not (changed or self.sam_rho or self.mixup)
        net.mixup = float(self.mixup)
        self._use_linear_steps(net, data)
        run = _fit.Run()
        warmup = min(self._warmup(limits.continued), limits.max_iter)
        if warmup:
            goal.warm = True
            first = replace(
                limits, max_iter=warmup, n_iter_no_change=10**9, keep_best=False
            )
            _fit.run_epochs(net, data, first, progress, validate, run)
            goal.warm = False
        left = limits.max_iter - run.n_iter
        if run.stopped == "max_iter" and left:
            self._recentre(net, data)
            continued = limits.offer_start or bool(run.loss_curve)
            rest = replace(limits, max_iter=left, offer_start=continued)
            _fit.run_epochs(net, data, rest, progress, validate, run)
        if net.linear is not None:
            net.linear.close()
            net.linear = None
        self._measure(net, data, goal, limits.one_epoch)
        return run

    def _descends(self):
        return True  # its steps are gradients of the one loss below

    def _no_gradient(self):
        if self.preset == "paper":
            return 'preset="paper" trains without weight decay'
        if self.mixup:
            return "with mixup it trains on mixed rows"
        return super()._no_gradient()

    def _fitted_loss(self, target, weight, n_out):
        goal = self._objective(n_out, target, weight, False, False)
        loss = self._with_options(goal.batch_loss, self._option_keywords(n_out))
        # the slope of a metric counts as constant to autograd
        return loss, goal.bce_weight == 1

    def _objective(self, n_out, target, weight, running, one_epoch):
        """The loss, with the class totals of all rows seen so far."""
        import torch

        from skdiff.neural_network._anyloss._module import Metric, Objective

        n_classes = max(n_out, 2)
        counts = torch.ones_like(target, dtype=torch.float64)
        if weight is not None:
            counts = weight.double()
        masses = torch.zeros(n_classes, dtype=torch.float64, device=target.device)
        masses.index_add_(0, target, counts)
        # the metric of a group is its own: nothing to remember from batch to batch
        running = running and not self.group_dro
        rates = None
        totals = getattr(self, "_totals", None)
        if totals is not None and one_epoch:
            masses += torch.as_tensor(totals["masses"])
            rates = torch.as_tensor(totals["rates"])
        share, alike = self._blend(n_classes)
        goal = Objective(
            Metric(
                self.metric,
                beta=self.beta,
                average=self.average,
                zero_division=self.zero_division,
                cost_matrix=None
                if self.cost_matrix is None
                else np.asarray(self.cost_matrix, dtype=np.float64),
            ),
            amplification=self._amplification(),
            bce_weight=share,
            bce_factors=None,
            masses=masses,
            running=running,
            rates=rates,
            balanced_warmup=self.class_weight is None,
        )
        goal.bce_factors = goal.balance if alike else None
        return goal

    def _use_linear_steps(self, net, data):
        """Take NumPy steps where nothing needs a graph."""
        goal = net.objective
        target, weight = data.y[:2]
        plain = (
            not self._hidden_sizes()
            and net.n_out == 1
            and goal.metric.closed is not None
            and goal.bce_weight == 0
            and not goal.running
            and net.in_chunks
            and self.device == "cpu"
            and not self.net_params
            and float(goal.masses.min()) > 0
        )
        net.linear = None
        if plain:
            from skdiff.neural_network._anyloss._solver import LinearSteps, Task

            net.linear = LinearSteps(
                data.X.numpy(),
                target.numpy(),
                None if weight is None else weight.numpy(),
                Task(goal.metric.closed, goal.amplification, goal.balanced_warmup),
                net.optimizer_,
            )

    def _recentre(self, net, data):
        """Move the threshold to the median row where the metric cannot be followed.

        After a warm-up on a rare class all rows can lie on one side of the threshold,
        so far from it that the amplifier is flat for all rows of a class.
        """
        import torch

        goal = net.objective
        given = isinstance(self.class_weight, dict)  # a threshold off the middle
        if goal.bce_weight == 1 or net.n_out != 1 or given:
            return
        target = data.y[0]
        with torch.no_grad():
            z = net.module_(data.X)[:, 0]
            if (z > 0).any() and not (z > 0).all():
                return
            p = torch.sigmoid(z)
            a = torch.sigmoid(goal.amplification * (p - 0.5))
            slope = 16 * a * (1 - a) * p * (1 - p)  # one at the threshold
            steepest = [slope[target == k].max() for k in (0, 1) if (target == k).any()]
            if min(steepest) >= FLAT:
                return
            list(net.module_.parameters())[-1].sub_(z.median())

    def _measure(self, net, data, goal, one_epoch):
        """Soft and hard metric of the training rows, and totals for partial_fit."""
        import torch

        from skdiff.neural_network._anyloss._module import amplified, confusion

        net.module_.eval()
        target, weight = data.y[:2]
        with torch.no_grad():
            parts = []
            for start in range(0, len(target), 65536):
                rows = slice(start, start + 65536)
                logits = net.module_(data.X[rows]).double()
                hard = _hard(logits)
                w = None if weight is None else weight[rows].double()
                parts.append(
                    [
                        confusion(a, target[rows], w)
                        for a in (amplified(logits, goal.amplification), hard)
                    ]
                )
            soft, hard = (torch.stack(c).sum(0) for c in zip(*parts, strict=True))
            if not one_epoch and int((hard.sum(0) > 0).sum()) == 1:
                self._warn_of_one_class()
            self._measured = (
                float(goal.metric.value_and_gradient(soft)[0]),
                float(goal.metric.value_and_gradient(hard)[0]),
                {
                    "masses": goal.masses.cpu().numpy(),
                    "rates": (soft / soft.sum(1, keepdim=True).clamp(min=1e-300))
                    .cpu()
                    .numpy(),
                }
                if one_epoch
                else None,
            )

    def _warn_of_one_class(self):
        """Say that a metric was not followed to anything useful."""
        warnings.warn(
            "The model predicts one class for all training rows. The metric may be "
            "flat where training started: lower amplification, raise warmup_iter or "
            'set class_weight="balanced".',
            ConvergenceWarning,
            stacklevel=6,
        )

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        self.soft_metric_, self.hard_metric_, self._totals = self._measured
        del self._measured

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        self.soft_metric_ = self.hard_metric_ = 1.0
        self._totals = None
        return self

    def _validation_score(self, output, target, weight):
        """The hard metric; ties go to the soft one."""
        import torch

        from skdiff.neural_network._anyloss._module import Metric, amplified, confusion

        logits = torch.from_numpy(output).double()
        codes = torch.from_numpy(target)
        w = None if weight is None else torch.from_numpy(weight).double()
        metric = Metric(
            self.metric,
            beta=self.beta,
            average=self.average,
            zero_division=self.zero_division,
            cost_matrix=self.cost_matrix,
        )
        hard, soft = (
            metric.value_and_gradient(confusion(a, codes, w))[0]
            for a in (_hard(logits), amplified(logits, self._amplification()))
        )
        return hard + 1e-6 * soft


def _hard(logits):
    """Predictions as one-hot rows."""
    import torch

    if logits.shape[1] == 1:
        says = (logits[:, 0] > 0).double()
        return torch.stack([1 - says, says], dim=1)
    one_hot = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1])
    return one_hot.double()
