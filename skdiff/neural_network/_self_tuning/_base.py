"""Self-tuning networks below their parameters: tuning, retraining, the curve."""

import warnings
from dataclasses import replace
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions
from skdiff._base.parameters import COUNT, NON_NEGATIVE, POSITIVE
from skdiff._nn._base import SMALLEST_VALIDATION, BaseNeural
from skdiff._nn._tables import cast_alike, normalised, standardised
from skdiff.neural_network._self_tuning._plan import (
    KINDS,
    WIDTH,
    make_plan,
    read_bounds,
    unbounded,
)

SMALLEST_BATCH, LARGEST_BATCH, STEPS = 16, 256, 16  # steps of an epoch
MOST_NUMBERS = 1_000_000  # of a hypernetwork


class BaseSelfTuning(BaseNeural):
    """What a fit does; the subclass has the parameters."""

    _parameter_constraints = {
        **{
            name: kinds
            for name, kinds in BaseNeural._parameter_constraints.items()
            if name != "early_stopping"
        },
        "tune": ["array-like"],
        "per_layer": ["boolean"],
        "per_column": ["boolean"],
        "response": [StrOptions({"structured", "hypernetwork", "global_hypernetwork"})],
        "bounds": [dict, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "input_noise": NON_NEGATIVE,
        "perturb_scale": POSITIVE,
        "entropy_weight": NON_NEGATIVE,
        "warmup_epochs": [Interval(Integral, 0, None, closed="left")],
        "train_steps": COUNT,
        "valid_steps": COUNT,
        "hyper_learning_rate": POSITIVE,
        "refit": ["boolean"],
    }

    #: every fit sets a validation set aside
    early_stopping = True

    # --- settings -------------------------------------------------------------------

    def _net_class(self):
        from skdiff.neural_network._self_tuning._tuner import TuningNet

        return TuningNet

    def _training(self):
        # the decay is one of the tuned values, not the optimiser's
        return {**super()._training(), "alpha": 0.0}

    def _batch_rows(self, X):
        if self.batch_size == "auto":
            n = len(X)
            return min(n, int(np.clip(n // STEPS, SMALLEST_BATCH, LARGEST_BATCH)))
        return int(min(self.batch_size, len(X)))

    def _plan(self, n_in=1):
        """Names, starts and limits of what is tuned for a table of ``n_in`` columns."""
        tune = list(self.tune)
        if unknown := [name for name in tune if name not in KINDS]:
            raise ValueError(f"tune holds {unknown}; known names are {list(KINDS)}.")
        n_layers = self._n_layers()
        decay = self._decay(self.alpha)
        decays = decay if isinstance(decay, tuple) else (decay,) * n_layers
        starts = {
            "dropout": (float(self.dropout),) * (n_layers - 1),
            "input_noise": (float(self.input_noise),),
            "weight_decay": tuple(map(float, decays)),
        }
        return make_plan(
            tune,
            starts,
            self.per_layer,
            n_columns=n_in if self.per_column else 0,
            bounds=read_bounds(self.bounds),
        )

    def _check_net_params(self):
        """Refuse another optimiser: the response is trained by those of ``solver``."""
        for name in self.net_params or {}:
            if name.partition("__")[0] == "optimizer":
                raise ValueError(f"net_params cannot set {name!r}: solver decides it.")

    def _check_size(self, n_in, n_out, plan):
        """Refuse a hypernetwork that is far larger than its network."""
        sizes = [n_in, *self._hidden_sizes(), n_out]
        weights = sum((a + 1) * b for a, b in pairwise(sizes))
        own = {"hypernetwork": len(plan.names), "global_hypernetwork": WIDTH}
        numbers = weights * (1 + own.get(self.response, 0))
        if self.response in own and numbers > MOST_NUMBERS:
            raise ValueError(
                f"response={self.response!r} would have {numbers} numbers, more than "
                f"{MOST_NUMBERS}. Use response='structured', which takes twice the "
                "weights of the network."
            )

    # --- fit ------------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, *, continued, one_epoch=False, grouping=None):
        self._plan()
        self._check_net_params()
        return super()._fit(
            X,
            y,
            sample_weight,
            continued=continued,
            one_epoch=one_epoch,
            grouping=grouping,
        )

    def _run(self, table, held, given, encoding, seed, continued, one_epoch):
        """Keep all rows and the validation set at hand for the stages of the fit."""
        n_in = table[0].shape[1]
        plan = self._plan(n_in)
        self._check_size(n_in, self._n_outputs(encoding), plan)
        X, y, weight = given
        whole = cast_alike(
            standardised(X, encoding),
            self._encode(y, weight, encoding),
            normalised(weight),
        )
        if held is not None:
            held = (*held[:2], normalised(held[2]))
        self._fitting = {"plan": plan, "whole": whole, "held": held}
        try:
            super()._run(table, held, given, encoding, seed, continued, one_epoch)
        finally:
            del self._fitting

    def _start_at(self, plan, continued):
        """``h`` at the start: that of the parameters, or of the fit continued."""
        earlier = vars(self).get("hyperparameters_", {}) if continued else {}
        if tuple(earlier) != plan.names:
            return plan.start
        values = [
            float(unbounded(k, v)) if v > 0 else np.nan for k, v in earlier.items()
        ]
        start = np.where(np.isfinite(values), values, plan.start)
        return np.clip(start, plan.low, plan.high)  # bounds may be narrower by now

    def _train(self, net, data, limits, progress, validate):
        """Tune on two parts of the rows, then train anew on all of them."""
        import torch

        from skdiff._nn import _fit
        from skdiff.neural_network._self_tuning._tuner import Network

        plan = self._fitting["plan"]
        net.network = Network(
            plan, net.module_.activation, self._row_loss, net.generator
        )
        like = next(net.module_.parameters())
        start = self._start_at(plan, limits.continued)
        if net.valid is None:
            if not limits.one_epoch:
                self._warn_of_few_rows(len(data))
                # nothing random: a row of weight two is the same row twice
                start = np.where(plan.is_random(), -np.inf, start)
                net.batch_size = len(data)
            net.fixed = torch.tensor(start).to(like)
            self._fitting |= {"h": start, "history": start[None]}
            return _fit.run_epochs(net, data, limits, progress)
        net.fixed = torch.tensor(start).to(like)
        first = self._saved(net)
        try:
            run, best = self._tune(net, data, limits, progress, start)
            if self.refit and progress.ended is None:
                self._retrain(net, data, best, progress, first)
        finally:
            net.tuner = None
        run.stopped = progress.reason(run.stopped)
        return run

    def _warn_of_few_rows(self, n):
        warnings.warn(
            f"validation_fraction={self.validation_fraction} of {n} rows is fewer than "
            f"{SMALLEST_VALIDATION} rows, too few for a validation set: nothing is "
            "tuned, and nothing is dropped or disturbed.",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _warn_of_warm_up(self, run):
        warnings.warn(
            f"Training ended after {run.n_iter} epochs, the warm-up of "
            f"{self.warmup_epochs} included: nothing was tuned. Increase max_iter or "
            "n_iter_no_change, or lower warmup_epochs.",
            ConvergenceWarning,
            stacklevel=7,
        )

    def _saved(self, net):
        """Weights, and the memory of the optimiser, before training."""
        from skdiff._nn import _fit

        optimizer = net.optimizer_
        memory = optimizer.get_memory() if hasattr(optimizer, "get_memory") else None
        return _fit.state_arrays(net.module_), memory

    def _brought_back(self, net, saved):
        import torch

        arrays, memory = saved
        with torch.no_grad():
            for name, tensor in net.module_.state_dict().items():
                tensor.copy_(torch.as_tensor(arrays[name]))
        if memory is not None:
            net.optimizer_.set_memory(memory)

    def _rules(self):
        from skdiff.neural_network._self_tuning._tuner import Rules

        optimizer = {"lr": self.learning_rate_init}
        if self.solver == "sgd":
            optimizer["momentum"] = self.momentum
        return Rules(
            self.response,
            float(self.perturb_scale),
            float(self.entropy_weight),
            self.train_steps,
            self.valid_steps,
            float(self.hyper_learning_rate),
            self.solver,
            optimizer,
        )

    def _tune(self, net, data, limits, progress, start):
        """Alternate the two losses; keep the epoch of the lowest validation loss."""
        from skdiff._nn import _fit
        from skdiff.neural_network._self_tuning._tuner import Tuner

        tuner = Tuner(net.network, net.module_.layers(), start, self._rules())
        net.tuner = tuner
        tuner.moving = self.warmup_epochs == 0
        history, best = [start], {"free": False}
        self._note(net, best, 0)  # what an interrupt of the first epoch would leave

        def validate():
            if tuner.moving and tuner.is_global:
                tuner.minimise((net.valid.X, net.valid.y))
            net.fold()
            history.append(tuner.h.detach().cpu().numpy().astype(np.float64))
            epoch = len(history) - 1
            tuner.moving = epoch >= self.warmup_epochs
            if tuner.is_global:
                tuner.anneal(epoch / limits.max_iter)
            return self._note(net, best, epoch)

        plain = replace(limits, keep_best=False, offer_start=False)
        if tuner.is_global:
            # the joint loss is learned to the end: what h is best is known only then
            plain = replace(plain, n_iter_no_change=limits.max_iter + 1)
        run = _fit.run_epochs(net, data, plain, progress, validate)
        if run.stopped == "max_iter":
            run.stopped = "completed"
        self._brought_back(net, (best["module"], None))
        if not best["free"] and run.stopped in ("completed", "converged"):
            self._warn_of_warm_up(run)
        history = np.array(history)
        self._fitting |= {
            "h": history[best["epoch"]],
            "start": start,
            "history": history,
            "best": best,
            "refit_score": None,
        }
        return run, best

    def _note(self, net, best, epoch):
        """Score an epoch, and keep it where it is the best so far.

        While ``h`` stands still it has no say in that: the last such epoch stands in.
        A global response gets better to the end, whatever its validation loss says.
        """
        from skdiff._nn import _fit

        tuner = net.tuner
        losses = self._held_losses(net)
        score = -float(losses.mean())
        free = epoch > self.warmup_epochs
        waits = free and best["free"] and not tuner.is_global
        if np.isfinite(score) and not (waits and score <= best["score"]):
            best.update(
                score=score,
                epoch=epoch,
                free=free,
                losses=losses,
                response=_fit.state_arrays(tuner.response),
                scale=tuner.scale().detach().cpu().numpy(),
                module=self._saved(net)[0],
            )
        return score

    def _held_losses(self, net):
        """Weighted loss of each row of the validation set under the module."""
        import torch

        net.module_.eval()
        target, weight = net.valid.y
        with torch.no_grad():
            losses = self._row_loss(net.module_(net.valid.X), target)
            losses = losses if weight is None else losses * weight
        return losses.cpu().numpy().astype(np.float64)

    def _retrain(self, net, data, best, progress, first):
        """Train at the values that were found: for the score, then on all rows.

        The response was trained around every ``h`` it met and may know of the
        validation set what a fresh network does not; the score of the latter is told.
        """
        from skdiff._nn._data import as_tensors

        net.tuner = None
        tuned = self._saved(net)
        whole = as_tensors(*self._fitting["whole"], self.device)
        try:
            with progress.interruptible(lambda: True):
                if self._anew(net, data, best["epoch"], progress, first):
                    losses = self._held_losses(net)
                    if self._anew(net, whole, best["epoch"], progress, first):
                        self._compare(best["losses"], losses)
                        tuned = None
        finally:
            if tuned is not None:  # there was no time for it
                self._brought_back(net, tuned)

    def _anew(self, net, data, n_epochs, progress, first):
        """Train from the start at the final values; False when cut off."""
        import torch

        self._brought_back(net, first)
        net.module_.train()
        net.fixed = torch.tensor(self._fitting["h"]).to(net.fixed)
        for _ in range(n_epochs):
            for batch in net.get_iterator(data, training=True):
                net.train_step(batch)
            if progress.is_over():
                return False
        return all(np.isfinite(a).all() for a in self._saved(net)[0].values())

    def _compare(self, searched, fresh):
        """Warn where a fresh network is worse by more than two standard errors."""
        self._fitting["refit_score"] = -float(fresh.mean())
        error = max(fresh.std(), searched.std()) / np.sqrt(len(fresh))
        if fresh.mean() - searched.mean() > 2 * error:
            warnings.warn(
                f"Trained anew at the values that were found, the network has a "
                f"validation loss of {fresh.mean():.4g}, against {searched.mean():.4g} "
                "while tuning. refit=False keeps the tuned network.",
                ConvergenceWarning,
                stacklevel=8,
            )

    # --- what is left ---------------------------------------------------------------

    def _take_over(self, net, run, encoding, seed, keep, continued):
        fitting = self._fitting
        plan, best = fitting["plan"], fitting.get("best")
        super()._take_over(net, run, encoding, seed, keep, continued)
        self.hyperparameters_ = plan.as_dict(fitting["h"])
        self.hyperparameter_history_ = plan.as_dict(fitting["history"])
        self.search_score_ = None if best is None else best["score"]
        self.refit_score_ = fitting.get("refit_score")
        self.n_tuned_iter_ = 0 if best is None else best["epoch"]
        self.perturb_scales_ = self._curve = None
        if best is not None:
            if self.response != "global_hypernetwork":
                scales = best["scale"].astype(float).tolist()
                self.perturb_scales_ = dict(zip(plan.names, scales, strict=True))
            # the validation set and the response: all that a curve needs
            self._curve = {
                "held": fitting["held"],
                "arrays": best["response"],
                "start": fitting["start"],
                "span": np.array([plan.low, plan.high]) - fitting["start"],
                "h": fitting["h"],
            }

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        plan = self._plan(self.n_features_in_)
        self.hyperparameters_ = plan.as_dict(plan.start)
        self.hyperparameter_history_ = plan.as_dict(plan.start[None])
        self.search_score_ = self.refit_score_ = self.perturb_scales_ = None
        self.n_tuned_iter_, self._curve = 0, None
        return self

    def validation_curve(self, name, values):
        """Estimate the validation loss at other values of one hyperparameter.

        The response that was trained beside the network gives it at once: nothing is
        fitted. It holds near the final value, within a few ``perturb_scales_`` of its
        logit or logarithm, and within ``bounds`` for a global response; the other
        hyperparameters keep their final values.

        Parameters
        ----------
        name : str
            A key of ``hyperparameters_``.
        values : array-like of shape (n_values,)
            Values of it: probabilities, standard deviations of the noise, or decays.

        Returns
        -------
        losses : ndarray of shape (n_values,)
            Log loss of the validation set, or its mean squared error for a regressor.
        """
        check_is_fitted(self)
        names = tuple(self.hyperparameters_)
        if name not in names:
            raise ValueError(f"name must be one of {list(names)}, got {name!r}.")
        if self._curve is None:
            raise ValueError("Nothing was tuned in fit: there is no response.")
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        top = 1 if name.startswith("dropout") else np.inf
        if values.ndim != 1 or not np.all((values > 0) & (values < top)):
            raise ValueError(
                f"values of {name} must be a list of numbers above 0 and below {top}."
            )
        return self._curve_losses(names.index(name), unbounded(name, values))

    def _bounds_of(self, name):
        """Lowest and highest logit or logarithm of a tuned value."""
        column = list(self.hyperparameters_).index(name)
        return self._curve["span"][:, column] + self._curve["start"][column]

    def _curve_losses(self, column, values):
        """Loss of the validation set at each value of one ``h``."""
        from skdiff._nn import _fit
        from skdiff._nn._modes import gradients
        from skdiff.neural_network._self_tuning._curve import outputs_along

        X, target, weight = self._curve["held"]
        fitted, n_out = self._as_fitted(), self._n_outputs(vars(self))
        with gradients():
            module = fitted._module(X.shape[1], n_out, _fit.seeded(0))
            outputs = outputs_along(
                self._curve, fitted.response, module, column, values
            )
        return np.array([self._curve_loss(out, target, weight) for out in outputs])

    def _curve_loss(self, output, target, weight):
        """HOOK: return the loss of the validation set in the units of the user."""
        raise AssertionError("given by the subclass")
