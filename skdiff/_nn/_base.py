"""The shell of every neural estimator: scikit-learn outside, skorch inside.

Nothing here imports torch until a fit or a prediction needs it. A method derives from
``NeuralClassifierMixin`` or ``NeuralRegressorMixin`` and :class:`BaseNeural` and
overrides what differs; each hook's docstring says what it gets and owes.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skdiff._base.compat import (
    CallbackSupportMixin,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._base.parameters import NETWORK, constraints
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.rows import network_columns
from skdiff._base.validation import check_X_y, split_validation
from skdiff._nn._decay import read_decay
from skdiff._nn._inference import LARGEST, NeuralInference
from skdiff._nn._tables import (
    cast_alike,
    normalised,
    refuse_net_params,
    standardised,
    take,
    tensor,
)

FULL_BATCH_ROWS, FULL_BATCH_CELLS, MINI_BATCH = 4096, 2_000_000, 256
# A validation set of fewer rows tells little about learning.
SMALLEST_VALIDATION = 10
# what is learned of the units of X and y
ENCODING = (
    "classes_",
    "n_outputs_",
    "mean_",
    "scale_",
    "_varies",
    "_y_mean",
    "_y_scale",
    "_one_column",
)


class BaseNeural(NeuralInference, SaveMixin, CallbackSupportMixin, BaseEstimator):
    """Fit a torch module by skorch; keep arrays, rebuild the module when needed.

    Hooks, in the order in which a fit meets them:

    - :meth:`_module` builds the network;
    - :meth:`_row_loss` is the loss of each row, or :meth:`_batch_loss` that of a batch;
    - :meth:`_net_class` names a subclass of ``Net``, for a special train step;
    - :meth:`_train` runs the whole training, for several stages or an own solver;
    - :meth:`_descends`, :meth:`_no_gradient` and :meth:`_fitted_loss` tell searches
      whether and how the fit depends on the weight decay.
    """

    #: whether each weight matrix may have a decay of its own
    _decays_by_layer = True

    _shared_parameters = NETWORK
    _parameter_constraints: dict[str, list[Any]] = {
        **constraints(NETWORK),
        "activation": [
            StrOptions({"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"})
        ],
    }

    # --- hooks ----------------------------------------------------------------------

    def _module(self, n_in: int, n_out: int, generator: Any) -> Any:
        """HOOK: return a ``torch.nn.Module``, its parameters drawn from ``generator``.

        It must depend on the constructor's parameters, the sizes and the generator
        alone: after loading it is built again and given the saved weights.
        """
        from skdiff._nn._modules import MLP

        return MLP([n_in, *self._hidden_sizes(), n_out], self.activation, generator)

    def _row_loss(self, output: Any, target: Any) -> Any:
        """HOOK: return the loss of each row, a tensor of shape (n_rows,)."""
        raise AssertionError("given by the classifier or regressor mixin")

    def _batch_loss(self, output: Any, target: Any, weight: Any) -> Any:
        """HOOK: return the loss of a batch; weights have mean one over the table.

        ``weight`` is None when all rows count alike.
        """
        losses = self._row_loss(output, target)
        return losses.mean() if weight is None else (losses * weight).mean()

    def _net_class(self) -> Any:
        """HOOK: return a subclass of ``Net``, with a train step of its own."""
        from skdiff._nn._net import Net

        return Net

    def _plain_net(self, module: Any, loss: str | None) -> Any:
        """HOOK: return a subclass of ``Net`` with the gradient of a loss by hand."""
        from skdiff._nn._plain import plain_net_class

        return plain_net_class(module, loss)

    def _train(
        self, net: Any, data: Any, limits: Any, progress: Any, validate: Any
    ) -> Any:
        """HOOK: train ``net`` on ``data`` and return a ``Run``.

        Override it for several stages or for another solver. All stages share the loop
        guard ``progress``; ``validate`` scores the validation set, or is None.
        """
        from skdiff._nn._fit import run_epochs

        return run_epochs(net, data, limits, progress, validate)

    def _training(self) -> dict[str, Any]:
        """HOOK: return the training parameters; override it to change one."""
        names = (
            "solver",
            "learning_rate_init",
            "momentum",
            "alpha",
            "max_iter",
            "tol",
            "n_iter_no_change",
        )
        return {name: getattr(self, name) for name in names}

    def _most_iterations(self) -> int:
        """HOOK: return how many iterations of all stages callbacks may hear of."""
        return self._training()["max_iter"]

    def _configure(
        self, net: Any, data: Any, table: Any, encoding: Any, seed: int
    ) -> Any:
        """HOOK: change a net that is about to train; return the data to train it on.

        ``table`` holds the same as arrays: X, targets, weights, grouping.
        """
        return data

    def _report(self, net: Any, table: Any) -> None:
        """HOOK: set further attributes from the trained net."""

    def _changes_loss(self) -> bool:
        """HOOK: tell whether something is added to the loss of a batch."""
        return False

    def _packed(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """HOOK: return the weights in the form in which they are kept."""
        return arrays

    def _unpacked(self, arrays: dict[str, np.ndarray], module: Any) -> Any:
        """HOOK: return kept weights in the form of the module's state."""
        return arrays

    def _strata(self, target: np.ndarray) -> np.ndarray | None:
        """HOOK: return codes by which mini-batches are stratified, or None."""
        return None

    def _n_layers(self) -> int:
        """HOOK: return how many weight matrices the decay acts on."""
        return len(self._hidden_sizes()) + 1

    def _descends(self) -> bool:
        """HOOK: tell whether training is the descent of one loss.

        Stages and steps of its own are taken not to be, unless a subclass knows.
        """
        cls = type(self)
        own = cls._train is not BaseNeural._train
        return not (own or cls._net_class is not BaseNeural._net_class)

    def _no_gradient(self) -> str | None:
        """HOOK: say why the fit has no derivative in the weight decay, or None."""
        if self._descends():
            return None
        return "it trains by more than the descent of one loss"

    def _fitted_loss(self, target: Any, weight: Any, n_out: int) -> tuple[Any, bool]:
        """HOOK: return the loss of all rows that a fit minimises, beside the decay.

        It takes outputs, ``target`` and ``weight``. The flag tells whether autograd
        may differentiate it twice.
        """
        return self._batch_loss, True

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice, one
            of weight zero as absent.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        continued = self.warm_start and hasattr(self, "_state")
        return self._fit(X, y, sample_weight, continued=continued)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train one more epoch on these rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._partial_fit(X, y, sample_weight)

    def _partial_fit(self, X, y, sample_weight):
        """One epoch on all rows: ``early_stopping`` and ``tol`` act on fit alone."""
        return self._fit(
            X, y, sample_weight, continued=hasattr(self, "_state"), one_epoch=True
        )

    def _fit(self, X, y, sample_weight, *, continued, one_epoch=False, grouping=None):
        """Fit; ``grouping`` is a pair of group labels and codes of the kept rows."""
        self._decay(self.alpha)
        X, y, weight = self._validate(X, y, sample_weight, reset=not continued)
        encoding = self._encoding() if continued else {}
        target = self._encode(y, weight, encoding)
        self._scale(X, weight, encoding)
        if self._is_constant(encoding):
            return self._fit_constant(encoding, continued)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        given, held = (X, y, weight), None
        X = standardised(X, encoding)
        if (
            self.early_stopping
            and not one_epoch
            and (rows := self._split(target, seed)) is not None
        ):
            (X, target, weight), held = take(X, target, weight, *rows)
            held = cast_alike(*held)
            if grouping is not None:
                grouping = grouping[0], grouping[1][rows[0]]
        table = (*cast_alike(X, target, normalised(weight)), grouping)
        from skdiff._nn._modes import check_device, gradients

        check_device(self.device)
        with gradients():
            self._run(table, held, given, encoding, seed, continued, one_epoch)
        return self

    def _encoding(self):
        """What a fit has learned of the units of X and y."""
        return {name: vars(self)[name] for name in ENCODING if name in vars(self)}

    def _scale(self, X, weight, encoding):
        """Learn centre and scale of the columns; a continued fit keeps them.

        A column that has been constant so far gets its scale from the first rows in
        which it varies: until then its weights have not moved.
        """
        if "mean_" in encoding and encoding["_varies"] is None:
            return
        if not self.standardize:
            d = X.shape[1]
            encoding |= {"mean_": np.zeros(d), "scale_": np.ones(d), "_varies": None}
            return
        columns = network_columns(X, weight)
        varies = columns.scale > 0
        if "mean_" not in encoding:
            encoding |= {"mean_": columns.mean, "scale_": columns.divisor}
        elif not np.all(known := encoding["_varies"]):
            distance = np.hypot(columns.mean - encoding["mean_"], columns.scale)
            new = ~known & (distance > 0)
            scale = np.where(new, distance, encoding["scale_"])
            encoding |= {"scale_": scale}
            varies = known | new
        else:
            varies = known
        encoding["_varies"] = varies

    def _run(self, table, held, given, encoding, seed, continued, one_epoch):
        """Build or continue the net, train it, and take over the result."""
        from skdiff._nn import _fit
        from skdiff._nn._data import as_tensors
        from skdiff._nn._threads import threads_for

        X, target, weight, _ = table
        net = self._start(X, target, encoding, seed, continued)
        net.strata = _fit.codes(self._strata(target))
        net.valid = None if held is None else as_tensors(*held, self.device)
        data = as_tensors(X, target, weight, self.device)
        data = self._configure(net, data, table, encoding, seed)
        if (added := vars(self).get("_added_loss")) is not None:
            data = added.attach(net, data)
        training = self._training()
        limits = _fit.Limits(
            max_iter=1 if one_epoch else training["max_iter"],
            tol=training["tol"],
            n_iter_no_change=training["n_iter_no_change"],
            one_epoch=one_epoch,
            continued=continued,
            offer_start=continued,
        )
        validate = None
        if held is not None:

            def validate():
                output = _fit.predict_chunks(net.module_, held[0], self.device)
                return float(self._validation_score(output, held[1], held[2]))

        batch = min(net.batch_size, len(X))
        work = threads_for(_fit.work_per_batch(net.module_, batch))
        with self._guard(given, encoding, seed) as progress, work:
            net.notify("on_train_begin", X=data, y=None)
            run = self._train(net, data, limits, progress, validate)
            net.notify("on_train_end", X=data, y=None)
        _fit.finish(net)
        keep = one_epoch or self.warm_start
        self._take_over(net, run, encoding, seed, keep, continued)
        self._report(net, table)
        net.reading = self._reading(vars(self))
        if not one_epoch:
            self._warn_of_limit(run.stopped, limits.max_iter)

    def _warn_of_limit(self, stopped, max_iter):
        """Say that training ended before it converged."""
        if stopped == "max_iter":
            limit, remedy = (
                f"Maximum iterations ({max_iter})",
                "max_iter or learning_rate_init",
            )
        elif stopped == "time":
            limit, remedy = f"Time limit ({self.time_limit} s)", "time_limit"
        else:
            return
        warnings.warn(
            f"{limit} reached and the optimization hasn't converged yet. Increase "
            f"{remedy}.",
            ConvergenceWarning,
            stacklevel=5,
        )

    def _start(self, X, target, encoding, seed, continued):
        """A fresh net, or the one left by the last fit."""
        from skdiff._nn import _fit

        live = getattr(self, "_live", {}) if continued else {}
        if "net" in live and self._state is not None:
            net = live["net"]
            if hasattr(net.optimizer_, "bind"):
                net.optimizer_.bind()
            net.batch_size = self._batch_rows(X)
            return net
        if continued and self._state is not None:
            seed = self._state["seed"]
        generator = _fit.seeded(seed)
        dtype = X.dtype.name
        if continued and self._state is not None:
            dtype = self._state["dtype"]
        net = self._build(X.shape[1], encoding, generator, dtype, X)
        if continued and self._state is not None:
            self._restore(net.module_)
            if self._state["memory"] is not None:
                net.optimizer_.set_memory(self._state["memory"])
                net.set_training_state(self._state["training"])
                generator.set_state(tensor(self._state["generator"]))
        return net

    def _build(self, n_in, encoding, generator, dtype, X=None):
        from skdiff._nn import _fit

        refuse_net_params(self.net_params)
        n_out = self._n_outputs(encoding)
        training = self._training()
        module = self._module(n_in, n_out, generator)
        settings = _fit.Settings(
            solver=training["solver"],
            learning_rate_init=training["learning_rate_init"],
            momentum=training["momentum"],
            alpha=self._decay(training["alpha"]),
            batch_size=FULL_BATCH_ROWS if X is None else self._batch_rows(X),
            dtype=dtype,
            device=self.device,
            net_params=self.net_params,
        )
        net = _fit.build_net(
            self._stepper(module), module, self._batch_loss, settings, generator
        )
        net.n_out = n_out
        net.reading = self._reading(encoding)
        return net

    def _stepper(self, module):
        """The class of the net: the hook's, or the one with gradients by hand."""
        from skdiff._nn._net import Net

        net_class = self._net_class()
        own_loss = (
            type(self)._batch_loss is not BaseNeural._batch_loss or self._changes_loss()
        )
        own_optimizer = "optimizer" in (self.net_params or {})
        if net_class is not Net or own_loss or own_optimizer or self._has_added_loss():
            return net_class
        return self._plain_net(module, getattr(type(self)._row_loss, "plain", None))

    def _has_added_loss(self):
        """Whether terms are added to the loss by whoever trains this network.

        ``_added_loss.attach(net, data)`` returns the data with what the terms need; the
        attribute exists during such a training only.
        """
        return "_added_loss" in vars(self)

    def _take_over(self, net, run, encoding, seed, keep, continued):
        """Assign everything at once: an interrupted fit leaves nothing half done."""
        for name, value in self._fitted(net, encoding, seed, keep).items():
            setattr(self, name, value)
        net.valid = None
        self._live |= {"view": net, "module": net.module_}
        if keep:
            self._live["net"] = net
        earlier = self.loss_curve_ if continued and hasattr(self, "loss_curve_") else []
        self.loss_curve_ = [*earlier, *run.loss_curve]
        self.n_iter_ = len(self.loss_curve_)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        self.validation_scores_ = run.validation_scores or None
        self.stopped_ = run.stopped
        net.remember(self.loss_curve_, self.validation_scores_)

    def _fitted(self, net, encoding, seed, keep):
        """Attributes that are enough to predict."""
        from skdiff._nn import _fit

        memory = generator = None
        if keep and hasattr(net.optimizer_, "get_memory"):
            memory = net.optimizer_.get_memory()
            generator = net.generator.get_state().numpy()
        names = [n for n in self._get_param_names() if n != "random_state"]
        state = {
            # what the module is built from; set_params must not change it
            "parameters": {name: getattr(self, name) for name in names},
            "arrays": self._packed(_fit.state_arrays(net.module_)),
            "dtype": str(next(net.module_.parameters()).dtype).removeprefix("torch."),
            "memory": memory,
            "training": net.training_state(),
            "generator": generator,
            "seed": seed,
        }
        return {**encoding, "_state": state, "_live": {}}

    def _guard(self, given, encoding, seed):
        """The loop guard; a callback sees what a fit would leave after an epoch."""
        X, y, weight = given

        def fitted(net):
            if net is None:  # an iteration of a stage that leaves no network
                return None
            fitted = self._fitted(net, encoding, seed, keep=False)
            return {**fitted, "n_features_in_": X.shape[1], "n_iter_": 1}

        return watch(
            self,
            X,
            y,
            max_iter=self._most_iterations(),
            metadata=None if weight is None else {"sample_weight": weight},
            attributes=fitted,
        )

    def _fit_constant(self, encoding, continued):
        """Nothing to learn: all rows have one target."""
        with watch(self, max_iter=0):
            pass
        for name, value in {**encoding, "_state": None, "_live": {}}.items():
            setattr(self, name, value)
        self.loss_curve_, self.n_iter_, self.loss_ = [], 1, 0.0
        self.validation_scores_, self.stopped_ = None, "constant"
        return self

    # --- input ----------------------------------------------------------------------

    def _validate(self, X, y, sample_weight, *, reset):
        """Check and convert; drop rows of weight zero; None when all weigh alike."""
        X, y = check_X_y(
            self,
            X,
            y,
            dtype=[np.float64, np.float32],
            order="C",
            reset=reset,
            **self._target_checks,
        )
        X = self._cast(X)
        y = self._check_y(y)
        weight = None
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, X, dtype=np.float64)
            kept = weight > 0
            if not kept.all():
                X, y, weight = X[kept], y[kept], weight[kept]
        return X, y, self._class_weighted(weight, y)

    def _cast(self, X):
        if X.size and np.abs(X).max() > LARGEST:
            raise ValueError(
                f"X has values above {LARGEST:g}, beyond which a network overflows. "
                "Rescale X, for instance with StandardScaler."
            )
        return X if self.dtype == "auto" else X.astype(self.dtype, copy=False)

    def _class_weighted(self, weight, y):
        return weight

    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, int | np.integer) else list(sizes)
        if not all(isinstance(s, int | np.integer) and s > 0 for s in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(s) for s in sizes]

    def _decay(self, alpha):
        """One decay, or a tuple of one for each weight matrix."""
        decay = read_decay(alpha, self._n_layers())
        if isinstance(decay, tuple):
            name = type(self).__name__
            if not self._decays_by_layer:
                raise ValueError(f"{name} takes one alpha for all layers.")
            if "optimizer" in (self.net_params or {}):
                raise ValueError(
                    f"{name} takes one alpha for all layers when net_params names the "
                    "optimizer: only its own optimisers know of layers."
                )
        return decay

    def _batch_rows(self, X):
        n, d = X.shape
        if self.batch_size == "auto":
            full = n <= FULL_BATCH_ROWS and n * d <= FULL_BATCH_CELLS
            return n if full else MINI_BATCH
        if self.batch_size > n:
            return n
        return int(self.batch_size)

    def _split(self, target, seed):
        """Rows of the training and validation sets; None where there are too few."""
        return split_validation(
            len(target),
            self.validation_fraction,
            seed,
            strata=self._strata_of_split(target),
            fewest=SMALLEST_VALIDATION,
        )
